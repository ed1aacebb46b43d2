// The two rings between one worker and the hooks (layout.ts draws them), seen from the main thread: it reads what the
// worker asks, and writes what was decided.
import {
  ASK_BYTES_TOTAL,
  ASK_CONNECT,
  ASK_CONNECT_BYTES,
  ASK_GENERATION,
  ASK_HOOK,
  ASK_PEER,
  ASK_SLOT,
  ASKS_BYTES,
  DECISION_ACCEPT,
  DECISION_BYTES_TOTAL,
  DECISION_CLIENT_ID_BYTES,
  DECISION_CODE,
  DECISION_FAILED,
  DECISION_GENERATION,
  DECISION_KEY_BYTES,
  DECISION_PASSWORD_BYTES,
  DECISION_POOL,
  DECISION_REFUSE,
  DECISION_SLOT,
  DECISION_TEXTS,
  DECISION_USERNAME_BYTES,
  DECISION_VERDICT,
  DECISIONS_BYTES,
  ENTRY_SKIP,
  HEADER_ASKS_READ,
  HEADER_ASKS_WRITTEN,
  HEADER_BYTES,
  HEADER_DECISIONS_READ,
  HEADER_DECISIONS_WRITTEN,
  HEADER_OFFSET,
  HEADER_REGION_ASKS,
  HEADER_REGION_DECISIONS,
  HEADER_REGION_HOT,
  HOT_BYTES,
  HOT_GENERATION,
  HOT_PHASE,
  NONE,
  PHASE_ASKING,
  PHASE_READING,
  SOCKADDR_BYTES_MAX,
} from '../../assembly/layout.ts';
import { regionOffset } from '../header.ts';
import type { Texts } from './verdict.ts';

/** A life in the worker's table. */
export interface Life {
  slot: number;
  generation: number;
}

export interface Ask extends Life {
  /** Id of the hook. */
  hook: number;
  peer: Uint8Array;
  connect: Uint8Array;
  /** Its Front block; empty: it has none. */
  front: Uint8Array;
}

/** `pool` is an id. */
export type Answer =
  | ({ kind: 'accept'; pool: number | null } & Texts)
  | { kind: 'refuse'; code: number }
  | { kind: 'failed' };

const VERDICTS = { accept: DECISION_ACCEPT, refuse: DECISION_REFUSE, failed: DECISION_FAILED };
const NO_TEXTS: Texts = { key: null, clientId: null, username: null, password: null };
const PHASE_MASK = 0xffff;

export class Lane {
  readonly #header: Int32Array;
  readonly #words: Uint32Array;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #asks: number;
  readonly #decisions: number;
  readonly #hot: number;

  constructor(memory: WebAssembly.Memory) {
    const { buffer } = memory;
    this.#header = new Int32Array(buffer, HEADER_OFFSET, HEADER_BYTES / 4);
    this.#words = new Uint32Array(buffer);
    this.#bytes = new Uint8Array(buffer);
    this.#view = new DataView(buffer);
    this.#asks = regionOffset(memory, HEADER_REGION_ASKS);
    this.#decisions = regionOffset(memory, HEADER_REGION_DECISIONS);
    this.#hot = regionOffset(memory, HEADER_REGION_HOT);
  }

  /** The next one whose client still waits; undefined when there is none. Its place is the worker's again. */
  read(): Ask | undefined {
    const written = this.#counter(HEADER_ASKS_WRITTEN);
    for (let read = this.#counter(HEADER_ASKS_READ); read !== written; ) {
      const at = this.#asks + (read & (ASKS_BYTES - 1));
      const total = this.#view.getUint32(at + ASK_BYTES_TOTAL, true);
      const bytes = (total & ~ENTRY_SKIP) >>> 0;
      if (bytes === 0 || bytes > (written - read) >>> 0) throw new Error(`an ask of ${bytes} bytes can't be`);
      const ask = total === bytes ? this.#readAt(at, bytes) : undefined;
      read = (read + bytes) >>> 0;
      Atomics.store(this.#header, HEADER_ASKS_READ / 4, read);
      if (ask !== undefined && this.#isWaiting(ask)) return ask;
    }
    return undefined;
  }

  /** How much the worker has asked, in bytes. */
  get written(): number {
    return this.#counter(HEADER_ASKS_WRITTEN);
  }

  /** Resolves when that is more. */
  async changed(seen: number): Promise<void> {
    await Atomics.waitAsync(this.#header, HEADER_ASKS_WRITTEN / 4, seen | 0).value;
  }

  /** Ends that wait. */
  interrupt(): void {
    Atomics.notify(this.#header, HEADER_ASKS_WRITTEN / 4);
  }

  /** False when there is no room. The worker has still to be woken. */
  write({ slot, generation }: Life, answer: Answer): boolean {
    const texts = answer.kind === 'accept' ? answer : NO_TEXTS;
    const listed = [texts.key, texts.clientId, texts.username, texts.password];
    const bytes = aligned(listed.reduce((sum, text) => sum + (text?.length ?? 0), DECISION_TEXTS));
    const at = this.#place(bytes);
    if (at === undefined) return false;
    const write = (field: number, value: number): void => this.#view.setUint32(at + field, value, true);
    write(DECISION_BYTES_TOTAL, bytes);
    write(DECISION_SLOT, slot);
    write(DECISION_GENERATION, generation);
    write(DECISION_VERDICT, VERDICTS[answer.kind]);
    write(DECISION_CODE, answer.kind === 'refuse' ? answer.code : 0);
    write(DECISION_POOL, answer.kind === 'accept' ? (answer.pool ?? NONE) : NONE);
    write(DECISION_KEY_BYTES, texts.key?.length ?? NONE);
    write(DECISION_CLIENT_ID_BYTES, texts.clientId?.length ?? NONE);
    write(DECISION_USERNAME_BYTES, texts.username?.length ?? NONE);
    write(DECISION_PASSWORD_BYTES, texts.password?.length ?? NONE);
    let out = at + DECISION_TEXTS;
    for (const text of listed) {
      if (text === null) continue;
      this.#bytes.set(text, out);
      out += text.length;
    }
    this.#advance(bytes);
    return true;
  }

  /** Its worker may be about to say so. */
  #isWaiting({ slot, generation }: Life): boolean {
    const line = (this.#hot + slot * HOT_BYTES) / 4;
    if (Atomics.load(this.#words, line + HOT_GENERATION / 4) !== generation) return false;
    const phase = Atomics.load(this.#words, line + HOT_PHASE / 4) & PHASE_MASK;
    return phase === PHASE_ASKING || phase === PHASE_READING;
  }

  #readAt(at: number, bytes: number): Ask {
    const word = (field: number) => this.#view.getUint32(at + field, true);
    const connectBytes = word(ASK_CONNECT_BYTES);
    const connect = at + ASK_CONNECT;
    return {
      slot: word(ASK_SLOT),
      generation: word(ASK_GENERATION),
      hook: word(ASK_HOOK),
      peer: this.#bytes.slice(at + ASK_PEER, at + ASK_PEER + SOCKADDR_BYTES_MAX),
      connect: this.#bytes.slice(connect, connect + connectBytes),
      front: this.#bytes.slice(at + aligned(ASK_CONNECT + connectBytes), at + bytes),
    };
  }

  /** As the data plane places what it asks (assembly/proxy/byte-ring.ts). */
  #place(bytes: number): number | undefined {
    const written = this.#counter(HEADER_DECISIONS_WRITTEN);
    const free = DECISIONS_BYTES - ((written - this.#counter(HEADER_DECISIONS_READ)) >>> 0);
    const offset = written & (DECISIONS_BYTES - 1);
    const untilEnd = DECISIONS_BYTES - offset;
    if (untilEnd >= bytes) return free >= bytes ? this.#decisions + offset : undefined;
    if (free < untilEnd + bytes) return undefined;
    this.#view.setUint32(this.#decisions + offset, (ENTRY_SKIP | untilEnd) >>> 0, true);
    this.#advance(untilEnd);
    return this.#decisions;
  }

  #advance(bytes: number): void {
    Atomics.add(this.#header, HEADER_DECISIONS_WRITTEN / 4, bytes);
  }

  #counter(field: number): number {
    return Atomics.load(this.#header, field / 4) >>> 0;
  }
}

function aligned(bytes: number): number {
  return (bytes + 7) & ~7;
}
