// The worker's memory as the kernel sees it: at an address of the process, which is not its offset. Whatever the data
// plane points at must lie inside, and not below the header, where its own constants stand.
import { HEADER_OFFSET, HEADER_REGION_END } from '../../assembly/layout.ts';
import { Violation } from './violation.ts';

export class KernelMemory {
  readonly bytes: Uint8Array;
  readonly words: Uint32Array;
  readonly base: number;
  readonly #end: number;

  constructor(memory: WebAssembly.Memory, base: number) {
    this.bytes = new Uint8Array(memory.buffer);
    this.words = new Uint32Array(memory.buffer);
    this.base = base;
    this.#end = this.header(HEADER_REGION_END);
  }

  header(field: number): number {
    return this.words[(HEADER_OFFSET + field) >>> 2]!;
  }

  word(offset: number): number {
    return this.words[offset >>> 2]!;
  }

  half(offset: number): number {
    return this.bytes[offset]! | (this.bytes[offset + 1]! << 8);
  }

  /** The u64 at an offset, as far as a double holds it: addresses and lengths are smaller. */
  long(offset: number): number {
    return this.word(offset) + this.word(offset + 4) * 2 ** 32;
  }

  /** The offset of [address, address + length), which must be the data plane's to give. */
  offsetOf(address: number, length: number, what: string): number {
    const offset = address - this.base;
    if (!(offset >= HEADER_OFFSET && length >= 0 && offset + length <= this.#end)) {
      throw new Violation(`${what}: ${length} bytes at offset ${offset} reach outside of the memory`);
    }
    return offset;
  }
}
