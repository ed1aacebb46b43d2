// One worker's table of sessions that were begun lately, read where it lies while the worker goes on changing it, and the
// names that have to pause, which only the main thread writes (assembly/proxy/take-overs.ts).
import {
  ADMISSION_SESSIONS_BEGUN,
  HEADER_REGION_ADMISSION,
  HEADER_SESSIONS,
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
  SOCKADDR_BYTES_MAX,
} from '../../assembly/layout.ts';
import { headerClocks, headerWords, regionOffset } from '../header.ts';
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
}

/** That a session has begun. */
export interface Beginning {
  /** In its table. */
  place: number;
  /** Of its tag the lower half, and the same of what stood in its place at the last look. */
  lowTag: number;
  formerLowTag: number;
  /** How many sessions of its ClientId have begun here, since the last look, while another one was open here. */
  overlaps: number;
}

export class SessionTable {
  readonly #count: number;
  readonly #begun: Uint32Array;
  readonly #words: Uint32Array;
  readonly #view: DataView;
  readonly #offset: number;
  readonly #clocks: Float64Array;
  readonly #connections: ConnectionTable;
  // When it was last looked at: the serial of the last beginning, and of every session what stood there.
  #serial = 0;
  readonly #serials: Uint32Array;
  readonly #lowTags: Uint32Array;
  readonly #overlaps: Uint32Array;

  constructor(life: Life) {
    const { memory } = life;
    this.#count = headerWords(memory)[HEADER_SESSIONS / 4]!;
    this.#begun = new Uint32Array(
      memory.buffer,
      regionOffset(memory, HEADER_REGION_ADMISSION) + ADMISSION_SESSIONS_BEGUN,
      1,
    );
    this.#offset = sessionsOffset(memory);
    this.#words = new Uint32Array(memory.buffer, this.#offset, this.#count * WORDS);
    this.#view = new DataView(memory.buffer, this.#offset);
    this.#clocks = headerClocks(memory);
    this.#connections = new ConnectionTable(life);
    this.#serials = new Uint32Array(this.#count);
    this.#lowTags = new Uint32Array(this.#count);
    this.#overlaps = new Uint32Array(this.#count);
  }

  /** What to add to the worker's clock for milliseconds since 1970; 0: it hasn't begun to run. */
  get #wallMs(): number {
    return this.#clocks[HEADER_WALL_MS / 8]!;
  }

  get isRunning(): boolean {
    return this.#wallMs !== 0;
  }

  /** Shows the sessions that have begun since the last call; the last one alone of those that began in one place. */
  visitBegun(visit: (beginning: Beginning) => void): void {
    const begun = Atomics.load(this.#begun, 0);
    if (begun === this.#serial) return;
    this.#serial = begun;
    for (let place = 0; place < this.#count; place++) {
      const serial = this.#words[place * WORDS + SESSION_SERIAL / 4]!;
      if (serial === this.#serials[place]) continue;
      const [lowTag, formerLowTag] = [this.#word(place, SESSION_TAG), this.#lowTags[place]!];
      const overlaps = this.#word(place, SESSION_OVERLAPS);
      const more = overlaps - (lowTag === formerLowTag ? Math.min(this.#overlaps[place]!, overlaps) : 0);
      this.#serials[place] = serial;
      this.#lowTags[place] = lowTag;
      this.#overlaps[place] = overlaps;
      visit({ place, lowTag, formerLowTag, overlaps: more });
    }
  }

  /** The last one of that tag, if it is known here. */
  find(tag: bigint): Session | undefined {
    const [low, high] = [Number(tag & 0xffffffffn), Number(tag >> 32n)];
    const first = (high & (this.#count / SESSION_WAYS - 1)) * SESSION_WAYS;
    for (let place = first; place < first + SESSION_WAYS; place++) {
      const at = place * WORDS + SESSION_TAG / 4;
      if (this.#words[at] === low && this.#words[at + 1] === high) return this.read(place);
    }
    return undefined;
  }

  /** CONNECTs of that tag are refused until then, in milliseconds since 1970; 0: no more. */
  pause(tag: bigint, untilMs: number): void {
    const at = this.#count * SESSION_BYTES + Number(tag & BigInt(PAUSES - 1)) * PAUSE_BYTES;
    this.#view.setFloat64(at + PAUSE_UNTIL_MS, 0, true);
    this.#view.setBigUint64(at + PAUSE_TAG, tag, true);
    this.#view.setFloat64(at + PAUSE_UNTIL_MS, Math.max(untilMs - this.#wallMs, 0), true);
  }

  read(place: number): Session {
    const at = place * SESSION_BYTES;
    const slot = this.#word(place, SESSION_SLOT);
    const generation = this.#word(place, SESSION_GENERATION);
    const endedMs = this.#view.getFloat64(at + SESSION_ENDED_MS, true);
    const isOpen = endedMs === 0 && this.#connections.isLiving(slot, generation);
    return {
      tag: this.#view.getBigUint64(at + SESSION_TAG, true),
      connectMs: this.#view.getFloat64(at + SESSION_CONNECT_MS, true) + this.#wallMs,
      endedMs: isOpen ? Number.POSITIVE_INFINITY : endedMs + this.#wallMs,
      listener: this.#word(place, SESSION_LISTENER),
      address: this.#host(at + SESSION_PEER),
      otherAddress: this.#host(at + SESSION_OTHER_PEER),
      clientId: this.#connections.read(slot, generation)?.clientId ?? '',
    };
  }

  #host(at: number): string {
    return decodeSockaddr(new Uint8Array(this.#view.buffer, this.#offset + at, SOCKADDR_BYTES_MAX).slice()).host;
  }

  #word(place: number, field: number): number {
    return Atomics.load(this.#words, place * WORDS + field / 4);
  }
}
