// What rendezvous tables promise: nobody moves without need, shares are even, and every instance agrees.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MEMBER_BYTES, POOL_BYTES, ROW_NONE } from '../assembly/layout.ts';
import { createTable, type TableMember } from '../src/core.ts';
import { Random, testSeed } from './tools/random.ts';
import { RawPool } from './tools/raw-core.ts';

const MEMBERS_MOST = 64;
// Few enough rows that all pools of 1 to 64 members can be built several times over.
const ROWS_OF_MANY_BUILDS = 1 << 10;

describe('a rendezvous table', () => {
  it('moves only rows of the removed member or rows that the newcomer takes, for all removals up to 64', (context) => {
    const all = randomMembers(new Random(testSeed(context)));
    for (let count = 2; count <= MEMBERS_MOST; count++) {
      const members = all.slice(0, count);
      const before = choicesOf(members, ROWS_OF_MANY_BUILDS);
      for (const removed of members) {
        // Read backwards, the same pair of tables is the addition of the one removed.
        const after = choicesOf(
          members.filter((member) => member !== removed),
          ROWS_OF_MANY_BUILDS,
        );
        assertOnlyMoves(before, after, removed.name);
      }
    }
  });

  it('moves only rows that the changed weight wins or loses, for all members of pools up to 64', (context) => {
    const random = new Random(testSeed(context));
    const all = randomMembers(random);
    for (let count = 2; count <= MEMBERS_MOST; count++) {
      const members = all.slice(0, count);
      const before = choicesOf(members, ROWS_OF_MANY_BUILDS);
      for (const changed of members) {
        const weight = random.chance(0.1) ? 0 : random.magnitude(1, 1000);
        const change = (member: TableMember) => (member === changed ? { ...member, weight } : member);
        const after = choicesOf(members.map(change), ROWS_OF_MANY_BUILDS);
        assertOnlyMoves(before, after, changed.name);
        assertOneWay(before, after, changed.name, weight - (changed.weight as number));
      }
    }
  });

  it('keeps these promises with 2^16 rows', (context) => {
    const members = randomMembers(new Random(testSeed(context)));
    const before = choicesOf(members);
    for (const removed of members.slice(0, 8)) {
      const after = choicesOf(members.filter((member) => member !== removed));
      assertOnlyMoves(before, after, removed.name);
    }
  });

  it('gives no member of 16 more than 1.04 of the mean with 2^16 rows', (context) => {
    for (const name of ['10.0.0.%:1883', '192.168.1.%:1883', 'broker-%:1883', 'mqtt-%.example.com:1883']) {
      const worst = maxOverMean(equalMembers(16, name));
      context.diagnostic(`${name}: max/mean ${worst.toFixed(4)}`);
      assert.ok(worst <= 1.04, `${name}: max/mean ${worst}`);
    }
  });

  it('has shares closer together than chance would leave them', (context) => {
    // Chance alone: sqrt(15 / 2^16), 1.51% of the mean. Each row of a member falls in its own stratum: 1.04%.
    let squares = 0;
    for (let fleet = 0; fleet < 32; fleet++) {
      const shares = [...sharesOf(equalMembers(16, `10.0.${fleet}.%:1883`)).values()];
      for (const share of shares) squares += (share * 16 - 1) ** 2 / 16 / 32;
    }
    const deviation = Math.sqrt(squares);
    context.diagnostic(`standard deviation of 512 shares: ${(deviation * 100).toFixed(2)}% of the mean`);
    assert.ok(deviation < 0.012, `standard deviation ${deviation}`);
  });

  it('gives no member of 16 more than 1.012 of the mean with 2^20 rows', (context) => {
    const worst = maxOverMean(equalMembers(16, '10.0.0.%:1883'), 1 << 20);
    context.diagnostic(`max/mean: ${worst.toFixed(4)}`);
    assert.ok(worst <= 1.012, `max/mean ${worst}`);
  });

  it('spreads the rows of each member evenly over the others as second choice', () => {
    const count = 16;
    const table = choicesOf(equalMembers(count, '10.0.0.%:1883'));
    const pairs = new Map<string, number>();
    for (let row = 0; row < table.rows; row++) {
      const pair = table.names(row).slice(0, 2).join(' ');
      pairs.set(pair, (pairs.get(pair) ?? 0) + 1);
    }
    const mean = table.rows / count / (count - 1);
    assert.equal(pairs.size, count * (count - 1));
    // 273 rows a pair, drawn at random: five standard deviations.
    for (const [pair, rows] of pairs) assert.ok(Math.abs(rows - mean) < 5 * Math.sqrt(mean), `${pair}: ${rows} rows`);
  });

  it('gives rows in proportion to weights', () => {
    const weights = [1, 2, 4, 8, 16, 33];
    const shares = sharesOf(
      weights.map((weight, index) => ({ name: `10.0.0.${index}:1883`, weight })),
      1 << 18,
    );
    weights.forEach((weight, index) => {
      const share = (shares.get(`10.0.0.${index}:1883`) as number) * 64;
      assert.ok(Math.abs(share / weight - 1) < 0.06, `weight ${weight} of 64 has ${share}/64 of the rows`);
    });
  });

  it('gives no row to members without weight and to backups, and has shorter rows for fewer members', () => {
    const table = choicesOf([
      { name: 'a:1' },
      { name: 'b:1', weight: 0 },
      { name: 'c:1', backup: true },
      { name: 'd:1' },
    ]);
    for (let row = 0; row < table.rows; row++) {
      assert.deepEqual(new Set(table.names(row)), new Set(['a:1', 'd:1']));
    }
  });

  it('has one digest whatever the order in which members are listed', (context) => {
    const random = new Random(testSeed(context));
    const members = randomMembers(random);
    for (let count = 1; count <= MEMBERS_MOST; count += 7) {
      const listed = members.slice(0, count);
      const shuffled = shuffle(listed, random);
      const options = { algorithm: 'rendezvous', secret: 'tide' } as const;
      const one = createTable({ ...options, members: listed });
      const other = createTable({ ...options, members: shuffled });
      assert.equal(one.digest(), other.digest());
      for (let key = 0; key < 200; key++) assert.deepEqual(one.order(`device-${key}`), other.order(`device-${key}`));
    }
  });

  it('has another digest when a name, a weight, a backup, the rows or the secret differ', () => {
    const members = equalMembers(4, '10.0.0.%:1883');
    const digestOf = (changes: object, first: object = {}) =>
      createTable({
        algorithm: 'rendezvous',
        members: [{ ...members[0]!, ...first }, ...members.slice(1)],
        ...changes,
      }).digest();
    const digests = [
      digestOf({}),
      digestOf({ rows: 1 << 17 }),
      digestOf({ secret: 'tide' }),
      digestOf({ algorithm: 'ketama' }),
      digestOf({}, { name: '10.0.0.99:1883' }),
      digestOf({}, { weight: 2 }),
      digestOf({}, { weight: 0 }),
      digestOf({}, { backup: true }),
    ];
    assert.equal(new Set(digests).size, digests.length);
  });

  it('sends keys elsewhere under another secret', () => {
    const members = equalMembers(16, '10.0.0.%:1883');
    const open = createTable({ algorithm: 'rendezvous', members });
    const keyed = createTable({ algorithm: 'rendezvous', members, secret: 'tide' });
    const keys = Array.from({ length: 1000 }, (_, index) => `device-${index}`);
    const same = keys.filter((key) => open.lookup(key) === keyed.lookup(key)).length;
    assert.ok(same < 120, `${same} of 1000 keys stayed, 62 would by chance`);
  });

  it('holds what a second implementation in big integers finds', (context) => {
    const random = new Random(testSeed(context));
    for (const [count, rows] of [
      [1, 256],
      [2, 512],
      [7, 1024],
      [64, 256],
    ] as const) {
      const secret = Uint8Array.from({ length: 16 }, () => random.integer(0, 255));
      const members = randomMembers(random).slice(0, count);
      const pool = new RawPool({ members, rows, secret });
      // hash_key is SipHash under the pool's secret, so it also tells what a name's hash is.
      const rivals = members.map(({ name, weight }) => ({
        nameHash: pool.hashKey(name),
        weight: BigInt(weight as number),
      }));
      for (let row = 0; row < rows; row++) assert.deepEqual(pool.row(row), rowByBigInt(rivals, row, rows));
    }
  });
});

interface Choices {
  rows: number;
  /** First, second and third choice of a row. */
  names(row: number): string[];
}

function choicesOf(members: readonly TableMember[], rows = 1 << 16): Choices {
  const table = createTable({ algorithm: 'rendezvous', members, rows })
    .block()
    .subarray(POOL_BYTES + members.length * MEMBER_BYTES);
  const names = (row: number) => {
    const choices: string[] = [];
    for (let index = row * 4; index < row * 4 + 3 && table[index] !== ROW_NONE; index++)
      choices.push(members[table[index]!]!.name);
    return choices;
  };
  return { rows, names };
}

/** Without the one that changed, each row's choices come in the same order before and after: nobody else moved. */
function assertOnlyMoves(before: Choices, after: Choices, changed: string): void {
  for (let row = 0; row < before.rows; row++) {
    const others = before.names(row).filter((name) => name !== changed);
    const othersAfter = after.names(row).filter((name) => name !== changed);
    const common = Math.min(others.length, othersAfter.length);
    for (let choice = 0; choice < common; choice++) {
      if (others[choice] !== othersAfter[choice])
        assert.fail(`row ${row} moved: ${others} became ${othersAfter}, ${changed} changed`);
    }
  }
}

/** A greater weight loses no row, a smaller one wins none. */
function assertOneWay(before: Choices, after: Choices, changed: string, difference: number): void {
  for (let row = 0; row < before.rows; row++) {
    const had = before.names(row)[0] === changed;
    const has = after.names(row)[0] === changed;
    if (difference >= 0 ? had && !has : has && !had) assert.fail(`row ${row} went the wrong way for ${changed}`);
  }
}

function sharesOf(members: readonly TableMember[], rows?: number): Map<string, number> {
  const table = choicesOf(members, rows);
  const shares = new Map<string, number>();
  for (let row = 0; row < table.rows; row++) {
    const first = table.names(row)[0] as string;
    shares.set(first, (shares.get(first) ?? 0) + 1 / table.rows);
  }
  return shares;
}

function maxOverMean(members: readonly TableMember[], rows?: number): number {
  return Math.max(...sharesOf(members, rows).values()) * members.length;
}

function equalMembers(count: number, name: string): TableMember[] {
  return Array.from({ length: count }, (_, index) => ({ name: name.replace('%', String(index + 1)) }));
}

/** 64 members of different names; half of the pools mix weights. */
function randomMembers(random: Random): TableMember[] {
  const weightMax = random.pick([1, 1000]);
  return Array.from({ length: MEMBERS_MOST }, (_, index) => ({
    name: `10.${random.integer(0, 255)}.${random.integer(0, 255)}.${index}:1883`,
    weight: random.magnitude(1, weightMax),
  }));
}

function shuffle<Item>(items: readonly Item[], random: Random): Item[] {
  return items
    .map((item) => ({ item, at: random.fraction() }))
    .sort((one, other) => one.at - other.at)
    .map(({ item }) => item);
}

// ---- The same table in the simplest words: big integers, everything computed anew, sorted ------------------------------

interface Rival {
  nameHash: bigint;
  weight: bigint;
}

const U32 = 0xffffffffn;
const U64 = 0xffffffffffffffffn;

function rowByBigInt(rivals: readonly Rival[], row: number, rows: number): number[] {
  const scored = rivals.map((rival, index) => ({ ...rival, index, score: scoreByBigInt(rival.nameHash, row, rows) }));
  scored.sort((one, other) => {
    const difference = one.score * other.weight - other.score * one.weight;
    return Number(difference) || (one.nameHash > other.nameHash ? -1 : 1);
  });
  return scored.slice(0, 3).map(({ index }) => index);
}

function scoreByBigInt(nameHash: bigint, row: number, rows: number): bigint {
  const rowBits = BigInt(Math.log2(rows));
  const shuffle = mixByBigInt(nameHash);
  const half = (rowBits + 1n) >> 1n;
  let position = BigInt(row);
  const rounds = [
    [nameHash & U32, nameHash >> 32n],
    [shuffle & U32, shuffle >> 32n],
    [(nameHash >> 20n) & U32, (shuffle >> 20n) & U32],
  ] as const;
  for (const [factor, summand] of rounds) {
    position = (position * (factor | 1n) + summand) % BigInt(rows);
    position ^= position >> half;
  }
  const below = (((nameHash ^ BigInt(row)) * 0x9e3779b97f4a7c15n) & U64) >> rowBits;
  return negativeLog2ByBigInt((position << (64n - rowBits)) | below | 1n);
}

function mixByBigInt(value: bigint): bigint {
  let mixed = ((value ^ (value >> 30n)) * 0xbf58476d1ce4e5b9n) & U64;
  mixed = ((mixed ^ (mixed >> 27n)) * 0x94d049bb133111ebn) & U64;
  return mixed ^ (mixed >> 31n);
}

function negativeLog2ByBigInt(u: bigint): bigint {
  const zeros = 64 - u.toString(2).length;
  const mantissa = u << BigInt(zeros);
  const index = Number((mantissa >> 55n) & 255n);
  const entry = (at: number) => BigInt(Math.round(2 ** 31 * (1 - Math.log2(1 + at / 256))));
  const drop = (entry(index) - entry(index + 1)) * ((mantissa >> 23n) & U32);
  return BigInt(zeros) * 2n ** 31n + entry(index) - (drop >> 32n);
}
