// Socket addresses as the kernel spells them, SOCKADDR_BYTES_MAX each.
//
//   IPv4: family u16 | port, big endian | 4 address bytes | zeros
//   IPv6: family u16 | port, big endian | flow u32 | 16 address bytes | scope u32
import { SOCKADDR_BYTES_MAX } from '../layout';
import { AF_INET, AF_INET6 } from '../uring/abi';

/** Of `address` 4 or 16 bytes, as the family has them, and 2 of `port` are read, all in network order. */
export function writeSockaddr(out: usize, family: u32, address: usize, port: usize): void {
  emptySockaddr(out, family);
  store<u16>(out, load<u16>(port), 2);
  if (family == AF_INET6) memory.copy(out + 8, address, 16);
  else store<u32>(out, load<u32>(address), 4);
}

/** Its port and its address are zeros. */
export function emptySockaddr(out: usize, family: u32): void {
  memory.fill(out, 0, SOCKADDR_BYTES_MAX);
  store<u16>(out, <u16>family);
}

/** Not that of a peer which was never known. */
export function isKnown(sockaddr: usize): bool {
  return load<u16>(sockaddr) == AF_INET || load<u16>(sockaddr) == AF_INET6;
}

/** An IPv4 address, be it in an IPv6 one (::ffff:a.b.c.d). */
export function isIPv4(sockaddr: usize): bool {
  if (load<u16>(sockaddr) == AF_INET) return true;
  return load<u64>(sockaddr, 8) == 0 && load<u32>(sockaddr, 16) == 0xffff0000;
}

/** Stands for all addresses of its family, and of IPv4 too. */
export function isWildcard6(sockaddr: usize): bool {
  return load<u16>(sockaddr) == AF_INET6 && load<u64>(sockaddr, 8) == 0 && load<u64>(sockaddr, 16) == 0;
}

/** Where the 4 bytes stand of one that isIPv4, or the last 4 of any other. */
export function address4(sockaddr: usize): usize {
  return sockaddr + (load<u16>(sockaddr) == AF_INET ? 4 : 20);
}

/** Writes the 16 bytes of an IPv6 address, an IPv4 one as ::ffff:a.b.c.d. */
export function writeAddress6(sockaddr: usize, out: usize): void {
  if (load<u16>(sockaddr) == AF_INET6) {
    memory.copy(out, sockaddr + 8, 16);
    return;
  }
  store<u64>(out, 0);
  store<u32>(out, 0xffff0000, 8);
  store<u32>(out, load<u32>(sockaddr, 4), 12);
}
