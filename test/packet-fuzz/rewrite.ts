// CONNECTs rewritten by a listener's rules: what mqtt-packet reads in what a broker gets is what the client said, but for
// what the templates say. What damaged ones become, we read ourselves: nothing else may have changed there either.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import mqttPacket, { type IConnectPacket } from 'mqtt-packet';
import { type CompleteConnect, parseConnect } from '../../src/core.ts';
import { textOf } from '../tools/address-text.ts';
import { Decisions } from '../tools/decisions.ts';
import { connectPacket, readConnect, text } from './clients.ts';
import { beginning, damaged, type Variant, variant } from './damage.ts';
import { Tally, type Target } from './target.ts';

/** Snapshots are built anew for each set of rules, so each judges some clients. */
const CLIENTS_PER_RULES_MAX = 50;
/** As the rules below have it. */
const CONNECT_BYTES_MAX = 65536;
const tally = new Tally();
const decisions = await Decisions.make();

interface Visit {
  packet: IConnectPacket;
  from: string;
  behind: Uint8Array;
  variant: Variant;
}

const visit: fc.Arbitrary<Visit> = fc.record({
  packet: connectPacket,
  from: fc.oneof(
    fc.ipV4(),
    fc.ipV6(),
    fc.ipV4().map((one) => `::ffff:${one}`),
    fc.constantFrom('::1', '0.0.0.0'),
  ),
  behind: fc.uint8Array({ maxLength: 50 }),
  variant,
});

type Part = { literal: string } | { field: 'client_id' | 'username' | 'remote_addr' };
type Templates = Record<'client_id' | 'username' | 'password', Part[] | undefined>;

const part: fc.Arbitrary<Part> = fc.oneof(
  fc.oneof(text, fc.string({ minLength: 100, maxLength: 300 })).map((literal) => ({ literal })),
  fc.constantFrom('client_id', 'username', 'remote_addr').map((field) => ({ field }) as Part),
);
const template = fc.option(
  fc.array(part, { minLength: 1, maxLength: 4 }).filter((parts) => written(parts) !== ''),
  { nil: undefined },
);
const rules = fc.record({
  templates: fc.record({ client_id: template, username: template, password: template }),
  empty: fc.constantFrom('allow', 'assign') as fc.Arbitrary<'allow' | 'assign'>,
});

const property = fc.asyncProperty(
  rules,
  fc.array(visit, { minLength: 1, maxLength: CLIENTS_PER_RULES_MAX, size: 'max' }),
  async ({ templates, empty }, visits) => {
    const given = Object.entries(templates).flatMap(([key, parts]) => (parts ? [[key, written(parts)]] : []));
    await decisions.rule({ identity: { client_id: { empty }, rewrite: Object.fromEntries(given) } });
    for (const one of visits) {
      checkGood(one, templates, empty);
      checkDamaged(one, templates, empty);
    }
  },
);

export const rewrite: Target = { name: 'rewrite', property, runs: 35, tally };

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

// ---- What mqtt-packet has written, and reads -------------------------------------------------------------------------

function checkGood({ packet, from, behind }: Visit, templates: Templates, empty: 'allow' | 'assign'): void {
  const bytes = Buffer.concat([mqttPacket.generate(packet), behind]);
  const decision = decisions.decide(bytes, from);
  tally.count(decision.is);
  const isNamed = packet.clientId === '' && empty === 'assign' && packet.protocolVersion !== 5;
  const found = decision.is === 'taken' ? readConnect(decision.bytes) : undefined;
  if (isNamed && found !== undefined && templates.client_id === undefined) {
    assert.match(found.packet.clientId, /^tidegate-[0-9a-f]{14}$/);
  }
  // A name that is drawn by lot shows in what was made of it.
  if (isNamed) return;
  const fields = { client_id: packet.clientId, username: packet.username ?? '', remote_addr: textOf(from) };
  const expected = expectedPacket(packet, fields, templates);
  if (expected === undefined) {
    assert.equal(decision.is === 'refused' && decision.reason, 'rewrite_field_missing');
    return;
  }
  assert.ok(found !== undefined, decision.is === 'refused' ? decision.reason : decision.is);
  assert.deepEqual(plain(found.packet), plain(expected));
  assert.deepEqual(found.behind, Buffer.from(behind));
  if (!hasTemplates(templates)) assert.deepEqual((decision as { bytes: Buffer }).bytes, bytes);
}

function hasTemplates(templates: Templates): boolean {
  return Object.values(templates).some((one) => one !== undefined);
}

function expectedPacket(
  packet: IConnectPacket,
  fields: Record<string, string>,
  { client_id: clientId, username, password }: Templates,
): IConnectPacket | undefined {
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

/** What stands in the packet, and not where; mqtt-packet leaves out empty texts and payloads here and there. */
function plain({ clean, clientId, keepalive, username, password, will, properties, ...same }: IConnectPacket) {
  return {
    protocolId: same.protocolId,
    protocolVersion: same.protocolVersion,
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
      properties: plainProperties(will.properties),
    },
    properties: plainProperties(properties),
  };
}

/** A user property that stands there once is read as one value, however it was given. */
function plainProperties(properties: IConnectPacket['properties']): object | null {
  if (properties === undefined || Object.keys(properties).length === 0) return null;
  const users = Object.entries(properties.userProperties ?? {}).map(([name, values]) => [name, [values].flat()]);
  return JSON.parse(JSON.stringify({ ...properties, userProperties: users }));
}

// ---- What only we read -----------------------------------------------------------------------------------------------

function checkDamaged({ packet, from, variant }: Visit, templates: Templates, empty: 'allow' | 'assign'): void {
  const bytes = damaged(mqttPacket.generate(packet), variant.damages);
  const before = parseConnect(bytes, { packetBytesMax: CONNECT_BYTES_MAX });
  const decision = decisions.decide(bytes, from);
  tally.count(decision.is);
  if (before.state === 'complete') {
    if (decision.is === 'taken') compare(before, bytes, decision.bytes, templates, empty);
    else assert.equal(decision.is === 'refused' && decision.reason, 'rewrite_field_missing', bytes.toString('hex'));
  } else if (before.state === 'refused') {
    assert.equal(decision.is === 'refused' && decision.reason, before.reason, bytes.toString('hex'));
  } else {
    assert.equal(decision.is, 'partial', bytes.toString('hex'));
  }
  const early = decisions.decide(beginning(bytes, variant.cut), from);
  if (early.is === 'refused') assert.equal(decision.is, 'refused', bytes.toString('hex'));
}

/** All but what the rules change: the names, the lengths, and the flags that say which names there are. */
function compare(before: CompleteConnect, from: Buffer, to: Buffer, templates: Templates, empty: 'allow' | 'assign') {
  const after = parseConnect(to);
  assert.ok(after.state === 'complete', `${from.toString('hex')} became ${to.toString('hex')}`);
  const { packetBytes: bytesBefore, ...one } = before;
  const { packetBytes: bytesAfter, ...other } = after;
  assert.deepEqual(to.subarray(bytesAfter), from.subarray(bytesBefore));
  if (templates.client_id === undefined && empty === 'allow') assert.equal(other.clientId, one.clientId);
  if (templates.username === undefined && templates.password === undefined) assert.equal(other.username, one.username);
  if (templates.password === undefined) assert.deepEqual(other.password, one.password);
  const { clientId: _, username: __, password: ___, ...rest } = other;
  assert.deepEqual({ ...one, ...rest }, one);
}
