// Rewriting and rules under random clients: what mqtt-packet reads in a rewritten CONNECT is what the client said, but for
// what the templates say; globs are matched as a plain matcher in TypeScript does, and addresses as node:net's BlockList.
// IDENTITY_RUNS=100000 runs it for longer.
import assert from 'node:assert/strict';
import { BlockList, isIP } from 'node:net';
import { test } from 'node:test';
import fc from 'fast-check';
import mqttPacket, { type IConnectPacket } from 'mqtt-packet';
import { MATCHED_BYTES_MAX, PATTERN_FIELDS_MAX } from '../assembly/layout.ts';
import { parseCidr, permittedRanges } from '../src/config/address-ranges.ts';
import { type Decision, Decisions } from './tools/decisions.ts';
import { testSeed } from './tools/random.ts';

const RUNS = Number(process.env.IDENTITY_RUNS ?? 3000);
/** Snapshots are built anew for each set of rules, so each judges some clients. */
const CLIENTS_PER_RULES = 25;

const decisions = await Decisions.make();

// ---- Clients --------------------------------------------------------------------------------------------------------

const text = fc.oneof(
  fc.string({ maxLength: 20 }),
  fc.string({ unit: 'binary', maxLength: 12 }).map((one) => one.replaceAll('\0', 'é')),
  fc.string({ minLength: 100, maxLength: 300 }),
);
const payload = fc.uint8Array({ maxLength: 150 }).map((bytes) => Buffer.from(bytes));
const topic = text.map((one) => `t${one.replaceAll(/[+#]/g, '/')}`);
const properties = fc.record(
  {
    sessionExpiryInterval: fc.nat(0xffffffff),
    receiveMaximum: fc.integer({ min: 1, max: 0xffff }),
    requestProblemInformation: fc.boolean(),
    userProperties: fc.constant({ name: ['one', 'two'] as string[] }),
    authenticationMethod: text,
  },
  { requiredKeys: [] },
);
const willProperties = fc.record(
  { willDelayInterval: fc.nat(0xffffffff), contentType: text, responseTopic: topic, correlationData: payload },
  { requiredKeys: [] },
);
const ipv4 = fc.ipV4();
const ipv6 = fc.ipV6();
const address = fc.oneof(
  ipv4,
  ipv6,
  ipv4.map((one) => `::ffff:${one}`),
  fc.constantFrom('::', '::1', '1::', '0.0.0.0'),
);

interface Visit {
  packet: IConnectPacket;
  from: string;
  behind: Buffer;
}

const visit: fc.Arbitrary<Visit> = fc
  .record({
    version: fc.constantFrom(3, 4, 5) as fc.Arbitrary<3 | 4 | 5>,
    clean: fc.boolean(),
    clientId: text,
    keepalive: fc.nat(0xffff),
    username: fc.option(text, { nil: undefined }),
    password: fc.option(payload, { nil: undefined }),
    will: fc.option(
      fc.record({
        topic,
        payload,
        qos: fc.constantFrom(0, 1, 2) as fc.Arbitrary<0 | 1 | 2>,
        retain: fc.boolean(),
        properties: willProperties,
      }),
      { nil: undefined },
    ),
    properties,
    from: address,
    behind: payload,
  })
  .map(({ version, clean, clientId, password, will, properties, from, behind, ...same }) => {
    const packet: IConnectPacket = {
      ...same,
      cmd: 'connect',
      protocolId: version === 3 ? 'MQIsdp' : 'MQTT',
      protocolVersion: version,
      clientId: clientId === '' && (version === 3 || !clean) ? 'a' : clientId,
      clean,
      ...(same.username !== undefined && password !== undefined ? { password } : {}),
      ...(will === undefined ? {} : { will: version === 5 ? will : { ...will, properties: undefined } }),
      ...(version === 5 ? { properties } : {}),
    };
    return { packet, from, behind };
  });

// ---- Rewriting ------------------------------------------------------------------------------------------------------

type Part = { literal: string } | { field: 'client_id' | 'username' | 'remote_addr' };

const part: fc.Arbitrary<Part> = fc.oneof(
  text.map((literal) => ({ literal })),
  fc.constantFrom('client_id', 'username', 'remote_addr').map((field) => ({ field }) as Part),
);
const template = fc.option(
  fc.array(part, { minLength: 1, maxLength: 4 }).filter((parts) => written(parts) !== ''),
  {
    nil: undefined,
  },
);
const rewrite = fc.record({ client_id: template, username: template, password: template });

/** As the configuration has it. */
function written(parts: readonly Part[]): string {
  return parts.reduceRight((rest, one) => {
    if ('field' in one) return `\${${one.field}}${rest}`;
    const brace = rest.startsWith('{') || /^\$+\{/.test(rest) ? '{' : '';
    const doubled = `${one.literal}${brace}`.replaceAll(/\$+(?=\{)/g, '$&$&');
    return doubled.slice(0, doubled.length - brace.length) + rest;
  }, '');
}

/** undefined when it names a field that the client lacks. */
function said(parts: readonly Part[], fields: Record<string, string>): string | undefined {
  const words = parts.map((one) => ('field' in one ? fields[one.field]! : one.literal));
  return parts.some((one) => 'field' in one && fields[one.field] === '') ? undefined : words.join('');
}

test('what mqtt-packet reads in a rewritten CONNECT is what was to be said', async (context) => {
  const seed = testSeed(context);
  const rules = fc.record({ rewrite, empty: fc.constantFrom('allow', 'assign') });
  const property = fc.asyncProperty(
    rules,
    fc.array(visit, { minLength: CLIENTS_PER_RULES, maxLength: CLIENTS_PER_RULES }),
    async ({ rewrite, empty }, visits) => {
      const templates = Object.entries(rewrite).flatMap(([key, parts]) => (parts ? [[key, written(parts)]] : []));
      const identity = { client_id: { empty }, rewrite: Object.fromEntries(templates) };
      await decisions.rule({ identity });
      for (const one of visits) checkRewrite(one, rewrite, empty);
    },
  );
  await fc.assert(property, {
    seed,
    numRuns: Math.ceil(RUNS / CLIENTS_PER_RULES),
    endOnFailure: true,
    includeErrorInReport: true,
  });
});

function checkRewrite({ packet, from, behind }: Visit, rewrite: Record<string, Part[] | undefined>, empty: string) {
  const bytes = Buffer.concat([mqttPacket.generate(packet), behind]);
  const decision = decisions.decide(bytes, from);
  const isNamed = packet.clientId === '' && empty === 'assign' && packet.protocolVersion !== 5;
  const fields = { client_id: packet.clientId, username: packet.username ?? '', remote_addr: textOf(from) };
  const found = decision.is === 'taken' ? mqttPacketOf(decision.bytes, packet.protocolVersion!) : undefined;
  if (isNamed && found !== undefined && rewrite.client_id === undefined) {
    assert.match(found.packet.clientId, /^tidegate-[0-9a-f]{14}$/);
  }
  // A name that is drawn by lot shows in what was made of it.
  if (isNamed) return;
  const expected = expectedPacket(packet, fields, rewrite);
  if (expected === undefined) {
    assert.equal(decision.is === 'refused' && decision.reason, 'rewrite_field_missing');
    return;
  }
  assert.ok(found !== undefined, decision.is === 'refused' ? decision.reason : decision.is);
  assert.deepEqual(plain(found.packet), plain(expected));
  assert.deepEqual(found.behind, behind);
  if (Object.values(rewrite).every((one) => one === undefined))
    assert.deepEqual((decision as { bytes: Buffer }).bytes, bytes);
}

function expectedPacket(
  packet: IConnectPacket,
  fields: Record<string, string>,
  rewrite: Record<string, Part[] | undefined>,
): IConnectPacket | undefined {
  const { client_id: clientId, username, password } = rewrite;
  const leavesEmpty = packet.clientId === '' && clientId?.some((one) => 'field' in one && one.field === 'client_id');
  const names = {
    clientId: clientId === undefined || leavesEmpty ? packet.clientId : said(clientId, fields),
    username: username === undefined ? packet.username : said(username, fields),
    password: password === undefined ? packet.password : bytesOf(said(password, fields)),
  };
  const lacks = (one: Part[] | undefined) => one !== undefined && said(one, fields) === undefined;
  if ((!leavesEmpty && lacks(clientId)) || lacks(username) || lacks(password)) return undefined;
  // MQTT 3 has no password without a user name.
  if (names.password !== undefined && packet.protocolVersion !== 5) names.username ??= '';
  return { ...packet, ...names } as IConnectPacket;
}

function bytesOf(one: string | undefined): Buffer | undefined {
  return one === undefined ? undefined : Buffer.from(one);
}

function mqttPacketOf(bytes: Buffer, version: number): { packet: IConnectPacket; behind: Buffer } {
  const length = packetBytes(bytes);
  let found: IConnectPacket | undefined;
  const reader = mqttPacket.parser({ protocolVersion: version });
  reader.on('packet', (packet) => {
    found = packet as IConnectPacket;
  });
  reader.on('error', (error) => assert.fail(error));
  reader.parse(bytes.subarray(0, length));
  assert.ok(found !== undefined, bytes.toString('hex'));
  return { packet: found, behind: bytes.subarray(length) };
}

function packetBytes(bytes: Buffer): number {
  let length = 0;
  for (let index = 1; ; index++) {
    length += (bytes[index]! & 0x7f) * 128 ** (index - 1);
    if (bytes[index]! < 0x80) return 1 + index + length;
  }
}

/** What stands in the packet, and not where; mqtt-packet leaves out empty texts and payloads here and there. */
function plain({
  protocolId,
  protocolVersion,
  clean,
  clientId,
  keepalive,
  username,
  password,
  will,
  properties,
}: IConnectPacket) {
  return {
    protocolId,
    protocolVersion,
    clean,
    clientId: String(clientId),
    keepalive,
    username: username === undefined || username === null ? null : String(username),
    password: password === undefined || password === null ? null : Buffer.from(password).toString('hex'),
    will: will && {
      topic: String(will.topic),
      payload: Buffer.from(will.payload).toString('hex'),
      qos: will.qos,
      retain: will.retain,
      properties: JSON.stringify(will.properties ?? {}) === '{}' ? null : JSON.parse(JSON.stringify(will.properties)),
    },
    properties: JSON.stringify(properties ?? {}) === '{}' ? null : JSON.parse(JSON.stringify(properties)),
  };
}

/** As RFC 5952 has it, as which URLs are written too; a mapped address is the IPv4 one. */
function textOf(from: string): string {
  if (isIP(from) === 4) return from;
  const text = new URL(`http://[${from}]`).hostname.slice(1, -1);
  const [, high, low] = /^::ffff:([0-9a-f]+):([0-9a-f]+)$/.exec(text) ?? [];
  if (high === undefined || low === undefined) return text;
  const [first, second] = [Number.parseInt(high, 16), Number.parseInt(low, 16)];
  return [first >> 8, first & 255, second >> 8, second & 255].join('.');
}

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
