// All checks of one machine, and what comes of them.
import type { Check, Observation, Situation } from './check.ts';
import { CONFIGURATION_CHECKS } from './checks/configuration.ts';
import { DESCRIPTOR_CHECKS } from './checks/descriptors.ts';
import { ENGINE_CHECKS } from './checks/engine.ts';
import { MEMORY_CHECKS } from './checks/memory.ts';
import { NETWORK_CHECKS } from './checks/network.ts';
import { THREAD_CHECKS } from './checks/threads.ts';

const CHECKS: readonly Check[] = [
  ...ENGINE_CHECKS,
  ...DESCRIPTOR_CHECKS,
  ...MEMORY_CHECKS,
  ...NETWORK_CHECKS,
  ...THREAD_CHECKS,
  ...CONFIGURATION_CHECKS,
];

/** As `tidegate doctor --json` prints it. */
export interface Diagnosis {
  connections: {
    wanted: number;
    /** Who says so. */
    source: string;
    possible: number;
    /** Name of the check; null: nothing does. */
    bounded_by: string | null;
  };
  engine: string;
  workers: number;
  checks: Finding[];
}

export interface Finding {
  name: string;
  found: string;
  needed: string;
  /** fails: Tidegate would not start. */
  verdict: 'ok' | 'bounds' | 'fails';
  /** The connections that it allows; null: it doesn't bound their number. */
  bound: number | null;
  /** Lines, any one of which mends it; with verdict ok a hint. */
  mend: readonly string[];
}

export function diagnose(situation: Situation): Diagnosis {
  const { connections: wanted, source, engine, workers } = situation.plan;
  const checks = CHECKS.flatMap(({ name, look }) => {
    const observation = look(situation);
    return observation === null ? [] : findingOf(name, observation, wanted);
  });
  const [tightest] = checks.filter(({ verdict }) => verdict === 'bounds').sort((a, b) => a.bound! - b.bound!);
  const connections = { wanted, source, possible: tightest?.bound ?? wanted, bounded_by: tightest?.name ?? null };
  return { connections, engine, workers, checks };
}

/** Nothing is in the way of what is wanted. */
export function isWell({ checks }: Diagnosis): boolean {
  return checks.every(({ verdict }) => verdict === 'ok');
}

function findingOf(name: string, observation: Observation, wanted: number): Finding {
  const { found, needed, bound = Number.POSITIVE_INFINITY, fails = false, mend = [], isAdvised = false } = observation;
  const verdict = fails ? 'fails' : bound < wanted ? 'bounds' : 'ok';
  return {
    name,
    found,
    needed,
    verdict,
    bound: bound === Number.POSITIVE_INFINITY ? null : bound,
    mend: verdict === 'ok' && !isAdvised ? [] : mend,
  };
}
