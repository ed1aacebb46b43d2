// What the main thread asks of workers about single connections: to end them. A ring of entries in each worker's memory;
// the worker reads them at its next turn, and leaves each connection where both directions stand between two packets.
import {
  EVICTION_BYTES,
  EVICTION_CODE,
  EVICTION_FLAGS,
  EVICTION_GENERATION,
  EVICTION_REASON,
  EVICTION_REFERENCE,
  EVICTION_SLOT,
  EVICTIONS_MAX,
  HEADER_EVICTIONS_READ,
  HEADER_EVICTIONS_WRITTEN,
  HEADER_REGION_EVICTIONS,
} from '../../assembly/layout.ts';
import { headerWords, regionOffset } from '../header.ts';

export interface Eviction {
  slot: number;
  /** Of the life that is meant; if the slot has begun another one, nothing happens. */
  generation: number;
  /** REASON_* */
  reason: number;
  /** Reason code of the DISCONNECT that an MQTT 5.0 client gets; 0: none. */
  code: number;
  /** EVICTION_* */
  flags: number;
  /** The DISCONNECT names the pool's server reference. */
  reference: boolean;
}

/** Returns how many of them, from the first on, found room; who asks waits before it sends the others. */
export function writeEvictions(memory: WebAssembly.Memory, evictions: readonly Eviction[]): number {
  const header = headerWords(memory);
  const written = header[HEADER_EVICTIONS_WRITTEN / 4]!;
  const waiting = (written - Atomics.load(header, HEADER_EVICTIONS_READ / 4)) >>> 0;
  const fitting = evictions.slice(0, EVICTIONS_MAX - waiting);
  const view = new DataView(memory.buffer, regionOffset(memory, HEADER_REGION_EVICTIONS));
  for (const [index, eviction] of fitting.entries()) {
    writeEviction(view, ((written + index) % EVICTIONS_MAX) * EVICTION_BYTES, eviction);
  }
  Atomics.store(header, HEADER_EVICTIONS_WRITTEN / 4, written + fitting.length);
  return fitting.length;
}

function writeEviction(
  view: DataView,
  at: number,
  { slot, generation, reason, code, flags, reference }: Eviction,
): void {
  view.setUint32(at + EVICTION_SLOT, slot, true);
  view.setUint32(at + EVICTION_GENERATION, generation, true);
  view.setUint16(at + EVICTION_REASON, reason, true);
  view.setUint8(at + EVICTION_CODE, code);
  view.setUint8(at + EVICTION_FLAGS, flags);
  view.setUint32(at + EVICTION_REFERENCE, Number(reference), true);
}
