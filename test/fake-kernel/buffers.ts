// The provided buffers, and who may touch each: it is the kernel's from the moment that it is seen in the ring until a
// receive hands it out, and the data plane's from then on.
import {
  HEADER_BUFFER_BYTES,
  HEADER_BUFFER_COUNT,
  HEADER_BUFFERS_PROVIDED,
  HEADER_REGION_BUFFERS,
  PROVIDED_BUFFER_BYTES,
} from '../../assembly/layout.ts';
import { BUF_ADDR, BUF_BID, BUF_LEN, BUF_RING_TAIL } from '../../assembly/uring/abi.ts';
import type { KernelMemory } from './memory.ts';
import type { Piece } from './operation.ts';
import { Violation } from './violation.ts';

const NOWHERE = -1;

/** What a buffer holds that the data plane has given back: whoever still reads it reads this. */
const POISON = 0xdb;

export class ProvidedBuffers {
  readonly count: number;
  readonly bytesEach: number;
  /** The data plane keeps spare buffers to itself, so what it has given back isn't seen at once. */
  readonly sparesAreUnseen: boolean;
  readonly #memory: KernelMemory;
  readonly #ring: number;
  readonly #region: number;
  readonly #isProvided: Uint8Array;
  /** Sends that read each buffer. */
  readonly #readers: Uint8Array;
  /** The receive that each buffer was handed to, for those that the data plane holds. */
  readonly #places: Int32Array;
  /** How many the data plane holds of what came from each place in the file table. */
  readonly #held: Int32Array;
  /** Buffers that were ever given back. */
  givenBack = 0;
  #head = 0;
  #tail = 0;

  constructor(memory: KernelMemory, ring: number, places: number) {
    this.#memory = memory;
    this.#ring = ring;
    this.#region = memory.header(HEADER_REGION_BUFFERS);
    this.count = memory.header(HEADER_BUFFER_COUNT);
    this.bytesEach = memory.header(HEADER_BUFFER_BYTES);
    const provided = memory.header(HEADER_BUFFERS_PROVIDED);
    this.sparesAreUnseen = provided !== 0 && provided < this.count;
    this.#isProvided = new Uint8Array(this.count);
    this.#readers = new Uint8Array(this.count);
    this.#places = new Int32Array(this.count).fill(NOWHERE);
    this.#held = new Int32Array(places);
  }

  /** Buffers in the ring, as far as the data plane has published them. */
  get provided(): number {
    this.observe();
    return (this.#tail - this.#head) & 0xffff;
  }

  offsetOf(buffer: number): number {
    return this.#region + buffer * this.bytesEach;
  }

  /** Takes notice of what was given back. */
  observe(): void {
    const tail = this.#memory.half(this.#ring + BUF_RING_TAIL);
    while (this.#tail !== tail) {
      this.#giveBack(this.#entry(this.#tail));
      this.#tail = (this.#tail + 1) & 0xffff;
      if (((this.#tail - this.#head) & 0xffff) > this.count)
        throw new Violation('more buffers were given back than there are');
    }
  }

  /** The next buffer for a receive, -1 when there is none. */
  take(): number {
    if (this.provided === 0) return -1;
    const buffer = this.#memory.half(this.#entry(this.#head) + BUF_BID);
    this.#head = (this.#head + 1) & 0xffff;
    this.#isProvided[buffer] = 0;
    return buffer;
  }

  /** The data plane has read the answer that hands it the buffer. */
  onHandedOut(buffer: number, place: number): void {
    this.#places[buffer] = place;
    this.#held[place]!++;
  }

  /** Buffers full of what came from a place that the data plane knows of and holds. */
  heldFrom(place: number): number {
    return this.#held[place]!;
  }

  /** A send begins to read the piece. */
  beginReading(piece: Piece): void {
    const buffer = this.#bufferAt(piece);
    if (buffer < 0) return;
    if (this.#isProvided[buffer]) throw new Violation(`a send reads buffer ${buffer}, which was given back`);
    this.#readers[buffer]!++;
  }

  endReading(piece: Piece): void {
    const buffer = this.#bufferAt(piece);
    if (buffer >= 0) this.#readers[buffer]!--;
  }

  /** The data plane lets the system have the memory of whole buffers that nobody uses. */
  release(offset: number, bytes: number): void {
    this.observe();
    const first = (offset - this.#region) / this.bytesEach;
    const count = bytes / this.bytesEach;
    if (!Number.isInteger(first) || !Number.isInteger(count) || first < 0 || first + count > this.count)
      throw new Violation(`${bytes} bytes at ${offset} were released, which aren't whole buffers`);
    for (let buffer = first; buffer < first + count; buffer++) {
      if (this.#isProvided[buffer]) throw new Violation(`buffer ${buffer} was released while the kernel has it`);
      if (this.#readers[buffer]) throw new Violation(`buffer ${buffer} was released while a send reads it`);
    }
    this.#memory.bytes.fill(0, offset, offset + bytes);
  }

  #giveBack(entry: number): void {
    const memory = this.#memory;
    const buffer = memory.half(entry + BUF_BID);
    if (buffer >= this.count) throw new Violation(`buffer ${buffer} of ${this.count} was given back`);
    const offset = memory.offsetOf(memory.long(entry + BUF_ADDR), this.bytesEach, `buffer ${buffer}`);
    if (offset !== this.offsetOf(buffer)) throw new Violation(`buffer ${buffer} was given back with another's address`);
    if (memory.word(entry + BUF_LEN) !== this.bytesEach) throw new Violation(`buffer ${buffer} has a wrong length`);
    if (this.#isProvided[buffer]) throw new Violation(`buffer ${buffer} was given back twice`);
    if (this.#readers[buffer]) throw new Violation(`buffer ${buffer} was given back while a send reads it`);
    this.#isProvided[buffer] = 1;
    this.givenBack++;
    if (this.#places[buffer] !== NOWHERE) this.#held[this.#places[buffer]!]!--;
    this.#places[buffer] = NOWHERE;
    memory.bytes.fill(POISON, offset, offset + this.bytesEach);
  }

  #entry(position: number): number {
    return this.#ring + (position & (this.count - 1)) * PROVIDED_BUFFER_BYTES;
  }

  #bufferAt({ offset, length }: Piece): number {
    const buffer = Math.floor((offset - this.#region) / this.bytesEach);
    if (buffer < 0 || buffer >= this.count) return -1;
    if (offset + length > this.offsetOf(buffer) + this.bytesEach)
      throw new Violation(`a send reads past buffer ${buffer}`);
    return buffer;
  }
}
