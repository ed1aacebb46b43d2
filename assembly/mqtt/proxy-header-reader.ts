// A PROXY header at the beginning of a connection. As the CONNECT that follows it, one that came in pieces is parsed
// again from its first byte; bytes that can't be the beginning of one are refused as soon as they are there.
import {
  PARSE_COMPLETE,
  PARSE_PARTIAL,
  PARSE_REFUSED,
  PP2_TYPE_CRC32C,
  PROXY_HEADER_BYTES_MAX,
  PROXY_HEADER_DESTINATION,
  PROXY_HEADER_SOURCE,
} from '../layout';
import { ProxyHeader } from '../memory';
import { crc32c } from '../route/hash';
import { AF_INET, AF_INET6 } from '../uring/abi';
import { isDigit, readIPv4, readIPv6 } from './ip-text';
import {
  CRC32C_BYTES,
  load16,
  SPACE,
  store16,
  TLV_HEAD_BYTES,
  V1_BYTES_MAX,
  V1_CRLF,
  V1_PREFIX,
  V1_PREFIX_BYTES,
  V1_UNKNOWN,
  V1_UNKNOWN_BYTES,
  V2_HEAD_BYTES,
  V2_LOCAL,
  V2_PROXY,
  V2_SIGNATURE,
  V2_SIGNATURE_BYTES,
  V2_TCP4,
  V2_TCP4_BYTES,
  V2_TCP6,
  V2_TCP6_BYTES,
  V2_UNSPEC,
} from './proxy-header';
import { emptySockaddr, writeSockaddr } from './sockaddr';

const ZEROS: usize = memory.data<u8>([0, 0, 0, 0]);

/** PARSE_*. `bytes` are all that came so far; of a complete header `found` says everything, and its length. */
export function parseProxyHeader(bytes: usize, length: u32, found: ProxyHeader): u32 {
  found.bytesTotal = 0;
  found.hasAddress = 0;
  if (length == 0) return PARSE_PARTIAL;
  if (beginsLike(bytes, length, V2_SIGNATURE, V2_SIGNATURE_BYTES)) return parseV2(bytes, length, found);
  if (beginsLike(bytes, length, V1_PREFIX, V1_PREFIX_BYTES)) return parseV1(bytes, length, found);
  return PARSE_REFUSED;
}

/** As far as both go. */
function beginsLike(bytes: usize, length: u32, wanted: usize, wantedBytes: u32): bool {
  return memory.compare(bytes, wanted, min(length, wantedBytes)) == 0;
}

// ---- Version 1 -------------------------------------------------------------------------------------------------------

// Spaces are single, and the line is never longer than it may be: 2.1 leaves no freedom.
function parseV1(bytes: usize, length: u32, found: ProxyHeader): u32 {
  const lineBytes = lineEnd(bytes, min(length, V1_BYTES_MAX));
  if (lineBytes == 0) return length < V1_BYTES_MAX ? PARSE_PARTIAL : PARSE_REFUSED;
  const end = bytes + lineBytes - 2;
  const at = bytes + V1_PREFIX_BYTES;
  found.bytesTotal = lineBytes;
  if (saysUnknown(at, end)) return PARSE_COMPLETE;
  found.hasAddress = 1;
  if (readAddresses(at, end, found)) return PARSE_COMPLETE;
  found.bytesTotal = 0;
  found.hasAddress = 0;
  return PARSE_REFUSED;
}

/** The line's length with its CRLF, 0 when that isn't there. */
function lineEnd(bytes: usize, length: u32): u32 {
  for (let at: u32 = V1_PREFIX_BYTES; at + 2 <= length; at++) {
    if (load<u16>(bytes + at) == V1_CRLF) return at + 2;
  }
  return 0;
}

/** What follows the word is nobody's business, 2.1. */
function saysUnknown(at: usize, end: usize): bool {
  if (end - at < V1_UNKNOWN_BYTES || memory.compare(at, V1_UNKNOWN, V1_UNKNOWN_BYTES) != 0) return false;
  return end - at == V1_UNKNOWN_BYTES || load<u8>(at + V1_UNKNOWN_BYTES) == SPACE;
}

/** "TCP4" or "TCP6", source, destination, source port, destination port. */
function readAddresses(at: usize, end: usize, found: ProxyHeader): bool {
  if (end - at < 5 || load<u8>(at + 4) != SPACE) return false;
  const family = familyOf(load<u32>(at));
  if (family == 0) return false;
  const source = at + 5;
  const sourceEnd = wordEnd(source, end);
  const destination = sourceEnd + 1;
  const destinationEnd = wordEnd(destination, end);
  const sourcePort = destinationEnd + 1;
  const sourcePortEnd = wordEnd(sourcePort, end);
  if (sourcePortEnd >= end) return false;
  const out = changetype<usize>(found);
  if (!readPeer(family, source, sourceEnd, sourcePort, sourcePortEnd, out + PROXY_HEADER_SOURCE)) return false;
  const toEnd = out + PROXY_HEADER_DESTINATION;
  return readPeer(family, destination, destinationEnd, sourcePortEnd + 1, end, toEnd);
}

function familyOf(word: u32): u32 {
  if (word == 0x34504354) return AF_INET; // "TCP4"
  return word == 0x36504354 ? AF_INET6 : 0; // "TCP6"
}

/** Where the next space stands, or the line's end. */
function wordEnd(at: usize, end: usize): usize {
  while (at < end && load<u8>(at) != SPACE) at++;
  return min(at, end);
}

function readPeer(family: u32, at: usize, end: usize, port: usize, portEnd: usize, out: usize): bool {
  if (at > end || port > portEnd) return false;
  emptySockaddr(out, family);
  const isAddress = family == AF_INET ? readIPv4(at, end, out + 4) : readIPv6(at, end, out + 8);
  return isAddress && readPort(port, portEnd, out + 2);
}

/** A decimal number without leading zeros. */
function readPort(at: usize, end: usize, out: usize): bool {
  if (at == end || end - at > 5 || (end - at > 1 && load<u8>(at) == 0x30)) return false;
  let value: u32 = 0;
  for (; at < end; at++) {
    if (!isDigit(load<u8>(at))) return false;
    value = value * 10 + (load<u8>(at) - 0x30);
  }
  store16(out, value);
  return value <= 65535;
}

// ---- Version 2 -------------------------------------------------------------------------------------------------------

function parseV2(bytes: usize, length: u32, found: ProxyHeader): u32 {
  if (length > V2_SIGNATURE_BYTES && !isCommand(load<u8>(bytes + 12))) return PARSE_REFUSED;
  if (length < V2_HEAD_BYTES) return PARSE_PARTIAL;
  const total = V2_HEAD_BYTES + load16(bytes + 14);
  if (total > <u32>PROXY_HEADER_BYTES_MAX) return PARSE_REFUSED;
  const isLocal = load<u8>(bytes + 12) == V2_LOCAL;
  const family = load<u8>(bytes + 13);
  // Of LOCAL and of an unspecified family everything else is to be ignored, 2.2.
  const speaksOfNobody = isLocal || family == V2_UNSPEC;
  const addressBytes = speaksOfNobody ? 0 : addressBytesOf(family);
  if (!speaksOfNobody && (addressBytes == 0 || total < V2_HEAD_BYTES + addressBytes)) return PARSE_REFUSED;
  if (length < total) return PARSE_PARTIAL;
  if (!speaksOfNobody) {
    if (!checkTlvs(bytes, V2_HEAD_BYTES + addressBytes, total)) return PARSE_REFUSED;
    takeAddresses(bytes + V2_HEAD_BYTES, family, changetype<usize>(found));
    found.hasAddress = 1;
  }
  found.bytesTotal = total;
  return PARSE_COMPLETE;
}

function isCommand(byte: u8): bool {
  return byte == V2_LOCAL || byte == V2_PROXY;
}

/** 0 for what can't be a client's over TCP. */
function addressBytesOf(family: u8): u32 {
  if (family == V2_TCP4) return V2_TCP4_BYTES;
  return family == V2_TCP6 ? V2_TCP6_BYTES : 0;
}

/** Both addresses, then both ports. */
function takeAddresses(at: usize, family: u8, out: usize): void {
  const each: usize = family == V2_TCP4 ? 4 : 16;
  const number = family == V2_TCP4 ? AF_INET : AF_INET6;
  const ports = at + each * 2;
  writeSockaddr(out + PROXY_HEADER_SOURCE, number, at, ports);
  writeSockaddr(out + PROXY_HEADER_DESTINATION, number, at + each, ports + 2);
}

/** They fill the header to its end, and a checksum among them is the right one, 2.2.3. */
function checkTlvs(bytes: usize, from: u32, total: u32): bool {
  let at = from;
  while (at < total) {
    if (total - at < TLV_HEAD_BYTES) return false;
    const valueBytes = load16(bytes + at + 1);
    const value = at + TLV_HEAD_BYTES;
    if (total - value < valueBytes) return false;
    if (load<u8>(bytes + at) == PP2_TYPE_CRC32C) {
      if (valueBytes != CRC32C_BYTES || !isChecksum(bytes, value, total)) return false;
    }
    at = value + valueBytes;
  }
  return true;
}

/** Of the whole header, with zeros where the checksum stands. */
function isChecksum(bytes: usize, at: u32, total: u32): bool {
  const behind = at + CRC32C_BYTES;
  let crc = crc32c(0, bytes, at);
  crc = crc32c(crc, ZEROS, CRC32C_BYTES);
  crc = crc32c(crc, bytes + behind, total - behind);
  return crc == bswap<u32>(load<u32>(bytes + at));
}
