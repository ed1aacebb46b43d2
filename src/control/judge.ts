// The one judge of health. Workers count connects and failures of each backend; the judge reads the sums and sets the
// backend's word in every worker, by NGINX's max_fails and fail_timeout:
//
//   UP ── max_fails failures within fail_timeout ──► SUSPECT ── fail_timeout passed ──► PROBATION
//   ▲                                                  │ ▲                                 │ │
//   └──────────────── a connect succeeded ─────────────┘ └──────── one more failure ───────┘ │
//   └────────────────────────────────── a connect succeeded ─────────────────────────────────┘
//
// PROBATION is UP for the workers: traffic itself is the probe. (A SUSPECT one may succeed too: it is still tried when
// no other candidate is left.)
import { HEALTH_SUSPECT, HEALTH_UP } from '../../assembly/layout.ts';
import type { Logger } from '../logger.ts';
import type { Backend } from './snapshot.ts';

const POLL_MS = 50;

export interface ConnectCounts {
  connects: number;
  failures: number;
}

export type Health = typeof HEALTH_UP | typeof HEALTH_SUSPECT;

export interface JudgeOptions {
  backends: readonly Backend[];
  /** Summed over the workers, never falling. */
  countsOf(backend: Backend): ConnectCounts;
  /** Called when it changes. */
  setHealth(backend: Backend, health: Health): void;
  log: Logger;
}

/** Polls until the returned function is called. */
export function startJudge(options: JudgeOptions): () => void {
  const trials = options.backends.map((backend) => ({ backend, trial: new Trial(backend.config) }));
  const timer = setInterval(() => {
    for (const { backend, trial } of trials) {
      if (trial.observe(performance.now(), options.countsOf(backend))) announce(backend, trial, options);
    }
  }, POLL_MS);
  return () => clearInterval(timer);
}

function announce(backend: Backend, trial: Trial, { setHealth, log }: JudgeOptions): void {
  const { pool, config } = backend;
  setHealth(backend, trial.health);
  const fields = { pool, backend: config.address };
  if (trial.health === HEALTH_SUSPECT) {
    const message = `backend ${config.address} is passed over for ${config.failTimeoutMs} ms: its connects fail`;
    log.warn({ ...fields, failures: trial.failuresNow }, message);
  } else if (trial.onProbation) log.info(fields, `backend ${config.address} is tried again`);
  else log.info(fields, `backend ${config.address} takes connections again`);
}

/** One backend before the judge. Times are of any monotonic clock. */
export class Trial {
  health: Health = HEALTH_UP;
  /** Its next failure is enough. */
  onProbation = false;
  readonly #maxFails: number;
  readonly #failTimeoutMs: number;
  #seen: ConnectCounts = { connects: 0, failures: 0 };
  /** When the latest failures happened, oldest first: at most maxFails of them. */
  #failuresMs: number[] = [];
  #suspectUntilMs = 0;

  constructor({ maxFails, failTimeoutMs }: { maxFails: number; failTimeoutMs: number }) {
    this.#maxFails = maxFails;
    this.#failTimeoutMs = failTimeoutMs;
  }

  get failuresNow(): number {
    return this.#failuresMs.length;
  }

  /** True when there is something to announce: another health, or the end of a probation. */
  observe(nowMs: number, counts: ConnectCounts): boolean {
    const failures = counts.failures - this.#seen.failures;
    const connects = counts.connects - this.#seen.connects;
    this.#seen = counts;
    if (this.#maxFails === 0) return false;
    if (failures > 0) return this.#onFailures(nowMs, failures);
    if (connects > 0 && (this.onProbation || this.health === HEALTH_SUSPECT)) return this.#acquit();
    if (this.health === HEALTH_SUSPECT && nowMs >= this.#suspectUntilMs) return this.#putOnProbation();
    return false;
  }

  #onFailures(nowMs: number, count: number): boolean {
    const fresh = this.#failuresMs.filter((failedMs) => nowMs - failedMs <= this.#failTimeoutMs);
    const added = new Array<number>(Math.min(count, this.#maxFails)).fill(nowMs);
    this.#failuresMs = [...fresh, ...added].slice(-this.#maxFails);
    if (!this.onProbation && this.#failuresMs.length < this.#maxFails) return false;
    const changed = this.health !== HEALTH_SUSPECT;
    this.health = HEALTH_SUSPECT;
    this.onProbation = false;
    this.#suspectUntilMs = nowMs + this.#failTimeoutMs;
    return changed;
  }

  #putOnProbation(): boolean {
    this.health = HEALTH_UP;
    this.onProbation = true;
    return true;
  }

  #acquit(): boolean {
    this.health = HEALTH_UP;
    this.onProbation = false;
    this.#failuresMs = [];
    return true;
  }
}
