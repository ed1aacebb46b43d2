// What is measured, in the order of the report.
import { setTimeout as sleep } from 'node:timers/promises';
import { doorScenarios } from './doors.ts';
import { MODE_CHURN, MODE_ECHO, MODE_FAN_IN, MODE_FAN_OUT, MODE_IDLE } from './layout.ts';
import type { Load, LoadSettings } from './load.ts';
import {
  type Bench,
  closeLoads,
  connected,
  measureBetween,
  measureLoad,
  openLoad,
  openPaused,
  type Sample,
  type Target,
} from './measure.ts';
import { cpuNs, kernelBytes, userBytes } from './process-usage.ts';
import { each, inSlices, perConnection, perMessage, type Scenario } from './scenario.ts';

/**
 * A load that stays the same: its connections are opened once for each proxy, and then measured in many short slices
 * that take turns. The machine's mood changes within seconds, and so every proxy sees all of its moods.
 */
function steady(name: string, title: string, settings: Steady, figures = perMessage): Scenario {
  const open = async (bench: Bench, target: Target) => ({ load: await openPaused(bench, target, settings) });
  return { name, title, figures, rounds: 'many', prepare: inSlices(open) };
}

type Steady = Partial<LoadSettings> & { clients: number };

export function scenarios(connectionsMax: number): readonly Scenario[] {
  return [
    steady('ping-pong-100', 'ping-pong, 100 connections', { mode: MODE_ECHO, clients: 100 }),
    steady('ping-pong-1000', 'ping-pong, 1,000 connections', { mode: MODE_ECHO, clients: 1000 }),
    pingPongMax(connectionsMax),
    steady('in-flight-4', '4 in flight, 1,000 connections', { mode: MODE_ECHO, clients: 1000, depth: 4 }),
    steady('bytes-4000', '4,000-byte messages, 100 connections', { mode: MODE_ECHO, clients: 100, messageBytes: 4000 }),
    steady('bytes-16k', '16 KiB messages, 100 connections', { mode: MODE_ECHO, clients: 100, messageBytes: 16384 }),
    steady('fan-in', 'fan-in, 1,000 publishers, QoS 1', { mode: MODE_FAN_IN, clients: 1000, depth: 4 }),
    steady('fan-out', 'fan-out, 1,000 subscribers, QoS 1', { mode: MODE_FAN_OUT, clients: 1000, depth: 4 }),
    steady('churn', 'churn: connect, CONNECT, CONNACK, close', { mode: MODE_CHURN, clients: 100 }, perConnection),
    storm(connectionsMax),
    latency,
    mixed,
    idle(connectionsMax),
    ...doorScenarios,
  ];
}

// ---- As many connections as there may be ---------------------------------------------------------------------------------

/** One proxy's connections at a time: those of all of them together would not fit the caches, nor a slice one round. */
function pingPongMax(clients: number): Scenario {
  return {
    name: 'ping-pong-max',
    title: `ping-pong, ${clients.toLocaleString('en')} connections`,
    figures: perMessage,
    rounds: 'few',
    prepare: each((bench, target) => measureLoad(bench, target, { mode: MODE_ECHO, clients })),
  };
}

// ---- Connect storm ---------------------------------------------------------------------------------------------------

const STORM_DIALS = 512;

function storm(clients: number): Scenario {
  return {
    name: 'storm',
    title: `connect storm, ${clients.toLocaleString('en')} connections`,
    figures: perConnection,
    rounds: 'few',
    prepare: each(async (bench, target) => {
      const proxyNs = target === undefined ? 0 : cpuNs(target.pid);
      const load = openLoad(bench, target, { mode: MODE_IDLE, clients, dialsMax: STORM_DIALS });
      try {
        await connected(load, clients);
        const cpuUs = target === undefined ? 0 : (cpuNs(target.pid) - proxyNs) / 1000 / clients;
        return { cpuUs, perSecond: clients / (load.connectMs() / 1000), failed: load.figures().failed };
      } finally {
        await closeLoads(load);
      }
    }),
  };
}

// ---- Latency at half load --------------------------------------------------------------------------------------------

const LATENCY_CLIENTS = 1000;
const CALIBRATION_SECONDS = 1;

const latency: Scenario = {
  name: 'latency',
  title: 'latency added at half load, 1,000 connections',
  figures: [
    { key: 'p50Us', label: 'p50, us', digits: 0, better: 'lower', added: true },
    { key: 'p99Us', label: 'p99, us', digits: 0, better: 'lower', added: true },
    { key: 'p999Us', label: 'p99.9, us', digits: 0, better: 'lower', added: true },
    { key: 'cpuUs', label: 'proxy CPU, us per message', digits: 2, better: 'lower' },
  ],
  direct: true,
  rounds: 'few',
  async prepare(bench, targets) {
    const rate = await halfLoad(bench, targets);
    const load = { mode: MODE_ECHO, clients: LATENCY_CLIENTS, rate, spin: true };
    return { measure: async (target) => ({ rate, ...(await measureLoad(bench, target, load)) }), async close() {} };
  },
};

/** Half of what the slowest of the proxies does in a closed loop: the same rate for all. */
async function halfLoad(bench: Bench, targets: readonly Target[]): Promise<number> {
  const rates: number[] = [];
  for (const target of targets.filter((one) => one !== undefined)) {
    const closed = { mode: MODE_ECHO, clients: LATENCY_CLIENTS };
    rates.push((await measureLoad({ ...bench, seconds: CALIBRATION_SECONDS }, target, closed)).perSecond!);
  }
  return Math.round(Math.min(...rates) / 2);
}

// ---- Mixed -----------------------------------------------------------------------------------------------------------

const MIXED_CLIENTS = 2000;
const MIXED_RATE = 8000;
const MIXED_LARGE_CLIENTS = 50;
const MIXED_LARGE_RATE = 400;
const MIXED_CHURN_RATE = 200;

const mixed: Scenario = {
  name: 'mixed',
  title:
    `mixed, ${MIXED_CLIENTS.toLocaleString('en')} connections: ${MIXED_RATE.toLocaleString('en')} messages/s, ` +
    `${MIXED_LARGE_RATE} of 4,000 bytes, ${MIXED_CHURN_RATE} new connections`,
  figures: perMessage.slice(0, 1),
  rounds: 'few',
  prepare: each(async (bench, target) => {
    const alone = { sink: undefined };
    const common = { mode: MODE_ECHO, clients: MIXED_CLIENTS, rate: MIXED_RATE, guests: 1000 };
    const large = { clients: MIXED_LARGE_CLIENTS, messageBytes: 4000, rate: MIXED_LARGE_RATE, firstId: 1e6 };
    const lives = { mode: MODE_CHURN, clients: 50, rate: MIXED_CHURN_RATE, firstId: 2e6 };
    const loads = [openLoad(bench, target, common)];
    try {
      loads.push(openLoad(bench, target, { ...large, ...alone }), openLoad(bench, target, { ...lives, ...alone }));
      await connected(loads[0]!, MIXED_CLIENTS);
      await connected(loads[1]!, MIXED_LARGE_CLIENTS);
      await sleep(500);
      return await measureBetween(bench, target, ...loads);
    } finally {
      await closeLoads(...loads);
    }
  }),
};

// ---- Idle memory -----------------------------------------------------------------------------------------------------

const IDLE_CYCLES = 10;
/** What a first storm of connections leaves behind for ever, compiled code for one, isn't paid for each: so many come first. */
const IDLE_FIRST = 1 / 3;
/** For what is freed late: sockets in the kernel, heaps in the proxies. */
const IDLE_SETTLE_MS = 5000;
const COLLECT_ROUNDS = 3;
const COLLECT_PAUSE_MS = 200;
/** In the cycles that are only there to leave something behind. */
const IDLE_SHORT_MS = 500;

function idle(clients: number): Scenario {
  return {
    name: 'idle',
    title: `idle memory, ${clients.toLocaleString('en')} connections`,
    figures: [
      { key: 'userBytes', label: 'user bytes per connection', digits: 0, better: 'lower' },
      { key: 'kernelBytes', label: 'kernel bytes per connection', digits: 0, better: 'lower', added: true },
      { key: 'growthBytes', label: `growth over ${IDLE_CYCLES} cycles, KiB`, digits: 0, better: 'lower' },
    ],
    direct: true,
    rounds: 'once',
    prepare: each((bench, target) => measureIdle(bench, target, clients)),
  };
}

async function measureIdle(bench: Bench, target: Target, clients: number): Promise<Sample> {
  const user = async (): Promise<number> => {
    // What one round has emptied, the next one gives back.
    for (let round = 0; round < COLLECT_ROUNDS; round++) {
      await target?.collect();
      await sleep(COLLECT_PAUSE_MS);
    }
    return target === undefined ? 0 : userBytes(target.pid);
  };
  const inUse = async (settleMs: number) => {
    await sleep(settleMs);
    return { user: await user(), kernel: kernelBytes() };
  };
  const open = async (count: number) => {
    const load = openLoad(bench, target, { mode: MODE_IDLE, clients: count, dialsMax: 256 });
    await connected(load, count);
    return load;
  };
  const some = Math.floor(clients * IDLE_FIRST);
  const loads: Load[] = [];
  const cycles: number[] = [];
  try {
    loads.push(await open(some));
    const few = await inUse(IDLE_SETTLE_MS);
    loads.push(await open(clients - some));
    const all = await inUse(IDLE_SETTLE_MS);
    for (let cycle = 1; cycle < IDLE_CYCLES; cycle++) {
      await closeLoads(...loads.splice(0));
      loads.push(await open(clients));
      const isLookedAt = cycle === 1 || cycle === IDLE_CYCLES - 1;
      cycles.push((await inUse(isLookedAt ? IDLE_SETTLE_MS : IDLE_SHORT_MS)).user);
    }
    return {
      userBytes: (all.user - few.user) / (clients - some),
      kernelBytes: (all.kernel - few.kernel) / (clients - some),
      // From the second on, since the first may fill what is kept for later.
      growthBytes: (cycles.at(-1)! - cycles[0]!) / 1024,
    };
  } finally {
    await closeLoads(...loads);
  }
}
