// One choice at a time, by the ABI: who is eligible, in which order the passes come, and what each method prefers.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  ALGORITHM_KETAMA,
  ALGORITHM_RENDEZVOUS,
  HEALTH_DOWN,
  HEALTH_DRAIN,
  HEALTH_SHARE_FULL,
  HEALTH_SUSPECT,
  HEALTH_UP,
  HEALTH_WITHHELD_SHIFT,
  METHOD_HASH,
  METHOD_LEAST_CONN,
  METHOD_RANDOM_TWO,
  METHOD_ROUND_ROBIN,
} from '../assembly/layout.ts';
import { Random, testSeed } from './tools/random.ts';
import { type RawMember, RawPool, type RawPoolOptions } from './tools/raw-core.ts';

const SHAPES = [
  { shape: 'rendezvous', method: METHOD_HASH, algorithm: ALGORITHM_RENDEZVOUS },
  { shape: 'ketama', method: METHOD_HASH, algorithm: ALGORITHM_KETAMA },
  { shape: 'hash without a key', method: METHOD_HASH, keyless: true },
  { shape: 'round_robin', method: METHOD_ROUND_ROBIN },
  { shape: 'least_conn', method: METHOD_LEAST_CONN },
  { shape: 'random_two', method: METHOD_RANDOM_TWO },
];
const ROWS = 1 << 10;

function poolOf(weights: readonly number[], options: Partial<RawPoolOptions> = {}): RawPool {
  const members = weights.map((weight, index) => ({ name: `10.0.0.${index + 1}:1883`, weight }));
  return new RawPool({ members, rows: ROWS, ...options });
}

function times(count: number, choose: () => number): number[] {
  return Array.from({ length: count }, choose);
}

function setHealth(pool: RawPool, health: readonly number[]): void {
  for (const [index, state] of health.entries()) pool.setHealth(index, state);
}

function setActive(pool: RawPool, active: readonly number[]): void {
  for (const [index, connections] of active.entries()) pool.setActive(index, connections);
}

/** Every choice for one key, the failed ones marked as tried, until none is left. */
function walk(pool: RawPool, keyHash?: bigint): number[] {
  const order: number[] = [];
  let tried = 0n;
  for (let index = pool.choose(keyHash); index !== -1; index = pool.choose(keyHash, tried)) {
    order.push(index);
    tried |= 1n << BigInt(index);
  }
  return order;
}

describe('any method', () => {
  for (const { shape, keyless, ...options } of SHAPES) {
    const keyHash = keyless ? undefined : 0x0123456789abcdefn;
    const members: RawMember[] = [
      { name: 'suspect-primary:1' },
      { name: 'suspect-backup:1', backup: true },
      { name: 'up-backup:1', backup: true },
      { name: 'up-primary:1' },
      { name: 'down:1' },
      { name: 'draining:1' },
      { name: 'weightless:1', weight: 0 },
      { name: 'weightless-backup:1', weight: 0, backup: true },
    ];

    it(`tries primaries that are up, backups that are up, suspect primaries, suspect backups: ${shape}`, () => {
      const pool = new RawPool({ members, rows: ROWS, ...options });
      const health = [HEALTH_SUSPECT, HEALTH_SUSPECT, HEALTH_UP, HEALTH_UP, HEALTH_DOWN, HEALTH_DRAIN];
      setHealth(pool, health);
      assert.deepEqual(walk(pool, keyHash), [3, 2, 0, 1]);
    });

    it(`never chooses a member that is down or draining, even if it is suspect too: ${shape}`, () => {
      const pool = poolOf([1, 1], options);
      pool.setHealth(0, HEALTH_DOWN | HEALTH_SUSPECT);
      pool.setHealth(1, HEALTH_DRAIN | HEALTH_SUSPECT);
      assert.equal(pool.choose(keyHash), -1);
    });

    it(`tries each of 64 members once: ${shape}`, () => {
      const pool = poolOf(
        Array.from({ length: 64 }, (_, index) => 1 + (index % 5)),
        options,
      );
      const order = walk(pool, keyHash);
      assert.deepEqual(
        order.toSorted((one, other) => one - other),
        [...Array(64).keys()],
      );
    });

    it(`chooses only from the best pass, whatever health and history: ${shape}`, (context) => {
      const random = new Random(testSeed(context));
      for (let round = 0; round < 20; round++) chooseAtRandom(random, options, keyless === true);
    });
  }

  it('has no answer when no member has a weight', () => {
    for (const { shape, keyless, ...options } of SHAPES) {
      assert.equal(poolOf([0, 0], options).choose(keyless ? undefined : 1n), -1, shape);
    }
  });
});

function chooseAtRandom(random: Random, options: Partial<RawPoolOptions>, keyless: boolean): void {
  const members = Array.from({ length: random.integer(1, 12) }, (_, index) => ({
    name: `backend-${index}:${random.integer(1, 65535)}`,
    weight: random.chance(0.1) ? 0 : random.magnitude(1, 100),
    backup: random.chance(0.3),
  }));
  const pool = new RawPool({ members, rows: ROWS, ...options });
  for (let turn = 0; turn < 50; turn++) {
    const health = members.map(() => random.pick([HEALTH_UP, HEALTH_UP, HEALTH_SUSPECT, HEALTH_DOWN, HEALTH_DRAIN]));
    setHealth(pool, health);
    setActive(
      pool,
      members.map(() => random.integer(0, 5)),
    );
    const tried = members.map(() => random.chance(0.2));
    // The pass a member belongs to, 4 for a member that may not be chosen.
    const passes = members.map((member, index) => {
      const usable = !tried[index] && member.weight > 0 && health[index]! <= HEALTH_SUSPECT;
      return usable ? health[index]! * 2 + (member.backup ? 1 : 0) : 4;
    });
    const triedBits = tried.reduce((bits, used, index) => bits | (used ? 1n << BigInt(index) : 0n), 0n);
    const keyHash = keyless ? undefined : (BigInt(random.word()) << 32n) | BigInt(random.word());
    const chosen = pool.choose(keyHash, triedBits);
    const best = Math.min(...passes);
    if (best === 4) assert.equal(chosen, -1);
    else assert.equal(passes[chosen], best);
  }
}

describe('hash', () => {
  it('goes to the next column of the row when the first choice has failed', () => {
    const pool = poolOf([1, 1, 1, 1, 1]);
    for (let row = 0; row < ROWS; row++) assert.deepEqual(walk(pool, BigInt(row)).slice(0, 3), pool.row(row));
  });

  it('skips a dead member by its bit, and comes back to it when it is up again', () => {
    const pool = poolOf([1, 1, 1, 1]);
    for (let row = 0; row < ROWS; row++) {
      const [first, second] = pool.row(row) as [number, number];
      pool.setHealth(first, HEALTH_DOWN);
      assert.equal(pool.choose(BigInt(row)), second);
      pool.setHealth(first, HEALTH_UP);
      assert.equal(pool.choose(BigInt(row)), first);
    }
  });

  it('leaves no trace of a choice: the same question has the same answer', () => {
    for (const algorithm of [ALGORITHM_RENDEZVOUS, ALGORITHM_KETAMA]) {
      const pool = poolOf([3, 1, 2], { algorithm });
      const first = pool.choose(pool.hashKey('device'));
      assert.deepEqual(new Set(times(100, () => pool.choose(pool.hashKey('device')))), new Set([first]));
    }
  });

  it('keeps a key on its backup while no primary is up', () => {
    for (const algorithm of [ALGORITHM_RENDEZVOUS, ALGORITHM_KETAMA]) {
      const members = Array.from({ length: 6 }, (_, index) => ({ name: `backend-${index}:1883`, backup: index > 1 }));
      const pool = new RawPool({ algorithm, members });
      pool.setHealth(0, HEALTH_DOWN);
      pool.setHealth(1, HEALTH_DOWN);
      const chosen = times(200, () => -1).map((_, index) => pool.choose(pool.hashKey(`device-${index}`)));
      assert.deepEqual(new Set(chosen), new Set([2, 3, 4, 5]), 'all backups share the keys');
      for (const [index, backup] of chosen.entries()) {
        assert.equal(pool.choose(pool.hashKey(`device-${index}`)), backup);
      }
    }
  });

  it('takes turns by weight for clients without a key', () => {
    const pool = poolOf([2, 1]);
    assert.deepEqual(
      times(6, () => pool.choose()),
      [0, 1, 0, 0, 1, 0],
    );
  });
});

describe('round_robin', () => {
  const options = { method: METHOD_ROUND_ROBIN };

  it('spreads the turns of a heavy member between the others', () => {
    const pool = poolOf([5, 1, 1], options);
    const turn = [0, 0, 1, 0, 2, 0, 0];
    assert.deepEqual(
      times(14, () => pool.choose()),
      [...turn, ...turn],
    );
  });

  it('gives every member its weight exactly in each full turn', () => {
    const weights = [7, 1, 3, 4];
    const pool = poolOf(weights, options);
    const chosen = times(15 * 4, () => pool.choose());
    for (const [index, weight] of weights.entries()) {
      assert.equal(chosen.filter((member) => member === index).length, weight * 4);
    }
  });

  it('shares the turns of a member that is down between the others by their weights', () => {
    const pool = poolOf([5, 2, 1], options);
    pool.setHealth(0, HEALTH_DOWN);
    assert.deepEqual(
      times(6, () => pool.choose()),
      [1, 2, 1, 1, 2, 1],
    );
  });
});

describe('least_conn', () => {
  const options = { method: METHOD_LEAST_CONN };

  it('chooses the member with the fewest connections for its weight', () => {
    const pool = poolOf([1, 10, 3], options);
    setActive(pool, [1, 9, 3]);
    assert.equal(pool.choose(), 1);
    setActive(pool, [1, 10, 2]);
    assert.equal(pool.choose(), 2);
    setActive(pool, [0, 10, 2]);
    assert.equal(pool.choose(), 0);
  });

  it('lets members of equal load take turns by weight', () => {
    const pool = poolOf([2, 1, 1], options);
    setActive(pool, [4, 2, 3]);
    assert.deepEqual(
      times(6, () => pool.choose()),
      [0, 1, 0, 0, 1, 0],
    );
  });

  it('compares loads that would not fit in 32 bits when multiplied', () => {
    const pool = poolOf([1000, 999], options);
    setActive(pool, [0xffffffff, 0xfffffffe]);
    assert.equal(pool.choose(), 0);
  });

  it('passes over an idle member that was tried', () => {
    const pool = poolOf([1, 1], options);
    pool.setActive(1, 100);
    assert.equal(pool.choose(undefined, 1n), 1);
  });
});

describe('random_two', () => {
  const options = { method: METHOD_RANDOM_TWO };

  it('always takes the less loaded one of two members', () => {
    const pool = poolOf([1, 3], options);
    setActive(pool, [2, 5]);
    assert.deepEqual(new Set(times(200, () => pool.choose())), new Set([1]));
    setActive(pool, [2, 7]);
    assert.deepEqual(new Set(times(200, () => pool.choose())), new Set([0]));
  });

  it('never takes the most loaded of several, and takes each of the others', () => {
    const pool = poolOf([1, 1, 1, 1], options);
    setActive(pool, [3, 1, 9, 2]);
    assert.deepEqual(new Set(times(500, () => pool.choose())), new Set([0, 1, 3]));
  });

  it('draws by weight while loads are equal', () => {
    const pool = poolOf([6, 3, 1], options);
    pool.seedRandom(42n);
    const chosen = times(10_000, () => pool.choose());
    [0.6, 0.3, 0.1].forEach((share, index) => {
      const count = chosen.filter((member) => member === index).length;
      assert.ok(Math.abs(count / chosen.length - share) < 0.02, `member ${index} was chosen ${count} times`);
    });
  });

  it('repeats itself from the same seed', () => {
    const draw = () => {
      const pool = poolOf([1, 1, 1], options);
      pool.seedRandom(7n);
      return times(50, () => pool.choose());
    };
    assert.deepEqual(draw(), draw());
  });
});

describe('slow start', () => {
  /** The member gets this part of its share. */
  const setShare = (pool: RawPool, index: number, share: number) => {
    const withheld = Math.min(HEALTH_SHARE_FULL * (1 - share), HEALTH_SHARE_FULL - 1);
    pool.setHealth(index, HEALTH_UP | (withheld << HEALTH_WITHHELD_SHIFT));
  };
  const keys = Array.from({ length: 4000 }, (_, index) => `device-${index}`);
  const choices = (pool: RawPool) => keys.map((key) => pool.choose(pool.hashKey(key)));

  for (const [shape, algorithm] of [
    ['rendezvous', ALGORITHM_RENDEZVOUS],
    ['ketama', ALGORITHM_KETAMA],
  ] as const) {
    it(`gives a returning member a growing part of its own keys and moves no other: ${shape}`, () => {
      const pool = poolOf([1, 2, 1, 1], { algorithm });
      const home = choices(pool);
      pool.setHealth(1, HEALTH_DOWN);
      const away = choices(pool);
      const own = home.filter((member) => member === 1).length;
      let before = away;
      for (const share of [1 / 65536, 0.1, 0.25, 0.5, 0.75, 0.9]) {
        setShare(pool, 1, share);
        const now = choices(pool);
        for (const [index, member] of now.entries()) {
          assert.ok(
            member === home[index] || member === away[index],
            'each key is at home, or where it went meanwhile',
          );
          if (before[index] === 1) assert.equal(member, 1, 'a key that has come back stays');
        }
        const back = now.filter((member) => member === 1).length;
        assert.ok(Math.abs(back / own - share) < 0.05, `${back} of ${own} keys at a share of ${share}`);
        before = now;
      }
      pool.setHealth(1, HEALTH_UP);
      assert.deepEqual(choices(pool), home);
    });
  }

  it('sends a withheld key to a candidate of its own when the next one has failed', () => {
    const pool = poolOf([1, 1, 1, 1, 1]);
    for (let row = 0; row < ROWS; row++) {
      const [first, second, third] = pool.row(row) as [number, number, number];
      setShare(pool, first, 0);
      assert.deepEqual(walk(pool, BigInt(row)).slice(0, 2), [second, third]);
      assert.equal(walk(pool, BigInt(row)).at(-1), first, 'its own member comes last, but it comes');
      pool.setHealth(first, HEALTH_UP);
    }
  });

  it('refuses nobody: a member that is alone, or whose likes all start slowly, takes every key', () => {
    for (const algorithm of [ALGORITHM_RENDEZVOUS, ALGORITHM_KETAMA]) {
      const members: RawMember[] = [{ name: 'one:1' }, { name: 'other:1' }, { name: 'backup:1', backup: true }];
      const pool = new RawPool({ algorithm, members, rows: ROWS });
      const home = choices(pool);
      setShare(pool, 0, 0);
      setShare(pool, 1, 0);
      assert.deepEqual(choices(pool), home, 'and no backup steps in');
    }
  });

  it('counts the weight less where there is no key', () => {
    const rounds = 6000;
    for (const method of [METHOD_ROUND_ROBIN, METHOD_RANDOM_TWO, METHOD_HASH]) {
      const pool = poolOf([1, 1, 2], { method });
      setShare(pool, 2, 0.25);
      const chosen = times(rounds, () => pool.choose());
      const share = chosen.filter((member) => member === 2).length / rounds;
      assert.ok(Math.abs(share - 0.2) < 0.02, `a share of ${share}`);
    }
  });

  it('fills a returning member of least_conn up to its part of the load', () => {
    const pool = poolOf([1, 1], { method: METHOD_LEAST_CONN });
    setShare(pool, 1, 0.5);
    setActive(pool, [100, 49]);
    assert.equal(pool.choose(), 1);
    setActive(pool, [100, 51]);
    assert.equal(pool.choose(), 0);
  });

  it('leaves the turns of round robin as they are when nothing is withheld', () => {
    const pool = poolOf([2, 1], { method: METHOD_ROUND_ROBIN });
    setShare(pool, 0, 0.5);
    times(7, () => pool.choose());
    setShare(pool, 0, 1);
    const chosen = times(300, () => pool.choose());
    assert.equal(chosen.filter((member) => member === 0).length, 200);
  });
});
