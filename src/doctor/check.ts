// One check: what it looks at, and what it may find.
import type { Machine } from './machine.ts';
import type { Plan } from './plan.ts';
import type { Trials } from './trials.ts';

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

export function sysctlLine(name: string, value: number | string): string {
  return `sysctl -w ${name}=${/\s/.test(String(value)) ? `"${value}"` : value}`;
}
