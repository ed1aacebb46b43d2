// The hash functions: SipHash-2-4 for keys that nobody may aim, CRC-32 for nginx's ring, CRC-32C for PROXY headers, a mixer
// for everything internal.

const CRC_NIBBLES: usize = memory.data<u32>([
  0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c, 0xedb88320,
  0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
]);

// The same for the polynomial of Castagnoli.
const CRC32C_NIBBLES: usize = memory.data<u32>([
  0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d, 0x82f63b78,
  0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
]);

/** SipHash-2-4 (Aumasson and Bernstein) of `length` bytes under the 128-bit key `key0`, `key1` (little-endian halves). */
export function sipHash(key0: u64, key1: u64, bytes: usize, length: u32): u64 {
  let v0: u64 = key0 ^ 0x736f6d6570736575;
  let v1: u64 = key1 ^ 0x646f72616e646f6d;
  let v2: u64 = key0 ^ 0x6c7967656e657261;
  let v3: u64 = key1 ^ 0x7465646279746573;

  // One step for each 8-byte word, one for the tail with the length in its top byte, one to finish.
  const wordCount = length >>> 3;
  for (let step: u32 = 0; step < wordCount + 2; step++) {
    const finishing = step > wordCount;
    let word: u64 = 0;
    if (step < wordCount) word = load<u64>(bytes + (step << 3));
    else if (!finishing) word = tailWord(bytes + (wordCount << 3), length);

    v3 ^= word;
    if (finishing) v2 ^= 0xff;
    const roundCount = finishing ? 4 : 2;
    for (let round = 0; round < roundCount; round++) {
      v0 += v1;
      v1 = rotl<u64>(v1, 13) ^ v0;
      v0 = rotl<u64>(v0, 32);
      v2 += v3;
      v3 = rotl<u64>(v3, 16) ^ v2;
      v0 += v3;
      v3 = rotl<u64>(v3, 21) ^ v0;
      v2 += v1;
      v1 = rotl<u64>(v1, 17) ^ v2;
      v2 = rotl<u64>(v2, 32);
    }
    v0 ^= word;
  }
  return v0 ^ v1 ^ v2 ^ v3;
}

/** The last 0 to 7 bytes, and the whole length modulo 256 on top. */
function tailWord(tail: usize, length: u32): u64 {
  let word = (<u64>length) << 56;
  const tailBytes = length & 7;
  for (let index: u32 = 0; index < tailBytes; index++) word |= (<u64>load<u8>(tail + index)) << (index << 3);
  return word;
}

/** CRC-32 (IEEE), as zlib: `seed` is 0, or the result for the bytes that came before. */
export function crc32(seed: u32, bytes: usize, length: u32): u32 {
  let crc = ~seed;
  for (let index: u32 = 0; index < length; index++) {
    crc ^= load<u8>(bytes + index);
    crc = (crc >>> 4) ^ load<u32>(CRC_NIBBLES + ((crc & 15) << 2));
    crc = (crc >>> 4) ^ load<u32>(CRC_NIBBLES + ((crc & 15) << 2));
  }
  return ~crc;
}

/** CRC-32C, as RFC 3720 has it: `seed` is 0, or the result for the bytes that came before. */
export function crc32c(seed: u32, bytes: usize, length: u32): u32 {
  let crc = ~seed;
  for (let index: u32 = 0; index < length; index++) {
    crc ^= load<u8>(bytes + index);
    crc = (crc >>> 4) ^ load<u32>(CRC32C_NIBBLES + ((crc & 15) << 2));
    crc = (crc >>> 4) ^ load<u32>(CRC32C_NIBBLES + ((crc & 15) << 2));
  }
  return ~crc;
}

/** The finalizer of SplitMix64 (Steele, Lea and Flood): a bijection in which every bit reaches every other. */
export function mix64(value: u64): u64 {
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

/** SplitMix64: a counter through a mixer, so any state will do, also zero. `random`: address of the state. */
export function nextRandom(random: usize): u64 {
  const state = load<u64>(random) + 0x9e3779b97f4a7c15;
  store<u64>(random, state);
  return mix64(state);
}
