// What clients begin with: CONNECT packets of every version and size, and what else comes to an MQTT port. Built by hand,
// so that the parser is not asked what it should think of them.
import {
  REASON_CLIENT_ID_REQUIRED,
  REASON_CONNECT_EXPECTED,
  REASON_CONNECT_TOO_LARGE,
  REASON_HTTP_REQUEST,
  REASON_NOT_MQTT,
  REASON_PROPERTY_DUPLICATE,
  REASON_PROTOCOL_VERSION,
  REASON_RESERVED_FLAG,
  REASON_TLS_HELLO,
  REASON_TRAILING_BYTES,
  REASON_WILL_FLAGS,
} from '../../assembly/layout.ts';

export type Version = 3 | 4 | 5;

export interface ConnectFields {
  version: Version;
  clientId: string;
  username: string | null;
  password: string | null;
  /** Length of the will's payload, -1 for no will: what makes a CONNECT large. */
  willBytes: number;
  keepAlive: number;
  /** Maximum Packet Size of 5.0; 0: none is said. */
  packetBytesMax: number;
}

const CLEAN = 2;
const WILL = 4;
const PASSWORD = 64;
const USERNAME = 128;

export function connectPacket(connect: ConnectFields): Uint8Array {
  const { version, clientId, username, password, willBytes, keepAlive, packetBytesMax } = connect;
  const names = (username === null ? 0 : USERNAME) | (password === null ? 0 : PASSWORD);
  const flags = CLEAN | (willBytes >= 0 ? WILL : 0) | names;
  const noProperties = version === 5 ? [0] : [];
  const properties = packetBytesMax > 0 ? [5, 0x27, 0, 0, packetBytesMax >> 8, packetBytesMax & 255] : [0];
  const fields = [
    field(version === 3 ? 'MQIsdp' : 'MQTT'),
    Uint8Array.of(version, flags, keepAlive >> 8, keepAlive & 255, ...(version === 5 ? properties : [])),
    field(clientId),
  ];
  if (willBytes >= 0) fields.push(Uint8Array.from(noProperties), field('last/will'), bytesField(willBytes));
  for (const name of [username, password]) if (name !== null) fields.push(field(name));
  return packet(0x10, fields);
}

/** As an MQTT 5.0 server answers; it accepts with a keep alive of its own. */
export function connackPacket(code: number, serverKeepAlive?: number): Uint8Array {
  if (serverKeepAlive === undefined) return Uint8Array.of(0x20, 3, 0, code, 0);
  return Uint8Array.of(0x20, 6, 0, 0, 3, 0x13, serverKeepAlive >> 8, serverKeepAlive & 255);
}

export const DISCONNECT = Uint8Array.of(0xe0, 0);
export const NO_BYTES = new Uint8Array(0);

export interface Offence {
  bytes: Uint8Array;
  reason: number;
  /** What it is answered, where it is answered at all. */
  reply: Uint8Array;
}

const SILENCE = NO_BYTES;

/** Beginnings that are refused. */
export const offences: readonly Offence[] = [
  { bytes: text('GET / HTTP/1.1\r\nHost: broker\r\n\r\n'), reason: REASON_HTTP_REQUEST, reply: SILENCE },
  { bytes: Uint8Array.of(0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc), reason: REASON_TLS_HELLO, reply: SILENCE },
  { bytes: Uint8Array.of(0xc0, 0), reason: REASON_CONNECT_EXPECTED, reply: SILENCE },
  { bytes: Uint8Array.of(0x01, 2, 3), reason: REASON_NOT_MQTT, reply: SILENCE },
  {
    bytes: packet(0x10, [field('MQTT'), Uint8Array.of(6, 2, 0, 60, 0), field('x')]),
    reason: REASON_PROTOCOL_VERSION,
    reply: connack5(0x84),
  },
  {
    bytes: packet(0x10, [field('MQTT'), Uint8Array.of(3, 2, 0, 60), field('x')]),
    reason: REASON_PROTOCOL_VERSION,
    reply: connack3(1),
  },
  {
    bytes: packet(0x10, [field('MQTT'), Uint8Array.of(4, 0, 0, 60), field('')]),
    reason: REASON_CLIENT_ID_REQUIRED,
    reply: connack3(2),
  },
  {
    bytes: packet(0x10, [field('MQTT'), Uint8Array.of(4, 0x18, 0, 60), field('x')]),
    reason: REASON_WILL_FLAGS,
    reply: SILENCE,
  },
  {
    bytes: packet(0x10, [field('MQTT'), Uint8Array.of(5, 3, 0, 60, 0), field('x')]),
    reason: REASON_RESERVED_FLAG,
    reply: connack5(0x81),
  },
  {
    bytes: packet(0x10, [field('MQTT'), Uint8Array.of(5, 2, 0, 60, 6, 0x21, 0, 9, 0x21, 0, 9), field('x')]),
    reason: REASON_PROPERTY_DUPLICATE,
    reply: connack5(0x82),
  },
  {
    bytes: packet(0x10, [field('MQTT'), Uint8Array.of(5, 2, 0, 60, 0), field('x'), text('more')]),
    reason: REASON_TRAILING_BYTES,
    reply: connack5(0x81),
  },
  {
    bytes: Uint8Array.of(0x10, 0xff, 0xff, 0x7f, 0, 4, 0x4d, 0x51, 0x54, 0x54, 5, 2),
    reason: REASON_CONNECT_TOO_LARGE,
    reply: connack5(0x95),
  },
];

/** The ClientId is not taken. */
export function identifierRejected(version: Version): Uint8Array {
  return version === 5 ? connack5(0x85) : connack3(2);
}

/** Return code 3 and its like in 5.0: no backend could be had. */
export function unavailable(version: Version): Uint8Array {
  return version === 5 ? connack5(0x88) : connack3(3);
}

const CODES_3: Record<number, number> = { 133: 2, 134: 4, 135: 5 };

/** A code of 5.0, or what comes nearest to it. */
export function refusedWith(version: Version, code: number): Uint8Array {
  return version === 5 ? connack5(code) : connack3(CODES_3[code] ?? 3);
}

/** The same, where something has run out that may come back. */
export function overQuota(version: Version): Uint8Array {
  return version === 5 ? connack5(0x97) : connack3(3);
}

/** The same, where there were too many at once. */
export function overRate(version: Version): Uint8Array {
  return version === 5 ? connack5(0x9f) : connack3(3);
}

function connack3(code: number): Uint8Array {
  return Uint8Array.of(0x20, 2, 0, code);
}

function connack5(code: number): Uint8Array {
  return Uint8Array.of(0x20, 3, 0, code, 0);
}

function packet(first: number, fields: Uint8Array[]): Uint8Array {
  const length = fields.reduce((sum, { length }) => sum + length, 0);
  const head = [first];
  let rest = length;
  do {
    head.push((rest & 127) | (rest > 127 ? 128 : 0));
    rest >>>= 7;
  } while (rest > 0);
  return join([Uint8Array.from(head), ...fields], head.length + length);
}

function field(content: string): Uint8Array {
  const bytes = text(content);
  return join([Uint8Array.of(bytes.length >> 8, bytes.length & 255), bytes], bytes.length + 2);
}

function bytesField(length: number): Uint8Array {
  const bytes = new Uint8Array(length + 2).fill(0x77);
  bytes[0] = length >> 8;
  bytes[1] = length & 255;
  return bytes;
}

function join(parts: Uint8Array[], length: number): Uint8Array {
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function text(content: string): Uint8Array {
  return Uint8Array.from(content, (character) => character.charCodeAt(0));
}
