// A number that the whole machine has to share, and of which each connection takes some.
import { type Check, type Situation, sysctlLine } from '../check.ts';
import { type Machine, numberOf } from '../machine.ts';
import { countText } from '../units.ts';

interface Share {
  /** The sysctl's. */
  name: string;
  /** Of one connection. */
  each: number;
  /** What others have, or this machine has now. */
  used(machine: Machine): number;
}

export function shareCheck({ name, each, used }: Share): Check {
  const look = ({ machine, plan }: Situation) => {
    const limit = numberOf(machine, name);
    if (limit === undefined) return null;
    const needed = used(machine) + plan.connections * each;
    return {
      found: `${countText(limit)}, ${countText(used(machine))} in use`,
      needed: countText(needed),
      bound: Math.max(0, Math.floor((limit - used(machine)) / each)),
      mend: [sysctlLine(name, needed)],
    };
  };
  return { name, look };
}
