// Sends one backend its probes, one at a time: the next is not sent before the connection of the last one is closed.
import type { Finding, Probe } from './finding.ts';

export interface ProbeResult extends Finding {
  startedMs: number;
  durationMs: number;
}

export class Prober {
  readonly #send: () => Probe;
  readonly #onResult: (result: ProbeResult) => void;
  #probe: Probe | null = null;
  #timer: NodeJS.Timeout | undefined;
  #startedMs = performance.now();
  #pauseMs = 0;
  #isStopped = false;

  /** Nothing is sent before the first plan. */
  constructor(send: () => Probe, onResult: (result: ProbeResult) => void) {
    this.#send = send;
    this.#onResult = onResult;
  }

  /** The next probe starts so long after the last one did, or as soon as it can. */
  plan(pauseMs: number): void {
    this.#pauseMs = pauseMs;
    if (this.#probe === null) this.#arm();
  }

  /** Resolves when the last connection is closed. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    this.#probe?.abandon();
    await this.#probe?.ended;
  }

  #arm(): void {
    clearTimeout(this.#timer);
    if (this.#isStopped) return;
    const dueMs = this.#startedMs + this.#pauseMs;
    this.#timer = setTimeout(() => void this.#run(), Math.max(0, dueMs - performance.now()));
  }

  async #run(): Promise<void> {
    const startedMs = performance.now();
    const probe = this.#send();
    this.#startedMs = startedMs;
    this.#probe = probe;
    const finding = await probe.finding;
    if (!this.#isStopped) this.#onResult({ ...finding, startedMs, durationMs: performance.now() - startedMs });
    await probe.ended;
    this.#probe = null;
    this.#arm();
  }
}
