// PROXY headers as "The PROXY protocol, versions 1 & 2" has them, written and read here a second time: what the data plane
// is compared with.
import type { Address } from '../../src/config/address.ts';
import { addressBytes, decodeSockaddr, encodeSockaddr } from '../../src/system/sockaddr.ts';

export const SIGNATURE = Buffer.from('0d0a0d0a000d0a515549540a', 'hex');
export const LOCAL = Buffer.concat([SIGNATURE, Buffer.of(0x20, 0, 0, 0)]);
export const UNKNOWN = Buffer.from('PROXY UNKNOWN\r\n');
export const CRC32C = 3;
export const UNIQUE_ID = 5;

export interface Header {
  version: 1 | 2;
  source: Address;
  destination: Address;
  /** By type. */
  tlvs: Map<number, Buffer>;
  /** Length of the whole. */
  bytes: number;
}

export function textHeader(source: Address, destination: Address): Buffer {
  const family = source.host.includes(':') ? 'TCP6' : 'TCP4';
  return Buffer.from(`PROXY ${family} ${source.host} ${destination.host} ${source.port} ${destination.port}\r\n`);
}

export interface BinaryOptions {
  source: Address;
  destination: Address;
  tlvs?: readonly [type: number, value: Uint8Array][];
  /** Behind all TLVs. */
  checksum?: boolean;
}

export function binaryHeader({ source, destination, tlvs = [], checksum = false }: BinaryOptions): Buffer {
  const isIPv6 = source.host.includes(':');
  const port = ({ port }: Address) => Buffer.of(port >> 8, port & 255);
  const ip = ({ host }: Address) => addressBytes(encodeSockaddr(host, 0));
  const body = Buffer.concat([
    ip(source),
    ip(destination),
    port(source),
    port(destination),
    ...tlvs.map(([type, value]) => tlv(type, value)),
    ...(checksum ? [tlv(CRC32C, Buffer.alloc(4))] : []),
  ]);
  const head = Buffer.of(0x21, isIPv6 ? 0x21 : 0x11, body.length >> 8, body.length & 255);
  const whole = Buffer.concat([SIGNATURE, head, body]);
  if (checksum) whole.writeUInt32BE(crc32c(whole), whole.length - 4);
  return whole;
}

export function tlv(type: number, value: Uint8Array): Buffer {
  return Buffer.concat([Buffer.of(type, value.length >> 8, value.length & 255), value]);
}

/** Of the header that the bytes begin with. Throws when they don't. */
export function readHeader(bytes: Buffer): Header {
  return bytes[0] === 0x50 ? readText(bytes) : readBinary(bytes);
}

function readText(bytes: Buffer): Header {
  const end = bytes.indexOf('\r\n') + 2;
  const [word, family, ...fields] = bytes
    .subarray(0, end - 2)
    .toString('latin1')
    .split(' ');
  if (end < 2 || word !== 'PROXY' || !/^TCP[46]$/.test(family!) || fields.length !== 4) {
    throw new Error(`no header: ${bytes.subarray(0, 120).toString('latin1')}`);
  }
  const [from, to, fromPort, toPort] = fields;
  const source = { host: canonical(from!), port: Number(fromPort) };
  return {
    version: 1,
    source,
    destination: { host: canonical(to!), port: Number(toPort) },
    tlvs: new Map(),
    bytes: end,
  };
}

function canonical(host: string): string {
  return decodeSockaddr(encodeSockaddr(host, 0)).host;
}

function readBinary(bytes: Buffer): Header {
  if (!bytes.subarray(0, 12).equals(SIGNATURE) || bytes[12] !== 0x21)
    throw new Error(`no header: ${bytes.toString('hex')}`);
  const total = 16 + bytes.readUInt16BE(14);
  const each = { 17: 4, 33: 16 }[bytes[13]!]!;
  const ports = 16 + each * 2;
  const address = (at: number, port: number) => ({
    host: decodeSockaddr(sockaddrOf(bytes.subarray(at, at + each))).host,
    port: bytes.readUInt16BE(port),
  });
  const tlvs = new Map<number, Buffer>();
  for (let at = ports + 4; at < total; at += 3 + bytes.readUInt16BE(at + 1)) {
    tlvs.set(bytes[at]!, Buffer.from(bytes.subarray(at + 3, at + 3 + bytes.readUInt16BE(at + 1))));
  }
  checkSum(bytes.subarray(0, total), tlvs.get(CRC32C));
  return {
    version: 2,
    source: address(16, ports),
    destination: address(16 + each, ports + 2),
    tlvs,
    bytes: total,
  };
}

function sockaddrOf(ip: Uint8Array): Uint8Array {
  const sockaddr = encodeSockaddr(ip.length === 4 ? '0.0.0.0' : '::', 0);
  sockaddr.set(ip, ip.length === 4 ? 4 : 8);
  return sockaddr;
}

function checkSum(header: Buffer, sum: Buffer | undefined): void {
  if (sum === undefined) return;
  const blank = Buffer.from(header);
  blank.fill(0, header.lastIndexOf(sum), header.lastIndexOf(sum) + 4);
  if (crc32c(blank) !== sum.readUInt32BE()) throw new Error(`a wrong checksum: ${header.toString('hex')}`);
}

export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  }
  return ~crc >>> 0;
}
