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
  SESSION_WAYS,
  SESSIONS,
  SOCKADDR_BYTES_MAX,
} from '../../assembly/layout.ts';
import { headerClocks } from '../header.ts';
import { decodeSockaddr } from '../system/sockaddr.ts';
import { ConnectionTable, type Life } from './connections.ts';
import { sessionsOffset } from './memory-map.ts';

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
  // Of every session, when it was last looked at.
  readonly #serials = new Uint32Array(SESSIONS);
  readonly #tags = new Uint32Array(SESSIONS);
  readonly #overlaps = new Uint32Array(SESSIONS);

  constructor(life: Life) {
    const { memory } = life;
    this.#offset = sessionsOffset(memory);
    this.#words = new Uint32Array(memory.buffer, this.#offset, SESSIONS * WORDS);
    this.#view = new DataView(memory.buffer, this.#offset);
    this.#wallMs = headerClocks(memory)[HEADER_WALL_MS / 8]!;
    this.#connections = new ConnectionTable(life);
  }

  /** Those that have begun since the last call, where another one was open, or where one of the `others` has had one. */
  begun(others: readonly SessionTable[]): Session[] {
    const found: Session[] = [];
    for (let index = 0; index < SESSIONS; index++) {
      const serial = this.#words[index * WORDS + SESSION_SERIAL / 4]!;
      if (serial === this.#serials[index]) continue;
      const [low, high] = [this.#word(index, SESSION_TAG), this.#word(index, SESSION_TAG + 4)];
      const overlaps = this.#word(index, SESSION_OVERLAPS);
      const more = overlaps - (this.#tags[index] === low ? Math.min(this.#overlaps[index]!, overlaps) : 0);
      this.#serials[index] = serial;
      this.#tags[index] = low;
      this.#overlaps[index] = overlaps;
      if (more > 0 || others.some((other) => other.#indexOf(low, high) !== undefined))
        found.push({ ...this.#read(index), overlaps: more });
    }
    return found;
  }

  /** The last one of that tag, if it is known here. */
  find(tag: bigint): Session | undefined {
    const index = this.#indexOf(Number(tag & 0xffffffffn), Number(tag >> 32n));
    return index === undefined ? undefined : this.#read(index);
  }

  #indexOf(low: number, high: number): number | undefined {
    const first = high & (SESSIONS - SESSION_WAYS);
    for (let index = first; index < first + SESSION_WAYS; index++) {
      const at = index * WORDS + SESSION_TAG / 4;
      if (this.#words[at] === low && this.#words[at + 1] === high) return index;
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
