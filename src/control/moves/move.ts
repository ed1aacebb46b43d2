// One move under way: it looks who is to go, tells them one after the other at its pace, and looks again, until nobody is
// left or something is in its way. New candidates are found by the next look: a client that was still dialling when the
// move began is open a moment later.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Life } from '../connections.ts';
import type { Eviction } from '../evictions.ts';
import { AskedOnes, type Candidate, findCandidates } from './candidates.ts';
import type { Goal, MoveKind } from './goal.ts';
import { Pacer } from './pacer.ts';

const STEP_MS = 20;
/** What a look found is forgotten after so long: clients speak, come and go. */
const FRESH_MS = 1000;
/** A look over a large table costs time: so many times as long passes before the next one. */
const LOOK_SHARE = 10;
const NEXT_MAX = 65_536;
const NEXT_MIN = 64;

export interface Workers {
  lives(): readonly Life[];
  /** Returns how many were taken, from the first on. */
  evict(worker: number, life: number, evictions: readonly Eviction[]): number;
}

export interface MoveOptions {
  id: number;
  goal: Goal;
  /** A second; 0: all at once. */
  rate: number;
  workers: Workers;
  /** A connection of this backend was told to go. */
  onAsked(backend: number): void;
  onEnd(move: Move): void;
}

export type MoveState = 'running' | 'done' | 'stopped';

export class Move {
  readonly id: number;
  readonly kind: MoveKind;
  readonly goal: Goal;
  readonly rate: number;
  readonly startedAt = new Date();
  state: MoveState = 'running';
  /** Why it stopped before its end, for people. */
  reason = '';
  /** Connections that were told to go. */
  moved = 0;
  endedAt: Date | null = null;
  /** Resolves when it is over; never rejects. */
  readonly ended: Promise<void>;
  readonly #options: MoveOptions;
  readonly #pacer: Pacer;
  readonly #stop = new AbortController();
  #asked = new AskedOnes();
  #left: number;

  constructor(options: MoveOptions) {
    this.#options = options;
    this.id = options.id;
    this.goal = options.goal;
    this.kind = options.goal.kind;
    this.rate = options.rate;
    this.#pacer = new Pacer(options.rate, performance.now());
    this.#left = options.goal.leftOf(0, 0);
    this.ended = this.#run();
  }

  /** Connections that are still to go. */
  get left(): number {
    return this.#left;
  }

  /** `reason`: for people. */
  stop(reason: string): void {
    this.#end('stopped', reason);
  }

  async #run(): Promise<void> {
    await Promise.resolve(); // whoever starts it knows it before it can end
    try {
      while (this.state === 'running') await this.#turn();
    } catch (error) {
      this.#end('stopped', `a mistake of ours: ${error}`);
    }
  }

  async #turn(): Promise<void> {
    if (this.#meetsObstacle()) return;
    const { goal, workers } = this.#options;
    const beganMs = performance.now();
    const askedBefore = this.#asked.size;
    const found = await findCandidates(workers.lives(), goal.wanted(), this.#asked, this.#nextMax());
    const tookMs = performance.now() - beganMs;
    this.#asked = found.asked;
    this.#left = goal.leftOf(found.count, found.asked.size);
    if (this.#meetsObstacle()) return;
    if (this.#left === 0 && askedBefore === 0) return this.#end('done', '');
    await this.#send(found.next, beganMs + Math.max(FRESH_MS, tookMs * LOOK_SHARE));
    const untilNextMs = beganMs + tookMs * LOOK_SHARE - performance.now();
    if (this.state === 'running') await this.#pause(Math.max(STEP_MS, untilNextMs));
  }

  /** More than can go before the next look. */
  #nextMax(): number {
    return this.rate === 0 ? NEXT_MAX : Math.min(NEXT_MAX, Math.max(NEXT_MIN, Math.ceil(this.rate * 4)));
  }

  async #send(waiting: Candidate[], untilMs: number): Promise<void> {
    const basis = this.goal.basis();
    const isFresh = () => performance.now() < untilMs && this.goal.basis() === basis;
    while (waiting.length > 0 && isFresh() && !this.#meetsObstacle()) {
      const due = this.#pacer.take(performance.now(), waiting.length);
      const refused = this.#tell(waiting.slice(0, due));
      waiting = [...refused, ...waiting.slice(due)];
      if (waiting.length > 0) await this.#pause(this.rate === 0 ? 1 : STEP_MS);
    }
  }

  /** Returns those that their worker had no room for. */
  #tell(candidates: readonly Candidate[]): Candidate[] {
    const refused: Candidate[] = [];
    for (const group of groupByWorker(candidates)) {
      const { worker, life } = group[0]!;
      const { farewell } = this.goal;
      const evictions = group.map(({ slot, generation }) => ({ slot, generation, ...farewell }));
      const taken = this.#options.workers.evict(worker, life, evictions);
      for (const candidate of group.slice(0, taken)) this.#onAsked(candidate);
      refused.push(...group.slice(taken));
    }
    return refused;
  }

  #onAsked(candidate: Candidate): void {
    this.#asked.add(candidate, candidate.backend);
    this.moved += 1;
    this.#left = Math.max(0, this.#left - 1); // the next look knows better
    this.#options.onAsked(candidate.backend);
  }

  #meetsObstacle(): boolean {
    if (this.state !== 'running') return true;
    const obstacle = this.goal.obstacle();
    if (obstacle !== undefined) this.#end('stopped', obstacle);
    return obstacle !== undefined;
  }

  #end(state: MoveState, reason: string): void {
    if (this.state !== 'running') return;
    this.state = state;
    this.reason = reason;
    this.endedAt = new Date();
    this.#stop.abort();
    this.goal.onEnd?.();
    this.#options.onEnd(this);
  }

  async #pause(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.#stop.signal }).catch(() => {});
  }
}

function groupByWorker(candidates: readonly Candidate[]): Candidate[][] {
  const groups = new Map<string, Candidate[]>();
  for (const candidate of candidates) {
    const key = `${candidate.worker}.${candidate.life}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [candidate]);
    else group.push(candidate);
  }
  return [...groups.values()];
}
