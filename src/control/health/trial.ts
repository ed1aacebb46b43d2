// One backend before the judge, on two kinds of evidence: the connects that workers make for clients, and probes.
//
// Where there are probes they decide, and connects that fail only cast suspicion, at once. Connects that succeed prove
// nothing: the kernel accepts for a broker that hangs.
//
//   UP ── a probe failed, or max_fails connects did ──► SUSPECT ── fall probes in a row failed ──► DOWN
//   ▲                                                      │                                        │
//   └───────────────── rise probes in a row passed ────────┴────────────────────────────────────────┘
//
//   A probe that is told so leads from each of them to DRAIN, and from there rise passed ones to UP, fall failed ones to
//   DOWN.
//
// Without probes it is NGINX's max_fails and fail_timeout:
//
//   UP ── max_fails connects failed ──► SUSPECT ── fail_timeout passed ──► UP, on probation
//   ▲                                     │ ▲                                 │ │
//   └───────── a connect succeeded ───────┘ └──────── one more failed ────────┘ │
//   └───────────────────────────── a connect succeeded ─────────────────────────┘
//
// Probation: traffic itself is the probe. A SUSPECT one may succeed too, since it is tried when no other is left.
import { HEALTH_DOWN, HEALTH_DRAIN, HEALTH_SUSPECT } from '../../../assembly/layout.ts';
import type { BackendConfig, HealthConfig } from '../../config.ts';
import { ConnectFailures } from './connect-failures.ts';
import type { Finding } from './finding.ts';
import { SlowStart } from './slow-start.ts';

export type HealthState = 'up' | 'suspect' | 'down' | 'drain';

/** Summed over the workers, never falling. */
export interface ConnectCounts {
  connects: number;
  failures: number;
}

export type TrialSettings = Pick<BackendConfig, 'maxFails' | 'failTimeoutMs' | 'slowStartMs'> & {
  health: Pick<HealthConfig, 'rise' | 'fall' | 'initial'> | null;
};

const WORDS = { suspect: HEALTH_SUSPECT, down: HEALTH_DOWN, drain: HEALTH_DRAIN } as const;

/** Times are of any monotonic clock. */
export class Trial {
  state: HealthState = 'up';
  /** For people. */
  reason = 'held for up at start';
  /** Since when it is in this state. */
  sinceMs: number;
  #settings: TrialSettings;
  #failures: ConnectFailures;
  #slowStart: SlowStart;
  #seen: ConnectCounts;
  #suspectUntilMs = 0;
  /** Its next failed connect is enough. */
  #onProbation = false;
  /** It has lost its clients, and has to get them back by and by. */
  #wasLost = false;
  /** Probes in a row. */
  #passed = 0;
  #failed = 0;

  /** What was counted before `seen` is no evidence. */
  constructor(settings: TrialSettings, nowMs: number, seen: ConnectCounts = { connects: 0, failures: 0 }) {
    this.#seen = seen;
    this.#settings = settings;
    this.#failures = new ConnectFailures(settings.maxFails, settings.failTimeoutMs);
    this.#slowStart = new SlowStart(settings.slowStartMs);
    this.sinceMs = nowMs;
    if (settings.health?.initial === 'down') {
      this.state = 'down';
      this.reason = 'held for down until probes have passed';
    }
  }

  /** Nothing is half proven: the next probe may take its time. */
  get isSettled(): boolean {
    if (this.state === 'drain') return this.#passed === 0 && this.#failed === 0;
    return this.state === 'up' || (this.state === 'down' && this.#passed === 0);
  }

  /** 0 to 1: the part of its clients that it gets. */
  shareAt(nowMs: number): number {
    return this.state === 'up' ? this.#slowStart.shareAt(nowMs) : 0;
  }

  /** What the workers are told. */
  wordAt(nowMs: number): number {
    return this.state === 'up' ? this.#slowStart.wordAt(nowMs) : WORDS[this.state];
  }

  /** True when there is something to announce: another state, or the end of a probation. */
  onCounts(nowMs: number, counts: ConnectCounts): boolean {
    const failures = counts.failures - this.#seen.failures;
    const connects = counts.connects - this.#seen.connects;
    this.#seen = counts;
    if (this.#settings.maxFails === 0) return false;
    if (failures > 0) return this.#onConnectsFailed(nowMs, failures);
    if (this.#settings.health !== null) return false;
    if (connects > 0 && (this.#onProbation || this.state === 'suspect')) return this.#acquit(nowMs);
    if (this.state === 'suspect' && nowMs >= this.#suspectUntilMs) return this.#putOnProbation(nowMs);
    return false;
  }

  /** The same for what a probe found. */
  onFinding(nowMs: number, { verdict, reason, isGone }: Finding): boolean {
    if (verdict === 'none') return false;
    this.#passed = verdict === 'pass' ? this.#passed + 1 : 0;
    this.#failed = verdict === 'fail' ? this.#failed + 1 : 0;
    this.#wasLost ||= isGone;
    if (verdict === 'drain') return this.#enter('drain', reason, nowMs);
    if (verdict === 'fail') return this.#onProbeFailed(nowMs, reason);
    return this.#onProbePassed(nowMs, reason);
  }

  /** It was down by another's word: its clients come back by and by. */
  onReturn(nowMs: number): void {
    if (this.state === 'up') this.#slowStart.begin(nowMs);
    else this.#wasLost = true;
  }

  /** Other settings. State and probes in a row stay; failures counted and a slow start under way begin anew. */
  reconfigure(nowMs: number, settings: TrialSettings): boolean {
    this.#settings = settings;
    this.#failures = new ConnectFailures(settings.maxFails, settings.failTimeoutMs);
    this.#slowStart = new SlowStart(settings.slowStartMs);
    if (settings.health !== null || this.state === 'up') return false;
    return this.#enter('up', 'held for up: it is not probed any more', nowMs);
  }

  #onProbePassed(nowMs: number, reason: string): boolean {
    if (this.state !== 'up') {
      if (this.#passed < this.#settings.health!.rise) return false;
      this.#failures.clear();
    }
    return this.#enter('up', reason, nowMs);
  }

  #onProbeFailed(nowMs: number, reason: string): boolean {
    if (this.#failed >= this.#settings.health!.fall) {
      this.#wasLost = true;
      return this.#enter('down', reason, nowMs);
    }
    if (this.state === 'up') return this.#enter('suspect', reason, nowMs);
    this.reason = reason;
    return false;
  }

  #onConnectsFailed(nowMs: number, count: number): boolean {
    if (this.state === 'down' || this.state === 'drain') return false;
    this.#failures.add(nowMs, count);
    this.#passed = 0;
    if (!this.#onProbation && !this.#failures.isFull) return false;
    const total = this.#failures.count;
    this.#onProbation = false;
    this.#wasLost = true;
    this.#suspectUntilMs = nowMs + this.#settings.failTimeoutMs;
    return this.#enter('suspect', total === 1 ? 'a connect failed' : `${total} connects failed`, nowMs);
  }

  #putOnProbation(nowMs: number): boolean {
    this.#onProbation = true;
    return this.#enter('up', 'tried again: one more failed connect is enough', nowMs);
  }

  #acquit(nowMs: number): boolean {
    this.#onProbation = false;
    this.#failures.clear();
    this.#enter('up', 'connects succeed', nowMs);
    return true;
  }

  #enter(state: HealthState, reason: string, nowMs: number): boolean {
    this.reason = reason;
    if (state === this.state) return false;
    this.state = state;
    this.sinceMs = nowMs;
    if (state === 'up' && this.#wasLost) {
      this.#wasLost = false;
      this.#slowStart.begin(nowMs);
    }
    return true;
  }
}
