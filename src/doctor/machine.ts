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
  /** The effective ones of this process. */
  capabilities: bigint;
  /** System calls are filtered by seccomp. */
  isFiltered: boolean;
  /** Of /proc/sys by its name, as in "fs.nr_open"; empty: there is none. */
  sysctl(name: string): string;
  /** For connections from one address to another. */
  localPorts: number;
  /** Open files, and threads, of the whole machine. */
  files: number;
  threads: number;
  memoryAvailableBytes: number;
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

/** Throws a TidegateError where /proc can't be read. */
export function readMachine(read: ReadText): Machine {
  const limits = read('/proc/self/limits');
  if (limits === '') throw new TidegateError('DOCTOR', 'cannot look at this machine: /proc can not be read; mount it');
  const status = read('/proc/self/status');
  const sysctl = (name: string) => read(`/proc/sys/${name.replaceAll('.', '/')}`);
  return {
    kernel: sysctl('kernel.osrelease'),
    descriptors: limitOf(limits, 'Max open files'),
    lockedBytes: limitOf(limits, 'Max locked memory'),
    processes: limitOf(limits, 'Max processes'),
    capabilities: BigInt(`0x${fieldOf(status, 'CapEff') || '0'}`),
    isFiltered: fieldOf(status, 'Seccomp') === SECCOMP_FILTER,
    sysctl,
    localPorts: localPorts(read),
    files: numbersOf(sysctl('fs.file-nr'))[0] ?? 0,
    threads: numbersOf(read('/proc/loadavg').split('/')[1] ?? '')[0] ?? 0,
    memoryAvailableBytes: (numbersOf(fieldOf(read('/proc/meminfo'), 'MemAvailable'))[0] ?? 0) * 1024,
    controlGroup: readControlGroup(read),
  };
}

/** undefined: this kernel, or this container, doesn't have it. */
export function numberOf({ sysctl }: Machine, name: string): number | undefined {
  return numbersOf(sysctl(name))[0];
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

/** Of a text whose lines are "name: value". */
function fieldOf(text: string, name: string): string {
  return new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(text)?.[1] ?? '';
}
