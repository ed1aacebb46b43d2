// The addresses that backends are dialled from. A port is good for one connection between two addresses, so a source
// has as many for each backend as the system's range has ports, and those can run out. That is no fault of the backend's:
// another source is taken, or another backend, and the one that ran out rests for a while.
import { SOURCE_ANY, SOURCE_REST_MS, WHEEL_TICK_MS } from '../layout';
import { Cold, Pool, sourceAt } from '../memory';
import { workers } from './gates';
import { backendCounters, cold, header, hot, sourceCounters } from './table';
import { currentTick } from './timers';

/** Takes the source for the next dial of the slot, to that backend; false when all of them rest. */
export function takeSource(slot: u32, pool: Pool, backend: u32): bool {
  const count = pool.sourceCount;
  if (count == 0) return takeUnlessResting(slot, backend, SOURCE_ANY);
  const counters = backendCounters(backend);
  for (let tried: u32 = 0; tried < count; tried++) {
    // Each worker begins with another one: they may have few connections each.
    const index = (counters.sourceTurn++ + header().workerIndex) % count;
    if (takeUnlessResting(slot, backend, sourceAt(pool, index).id)) return true;
  }
  return false;
}

function takeUnlessResting(slot: u32, backend: u32, source: u32): bool {
  const counters = sourceCounters(backend, source);
  if (counters.restTick != 0 && <i32>(counters.restTick - currentTick()) > 0) return false;
  counters.active++;
  cold(slot).source = <u8>source;
  hot(slot).attempts++;
  return true;
}

/** The connection isn't made, or has ended. */
export function dropSource(line: Cold): void {
  sourceCounters(line.backend, line.source).active--;
}

/** No port was left for the dial that was just answered. */
export function restSource(line: Cold): void {
  backendCounters(line.backend).exhausted++;
  const counters = sourceCounters(line.backend, line.source);
  counters.exhausted++;
  counters.restTick = currentTick() + (SOURCE_REST_MS + WHEEL_TICK_MS - 1) / WHEEL_TICK_MS + 1;
}

/** So many connections go from the slot's source to its backend, if other workers have as many, that a port is hard to find. */
export function isCrowded(line: Cold): bool {
  return sourceCounters(line.backend, line.source).active * workers() >= header().portsCrowded;
}

/** Address of the Source that the slot dials from; 0: the system chooses. Holds until the next snapshot is observed. */
export function sourceOf(line: Cold, pool: Pool): usize {
  for (let index: u32 = 0; index < pool.sourceCount; index++) {
    const source = sourceAt(pool, index);
    if (source.id == line.source) return changetype<usize>(source);
  }
  return 0;
}
