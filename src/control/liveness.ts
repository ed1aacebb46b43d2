// Whether the workers get on: a running one reads the clock at every turn, and turns at least once a second.
import { HEADER_CLOCK_MS } from '../../assembly/layout.ts';
import { headerClocks } from '../header.ts';
import type { Supervisor } from './supervisor.ts';

/** Longer than any pause of a machine that is only busy. */
const STUCK_MS = 5_000;

/** To be asked now and then. False when a worker that runs has not turned for STUCK_MS, or when none runs at all. */
export function watchWorkers(supervisor: Pick<Supervisor, 'lives' | 'statuses'>): () => boolean {
  const seen = new Map<WebAssembly.Memory, { clockMs: number; sinceMs: number }>();
  return () => {
    const nowMs = performance.now();
    const lives = supervisor.lives().flatMap(({ memory }) => (clockOf(memory) === 0 ? [] : memory)); // who starts has none
    for (const memory of seen.keys()) if (!lives.includes(memory)) seen.delete(memory);
    for (const memory of lives) {
      const clockMs = clockOf(memory);
      if (seen.get(memory)?.clockMs !== clockMs) seen.set(memory, { clockMs, sinceMs: nowMs });
    }
    const isRunning = supervisor.statuses().some(({ state }) => state === 'running');
    return isRunning && lives.every((memory) => nowMs - seen.get(memory)!.sinceMs < STUCK_MS);
  };
}

function clockOf(memory: WebAssembly.Memory): number {
  return headerClocks(memory)[HEADER_CLOCK_MS / 8]!;
}
