// A stream of pseudo-random bytes that both ends can compute at any offset, so that every byte is compared and not just
// a checksum. All streams are cut from one block, whose length is a prime: each seed begins elsewhere in it, and no
// power of two (a buffer's size, a high-water mark) can be lost or doubled without being seen.
import { Random } from './random.ts';

export const CHUNK_BYTES_MAX = 1 << 20;
const PERIOD = 1_048_573;
const SEED_STRIDE = 7919;

const block = Buffer.alloc(PERIOD + CHUNK_BYTES_MAX);
const random = new Random(1);
for (let offset = 0; offset < PERIOD - 3; offset += 4) block.writeUInt32LE(random.word(), offset);
block.copy(block, PERIOD, 0, CHUNK_BYTES_MAX);

/** At most CHUNK_BYTES_MAX bytes; not to be written to. */
export function contentAt(seed: number, offset: number, length: number): Buffer {
  const begin = (seed * SEED_STRIDE + offset) % PERIOD;
  return block.subarray(begin, begin + length);
}

export function isContent(seed: number, offset: number, bytes: Buffer): boolean {
  return bytes.equals(contentAt(seed, offset, bytes.length));
}
