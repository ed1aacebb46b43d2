// The two rings as the kernel holds them: it reads submissions and moves their head, writes completions and moves their
// tail. What doesn't fit into the completion ring waits outside, in order, until the data plane has made room.
import {
  COMPLETION_BYTES,
  HEADER_COMPLETION_ENTRIES,
  HEADER_OFFSET,
  HEADER_RING_PARAMS,
  HEADER_SUBMISSION_ENTRIES,
  SUBMISSION_BYTES,
} from '../../assembly/layout.ts';
import {
  CQE_FLAGS,
  CQE_RES,
  CQE_USER_DATA,
  PARAMS_CQ_CQES,
  PARAMS_CQ_HEAD,
  PARAMS_CQ_TAIL,
  PARAMS_SQ_HEAD,
  PARAMS_SQ_TAIL,
} from '../../assembly/uring/abi.ts';
import type { KernelMemory } from './memory.ts';
import { Operation } from './operation.ts';
import { Violation } from './violation.ts';

// Where the words lie in the region of heads: anywhere, the data plane must ask the parameters.
const SUBMISSION_HEAD = 0;
const SUBMISSION_TAIL = 64;
const COMPLETION_HEAD = 128;
const COMPLETION_TAIL = 192;
const COMPLETIONS = 320;

export interface Completion {
  low: number;
  slot: number;
  result: number;
  flags: number;
}

export interface RingPlaces {
  heads: number;
  submissions: number;
}

export class Rings {
  /** Completions that found no room. */
  readonly overflow: Completion[] = [];
  readonly completionEntries: number;
  readonly #memory: KernelMemory;
  readonly #places: RingPlaces;
  readonly #submissionEntries: number;
  #submissionHead = 0;
  #completionTail = 0;

  constructor(memory: KernelMemory, places: RingPlaces) {
    this.#memory = memory;
    this.#places = places;
    this.#submissionEntries = memory.header(HEADER_SUBMISSION_ENTRIES);
    this.completionEntries = memory.header(HEADER_COMPLETION_ENTRIES);
    this.#writeParameters();
  }

  // ---- Submissions

  /** Entries that the data plane has published and that weren't taken yet. */
  get submissionsWaiting(): number {
    const waiting = (this.#word(SUBMISSION_TAIL) - this.#submissionHead) >>> 0;
    if (waiting > this.#submissionEntries)
      throw new Violation(`${waiting} entries in a ring of ${this.#submissionEntries}`);
    return waiting;
  }

  /** The n-th of those waiting; its flags, without taking it. */
  peekFlags(index: number): number {
    return this.#memory.bytes[this.#entry(index) + 1]!;
  }

  take(): Operation {
    const operation = new Operation(this.#memory, this.#entry(0));
    this.#submissionHead = (this.#submissionHead + 1) >>> 0;
    this.#memory.words[(this.#places.heads + SUBMISSION_HEAD) >>> 2] = this.#submissionHead;
    return operation;
  }

  #entry(index: number): number {
    return (
      this.#places.submissions + ((this.#submissionHead + index) & (this.#submissionEntries - 1)) * SUBMISSION_BYTES
    );
  }

  // ---- Completions

  get completionsWaiting(): number {
    return (this.#completionTail - this.#word(COMPLETION_HEAD)) >>> 0;
  }

  get hasRoom(): boolean {
    return this.overflow.length === 0 && this.completionsWaiting < this.completionEntries;
  }

  post(completion: Completion): void {
    if (this.hasRoom) this.#write(completion);
    else this.overflow.push(completion);
  }

  flushOverflow(): void {
    while (this.overflow.length > 0 && this.completionsWaiting < this.completionEntries)
      this.#write(this.overflow.shift()!);
  }

  /** The position up to which the data plane has read. */
  get completionHead(): number {
    return this.#word(COMPLETION_HEAD);
  }

  completionAt(position: number): Completion {
    const entry = this.#completionEntry(position);
    const memory = this.#memory;
    return {
      low: memory.word(entry + CQE_USER_DATA),
      slot: memory.word(entry + CQE_USER_DATA + 4),
      result: memory.word(entry + CQE_RES) | 0,
      flags: memory.word(entry + CQE_FLAGS),
    };
  }

  #write(completion: Completion): void {
    const at = this.#completionEntry(this.#completionTail) >>> 2;
    const { words } = this.#memory;
    words[at] = completion.low;
    words[at + 1] = completion.slot;
    words[at + (CQE_RES >>> 2)] = completion.result;
    words[at + (CQE_FLAGS >>> 2)] = completion.flags;
    this.#completionTail = (this.#completionTail + 1) >>> 0;
    words[(this.#places.heads + COMPLETION_TAIL) >>> 2] = this.#completionTail;
  }

  #completionEntry(position: number): number {
    return this.#places.heads + COMPLETIONS + (position & (this.completionEntries - 1)) * COMPLETION_BYTES;
  }

  #word(field: number): number {
    return this.#memory.words[(this.#places.heads + field) >>> 2]!;
  }

  #writeParameters(): void {
    const parameters = HEADER_OFFSET + HEADER_RING_PARAMS;
    const write = (field: number, value: number) => {
      this.#memory.words[(parameters + field) >>> 2] = value;
    };
    write(PARAMS_SQ_HEAD, SUBMISSION_HEAD);
    write(PARAMS_SQ_TAIL, SUBMISSION_TAIL);
    write(PARAMS_CQ_HEAD, COMPLETION_HEAD);
    write(PARAMS_CQ_TAIL, COMPLETION_TAIL);
    write(PARAMS_CQ_CQES, COMPLETIONS);
  }
}
