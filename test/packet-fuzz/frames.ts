// WebSocket frames after RFC 6455, written and read a second time in the plainest way: what the front door is compared
// with. The reader takes whole streams, and says what a server must make of them.
import { isUtf8 } from 'node:buffer';

export const CONTINUATION = 0;
export const TEXT = 1;
export const BINARY = 2;
export const CLOSE = 8;
export const PING = 9;
export const PONG = 10;
const FIN = 0x80;
const MASKED = 0x80;
const CONTROL_BYTES_MAX = 125;
const PROTOCOL_ERROR = 1002;
const UNSUPPORTED_DATA = 1003;
const NO_STATUS = 1005;
const INVALID_PAYLOAD = 1007;
const TOO_BIG = 1009;

export interface Frame {
  opcode: number;
  payload: Uint8Array;
  isLast?: boolean;
  /** Reserved bits, as they stand in the first byte. */
  reserved?: number;
  /** None: not masked. */
  mask?: Uint8Array | undefined;
  /** Other than the payload's: a lie. */
  length?: bigint;
  /** A length written longer than it must be. */
  lengthBytes?: 0 | 2 | 8;
}

export function encodeFrame({ opcode, payload, isLast = true, reserved = 0, mask, ...size }: Frame): Buffer {
  const { length = BigInt(payload.length), lengthBytes = length < 126 ? 0 : length < 65536 ? 2 : 8 } = size;
  const head = Buffer.alloc(2 + lengthBytes);
  head[0] = (isLast ? FIN : 0) | reserved | opcode;
  head[1] = (mask === undefined ? 0 : MASKED) | (lengthBytes === 0 ? Number(length) : lengthBytes === 2 ? 126 : 127);
  if (lengthBytes === 2) head.writeUInt16BE(Number(length), 2);
  if (lengthBytes === 8) head.writeBigUInt64BE(length, 2);
  if (mask === undefined) return Buffer.concat([head, payload]);
  return Buffer.concat([head, mask, masked(payload, mask)]);
}

function masked(payload: Uint8Array, mask: Uint8Array): Buffer {
  return Buffer.from(payload.map((byte, index) => byte ^ mask[index & 3]!));
}

export interface Reading {
  /** Of binary messages, joined. */
  bytes: Buffer;
  pings: Buffer[];
  pongs: Buffer[];
  /** The code that the reader closes with; undefined: it waits for more. */
  code: number | undefined;
}

/** `from`: the end that has written them; clients mask, servers don't. */
export function readFrames(
  stream: Buffer,
  from: 'client' | 'server',
  messageBytesMax = Number.POSITIVE_INFINITY,
): Reading {
  const reading: Reading = { bytes: Buffer.alloc(0), pings: [], pongs: [], code: undefined };
  const messages: Buffer[] = [];
  let begun: { opcode: number; parts: Buffer[]; bytes: number } | undefined;
  for (let at = 0; reading.code === undefined; ) {
    const found = readFrame(stream, at, from, begun !== undefined, messageBytesMax - (begun?.bytes ?? 0));
    if (found === undefined) break;
    if (typeof found === 'number') {
      reading.code = found;
      break;
    }
    at = found.end;
    if (found.opcode === PING) reading.pings.push(found.payload);
    else if (found.opcode === PONG) reading.pongs.push(found.payload);
    else if (found.opcode === CLOSE) reading.code = closeCode(found.payload);
    if (found.opcode >= CLOSE) continue;
    begun ??= { opcode: found.opcode, parts: [], bytes: 0 };
    begun.parts.push(found.payload);
    begun.bytes += found.payload.length;
    if (!found.isLast) continue;
    const message = Buffer.concat(begun.parts);
    if (begun.opcode === TEXT) reading.code = isUtf8(message) ? UNSUPPORTED_DATA : INVALID_PAYLOAD;
    else messages.push(message);
    begun = undefined;
  }
  reading.bytes = Buffer.concat(messages);
  return reading;
}

interface Found {
  opcode: number;
  isLast: boolean;
  payload: Buffer;
  end: number;
}

/** The frame at `at`, the code that answers it, or undefined as long as neither is known. */
function readFrame(
  stream: Buffer,
  at: number,
  from: 'client' | 'server',
  isBegun: boolean,
  room: number,
): Found | number | undefined {
  if (stream.length < at + 2) return undefined;
  const [first, second] = [stream[at]!, stream[at + 1]!];
  const opcode = first & 0x0f;
  const isLast = (first & FIN) !== 0;
  const isControl = opcode >= CLOSE;
  const isKnown = opcode <= BINARY || (isControl && opcode <= PONG);
  if ((first & 0x70) !== 0 || !isKnown) return PROTOCOL_ERROR;
  if (isControl ? !isLast || (second & 0x7f) > CONTROL_BYTES_MAX : (opcode === CONTINUATION) !== isBegun)
    return PROTOCOL_ERROR;
  if (opcode === CLOSE && (second & 0x7f) === 1) return PROTOCOL_ERROR;
  if (((second & MASKED) !== 0) !== (from === 'client')) return PROTOCOL_ERROR;
  const lengthBytes = { 126: 2, 127: 8 }[second & 0x7f] ?? 0;
  if (stream.length < at + 2 + lengthBytes) return undefined;
  const length = readLength(stream, at + 2, lengthBytes, second & 0x7f);
  if (!isControl && length > room) return TOO_BIG;
  const payload = at + 2 + lengthBytes + (from === 'client' ? 4 : 0);
  const end = payload + length;
  if (stream.length < end) return undefined;
  const bytes = stream.subarray(payload, end);
  return {
    opcode,
    isLast,
    end,
    payload: from === 'client' ? masked(bytes, stream.subarray(payload - 4, payload)) : bytes,
  };
}

function readLength(stream: Buffer, at: number, lengthBytes: number, short: number): number {
  if (lengthBytes === 0) return short;
  return lengthBytes === 2 ? stream.readUInt16BE(at) : Number(stream.readBigUInt64BE(at));
}

/** What a CLOSE is answered with: its own code, where it has a good one. */
function closeCode(payload: Buffer): number {
  if (payload.length === 0) return NO_STATUS;
  const code = payload.readUInt16BE(0);
  const isCode = (code >= 1000 && code <= 1014 && ![1004, 1005, 1006].includes(code)) || (code >= 3000 && code <= 4999);
  if (!isCode) return PROTOCOL_ERROR;
  return isUtf8(payload.subarray(2)) ? code : INVALID_PAYLOAD;
}
