// For lines of the log that clients can bring about again and again: one in a while for each key.
interface Pause {
  untilMs: number;
  unsaid: number;
}

export class LogPace {
  readonly #silenceMs: number;
  readonly #pauses = new Map<string, Pause>();

  constructor(silenceMs: number) {
    this.#silenceMs = silenceMs;
  }

  /** How many lines of that key were left unsaid since the last one; null: this one is, too. */
  begin(key: string): number | null {
    const nowMs = performance.now();
    const pause = this.#pauses.get(key);
    if (pause !== undefined && nowMs < pause.untilMs) {
      pause.unsaid += 1;
      return null;
    }
    this.#pauses.set(key, { untilMs: nowMs + this.#silenceMs, unsaid: 0 });
    return pause?.unsaid ?? 0;
  }
}
