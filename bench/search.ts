// How fast a connection is found among many while traffic flows: Tidegate and both ends of every connection in one process,
// searched through its admin API.
// Usage: npm run bench:search -- [WORKERS [CONNECTIONS_PER_WORKER [MESSAGES_PER_SECOND_PER_WORKER]]]
import { setTimeout as sleep } from 'node:timers/promises';
import { parseConfig } from '../src/config.ts';
import { start, type Tidegate } from '../src/index.ts';
import { MODE_ECHO } from './layout.ts';
import { Load, Sink, sumFigures } from './load.ts';
import { Progress } from './progress.ts';

const ROUNDS = 20;
const CONNECT_MS_MAX = 120_000;
const LOOK_MS = 500;

const [workers = 12, each = 8400, rate = 1000] = process.argv.slice(2).map(Number);
const progress = new Progress();
// A host for each: ports are counted for each pair of addresses.
const sinks = Array.from({ length: workers }, (_, index) => new Sink([`127.0.1.${index + 1}`], 0));
const addresses = sinks.map(({ ports }, index) => `127.0.1.${index + 1}:${ports[0]}`);
const tidegate = await start(parseConfig(JSON.stringify(settings()), 'bench'));
const loads = sinks.map((sink, index) => openLoad(sink, index));
await untilConnected();

const queries: Record<string, string> = {
  'the newest': '',
  'a ClientId that is not there': '?client_id=nobody',
  'a backend': `?backend=${encodeURIComponent(addresses[0]!)}`,
  'an address': '?address=127.0.0.1',
};
const taken = new Map<string, number[]>(Object.keys(queries).map((name) => [name, []]));
const [messagesBefore, beganMs] = [figures().messages, performance.now()];
for (let round = 0; round < ROUNDS; round++) {
  for (const [name, query] of Object.entries(queries)) taken.get(name)!.push(await search(tidegate, query));
}
const perSecond = ((figures().messages - messagesBefore) * 1000) / (performance.now() - beganMs);
console.log(`${figures().open} connections in ${workers} workers, ${perSecond.toFixed(0)} messages/s meanwhile`);
for (const [name, times] of taken) {
  const sorted = times.toSorted((a, b) => a - b);
  const [median, most] = [sorted[sorted.length >> 1]!, sorted.at(-1)!];
  console.log(`  ${name.padEnd(30)} median ${median.toFixed(1)} ms, most ${most.toFixed(1)} ms, of ${ROUNDS}`);
}
await Promise.all(loads.map((load) => load.stop()));
await tidegate.stop({ now: true });
process.exit();

function settings(): object {
  return {
    workers,
    engine: 'uring',
    listeners: [{ name: 'mqtt', bind: '0.0.0.0:0', pool: 'sinks' }],
    pools: { sinks: { balance: { method: 'round_robin' }, health: { type: 'none' }, backends: addresses } },
    admin: { bind: '127.0.0.1:0' },
    access_log: { path: '/dev/null' },
  };
}

function openLoad(sink: Sink, index: number): Load {
  const target = { host: `127.0.0.${index + 1}`, port: tidegate.listeners[0]!.port };
  // Tidegate deals connections out to the sinks as it likes.
  const guests = each >> 1;
  return new Load({ mode: MODE_ECHO, clients: each, rate, sink, guests, firstId: 1 + index * each, target });
}

function figures(): ReturnType<Load['figures']> {
  return sumFigures(loads.map((load) => load.figures()));
}

async function untilConnected(): Promise<void> {
  const endMs = performance.now() + CONNECT_MS_MAX;
  progress.start('connecting');
  while (figures().open < workers * each) {
    if (performance.now() > endMs) throw new Error(`only ${figures().open} of ${workers * each} are connected`);
    progress.now(`${figures().open} of ${workers * each}`);
    await sleep(LOOK_MS);
  }
  progress.end();
}

/** Milliseconds. */
async function search({ admin }: Tidegate, query: string): Promise<number> {
  const beganMs = performance.now();
  const answer = await fetch(`http://127.0.0.1:${admin!.port}/api/v1/connections${query}`);
  const { searched } = (await answer.json()) as { searched: number };
  const tookMs = performance.now() - beganMs;
  if (searched < workers * each) throw new Error(`${searched} connections were searched`);
  return tookMs;
}
