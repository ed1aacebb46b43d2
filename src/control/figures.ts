// Distributions and the like, as workers count them (assembly/proxy/figures.ts) and as people read them.
import {
  BACKEND_FIGURES_CONNACK,
  BACKEND_FIGURES_CONNACKS,
  BACKEND_FIGURES_CONNECT,
  BACKEND_FIGURES_OTHER,
  CONNACK_CODES,
  HISTOGRAM_BOUNDS,
  HISTOGRAM_SUM,
  LATENCIES_BYTES,
  LATENCIES_SUM,
  LATENCY_BUCKETS,
  LATENCY_QUARTERS_SHIFT,
  PROTOCOL_OTHER,
  PROTOCOL_UNKNOWN,
} from '../../assembly/layout.ts';

/** Upper bounds in seconds, HISTOGRAM_BOUNDS of each. */
export const KEEP_ALIVE_BOUNDS = [0, 10, 30, 60, 120, 300, 600, 1200, 1800, 3600, 14_400, 43_200];
export const AGE_BOUNDS = [0.1, 1, 10, 60, 300, 900, 1800, 3600, 21_600, 86_400, 604_800, 2_592_000];
/** Latencies are shown by powers of two, from this one of microseconds to this: 64 us to 34 s. */
const POWER_FIRST = 6;
const POWER_LAST = 25;
const SECOND_US = 1e6;

/** The MQTT versions by name, and where they are counted. */
export const PROTOCOLS = { '3.1': 3, '3.1.1': 4, '5.0': 5, other: PROTOCOL_OTHER } as const;
/** The same, and connections that ended before their version was known. */
export const PROTOCOLS_AT_END = { ...PROTOCOLS, unknown: PROTOCOL_UNKNOWN } as const;

export type ByProtocol = Record<keyof typeof PROTOCOLS, number>;

export interface HistogramReading {
  /** Upper bounds, ascending; the last count is of what lies above all of them. */
  bounds: readonly number[];
  counts: readonly number[];
  sum: number;
}

export interface Percentiles {
  p50: number;
  p90: number;
  p99: number;
}

/** Figures of one backend: numbers by their offset in BACKEND_FIGURES / 8. */
export type Figures = Float64Array;

/** All numbers of a backend's figures end here. */
export const FIGURES_LENGTH = (BACKEND_FIGURES_CONNACK + LATENCIES_BYTES) / 8;
const CONNECT = BACKEND_FIGURES_CONNECT / 8;
const CONNACK = BACKEND_FIGURES_CONNACK / 8;

/** `numberAt` finds a number by its offset from the histogram's first; `units` of what is counted make one of what is shown. */
export function readHistogram(
  bounds: readonly number[],
  numberAt: (offset: number) => number,
  units = 1,
): HistogramReading {
  const counts = Array.from({ length: HISTOGRAM_BOUNDS + 1 }, (_, index) => numberAt(index * 8));
  return { bounds, counts, sum: numberAt(HISTOGRAM_SUM) / units };
}

/** How often each code was seen, ascending; "other" are first bytes that told none. These two and 0 are always there. */
export function connackCounts(figures: Figures): [code: string, count: number][] {
  const first = BACKEND_FIGURES_CONNACKS / 8;
  const codes = [...figures.subarray(first, first + CONNACK_CODES)].flatMap((count, code): [string, number][] =>
    code === 0 || count > 0 ? [[String(code), count]] : [],
  );
  return [...codes, ['other', figures[BACKEND_FIGURES_OTHER / 8]!]];
}

/** From the start of a dial to its success, in seconds. */
export function connectSeconds(figures: Figures): HistogramReading {
  return latencyHistogram(figures, CONNECT);
}

/** From there, when CONNECT was sent, to CONNACK. */
export function connackSeconds(figures: Figures): HistogramReading {
  return latencyHistogram(figures, CONNACK);
}

/** Of what was counted in `figures` and not yet in `before`, in seconds; null when that is nothing. */
export function connectPercentiles(figures: Figures, before: Figures): Percentiles | null {
  return percentiles(figures, before, CONNECT);
}

export function connackPercentiles(figures: Figures, before: Figures): Percentiles | null {
  return percentiles(figures, before, CONNACK);
}

function latencyHistogram(figures: Figures, first: number): HistogramReading {
  const bounds: number[] = [];
  const counts: number[] = [];
  let bucket = 0;
  for (let power = POWER_FIRST; power <= POWER_LAST; power++) {
    const end = bucketOf(2 ** power);
    bounds.push(2 ** power / SECOND_US);
    counts.push(sumOf(figures, first + bucket, first + end));
    bucket = end;
  }
  counts.push(sumOf(figures, first + bucket, first + LATENCY_BUCKETS));
  return { bounds, counts, sum: figures[first + LATENCIES_SUM / 8]! / SECOND_US };
}

function percentiles(figures: Figures, before: Figures, first: number): Percentiles | null {
  const counts = Array.from(
    { length: LATENCY_BUCKETS },
    (_, bucket) => figures[first + bucket]! - before[first + bucket]!,
  );
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (total === 0) return null;
  const at = (part: number) => quantile(counts, part * total) / SECOND_US;
  return { p50: at(0.5), p90: at(0.9), p99: at(0.99) };
}

/** As if what is counted in a bucket lay evenly in it. */
function quantile(counts: readonly number[], rank: number): number {
  let below = 0;
  for (const [bucket, count] of counts.entries()) {
    if (count > 0 && below + count >= rank) {
      const [from, to] = [bucketFrom(bucket), bucketFrom(bucket + 1)];
      return from + ((to - from) * (rank - below)) / count;
    }
    below += count;
  }
  return bucketFrom(counts.length);
}

/** The bucket that begins with a power of two of microseconds. */
function bucketOf(microseconds: number): number {
  return (Math.log2(microseconds) - LATENCY_QUARTERS_SHIFT + 1) << LATENCY_QUARTERS_SHIFT;
}

/** The least number of microseconds that is counted there. */
function bucketFrom(bucket: number): number {
  const quarters = 1 << LATENCY_QUARTERS_SHIFT;
  if (bucket < quarters) return bucket;
  return (quarters + (bucket % quarters)) * 2 ** (Math.floor(bucket / quarters) - 1);
}

function sumOf(numbers: Float64Array, from: number, to: number): number {
  return numbers.subarray(from, to).reduce((sum, number) => sum + number, 0);
}
