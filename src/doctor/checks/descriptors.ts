// Descriptors. Each connection takes two: with uring of its worker's ring, whose table holds RLIMIT_NOFILE of them, so that
// more workers hold more; with the portable engine of the process.
import { WORKERS_MAX } from '../../config/schema.ts';
import { CONNECTIONS_PER_LISTENER_MIN } from '../../control/memory-map.ts';
import { DESCRIPTORS_PER_CONNECTION } from '../../engine/engine.ts';
import { type Check, type Observation, type Situation, sharedCheck, sysctlCheck, sysctlLine } from '../check.ts';
import type { Machine } from '../machine.ts';
import { connectionsWith, leastOf, type Plan, tableOf } from '../plan.ts';
import { countText } from '../units.ts';

/** No ring's table is larger, and no process's unless somebody raised fs.nr_open. */
const DESCRIPTORS_MAX = 1 << 20;
/** The kernel deals clients out by a hash: of a hundred workers the fullest has so many times its share. */
const UNEVEN = 1.06;

export const DESCRIPTOR_CHECKS: readonly Check[] = [
  { name: 'RLIMIT_NOFILE', look: (situation) => lookAtStart(situation) ?? lookAtLimit(situation) },
  sysctlCheck('fs.nr_open', lookAtMost),
  sharedCheck('fs.file-max', DESCRIPTORS_PER_CONNECTION, ({ files }) => files),
];

function lookAtLimit({ machine, plan }: Situation): Observation {
  const { hard } = machine.descriptors;
  const needed = descriptorsNeeded(plan);
  return {
    found: limitText(machine),
    needed: neededText(plan, needed),
    bound: connectionsWith(plan, hard),
    mend: [...moreWorkers(plan, hard), ...higherLimit(needed), ...otherwise(plan, hard, needed)],
  };
}

/** null: there is room for connections_max in each worker, or for the accepts that wait on each listener. */
function lookAtStart({ machine, plan }: Situation): Observation | null {
  const { config, engine, workers } = plan;
  const room = tableOf(engine, workers, machine.descriptors.hard);
  const least = CONNECTIONS_PER_LISTENER_MIN * config.listeners.length;
  const wanted = config.connectionsMax === 'auto' ? least : config.connectionsMax;
  if (wanted <= room) return null;
  const needed = leastOf(1, DESCRIPTORS_MAX, (descriptors) => tableOf(engine, workers, descriptors) >= wanted);
  return {
    found: limitText(machine),
    needed: neededText(plan, needed),
    fails: true,
    mend: [...higherLimit(needed), ...(room < Math.max(1, least) ? [] : [`connections_max: ${room}`])],
  };
}

function limitText({ descriptors: { soft, hard } }: Machine): string {
  return soft === hard ? countText(hard) : `${countText(hard)} (soft ${countText(soft)}, raised at the start)`;
}

function higherLimit(needed: number | undefined): string[] {
  return needed === undefined ? [] : [`LimitNOFILE=${needed}`, `ulimit -n ${needed}`];
}

function lookAtMost(most: number, { machine, plan }: Situation): Observation {
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
  const wanted = plan.connections * UNEVEN;
  const isEnough = (workers: number) => connectionsWith({ ...plan, workers }, descriptors) >= wanted;
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
