// The source of a client: the network that it comes from, as its listener's prefixes cut it out of the address.

import { Cold, peerOf } from '../memory';
import { address4, isIPv4 } from '../mqtt/sockaddr';
import { AF_INET, AF_INET6 } from '../uring/abi';

/** The prefixes that a listener's clients are counted by, in one word. */
const IPV6_SHIFT: u32 = 8;
const IPV4_MASK: u32 = 0xff;

/**
 * The first bits of the address, the others 0: 32 at most of an IPv4 one, 64 of an IPv6 one. An IPv4 address in an IPv6
 * one (::ffff:a.b.c.d) is an IPv4 address.
 */
export function sourceOfPeer(line: Cold, prefixes: u32): u64 {
  const peer = peerOf(line);
  if (familyOfPeer(line) == <u16>AF_INET6) return bswap<u64>(load<u64>(peer, 8)) & leading(prefixes >> IPV6_SHIFT);
  return ((<u64>bswap<u32>(load<u32>(address4(peer)))) << 32) & leading(prefixes & IPV4_MASK);
}

export function familyOfPeer(line: Cold): u16 {
  const peer = peerOf(line);
  return load<u16>(peer) != AF_INET6 || isIPv4(peer) ? <u16>AF_INET : <u16>AF_INET6;
}

/** So many bits from the highest on, at least one. */
function leading(bits: u32): u64 {
  return ~(<u64>0) << (64 - <u64>bits);
}
