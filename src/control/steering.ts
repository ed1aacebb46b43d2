// Newcomers come to workers that have room. The kernel deals them out by a hash, and not evenly: of thirty workers the first
// is full while the others have a tenth of their places left, and whoever is dealt to that one waits in its queue for as long
// as nobody leaves. So once a worker is nearly full, newcomers are dealt by chance among those that have room.
import type { EngineName } from '../engine/engine.ts';
import {
  ADD,
  instruction,
  JUMP_IF_NOT_LESS,
  LOAD_WORD,
  MODULO,
  RANDOM_WORD,
  RETURN_RESULT,
  steer,
} from '../system/reuseport.ts';
import { isShared, type ListenerGroup } from './listeners.ts';
import type { WorkerStatus } from './supervisor.ts';

const POLL_MS = 100;
/** Of a worker's places: with fewer free ones it is nearly full. */
const ROOM_SHARE = 0.1;
/** A program belongs to the sockets: others that have them too, as before or after an upgrade, may have put theirs there. */
const REFRESH_POLLS = 50;
/** A worker with so much less room than the mean one is spared. */
const SPARED_BELOW = 0.75;

/** The sockets that share a port, in the order of the workers. */
export type Group = Pick<ListenerGroup, 'fds'>;

/** Workers of one kind, who listen on the same ports. */
export class Steering {
  readonly #places: number;
  #programs = new WeakMap<Group, string>();
  #isTight: boolean;
  #polls = 0;

  /** `places`: connections that a worker can hold. `isTight`: somebody else's program may be there. */
  constructor(places: number, isTight = false) {
    this.#places = places;
    this.#isTight = isTight;
  }

  /** `held`: connections of each worker at this moment; null: it doesn't run, and who came to it would wait until it does. */
  update(groups: readonly Group[], held: readonly (number | null)[]): void {
    const rooms = held.map((count) => (count === null ? 0 : this.#places - count));
    const mean = rooms.reduce((sum, room) => sum + room, 0) / rooms.length;
    this.#isTight ||= held.some((count) => count !== null && this.#places - count < ROOM_SHARE * this.#places);
    if (!this.#isTight || mean <= 0) return;
    const spared = rooms.flatMap((room, worker) => (room < SPARED_BELOW * mean ? worker : []));
    if (spared.length === rooms.length) return;
    if (++this.#polls % REFRESH_POLLS === 0) this.#programs = new WeakMap();
    for (const group of groups) {
      if (group.fds.length === 0 || this.#programs.get(group) === spared.join()) continue;
      this.#programs.set(group, spared.join());
      if (!isShared(group)) steer(group.fds[0]!, dealAmong(rooms.length, spared));
    }
  }
}

/** The nth of those that aren't spared, n by chance: a number from 0 on that each spared one up to it pushes by one. */
function dealAmong(workers: number, spared: readonly number[]): Uint8Array[] {
  return [
    instruction(LOAD_WORD, 0, 0, RANDOM_WORD),
    instruction(MODULO, 0, 0, workers - spared.length),
    ...spared.flatMap((worker) => [instruction(JUMP_IF_NOT_LESS, 0, 1, worker), instruction(ADD, 0, 0, 1)]),
    instruction(RETURN_RESULT, 0, 0, 0),
  ];
}

export interface SteeringOptions {
  /** Those that workers of this engine carry. */
  groupsOf(engine: EngineName): readonly Group[];
  statuses(): readonly WorkerStatus[];
  /** Sockets came from another process. */
  areInherited: boolean;
  /** They can't be steered; newcomers stay where the kernel deals them. */
  onFailure(error: unknown): void;
}

/** Looks again and again, until the returned function is called. */
export function startSteering({ groupsOf, statuses, areInherited, onFailure }: SteeringOptions): () => void {
  const steerings = new Map<EngineName, Steering>();
  const look = (): void => {
    const byEngine = Map.groupBy(statuses(), ({ engine }) => engine);
    for (const [engine, workers] of byEngine) {
      if (workers.length === 1) continue;
      const steering = steerings.get(engine) ?? new Steering(workers[0]!.connectionsMax, areInherited);
      steerings.set(engine, steering);
      steering.update(groupsOf(engine), workers.map(heldBy));
    }
  };
  const timer = setInterval(() => {
    try {
      look();
    } catch (error) {
      clearInterval(timer);
      onFailure(error);
    }
  }, POLL_MS).unref();
  return () => clearInterval(timer);
}

function heldBy({ state, connections }: WorkerStatus): number | null {
  return state === 'running' ? connections : null;
}
