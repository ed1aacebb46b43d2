// What an evicted side is sent behind what the other one has said: a DISCONNECT, at a packet's end, and nothing more.
import { DISCONNECT } from './packets.ts';
import type { Passable } from './passed.ts';

export class LastWords {
  /** The position in the other side's stream where they began; -1: nothing but the stream has come. */
  at = -1;
  readonly said: number[] = [];

  /**
   * Takes what isn't the stream's of the bytes at `position`, of which `received` were ever received. A goodbye that takes
   * the place of the client's own can't be told from it.
   */
  take(stream: Passable, received: number, memory: Uint8Array, offset: number, length: number, position: number): void {
    const inStream =
      this.at >= 0 ? 0 : this.#streamBytes(stream, received - position, memory, offset, length, position);
    this.said.push(...memory.subarray(offset + inStream, offset + length));
  }

  #streamBytes(
    stream: Passable,
    most: number,
    memory: Uint8Array,
    offset: number,
    length: number,
    position: number,
  ): number {
    const inStream = Math.min(most, length);
    const difference = stream.difference(memory, offset, inStream, position);
    if (difference < 0 && inStream === length) return length;
    const same = difference < 0 ? inStream : difference;
    this.at = position + same;
    if (stream.tailBytes(this.at) > 0) this.#beginAtTail(stream);
    return same;
  }

  // The stream's own tail has begun, but it was these words that began like it.
  #beginAtTail(stream: Passable): void {
    this.said.push(...DISCONNECT.subarray(0, stream.tailBytes(this.at)));
    this.at -= stream.tailBytes(this.at);
  }

  isWhole(word: Uint8Array): boolean {
    return this.said.length === word.length && this.isBeginningOf(word);
  }

  isBeginningOf(word: Uint8Array): boolean {
    return this.said.length <= word.length && this.said.every((byte, index) => byte === word[index]);
  }
}

/** What a server of 5.0 says; no reference: ''. */
export function disconnectWord(code: number, reference: string): Uint8Array {
  if (reference === '') return Uint8Array.of(0xe0, 2, code, 0);
  const property = Uint8Array.of(0x1c, 0, reference.length, ...Buffer.from(reference));
  const properties = Uint8Array.of(...lengthBytes(property.length), ...property);
  return Uint8Array.of(0xe0, ...lengthBytes(properties.length + 1), code, ...properties);
}

function lengthBytes(length: number): number[] {
  return length < 128 ? [length] : [(length & 127) | 128, length >> 7];
}
