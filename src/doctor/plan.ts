// What the configuration wants to hold, and with which workers: against this the machine is measured.
import type { Config, ListenerConfig } from '../config.ts';
import { findCapacity } from '../control/capacity.ts';
import { defaultSettings, type MemorySettings } from '../control/memory-map.ts';
import { carrierOf, type EngineName } from '../engine/engine.ts';
import { TidegateError } from '../errors.ts';
import type { Machine } from './machine.ts';
import type { Trials } from './trials.ts';

/** What of a configuration the machine has to bear. */
export type Load = Pick<
  Config,
  'workers' | 'engine' | 'cpuAffinity' | 'connectionsMax' | 'listeners' | 'pools' | 'admin' | 'user' | 'group'
>;

/** Where none is given: every key's default, and nowhere to listen. */
export const NO_CONFIGURATION: Load = {
  workers: 'auto',
  engine: 'auto',
  cpuAffinity: 'off',
  connectionsMax: 'auto',
  listeners: [],
  pools: [],
  admin: null,
  user: null,
  group: null,
};

export interface Crews {
  /** Of plain listeners. */
  engine: EngineName;
  /** Of each crew. */
  workers: number;
  /** The engines that have a listener's clients to carry. */
  carriers: readonly EngineName[];
}

export interface Plan extends Crews {
  config: Load;
  /** How many are wanted, and who says so. */
  connections: number;
  source: string;
}

export function planOf(config: Load, machine: Machine, trials: Trials, asked: number | undefined): Plan {
  const engine = trials.engine instanceof TidegateError ? 'uring' : trials.engine.engine;
  const workers = config.workers === 'auto' ? trials.cores : config.workers;
  const crews = { engine, workers, carriers: carriersOf(engine, config.listeners) };
  return { config, ...crews, ...wantedOf(config, crews, machine, asked) };
}

/** The same if plain listeners were carried by the other engine. */
export function portably(plan: Plan): Plan {
  return { ...plan, engine: 'portable', carriers: ['portable'] };
}

function carriersOf(engine: EngineName, listeners: readonly ListenerConfig[]): EngineName[] {
  const carriers = listeners.map((listener) => carrierOf(engine, listener));
  return carriers.length === 0 ? [engine] : [...new Set(carriers)];
}

function wantedOf({ connectionsMax, listeners }: Load, crews: Crews, machine: Machine, asked: number | undefined) {
  if (asked !== undefined) return { connections: asked, source: '--connections' };
  if (connectionsMax !== 'auto') {
    return { connections: connectionsMax * crews.workers, source: `connections_max of ${crews.workers} workers` };
  }
  const limits = listeners.map(({ maxConnections }) => maxConnections);
  if (limits.length > 0 && limits.every((limit) => limit > 0)) {
    return { connections: limits.reduce((sum, limit) => sum + limit), source: 'max_connections of the listeners' };
  }
  const connections = connectionsWith(crews, machine.descriptors.hard);
  return { connections, source: `what ${crews.workers} workers can hold` };
}

/** How many all workers hold, if RLIMIT_NOFILE were `descriptors`. */
export function connectionsWith({ carriers, workers }: Crews, descriptors: number): number {
  return carriers.reduce((sum, engine) => sum + workers * tableOf(engine, workers, descriptors), 0);
}

/** How many one worker of that engine holds. */
export function tableOf(engine: EngineName, workers: number, descriptors: number): number {
  const { connectionsMax } = findCapacity(engine, workers, 'auto', descriptors, Number.NEGATIVE_INFINITY);
  return Math.max(0, connectionsMax);
}

/** Of each worker of that engine. */
export function memoryOf({ config, workers }: Plan, engine: EngineName, { descriptors }: Machine): MemorySettings {
  const table = tableOf(engine, workers, descriptors.hard);
  const connectionsMax = config.connectionsMax === 'auto' ? table : Math.min(config.connectionsMax, table);
  return defaultSettings(connectionsMax, Math.max(1, config.listeners.length));
}

/** Of each there is a crew: beside that of uring one of the portable engine, where listeners need it. */
export function enginesOf({ engine, carriers }: Crews): EngineName[] {
  return [...new Set([engine, ...carriers])];
}

/** Threads that carry connections. */
export function threadsOf(crews: Crews): number {
  return enginesOf(crews).length * crews.workers;
}

/** The least number that will do; undefined when not even `most` does. What does for a number does for greater ones. */
export function leastOf(least: number, most: number, does: (candidate: number) => boolean): number | undefined {
  if (!does(most)) return undefined;
  let [low, high] = [least, most];
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (does(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}
