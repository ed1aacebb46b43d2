// One measurement: a load against one proxy, figures before and after.
import { setTimeout as sleep } from 'node:timers/promises';
import { type Quantiles, quantiles } from './latency.ts';
import { type Figures, Load, type LoadSettings, type RunningLoad, type Sink, sumFigures } from './load.ts';
import { cpuNs, machineUs, tcpSockets } from './process-usage.ts';
import type { ProxyProcess } from './proxies.ts';
import { tlsClientsUs } from './tls-client.ts';

/** What every measurement is made with. */
export interface Bench {
  /** Where the clients go when there is no proxy. */
  sink: Sink;
  /** Of one measurement. */
  seconds: number;
  connectionsMax: number;
}

/** What the clients dial: a proxy, or the sink itself where there is none. */
export type Target = ProxyProcess | undefined;

/** Figures of one measurement by name; what doesn't apply is absent. */
export type Sample = Record<string, number>;

const CONNECT_TIMEOUT_MS = 30_000;
const WARM_MS = 500;
const WARM_AGAIN_MS = 100;
const SETTLE_TIMEOUT_MS = 10_000;
const SETTLE_POLL_MS = 50;
const SETTLED_POLLS = 4;
const LAST_MESSAGES_MS = 20;
const POLL_MS = 10;

interface Moment {
  atNs: bigint;
  proxyNs: number;
  loadUs: number;
  machineUs: number;
  figures: Figures;
  buckets: Uint32Array;
  counters?: Record<string, number>;
}

/** Opens the load, waits until it runs evenly, measures, closes it. */
export async function measureLoad(bench: Bench, target: Target, settings: Partial<LoadSettings>): Promise<Sample> {
  const load = openLoad(bench, target, { ...settings, waits: true });
  try {
    await connected(load, settings.clients!);
    load.resume();
    await sleep(WARM_MS);
    return await measureBetween(bench, target, load);
  } finally {
    await closeLoads(load);
  }
}

/** Connects the load, which then waits for its slices. */
export function openPaused(bench: Bench, target: Target, settings: Partial<LoadSettings>): Promise<Load> {
  return pausedOnceOpen(openLoad(bench, target, { ...settings, waits: true }), settings.clients!);
}

export async function pausedOnceOpen<Opened extends RunningLoad>(load: Opened, clients: number): Promise<Opened> {
  try {
    await connected(load, clients);
    load.pause();
    await sleep(LAST_MESSAGES_MS);
    return load;
  } catch (error) {
    await closeLoads(load);
    throw error;
  }
}

/** Lets a paused load run for the bench's time, and pauses it again. */
export async function measureSlice(bench: Bench, target: Target, load: RunningLoad): Promise<Sample> {
  load.resume();
  await sleep(WARM_AGAIN_MS);
  try {
    return await measureBetween(bench, target, load);
  } finally {
    load.pause();
    await sleep(LAST_MESSAGES_MS);
  }
}

export function openLoad(bench: Bench, target: Target, settings: Partial<LoadSettings>): Load {
  const sink = target?.sink ?? bench.sink;
  const dial = { host: '127.0.0.1', port: target?.port ?? sink.ports[0]! };
  return new Load({ mode: 0, clients: 1, sink, target: dial, ...settings });
}

/** All of them; in churn, where they come and go, as many as that have been there. */
export async function connected(load: RunningLoad, clients: number): Promise<void> {
  for (const deadline = performance.now() + CONNECT_TIMEOUT_MS; ; await sleep(POLL_MS)) {
    const figures = load.figures();
    if (figures.connected >= clients) return;
    const found = `${figures.connected} of ${clients} connections, ${figures.failed} failed`;
    if (figures.failed > clients || performance.now() > deadline) throw new Error(`gave up at ${found}`);
  }
}

/** Runs the load for the bench's time and takes what happened in it. */
export async function measureBetween(bench: Bench, target: Target, ...loads: RunningLoad[]): Promise<Sample> {
  const before = await look(target, loads);
  await sleep(bench.seconds * 1000);
  return difference(before, await look(target, loads));
}

/** Latencies are those of the first load. */
async function look(target: Target, loads: readonly RunningLoad[]): Promise<Moment> {
  const counters = await target?.counters();
  return {
    atNs: process.hrtime.bigint(),
    proxyNs: target === undefined ? 0 : cpuNs(target.pid),
    loadUs: ownCpuUs(),
    machineUs: machineUs(),
    figures: sumFigures(loads.map((load) => load.figures())),
    buckets: loads[0]!.histogram(),
    ...(counters && { counters }),
  };
}

function difference(before: Moment, after: Moment): Sample {
  const seconds = Number(after.atNs - before.atNs) / 1e9;
  // Connections are opened meanwhile only where that is the work.
  const count = after.figures.messages - before.figures.messages + after.figures.connected - before.figures.connected;
  const proxyUs = (after.proxyNs - before.proxyNs) / 1000;
  const loadUs = after.loadUs - before.loadUs;
  const othersUs = after.machineUs - before.machineUs - proxyUs - loadUs;
  return {
    perSecond: count / seconds,
    cpuUs: proxyUs / count,
    // Cores that were busy: with the proxy, with the load, with what else runs on this machine.
    proxyBusy: proxyUs / seconds / 1e6,
    loadBusy: loadUs / seconds / 1e6,
    othersBusy: othersUs / seconds / 1e6,
    failed: after.figures.failed,
    ...quantilesBetween(before.buckets, after.buckets),
    ...batches(before.counters, after.counters),
  };
}

function quantilesBetween(before: Uint32Array, after: Uint32Array): Partial<Quantiles> {
  return quantiles(after.map((count, bucket) => count - before[bucket]!)) ?? {};
}

/** Completions for each system call of Tidegate's. */
function batches(before: Record<string, number> | undefined, after: Record<string, number> | undefined): Sample {
  const grown = (name: string): number => (after?.[name] ?? 0) - (before?.[name] ?? 0);
  return grown('turns') === 0 || grown('completions') === 0
    ? {}
    : { completionsPerEnter: grown('completions') / grown('turns') };
}

function ownCpuUs(): number {
  const { user, system } = process.cpuUsage();
  return user + system + tlsClientsUs();
}

/** Stops them, and waits until the proxy has closed its ends too: until the machine's sockets become no fewer. */
export async function closeLoads(...loads: RunningLoad[]): Promise<void> {
  for (const load of loads) load.pause();
  await sleep(LAST_MESSAGES_MS);
  await Promise.all(loads.map((load) => load.stop()));
  let fewest = Number.POSITIVE_INFINITY;
  let quiet = 0;
  for (const deadline = performance.now() + SETTLE_TIMEOUT_MS; quiet < SETTLED_POLLS; await sleep(SETTLE_POLL_MS)) {
    const now = tcpSockets();
    quiet = now < fewest ? 0 : quiet + 1;
    fewest = Math.min(fewest, now);
    if (performance.now() > deadline) return;
  }
}
