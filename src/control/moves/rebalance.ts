// Moving clients to where they would come if they connected now. With `hash` these are exactly the connections whose key
// belongs to another backend than the one they are at; what has no key stays. Other methods have no right place for a
// client, only too many at one backend: the excess over `threshold` times its share goes.
import { EVICTION_GOODBYE, HEALTH_STATES, HEALTH_UP, NONE, REASON_REBALANCED } from '../../../assembly/layout.ts';
import type { PoolConfig } from '../../config.ts';
import type { Backend } from '../snapshot.ts';
import type { Wanted } from './candidates.ts';
import type { Scene } from './drain.ts';
import { excesses } from './excess.ts';
import { type Farewell, farewellOf, type Goal } from './goal.ts';
import { Owners } from './owners.ts';

export class Rebalance implements Goal {
  readonly kind = 'rebalance';
  readonly pool: string;
  readonly backend = null;
  readonly farewell: Farewell;
  readonly #scene: Scene;
  /** Ids of those that were up at the start, and have to stay so. */
  readonly #healthy: ReadonlySet<number>;
  readonly #totalAtStart: number;
  #owners: { pool: PoolConfig; owners: Owners } | undefined;

  constructor(scene: Scene, pool: PoolConfig) {
    this.#scene = scene;
    this.pool = pool.name;
    this.farewell = farewellOf(REASON_REBALANCED, EVICTION_GOODBYE, pool.drain.serverReference);
    const members = this.#members();
    this.#healthy = new Set(members.filter((member) => this.#isUp(member)).map(({ id }) => id));
    this.#totalAtStart = this.#total(members);
  }

  obstacle(): string | undefined {
    if (this.#pool() === undefined) return 'the pool was removed';
    const ill = this.#members().find((member) => this.#healthy.has(member.id) && !this.#isUp(member));
    return ill && `backend ${ill.config.address} is not up any more`;
  }

  basis(): string {
    const words = this.#members().map(
      ({ id, config }) => `${id}:${config.weight}:${this.#scene.supervisor.healthOf(id)}`,
    );
    return words.join(' ');
  }

  wanted(): Wanted {
    const pool = this.#pool()!;
    return pool.balance.method === 'hash' ? this.#misplaced(pool) : this.#excess(pool);
  }

  leftOf(candidates: number, asked: number): number {
    return candidates + asked;
  }

  #misplaced(pool: PoolConfig): Wanted {
    const { supervisor } = this.#scene;
    if (this.#owners?.pool !== pool) this.#owners = { pool, owners: new Owners(pool, this.#members()) };
    const { owners } = this.#owners;
    owners.setHealth((backend) => supervisor.healthOf(backend));
    const members = new Set(this.#members().map(({ id }) => id));
    return {
      from: (table, slot) => {
        const backend = table.backendOf(slot);
        if (!members.has(backend) || !table.isKeyed(slot) || !table.isAnswered(slot)) return null;
        const owner = owners.ownerOf(table.keyHashOf(slot));
        return owner === backend || owner === NONE ? null : backend;
      },
      quota: () => Number.POSITIVE_INFINITY,
    };
  }

  #excess({ rebalance }: PoolConfig): Wanted {
    const { supervisor } = this.#scene;
    const members = this.#members();
    const loads = members.map(({ id, config: { weight, backup } }) => ({
      backend: id,
      weight,
      backup,
      health: supervisor.healthOf(id),
      connections: supervisor.totals.activeOf(id),
    }));
    const quotas = excesses(loads, rebalance.threshold, Math.max(this.#totalAtStart, this.#total(members)));
    return {
      from: (table, slot) => {
        const backend = table.backendOf(slot);
        return quotas.has(backend) && table.isAnswered(slot) ? backend : null;
      },
      quota: (backend) => quotas.get(backend) ?? 0,
    };
  }

  #pool(): PoolConfig | undefined {
    return this.#scene.config.pools.find(({ name }) => name === this.pool);
  }

  /** In the order of the configuration. */
  #members(): Backend[] {
    return this.#scene.backends.filter(({ pool }) => pool === this.pool);
  }

  #total(members: readonly Backend[]): number {
    return members.reduce((sum, { id }) => sum + this.#scene.supervisor.totals.activeOf(id), 0);
  }

  #isUp({ id }: Backend): boolean {
    return (this.#scene.supervisor.healthOf(id) & HEALTH_STATES) === HEALTH_UP;
  }
}
