// Repeatable chance: a test that uses it prints its seed, and TIDEGATE_SEED replays it.
import type { TestContext } from 'node:test';

/** xorshift32: quick, and good enough to choose chunk sizes and moments. */
export class Random {
  #state: number;

  constructor(seed: number) {
    // Seeds that follow one another would begin alike, and zero is the one state that never changes.
    this.#state = Math.imul(seed + 1, 0x9e3779b1) || 1;
    for (let round = 0; round < 8; round++) this.word();
  }

  /** 32 bits. */
  word(): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return this.#state >>> 0;
  }

  /** From 0 up to 1. */
  fraction(): number {
    return this.word() / 2 ** 32;
  }

  integer(min: number, max: number): number {
    return min + Math.floor(this.fraction() * (max - min + 1));
  }

  /** Every magnitude is as likely as any other: most are small, some are near `max`. */
  magnitude(min: number, max: number): number {
    return Math.round(min * (max / min) ** this.fraction());
  }

  chance(probability: number): boolean {
    return this.fraction() < probability;
  }

  pick<Item>(items: readonly Item[]): Item {
    return items[this.integer(0, items.length - 1)]!;
  }
}

const seeded = new WeakSet<TestContext>();

/** Once for each test: of two seeds no single one would replay it. */
export function testSeed(context: TestContext): number {
  if (seeded.has(context)) throw new Error('this test has a seed already');
  seeded.add(context);
  const given = process.env.TIDEGATE_SEED;
  const seed = given === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(given);
  context.diagnostic(`TIDEGATE_SEED=${seed}`);
  return seed;
}
