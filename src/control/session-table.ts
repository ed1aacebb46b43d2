// One worker's table of sessions that were begun lately, read where it lies while the worker goes on changing it, and the
// names that have to pause, which only the main thread writes (assembly/proxy/take-overs.ts).
import {
  HEADER_WALL_MS,
  PAUSE_BYTES,
  PAUSE_TAG,
  PAUSE_UNTIL_MS,
  PAUSES,
  SESSION_BYTES,
  SESSION_CONNECT_MS,
  SESSION_ENDED_MS,
  SESSION_GENERATION,
  SESSION_LISTENER,
  SESSION_OTHER_PEER,
  SESSION_OVERLAPS,
  SESSION_PEER,
  SESSION_SERIAL,
  SESSION_SLOT,
  SESSION_TAG,
  SESSIONS,
  SOCKADDR_BYTES_MAX,
} from '../../assembly/layout.ts';
import { headerClocks } from '../header.ts';
import { decodeSockaddr } from '../system/sockaddr.ts';
import { ConnectionTable, type Life } from './connections.ts';
import { sessionsOffset } from './memory-map.ts';

/** As the data plane has them. */
const WAYS = 8;
const WORDS = SESSION_BYTES / 4;

/** The last session of a ClientId that began in this worker. */
export interface Session {
  tag: bigint;
  /** Milliseconds since 1970: its broker was sent the CONNECT. */
  connectMs: number;
  /** The same of its end; Infinity: it is open. */
  endedMs: number;
  /** Index of its listener. */
  listener: number;
  address: string;
  /** The client's that it took the place of here, at the last overlap. */
  otherAddress: string;
  /** As far as it is kept; empty: it has ended, and nobody knows. */
  clientId: string;
  /** How many sessions of this ClientId have begun here, since the last look, while another one was open here. */
  overlaps: number;
}

export class SessionTable {
  readonly #words: Uint32Array;
  readonly #view: DataView;
  readonly #offset: number;
  readonly #wallMs: number;
  readonly #connections: ConnectionTable;
  /** Of every session, when it was last looked at. */
  readonly #seen: { serial: number; tag: bigint; overlaps: number }[] = [];

  constructor(life: Life) {
    const { memory } = life;
    this.#offset = sessionsOffset(memory);
    this.#words = new Uint32Array(memory.buffer, this.#offset, SESSIONS * WORDS);
    this.#view = new DataView(memory.buffer, this.#offset);
    this.#wallMs = headerClocks(memory)[HEADER_WALL_MS / 8]!;
    this.#connections = new ConnectionTable(life);
  }

  /** Those that have begun since the last call. */
  begun(): Session[] {
    const found: Session[] = [];
    for (let index = 0; index < SESSIONS; index++) {
      const serial = this.#words[index * WORDS + SESSION_SERIAL / 4]!;
      if (serial === 0 || this.#seen[index]?.serial === serial) continue;
      const known = this.#seen[index];
      const session = this.#read(index);
      const overlaps = this.#word(index, SESSION_OVERLAPS);
      this.#seen[index] = { serial, tag: session.tag, overlaps };
      const before = known?.tag === session.tag ? known.overlaps : 0;
      found.push({ ...session, overlaps: Math.max(overlaps - before, 0) });
    }
    return found;
  }

  /** The last one of that tag, if it is known here. */
  find(tag: bigint): Session | undefined {
    const first = Number(tag >> 32n) & (SESSIONS - WAYS);
    for (let index = first; index < first + WAYS; index++) {
      if (this.#view.getBigUint64(index * SESSION_BYTES + SESSION_TAG, true) === tag) return this.#read(index);
    }
    return undefined;
  }

  /** CONNECTs of that tag are refused until then, in milliseconds since 1970; 0: no more. */
  pause(tag: bigint, untilMs: number): void {
    const at = SESSIONS * SESSION_BYTES + Number(tag & BigInt(PAUSES - 1)) * PAUSE_BYTES;
    this.#view.setFloat64(at + PAUSE_UNTIL_MS, 0, true);
    this.#view.setBigUint64(at + PAUSE_TAG, tag, true);
    this.#view.setFloat64(at + PAUSE_UNTIL_MS, Math.max(untilMs - this.#wallMs, 0), true);
  }

  #read(index: number): Session {
    const at = index * SESSION_BYTES;
    const slot = this.#word(index, SESSION_SLOT);
    const generation = this.#word(index, SESSION_GENERATION);
    const endedMs = this.#view.getFloat64(at + SESSION_ENDED_MS, true);
    const isOpen = endedMs === 0 && this.#connections.isLiving(slot, generation);
    return {
      tag: this.#view.getBigUint64(at + SESSION_TAG, true),
      connectMs: this.#view.getFloat64(at + SESSION_CONNECT_MS, true) + this.#wallMs,
      endedMs: isOpen ? Number.POSITIVE_INFINITY : endedMs + this.#wallMs,
      listener: this.#word(index, SESSION_LISTENER),
      address: this.#host(at + SESSION_PEER),
      otherAddress: this.#host(at + SESSION_OTHER_PEER),
      clientId: this.#connections.read(slot, generation)?.clientId ?? '',
      overlaps: 0,
    };
  }

  #host(at: number): string {
    return decodeSockaddr(new Uint8Array(this.#view.buffer, this.#offset + at, SOCKADDR_BYTES_MAX).slice()).host;
  }

  #word(index: number, field: number): number {
    return Atomics.load(this.#words, index * WORDS + field / 4);
  }
}
