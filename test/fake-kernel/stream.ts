// What one side sends in its life, known at every position without being kept: a head that means something (CONNECT),
// a body of packets whose pseudo-random bytes no other stream has at that place, and a tail that means something
// (DISCONNECT).
import { contentAt } from '../tools/content.ts';
import { Random } from '../tools/random.ts';
import type { Passable } from './passed.ts';

/** PUBLISH: no packet of a body begins as one that means something here. */
const TYPE = 0x30;
const PACKET_BYTES_MAX = 3000;
const PACKET_BYTES_MIN = 2;

export class Stream implements Passable {
  readonly total: number;
  readonly #head: Uint8Array;
  readonly #tail: Uint8Array;
  readonly #key: number;
  readonly #tailAt: number;
  /** Where each packet of the body begins, and the fixed header that it begins with. */
  readonly #begins: number[] = [];
  readonly #headers: Uint8Array[] = [];

  constructor(key: number, head: Uint8Array, bodyBytes: number, tail: Uint8Array) {
    this.#key = key;
    this.#head = head;
    this.#tail = tail;
    this.#tailAt = head.length + bodyBytes;
    this.total = this.#tailAt + tail.length;
    this.#planPackets(new Random(key));
  }

  /** All of it is passed on as it is. */
  bytesOf(said: number): number {
    return said;
  }

  #planPackets(random: Random): void {
    for (let at = this.#head.length; at < this.#tailAt; ) {
      const left = this.#tailAt - at;
      let length = Math.min(left, random.magnitude(PACKET_BYTES_MIN, PACKET_BYTES_MAX));
      if (left - length < PACKET_BYTES_MIN) length = left;
      this.#begins.push(at);
      this.#headers.push(headerOf(length));
      at += length;
    }
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
    const inside = Math.max(0, Math.min(length, this.total - position));
    for (let done = 0; done < inside; ) {
      const part = this.#part(position + done, inside - done);
      for (let index = 0; index < part.length; index++) {
        if (memory[offset + done + index] !== part[index]) return done + index;
      }
      done += part.length;
    }
    return inside < length ? inside : -1;
  }

  /** A packet begins there, or would. */
  isBoundary(position: number): boolean {
    if (position === 0 || position === this.#tailAt || position === this.total) return true;
    return this.#begins[this.#packetAt(position)] === position;
  }

  /** Of its tail, before the position, unless that is whole. */
  tailBytes(position: number): number {
    return position < this.total ? Math.max(0, position - this.#tailAt) : 0;
  }

  #part(position: number, length: number): Uint8Array {
    const inHead = this.#head.length - position;
    if (inHead > 0) return this.#head.subarray(position, position + Math.min(length, inHead));
    const inBody = this.#tailAt - position;
    if (inBody > 0) return this.#packetPart(position, Math.min(length, inBody));
    const inTail = position - this.#tailAt;
    return this.#tail.subarray(inTail, inTail + length);
  }

  #packetPart(position: number, length: number): Uint8Array {
    const packet = this.#packetAt(position);
    const header = this.#headers[packet]!;
    const within = position - this.#begins[packet]!;
    if (within < header.length) return header.subarray(within, within + length);
    const end = this.#begins[packet + 1] ?? this.#tailAt;
    return contentAt(this.#key, position, Math.min(length, end - position));
  }

  /** The last packet of the body that begins at the position or before. */
  #packetAt(position: number): number {
    let least = 0;
    let most = this.#begins.length - 1;
    while (least < most) {
      const middle = (least + most + 1) >> 1;
      if (this.#begins[middle]! <= position) least = middle;
      else most = middle - 1;
    }
    return least;
  }
}

/** Of a packet of so many bytes. A length may be written with more bytes than it needs. */
function headerOf(length: number): Uint8Array {
  if (length - 2 < 128) return Uint8Array.of(TYPE, length - 2);
  return Uint8Array.of(TYPE, ((length - 3) & 127) | 128, (length - 3) >> 7);
}
