import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  BACKEND_COUNTERS_BYTES,
  BACKEND_COUNTERS_CHOSEN,
  BACKEND_FIGURES_BYTES,
  BACKEND_FIGURES_CONNECT,
  HISTOGRAM_BOUNDS,
  LATENCY_BUCKETS,
  NONE,
} from '../assembly/layout.ts';
import { Totals, WorkerCounters } from '../src/control/counters.ts';
import {
  AGE_BOUNDS,
  connectPercentiles,
  connectSeconds,
  FIGURES_LENGTH,
  KEEP_ALIVE_BOUNDS,
} from '../src/control/figures.ts';
import { createMemory, defaultSettings } from '../src/control/memory-map.ts';
import { RecentLatencies } from '../src/control/recent-latencies.ts';

const NOTHING = new Float64Array(FIGURES_LENGTH);
/** Counted in the bucket: 4 + 10 * 4 + 1 is the second quarter of 4096 us, from 5120 to 6144 us. */
const bucketOf = (power: number, quarter: number) => (power - 1) * 4 + quarter;

function figuresWith(...counts: readonly [bucket: number, count: number][]): Float64Array {
  const figures = new Float64Array(FIGURES_LENGTH);
  for (const [bucket, count] of counts) figures[BACKEND_FIGURES_CONNECT / 8 + bucket] = count;
  return figures;
}

function assertNear(value: number | undefined, expected: number): void {
  assert.ok(Math.abs(value! - expected) <= expected * 1e-9, `${value}, not ${expected}`);
}

test('bounds are as many as a histogram has, and ascend', () => {
  for (const bounds of [KEEP_ALIVE_BOUNDS, AGE_BOUNDS]) {
    assert.equal(bounds.length, HISTOGRAM_BOUNDS);
    assert.deepEqual(
      bounds,
      bounds.toSorted((a, b) => a - b),
    );
  }
});

test('percentiles lie in the quarter of the power of two in which the value was counted', () => {
  for (const [power, quarter, from, to] of [
    [2, 0, 4, 5],
    [12, 1, 5120, 6144],
    [25, 3, 58_720_256, 67_108_864],
    [31, 3, 7 * 2 ** 29, 2 ** 32],
  ] as const) {
    const { p50, p90, p99 } = connectPercentiles(figuresWith([bucketOf(power, quarter), 100]), NOTHING)!;
    assertNear(p50, (from + (to - from) * 0.5) / 1e6);
    assertNear(p90, (from + (to - from) * 0.9) / 1e6);
    assertNear(p99, (from + (to - from) * 0.99) / 1e6);
  }
  assert.equal(connectPercentiles(NOTHING, NOTHING), null);
});

test('percentiles are of what was counted since', () => {
  const before = figuresWith([bucketOf(6, 0), 1_000_000]);
  const figures = figuresWith([bucketOf(6, 0), 1_000_000], [bucketOf(20, 0), 10]);
  assert.ok(connectPercentiles(figures, before)!.p50 > 1);
  assert.ok(connectPercentiles(figures, NOTHING)!.p99 < 0.001);
  assert.equal(connectPercentiles(before, before), null);
});

test('a histogram by powers of two holds every bucket once', () => {
  const figures = figuresWith(...Array.from({ length: LATENCY_BUCKETS }, (_, bucket): [number, number] => [bucket, 1]));
  const { bounds, counts } = connectSeconds(figures);
  assert.equal(counts.length, bounds.length + 1);
  assert.deepEqual([bounds[0], counts[0], counts[1]], [64e-6, bucketOf(6, 0), 4]);
  assert.equal(
    counts.reduce((sum, count) => sum + count, 0),
    LATENCY_BUCKETS,
  );
});

test('a backend that has become slow shows within a minute, and what a dead worker counted is not counted again', () => {
  const backend = 7;
  const totals = new Totals();
  const recent = new RecentLatencies(totals);
  const latenciesOf = (id: number) => recent.of(id, totals.figuresOf(id));
  const newWorker = () => {
    const worker = new WorkerCounters(createMemory(defaultSettings(16, 1), 0, NONE));
    totals.add(worker);
    return worker;
  };
  const count = ({ backends, figures }: WorkerCounters, bucket: number, times: number) => {
    backends[(backend * BACKEND_COUNTERS_BYTES + BACKEND_COUNTERS_CHOSEN) / 8]! += BigInt(times);
    figures[(backend * BACKEND_FIGURES_BYTES + BACKEND_FIGURES_CONNECT) / 8 + bucket]! += BigInt(times);
  };
  const first = newWorker();
  count(first, bucketOf(8, 0), 1000);
  assert.ok(latenciesOf(backend).connect!.p99 < 0.001, 'since the start');
  totals.retire(first);
  const second = newWorker();
  count(second, bucketOf(20, 0), 10);
  assert.ok(latenciesOf(backend).connect!.p50 < 0.001);
  for (let sample = 0; sample < 6; sample++) recent.sample();
  assert.equal(latenciesOf(backend).connect, null, 'nothing in the last minute');
  count(second, bucketOf(20, 0), 10);
  assert.ok(latenciesOf(backend).connect!.p50 > 1);
  assert.deepEqual(totals.backendsChosen(), [backend]);
  assert.equal(latenciesOf(backend + 1).connect, null);
});
