// What an operator has said of backends. It stands beside what the judge finds: neither changes the other, and the
// workers, like everybody who looks on, see both as one.
import { HEALTH_DOWN, HEALTH_DRAIN, HEALTH_UP } from '../../assembly/layout.ts';
import type { Logger } from '../logger.ts';
import type { Standing } from './health/judge.ts';
import type { Backend } from './snapshot.ts';

/** up leaves the backend to the judge. maintenance is drain until nobody is left there, and then down. */
export const OPERATOR_STATES = ['up', 'drain', 'maintenance', 'down'] as const;
export type OperatorState = (typeof OPERATOR_STATES)[number];

const WORDS: Record<OperatorState, number> = {
  up: HEALTH_UP,
  drain: HEALTH_DRAIN,
  maintenance: HEALTH_DRAIN,
  down: HEALTH_DOWN,
};
const SAID: Record<OperatorState, string> = {
  up: 'is left to its health again, by an operator',
  drain: 'takes nobody new, by an operator',
  maintenance: 'is emptied for maintenance, by an operator',
  down: 'is down, by an operator',
};

export interface OperatorOptions {
  /** What the workers shall know of it. */
  setWord(backend: Backend, word: number): void;
  /** It was down by an operator's word and is so no more: what it had of clients it may have lost. Before setWord. */
  onReturn(backend: Backend): void;
  /** After each word. */
  onChange(): void;
  log: Logger;
}

/** A word against a backend. */
interface Objection {
  state: Exclude<OperatorState, 'up'>;
  /** Nobody is left there: maintenance may begin. */
  isHeld: boolean;
  /** By performance.now. */
  sinceMs: number;
  /** It was down at some time since it was up: its clients have gone. */
  wasDown: boolean;
}

export class Operator {
  readonly #options: OperatorOptions;
  /** By backend id, which outlives a backend's settings. */
  readonly #objections = new Map<number, Objection>();

  constructor(options: OperatorOptions) {
    this.#options = options;
  }

  stateOf({ id }: Backend): OperatorState {
    return this.#objections.get(id)?.state ?? 'up';
  }

  /** False when it is so already. */
  set(backend: Backend, state: OperatorState): boolean {
    const { setWord, onReturn, onChange, log } = this.#options;
    if (state === this.stateOf(backend)) return false;
    const wasDown = state === 'down' || this.#objections.get(backend.id)?.wasDown === true;
    if (state === 'up') this.#objections.delete(backend.id);
    else this.#objections.set(backend.id, { state, isHeld: false, sinceMs: performance.now(), wasDown });
    if (state === 'up' && wasDown) onReturn(backend);
    setWord(backend, WORDS[state]);
    onChange();
    const { pool, config } = backend;
    const fields = { event: 'backend_operator', pool, backend: config.address, operator: state } as const;
    log.info(fields, `backend ${config.address} ${SAID[state]}`);
    return true;
  }

  /** Nobody is left at a backend in maintenance: it is as good as down, and will be until it is up again. */
  hold(backend: Backend): void {
    const { setWord, log } = this.#options;
    const objection = this.#objections.get(backend.id);
    if (objection?.state !== 'maintenance' || objection.isHeld) return;
    this.#objections.set(backend.id, { ...objection, isHeld: true, sinceMs: performance.now(), wasDown: true });
    setWord(backend, HEALTH_DOWN);
    const { pool, config } = backend;
    const fields = { event: 'backend_operator', pool, backend: config.address, operator: 'maintenance' } as const;
    log.info(fields, `backend ${config.address} is empty: its maintenance may begin`);
  }

  /** In maintenance, and empty. */
  isHeld({ id }: Backend): boolean {
    return this.#objections.get(id)?.isHeld === true;
  }

  /** It was removed: should it come back, it is as one that was never here. */
  forget(backend: Backend): void {
    this.#objections.delete(backend.id);
    this.#options.setWord(backend, HEALTH_UP);
  }

  /** Where the backend stands for clients, when it stands so before the judge. */
  overrule({ id }: Backend, judged: Standing): Standing {
    const objection = this.#objections.get(id);
    if (objection === undefined) return judged;
    const { state, isHeld, sinceMs } = objection;
    if (state !== 'maintenance') return { ...judged, state, sinceMs, reason: 'set by an operator', share: 0 };
    const reason = isHeld ? 'in maintenance' : 'is emptied for maintenance';
    return { ...judged, state: isHeld ? 'down' : 'drain', sinceMs, reason, share: 0 };
  }
}
