// Says so when a worker's connection table is full: its clients then wait or are sent away, and nothing else would tell.
import type { EngineName } from '../engine/engine.ts';
import type { Logger } from '../logger.ts';
import type { Capacity } from './capacity.ts';

const POLL_MS = 500;
/** A table that is full and not full by turns is worth one line a minute. */
const SILENCE_MS = 60_000;

/** One worker's table at this moment. */
export interface Occupancy {
  index: number;
  engine: EngineName;
  connections: number;
  connectionsMax: number;
  /** A listener has no place to accept into. */
  isFull: boolean;
  /** Clients sent away so far because the table was full. */
  turnedAway: number;
}

export interface FullnessOptions {
  capacity: Capacity;
  occupancies(): Occupancy[];
  log: Logger;
}

/** Polls until the returned function is called. */
export function startFullnessWatch(options: FullnessOptions): () => void {
  const watches = new Map<number, FullnessWatch>();
  const timer = setInterval(() => {
    for (const occupancy of options.occupancies()) {
      const watch = watches.get(occupancy.index) ?? new FullnessWatch();
      watches.set(occupancy.index, watch);
      if (watch.observe(performance.now(), occupancy)) announce(occupancy, options);
    }
  }, POLL_MS);
  return () => clearInterval(timer);
}

/** What happens to a client that comes now. */
const FATES: Record<EngineName, string> = {
  uring: "new clients wait in the kernel's queue",
  portable: 'new clients are sent away',
};

function announce(occupancy: Occupancy, { capacity, log }: FullnessOptions): void {
  const { index, engine, connections, connectionsMax, turnedAway } = occupancy;
  const { limit, remedy } = capacity;
  const count = `${connections} of ${connectionsMax} connections in worker ${index}`;
  const fields = { event: 'worker_full', worker: index, connections, turnedAway } as const;
  log.warn(fields, `full: ${count}, bounded by ${limit}; ${remedy}; ${FATES[engine]}`);
}

/** One worker's table. Times are of any monotonic clock. */
export class FullnessWatch {
  #isFull = false;
  #turnedAway = 0;
  #announcedMs = Number.NEGATIVE_INFINITY;

  /** True when the table has become full, or was since the last look, and that wasn't said lately. */
  observe(nowMs: number, { isFull, turnedAway }: Pick<Occupancy, 'isFull' | 'turnedAway'>): boolean {
    const wasFull = this.#isFull;
    this.#isFull = isFull || turnedAway > this.#turnedAway;
    this.#turnedAway = turnedAway; // a worker that began anew counts from 0
    if (!this.#isFull || wasFull || nowMs - this.#announcedMs < SILENCE_MS) return false;
    this.#announcedMs = nowMs;
    return true;
  }
}
