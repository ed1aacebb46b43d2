// The same work in plain JavaScript, as one would write it without WASM.

export interface Point {
  hash: number;
  member: number;
}

/** The ClientId of a CONNECT packet that is trusted to be whole and right. */
export function findClientId(packet: Buffer): string {
  let at = 1;
  while (packet[at]! >= 128) at++;
  at++;
  const nameBytes = packet.readUInt16BE(at);
  const level = packet[at + 2 + nameBytes]!;
  at += 2 + nameBytes + 4;
  if (level === 5) at += propertiesBytes(packet, at);
  return packet.toString('utf8', at + 2, at + 2 + packet.readUInt16BE(at));
}

function propertiesBytes(packet: Buffer, at: number): number {
  let length = 0;
  for (let index = 0; ; index++) {
    const byte = packet[at + index]!;
    length += (byte & 127) * 128 ** index;
    if (byte < 128) return index + 1 + length;
  }
}

const crcTable = Uint32Array.from({ length: 256 }, (_, index) => {
  let value = index;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

export function crc32Plain(key: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of key) crc = crcTable[(crc ^ byte) & 255]! ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

const WORD = 0xffff_ffff_ffff_ffffn;

/** SipHash-2-4 under a key of zeros. 64-bit words are BigInts in JavaScript, and that is what they cost. */
export function sipHashPlain(key: Uint8Array): bigint {
  const state: State = [0x736f6d6570736575n, 0x646f72616e646f6dn, 0x6c7967656e657261n, 0x7465646279746573n];
  const view = new DataView(key.buffer, key.byteOffset, key.length);
  const whole = key.length & ~7;
  for (let at = 0; at < whole; at += 8) mix(state, view.getBigUint64(at, true));
  let last = BigInt(key.length & 255) << 56n;
  for (let at = whole; at < key.length; at++) last |= BigInt(key[at]!) << BigInt(8 * (at - whole));
  mix(state, last);
  state[2] ^= 0xffn;
  for (let count = 0; count < 4; count++) round(state);
  return state[0] ^ state[1] ^ state[2] ^ state[3];
}

type State = [bigint, bigint, bigint, bigint];

function mix(state: State, word: bigint): void {
  state[3] ^= word;
  round(state);
  round(state);
  state[0] ^= word;
}

function round(state: State): void {
  let [v0, v1, v2, v3] = state;
  v0 = (v0 + v1) & WORD;
  v1 = rotate(v1, 13n) ^ v0;
  v0 = rotate(v0, 32n);
  v2 = (v2 + v3) & WORD;
  v3 = rotate(v3, 16n) ^ v2;
  v0 = (v0 + v3) & WORD;
  v3 = rotate(v3, 21n) ^ v0;
  v2 = (v2 + v1) & WORD;
  v1 = rotate(v1, 17n) ^ v2;
  v2 = rotate(v2, 32n);
  state[0] = v0;
  state[1] = v1;
  state[2] = v2;
  state[3] = v3;
}

function rotate(word: bigint, bits: bigint): bigint {
  return ((word << bits) | (word >> (64n - bits))) & WORD;
}

/** Highest random weight, every member scored for every key. */
export function rendezvousPlain(key: Uint8Array, names: readonly string[]): number {
  const hash = crc32Plain(key);
  let best = 0;
  let bestScore = -1;
  for (const [index, name] of names.entries()) {
    const score = scramble(hash ^ Math.imul(name.length * 31 + index, 0x9e3779b1));
    if (score > bestScore) {
      bestScore = score;
      best = index;
    }
  }
  return best;
}

function scramble(value: number): number {
  const once = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  const twice = Math.imul(once ^ (once >>> 13), 0xc2b2ae35);
  return (twice ^ (twice >>> 16)) >>> 0;
}

/** The first point that isn't below the hash, or the first of all. */
export function ringLookUp(points: readonly Point[], hash: number): number {
  let low = 0;
  let high = points.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (points[middle]!.hash < hash) low = middle + 1;
    else high = middle;
  }
  return (points[low] ?? points[0]!).member;
}
