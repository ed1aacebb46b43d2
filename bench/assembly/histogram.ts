// Latencies, counted in buckets: u32 for each.
import { HISTOGRAM_BUCKETS, HISTOGRAM_STEPS } from '../layout';

const STEPS_LOG2: u32 = 31 - clz<u32>(HISTOGRAM_STEPS);

/** Microseconds. Bucket: the doubling of the latency in 1/STEPS microseconds, then STEPS equal steps in it. */
export function recordLatency(histogram: usize, us: f64): void {
  const ticks = <u64>(max(us, 0) * HISTOGRAM_STEPS) + HISTOGRAM_STEPS;
  const doubling = 63 - <u32>clz<u64>(ticks) - STEPS_LOG2;
  const step = <u32>(ticks >> doubling) - HISTOGRAM_STEPS;
  const bucket = min<u32>(doubling * HISTOGRAM_STEPS + step, HISTOGRAM_BUCKETS - 1);
  const at = histogram + <usize>bucket * 4;
  store<u32>(at, load<u32>(at) + 1);
}
