// Rules under random clients: globs are matched as a plain matcher in TypeScript does, and addresses as node:net's
// BlockList. IDENTITY_RUNS=100000 runs it for longer.
import assert from 'node:assert/strict';
import { BlockList, isIP } from 'node:net';
import { test } from 'node:test';
import fc from 'fast-check';
import mqttPacket from 'mqtt-packet';
import { MATCHED_BYTES_MAX, PATTERN_FIELDS_MAX } from '../assembly/layout.ts';
import { parseCidr, permittedRanges } from '../src/config/address-ranges.ts';
import { textOf } from './tools/address-text.ts';
import { type Decision, Decisions } from './tools/decisions.ts';
import { testSeed } from './tools/random.ts';

const RUNS = Number(process.env.IDENTITY_RUNS ?? 3000);
/** Snapshots are built anew for each set of rules, so each judges some clients. */
const CLIENTS_PER_RULES = 25;

const decisions = await Decisions.make();

// ---- Patterns -------------------------------------------------------------------------------------------------------

const little = fc.string({ unit: fc.constantFrom('a', 'b', 'é', '€', '😀'), maxLength: 8 });
const glob = fc.array(fc.oneof(fc.constantFrom('*', '?', '?'), little, fc.constantFrom('${username}')), {
  minLength: 1,
  maxLength: 6,
});

test('a pattern matches what a plain matcher says it matches', async (context) => {
  const seed = testSeed(context);
  const client = fc.record({ clientId: little.filter((one) => one !== ''), username: little });
  const property = fc.asyncProperty(
    glob.filter(isPattern),
    fc.array(client, { minLength: CLIENTS_PER_RULES, maxLength: CLIENTS_PER_RULES }),
    async (parts, clients) => {
      await decisions.rule({ identity: { client_id: { pattern: parts.join('') } } });
      for (const { clientId, username } of clients) {
        const packet = mqttPacket.generate({ cmd: 'connect', clientId, username, clean: true, keepalive: 0 });
        const names = parts.includes('${username}');
        const matches = !(names && username === '') && matcher(parts, username).test(clientId);
        const reason = matches ? undefined : names ? 'identity_mismatch' : 'client_id_denied';
        assert.equal(reasonOf(decisions.decide(packet)), reason, `${clientId} of ${username}`);
      }
    },
  );
  await fc.assert(property, { seed, numRuns: Math.ceil(RUNS / CLIENTS_PER_RULES), includeErrorInReport: true });
});

/** With at most as many fields as there may be, none of them between two `*`. */
function isPattern(parts: readonly string[]): boolean {
  if (parts.join('') === '' || parts.filter((one) => one === '${username}').length > PATTERN_FIELDS_MAX) return false;
  return !parts.some(
    (one, index) =>
      one === '${username}' && parts.slice(0, index).includes('*') && parts.slice(index + 1).includes('*'),
  );
}

function matcher(parts: readonly string[], username: string): RegExp {
  const one = (part: string) => (part === '*' ? '.*' : part === '?' ? '.' : part === '${username}' ? username : part);
  return new RegExp(`^${parts.map(one).join('')}$`, 'us');
}

function reasonOf(decision: Decision): string | undefined {
  return decision.is === 'refused' ? decision.reason : undefined;
}

test('the worst pattern and the worst name for it are done with soon', async () => {
  const pattern = `*${'a'.repeat(250)}b*`;
  await decisions.rule({ identity: { client_id: { pattern: Array.from({ length: 64 }, () => pattern) } } });
  const clientId = 'a'.repeat(MATCHED_BYTES_MAX);
  const packet = mqttPacket.generate({ cmd: 'connect', clientId, clean: true, keepalive: 0 });
  const began = performance.now();
  assert.equal(reasonOf(decisions.decide(packet)), 'client_id_denied');
  assert.ok(performance.now() - began < 1000, 'a name can keep a worker busy');
});

// ---- Addresses ------------------------------------------------------------------------------------------------------

const ipv4 = fc.ipV4();
const ipv6 = fc.ipV6();
const address = fc.oneof(
  ipv4,
  ipv6,
  ipv4.map((one) => `::ffff:${one}`),
  fc.constantFrom('::', '::1', '1::', '0.0.0.0'),
);
const cidr = fc.oneof(
  fc
    .tuple(fc.oneof(ipv4, fc.constantFrom('10.0.0.0', '0.0.0.0')), fc.nat(32))
    .map(([one, bits]) => maskedOf(one, bits)),
  fc.tuple(fc.oneof(ipv6, fc.constantFrom('::', '::ffff:0:0')), fc.nat(128)).map(([one, bits]) => maskedOf(one, bits)),
  fc.constantFrom('10.0.0.0/8', '10.1.0.0/16', '10.1.2.3', '::/0', '0.0.0.0/0', 'fd00::/8', '::ffff:10.1.0.0/112'),
);
const someone = fc.oneof(address, fc.constantFrom('10.1.2.3', '10.1.2.4', '10.2.0.0', '::ffff:10.1.2.3', 'fd00::1'));

/** With no bit behind the prefix. */
function maskedOf(one: string, bits: number): string {
  const whole = parseCidr(one)!;
  const width = isIP(one) === 4 ? 32 : 128;
  const rest = (1n << BigInt(width - bits)) - 1n;
  const first = whole.first & ~rest;
  const hex = (first & ((1n << 128n) - 1n)).toString(16).padStart(32, '0');
  if (width === 32) {
    const last = Number(first & 0xffffffffn);
    return `${[24, 16, 8, 0].map((shift) => (last >>> shift) & 255).join('.')}/${bits}`;
  }
  return `${hex.match(/..../g)!.join(':')}/${bits}`;
}

test('who may come is who the lists say', async (context) => {
  const seed = testSeed(context);
  const list = fc.array(cidr, { maxLength: 8 });
  const property = fc.asyncProperty(
    list,
    list,
    fc.array(someone, { minLength: CLIENTS_PER_RULES, maxLength: CLIENTS_PER_RULES }),
    async (allow, deny, clients) => {
      const rules = { ...(allow.length > 0 ? { allow } : {}), ...(deny.length > 0 ? { deny } : {}) };
      await decisions.rule(rules);
      for (const from of clients) {
        const mayCome = (allow.length === 0 || isIn(allow, from)) && !isIn(deny, from);
        assert.equal(decisions.mayCome(from), mayCome, `${from} with ${JSON.stringify(rules)}`);
      }
    },
  );
  await fc.assert(property, { seed, numRuns: Math.ceil(RUNS / CLIENTS_PER_RULES), includeErrorInReport: true });
});

function isIn(list: readonly string[], from: string): boolean {
  const plainAddress = textOf(from);
  // One for each family, since a BlockList finds an IPv4 address in ranges of IPv6 that hold the mapped ones.
  const blocks = { ipv4: new BlockList(), ipv6: new BlockList() };
  for (const one of list) addTo(blocks, one);
  const family = isIP(plainAddress) === 4 ? 'ipv4' : 'ipv6';
  return blocks[family].check(plainAddress, family);
}

function addTo(blocks: Record<'ipv4' | 'ipv6', BlockList>, one: string): void {
  const [host = '', bits] = one.split('/');
  const isMapped = isIP(host) === 6 && parseCidr(one)!.first >> 32n === 0xffffn && Number(bits ?? 128) >= 96;
  const family = isIP(host) === 4 || isMapped ? 'ipv4' : 'ipv6';
  const length = Number(bits ?? (isIP(host) === 4 ? 32 : 128)) - (isMapped ? 96 : 0);
  blocks[family].addSubnet(isMapped ? textOf(host) : host, length, family);
}

test('ranges that meet are one, and none is left of what is denied', () => {
  const [first, second] = permittedRanges(['10.0.0.0/9', '10.128.0.0/9', '10.7.0.0/16'], ['10.1.0.0/16']);
  assert.deepEqual([first?.first, first?.last], [0xffff_0a00_0000n, 0xffff_0a00_ffffn]);
  assert.deepEqual([second?.first, second?.last], [0xffff_0a02_0000n, 0xffff_0aff_ffffn]);
  assert.deepEqual(permittedRanges(['10.0.0.0/8'], ['0.0.0.0/0']), []);
});

test('a range with bits behind its prefix is none, nor is half of an address', () => {
  for (const bad of [
    '10.0.0.1/8',
    '10.0.0/8',
    '10.0.0.0/33',
    'fd00::1/64',
    '::/129',
    'example.net',
    '10.0.0.0/',
    '/8',
  ]) {
    assert.equal(parseCidr(bad), null, bad);
  }
});
