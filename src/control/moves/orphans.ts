// Ending the connections that a dead backend has left behind. Those whose sockets tell of its death end by that; these are
// the silent ones, of a machine that is gone or a process that hangs. Nothing of them is worth waiting for.
import { EVICTION_ABRUPT, REASON_BACKEND_DOWN } from '../../../assembly/layout.ts';
import type { Backend } from '../snapshot.ts';
import type { Wanted } from './candidates.ts';
import type { Scene } from './drain.ts';
import { DISCONNECT_SHUTTING_DOWN, type Farewell, type Goal } from './goal.ts';

export class Orphans implements Goal {
  readonly kind = 'orphans';
  readonly pool: string;
  readonly backend: Backend;
  readonly farewell: Farewell = {
    reason: REASON_BACKEND_DOWN,
    code: DISCONNECT_SHUTTING_DOWN,
    flags: EVICTION_ABRUPT,
    reference: false,
  };
  readonly #scene: Scene;

  constructor(scene: Scene, backend: Backend) {
    this.#scene = scene;
    this.pool = backend.pool;
    this.backend = backend;
  }

  obstacle(): string | undefined {
    const { judge, backends } = this.#scene;
    const backend = backends.find(({ id }) => id === this.backend.id);
    if (backend === undefined) return 'the backend was removed';
    const { state } = judge.standingOf(backend);
    return state === 'down' ? undefined : `the backend is ${state} again`;
  }

  basis(): string {
    return '';
  }

  wanted(): Wanted {
    const { id } = this.backend;
    return {
      from: (table, slot) => (table.backendOf(slot) === id ? id : null),
      quota: () => Number.POSITIVE_INFINITY,
    };
  }

  /** Dials that are under way fail by themselves. */
  leftOf(candidates: number, asked: number): number {
    return candidates + asked;
  }
}
