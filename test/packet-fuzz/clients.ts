// CONNECT packets as mqtt-packet writes them, and what it reads: an MQTT library that isn't ours.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import mqttPacket, { type IConnectPacket } from 'mqtt-packet';

/** Any characters but U+0000; 'binary' units are code points without surrogates. */
export const text = fc.oneof(
  fc.string({ maxLength: 20 }),
  fc.string({ unit: 'binary', maxLength: 20 }).map((one) => one.replaceAll('\0', 'é')),
);
const longText = fc.tuple(text, fc.nat(30)).map(([one, times]) => `x${one}`.repeat(1 + times));
const topic = text.map((one) => `t${one.replaceAll(/[+#]/g, '/')}`);
const payload = fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.from(bytes));
const u16 = fc.nat(0xffff);
const u32 = fc.nat(0xffffffff);
const filledText = text.filter((one) => one !== '');
// At least one: of none mqtt-packet counts bytes that it doesn't write. Of several values it forgets an empty one.
const userProperties = fc.dictionary(
  filledText.filter((name) => name !== '__proto__'),
  fc.oneof(text, fc.array(filledText, { minLength: 1, maxLength: 3 })),
  { minKeys: 1, maxKeys: 4, noNullPrototype: true },
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
  { requiredKeys: [], noNullPrototype: true },
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
  { requiredKeys: [], noNullPrototype: true },
);

export const connectPacket = fc
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

export interface OracleAnswer {
  packet?: IConnectPacket;
  error?: string;
}

/** The first thing that mqtt-packet says; neither means that it waits for more bytes. */
export function askOracle(bytes: Buffer): OracleAnswer {
  let answer: OracleAnswer | undefined;
  const parser = mqttPacket.parser();
  parser.on('packet', (packet) => {
    answer ??= { packet: packet as IConnectPacket };
  });
  parser.on('error', (error: Error) => {
    answer ??= { error: error.message };
  });
  try {
    parser.parse(bytes);
  } catch (error) {
    answer ??= { error: String(error) }; // it reads past its own buffer
  }
  return answer ?? {};
}

/** What the bytes begin with, and what follows it. */
export function readConnect(bytes: Buffer): { packet: IConnectPacket; behind: Buffer } {
  const length = packetBytes(bytes);
  const { packet, error } = askOracle(bytes.subarray(0, length));
  assert.ok(packet !== undefined, `${error} ${bytes.toString('hex')}`);
  return { packet, behind: bytes.subarray(length) };
}

function packetBytes(bytes: Buffer): number {
  let length = 0;
  for (let index = 1; ; index++) {
    length += (bytes[index]! & 0x7f) * 128 ** (index - 1);
    if (bytes[index]! < 0x80) return 1 + index + length;
  }
}
