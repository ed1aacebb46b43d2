// nginx's ring (`hash ... consistent` of its stream module), point for point, so that a move from nginx moves no client.
//
// A server stands at 160 points per weight. A point's hash is the CRC-32 of host, NUL, port and the four little-endian
// bytes of the server's point before it, zero for the first. Where two points share a hash, the server listed first
// keeps it. A key goes to the first point not below its own CRC-32, past the last point to the first.
import { NONE, POINT_BYTES, POINTS_MAX, POINTS_PER_WEIGHT } from '../layout';
import { memberAt, Pool } from '../memory';
import { crc32 } from './hash';
import { nameAt, nameBytesAt } from './table';

const DIGIT_COUNT: u32 = 256;
const DIGIT_COUNTS_BYTES: u32 = DIGIT_COUNT * 4;

/** One place on the ring, 8 bytes as layout.ts draws it. */
@unmanaged
class Point {
  hash: u32;
  member: u32;
}
if (offsetof<Point>() != POINT_BYTES) ERROR('Point changed its size');

/** Points before equal hashes are thrown out: at least what the table needs. Over POINTS_MAX is for the caller to refuse. */
export function pointCountMax(pool: Pool): u32 {
  let count: u32 = 0;
  for (let index: u32 = 0; index < pool.memberCount; index++) count += pointsOf(pool, index);
  return count;
}

/** Bytes that buildPoints needs beside the block: a second copy of the points, and counts for its sort. */
export function pointScratchBytes(pool: Pool): u32 {
  return min(pointCountMax(pool), POINTS_MAX) * POINT_BYTES + DIGIT_COUNTS_BYTES;
}

/** Fills the ring in ascending order and returns the number of its points. */
export function buildPoints(pool: Pool, names: usize, scratch: usize): u32 {
  const points = changetype<usize>(pool) + pool.table;
  let end = points;
  for (let index: u32 = 0; index < pool.memberCount; index++) {
    end = appendPoints(end, index, pointsOf(pool, index), nameAt(names, index), nameBytesAt(names, index));
  }
  const count = <u32>((end - points) / POINT_BYTES);
  sortPoints(points, count, scratch);
  return dropEqualHashes(points, count);
}

function pointsOf(pool: Pool, index: u32): u32 {
  const member = memberAt(pool, index);
  return member.backup != 0 ? 0 : member.weight * POINTS_PER_WEIGHT;
}

function appendPoints(at: usize, member: u32, count: u32, name: usize, nameBytes: u32): usize {
  const base = hashOfServer(name, nameBytes);
  const end = at + count * POINT_BYTES;
  for (let previous: u32 = 0; at < end; at += POINT_BYTES) {
    // The place of the new point holds the hash before it for a moment: CRC-32 reads memory.
    store<u32>(at, previous);
    previous = crc32(base, at, 4);
    store<u32>(at, previous);
    store<u32>(at, member, offsetof<Point>('member'));
  }
  return end;
}

/** CRC-32 of host, NUL, port. The port is what follows the last colon, if that is all digits; "unix:" isn't hashed. */
function hashOfServer(name: usize, nameBytes: u32): u32 {
  let hostBytes = nameBytes;
  let portBytes: u32 = 0;
  if (isUnixSocket(name, nameBytes)) {
    name += 5;
    hostBytes -= 5;
  } else {
    let digits: u32 = 0;
    while (digits < nameBytes && isDigit(load<u8>(name + nameBytes - digits - 1))) digits++;
    if (digits < nameBytes && load<u8>(name + nameBytes - digits - 1) == 0x3a) {
      portBytes = digits;
      hostBytes = nameBytes - digits - 1;
    }
  }
  const host = crc32(0, name, hostBytes);
  return crc32(crcOfNul(host), name + hostBytes + 1, portBytes);
}

/** "unix:" in any case. */
function isUnixSocket(name: usize, nameBytes: u32): bool {
  return nameBytes >= 5 && (load<u32>(name) | 0x20202020) == 0x78696e75 && load<u8>(name + 4) == 0x3a;
}

function isDigit(byte: u8): bool {
  return byte >= 0x30 && byte <= 0x39;
}

const NUL: usize = memory.data<u8>([0]);

function crcOfNul(seed: u32): u32 {
  return crc32(seed, NUL, 1);
}

/** By hash, a byte at a time from the lowest. Each pass keeps equals in order, so the member listed first stays first. */
function sortPoints(points: usize, count: u32, scratch: usize): void {
  let from = points;
  let to = scratch + DIGIT_COUNTS_BYTES;
  for (let shift: u32 = 0; shift < 32; shift += 8) {
    sortByDigit(from, to, count, shift, scratch);
    const sorted = to;
    to = from;
    from = sorted;
  }
}

function sortByDigit(from: usize, to: usize, count: u32, shift: u32, counts: usize): void {
  const end = from + count * POINT_BYTES;
  memory.fill(counts, 0, DIGIT_COUNTS_BYTES);
  for (let at = from; at < end; at += POINT_BYTES) {
    const digit = counts + (((load<u32>(at) >>> shift) & 255) << 2);
    store<u32>(digit, load<u32>(digit) + 1);
  }
  let before: u32 = 0;
  for (let digit = counts; digit < counts + DIGIT_COUNTS_BYTES; digit += 4) {
    const here = load<u32>(digit);
    store<u32>(digit, before);
    before += here;
  }
  for (let at = from; at < end; at += POINT_BYTES) {
    const digit = counts + (((load<u32>(at) >>> shift) & 255) << 2);
    const place = load<u32>(digit);
    store<u32>(digit, place + 1);
    store<u64>(to + place * POINT_BYTES, load<u64>(at));
  }
}

function dropEqualHashes(points: usize, count: u32): u32 {
  if (count == 0) return 0;
  let kept: u32 = 1;
  for (let index: u32 = 1; index < count; index++) {
    const point = points + index * POINT_BYTES;
    if (load<u32>(point) == load<u32>(points + (kept - 1) * POINT_BYTES)) continue;
    store<u64>(points + kept * POINT_BYTES, load<u64>(point));
    kept++;
  }
  return kept;
}

/** The member of the first point not below `hash`, or the next one clockwise that is eligible. One must be. */
export function walkPoints(pool: Pool, hash: u32, eligible: u64): u32 {
  const points = changetype<usize>(pool) + pool.table;
  let index = firstNotBelow(points, pool.entryCount, hash);
  for (let step: u32 = 0; step < pool.entryCount; step++, index++) {
    if (index >= pool.entryCount) index = 0;
    const member = changetype<Point>(points + index * POINT_BYTES).member;
    if ((eligible >> member) & 1) return member;
  }
  return NONE;
}

function firstNotBelow(points: usize, count: u32, hash: u32): u32 {
  let low: u32 = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (changetype<Point>(points + middle * POINT_BYTES).hash < hash) low = middle + 1;
    else high = middle;
  }
  return low;
}
