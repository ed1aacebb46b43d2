// One check: what it looks at, and what it may find.
import { type Machine, numberOf } from './machine.ts';
import type { Plan } from './plan.ts';
import type { Trials } from './trials.ts';
import { countText } from './units.ts';

export interface Situation {
  machine: Machine;
  trials: Trials;
  plan: Plan;
}

export interface Check {
  /** As whoever has to change it knows it. */
  name: string;
  /** null: there is nothing to look at here. */
  look(situation: Situation): Observation | null;
}

export interface Observation {
  found: string;
  /** What the plan takes of it. */
  needed: string;
  /** The connections that it allows; none: it doesn't bound their number. */
  bound?: number;
  /** Tidegate would not start. */
  fails?: boolean;
  /** Lines, any one of which mends it. */
  mend?: readonly string[];
  /** They may be of use although nothing is bounded. */
  isAdvised?: boolean;
}

/** Of a number in /proc/sys; nothing to look at where this kernel, or this container, doesn't have it. */
export function sysctlCheck(name: string, look: (value: number, situation: Situation) => Observation | null): Check {
  return {
    name,
    look: (situation) => {
      const value = numberOf(situation.machine, name);
      return value === undefined ? null : look(value, situation);
    },
  };
}

/** The same where the whole machine shares the number, and a connection takes `each` of it. */
export function sharedCheck(name: string, each: number, used: (machine: Machine) => number): Check {
  return sysctlCheck(name, (limit, { machine, plan }) => {
    const taken = used(machine);
    const needed = taken + plan.connections * each;
    return {
      found: `${countText(limit)}, ${countText(taken)} in use`,
      needed: countText(needed),
      bound: Math.max(0, Math.floor((limit - taken) / each)),
      mend: [sysctlLine(name, needed)],
    };
  });
}

export function sysctlLine(name: string, value: number | string): string {
  return `sysctl -w ${name}=${/\s/.test(String(value)) ? `"${value}"` : value}`;
}
