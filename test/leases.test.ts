// The parts of max_connections, on real memories whose workers are played by chance: they never add up to more than the
// limit, and what one doesn't use comes to those who ask for it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  ADMISSION_BYTES,
  ADMISSION_LEASES_SEEN,
  ADMISSION_LEASES_WRITTEN,
  GATE_ACTIVE,
  GATE_ALLOWANCE,
  GATE_BYTES,
  GATE_IS_FULL,
  GATE_WANTED,
  GATES_POOLS,
  HEADER_REGION_ADMISSION,
  NONE,
} from '../assembly/layout.ts';
import { Leases } from '../src/control/leases.ts';
import { createMemory, defaultSettings } from '../src/control/memory-map.ts';
import { regionOffset } from '../src/header.ts';
import { Random, testSeed } from './tools/random.ts';

/** As a worker does it: it decides by the allowance that it read, and says later that it has read the newest. */
class Player {
  readonly memory = createMemory(defaultSettings(16, 1), 0, NONE);
  readonly #words = new Uint32Array(this.memory.buffer);
  readonly #region = regionOffset(this.memory, HEADER_REGION_ADMISSION);
  #read = 0;

  get active(): number {
    return this.#words[this.#at(GATE_ACTIVE)]!;
  }

  get isFull(): boolean {
    return this.#words[this.#at(GATE_IS_FULL)] === 1;
  }

  observe(): void {
    const written = this.#words[(this.#region + ADMISSION_LEASES_WRITTEN) / 4]!;
    this.#read = this.#words[this.#at(GATE_ALLOWANCE)]!;
    this.#words[(this.#region + ADMISSION_LEASES_SEEN) / 4] = written;
  }

  /** By the allowance that it last looked at, however old. */
  admit(): boolean {
    if (this.active < this.#read) {
      this.#words[this.#at(GATE_ACTIVE)]!++;
      return true;
    }
    this.#words[this.#at(GATE_WANTED)]!++;
    return false;
  }

  release(): void {
    if (this.active > 0) this.#words[this.#at(GATE_ACTIVE)]!--;
  }

  #at(field: number): number {
    return (this.#region + ADMISSION_BYTES + GATES_POOLS * GATE_BYTES + field) / 4;
  }
}

const activeOf = (players: readonly Player[]) => players.reduce((sum, { active }) => sum + active, 0);

function begin(count: number, limit: number): { leases: Leases; players: Player[] } {
  const leases = new Leases(count);
  leases.adopt(new Map([[GATES_POOLS, limit]]));
  const players = Array.from({ length: count }, () => new Player());
  for (const { memory } of players) leases.add(memory, () => {});
  for (const player of players) player.observe();
  return { leases, players };
}

test('workers that come, ask and go by chance never have more than the limit together', (context) => {
  const random = new Random(testSeed(context));
  for (let round = 0; round < 200; round++) {
    const limit = random.magnitude(1, 300);
    const { leases, players } = begin(random.integer(1, 6), limit);
    for (let step = 0; step < 400; step++) {
      const player = random.pick(players);
      const act = random.pick(['admit', 'admit', 'admit', 'release', 'observe', 'look'] as const);
      if (act === 'look') leases.look();
      else player[act]();
      assert.ok(activeOf(players) <= limit, `${activeOf(players)} of ${limit} in step ${step} of round ${round}`);
    }
  }
});

test('a worker that asks gets all that the others do not use, also of a limit smaller than their number', () => {
  for (const limit of [1, 2, 3, 10, 1000]) {
    const { leases, players } = begin(4, limit);
    const [asking] = players.slice(-1);
    for (let look = 0; look < 4 * limit + 20 && asking!.active < limit; look++) {
      asking!.admit();
      for (const player of players) player.observe();
      leases.look();
      for (const player of players) player.observe();
      while (asking!.active < limit && asking!.admit());
    }
    assert.equal(asking!.active, limit);
    leases.look();
    assert.ok(
      players.every(({ isFull }) => isFull),
      'then everybody knows that nothing is left',
    );
  }
});

test('nobody is let in under a lowered limit until enough have left', () => {
  const { leases, players } = begin(2, 10);
  for (const player of players) for (let each = 0; each < 5; each++) assert.ok(player.admit());
  leases.adopt(new Map([[GATES_POOLS, 4]]));
  const settle = () => {
    leases.look();
    for (const player of players) player.observe();
  };
  settle();
  for (const player of players) for (let each = 0; each < 3; each++) player.release();
  settle();
  assert.equal(activeOf(players), 4);
  for (const player of players) assert.equal(player.admit(), false);
  players[0]!.release();
  for (let look = 0; look < 5; look++) settle();
  assert.equal(players.filter((player) => player.admit()).length, 1);
});

test('what a worker had that died is given to its successor', () => {
  const { leases, players } = begin(2, 2);
  for (const player of players) assert.ok(player.admit());
  leases.remove(players[0]!.memory);
  const successor = new Player();
  leases.add(successor.memory, () => {});
  for (let look = 0; look < 5 && successor.active === 0; look++) {
    successor.observe();
    successor.admit();
    leases.look();
    players[1]!.observe();
  }
  assert.deepEqual([successor.active, players[1]!.active], [1, 1]);
  assert.equal(successor.admit(), false);
});
