/** The failed connects of the last while: full when there are as many as it takes to suspect a backend. */
export class ConnectFailures {
  readonly #countMax: number;
  readonly #windowMs: number;
  /** When the latest happened, oldest first: at most countMax of them. */
  #timesMs: number[] = [];

  constructor(countMax: number, windowMs: number) {
    this.#countMax = countMax;
    this.#windowMs = windowMs;
  }

  get count(): number {
    return this.#timesMs.length;
  }

  get isFull(): boolean {
    return this.count === this.#countMax;
  }

  add(nowMs: number, count: number): void {
    const fresh = this.#timesMs.filter((failedMs) => nowMs - failedMs <= this.#windowMs);
    const added = new Array<number>(Math.min(count, this.#countMax)).fill(nowMs);
    this.#timesMs = [...fresh, ...added].slice(-this.#countMax);
  }

  clear(): void {
    this.#timesMs = [];
  }
}
