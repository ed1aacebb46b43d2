// PROXY headers read after "The PROXY protocol, versions 1 & 2" a second time, in the plainest way: what the data plane
// is compared with, refusals and bytes that are still to come included.
import { isIPv4, isIPv6 } from 'node:net';
import { PROXY_HEADER_BYTES_MAX } from '../../assembly/layout.ts';
import type { ParsedProxyHeader } from '../../src/core.ts';
import { textOf } from '../tools/address-text.ts';
import { CRC32C, crc32c, SIGNATURE } from '../tools/proxy-headers.ts';

const PARTIAL: ParsedProxyHeader = { state: 'partial' };
const REFUSED: ParsedProxyHeader = { state: 'refused' };
const PREFIX = Buffer.from('PROXY ');
const LINE_BYTES_MAX = 107;
const HEAD_BYTES = 16;
const LOCAL = 0x20;
const PROXY = 0x21;
const UNSPECIFIED = 0;
/** Of an address, by family and transport. */
const ADDRESS_BYTES: Record<number, number> = { 17: 4, 33: 16 };

export function readReference(bytes: Buffer): ParsedProxyHeader {
  if (beginsAs(bytes, PREFIX)) return bytes.length < PREFIX.length ? PARTIAL : readLine(bytes);
  if (beginsAs(bytes, SIGNATURE)) return readBinary(bytes);
  return REFUSED;
}

function beginsAs(bytes: Buffer, wanted: Buffer): boolean {
  const length = Math.min(bytes.length, wanted.length);
  return bytes.subarray(0, length).equals(wanted.subarray(0, length));
}

function readLine(bytes: Buffer): ParsedProxyHeader {
  const room = bytes.subarray(0, LINE_BYTES_MAX);
  const end = room.indexOf('\r\n', PREFIX.length, 'latin1');
  if (end < 0) return room.length < LINE_BYTES_MAX ? PARTIAL : REFUSED;
  const headerBytes = end + 2;
  const line = room.toString('latin1', PREFIX.length, end);
  if (/^UNKNOWN( |$)/.test(line)) return { state: 'complete', headerBytes, source: null, destination: null };
  const [family, from = '', to = '', fromPort = '', toPort = '', ...more] = line.split(' ');
  const isAddress = family === 'TCP4' ? isIPv4 : family === 'TCP6' ? isIPv6WithoutZone : () => false;
  const isGood = more.length === 0 && isAddress(from) && isAddress(to) && isPort(fromPort) && isPort(toPort);
  if (!isGood) return REFUSED;
  const source = { host: textOf(from), port: Number(fromPort) };
  return { state: 'complete', headerBytes, source, destination: { host: textOf(to), port: Number(toPort) } };
}

const isIPv6WithoutZone = (text: string) => isIPv6(text) && !text.includes('%');

function isPort(text: string): boolean {
  return /^(0|[1-9]\d{0,4})$/.test(text) && Number(text) <= 65535;
}

function readBinary(bytes: Buffer): ParsedProxyHeader {
  const command = bytes[SIGNATURE.length];
  if (command === undefined) return PARTIAL;
  if (command !== LOCAL && command !== PROXY) return REFUSED;
  if (bytes.length < HEAD_BYTES) return PARTIAL;
  const headerBytes = HEAD_BYTES + bytes.readUInt16BE(14);
  if (headerBytes > PROXY_HEADER_BYTES_MAX) return REFUSED;
  const header = bytes.subarray(0, headerBytes);
  if (command === LOCAL || bytes[13] === UNSPECIFIED) {
    return header.length < headerBytes ? PARTIAL : { state: 'complete', headerBytes, source: null, destination: null };
  }
  const each = ADDRESS_BYTES[bytes[13]!];
  if (each === undefined || headerBytes < HEAD_BYTES + 2 * each + 4) return REFUSED;
  if (header.length < headerBytes) return PARTIAL;
  if (!areTlvsGood(header, HEAD_BYTES + 2 * each + 4)) return REFUSED;
  const end = (index: number) => ({
    host: hostOf(header.subarray(HEAD_BYTES + index * each, HEAD_BYTES + (index + 1) * each)),
    port: header.readUInt16BE(HEAD_BYTES + 2 * each + 2 * index),
  });
  return { state: 'complete', headerBytes, source: end(0), destination: end(1) };
}

function hostOf(bytes: Buffer): string {
  if (bytes.length === 4) return bytes.join('.');
  return textOf(bytes.toString('hex').replaceAll(/....(?!$)/g, '$&:'));
}

function areTlvsGood(header: Buffer, from: number): boolean {
  for (let at = from; at < header.length; ) {
    if (header.length - at < 3) return false;
    const value = at + 3;
    const end = value + header.readUInt16BE(at + 1);
    if (end > header.length) return false;
    if (header[at] === CRC32C && !isSum(header, value, end)) return false;
    at = end;
  }
  return true;
}

function isSum(header: Buffer, at: number, end: number): boolean {
  if (end - at !== 4) return false;
  const blank = Buffer.from(header);
  blank.fill(0, at, end);
  return crc32c(blank) === header.readUInt32BE(at);
}
