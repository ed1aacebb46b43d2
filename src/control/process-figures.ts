// What the process itself costs, and whether its main thread keeps up.
import { readdirSync } from 'node:fs';
import { monitorEventLoopDelay, performance } from 'node:perf_hooks';
import { getrlimit, RLIMIT_NOFILE } from '../system/libc.ts';

/** A tick twenty times a second: as often as the judge looks, and nothing beside it. */
const RESOLUTION_MS = 50;
const NS = 1e9;
const QUANTILES = [0.5, 0.9, 0.99, 1];

export interface DelayFigures {
  /** Since the last reading, by quantile; empty when nothing was measured meanwhile. */
  quantiles: { quantile: number; seconds: number }[];
  /** Since the start. */
  count: number;
  sumSeconds: number;
}

export interface ProcessFigures {
  startSeconds: number;
  cpuUserSeconds: number;
  cpuSystemSeconds: number;
  residentBytes: number;
  heapUsedBytes: number;
  /** Undefined where the system doesn't show them. */
  descriptorsOpen: number | undefined;
  descriptorsMax: number;
  /** Of the main thread's event loop. */
  loopActiveSeconds: number;
  loopIdleSeconds: number;
  /** How much later than asked a timer of the main thread fires. */
  loopDelay: DelayFigures;
}

export class ProcessMonitor {
  readonly #delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  #count = 0;
  #sumSeconds = 0;

  constructor() {
    this.#delay.enable();
  }

  read(): ProcessFigures {
    const { user, system } = process.cpuUsage();
    const { active, idle } = performance.eventLoopUtilization();
    const { rss, heapUsed } = process.memoryUsage();
    return {
      startSeconds: performance.timeOrigin / 1000,
      cpuUserSeconds: user / 1e6,
      cpuSystemSeconds: system / 1e6,
      residentBytes: rss,
      heapUsedBytes: heapUsed,
      descriptorsOpen: openDescriptors(),
      descriptorsMax: getrlimit(RLIMIT_NOFILE).soft,
      loopActiveSeconds: active / 1000,
      loopIdleSeconds: idle / 1000,
      loopDelay: this.#readDelay(),
    };
  }

  stop(): void {
    this.#delay.disable();
  }

  /** What is recorded are the times between two ticks: the delay is what they have above the resolution. */
  #readDelay(): DelayFigures {
    const delay = this.#delay;
    const late = (ns: number) => Math.max(0, ns / NS - RESOLUTION_MS / 1000);
    const { count } = delay;
    const quantiles =
      count === 0 ? [] : QUANTILES.map((q) => ({ quantile: q, seconds: late(delay.percentile(q * 100)) }));
    if (count > 0) this.#sumSeconds += late(delay.mean) * count;
    this.#count += count;
    delay.reset();
    return { quantiles, count: this.#count, sumSeconds: this.#sumSeconds };
  }
}

function openDescriptors(): number | undefined {
  try {
    return readdirSync('/proc/self/fd').length - 1; // the folder's own
  } catch {
    return undefined;
  }
}
