// The CONNECT parser against mqtt-packet, the parser of MQTT.js: what it generates we read the same way, and what it
// accepts or refuses we do too, but for the differences that are listed and explained below.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import mqttPacket, { type IConnectPacket } from 'mqtt-packet';
import { type CompleteConnect, type ParsedConnect, parseConnect } from '../src/core.ts';
import { testSeed } from './tools/random.ts';

// ---- Valid packets --------------------------------------------------------------------------------------------------

/** Any characters but U+0000; 'binary' units are code points without surrogates. */
const text = fc.oneof(
  fc.string({ maxLength: 40 }),
  fc.string({ unit: 'binary', maxLength: 40 }).map((one) => one.replaceAll('\0', 'é')),
);
const longText = fc.tuple(text, fc.nat(400)).map(([one, times]) => `x${one}`.repeat(1 + (times % 30)));
const topic = text.map((one) => `t${one.replaceAll(/[+#]/g, '/')}`);
const payload = fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes));
const u16 = fc.nat(0xffff);
const u32 = fc.nat(0xffffffff);
// At least one: of none mqtt-packet counts bytes that it doesn't write.
const userProperties = fc.dictionary(
  text.filter((name) => name !== '__proto__' && name !== ''),
  fc.oneof(text, fc.array(text, { minLength: 1, maxLength: 3 })),
  { minKeys: 1, maxKeys: 4 },
);

const connectProperties = fc.record(
  {
    sessionExpiryInterval: u32,
    receiveMaximum: fc.integer({ min: 1, max: 0xffff }),
    maximumPacketSize: fc.integer({ min: 1, max: 0xffffffff }),
    topicAliasMaximum: u16,
    requestResponseInformation: fc.boolean(),
    requestProblemInformation: fc.boolean(),
    userProperties,
    authenticationMethod: text,
  },
  { requiredKeys: [] },
);

const willProperties = fc.record(
  {
    willDelayInterval: u32,
    payloadFormatIndicator: fc.boolean(),
    messageExpiryInterval: u32,
    contentType: text,
    responseTopic: topic,
    correlationData: payload,
    userProperties,
  },
  { requiredKeys: [] },
);

const connectPacket = fc
  .record({
    version: fc.constantFrom(3, 4, 5) as fc.Arbitrary<3 | 4 | 5>,
    clean: fc.boolean(),
    clientId: fc.oneof(text, longText),
    keepalive: u16,
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
    properties: connectProperties,
  })
  .map(({ version, clean, clientId, password, will, properties, ...same }): IConnectPacket => {
    return {
      ...same,
      cmd: 'connect',
      protocolId: version === 3 ? 'MQIsdp' : 'MQTT',
      protocolVersion: version,
      // mqtt-packet, as 3.1.1, generates an empty ClientId only for a clean session, even for 5.0, and none in 3.1.
      clientId: clientId === '' && (version === 3 || !clean) ? 'a' : clientId,
      clean,
      // It doesn't generate a password without a user name, which 5.0 would allow.
      ...(same.username !== undefined && password !== undefined ? { password } : {}),
      ...(will === undefined ? {} : { will: version === 5 ? will : { ...will, properties: undefined } }),
      ...(version === 5 ? { properties } : {}),
    };
  });

test('a CONNECT that mqtt-packet generates is read with the same fields', (context) => {
  const seed = testSeed(context);
  const property = fc.property(connectPacket, (packet) => {
    const bytes = mqttPacket.generate(packet);
    const parsed = parseConnect(bytes);
    assert.equal(parsed.state, 'complete', JSON.stringify(parsed));
    compareFields(parsed as CompleteConnect, packet, bytes.length);
  });
  fc.assert(property, { seed, numRuns: 1000 });
});

function compareFields(parsed: CompleteConnect, packet: IConnectPacket, packetBytes: number): void {
  assert.equal(parsed.packetBytes, packetBytes);
  assert.equal(parsed.version, packet.protocolVersion);
  assert.equal(parsed.cleanStart, packet.clean);
  assert.equal(parsed.clientId, packet.clientId);
  assert.equal(parsed.keepAlive, packet.keepalive);
  assert.equal(parsed.username, packet.username ?? null);
  assert.equal(hex(parsed.password), hex(packet.password));
  assert.equal(parsed.sessionExpiry, packet.properties?.sessionExpiryInterval ?? 0);
  assert.equal(parsed.receiveMaximum, packet.properties?.receiveMaximum ?? 65535);
  assert.equal(parsed.maximumPacketSize, packet.properties?.maximumPacketSize ?? null);
  assert.equal(parsed.topicAliasMaximum, packet.properties?.topicAliasMaximum ?? 0);
  assert.equal(parsed.will === null, packet.will === undefined);
  if (parsed.will === null || packet.will === undefined) return;
  assert.equal(parsed.will.topic, packet.will.topic);
  assert.equal(hex(parsed.will.payload), hex(packet.will.payload as Buffer));
  assert.equal(parsed.will.qos, packet.will.qos ?? 0);
  assert.equal(parsed.will.retain, packet.will.retain ?? false);
}

function hex(bytes: Uint8Array | null | undefined): string | null {
  return bytes === null || bytes === undefined ? null : Buffer.from(bytes).toString('hex');
}

// ---- Damaged packets ------------------------------------------------------------------------------------------------

type Damage =
  | { kind: 'set' | 'insert'; at: number; byte: number }
  | { kind: 'flip'; at: number; bit: number }
  | { kind: 'remove'; at: number };

const at = fc.oneof(fc.nat(20), fc.nat(200), fc.nat(2000)); // the first bytes decide most
const byte = fc.oneof(fc.nat(255), fc.constantFrom(0x00, 0x01, 0x7f, 0x80, 0xc0, 0xff));
const damage: fc.Arbitrary<Damage> = fc.oneof(
  // Bytes that come or go leave a length that is wrong: once in a while is enough.
  { weight: 8, arbitrary: fc.record({ kind: fc.constant('set' as const), at, byte }) },
  { weight: 8, arbitrary: fc.record({ kind: fc.constant('flip' as const), at, bit: fc.nat(7) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('insert' as const), at, byte }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('remove' as const), at }) },
);

function damaged(packet: Buffer, damages: readonly Damage[]): Buffer {
  const bytes = [...packet];
  for (const one of damages) {
    const index = one.at % bytes.length;
    if (one.kind === 'set') bytes[index] = one.byte;
    else if (one.kind === 'flip') bytes[index] = Number(bytes[index]) ^ (1 << one.bit);
    else if (one.kind === 'insert') bytes.splice(index, 0, one.byte);
    else bytes.splice(index, 1);
  }
  return Buffer.from(bytes);
}

/** Where we refuse what mqtt-packet accepts, and why it does. */
const stricter: Record<string, string> = {
  remaining_length: 'takes a padded length in 5.0',
  protocol_version: 'takes any of its levels with either name, and the bridge bit in 5.0',
  will_flags: 'takes will QoS 3',
  password_without_username: 'takes it in every version',
  utf8: 'replaces ill-formed text by U+FFFD',
  null_character: 'keeps U+0000',
  will_topic: 'takes an empty topic, and wildcards',
  client_id_required: 'leaves empty ClientIds to the broker',
  trailing_bytes: 'ignores what is left in the packet',
  property_unknown: "takes any packet's properties, in CONNECT and in the will",
  property_duplicate: 'gathers them in an array',
  property_value: 'takes any value',
  property_length: "doesn't compare the values with the properties' length, nor that with its shortest form",
};

/** Where we accept what mqtt-packet refuses: 3.1 disregards these, and mqtt-packet applies 3.1.1 to it. */
const isLenient31 = (parsed: CompleteConnect, error: string) =>
  parsed.version === 3 && /Will (Retain|QoS)|flag bit 0|Cannot parse (username|password)/.test(error);

test('a damaged CONNECT is refused where mqtt-packet refuses it, and where it is too lenient', (context) => {
  const seed = testSeed(context);
  const outcomes = { complete: 0, partial: 0, refused: 0 };
  const damages = fc.array(damage, { minLength: 1, maxLength: 2 });
  const property = fc.property(connectPacket, damages, (packet, list) => {
    const bytes = damaged(mqttPacket.generate(packet), list);
    const parsed = parseConnect(bytes);
    outcomes[parsed.state]++;
    compareOutcomes(parsed, askOracle(bytes), bytes);
  });
  fc.assert(property, { seed, numRuns: 4000 });
  context.diagnostic(JSON.stringify(outcomes));
});

interface OracleAnswer {
  packet?: IConnectPacket;
  error?: string;
}

/** The first thing that mqtt-packet says; neither means that it waits for more bytes. */
function askOracle(bytes: Buffer): OracleAnswer {
  const answers: OracleAnswer[] = [];
  const parser = mqttPacket.parser();
  parser.on('packet', (packet) => answers.push({ packet: packet as IConnectPacket }));
  parser.on('error', (error: Error) => answers.push({ error: error.message }));
  try {
    parser.parse(bytes);
  } catch (error) {
    answers.push({ error: String(error) }); // it reads past its own buffer
  }
  return answers[0] ?? {};
}

function compareOutcomes(parsed: ParsedConnect, oracle: OracleAnswer, bytes: Buffer): void {
  const story = `${bytes.toString('hex')} ${JSON.stringify(parsed)} ${JSON.stringify(oracle)}`;
  if (parsed.state === 'complete') {
    if (oracle.error !== undefined) assert.ok(isLenient31(parsed, oracle.error), story);
    else if (oracle.packet === undefined) assert.fail(story);
    else compareFields(parsed, oracle.packet, parsed.packetBytes);
  } else if (parsed.state === 'partial') {
    assert.equal(oracle.packet, undefined, story);
  } else if (oracle.packet?.cmd === 'connect') {
    assert.ok(parsed.reason in stricter, story);
  }
}
