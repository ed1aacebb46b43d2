// How connections end that outlive their process: like those of a drained backend, between two packets, a client of MQTT
// 5.0 with a DISCONNECT, and with a goodbye to the broker, which publishes no will for a client that only comes again.
import { EVICTION_GOODBYE, HEADER_SLOTS_END, PHASE_OPEN, REASON_SHUTDOWN } from '../../assembly/layout.ts';
import { headerWords } from '../header.ts';
import { ConnectionTable, type Life } from './connections.ts';
import type { Eviction } from './evictions.ts';
import { farewellOf } from './moves/goal.ts';
import type { Supervisor } from './supervisor.ts';

const FAREWELL = farewellOf(REASON_SHUTDOWN, EVICTION_GOODBYE, '');

export class Dismissal {
  readonly #workers: Pick<Supervisor, 'lives' | 'evict'>;
  /** Of each worker's life, the slots before this one were asked. */
  readonly #ends = new Map<string, number>();

  constructor(workers: Pick<Supervisor, 'lives' | 'evict'>) {
    this.#workers = workers;
  }

  /** Asks everybody in this share of each worker's slots, from 0 to 1, who wasn't asked before. */
  ask(share: number): void {
    for (const life of this.#workers.lives()) this.#askIn(life, Math.min(Math.max(share, 0), 1));
  }

  #askIn(life: Life, share: number): void {
    const key = `${life.worker}.${life.life}`;
    const first = this.#ends.get(key) ?? 0;
    const end = Math.ceil(share * Atomics.load(headerWords(life.memory), HEADER_SLOTS_END / 4));
    if (end <= first) return;
    const evictions = evictionsOf(new ConnectionTable(life), first, end);
    const taken = this.#workers.evict(life.worker, life.life, evictions);
    this.#ends.set(key, evictions[taken]?.slot ?? end);
  }
}

function evictionsOf(table: ConnectionTable, first: number, end: number): Eviction[] {
  const evictions: Eviction[] = [];
  for (let slot = first; slot < end; slot++) {
    const generation = table.generationOf(slot);
    if (table.phaseOf(slot) === PHASE_OPEN && table.isAnswered(slot)) evictions.push({ slot, generation, ...FAREWELL });
  }
  return evictions;
}
