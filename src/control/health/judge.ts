// The one judge of health: hears of each backend what the workers' connects say and what probes find, and sets the
// backend's word in every worker. How a verdict comes about is in trial.ts.
import { isDeepStrictEqual } from 'node:util';
import type { BackendTls } from '../../backend-tls.ts';
import type { Backend } from '../snapshot.ts';
import type { Verdict } from './finding.ts';
import { startProbe } from './probe.ts';
import { type ProbeResult, Prober } from './prober.ts';
import { type ConnectCounts, type HealthState, Trial } from './trial.ts';

const POLL_MS = 50;
/** While a backend is neither clearly up nor clearly down the next probe doesn't wait longer than this. */
const RETRY_MS = 1000;
/** The first probes of all backends are spread over this. */
const FIRST_MS = 1000;
/** Probes come up to so much early, never late: neither backends nor instances fall into step. */
const JITTER = 0.2;

export interface HealthChange {
  backend: Backend;
  /** The same as `state` where a probation has ended well. */
  from: HealthState;
  state: HealthState;
  reason: string;
  /** Its process or host is gone, as far as a connect can tell. */
  isGone: boolean;
  /** Milliseconds since 1970. */
  atMs: number;
}

/** Where a backend stands before the judge. Times are of performance.now. */
export interface Standing {
  state: HealthState;
  reason: string;
  sinceMs: number;
  /** 0 to 1: the part of its clients that it gets. */
  share: number;
  /** null: there was none yet. */
  lastProbe: ProbeResult | null;
  /** How many there were. */
  probes: Readonly<Record<Verdict, number>>;
}

export interface JudgeOptions {
  backends: readonly Backend[];
  countsOf(backend: Backend): ConnectCounts;
  /** What it speaks TLS with; undefined: it doesn't. */
  tlsOf(backend: Backend): BackendTls | undefined;
  /** What the workers shall know of it. Called when it changes, and once for each backend at first. */
  setHealth(backend: Backend, word: number): void;
  /** Told of every change, in this order. */
  onChange: readonly ((change: HealthChange) => void)[];
}

/** What the judge keeps on one backend. */
interface Docket {
  backend: Backend;
  trial: Trial;
  prober: Prober | null;
  lastProbe: ProbeResult | null;
  probes: Record<Verdict, number>;
  word: number | null;
}

export class Judge {
  readonly #options: JudgeOptions;
  /** By backend id. */
  readonly #dockets = new Map<number, Docket>();
  #timer: NodeJS.Timeout | undefined;

  /** Sets every word, and does nothing more before start. */
  constructor(options: JudgeOptions) {
    this.#options = options;
    for (const backend of options.backends) this.#open(backend);
  }

  start(): void {
    this.#timer = setInterval(() => this.#poll(), POLL_MS);
    for (const docket of this.#dockets.values()) this.#startProbing(docket);
  }

  /** Other backends, or the same with other settings: who stays keeps its standing. */
  setBackends(backends: readonly Backend[]): void {
    const kept = new Set(backends.map(({ id }) => id));
    for (const [id, docket] of this.#dockets) {
      if (kept.has(id)) continue;
      void docket.prober?.stop();
      this.#dockets.delete(id);
    }
    for (const backend of backends) {
      const known = this.#dockets.get(backend.id);
      if (known === undefined) this.#startProbing(this.#open(backend));
      else this.#replace(known, backend);
    }
  }

  standingOf({ id }: Backend): Standing {
    const { trial, lastProbe, probes } = this.#dockets.get(id)!;
    const { state, reason, sinceMs } = trial;
    return { state, reason, sinceMs, share: trial.shareAt(performance.now()), lastProbe, probes };
  }

  /** It was down by another's word, and is so no more. */
  onReturn({ id }: Backend): void {
    const docket = this.#dockets.get(id)!;
    docket.trial.onReturn(performance.now());
    this.#tellWorkers(docket);
  }

  /** Resolves when the last probe's connection is closed. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await Promise.all(Array.from(this.#dockets.values(), ({ prober }) => prober?.stop()));
  }

  #open(backend: Backend): Docket {
    // One that was here before has a past that is not to be held against it.
    const trial = new Trial(backend.config, performance.now(), this.#options.countsOf(backend));
    const docket: Docket = { backend, trial, prober: null, lastProbe: null, probes: noProbes(), word: null };
    this.#dockets.set(backend.id, docket);
    this.#tellWorkers(docket);
    return docket;
  }

  #replace(docket: Docket, backend: Backend): void {
    const isSame = isDeepStrictEqual(judgedBy(docket.backend), judgedBy(backend));
    docket.backend = backend;
    if (isSame) return;
    void docket.prober?.stop();
    this.#hear(docket, (nowMs) => docket.trial.reconfigure(nowMs, backend.config));
    this.#startProbing(docket);
  }

  #startProbing(docket: Docket): void {
    const { health } = docket.backend.config;
    if (health === null) {
      docket.prober = null;
      return;
    }
    const prober = new Prober(
      () => startProbe(docket.backend, health, health.isTls ? this.#options.tlsOf(docket.backend) : undefined),
      (found) => {
        // Behind another port lives another process: that it has gone says nothing of the broker.
        const isGone = found.isGone && health.port === docket.backend.config.port;
        const result = { ...found, isGone };
        docket.lastProbe = result;
        docket.probes[result.verdict] += 1;
        this.#hear(docket, (nowMs) => docket.trial.onFinding(nowMs, result), isGone);
        prober.plan(jittered(docket.trial.isSettled ? health.intervalMs : Math.min(health.intervalMs, RETRY_MS)));
      },
    );
    docket.prober = prober;
    prober.plan(Math.random() * Math.min(health.intervalMs, FIRST_MS));
  }

  #poll(): void {
    for (const docket of this.#dockets.values()) {
      const counts = this.#options.countsOf(docket.backend);
      const changed = this.#hear(docket, (nowMs) => docket.trial.onCounts(nowMs, counts));
      if (changed && docket.trial.state === 'suspect') docket.prober?.plan(0);
    }
  }

  /** Lets the trial hear evidence, and says what has come of it. */
  #hear(docket: Docket, evidence: (nowMs: number) => boolean, isGone = false): boolean {
    const { backend, trial } = docket;
    const from = trial.state;
    const changed = evidence(performance.now());
    this.#tellWorkers(docket);
    if (!changed) return false;
    const { state, reason } = trial;
    for (const tell of this.#options.onChange) tell({ backend, from, state, reason, isGone, atMs: Date.now() });
    return true;
  }

  /** Also at every poll: a share grows with time. */
  #tellWorkers(docket: Docket): void {
    const word = docket.trial.wordAt(performance.now());
    if (word === docket.word) return;
    docket.word = word;
    this.#options.setHealth(docket.backend, word);
  }
}

/** A weight says nothing of health. */
function judgedBy({ config, sockaddr }: Backend): object {
  const { weight, backup, ...others } = config;
  return { ...others, sockaddr };
}

function noProbes(): Record<Verdict, number> {
  return { pass: 0, drain: 0, fail: 0, none: 0 };
}

function jittered(ms: number): number {
  return ms * (1 - JITTER * Math.random());
}
