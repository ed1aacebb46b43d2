// PROXY headers in the simulation. They stand before the streams of both sides, whose positions they don't change: a
// client that comes through a front is told of by one, and a backend is sent one before its client's first byte.
import { REASON_PROXY_HEADER, REASON_PROXY_SOURCE } from '../../assembly/layout.ts';
import type { Address } from '../../src/config/address.ts';
import { decodeSockaddr, encodeSockaddr } from '../../src/system/sockaddr.ts';
import {
  binaryHeader,
  type Header,
  LOCAL,
  readHeader,
  textHeader,
  UNIQUE_ID,
  UNKNOWN,
} from '../tools/proxy-headers.ts';
import type { Random } from '../tools/random.ts';
import { NO_BYTES } from './packets.ts';
import { Violation } from './violation.ts';

/** What the listeners of the simulation are bound to, and where its fronts are. */
export const LISTENER_ADDRESS = { host: '10.9.9.9', port: 1883 };
export const FRONTS = ['10.1.0.0/16', 'fd01::/16'];
const STRANGER = '172.16.0.1';
const HEADER_BYTES_MAX = 200;

export interface Arriving {
  /** Of its socket. */
  sockaddr: Uint8Array;
  /** By which it is known once its header was read. */
  told: Uint8Array;
  header: Uint8Array;
  /** Why it can't get further; 0: it can. */
  reason: number;
}

/** A client that comes by itself, or, where the listeners are behind a front, one that is told of. */
export function planArriving(random: Random, sockaddr: Uint8Array, isFronted: boolean): Arriving {
  const own = { sockaddr, told: sockaddr, header: NO_BYTES, reason: 0 };
  if (!isFronted) return own;
  const { port } = decodeSockaddr(sockaddr);
  if (random.chance(0.1)) {
    const stranger = encodeSockaddr(STRANGER, port);
    return {
      sockaddr: stranger,
      told: stranger,
      header: textHeader(sourceOf(random, port), LISTENER_ADDRESS),
      reason: REASON_PROXY_SOURCE,
    };
  }
  if (random.chance(0.1)) return { ...own, header: malformed(random, port), reason: REASON_PROXY_HEADER };
  if (random.chance(0.15)) return { ...own, header: random.pick([LOCAL, UNKNOWN]) };
  const source = sourceOf(random, port);
  return { ...own, told: encodeSockaddr(source.host, port), header: headerOf(random, source) };
}

/** The port says whose life it is. */
function sourceOf(random: Random, port: number): Address {
  const host = random.integer(1, 4);
  return { host: random.chance(0.4) ? `2001:db8::${host}` : `192.0.2.${host}`, port };
}

function headerOf(random: Random, source: Address): Buffer {
  const destination = { host: source.host.includes(':') ? '2001:db8::ff' : '198.51.100.1', port: 1883 };
  if (random.chance(0.4)) return textHeader(source, destination);
  const tlvs: [number, Uint8Array][] = random.chance(0.4) ? [[0x20, Buffer.alloc(random.integer(0, 60), 5)]] : [];
  return binaryHeader({ source, destination, tlvs, checksum: random.chance(0.5) });
}

function malformed(random: Random, port: number): Buffer {
  const whole = headerOf(random, sourceOf(random, port));
  if (whole[0] === 0x50) return Buffer.from(whole.toString().replace('PROXY TCP', 'PROXY UDP'));
  return Buffer.from(whole.with(random.pick([0, 3, 11, 12, 13]), 0x7f));
}

/** What a backend is sent before its client's first byte. */
export class Greeting {
  /** PROXY_PROTOCOL_* that the pool may have, 0 for none. */
  readonly #versions: readonly number[];
  readonly #bytes: number[] = [];
  #isOver = false;
  header: Header | null = null;

  constructor(versions: readonly number[]) {
    this.#versions = versions;
  }

  /** Takes of the bytes those that are its own; returns how many. */
  take(memory: Uint8Array, offset: number, length: number): number {
    if (this.#bytes.length === 0) this.#isOver ||= memory[offset] === 0x10;
    let taken = 0;
    while (!this.#isOver && taken < length) {
      this.#bytes.push(memory[offset + taken++]!);
      this.#isOver = this.#isWhole();
    }
    if (this.#isOver && taken > 0) this.header = this.#read();
    return taken;
  }

  /** What is wrong with what was sent before the first byte of the client's; null for nothing. */
  fault(told: Uint8Array): string | null {
    const { header } = this;
    if (!this.#versions.includes(header?.version ?? 0)) return `is sent a header of version ${header?.version ?? 0}`;
    if (header === null) return null;
    const source = decodeSockaddr(told);
    if (plain(header.source) !== plain(source)) return `is told of ${plain(header.source)}, it was ${plain(source)}`;
    if (plain(header.destination) !== plain(LISTENER_ADDRESS)) return `is told of ${plain(header.destination)}`;
    if (header.version === 2 && !header.tlvs.has(UNIQUE_ID)) return 'is told no unique id';
    return null;
  }

  #read(): Header {
    try {
      return readHeader(Buffer.from(this.#bytes));
    } catch (error) {
      throw new Violation(`a backend is sent ${(error as Error).message}`);
    }
  }

  #isWhole(): boolean {
    const bytes = Buffer.from(this.#bytes);
    if (bytes.length > HEADER_BYTES_MAX) throw new Violation(`no end of a header: ${bytes.toString('hex')}`);
    if (bytes[0] === 0x50) return bytes.subarray(-2).toString() === '\r\n';
    return bytes.length >= 16 && bytes.length === 16 + bytes.readUInt16BE(14);
  }
}

function plain({ host, port }: Address): string {
  return `${host.replace(/^::ffff:(?=\d+\.)/, '')} ${port}`;
}
