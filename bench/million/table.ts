// The results as a table: a row for each figure, a column for each balancer.
import { format } from '../results.ts';
import type { Table } from '../table.ts';
import type { MillionResults, Run } from './results.ts';

const MEBIBYTE = 2 ** 20;

interface Figure {
  title: string;
  digits: number;
  of(run: Run): number | null | undefined;
}

const figures: readonly Figure[] = [
  { title: 'sessions', digits: 0, of: ({ connections }) => connections },
  { title: 'empty start: seconds until ready', digits: 1, of: ({ start }) => start.readyMs / 1000 },
  { title: 'empty start: user memory, MiB', digits: 0, of: ({ start }) => start.userBytes / MEBIBYTE },
  { title: 'connect: seconds', digits: 1, of: ({ connect }) => connect.seconds },
  { title: 'connect: sessions/s', digits: 0, of: ({ connections, connect }) => connections / connect.seconds },
  { title: 'connect: failed', digits: 0, of: ({ connect }) => connect.failed },
  { title: 'connect: cores busy, balancer', digits: 2, of: ({ connect }) => connect.cores.balancer },
  { title: 'connect: cores busy, both ends', digits: 2, of: ({ connect: { cores } }) => cores.swarm + cores.sink },
  { title: 'user memory, bytes per connection', digits: 0, of: ({ memory }) => memory.userBytes },
  { title: 'kernel memory, bytes per connection', digits: 0, of: ({ memory }) => memory.kernelBytes },
  { title: 'the whole machine with both ends, bytes per session', digits: 0, of: ({ memory }) => memory.machineBytes },
  { title: 'hold: seconds', digits: 0, of: ({ hold }) => hold.seconds },
  { title: 'hold: keep alive, seconds', digits: 0, of: ({ hold }) => hold.keepAliveSeconds },
  { title: 'hold: lost', digits: 0, of: ({ hold }) => hold.lost },
  { title: 'hold: PINGREQ answered', digits: 0, of: ({ hold }) => hold.pings },
  { title: 'hold: PINGREQ to PINGRESP, p50, ms', digits: 2, of: ({ hold }) => hold.pingP50Ms },
  { title: 'hold: p99, ms', digits: 2, of: ({ hold }) => hold.pingP99Ms },
  { title: 'hold: p99.9, ms', digits: 2, of: ({ hold }) => hold.pingP999Ms },
  { title: 'hold: longest, ms', digits: 1, of: ({ hold }) => hold.pingMaxMs },
  { title: 'hold: cores busy, balancer', digits: 2, of: ({ hold }) => hold.cores.balancer },
  { title: 'hold: cores busy, both ends', digits: 2, of: ({ hold: { cores } }) => cores.swarm + cores.sink },
  { title: 'status through the admin API, ms', digits: 1, of: ({ admin }) => admin?.status.medianMs },
  { title: 'search for a ClientId, ms', digits: 1, of: ({ admin }) => admin?.search.medianMs },
  { title: 'drain of one backend: sessions', digits: 0, of: ({ drain }) => drain?.moved },
  { title: 'drain of one backend: seconds', digits: 1, of: ({ drain }) => drain?.seconds },
  { title: 'drain of one backend: sessions lost elsewhere', digits: 0, of: ({ drain }) => drain?.othersLost },
  { title: 'everybody leaves: seconds', digits: 1, of: ({ close }) => close.seconds },
  {
    title: 'after that: user memory beyond the empty start, MiB',
    digits: 0,
    of: ({ close }) => close.userBytesLeft / MEBIBYTE,
  },
  {
    title: 'after that: kernel memory of the machine beyond it, MiB',
    digits: 0,
    of: ({ close }) => close.kernelBytesLeft / MEBIBYTE,
  },
];

export function millionTable({ runs }: MillionResults): Table {
  const rows = figures.map(({ title, digits, of }) => ({
    title,
    cells: runs.map((run) => format(of(run) ?? undefined, digits)),
  }));
  return { head: ['', ...runs.map(({ title }) => title)], rows };
}

/** What a reader should know beside the table. */
export function millionRemarks({ runs, skipped, ends, kernelMemorySource }: MillionResults): string[] {
  const bytes = Math.round(ends.kernelBytes).toLocaleString('en');
  const without = `${bytes} bytes, measured with ${ends.connections.toLocaleString('en')} sessions and no balancer`;
  return [
    ...runs.map(({ title, connections, workers, limit }) => {
      return `${title}: ${connections.toLocaleString('en')} sessions, ${workers}; ${limit}`;
    }),
    ...skipped.map(({ title, why }) => `${title} skipped: ${why}`),
    `kernel memory is what the machine's grew by for each session (${kernelMemorySource}), less what both ends take of it: ${without}`,
  ];
}
