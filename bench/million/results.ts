// What a run found, for one balancer and for all of them together.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Machine } from '../machine.ts';
import type { Pings } from '../swarm-watch.ts';
import type { Taken } from './admin.ts';
import type { BalancerName } from './balancers.ts';
import type { Point } from './ends.ts';

export const MILLION_RUN = join(import.meta.dirname, '../results/million.json');

export interface MillionResults {
  machine: Machine;
  /** Of the first run. */
  connections: number;
  /** What does not allow more. */
  limit: string;
  /** Connects a second, at most. */
  rate: number;
  kernelMemorySource: string;
  /** What both ends cost the kernel, measured without a balancer. */
  ends: EndsCost;
  runs: Run[];
  skipped: { title: string; why: string }[];
}

export interface EndsCost {
  connections: number;
  /** For each connection: two sockets. */
  kernelBytes: number;
  kernelBytesByKind: Record<string, number>;
}

export interface Run {
  name: BalancerName;
  title: string;
  connections: number;
  /** What does not allow more. */
  limit: string;
  /** In words: how many threads or processes. */
  workers: string;
  start: {
    readyMs: number;
    userBytes: number;
  };
  connect: {
    seconds: number;
    failed: number;
    cores: Cores;
  };
  hold: Pings & {
    seconds: number;
    keepAliveSeconds: number;
    lost: number;
    cores: Cores;
  };
  memory: {
    /** For each connection, beyond the empty start. */
    userBytes: number;
    /** For each connection, what both ends cost taken off. */
    kernelBytes: number;
    /** For each connection, of the whole machine. */
    kernelBytesByKind: Record<string, number>;
    /** For each connection: everything that the machine had less, both ends and their processes included. */
    machineBytes: number;
  };
  /** Of Tidegate only. */
  admin?: {
    status: Taken;
    search: Taken & { searched: number; matched: number };
  };
  drain?: {
    rate: number;
    seconds: number;
    moved: number;
    /** Sessions at other backends that ended. */
    othersLost: number;
    /** Sessions that came back, to other backends. */
    reconnected: number;
  };
  close: {
    seconds: number;
    /** The balancer's, as it says itself; null when it can't be asked. */
    connectionsLeft: number | null;
    /** Of the whole machine, beyond those that there were before. */
    socketsLeft: number;
    /** Of the balancer, beyond its empty start. */
    userBytesLeft: number;
    /** Of the whole machine, beyond what it was before. */
    kernelBytesLeft: number;
    /** Of the whole machine, at the most. */
    kernelBytesGrown: number;
  };
  points: Point[];
  /** Seconds at which something began, for the plot. */
  marks: { seconds: number; name: string }[];
}

/** CPU seconds a second. */
export interface Cores {
  balancer: number;
  swarm: number;
  sink: number;
}

export function saveMillion(results: MillionResults, path: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `${JSON.stringify(results, undefined, 2)}\n`);
}

export function loadMillion(path: string): MillionResults {
  return JSON.parse(readFileSync(path, 'utf8'));
}
