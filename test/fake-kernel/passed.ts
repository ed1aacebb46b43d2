// A client's stream as backends get it: what its listener's rules have made of its CONNECT, then all that it says.
import type { Stream } from './stream.ts';

/** What one side is to be sent of what the other one says. */
export interface Passable {
  readonly total: number;
  /** How many bytes the first `said` of the speaker's own become, once all of its CONNECT is among them. */
  bytesOf(said: number): number;
  difference(memory: Uint8Array, offset: number, length: number, position: number): number;
  isBoundary(position: number): boolean;
  tailBytes(position: number): number;
}

export class Passed implements Passable {
  readonly #stream: Stream;
  readonly #head: Uint8Array;
  readonly #shift: number;

  /** `head` takes the place of the stream's first `headBytes`. */
  constructor(stream: Stream, headBytes: number, head: Uint8Array) {
    this.#stream = stream;
    this.#head = head;
    this.#shift = head.length - headBytes;
  }

  get total(): number {
    return this.#stream.total + this.#shift;
  }

  bytesOf(said: number): number {
    return said + this.#shift;
  }

  difference(memory: Uint8Array, offset: number, length: number, position: number): number {
    const inHead = Math.max(0, Math.min(length, this.#head.length - position));
    for (let index = 0; index < inHead; index++) {
      if (memory[offset + index] !== this.#head[position + index]) return index;
    }
    if (inHead === length) return -1;
    const rest = this.#stream.difference(memory, offset + inHead, length - inHead, position + inHead - this.#shift);
    return rest < 0 ? rest : rest + inHead;
  }

  isBoundary(position: number): boolean {
    if (position < this.#head.length) return position === 0;
    return this.#stream.isBoundary(position - this.#shift);
  }

  tailBytes(position: number): number {
    return position < this.#head.length ? 0 : this.#stream.tailBytes(position - this.#shift);
  }
}
