// All moves: those that run, and the latest that have ended. A backend has one at a time, and so has a pool; a new one
// takes the place of the one before it.
import type { PoolConfig } from '../../config.ts';
import type { Logger } from '../../logger.ts';
import type { HealthChange } from '../health/judge.ts';
import type { Backend } from '../snapshot.ts';
import { Arrivals } from './arrivals.ts';
import { Drain, type Scene } from './drain.ts';
import type { Goal, MoveKind } from './goal.ts';
import { Move } from './move.ts';
import { Orphans } from './orphans.ts';
import { Rebalance } from './rebalance.ts';

const KEPT_MAX = 100;
const LOOK_MS = 1000;

/** Connections that were told to go, since the start. */
export interface Moved {
  /** Id of the backend that they were at. */
  backend: number;
  kind: MoveKind;
  count: number;
}

export class Moves {
  readonly #findScene: () => Scene;
  readonly #log: Logger;
  /** Oldest first. */
  #list: Move[] = [];
  #lastId = 0;
  readonly #moved = new Map<string, Moved>();
  /** By the pool's name. */
  readonly #arrivals = new Map<string, Arrivals>();
  #timer: NodeJS.Timeout | undefined;

  /** `findScene` is first called by the first move, or by start. */
  constructor(findScene: () => Scene, log: Logger) {
    this.#findScene = findScene;
    this.#log = log;
  }

  get #scene(): Scene {
    return this.#findScene();
  }

  /** From here on pools that want it are rebalanced by themselves. */
  start(): void {
    this.#timer = setInterval(() => this.#lookForArrivals(), LOOK_MS);
    this.#timer.unref();
    this.#lookForArrivals();
  }

  /** Oldest first; all that run and the latest of the others. */
  list(): readonly Move[] {
    return this.#list;
  }

  running(): Move[] {
    return this.#list.filter(({ state }) => state === 'running');
  }

  /** The one that runs. */
  ofBackend({ id }: Backend): Move | undefined {
    return this.running().find(({ goal }) => goal.backend?.id === id);
  }

  /** The rebalance that runs. */
  ofPool(pool: string): Move | undefined {
    return this.running().find(({ goal }) => goal.backend === null && goal.pool === pool);
  }

  moved(): readonly Moved[] {
    return [...this.#moved.values()];
  }

  /** Keeps new clients from the backend, and moves those it has away. `rate`: a second; the pool's when it isn't said. */
  drain(backend: Backend, kind: 'drain' | 'maintenance', rate = this.#poolOf(backend)!.drain.rate): Move {
    const { operator } = this.#scene;
    const before = this.ofBackend(backend);
    operator.set(backend, kind);
    before?.stop('another one took its place');
    return this.#begin(new Drain(this.#scene, backend, kind), rate);
  }

  rebalance(pool: PoolConfig, rate = pool.rebalance.rate): Move {
    this.ofPool(pool.name)?.stop('another one took its place');
    return this.#begin(new Rebalance(this.#scene, pool), rate);
  }

  /** False: there is none of this number, or it has ended. */
  stop(id: number): boolean {
    const move = this.running().find((one) => one.id === id);
    move?.stop('stopped by an operator');
    return move !== undefined;
  }

  /** What the judge has found. */
  onHealth({ backend, state, isGone }: HealthChange): void {
    const pool = this.#poolOf(backend);
    // A reload may have removed it since the probe began.
    if (state !== 'down' || pool === undefined) return;
    const { orphans } = pool;
    const { supervisor } = this.#scene;
    const isWanted = orphans.close === 'always' || (orphans.close === 'auto' && isGone);
    if (!isWanted || supervisor.totals.activeOf(backend.id) === 0) return;
    this.ofBackend(backend)?.stop('the backend is down');
    this.#begin(new Orphans(this.#scene, backend), orphans.rate);
  }

  /** Ends all that run. */
  async stopAll(): Promise<void> {
    clearInterval(this.#timer);
    const running = this.running();
    for (const move of running) move.stop('Tidegate stops');
    await Promise.all(running.map(({ ended }) => ended));
  }

  #begin(goal: Goal, rate: number): Move {
    const { supervisor } = this.#scene;
    this.#lastId += 1;
    const move = new Move({
      id: this.#lastId,
      goal,
      rate,
      workers: supervisor,
      onAsked: (backend) => this.#count(backend, goal.kind),
      onEnd: (ended) => this.#announceEnd(ended),
    });
    this.#list.push(move);
    const ended = this.#list.filter(({ state }) => state !== 'running');
    const forgotten = new Set(ended.slice(0, Math.max(0, ended.length - KEPT_MAX)));
    this.#list = this.#list.filter((one) => !forgotten.has(one));
    const pace = rate === 0 ? 'at once' : `at ${rate}/s`;
    this.#log.info({ event: 'move_started', ...fieldsOf(move), rate }, `${nameOf(move)} begins, ${pace}`);
    return move;
  }

  #announceEnd(move: Move): void {
    const { moved, reason } = move;
    const fields = { ...fieldsOf(move), moved };
    const count = moved === 1 ? '1 connection' : `${moved} connections`;
    if (move.state === 'done') this.#log.info({ event: 'move_done', ...fields }, `${nameOf(move)} is done: ${count}`);
    else {
      const message = `${nameOf(move)} has stopped after ${count}: ${reason}`;
      this.#log.warn({ event: 'move_stopped', ...fields, reason }, message);
    }
  }

  #count(backend: number, kind: MoveKind): void {
    const key = `${backend} ${kind}`;
    const moved = this.#moved.get(key) ?? { backend, kind, count: 0 };
    moved.count += 1;
    this.#moved.set(key, moved);
  }

  #poolOf({ pool }: Backend): PoolConfig | undefined {
    return this.#scene.config.pools.find(({ name }) => name === pool);
  }

  #lookForArrivals(): void {
    const { config, backends, supervisor } = this.#scene;
    for (const pool of config.pools) {
      const arrivals = this.#arrivals.get(pool.name) ?? new Arrivals();
      this.#arrivals.set(pool.name, arrivals);
      const members = backends.filter((backend) => backend.pool === pool.name);
      const health = ({ id, config }: Backend) => ({
        backend: id,
        weight: config.weight,
        health: supervisor.healthOf(id),
      });
      const hasArrived = arrivals.look(members.map(health));
      if (hasArrived && pool.rebalance.automatic && this.ofPool(pool.name) === undefined) this.rebalance(pool);
    }
  }
}

function fieldsOf({ id, kind, goal }: Move) {
  return { move: id, kind, pool: goal.pool, backend: goal.backend?.config.address ?? null };
}

const NAMES: Record<MoveKind, string> = {
  drain: 'drain of',
  maintenance: 'emptying for maintenance of',
  rebalance: 'rebalance of',
  orphans: 'closing of orphans of',
};

function nameOf({ kind, goal }: Move): string {
  return `${NAMES[kind]} ${goal.backend === null ? `pool ${goal.pool}` : `backend ${goal.backend.config.address}`}`;
}
