// One thread of hooks, from the loading of their modules on. A thread that ends by itself, or doesn't come back from what
// it was asked, is ended and begun anew; what it had been asked is lost with it.
import { extname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { TidegateError } from '../errors.ts';
import type { Asked, HookReport, HookThreadStart, LoadedHook } from './hook-thread.ts';

const LOAD_TIMEOUT_MS = 10_000;
const LOOK_MS = 100;
/** A machine that is busy with something else keeps a thread waiting, too. */
const PATIENCE_MS_MIN = 1000;
const BACKOFF_FIRST_MS = 100;
const BACKOFF_MAX_MS = 10_000;
/** A thread that has lived this long isn't failing over and over. */
const STEADY_MS = 30_000;

export interface RunnerEvents {
  onReport(report: HookReport): void;
  /** What it was asked will not be answered. `why` is for people. */
  onLost(runner: Runner, why: string): void;
}

export class Runner {
  readonly hooks: readonly LoadedHook[];
  /** For how long a thread may be deaf. */
  readonly patienceMs: number;
  readonly #events: RunnerEvents;
  readonly #stop = new AbortController();
  #thread: Worker | undefined;
  #failures = 0;
  restarts = 0;

  /** `timeoutMs`: the longest of its hooks. */
  constructor(hooks: readonly LoadedHook[], timeoutMs: number, events: RunnerEvents) {
    this.hooks = hooks;
    this.patienceMs = Math.max(timeoutMs, PATIENCE_MS_MIN);
    this.#events = events;
  }

  /** Rejects with a TidegateError when a module can't be loaded, and then there is no thread. */
  async start(): Promise<void> {
    const beat = new Int32Array(new SharedArrayBuffer(4));
    const workerData: HookThreadStart = { hooks: this.hooks, beat };
    const url = new URL(`./hook-thread${extname(import.meta.url)}`, import.meta.url);
    const thread = new Worker(url, { workerData, execArgv: ['--disable-warning=ExperimentalWarning'] });
    try {
      await untilReady(thread);
    } catch (error) {
      await thread.terminate();
      throw new TidegateError('HOOK', `a hook can't be loaded: ${(error as Error).message}`);
    }
    this.#live(thread, beat);
  }

  /** False when there is no thread now. */
  ask(asked: Asked): boolean {
    this.#thread?.postMessage(asked);
    return this.#thread !== undefined;
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#thread?.terminate();
  }

  #live(thread: Worker, beat: Int32Array): void {
    const bornMs = performance.now();
    let why = 'it has ended';
    const watch = this.#watch(beat, () => {
      why = `onConnect has not come back for ${this.patienceMs} ms`;
      void thread.terminate();
    });
    thread.on('message', this.#events.onReport);
    thread.on('error', (error) => {
      why = `it has failed: ${error}`;
    });
    thread.once('exit', () => {
      clearInterval(watch);
      this.#thread = undefined;
      if (this.#stop.signal.aborted) return;
      this.#failures = performance.now() - bornMs < STEADY_MS ? this.#failures + 1 : 0;
      this.#events.onLost(this, why);
      void this.#restart();
    });
    this.#thread = thread;
    if (this.#stop.signal.aborted) void thread.terminate();
  }

  /** By counting looks: while this thread stands still, time passes for nobody. */
  #watch(beat: Int32Array, onDeaf: () => void): NodeJS.Timeout {
    let seen = 0;
    let deafMs = 0;
    const watch = setInterval(() => {
      const now = Atomics.load(beat, 0);
      deafMs = now === seen ? deafMs + LOOK_MS : 0;
      seen = now;
      if (deafMs < this.patienceMs) return;
      clearInterval(watch);
      onDeaf();
    }, LOOK_MS).unref();
    return watch;
  }

  async #restart(): Promise<void> {
    const { signal } = this.#stop;
    const pauseMs = this.#failures <= 1 ? 0 : Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** (this.#failures - 2));
    try {
      await sleep(pauseMs, undefined, { signal });
      await this.start();
      this.restarts += 1;
    } catch (error) {
      if (signal.aborted) return;
      this.#failures += 1;
      this.#events.onLost(this, (error as Error).message);
      void this.#restart();
    }
  }
}

function untilReady(thread: Worker): Promise<void> {
  return new Promise((ready, fail) => {
    const late = setTimeout(() => fail(new Error(`not within ${LOAD_TIMEOUT_MS} ms`)), LOAD_TIMEOUT_MS);
    const settle = (error?: Error): void => {
      clearTimeout(late);
      if (error === undefined) ready();
      else fail(error);
    };
    thread.once('error', settle);
    thread.once('exit', () => settle(new Error('its thread has ended')));
    thread.once('message', (report: HookReport) => {
      settle(report.type === 'failed' ? new Error(report.text) : undefined);
    });
  });
}
