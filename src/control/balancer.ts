// The parts of one running balancer, for what looks at all of it: the library's own object and the admin API.
import type { Config } from '../config.ts';
import type { EngineName } from '../engine/engine.ts';
import type { Hooks } from '../hooks/hooks.ts';
import type { Logger } from '../logger.ts';
import type { AccessLog } from './access-log.ts';
import type { Capacity } from './capacity.ts';
import type { Queue, Totals } from './counters.ts';
import type { EventList } from './events.ts';
import type { FrontDoors } from './front-doors.ts';
import type { Judge, Standing } from './health/judge.ts';
import type { ListenerGroup } from './listeners.ts';
import type { Moves } from './moves/moves.ts';
import type { Operator } from './operator.ts';
import type { AddedBackend } from './overlay.ts';
import type { RecentLatencies } from './recent-latencies.ts';
import type { Backend } from './snapshot.ts';
import type { Supervisor } from './supervisor.ts';
import type { TakeOvers } from './take-overs.ts';

export interface Balancer {
  phase: 'starting' | 'running' | 'stopping';
  readonly startedAt: Date;
  readonly engine: EngineName;
  /** Why it is this engine. */
  readonly engineReason: string;
  readonly capacity: Capacity;
  /** As it is in force: with what was set at runtime, and what only a start can change as it was then. */
  config: Config;
  backends: readonly Backend[];
  groups: readonly ListenerGroup[];
  readonly doors: FrontDoors;
  readonly hooks: Hooks;
  readonly accessLog: AccessLog;
  readonly supervisor: Supervisor;
  readonly latencies: RecentLatencies;
  readonly judge: Judge;
  readonly operator: Operator;
  readonly moves: Moves;
  readonly takeOvers: TakeOvers;
  readonly changes: Changes;
  readonly events: EventList;
  readonly log: Logger;
}

/** What may be changed while it runs. Everything else rejects with a TidegateError, and then nothing has changed. */
export interface Changes {
  /** From its file. Resolves with what has changed, in words. */
  reload(): Promise<string[]>;
  setWeight(backend: Backend, weight: number): Promise<void>;
  addBackend(pool: string, settings: AddedBackend): Promise<void>;
  removeBackend(backend: Backend): Promise<void>;
}

/** Where a backend stands for clients: before the judge, unless an operator has said otherwise. */
export function standingOf({ judge, operator }: Balancer, backend: Backend): Standing {
  return operator.overrule(backend, judge.standingOf(backend));
}

/** Of a pool's clients that wait until they may be dialled. */
export function queueOf(pool: string, backends: readonly Backend[], totals: Totals): Queue {
  const member = backends.find((backend) => backend.pool === pool);
  return member === undefined ? { queued: 0, queuedTotal: 0 } : totals.queueOfPool(member.poolId);
}

/** undefined when clients are served as they should be, else what is amiss. */
export function whyNotReady({ phase, supervisor }: Balancer): string | undefined {
  if (phase !== 'running') return phase;
  const away = supervisor.statuses().find(({ state }) => state !== 'running');
  return away === undefined ? undefined : `worker ${away.index} is ${away.state}`;
}
