// Memory: what idle connections cost, with nothing in flight.
import { placeRegions } from '../../control/memory-map.ts';
import type { EngineName } from '../../engine/engine.ts';
import { type Check, type Observation, type Situation, sysctlCheck, sysctlLine } from '../check.ts';
import { numbersOf } from '../machine.ts';
import { enginesOf, memoryOf, type Plan, threadsOf } from '../plan.ts';
import { countText, sizeText } from '../units.ts';

/** Of one idle connection, in the kernel and in the process: what `npm run bench -- --scenario idle` has found. */
const CONNECTION_BYTES: Record<EngineName, number> = { uring: 8200 + 256, portable: 9850 + 6000 };
/** Of a worker without connections, its JavaScript heap above all: a tenth of what ten more of them add to Private_Dirty. */
const WORKER_BYTES: Record<EngineName, number> = { uring: 21 << 20, portable: 26 << 20 };
/** One connection in so many has bytes waiting in the kernel, on both sides; a page of each at least. */
const BUSY_PART = 16;
const SOCKETS_PER_CONNECTION = 2;
/** Of vm.overcommit_memory. */
const NEVER_OVERCOMMIT = 2;

export const MEMORY_CHECKS: readonly Check[] = [
  { name: 'memory', look: lookAtMemory },
  { name: 'memory of the control group', look: lookAtControlGroup },
  sysctlCheck('vm.overcommit_memory', lookAtReserve),
  { name: 'net.ipv4.tcp_mem', look: lookAtBuffers },
];

function lookAtMemory({ machine, plan }: Situation): Observation {
  const available = machine.memoryAvailableBytes;
  const bound = fitting(plan, available);
  return {
    found: `${sizeText(available)} available; ${costText(plan)}`,
    needed: sizeText(bytesOf(plan)),
    bound,
    mend: [`${sizeText(bytesOf(plan) - available)} more memory`, `connections_max: ${perThread(plan, bound)}`],
  };
}

function costText(plan: Plan): string {
  return `a connection takes ${countText(connectionBytes(plan))} B, the workers ${sizeText(workersBytes(plan))}`;
}

function lookAtControlGroup({ machine, plan }: Situation): Observation | null {
  const { memory } = machine.controlGroup;
  if (memory === null) return null;
  const { file, max, used } = memory;
  const most = used + bytesOf(plan);
  return {
    found: `${sizeText(max)}, ${sizeText(used)} in use (${file})`,
    needed: sizeText(most),
    bound: fitting(plan, max - used),
    mend: [`MemoryMax=${Math.ceil(most / 2 ** 20)}M`, `echo ${Math.ceil(most)} > ${file}`],
  };
}

function bytesOf(plan: Plan): number {
  return plan.connections * connectionBytes(plan) + workersBytes(plan);
}

function fitting(plan: Plan, bytes: number): number {
  return Math.max(0, Math.floor((bytes - workersBytes(plan)) / connectionBytes(plan)));
}

function workersBytes(plan: Plan): number {
  return enginesOf(plan).reduce((sum, engine) => sum + plan.workers * WORKER_BYTES[engine], 0);
}

function connectionBytes({ carriers }: Plan): number {
  return Math.max(...carriers.map((engine) => CONNECTION_BYTES[engine]));
}

function perThread(plan: Plan, connections: number): number {
  return Math.max(1, Math.floor(connections / threadsOf(plan)));
}

/** Workers reserve their tables whole, and touch of them what they use: where that isn't allowed, all of it counts. */
function lookAtReserve(mode: number, { machine, plan }: Situation): Observation | null {
  if (mode !== NEVER_OVERCOMMIT) return null;
  const bytes = enginesOf(plan).reduce((sum, engine) => {
    return sum + plan.workers * (placeRegions(memoryOf(plan, engine, machine)).end + WORKER_BYTES[engine]);
  }, 0);
  return {
    found: `${sizeText(machine.reservableBytes)} may be reserved`,
    needed: sizeText(bytes),
    fails: bytes > machine.reservableBytes,
    mend: [sysctlLine('vm.overcommit_memory', 0)],
  };
}

/** Three numbers of pages; above the second one TCP closes windows, and drops above the third. */
function lookAtBuffers({ machine, plan }: Situation): Observation | null {
  const [low, pressure, high] = numbersOf(machine.sysctl('net.ipv4.tcp_mem'));
  if (low === undefined || pressure === undefined || high === undefined) return null;
  const pages = Math.ceil((plan.connections * SOCKETS_PER_CONNECTION) / BUSY_PART);
  const wanted = [pages * 0.75, pages, pages * 1.5].map(Math.ceil);
  return {
    found: `${countText(pressure)} before it is short; one connection in ${BUSY_PART} has bytes waiting`,
    needed: `${countText(pages)} pages`,
    bound: Math.floor((pressure * BUSY_PART) / SOCKETS_PER_CONNECTION),
    mend: [sysctlLine('net.ipv4.tcp_mem', wanted.join(' '))],
  };
}
