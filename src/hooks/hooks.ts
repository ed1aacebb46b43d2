// The hooks of all listeners, on the main thread: between the workers, who ask, and the thread that runs the operator's
// modules. Workers see to it that nobody waits for longer than a hook's timeout, whatever happens here.
//
// All hooks share one thread. A reload begins another one, with its modules read anew; the old one ends when whoever was
// asking it has had its time.
import { resolve } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { HookConfig, ListenerConfig } from '../config.ts';
import type { HistogramReading } from '../control/figures.ts';
import { LogPace } from '../control/log-pace.ts';
import type { Logger } from '../logger.ts';
import type { HookReport, LoadedHook } from './hook-thread.ts';
import { type Answer, type Ask, Lane, type Life } from './lane.ts';
import { Runner } from './runner.ts';
import type { Verdict } from './verdict.ts';

/** More wait in the workers' rings. */
const IN_FLIGHT_MAX = 1024;
const LOOK_MS = 100;
const RETRY_MS = 5;
/** One line for each listener in such a time. */
const LOG_PAUSE_MS = 10_000;
/** What was asked just before a reload is still to be answered. */
const RETIRE_MS = 1000;
const DURATION_BOUNDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5];

/** Of the listeners by index. */
export interface StagedHooks {
  /** 0: it has none. */
  ids: readonly number[];
  runner: Runner | null;
  wanted: readonly (Wanted | null)[];
}

interface Wanted extends HookConfig {
  listener: string;
}

export interface HookFigures {
  errors: number;
  inFlight: number;
  restarts: number;
  /** Seconds that decisions took. */
  durations: HistogramReading;
}

export interface HooksOptions {
  /** undefined: there is no such pool. */
  poolIdOf(name: string): number | undefined;
  log: Logger;
}

/** One worker's life. */
interface Tenant {
  lane: Lane;
  wake: () => void;
  isServed: boolean;
  isGone: boolean;
  /** What found no room in the lane. */
  unwritten: [Life, Answer][];
}

interface Pending extends Life {
  tenant: Tenant;
  runner: Runner;
  hook: number;
  sinceMs: number;
}

export class Hooks {
  readonly #options: HooksOptions;
  readonly #tenants = new Map<WebAssembly.Memory, Tenant>();
  readonly #pending = new Map<number, Pending>();
  readonly #configs = new Map<number, Wanted>();
  /** What is said of failures, by listener. */
  readonly #complaints = new LogPace(LOG_PAUSE_MS);
  readonly #retired = new Set<Runner>();
  readonly #durations = new Array<number>(DURATION_BOUNDS.length + 1).fill(0);
  #staged: StagedHooks = { ids: [], runner: null, wanted: [] };
  #look: NodeJS.Timeout | undefined;
  #lastId = 0;
  #lastNumber = 0;
  #errors = 0;
  #restarts = 0;
  #seconds = 0;

  constructor(options: HooksOptions) {
    this.#options = options;
  }

  get figures(): HookFigures {
    const durations = { bounds: DURATION_BOUNDS, counts: this.#durations, sum: this.#seconds };
    return { errors: this.#errors, inFlight: this.#pending.size, restarts: this.#restarts, durations };
  }

  // ---- Workers

  /** From here on what the worker on this memory asks is answered. */
  add(memory: WebAssembly.Memory, wake: () => void): void {
    const tenant: Tenant = { lane: new Lane(memory), wake, isServed: false, isGone: false, unwritten: [] };
    this.#tenants.set(memory, tenant);
    if (this.#staged.runner !== null) void this.#serve(tenant);
  }

  remove(memory: WebAssembly.Memory): void {
    const tenant = this.#tenants.get(memory);
    if (tenant === undefined) return;
    this.#tenants.delete(memory);
    tenant.isGone = true;
    tenant.lane.interrupt();
    for (const [number, pending] of this.#pending) if (pending.tenant === tenant) this.#pending.delete(number);
  }

  // ---- Configurations

  /**
   * Loads their modules. Rejects with a TidegateError when that can't be done, and then nothing has changed. null
   * stands for a listener that was removed. Unless `isFresh`, what is loaded already isn't read again.
   */
  async prepare(listeners: readonly (ListenerConfig | null)[], isFresh: boolean): Promise<StagedHooks> {
    const wanted = listeners.map((listener) => wantedBy(listener));
    if (!isFresh && isDeepStrictEqual(wanted, this.#staged.wanted)) return this.#staged;
    // Who comes through a removed listener at the last moment asks the hook that it had.
    const ids = wanted.map((each, index) => (each !== null ? ++this.#lastId : (this.#staged.ids[index] ?? 0)));
    const loaded = wanted.flatMap((each, index): LoadedHook[] => {
      return each === null ? [] : [{ id: ids[index]!, listener: each.listener, module: resolve(each.module) }];
    });
    if (loaded.length === 0) return { ids, runner: null, wanted };
    const timeoutMs = Math.max(...wanted.map((each) => each?.timeoutMs ?? 0));
    const runner = new Runner(loaded, timeoutMs, {
      onReport: (report) => this.#onReport(report),
      onLost: (lost, why) => this.#onLost(lost, why),
    });
    await runner.start();
    return { ids, runner, wanted };
  }

  adopt(staged: StagedHooks): void {
    const before = this.#staged.runner;
    this.#staged = staged;
    if (before !== null && before !== staged.runner) this.#retire(before);
    for (const [index, each] of staged.wanted.entries()) if (each !== null) this.#configs.set(staged.ids[index]!, each);
    if (staged.runner === null) return;
    this.#look ??= setInterval(() => this.#forgetLate(), LOOK_MS).unref();
    for (const tenant of this.#tenants.values()) if (!tenant.isServed) void this.#serve(tenant);
  }

  async abandon({ runner }: StagedHooks): Promise<void> {
    if (runner !== this.#staged.runner) await runner?.stop();
  }

  async close(): Promise<void> {
    clearInterval(this.#look);
    for (const memory of [...this.#tenants.keys()]) this.remove(memory);
    await Promise.all([...this.#retired, this.#staged.runner].map((runner) => runner?.stop()));
  }

  #retire(runner: Runner): void {
    this.#retired.add(runner);
    setTimeout(() => {
      this.#retired.delete(runner);
      for (const { id } of runner.hooks) this.#configs.delete(id);
      this.#failAll(runner);
      void runner.stop();
    }, runner.patienceMs + RETIRE_MS).unref();
  }

  // ---- Questions

  async #serve(tenant: Tenant): Promise<void> {
    tenant.isServed = true;
    while (!tenant.isGone) {
      const { written } = tenant.lane;
      this.#readAll(tenant);
      await tenant.lane.changed(written);
    }
  }

  #readAll(tenant: Tenant): void {
    while (this.#pending.size < IN_FLIGHT_MAX) {
      const ask = tenant.lane.read();
      if (ask === undefined) return;
      this.#ask(tenant, ask);
    }
  }

  #ask(tenant: Tenant, { slot, generation, hook, peer, connect, front }: Ask): void {
    const runners = [this.#staged.runner, ...this.#retired];
    const runner = runners.find((each) => each?.hooks.some(({ id }) => id === hook));
    const number = ++this.#lastNumber;
    if (!runner?.ask({ number, hook, peer, connect, front })) {
      this.#errors += 1;
      this.#answer(tenant, { slot, generation }, { kind: 'failed' });
      return;
    }
    this.#pending.set(number, { slot, generation, tenant, runner, hook, sinceMs: performance.now() });
  }

  /** Whose time is over is decided on already, by its worker. */
  #forgetLate(): void {
    const nowMs = performance.now();
    const wasFull = this.#pending.size >= IN_FLIGHT_MAX;
    for (const [number, { hook, sinceMs }] of this.#pending) {
      if (nowMs - sinceMs > (this.#configs.get(hook)?.timeoutMs ?? 0)) this.#pending.delete(number);
    }
    if (wasFull) this.#readOn();
  }

  #readOn(): void {
    for (const tenant of this.#tenants.values()) if (tenant.isServed) this.#readAll(tenant);
  }

  // ---- Answers

  #onReport(report: HookReport): void {
    if (report.type !== 'decided' && report.type !== 'broken') return;
    const pending = this.#pending.get(report.number);
    if (pending === undefined) return; // too late
    const wasFull = this.#pending.size >= IN_FLIGHT_MAX;
    this.#pending.delete(report.number);
    this.#countDuration((performance.now() - pending.sinceMs) / 1000);
    if (report.type === 'broken') this.#fail(pending, report.text);
    else this.#decide(pending, report.verdict);
    if (wasFull) this.#readOn();
  }

  #decide(pending: Pending, verdict: Verdict): void {
    if (!verdict.accepts) {
      this.#answer(pending.tenant, pending, { kind: 'refuse', code: verdict.code });
      return;
    }
    const { accepts, pool, ...texts } = verdict;
    const id = pool === null ? null : this.#options.poolIdOf(pool);
    if (id === undefined) this.#fail(pending, `there is no pool ${JSON.stringify(pool)}`);
    else this.#answer(pending.tenant, pending, { kind: 'accept', pool: id, ...texts });
  }

  #fail(pending: Pending, text: string): void {
    this.#errors += 1;
    this.#complain(this.#configs.get(pending.hook)?.listener ?? '', text);
    this.#answer(pending.tenant, pending, { kind: 'failed' });
  }

  #onLost(runner: Runner, why: string): void {
    this.#restarts += 1;
    const lost = this.#failAll(runner);
    const clients = lost === 1 ? '1 client is' : `${lost} clients are`;
    const text = `the thread of the hooks starts again, ${clients} without a decision: ${why}`;
    this.#options.log.error({ event: 'hook_trouble', lost, why }, text);
  }

  /** Returns how many. */
  #failAll(runner: Runner): number {
    const lost = [...this.#pending].filter(([, pending]) => pending.runner === runner);
    for (const [number, pending] of lost) {
      this.#errors += 1;
      this.#pending.delete(number);
      this.#answer(pending.tenant, pending, { kind: 'failed' });
    }
    this.#readOn();
    return lost.length;
  }

  #answer(tenant: Tenant, { slot, generation }: Life, answer: Answer): void {
    if (tenant.isGone) return;
    tenant.unwritten.push([{ slot, generation }, answer]);
    if (tenant.unwritten.length === 1) this.#writeAll(tenant);
  }

  #writeAll(tenant: Tenant): void {
    if (tenant.isGone) return;
    const stuck = tenant.unwritten.findIndex(([life, answer]) => !tenant.lane.write(life, answer));
    tenant.unwritten.splice(0, stuck === -1 ? tenant.unwritten.length : stuck);
    tenant.wake();
    if (stuck !== -1) setTimeout(() => this.#writeAll(tenant), RETRY_MS);
  }

  #complain(listener: string, text: string): void {
    const unsaid = this.#complaints.begin(listener);
    if (unsaid === null) return;
    const since = unsaid === 0 ? '' : ` (and ${unsaid} times since the last such line)`;
    const message = `onConnect of listener ${listener} has failed: ${text}${since}`;
    this.#options.log.error({ event: 'hook_trouble', listener, error: text }, message);
  }

  #countDuration(seconds: number): void {
    const bucket = DURATION_BOUNDS.findIndex((bound) => seconds <= bound);
    this.#durations[bucket === -1 ? DURATION_BOUNDS.length : bucket]! += 1;
    this.#seconds += seconds;
  }
}

function wantedBy(listener: ListenerConfig | null): Wanted | null {
  return listener?.hook ? { ...listener.hook, listener: listener.name } : null;
}
