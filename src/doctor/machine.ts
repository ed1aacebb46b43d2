// What the machine allows, as the kernel tells it in text files. All of them are read through one function, so that
// another machine can be looked at by its texts.
import { TidegateError } from '../errors.ts';
import { localPorts } from '../system/local-ports.ts';
import type { ReadText } from '../system/read-text.ts';
import { type ControlGroup, readControlGroup } from './control-group.ts';

export interface Machine {
  /** Its version, as in "6.18.44". */
  kernel: string;
  descriptors: Limit;
  lockedBytes: Limit;
  /** And threads, of this user. */
  processes: Limit;
  /** The effective ones of this process, where the machine's limits heed them. */
  capabilities: bigint;
  /** System calls are filtered by seccomp. */
  isFiltered: boolean;
  /** Of /proc/sys by its name, as in "fs.nr_open"; empty: there is none. */
  sysctl(name: string): string;
  /** For connections from one address to another. */
  localPorts: number;
  /** Open files of the whole machine, and its threads without those of this process, which looks and ends. */
  files: number;
  threads: number;
  memoryAvailableBytes: number;
  /** What may still be reserved where reserving more than there is isn't allowed (vm.overcommit_memory). */
  reservableBytes: number;
  controlGroup: ControlGroup;
}

/** Infinity: there is none. */
export interface Limit {
  soft: number;
  hard: number;
}

// capabilities(7)
export const CAP_IPC_LOCK = 14n;
export const CAP_SYS_RESOURCE = 24n;

/** Seccomp's mode in /proc/self/status: a filter. */
const SECCOMP_FILTER = '2';
/** Those that the initial user namespace maps. */
const ALL_USERS = 2 ** 32 - 1;

/** Throws a TidegateError where /proc can't be read. */
export function readMachine(read: ReadText): Machine {
  const limits = read('/proc/self/limits');
  if (limits === '') throw new TidegateError('DOCTOR', 'cannot look at this machine: /proc can not be read; mount it');
  const status = read('/proc/self/status');
  const memory = read('/proc/meminfo');
  const ownThreads = Number(fieldOf(status, 'Threads'));
  const sysctl = (name: string) => read(`/proc/sys/${name.replaceAll('.', '/')}`);
  return {
    kernel: sysctl('kernel.osrelease'),
    descriptors: limitOf(limits, 'Max open files'),
    lockedBytes: limitOf(limits, 'Max locked memory'),
    processes: limitOf(limits, 'Max processes'),
    capabilities: isInitialNamespace(read) ? BigInt(`0x${fieldOf(status, 'CapEff') || '0'}`) : 0n,
    isFiltered: fieldOf(status, 'Seccomp') === SECCOMP_FILTER,
    sysctl,
    localPorts: localPorts(read),
    files: numbersOf(sysctl('fs.file-nr'))[0] ?? 0,
    threads: Math.max(0, (numbersOf(read('/proc/loadavg').split('/')[1] ?? '')[0] ?? 0) - ownThreads),
    memoryAvailableBytes: bytesOf(memory, 'MemAvailable'),
    reservableBytes: bytesOf(memory, 'CommitLimit') - bytesOf(memory, 'Committed_AS'),
    controlGroup: readControlGroup(read, ownThreads),
  };
}

/** undefined: this kernel, or this container, doesn't have it. */
export function numberOf({ sysctl }: Machine, name: string): number | undefined {
  return numbersOf(sysctl(name))[0];
}

/** user_namespaces(7): in all others, as in a container without root, capabilities lift no limit of the machine. */
function isInitialNamespace(read: ReadText): boolean {
  const [first = 0, , count = ALL_USERS] = numbersOf(read('/proc/self/uid_map'));
  return first === 0 && count === ALL_USERS;
}

export function hasCapability({ capabilities }: Machine, capability: bigint): boolean {
  return (capabilities & (1n << capability)) !== 0n;
}

export function numbersOf(text: string): number[] {
  return text.split(/\s+/).filter(Boolean).map(Number).filter(Number.isFinite);
}

/** Of /proc/self/limits: a name, the soft limit, the hard one. */
function limitOf(limits: string, name: string): Limit {
  const [, soft, hard] = new RegExp(`^${name} +(\\S+) +(\\S+)`, 'm').exec(limits) ?? [];
  const [softest, hardest] = [soft, hard].map((text) => {
    return text === 'unlimited' ? Number.POSITIVE_INFINITY : Number(text ?? 0);
  });
  return { soft: softest!, hard: hardest! };
}

/** Of /proc/meminfo, which counts KiB. */
function bytesOf(memory: string, name: string): number {
  return (numbersOf(fieldOf(memory, name))[0] ?? 0) * 1024;
}

/** Of a text whose lines are "name: value". */
function fieldOf(text: string, name: string): string {
  return new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(text)?.[1] ?? '';
}
