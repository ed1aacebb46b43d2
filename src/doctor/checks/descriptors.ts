// Descriptors. Each connection takes two: with uring of its worker's ring, whose table holds RLIMIT_NOFILE of them, so that
// more workers hold more; with the portable engine of the process.
import { WORKERS_MAX } from '../../config/schema.ts';
import { DESCRIPTORS_PER_CONNECTION } from '../../engine/engine.ts';
import { type Check, type Observation, type Situation, sysctlLine } from '../check.ts';
import { numberOf } from '../machine.ts';
import { connectionsWith, leastOf, type Plan, tableOf } from '../plan.ts';
import { countText } from '../units.ts';
import { shareCheck } from './share.ts';

/** No ring's table is larger, and no process's unless somebody raised fs.nr_open. */
const DESCRIPTORS_MAX = 1 << 20;

export const DESCRIPTOR_CHECKS: readonly Check[] = [
  { name: 'RLIMIT_NOFILE', look: lookAtLimit },
  { name: 'fs.nr_open', look: lookAtMost },
  shareCheck({ name: 'fs.file-max', each: DESCRIPTORS_PER_CONNECTION, used: ({ files }) => files }),
];

function lookAtLimit({ machine, plan }: Situation): Observation {
  const { soft, hard } = machine.descriptors;
  const needed = descriptorsNeeded(plan);
  const raise = needed === undefined ? [] : [`LimitNOFILE=${needed}`, `ulimit -n ${needed}`];
  return {
    found: soft === hard ? countText(hard) : `${countText(hard)} (soft ${countText(soft)}, raised at the start)`,
    needed: neededText(plan, needed),
    bound: connectionsWith(plan, hard),
    fails: isTooLittleToStart(plan, hard),
    mend: [...moreWorkers(plan, hard), ...raise, ...otherwise(plan, hard, needed)],
  };
}

function lookAtMost({ machine, plan }: Situation): Observation | null {
  const most = numberOf(machine, 'fs.nr_open');
  if (most === undefined) return null;
  const needed = descriptorsNeeded(plan);
  const raise = needed === undefined ? [] : [sysctlLine('fs.nr_open', needed)];
  return {
    found: countText(most),
    needed: neededText(plan, needed),
    bound: connectionsWith(plan, Math.max(most, machine.descriptors.hard)),
    mend: [...moreWorkers(plan, most), ...raise, ...otherwise(plan, most, needed)],
  };
}

/** undefined: no number is enough. */
function descriptorsNeeded(plan: Plan): number | undefined {
  return leastOf(1, DESCRIPTORS_MAX, (descriptors) => connectionsWith(plan, descriptors) >= plan.connections);
}

function neededText({ carriers, workers }: Plan, needed: number | undefined): string {
  const whose = carriers.includes('uring') ? `with ${workers} workers` : 'in one process';
  return needed === undefined ? `more than there can be ${whose}` : `${countText(needed)} ${whose}`;
}

function moreWorkers(plan: Plan, descriptors: number): string[] {
  const isEnough = (workers: number) => connectionsWith({ ...plan, workers }, descriptors) >= plan.connections;
  const workers = leastOf(plan.workers, WORKERS_MAX, isEnough);
  return workers === undefined ? [] : [`workers: ${workers}`];
}

/** Where neither more workers nor a higher limit will do, both may; else it takes several instances. */
function otherwise(plan: Plan, descriptors: number, needed: number | undefined): string[] {
  if (needed !== undefined || moreWorkers(plan, descriptors).length > 0) return [];
  const [workers] = moreWorkers(plan, DESCRIPTORS_MAX);
  return [
    workers === undefined
      ? 'another instance, on another port or machine'
      : `${workers} and LimitNOFILE=${DESCRIPTORS_MAX}`,
  ];
}

/** connections_max, or the accepts that wait on each listener, find no room. */
function isTooLittleToStart({ config, engine, workers }: Plan, descriptors: number): boolean {
  const room = tableOf(engine, workers, descriptors);
  return room < (config.connectionsMax === 'auto' ? 1 : config.connectionsMax);
}
