// Which backend a key belongs to, now: the same table and the same choice as the workers', with their health words.
import { NONE } from '../../../assembly/layout.ts';
import type { PoolConfig } from '../../config.ts';
import type { Table } from '../../core.ts';
import { tableOf } from '../../pool-table.ts';
import type { Backend } from '../snapshot.ts';

export class Owners {
  readonly #table: Table;
  /** By the member's index. */
  readonly #backends: readonly number[];
  readonly #health: Uint32Array;

  /** `members`: in the order of the pool. Takes some 50 ms for 64 of them. */
  constructor(pool: PoolConfig, members: readonly Backend[]) {
    this.#table = tableOf(pool);
    this.#backends = members.map(({ id }) => id);
    this.#health = new Uint32Array(members.length);
  }

  /** `healthOf`: a backend's word, as layout.ts has it. */
  setHealth(healthOf: (backend: number) => number): void {
    for (const [index, backend] of this.#backends.entries()) this.#health[index] = healthOf(backend);
  }

  /** The backend's id; NONE when none takes the key. */
  ownerOf(keyHash: bigint): number {
    const index = this.#table.choose(keyHash, this.#health);
    return index < 0 ? NONE : this.#backends[index]!;
  }
}
