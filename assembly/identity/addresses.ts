// Where a client comes from: whether it may, and how that is written. An IPv4 address is that of the IPv6 address which it
// is mapped to, ::ffff:a.b.c.d, however the socket spells it.
import { ADDRESS_RANGE_BYTES, ADDRESS_RANGE_LAST, ADDRESSES_BYTES, ADDRESSES_RANGE_COUNT } from '../layout';
import { Cold, peerOf } from '../memory';
import { isIPv4 } from '../mqtt/sockaddr';
import { AF_INET, AF_INET6 } from '../uring/abi';

/** Longest address as text: eight groups of four digits, with seven colons. */
export const ADDRESS_TEXT_BYTES_MAX: u32 = 39;

const MAPPED_PREFIX: u64 = 0x0000ffff00000000;

/** Whether one of these Addresses (layout.ts) is the client's. One that is not known, since the client left, is none. */
export function holdsPeer(addresses: usize, line: Cold): bool {
  const family = familyOf(line);
  if (family != AF_INET && family != AF_INET6) return false;
  const high = highOf(line);
  const low = lowOf(line);
  let begin: u32 = 0;
  let end = load<u32>(addresses, ADDRESSES_RANGE_COUNT);
  // Of the ranges that begin at the address or below it, the last one holds it or none does.
  while (begin < end) {
    const middle = (begin + end) >>> 1;
    const first = rangeAt(addresses, middle);
    if (isBelow(high, low, first)) end = middle;
    else begin = middle + 1;
  }
  return begin > 0 && !isBeyond(high, low, rangeAt(addresses, begin - 1) + ADDRESS_RANGE_LAST);
}

function rangeAt(addresses: usize, index: u32): usize {
  return addresses + ADDRESSES_BYTES + <usize>index * ADDRESS_RANGE_BYTES;
}

function isBelow(high: u64, low: u64, bound: usize): bool {
  return high < load<u64>(bound) || (high == load<u64>(bound) && low < load<u64>(bound, 8));
}

function isBeyond(high: u64, low: u64, bound: usize): bool {
  return high > load<u64>(bound) || (high == load<u64>(bound) && low > load<u64>(bound, 8));
}

/** Writes the client's address as the access log does, a mapped one as IPv4, and returns its bytes; 0 for an unknown one. */
export function writePeerText(line: Cold, out: usize): u32 {
  const family = familyOf(line);
  if (family != AF_INET && family != AF_INET6) return 0;
  const low = lowOf(line);
  const end = isIPv4(peerOf(line)) ? writeIPv4(<u32>low, out) : writeIPv6(highOf(line), low, out);
  return <u32>(end - out);
}

function writeIPv4(address: u32, out: usize): usize {
  let at = writeDecimal(address >>> 24, out);
  for (let shift: i32 = 16; shift >= 0; shift -= 8) {
    store<u8>(at, CHARACTER_DOT);
    at = writeDecimal((address >>> shift) & 0xff, at + 1);
  }
  return at;
}

// RFC 5952: the longest run of two zero groups or more, the first of equal ones, is "::"; no leading zeros, small letters.
function writeIPv6(high: u64, low: u64, out: usize): usize {
  let gap: i32 = -1;
  let gapGroups: i32 = 1;
  for (let first: i32 = 0; first < GROUPS; first++) {
    let last = first;
    while (last < GROUPS && groupAt(high, low, last) == 0) last++;
    if (last - first > gapGroups) {
      gap = first;
      gapGroups = last - first;
    }
  }
  let at = out;
  for (let index: i32 = 0; index < GROUPS; index++) {
    if (index == gap) {
      store<u8>(at++, CHARACTER_COLON);
      index += gapGroups - 1;
      if (index == GROUPS - 1) store<u8>(at++, CHARACTER_COLON);
      continue;
    }
    if (index > 0) store<u8>(at++, CHARACTER_COLON);
    at = writeHex(groupAt(high, low, index), at);
  }
  return at;
}

const GROUPS: i32 = 8;
const CHARACTER_COLON: u8 = 0x3a;
const CHARACTER_DOT: u8 = 0x2e;

function groupAt(high: u64, low: u64, index: i32): u32 {
  const half = index < 4 ? high : low;
  return <u32>(half >> ((3 - (index & 3)) << 4)) & 0xffff;
}

function writeDecimal(value: u32, out: usize): usize {
  if (value >= 100) store<u8>(out++, <u8>(CHARACTER_ZERO + value / 100));
  if (value >= 10) store<u8>(out++, <u8>(CHARACTER_ZERO + ((value / 10) % 10)));
  store<u8>(out++, <u8>(CHARACTER_ZERO + (value % 10)));
  return out;
}

const CHARACTER_ZERO: u32 = 0x30;

function writeHex(value: u32, out: usize): usize {
  let shift: i32 = 12;
  while (shift > 0 && value >> shift == 0) shift -= 4;
  for (; shift >= 0; shift -= 4) store<u8>(out++, hexDigit((value >> shift) & 15));
  return out;
}

export function hexDigit(value: u32): u8 {
  return <u8>(value < 10 ? CHARACTER_ZERO + value : CHARACTER_A + value - 10);
}

const CHARACTER_A: u32 = 0x61;

// struct sockaddr_in has its address at 4, sockaddr_in6 at 8, the first byte first.
function highOf(line: Cold): u64 {
  return familyOf(line) == AF_INET6 ? bswap<u64>(load<u64>(peerOf(line), 8)) : 0;
}

function lowOf(line: Cold): u64 {
  if (familyOf(line) == AF_INET6) return bswap<u64>(load<u64>(peerOf(line), 16));
  return MAPPED_PREFIX | bswap<u32>(load<u32>(peerOf(line), 4));
}

function familyOf(line: Cold): i32 {
  return load<u16>(peerOf(line));
}
