// After its return a backend gets a share of its clients that grows with time, from nobody to all of them.
import { HEALTH_SHARE_FULL, HEALTH_UP, HEALTH_WITHHELD_SHIFT } from '../../../assembly/layout.ts';

export class SlowStart {
  readonly #durationMs: number;
  #beganMs = Number.NEGATIVE_INFINITY;

  constructor(durationMs: number) {
    this.#durationMs = durationMs;
  }

  begin(nowMs: number): void {
    this.#beganMs = nowMs;
  }

  /** 0 to 1. */
  shareAt(nowMs: number): number {
    return this.#durationMs === 0 ? 1 : Math.min(1, (nowMs - this.#beganMs) / this.#durationMs);
  }

  /** The health word of a backend that is up. */
  wordAt(nowMs: number): number {
    const withheld = Math.floor((1 - this.shareAt(nowMs)) * HEALTH_SHARE_FULL);
    return (HEALTH_UP | (Math.min(withheld, HEALTH_SHARE_FULL - 1) << HEALTH_WITHHELD_SHIFT)) >>> 0;
  }
}
