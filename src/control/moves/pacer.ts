// So many a second, each a little early or late by chance: clients that are told to go at the same instant would come
// back at the same instant. The n-th is due somewhere between n and n + 1 intervals after the start, so that the sum is
// exact however uneven the steps are in which it is asked.

/** Whoever asks so late, or has had nobody to send for so long, doesn't catch up: that would be a burst. */
const LATE_MS = 1000;

export class Pacer {
  readonly #intervalMs: number;
  readonly #random: () => number;
  #beganMs: number;
  #taken = 0;
  #nextMs: number;

  /** `rate`: a second; 0: as many as there are. `random`: from 0 to 1. */
  constructor(rate: number, nowMs: number, random: () => number = Math.random) {
    this.#intervalMs = rate === 0 ? 0 : 1000 / rate;
    this.#random = random;
    this.#beganMs = nowMs;
    this.#nextMs = this.#dueMs();
  }

  /** How many may go now, at most `waiting`. What is due beyond those lapses. */
  take(nowMs: number, waiting: number): number {
    if (this.#intervalMs === 0) return waiting;
    if (nowMs - this.#nextMs > LATE_MS) this.#beginAnew(nowMs);
    let count = 0;
    while (this.#nextMs <= nowMs) {
      if (count === waiting) {
        this.#beginAnew(nowMs);
        break;
      }
      count += 1;
      this.#taken += 1;
      this.#nextMs = this.#dueMs();
    }
    return count;
  }

  #dueMs(): number {
    return this.#beganMs + (this.#taken + this.#random()) * this.#intervalMs;
  }

  #beginAnew(nowMs: number): void {
    this.#beganMs = nowMs;
    this.#taken = 0;
    this.#nextMs = this.#dueMs();
  }
}
