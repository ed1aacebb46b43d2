// Emptying a backend that an operator has taken from service: everybody there is told to go, and nobody new comes. The
// broker hears a DISCONNECT for each, so that it publishes no will for a client that only moves.
import { EVICTION_GOODBYE, REASON_DRAINED } from '../../../assembly/layout.ts';
import type { Balancer } from '../balancer.ts';
import type { Backend } from '../snapshot.ts';
import type { Wanted } from './candidates.ts';
import { type Farewell, farewellOf, type Goal } from './goal.ts';

export type Scene = Pick<Balancer, 'supervisor' | 'judge' | 'operator' | 'config' | 'backends'>;

export class Drain implements Goal {
  readonly kind: 'drain' | 'maintenance';
  readonly pool: string;
  readonly backend: Backend;
  readonly farewell: Farewell;
  readonly #scene: Scene;

  constructor(scene: Scene, backend: Backend, kind: 'drain' | 'maintenance') {
    this.#scene = scene;
    this.kind = kind;
    this.pool = backend.pool;
    this.backend = backend;
    const pool = scene.config.pools.find(({ name }) => name === backend.pool)!;
    this.farewell = farewellOf(REASON_DRAINED, EVICTION_GOODBYE, pool.drain.serverReference);
  }

  obstacle(): string | undefined {
    const { operator, judge, backends } = this.#scene;
    const backend = backends.find(({ id }) => id === this.backend.id);
    if (backend === undefined) return 'the backend was removed';
    const said = operator.stateOf(backend);
    if (said !== this.kind) return `the backend was set to ${said}`;
    const { state, reason } = judge.standingOf(backend);
    return state === 'down' ? `the backend is down: ${reason}` : undefined;
  }

  basis(): string {
    return '';
  }

  wanted(): Wanted {
    return answeredOf(this.backend);
  }

  leftOf(): number {
    return this.#scene.supervisor.totals.activeOf(this.backend.id);
  }

  onEnd(): void {
    const { supervisor, operator, judge, backends } = this.#scene;
    if (this.kind !== 'maintenance' || !backends.some(({ id }) => id === this.backend.id)) return;
    const isEmpty = supervisor.totals.activeOf(this.backend.id) === 0;
    if (isEmpty || judge.standingOf(this.backend).state === 'down') operator.hold(this.backend);
  }
}

/** Its connections; without those whose CONNECT the broker has still to answer, which are found again when it has. */
function answeredOf({ id }: Backend): Wanted {
  return {
    from: (table, slot) => (table.backendOf(slot) === id && table.isAnswered(slot) ? id : null),
    quota: () => Number.POSITIVE_INFINITY,
  };
}
