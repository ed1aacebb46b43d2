// How the data plane names things where the kernel can see it (assembly/uring/ops.ts, assembly/proxy/table.ts): what an
// operation's user_data says, whose a place in the file table is, and where a slot's hot line keeps its state.
import {
  FLAG_ANSWERED,
  HEADER_OFFSET,
  HEADER_REGION_HOT,
  HOT_BYTES,
  HOT_FLAGS,
  HOT_GENERATION,
  HOT_PHASE,
  PHASE_ACCEPTING,
  PHASE_ASKING,
  PHASE_DIALLING,
  PHASE_FREE,
  PHASE_GREETING,
  PHASE_OPEN,
  PHASE_QUEUED,
  PHASE_READING,
} from '../../assembly/layout.ts';

export {
  PHASE_ACCEPTING,
  PHASE_ASKING,
  PHASE_DIALLING,
  PHASE_FREE,
  PHASE_GREETING,
  PHASE_OPEN,
  PHASE_QUEUED,
  PHASE_READING,
};

// user_data: the slot in the upper word; generation and operation in the lower one.
const OPERATION_BITS = 8;
const OPERATION_MASK = (1 << OPERATION_BITS) - 1;
const GENERATION_MASK = 0xffffff;
/** Operations from this number on belong to no connection that waits for them. */
const UNAWAITED_FIRST = 16;

export const isAwaited = (low: number): boolean => (low & OPERATION_MASK) < UNAWAITED_FIRST;
export const operationOf = (low: number): number => low & OPERATION_MASK;
export const generationOf = (low: number): number => low >>> OPERATION_BITS;

const OP_RECEIVE = 1;
export const isReceive = (low: number): boolean =>
  operationOf(low) === OP_RECEIVE || operationOf(low) === OP_RECEIVE + 1;
/** The place in the file table that a receive reads from. */
export const receivePlace = (low: number, slot: number): number => slot * 2 + operationOf(low) - OP_RECEIVE;
export const clientPlace = (slot: number): number => slot * 2;
export const slotOfPlace = (place: number): number => place >>> 1;
export const sideOfPlace = (place: number): number => place & 1;

const GENERATION = HOT_GENERATION >>> 2;
const PENDING = 1;
const PHASE = HOT_PHASE >>> 2;
/** It is the lower half of its word. */
const PHASE_MASK = 0xffff;
const FLAGS = HOT_FLAGS >>> 2;
const PHASES = [
  'free',
  'accepting',
  'reading',
  'dialling',
  'greeting',
  'open',
  'refusing',
  'closing',
  'leaving',
  'queued',
  'asking',
];

/** With so many buffers held in one direction its source is no longer read (assembly/proxy/buffers.ts). */
export const HELD_MAX = 16;

export class PlaneView {
  readonly words: Uint32Array;
  readonly #hot: number;

  constructor(memory: WebAssembly.Memory) {
    this.words = new Uint32Array(memory.buffer);
    this.#hot = this.words[(HEADER_OFFSET + HEADER_REGION_HOT) >>> 2]! >>> 2;
  }

  generation(slot: number): number {
    return this.#word(slot, GENERATION) & GENERATION_MASK;
  }

  /** A bit for each operation that the slot waits for. */
  awaited(slot: number): number {
    return this.#word(slot, PENDING) & ((1 << UNAWAITED_FIRST) - 1);
  }

  /** The life that lives in the slot, as evictions name it. */
  wholeGeneration(slot: number): number {
    return this.#word(slot, GENERATION);
  }

  /** Established, and the client has had an answer: it can be evicted. */
  isAnswered(slot: number): boolean {
    return this.phase(slot) === PHASE_OPEN && (this.#word(slot, FLAGS) & FLAG_ANSWERED) !== 0;
  }

  phase(slot: number): number {
    return this.#word(slot, PHASE) & PHASE_MASK;
  }

  describe(slot: number): string {
    const bits = (field: number) => this.#word(slot, field).toString(2);
    return `phase ${PHASES[this.phase(slot)]}, pending ${bits(PENDING)}, flags ${bits(FLAGS)}, generation ${this.generation(slot)}`;
  }

  #word(slot: number, field: number): number {
    return this.words[this.#hot + slot * (HOT_BYTES >>> 2) + field]!;
  }
}
