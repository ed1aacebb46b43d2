// How many connections a backend has too many, where no key says whose they are: those beyond so many times its share of
// all, as weights and slow start have it.
import { HEALTH_SHARE_FULL, HEALTH_STATES, HEALTH_UP, HEALTH_WITHHELD_SHIFT } from '../../../assembly/layout.ts';

export interface Load {
  /** Its id. */
  backend: number;
  weight: number;
  backup: boolean;
  /** Its word, as layout.ts has it. */
  health: number;
  connections: number;
}

/**
 * By backend id, those that have none left out. `total`: how many connections there shall be; more than there are while
 * some that were moved aren't back yet, so that these aren't taken for a reason to move others.
 */
export function excesses(loads: readonly Load[], threshold: number, total: number): Map<number, number> {
  const up = loads.filter(({ weight, health }) => weight > 0 && (health & HEALTH_STATES) === HEALTH_UP);
  const primaries = up.filter(({ backup }) => !backup);
  const takers = primaries.length > 0 ? primaries : up;
  const weights = takers.reduce((sum, load) => sum + weightOf(load), 0);
  const found = new Map<number, number>();
  // Those that are up and take nobody stand in for others that are back. Who is not up is another move's concern.
  for (const load of up) {
    const share = takers.includes(load) ? (total * weightOf(load)) / weights : 0;
    const excess = load.connections - Math.ceil(threshold * share);
    if (excess > 0) found.set(load.backend, excess);
  }
  return found;
}

function weightOf({ weight, health }: Load): number {
  return (weight * (HEALTH_SHARE_FULL - (health >>> HEALTH_WITHHELD_SHIFT))) / HEALTH_SHARE_FULL;
}
