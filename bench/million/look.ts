// What the three processes of a run and the machine have taken up to a moment, and what came between two of them.
import { cpuNs, tcpSockets, userBytes } from '../process-usage.ts';
import { type KernelMemory, kernelMemory } from './kernel-memory.ts';
import type { Cores } from './results.ts';
import { availableBytes } from './size.ts';

/** Process ids; 0: it doesn't run. */
export interface Pids {
  balancer: number;
  swarm: number;
  sink: number;
}

export interface Look {
  atMs: number;
  cpuNs: Pids;
  /** Of the balancer. */
  userBytes: number;
  kernel: KernelMemory;
  availableBytes: number;
  sockets: number;
}

export function look(pids: Pids): Look {
  const cpuOf = (pid: number): number => (pid === 0 ? 0 : cpuNs(pid));
  return {
    atMs: performance.now(),
    cpuNs: { balancer: cpuOf(pids.balancer), swarm: cpuOf(pids.swarm), sink: cpuOf(pids.sink) },
    userBytes: pids.balancer === 0 ? 0 : userBytes(pids.balancer),
    kernel: kernelMemory(),
    availableBytes: availableBytes(),
    sockets: tcpSockets(),
  };
}

export function coresBetween(before: Look, after: Look): Cores {
  const elapsedNs = (after.atMs - before.atMs) * 1e6;
  const busy = (name: keyof Pids): number => (after.cpuNs[name] - before.cpuNs[name]) / elapsedNs;
  return { balancer: busy('balancer'), swarm: busy('swarm'), sink: busy('sink') };
}
