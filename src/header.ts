// The head of a worker's memory, for everyone on the host's side: its words, its clocks, and where its regions lie.
import { HEADER_BYTES, HEADER_CLOCK_MS, HEADER_CONTROL, HEADER_OFFSET, HEADER_WALL_MS } from '../assembly/layout.ts';

/** A WebAssembly.Memory, or what is left of one that was sent as its buffer. */
export interface Memory {
  readonly buffer: ArrayBufferLike;
}

/** Words of the header: index with HEADER_* / 4. */
export function headerWords({ buffer }: Memory): Uint32Array {
  return new Uint32Array(buffer, HEADER_OFFSET, HEADER_BYTES / 4);
}

/** Its f64: index with HEADER_*_MS / 8. */
export function headerClocks({ buffer }: Memory): Float64Array {
  return new Float64Array(buffer, HEADER_OFFSET, HEADER_BYTES / 8);
}

/** `field` is one of HEADER_REGION_*. */
export function regionOffset(memory: Memory, field: number): number {
  return headerWords(memory)[field / 4]!;
}

/** Each thread's performance clock has an origin of its own: whoever runs on the memory sets both. */
export function startClock(clocks: Float64Array): void {
  clocks[HEADER_WALL_MS / 8] = performance.timeOrigin;
  clocks[HEADER_CLOCK_MS / 8] = performance.now();
}

/** The control word alone, of the type that can be waited for. */
export function controlWord({ buffer }: Memory): Int32Array {
  return new Int32Array(buffer, HEADER_OFFSET + HEADER_CONTROL, 1);
}
