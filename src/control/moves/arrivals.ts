// Whether a backend of a pool has come, or come back, and has its whole share of the clients: the moment at which those
// who belong there may be moved to it. Seen by looking, since it has many causes: a judge, an operator, a reload.
import { HEALTH_UP } from '../../../assembly/layout.ts';

export interface Member {
  /** Its id. */
  backend: number;
  weight: number;
  /** Its word, as layout.ts has it. */
  health: number;
}

export class Arrivals {
  /** Those that were settled at the last look, with their weights. Before the first one nobody has clients. */
  #settled: ReadonlyMap<number, number> | undefined;

  /** True when somebody has come, or got a larger weight, since the last look. */
  look(members: readonly Member[]): boolean {
    const settled = new Map(
      members.flatMap(({ backend, weight, health }): [number, number][] =>
        weight > 0 && health === HEALTH_UP ? [[backend, weight]] : [],
      ),
    );
    const before = this.#settled;
    this.#settled = settled;
    return before !== undefined && [...settled].some(([backend, weight]) => weight > (before.get(backend) ?? 0));
  }
}
