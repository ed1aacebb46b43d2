// The CONNECT parser against mqtt-packet, the parser of MQTT.js: what it generates we read the same way, and what it
// accepts or refuses we do too, but for the differences that are listed and explained below.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import mqttPacket, { type IConnectPacket } from 'mqtt-packet';
import { type CompleteConnect, type ParsedConnect, parseConnect } from '../../src/core.ts';
import { askOracle, connectPacket, type OracleAnswer } from './clients.ts';
import { beginning, damaged, variant } from './damage.ts';
import { Tally, type Target } from './target.ts';

const VARIANTS_MAX = 16;
const tally = new Tally();

const property = fc.property(
  connectPacket,
  fc.array(variant, { minLength: 1, maxLength: VARIANTS_MAX, size: 'max' }),
  fc.uint8Array({ maxLength: 40 }),
  (packet, variants, noise) => {
    checkGood(packet, noise, variants[0]!.cut);
    for (const { damages, cut } of variants) checkAny(damaged(mqttPacket.generate(packet), damages), cut);
    checkAny(Buffer.concat([Buffer.of(0x10, noise.length), noise]), variants[0]!.cut);
  },
);

export const connect: Target = { name: 'connect', property, runs: 400, tally };

function checkGood(packet: IConnectPacket, rest: Uint8Array, cut: number): void {
  const bytes = mqttPacket.generate(packet);
  const parsed = parseConnect(Buffer.concat([bytes, rest]));
  tally.count(parsed.state);
  assert.ok(parsed.state === 'complete', `${bytes.toString('hex')} ${JSON.stringify(parsed)}`);
  assert.equal(parsed.packetBytes, bytes.length);
  compareFields(parsed, packet);
  const piece = bytes.subarray(0, cut % bytes.length);
  assert.equal(parseConnect(piece).state, 'partial', piece.toString('hex'));
}

function checkAny(bytes: Buffer, cut: number): void {
  const parsed = parseConnect(bytes);
  tally.count(parsed.state);
  compareOutcomes(parsed, askOracle(bytes), bytes);
  const early = parseConnect(beginning(bytes, cut));
  if (early.state !== 'partial') assert.deepEqual(asItEnds(early), asItEnds(parsed), bytes.toString('hex'));
}

/** Of a packet that is too large the version is answered if it has come already, which the first piece may not have. */
function asItEnds(parsed: ParsedConnect): object {
  if (parsed.state !== 'refused' || parsed.reason !== 'connect_too_large') return parsed;
  const { state, reason, offset } = parsed;
  return { state, reason, offset };
}

function compareFields(parsed: CompleteConnect, packet: IConnectPacket): void {
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

/** Where we refuse what mqtt-packet accepts: why it does, and what shows in what it has read, as far as that shows it. */
const stricter: Record<string, [why: string, shows?: (packet: IConnectPacket) => boolean]> = {
  remaining_length: ['takes a padded length in 5.0'],
  protocol_version: [
    'takes any of its levels with either name, and the bridge bit in 5.0',
    (packet) => 'bridgeMode' in packet || (packet.protocolId === 'MQIsdp') !== (packet.protocolVersion === 3),
  ],
  will_flags: ['takes will QoS 3', ({ will }) => Number(will?.qos) === 3],
  password_without_username: ['takes it in every version', ({ username }) => username === undefined],
  utf8: ['replaces ill-formed text by U+FFFD', (packet) => JSON.stringify(packet).includes('\ufffd')],
  null_character: ['keeps U+0000', (packet) => JSON.stringify(packet).includes('\\u0000')],
  will_topic: ['takes an empty topic, and wildcards', ({ will }) => /^$|[+#]/.test(String(will?.topic))],
  client_id_required: ['leaves empty ClientIds to the broker', ({ clientId }) => clientId === ''],
  trailing_bytes: ['ignores what is left in the packet'],
  property_unknown: ["takes any packet's properties, in CONNECT and in the will"],
  property_duplicate: ['gathers them in an array'],
  property_value: ['takes any value'],
  property_length: ["doesn't compare the values with the properties' length, nor that with its shortest form"],
};

/** Where we accept what mqtt-packet refuses: 3.1 disregards these, and mqtt-packet applies 3.1.1 to it. */
const isLenient31 = (parsed: CompleteConnect, error: string) =>
  parsed.version === 3 && /Will (Retain|QoS)|flag bit 0|Cannot parse (username|password)/.test(error);

function compareOutcomes(parsed: ParsedConnect, oracle: OracleAnswer, bytes: Buffer): void {
  const story = () => `${bytes.toString('hex')} ${JSON.stringify(parsed)} ${JSON.stringify(oracle)}`;
  if (parsed.state === 'complete') {
    if (oracle.error !== undefined) {
      assert.ok(isLenient31(parsed, oracle.error), story());
      tally.differ('taken in 3.1, where mqtt-packet applies 3.1.1');
    } else if (oracle.packet === undefined) assert.fail(story());
    else compareFields(parsed, oracle.packet);
  } else if (parsed.state === 'partial') {
    assert.equal(oracle.packet, undefined, story());
  } else if (oracle.packet?.cmd === 'connect') {
    const [why, shows = () => true] = stricter[parsed.reason] ?? [];
    assert.ok(why !== undefined && shows(oracle.packet), story());
    tally.differ(`${parsed.reason} (mqtt-packet ${why})`);
  }
}
