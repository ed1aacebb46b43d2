// What one side sends in its life, known at every position without being kept: a head that means something (CONNECT),
// a body of pseudo-random bytes that no other stream has at that place, and a tail that means something (DISCONNECT).
import { contentAt } from '../tools/content.ts';

export class Stream {
  readonly total: number;
  readonly #head: Uint8Array;
  readonly #tail: Uint8Array;
  readonly #key: number;
  readonly #tailAt: number;

  constructor(key: number, head: Uint8Array, bodyBytes: number, tail: Uint8Array) {
    this.#key = key;
    this.#head = head;
    this.#tail = tail;
    this.#tailAt = head.length + bodyBytes;
    this.total = this.#tailAt + tail.length;
  }

  /** Writes bytes [position, position + length) of the stream to `memory` at `offset`. */
  fill(memory: Uint8Array, offset: number, length: number, position: number): void {
    for (let done = 0; done < length; ) {
      const part = this.#part(position + done, length - done);
      memory.set(part, offset + done);
      done += part.length;
    }
  }

  /** The first of `length` bytes at `offset` that differs from the stream at `position`, -1 if none does. */
  difference(memory: Uint8Array, offset: number, length: number, position: number): number {
    if (position + length > this.total) return Math.max(0, this.total - position);
    for (let done = 0; done < length; ) {
      const part = this.#part(position + done, length - done);
      for (let index = 0; index < part.length; index++) {
        if (memory[offset + done + index] !== part[index]) return done + index;
      }
      done += part.length;
    }
    return -1;
  }

  #part(position: number, length: number): Uint8Array {
    const inHead = this.#head.length - position;
    if (inHead > 0) return this.#head.subarray(position, position + Math.min(length, inHead));
    const inBody = this.#tailAt - position;
    if (inBody > 0) return contentAt(this.#key, position, Math.min(length, inBody));
    const inTail = position - this.#tailAt;
    return this.#tail.subarray(inTail, inTail + length);
  }
}
