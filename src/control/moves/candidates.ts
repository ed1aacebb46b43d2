// Who is to be moved: one walk over all connections. Of a million candidates those are kept whose turn comes soon, the
// longest silent first, among equals the oldest: who says little notices least.
import { PHASE_OPEN } from '../../../assembly/layout.ts';
import { type ConnectionId, type ConnectionTable, type Life, walkConnections } from '../connections.ts';

/** What a move wants of each connection. */
export interface Wanted {
  /** Of an open connection: the backend's id that it is to be taken from, or null: it may stay. */
  from(table: ConnectionTable, slot: number): number | null;
  /** How many of that backend's shall go. */
  quota(backend: number): number;
}

export interface Candidate extends ConnectionId {
  backend: number;
  idleTicks: number;
  openedMs: number;
}

export interface Candidates {
  /** All that are to go and weren't asked yet. */
  count: number;
  /** Those whose turn is next. */
  next: Candidate[];
  /** Those that were asked and are still there. */
  asked: AskedOnes;
}

/** Connections that were told to go, and go when their packets allow it. */
export class AskedOnes {
  /** Generation by slot, for each life of a worker. */
  readonly #lives = new Map<string, Map<number, number>>();
  readonly #counts = new Map<number, number>();
  size = 0;

  add({ worker, life, slot, generation }: ConnectionId, backend: number): void {
    const key = `${worker}.${life}`;
    const slots = this.#lives.get(key) ?? new Map<number, number>();
    this.#lives.set(key, slots);
    slots.set(slot, generation);
    this.#counts.set(backend, this.countOf(backend) + 1);
    this.size += 1;
  }

  countOf(backend: number): number {
    return this.#counts.get(backend) ?? 0;
  }

  has({ worker, life }: { worker: number; life: number }, slot: number, generation: number): boolean {
    return this.#lives.get(`${worker}.${life}`)?.get(slot) === generation;
  }
}

/** `countMax`: how many `next` shall hold at most. */
export async function findCandidates(
  lives: readonly Life[],
  wanted: Wanted,
  asked: AskedOnes,
  countMax: number,
): Promise<Candidates> {
  const queues = new Map<number, Queue>();
  const still = new AskedOnes();
  await walkConnections(lives, (table, slot, generation) => {
    const { worker, life } = table;
    if (asked.size > 0 && asked.has(table, slot, generation)) {
      still.add({ worker, life, slot, generation }, table.backendOf(slot));
      return;
    }
    if (table.phaseOf(slot) !== PHASE_OPEN) return;
    const backend = wanted.from(table, slot);
    if (backend === null) return;
    const queue = queues.get(backend) ?? new Queue(Math.min(countMax, wanted.quota(backend)));
    queues.set(backend, queue);
    queue.offer(backend, table, slot, generation);
  });
  let count = 0;
  const next: Candidate[] = [];
  for (const [backend, queue] of queues) {
    // Who has gone during the walk was there when the quota was made: rather too few now than too many.
    const quota = Math.max(0, wanted.quota(backend) - asked.countOf(backend));
    count += Math.min(queue.offered, quota);
    next.push(...queue.first().slice(0, quota));
  }
  return { count, next: next.sort(compare).slice(0, countMax), asked: still };
}

/** The first so many of those that are offered. */
class Queue {
  readonly #countMax: number;
  #kept: Candidate[] = [];
  /** Nobody who was silent for less has a place any more. */
  #idleTicksMin = 0;
  offered = 0;

  constructor(countMax: number) {
    this.#countMax = countMax;
  }

  offer(backend: number, table: ConnectionTable, slot: number, generation: number): void {
    this.offered += 1;
    const idleTicks = table.idleTicksOf(slot);
    if (idleTicks < this.#idleTicksMin) return;
    const { worker, life } = table;
    this.#kept.push({ worker, life, slot, generation, backend, idleTicks, openedMs: table.openedMsOf(slot) });
    if (this.#kept.length >= 2 * this.#countMax) this.#trim();
  }

  first(): Candidate[] {
    this.#trim();
    return this.#kept;
  }

  #trim(): void {
    this.#kept = this.#kept.sort(compare).slice(0, this.#countMax);
    if (this.#kept.length === this.#countMax) this.#idleTicksMin = this.#kept.at(-1)?.idleTicks ?? 0;
  }
}

function compare(one: Candidate, other: Candidate): number {
  return other.idleTicks - one.idleTicks || one.openedMs - other.openedMs;
}
