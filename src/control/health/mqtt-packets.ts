// The little MQTT that a probe speaks: CONNECT and DISCONNECT out, CONNACK in. Everybody else's packets pass through the
// data plane as they are, which never has to write one of these.
const PACKET_CONNECT = 0x10;
const PACKET_CONNACK = 0x20;
const FLAG_CLEAN_START = 0x02;
const FLAG_PASSWORD = 0x40;
const FLAG_USERNAME = 0x80;
const LENGTH_BYTES_MAX = 4;

/** 4: MQTT 3.1.1, 5: MQTT 5.0. */
export type Version = 4 | 5;

export interface ConnectFields {
  version: Version;
  clientId: string;
  username: string | null;
  password: string | null;
  keepAliveSeconds: number;
}

/** With reason code 0 in MQTT 5.0, which may be left out [3.14.2.1]. */
export const DISCONNECT = Buffer.from([0xe0, 0]);

/** Always a clean start: a probe leaves nothing behind, since without properties a session ends with its connection. */
export function encodeConnect({ version, clientId, username, password, keepAliveSeconds }: ConnectFields): Buffer {
  const flags = FLAG_CLEAN_START | (username === null ? 0 : FLAG_USERNAME) | (password === null ? 0 : FLAG_PASSWORD);
  const body = Buffer.concat([
    encodeText('MQTT'),
    Buffer.from([version, flags, keepAliveSeconds >> 8, keepAliveSeconds & 0xff]),
    Buffer.alloc(version === 5 ? 1 : 0), // no properties
    encodeText(clientId),
    ...(username === null ? [] : [encodeText(username)]),
    ...(password === null ? [] : [encodeText(password)]),
  ]);
  return Buffer.concat([Buffer.from([PACKET_CONNECT]), encodeLength(body.length), body]);
}

export type Connack = { state: 'partial' } | { state: 'malformed' } | { state: 'complete'; code: number };

/** Knows enough with the code: a version 5 packet may go on with properties. */
export function readConnack(bytes: Uint8Array, version: Version): Connack {
  if (bytes.length > 0 && bytes[0] !== PACKET_CONNACK) return { state: 'malformed' };
  const length = readLength(bytes);
  if (length === null) return { state: bytes.length <= LENGTH_BYTES_MAX ? 'partial' : 'malformed' };
  if (bytes.length < length.end + 2) return { state: length.value < 2 ? 'malformed' : 'partial' };
  const code = bytes[length.end + 1]!;
  // A server that doesn't know version 5 answers as it can, in two bytes.
  const isWellFormed = length.value === 2 ? version === 4 || code !== 0 : version === 5;
  return isWellFormed ? { state: 'complete', code } : { state: 'malformed' };
}

/** UTF-8 behind its length in two bytes [1.5.4]. */
function encodeText(text: string): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 0xff]), bytes]);
}

/** Seven bits a byte, the lowest first [1.5.5]. */
function encodeLength(length: number): Buffer {
  const bytes: number[] = [];
  for (let rest = length; ; rest >>= 7) {
    if (rest < 0x80) return Buffer.from([...bytes, rest]);
    bytes.push((rest & 0x7f) | 0x80);
  }
}

/** The length behind the first byte and where it ends; null while it isn't complete. */
function readLength(bytes: Uint8Array): { value: number; end: number } | null {
  let value = 0;
  for (let index = 1; index < Math.min(bytes.length, 1 + LENGTH_BYTES_MAX); index++) {
    value |= (bytes[index]! & 0x7f) << (7 * (index - 1));
    if (bytes[index]! < 0x80) return { value, end: index + 1 };
  }
  return null;
}
