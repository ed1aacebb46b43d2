// What a process with all its threads and children has used, as the kernel counts it.
import { readdirSync, readFileSync } from 'node:fs';

/** Nanoseconds on a CPU, of all threads that live. Threads and children that have ended are not in it. */
export function cpuNs(pid: number): number {
  return sumOver(pid, (one) =>
    threads(one).reduce((sum, thread) => sum + Number(read(`/proc/${one}/task/${thread}/schedstat`).split(' ')[0]), 0),
  );
}

/**
 * Bytes that the process has written and shares with nobody. The proportional set size would also count its share of the
 * program's own pages, which changes whenever another process runs the same program, as this bench does with Node.js.
 */
export function userBytes(pid: number): number {
  return sumOver(pid, (one) => kilobytes(read(`/proc/${one}/smaps_rollup`), 'Private_Dirty') * 1024);
}

/**
 * Bytes in the kernel's slabs on the whole machine; where the exact list is for root only, the sum that everybody may
 * read, which also counts what is freed but kept.
 */
export function kernelBytes(): number {
  try {
    const rows = readFileSync('/proc/slabinfo', 'utf8').split('\n').slice(2).filter(Boolean);
    return rows.reduce((sum, row) => {
      const [, active, , objectBytes] = row.split(/\s+/);
      return sum + Number(active) * Number(objectBytes);
    }, 0);
  } catch {
    return kilobytes(read('/proc/meminfo'), 'Slab') * 1024;
  }
}

/** CPU microseconds that the whole machine has spent on anything, and that its host has kept from it. */
export function machineUs(): number {
  const [, user, nice, system, , , irq, softirq, steal] = read('/proc/stat').split(/\s+/, 9).map(Number);
  return (user! + nice! + system! + irq! + softirq! + steal!) * JIFFY_US;
}
/** USER_HZ is 100 on every architecture that Node.js runs on. */
const JIFFY_US = 10_000;

/** TCP sockets in use on the whole machine. */
export function tcpSockets(): number {
  return Number(/^TCP: inuse (\d+)/m.exec(read('/proc/net/sockstat'))?.[1] ?? 0);
}

/** The processes that it started, and theirs. */
export function descendants(pid: number): number[] {
  return children(pid).flatMap((child) => [child, ...descendants(child)]);
}

function sumOver(pid: number, figure: (pid: number) => number): number {
  return [pid, ...descendants(pid)].reduce((sum, one) => sum + figure(one), 0);
}

function children(pid: number): number[] {
  return threads(pid).flatMap((thread) =>
    read(`/proc/${pid}/task/${thread}/children`).split(' ').filter(Boolean).map(Number),
  );
}

/** None when the process has ended. */
function threads(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`);
  } catch {
    return [];
  }
}

function kilobytes(text: string, name: string): number {
  return Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? 0);
}

/** '' when the process or thread has ended meanwhile. */
function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
