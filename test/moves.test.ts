// Moving clients: the pace, who is chosen, and when it ends. The tables are the data plane's own; nobody carries bytes here,
// so a connection that is told to go is closed at once.
import assert from 'node:assert/strict';
import { describe, it, test } from 'node:test';
import {
  HEALTH_DOWN,
  HEALTH_DRAIN,
  HEALTH_SHARE_FULL,
  HEALTH_UP,
  HEALTH_WITHHELD_SHIFT,
  NONE,
  REASON_DRAINED,
} from '../assembly/layout.ts';
import { parseConfig } from '../src/config.ts';
import type { Eviction } from '../src/control/evictions.ts';
import { Arrivals } from '../src/control/moves/arrivals.ts';
import { AskedOnes, findCandidates, type Wanted } from '../src/control/moves/candidates.ts';
import { excesses, type Load } from '../src/control/moves/excess.ts';
import type { Goal } from '../src/control/moves/goal.ts';
import { Move } from '../src/control/moves/move.ts';
import { Owners } from '../src/control/moves/owners.ts';
import { Pacer } from '../src/control/moves/pacer.ts';
import { type Backend, BackendIds, resolveBackends } from '../src/control/snapshot.ts';
import { createTable } from '../src/core.ts';
import { FilledTable } from './tools/filled-table.ts';
import { PATIENCE_MS } from './tools/patience.ts';
import { waitFor } from './tools/wait.ts';

const connectionsOf = ({ id }: Backend): Wanted => ({
  from: (table, slot) => (table.backendOf(slot) === id ? id : null),
  quota: () => Number.POSITIVE_INFINITY,
});

const ADDRESSES = ['127.0.0.1:1', '127.0.0.1:2', '127.0.0.1:3'];

describe('the pacer', () => {
  it('lets so many go in a second, in whatever steps it is asked', () => {
    for (const rate of [0.5, 7, 200, 20_000]) {
      const pacer = new Pacer(rate, 0);
      let count = 0;
      for (let nowMs = 0; nowMs <= 10_000; nowMs += 5 + Math.random() * 40) count += pacer.take(nowMs, 1e6);
      assert.ok(Math.abs(count - rate * 10) <= Math.max(1, rate * 0.1), `${count} at ${rate}/s`);
    }
  });

  it('keeps 200 a second over 10 s within a few of them', () => {
    const pacer = new Pacer(200, 0);
    let count = 0;
    for (let nowMs = 20; nowMs <= 10_000; nowMs += 20) count += pacer.take(nowMs, 2000);
    assert.ok(Math.abs(count - 2000) <= 2, `${count}`);
  });

  it('spreads them: no two pacers let them go at the same instants', () => {
    const timesOf = () => {
      const pacer = new Pacer(10, 0);
      return Array.from({ length: 5000 }, (_, ms) => pacer.take(ms, 100) > 0 && ms).filter((ms) => ms !== false);
    };
    const [one, other] = [timesOf(), timesOf()];
    const gaps = one.slice(1).map((ms, index) => ms - one[index]!);
    assert.ok(Math.max(...gaps) - Math.min(...gaps) > 50, `${gaps}`);
    assert.notDeepEqual(one, other);
  });

  it('makes no burst of what it missed, nor of a time in which nobody waited', () => {
    const pacer = new Pacer(100, 0);
    pacer.take(0, 10);
    assert.ok(pacer.take(60_000, 10_000) <= 101, 'the main thread was held for a minute');
    const idle = new Pacer(100, 0);
    for (let nowMs = 0; nowMs <= 10_000; nowMs += 20) assert.equal(idle.take(nowMs, 0), 0);
    assert.ok(idle.take(10_020, 1000) <= 4);
  });

  it('lets all go at once at rate 0', () => {
    assert.equal(new Pacer(0, 0).take(0, 12_345), 12_345);
  });
});

describe('candidates', () => {
  const ofBackend = (table: FilledTable, index: number) => connectionsOf(table.backends[index]!);

  it('are those of the backend, the longest silent first, among equals the oldest', async () => {
    const table = await FilledTable.make({ backends: ADDRESSES }, 512);
    for (const agoMs of [1000, 60_000, 5000, 30_000]) {
      table.setAgo(agoMs);
      for (let device = 0; device < 60; device++) table.open({ clientId: `device-${agoMs}-${device}` });
    }
    table.setAgo(0);
    table.accept('127.0.0.1');
    const { count, next } = await findCandidates([table], ofBackend(table, 1), new AskedOnes(), 20);
    const all = await findCandidates([table], ofBackend(table, 1), new AskedOnes(), 1000);
    assert.deepEqual([count, next.length, all.next.length], [all.count, 20, all.count]);
    assert.deepEqual(next, all.next.slice(0, 20));
    assert.ok(count > 40 && count < 160);
    for (const [index, candidate] of all.next.entries()) {
      assert.equal(candidate.backend, table.backends[1]!.id);
      const before = all.next[index - 1] ?? candidate;
      assert.ok(before.idleTicks >= candidate.idleTicks);
      if (before.idleTicks === candidate.idleTicks) assert.ok(before.openedMs <= candidate.openedMs);
    }
  });

  it('are not those that were asked already, who are counted while they are there', async () => {
    const table = await FilledTable.make({ backends: ADDRESSES }, 64);
    for (let device = 0; device < 60; device++) table.open({ clientId: `device-${device}` });
    const wanted = ofBackend(table, 0);
    const first = await findCandidates([table], wanted, new AskedOnes(), 1000);
    const asked = new AskedOnes();
    for (const candidate of first.next.slice(0, 5)) asked.add(candidate, candidate.backend);
    const second = await findCandidates([table], wanted, asked, 1000);
    assert.deepEqual([second.count, second.asked.size], [first.count - 5, 5]);
    table.plane.connectionClose(first.next[0]!.slot, REASON_DRAINED);
    table.open({ clientId: 'device-0' }); // in the same slot
    const third = await findCandidates([table], wanted, second.asked, 1000);
    assert.equal(third.asked.size, 4);
  });

  it('are no more than the quota of their backend, in which those count that were asked', async () => {
    const table = await FilledTable.make({ backends: ADDRESSES }, 256);
    for (let device = 0; device < 200; device++) table.open({ clientId: `device-${device}` });
    const quotas = new Map([[table.backends[0]!.id, 10]]);
    const wanted = {
      from: (reader: { backendOf(slot: number): number }, slot: number) =>
        quotas.has(reader.backendOf(slot)) ? reader.backendOf(slot) : null,
      quota: (backend: number) => quotas.get(backend) ?? 0,
    };
    const first = await findCandidates([table], wanted, new AskedOnes(), 100);
    assert.deepEqual([first.count, first.next.length], [10, 10]);
    const asked = new AskedOnes();
    for (const candidate of first.next.slice(0, 4)) asked.add(candidate, candidate.backend);
    const second = await findCandidates([table], wanted, asked, 100);
    assert.deepEqual([second.count, second.next.length, second.asked.size], [6, 6, 4]);
  });
});

describe('excess', () => {
  const load = (backend: number, connections: number, more: Partial<Load> = {}): Load => ({
    backend,
    connections,
    weight: 1,
    backup: false,
    health: HEALTH_UP,
    ...more,
  });
  const of = (loads: Load[], threshold = 1.1) => [
    ...excesses(
      loads,
      threshold,
      loads.reduce((sum, { connections }) => sum + connections, 0),
    ),
  ];

  it('is what lies over the threshold times the mean', () => {
    assert.deepEqual(of([load(0, 300), load(1, 0)]), [[0, 135]]);
    assert.deepEqual(of([load(0, 104), load(1, 96)]), []);
    assert.deepEqual(of([load(0, 100), load(1, 0)], 1), [[0, 50]]);
  });

  it('follows weights, and what is withheld in a slow start', () => {
    assert.deepEqual(of([load(0, 200, { weight: 2 }), load(1, 100)]), []);
    const half = (HEALTH_SHARE_FULL / 2) << HEALTH_WITHHELD_SHIFT;
    assert.deepEqual(of([load(0, 300), load(1, 0, { health: half >>> 0 })], 1), [[0, 100]]);
  });

  it('is all of a backup once a primary is back, and nothing of those that are not up', () => {
    assert.deepEqual(of([load(0, 0), load(1, 50, { backup: true })]), [[1, 50]]);
    assert.deepEqual(
      of([load(0, 50), load(1, 900, { health: HEALTH_DRAIN }), load(2, 900, { health: HEALTH_DOWN })], 20),
      [],
    );
    assert.deepEqual(of([load(0, 50, { weight: 0 }), load(1, 50, { backup: true })]), []);
  });

  it('does not grow while those who were moved are on their way', () => {
    assert.deepEqual([...excesses([load(0, 165), load(1, 0)], 1.1, 300)], []);
  });
});

test('a backend arrives when it is up with its whole share, or has a larger weight, and not at the first look', () => {
  const arrivals = new Arrivals();
  const up = { backend: 0, weight: 1, health: HEALTH_UP };
  const other = { backend: 1, weight: 1, health: HEALTH_DOWN };
  assert.equal(arrivals.look([up, other]), false);
  assert.equal(arrivals.look([up, other]), false);
  const slow = (1 << HEALTH_WITHHELD_SHIFT) >>> 0;
  assert.equal(arrivals.look([up, { ...other, health: slow }]), false);
  assert.equal(arrivals.look([up, { ...other, health: HEALTH_UP }]), true);
  assert.equal(arrivals.look([up, { ...other, health: HEALTH_UP }]), false);
  assert.equal(arrivals.look([up]), false);
  assert.equal(arrivals.look([up, { backend: 2, weight: 1, health: HEALTH_UP }]), true);
  assert.equal(
    arrivals.look([
      { ...up, weight: 2 },
      { backend: 2, weight: 1, health: HEALTH_UP },
    ]),
    true,
  );
  assert.equal(arrivals.look([up, { backend: 2, weight: 1, health: HEALTH_UP }]), false);
});

for (const algorithm of ['rendezvous', 'ketama'] as const) {
  test(`a key's owner is the backend that it would come to now (${algorithm})`, async () => {
    const pools = { brokers: { balance: { algorithm }, backends: ADDRESSES } };
    const settings = { listeners: [{ bind: '127.0.0.1:0' }], pools };
    const config = parseConfig(JSON.stringify(settings), 'owners.yaml');
    const ids = new BackendIds();
    ids.idOf('another pool', 'x');
    const members = await resolveBackends(config.pools, ids);
    const owners = new Owners(config.pools[0]!, members);
    const table = createTable({ algorithm, members: ADDRESSES.map((name) => ({ name })) });
    const health = new Map([[members[1]!.id, HEALTH_DOWN]]);
    for (let device = 0; device < 500; device++) {
      const key = `device-${device}`;
      const order = table.order(key).map((name) => members.find(({ config }) => config.address === name)!.id);
      owners.setHealth(() => HEALTH_UP);
      assert.equal(owners.ownerOf(table.hash(key)), order[0]);
      owners.setHealth((backend) => health.get(backend) ?? HEALTH_UP);
      assert.equal(
        owners.ownerOf(table.hash(key)),
        order.find((backend) => backend !== members[1]!.id),
      );
      owners.setHealth(() => HEALTH_DRAIN);
      assert.equal(owners.ownerOf(table.hash(key)), NONE);
    }
  });
}

describe('a move', () => {
  interface Stage {
    table: FilledTable;
    goal: Goal;
    obstacle: { text?: string };
    toldAtMs: number[];
    evictions: Eviction[];
    workers: { lives(): FilledTable[]; evict(worker: number, life: number, evictions: readonly Eviction[]): number };
  }

  async function stage(count: number, roomMax = Number.POSITIVE_INFINITY): Promise<Stage> {
    const table = await FilledTable.make({ backends: ['127.0.0.1:1'] }, count);
    for (let device = 0; device < count; device++) table.open({ clientId: `device-${device}` });
    const toldAtMs: number[] = [];
    const evictions: Eviction[] = [];
    const obstacle: Stage['obstacle'] = {};
    const goal: Goal = {
      kind: 'drain',
      pool: 'brokers',
      backend: table.backends[0]!,
      farewell: { reason: REASON_DRAINED, code: 0x8b, flags: 1, reference: false },
      obstacle: () => obstacle.text,
      basis: () => '',
      wanted: () => connectionsOf(table.backends[0]!),
      leftOf: (candidates, asked) => candidates + asked,
    };
    const evict = (_worker: number, _life: number, asked: readonly Eviction[]) => {
      const taken = asked.slice(0, roomMax);
      for (const eviction of taken) {
        toldAtMs.push(performance.now());
        evictions.push(eviction);
        table.plane.connectionClose(eviction.slot, eviction.reason);
      }
      return taken.length;
    };
    return { table, goal, obstacle, toldAtMs, evictions, workers: { lives: () => [table], evict } };
  }

  const begin = ({ goal, workers }: Stage, rate: number) => {
    const asked: number[] = [];
    const onAsked = (backend: number) => void asked.push(backend);
    return { move: new Move({ id: 1, goal, rate, workers, onAsked, onEnd: () => {} }), asked };
  };

  it('tells everybody at its pace, each once, and is done when nobody is left', async () => {
    const scene = await stage(400);
    const { move, asked } = begin(scene, 200);
    const beganMs = performance.now();
    await move.ended;
    const tookMs = performance.now() - beganMs;
    assert.deepEqual([move.state, move.moved, move.left, asked.length], ['done', 400, 0, 400]);
    assert.ok(tookMs > 1800 && tookMs < 2000 + PATIENCE_MS, `${tookMs} ms`);
    assert.equal(new Set(scene.evictions.map(({ slot }) => slot)).size, 400);
    assert.deepEqual(
      new Set(scene.evictions.map(({ reason, code, flags }) => `${reason} ${code} ${flags}`)),
      new Set([`${REASON_DRAINED} ${0x8b} 1`]),
    );
    const firstHalf = scene.toldAtMs.filter((ms) => ms - beganMs < 1000).length;
    assert.ok(firstHalf > 100 && firstHalf < 220, `${firstHalf} in the first second`);
  });

  it('tells all at once at rate 0, also when the workers have room for few', async () => {
    const scene = await stage(500, 100);
    const beganMs = performance.now();
    const { move } = begin(scene, 0);
    await move.ended;
    assert.deepEqual([move.state, move.moved], ['done', 500]);
    assert.ok(scene.toldAtMs.at(-1)! - beganMs < PATIENCE_MS, `${scene.toldAtMs.at(-1)! - beganMs} ms`);
  });

  it('stops with the reason when something is in its way, and when it is told to', async () => {
    const scene = await stage(100);
    const { move } = begin(scene, 100);
    setTimeout(() => {
      scene.obstacle.text = 'the weather';
    }, 300);
    await move.ended;
    assert.deepEqual([move.state, move.reason], ['stopped', 'the weather']);
    assert.ok(move.moved > 15 && move.moved < 50, `${move.moved}`);
    assert.equal(move.left, 100 - move.moved);
    const other = begin(await stage(100), 100).move;
    other.stop('enough');
    await other.ended;
    assert.deepEqual([other.state, other.reason, other.moved], ['stopped', 'enough', 0]);
  });

  it('waits for those who were told and are still there', async () => {
    const scene = await stage(10);
    const told: Eviction[] = [];
    scene.workers.evict = (_worker, _life, asked) => told.push(...asked) && asked.length;
    const { move } = begin(scene, 0);
    await waitFor('look at those who were told', () => told.length === 10 && move.left === 10);
    assert.deepEqual([move.state, told.length], ['running', 10]);
    for (const { slot } of told) scene.table.plane.connectionClose(slot, REASON_DRAINED);
    await move.ended;
    assert.deepEqual([move.state, move.moved], ['done', 10]);
  });
});
