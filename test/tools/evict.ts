// Asks a balancer's workers to part with their connections, as its main thread does.
import {
  HEADER_OFFSET,
  HEADER_REGION_HOT,
  HEADER_SLOTS_END,
  HOT_BYTES,
  REASON_DRAINED,
} from '../../assembly/layout.ts';
import type { Eviction } from '../../src/control/evictions.ts';
import { regionOffset } from '../../src/header.ts';
import type { Balancer } from './balancer.ts';

/** assembly/proxy/table.ts: the hot line's generation and phase, and the phase of an established connection. */
const GENERATION = 0;
const PHASE = 8;
const PHASE_OPEN = 5;

/** Every established connection; returns how many that were. `generations`: how many lives too far the entry aims. */
export function evictAll({ tidegate }: Balancer, how: Partial<Eviction> = {}, generations = 0): number {
  let asked = 0;
  for (const { worker, life, memory } of tidegate.supervisor.lives()) {
    const evictions = openSlots(memory).map(({ slot, generation }) => ({
      reason: REASON_DRAINED,
      code: 0x8b,
      flags: 0,
      reference: false,
      ...how,
      slot,
      generation: generation + generations,
    }));
    asked += tidegate.supervisor.evict(worker, life, evictions);
  }
  return asked;
}

function openSlots(memory: WebAssembly.Memory): { slot: number; generation: number }[] {
  const view = new DataView(memory.buffer);
  const hot = regionOffset(memory, HEADER_REGION_HOT);
  const slots = Array.from({ length: view.getUint32(HEADER_OFFSET + HEADER_SLOTS_END, true) }, (_, slot) => slot);
  const isOpen = (slot: number) => view.getUint16(hot + slot * HOT_BYTES + PHASE, true) === PHASE_OPEN;
  return slots
    .filter(isOpen)
    .map((slot) => ({ slot, generation: view.getUint32(hot + slot * HOT_BYTES + GENERATION, true) }));
}
