// The listeners over the life of the process: which index each has in the snapshot and in every worker's header, and
// what has to be opened and closed when the configuration changes. A listener is known by the address that it binds; one
// that was removed keeps its index for as long as connections live that came through it.
import { LISTENERS_MAX, NONE } from '../../assembly/layout.ts';
import { canonicalAddress, overlap } from '../config/address.ts';
import type { ListenerConfig } from '../config.ts';
import { carrierOf, type EngineName } from '../engine/engine.ts';
import { TidegateError } from '../errors.ts';
import type { InheritedSocket } from './inherited.ts';
import { closeListeners, type ListenerGroup, openListeners } from './listeners.ts';
import type { ListenerFds } from './supervisor.ts';

/** What an index stands for. */
interface Entry {
  /** The last one that it had. */
  config: ListenerConfig;
  /** null: it was removed. */
  group: ListenerGroup | null;
}

export interface ListenerChange {
  /** By index. */
  entries: readonly Entry[];
  /** Opened for this change. */
  opened: readonly ListenerGroup[];
  /** No longer wanted: their indexes and their sockets. */
  removed: readonly { index: number; group: ListenerGroup }[];
}

export class ListenerSet {
  readonly #workerCount: number;
  readonly #engine: EngineName;
  #entries: readonly Entry[] = [];
  /** Removed, while workers may still be leaving them. */
  readonly #leaving = new Set<ListenerGroup>();

  /** `engine` is what carries plain listeners. */
  constructor(workerCount: number, engine: EngineName) {
    this.#workerCount = workerCount;
    this.#engine = engine;
  }

  /** Those that are open, in the order of the configuration. */
  groupsOf(listeners: readonly ListenerConfig[]): ListenerGroup[] {
    return listeners.flatMap((listener) => this.#entries.find((entry) => this.#isOf(entry, listener))?.group ?? []);
  }

  /**
   * Opens what is new. Nothing is in force before `adopt`; `abandon` takes it back. Fails with a TidegateError, and then
   * nothing has been opened. `isForgotten` says of an index that no connection of its removed listener is left.
   */
  async prepare(
    listeners: readonly ListenerConfig[],
    isForgotten: (index: number) => boolean,
    inherited: readonly InheritedSocket[] = [],
  ): Promise<ListenerChange> {
    const entries = this.#entries.map((entry): Entry => {
      const config = listeners.find((listener) => this.#isOf(entry, listener));
      return config === undefined ? { ...entry, group: null } : { ...entry, config };
    });
    const added = listeners.filter((listener) => !this.#entries.some((entry) => this.#isOf(entry, listener)));
    const indexes = freeIndexes(this.#entries, added.length, isForgotten);
    const open = this.#entries.flatMap(({ group }) => group ?? []);
    const isOurs = (bind: ListenerConfig['bind']) => open.some((ours) => overlap(ours, bind));
    const opened = await openListeners(added, this.#workerCount, inherited, isOurs);
    for (const [order, config] of added.entries()) entries[indexes[order]!] = { config, group: opened[order]! };
    const removed = this.#entries.flatMap(({ group }, index) =>
      group !== null && entries[index]!.group !== group ? [{ index, group }] : [],
    );
    return { entries, opened, removed };
  }

  adopt({ entries, removed }: ListenerChange): void {
    for (const [index, { config, group }] of entries.entries()) {
      if (group !== null) Object.assign(group, { name: config.name, index });
    }
    for (const { group } of removed) this.#leaving.add(group);
    this.#entries = entries;
  }

  abandon({ opened }: ListenerChange): void {
    closeListeners(opened);
  }

  /** When the workers have left them. */
  close({ removed }: ListenerChange): void {
    closeListeners(removed.map(({ group }) => group));
    for (const { group } of removed) this.#leaving.delete(group);
  }

  closeAll(): void {
    closeListeners(this.#entries.flatMap(({ group }) => group ?? []));
    closeListeners([...this.#leaving]);
  }

  // One that goes to the other engine is removed and added: the engines want a socket in different modes.
  #isOf(entry: Entry, listener: ListenerConfig): boolean {
    return isOf(entry, listener) && carrierOf(this.#engine, entry.config) === carrierOf(this.#engine, listener);
  }
}

/** As the snapshot has them: bound to the real port, where any was asked for. */
export function configsOf({ entries }: ListenerChange): ListenerConfig[] {
  return entries.map(({ config, group }) => {
    return group === null ? config : { ...config, bind: { host: config.bind.host, port: group.port } };
  });
}

/** The same, null for those that were removed. */
export function openConfigsOf({ entries }: ListenerChange): (ListenerConfig | null)[] {
  return entries.map(({ config, group }) => (group === null ? null : config));
}

/** As the supervisor has them. */
export function listenerFdsOf({ entries }: ListenerChange, workerCount: number, engine: EngineName): ListenerFds {
  const fdsOf = (carrier: EngineName) =>
    Array.from({ length: workerCount }, (_, place) =>
      entries.map(({ config, group }) => {
        return group === null || carrierOf(engine, config) !== carrier ? NONE : group.fds[place]!;
      }),
    );
  return { uring: fdsOf('uring'), portable: fdsOf('portable') };
}

/** The entry's socket is the one that the listener asks for. Where it asks for any port, the name says which. */
function isOf({ config, group }: Entry, { name, bind }: ListenerConfig): boolean {
  if (group === null) return false;
  if (bind.port !== 0) return canonicalAddress(group) === canonicalAddress(bind);
  return config.bind.port === 0 && config.bind.host === bind.host && config.name === name;
}

/** One for each new listener: first those that none ever had, so that the log names old connections rightly for long. */
function freeIndexes(entries: readonly Entry[], count: number, isForgotten: (index: number) => boolean): number[] {
  const unused = Array.from({ length: LISTENERS_MAX - entries.length }, (_, index) => entries.length + index);
  const free = unused.slice(0, count);
  for (let index = 0; index < entries.length && free.length < count; index++) {
    if (entries[index]!.group === null && isForgotten(index)) free.push(index);
  }
  if (free.length < count) {
    const message = `more than ${LISTENERS_MAX} listeners, counting those that were removed and still have clients: wait for these to leave, or restart`;
    throw new TidegateError('LISTENERS_MAX', message);
  }
  return free;
}
