// The source of a client: the network that it comes from, as its listener's prefixes cut it out of the address.

import { Cold } from '../memory';
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
  // struct sockaddr_in has its address at 4, sockaddr_in6 at 8.
  const address = bswap<u32>(load<u32>(peer + (load<u16>(peer) == AF_INET6 ? 20 : 4)));
  return ((<u64>address) << 32) & leading(prefixes & IPV4_MASK);
}

export function familyOfPeer(line: Cold): u16 {
  const peer = peerOf(line);
  if (load<u16>(peer) != AF_INET6) return <u16>AF_INET;
  const isMapped = load<u64>(peer, 8) == 0 && load<u32>(peer, 16) == 0xffff0000;
  return isMapped ? <u16>AF_INET : <u16>AF_INET6;
}

/** So many bits from the highest on, at least one. */
function leading(bits: u32): u64 {
  return ~(<u64>0) << (64 - <u64>bits);
}

function peerOf(line: Cold): usize {
  return changetype<usize>(line) + offsetof<Cold>('_peer0');
}
