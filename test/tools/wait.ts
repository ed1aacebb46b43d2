import { setTimeout as sleep } from 'node:timers/promises';

const POLL_MS = 10;

type Found<Value> = Value | undefined | false;

/** Looks again and again until it finds something. */
export async function waitFor<Value>(
  what: string,
  look: () => Found<Value> | Promise<Found<Value>>,
  waitMs = 30_000,
): Promise<Value> {
  const giveUpMs = performance.now() + waitMs;
  while (performance.now() < giveUpMs) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    await sleep(POLL_MS);
  }
  throw new Error(`still no ${what} after ${waitMs / 1000} s`);
}
