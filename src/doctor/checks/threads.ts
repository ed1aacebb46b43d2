// What workers take, whatever they hold: threads, cores, and mappings of memory.
import { type Check, type Observation, type Situation, sysctlCheck, sysctlLine } from '../check.ts';
import { type Machine, numberOf } from '../machine.ts';
import { type Plan, threadsOf } from '../plan.ts';
import { countText } from '../units.ts';

/** Of the process without workers, Node's own and the log's: in a group of 33 tasks 20 workers start, in one of 32 not. */
const THREADS_BASE = 13;
/** The hooks', and those that Node has for a while. */
const THREADS_SPARE = 7;
/** A worker's own, and the kernel's that does for its ring what would have to wait. */
const THREADS_PER_WORKER = 2;
/** Mappings of memory of the process without workers, and of each of them: 60 with uring, 104 with the portable engine. */
const MAPPINGS_BASE = 500;
const MAPPINGS_PER_WORKER = 120;

interface ThreadLimit {
  name: string;
  /** Of how many, and how many there are; undefined: there is no limit. */
  limit(machine: Machine): { max: number; used: number } | undefined;
  mend(needed: number, machine: Machine): string[];
}

const THREAD_LIMITS: readonly ThreadLimit[] = [
  {
    name: 'RLIMIT_NPROC',
    limit: ({ processes }) => ({ max: processes.hard, used: 0 }),
    mend: (needed) => [`LimitNPROC=${needed}`, `ulimit -u ${needed}`],
  },
  systemLimit('kernel.threads-max'),
  systemLimit('kernel.pid_max'),
  {
    name: 'tasks of the control group',
    limit: ({ controlGroup }) => controlGroup.tasks ?? undefined,
    mend: (needed, { controlGroup }) => [`TasksMax=${needed}`, `echo ${needed} > ${controlGroup.tasks!.file}`],
  },
];

export const THREAD_CHECKS: readonly Check[] = [
  { name: 'cores', look: lookAtCores },
  ...THREAD_LIMITS.map(threadCheck),
  sysctlCheck('vm.max_map_count', lookAtMappings),
];

function systemLimit(name: string): ThreadLimit {
  return {
    name,
    limit: (machine) => {
      const max = numberOf(machine, name);
      return max === undefined ? undefined : { max, used: machine.threads };
    },
    mend: (needed) => [sysctlLine(name, needed)],
  };
}

function threadCheck({ name, limit, mend }: ThreadLimit): Check {
  const look = ({ machine, plan }: Situation) => {
    const found = limit(machine);
    if (found === undefined) return null;
    const { max, used } = found;
    const least = used + THREADS_BASE + threadsOf(plan);
    const needed = used + THREADS_BASE + THREADS_SPARE + threadsOf(plan) * THREADS_PER_WORKER;
    const inUse = used === 0 ? '' : `, ${countText(used)} in use`;
    return {
      found: `${countText(max)}${inUse}`,
      needed: `${countText(needed)} with ${workersText(plan)}`,
      fails: least > max,
      mend: mend(needed, machine),
      isAdvised: needed > max,
    };
  };
  return { name, look };
}

function lookAtCores({ trials: { cores }, plan }: Situation): Observation {
  const { cpuAffinity } = plan.config;
  return {
    found: `${countText(cores)} for ${workersText(plan)}`,
    needed: cpuAffinity === 'off' ? '-' : `${plan.workers}, one for each`,
    fails: cpuAffinity !== 'off' && plan.workers > cores,
    mend: ['cpu_affinity: off'],
  };
}

function lookAtMappings(most: number, { plan }: Situation): Observation {
  const needed = MAPPINGS_BASE + threadsOf(plan) * MAPPINGS_PER_WORKER;
  return {
    found: countText(most),
    needed: `${countText(needed)} with ${workersText(plan)}`,
    fails: needed > most,
    mend: [sysctlLine('vm.max_map_count', needed)],
  };
}

function workersText(plan: Plan): string {
  return `${threadsOf(plan)} workers`;
}
