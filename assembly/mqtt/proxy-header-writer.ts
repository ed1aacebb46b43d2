// The PROXY header that a backend is sent before its client's CONNECT.
import { PP2_TYPE_CRC32C, PROXY_HEADER_BYTES_MAX, PROXY_PROTOCOL_V1 } from '../layout';
import { crc32c } from '../route/hash';
import { writeDecimal, writeIPv4, writeIPv6 } from './ip-text';
import {
  CRC32C_BYTES,
  load16,
  SPACE,
  store16,
  TLV_HEAD_BYTES,
  V1_CRLF,
  V1_PREFIX,
  V1_PREFIX_BYTES,
  V1_UNKNOWN,
  V1_UNKNOWN_BYTES,
  V2_HEAD_BYTES,
  V2_PROXY,
  V2_SIGNATURE,
  V2_SIGNATURE_BYTES,
  V2_TCP4,
  V2_TCP4_BYTES,
  V2_TCP6,
  V2_TCP6_BYTES,
  V2_UNSPEC,
} from './proxy-header';
import { address4, isIPv4, isKnown, isWildcard6, writeAddress6 } from './sockaddr';

/** "::ffff:", before an IPv4 address in an IPv6 one. */
const MAPPED: usize = memory.data<u8>([0x3a, 0x3a, 0x66, 0x66, 0x66, 0x66, 0x3a]);
const MAPPED_BYTES: u32 = 7;

/**
 * `source` and `destination` are sockaddrs. `tlvs` are whole TLVs, for version 2 only, and behind them comes a CRC32C.
 * Returns how many bytes it has written to `out`, 0 when they would be more than PROXY_HEADER_BYTES_MAX.
 */
export function writeProxyHeader(
  version: u32,
  source: usize,
  destination: usize,
  tlvs: usize,
  tlvBytes: u32,
  out: usize,
): u32 {
  if (version == PROXY_PROTOCOL_V1) return writeV1(source, destination, out);
  if (tlvBytes > <u32>PROXY_HEADER_BYTES_MAX - V2_HEAD_BYTES - V2_TCP6_BYTES - TLV_HEAD_BYTES - CRC32C_BYTES) return 0;
  return writeV2(source, destination, tlvs, tlvBytes, out);
}

// A header has one family. Where only one of the two addresses is IPv4, it is written as an IPv6 one; a listener on "::"
// says nothing that could not be said of 0.0.0.0.
function saysIPv4(source: usize, destination: usize): bool {
  return isIPv4(source) && (isIPv4(destination) || isWildcard6(destination));
}

// ---- Version 1 -------------------------------------------------------------------------------------------------------

function writeV1(source: usize, destination: usize, out: usize): u32 {
  memory.copy(out, V1_PREFIX, V1_PREFIX_BYTES);
  let at = out + V1_PREFIX_BYTES;
  if (!isKnown(source)) {
    memory.copy(at, V1_UNKNOWN, V1_UNKNOWN_BYTES);
    at += V1_UNKNOWN_BYTES;
  } else {
    const isText4 = saysIPv4(source, destination);
    store<u32>(at, isText4 ? 0x34504354 : 0x36504354); // "TCP4", "TCP6"
    at += 4;
    at += writeAddress(isText4, source, at);
    at += writeAddress(isText4, destination, at);
    at += writePort(source, at);
    at += writePort(destination, at);
  }
  store<u16>(at, V1_CRLF);
  return <u32>(at + 2 - out);
}

function writeAddress(isText4: bool, sockaddr: usize, out: usize): u32 {
  store<u8>(out, SPACE);
  if (isText4) return 1 + writeIPv4(address4(sockaddr), out + 1);
  if (!isIPv4(sockaddr)) return 1 + writeIPv6(sockaddr + 8, out + 1);
  memory.copy(out + 1, MAPPED, MAPPED_BYTES);
  return 1 + MAPPED_BYTES + writeIPv4(address4(sockaddr), out + 1 + MAPPED_BYTES);
}

function writePort(sockaddr: usize, out: usize): u32 {
  store<u8>(out, SPACE);
  return 1 + writeDecimal(load16(sockaddr + 2), out + 1);
}

// ---- Version 2 -------------------------------------------------------------------------------------------------------

function writeV2(source: usize, destination: usize, tlvs: usize, tlvBytes: u32, out: usize): u32 {
  memory.copy(out, V2_SIGNATURE, V2_SIGNATURE_BYTES);
  store<u8>(out, V2_PROXY, 12);
  const addressBytes = writeAddresses(source, destination, out);
  let at = out + V2_HEAD_BYTES + addressBytes;
  memory.copy(at, tlvs, tlvBytes);
  at += tlvBytes;
  store<u8>(at, <u8>PP2_TYPE_CRC32C);
  store16(at + 1, CRC32C_BYTES);
  at += TLV_HEAD_BYTES;
  store<u32>(at, 0);
  const total = <u32>(at + CRC32C_BYTES - out);
  store16(out + 14, total - V2_HEAD_BYTES);
  store<u32>(at, bswap<u32>(crc32c(0, out, total)));
  return total;
}

/** And the family before them; returns how many bytes they take. */
function writeAddresses(source: usize, destination: usize, out: usize): u32 {
  const at = out + V2_HEAD_BYTES;
  if (!isKnown(source)) {
    store<u8>(out, V2_UNSPEC, 13);
    return 0;
  }
  if (saysIPv4(source, destination)) {
    store<u8>(out, V2_TCP4, 13);
    store<u32>(at, load<u32>(address4(source)));
    store<u32>(at, load<u32>(address4(destination)), 4);
    store<u16>(at, load<u16>(source, 2), 8);
    store<u16>(at, load<u16>(destination, 2), 10);
    return V2_TCP4_BYTES;
  }
  store<u8>(out, V2_TCP6, 13);
  writeAddress6(source, at);
  writeAddress6(destination, at + 16);
  store<u16>(at, load<u16>(source, 2), 32);
  store<u16>(at, load<u16>(destination, 2), 34);
  return V2_TCP6_BYTES;
}
