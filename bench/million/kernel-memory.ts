// The kernel's memory on the whole machine, by what it is used for. No process is charged for its sockets, so what a proxy
// has is found by taking off what the same connections take without one.
import { readFileSync } from 'node:fs';
import { PAGE_BYTES } from '../../assembly/layout.ts';

/** Bytes by kind: a cache of the slab allocator, or a line of /proc/meminfo. */
export type KernelMemory = Map<string, number>;

/** What isn't in the slabs. */
const OTHERS = ['KernelStack', 'PageTables', 'VmallocUsed', 'Percpu'];
const SLABINFO = '/proc/slabinfo';

export function kernelMemory(): KernelMemory {
  const meminfo = readFileSync('/proc/meminfo', 'utf8');
  const kilobytes = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(meminfo)?.[1] ?? 0);
  const others = OTHERS.map((name): [string, number] => [name, kilobytes(name) * 1024]);
  const slabs = readSlabs() ?? [['Slab', kilobytes('Slab') * 1024]];
  return new Map([...slabs, ...others, ['TCP buffers', tcpBufferBytes()]]);
}

/** Objects in use by their size; undefined where only root may read the list. */
function readSlabs(): [string, number][] | undefined {
  let text: string;
  try {
    text = readFileSync(SLABINFO, 'utf8');
  } catch {
    return undefined;
  }
  const rows = text.split('\n').slice(2).filter(Boolean);
  return rows.map((row) => {
    const [name, active, , objectBytes] = row.split(/\s+/);
    return [name!, Number(active) * Number(objectBytes)];
  });
}

function tcpBufferBytes(): number {
  return Number(/^TCP: .*\bmem (\d+)/m.exec(readFileSync('/proc/net/sockstat', 'utf8'))?.[1] ?? 0) * PAGE_BYTES;
}

export function sumOf(memory: KernelMemory): number {
  return [...memory.values()].reduce((sum, bytes) => sum + bytes, 0);
}

/** In words, for the results. */
export function kernelMemorySource(): string {
  const slabs = readSlabs() === undefined ? 'Slab in /proc/meminfo' : `objects in use in ${SLABINFO}`;
  return `${slabs}, ${OTHERS.join(', ')}, TCP buffers in /proc/net/sockstat`;
}

/** Bytes for each connection by kind, the largest first; what is less than a byte is left out. */
export function growthByKind(before: KernelMemory, after: KernelMemory, connections: number): Record<string, number> {
  const grown = [...after].map(([kind, bytes]): [string, number] => [
    kind,
    Math.round((bytes - (before.get(kind) ?? 0)) / connections),
  ]);
  return Object.fromEntries(grown.filter(([, bytes]) => Math.abs(bytes) >= 1).sort(([, a], [, b]) => b - a));
}
