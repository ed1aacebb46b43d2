// Quantiles of the latencies that the load counted in its buckets.
import { build } from 'hdr-histogram-js';
import { HISTOGRAM_STEPS } from './layout.ts';

const NANOSECONDS_MAX = 60_000_000_000;

export interface Quantiles {
  p50Us: number;
  p99Us: number;
  p999Us: number;
  maxUs: number;
}

// One for all: who asks every second would leave a heap of them behind.
const histogram = build({ highestTrackableValue: NANOSECONDS_MAX, numberOfSignificantValueDigits: 3 });

/** `buckets` counts as assembly/histogram.ts does; undefined when nothing was counted. */
export function quantiles(buckets: Uint32Array): Quantiles | undefined {
  histogram.reset();
  for (const [bucket, count] of buckets.entries()) {
    const nanoseconds = Math.min(NANOSECONDS_MAX, Math.round(bucketMicroseconds(bucket) * 1000));
    if (count > 0) histogram.recordValueWithCount(nanoseconds, count);
  }
  if (histogram.totalCount === 0) return undefined;
  const at = (percentile: number): number => histogram.getValueAtPercentile(percentile) / 1000;
  return { p50Us: at(50), p99Us: at(99), p999Us: at(99.9), maxUs: at(100) };
}

/** The upper end of a bucket. */
export function bucketMicroseconds(bucket: number): number {
  const doubling = Math.floor(bucket / HISTOGRAM_STEPS);
  const step = bucket % HISTOGRAM_STEPS;
  return (2 ** doubling * (HISTOGRAM_STEPS + step + 1) - HISTOGRAM_STEPS) / HISTOGRAM_STEPS;
}
