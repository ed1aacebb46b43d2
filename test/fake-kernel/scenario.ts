// One seed's circumstances: how large everything is, what troubles the kernel makes, who comes and what the main thread
// does meanwhile. Some are tight on purpose, so that full rings, missing buffers and full tables are everyday.
import type { MemorySettings } from '../../src/control/memory-map.ts';
import { Random } from '../tools/random.ts';
import { type Limits, planArrivals, planLimits } from './admission.ts';
import { type HookPlan, planHook } from './hooks.ts';
import { planRules, type Rules } from './rules.ts';
import type { Timeouts } from './snapshots.ts';
import { type Rates, troubles } from './trouble.ts';

export type Mood = 'good' | 'refuses' | 'hangs' | 'flaky';

export interface Scenario {
  settings: MemorySettings;
  /** At first. */
  listenerCount: number;
  rates: Rates;
  lives: number;
  /** Milliseconds between two arrivals, at most. */
  arrivalGapMs: number;
  hasStallers: boolean;
  timeouts: Timeouts;
  limits: Limits;
  moods: Mood[];
  /** Actions of the main thread during the simulation. */
  publications: number;
  listenerFlips: number;
  healthFlips: number;
  moodFlips: number;
  /** When accepting ends, or everything; Infinity: not before everybody is gone. */
  drainAtMs: number;
  stopAtMs: number;
  /** The log thread looks at the records in one turn out of so many. */
  recordsReadEvery: number;
  /** It is followed where packets begin and end. */
  followsPackets: boolean;
  /** How often the main thread wants somebody gone. */
  evictions: number;
  /** Between two clients that a backend left behind, in microseconds; 0: all go at once. */
  orphanIntervalUs: number;
  /** Clients come through fronts, which say in PROXY headers who they are. */
  isFronted: boolean;
  /** PROXY_PROTOCOL_* that the pool may have, one after the other. */
  proxyProtocols: readonly number[];
  /** Of every listener. */
  rules: Rules;
  /** The same; null: nobody is asked. */
  hook: HookPlan | null;
}

/** Of what a trouble's rate is at most. */
const RATE_LEAST = 0.02;
/** What each trouble's rate is at most; half of the troubles are absent from a scenario. */
const RATES_MAX: Rates = {
  'late answers': 0.8,
  'very late answers': 0.05,
  'fewer entries taken': 0.2,
  'enter refused': 0.1,
  'wait interrupted': 0.1,
  'few answers at once': 0.5,
  'clock jumps': 0.0005,
  'sends cut short': 0.1,
  'sends in small pieces': 0.7,
  'receives in small pieces': 0.4,
  'receives that end': 0.2,
  'accepts that fail': 0.05,
  'sockets that fail': 0.1,
  'ports that run out': 0.3,
  'cancels that come too late': 0.6,
};

const BACKENDS = 5;
const NO_CHANGES = { publications: 0, listenerFlips: 0, healthFlips: 0 };
/** Divided by a rate: clients come four times as fast as they may be dialled. */
const CROWDING_MS = 500;

export function planScenario(seed: number): Scenario {
  const random = new Random(seed);
  const listenerCount = random.integer(1, 2);
  const settings = planSettings(random, listenerCount);
  const hasStallers = random.chance(0.15);
  const end = random.fraction();
  const limits = planArrivals(new Random(seed ^ 0x2b3e6c1f), planLimits(new Random(seed ^ 0x510e527f)));
  const scenario = {
    settings,
    listenerCount,
    rates: planRates(random),
    lives: hasStallers ? random.integer(20, 60) : random.integer(60, 160),
    arrivalGapMs: random.magnitude(0.05, 20),
    hasStallers,
    timeouts: {
      connectTimeoutMs: random.magnitude(100, 5000),
      dialTimeoutMs: random.magnitude(100, 2000),
      keepAlivePercent: random.pick([0, 100, 150]),
      idleTimeoutMs: random.chance(0.5) ? random.magnitude(300, 10_000) : 0,
    },
    limits,
    moods: Array.from({ length: BACKENDS }, () => planMood(random)),
    publications: random.chance(0.5) ? random.integer(1, 20) : 0,
    listenerFlips: random.chance(0.4) ? random.integer(1, 20) : 0,
    healthFlips: random.chance(0.4) ? random.integer(1, 20) : 0,
    moodFlips: random.chance(0.4) ? random.integer(1, 10) : 0,
    drainAtMs: end < 0.15 ? random.magnitude(1, 2000) : Infinity,
    stopAtMs: end > 0.8 ? random.magnitude(1, 2000) : Infinity,
    recordsReadEvery: random.pick([1, 1, 1, 7, 50]),
    followsPackets: random.chance(0.9),
    evictions: random.chance(0.7) ? random.integer(1, 100) : 0,
    orphanIntervalUs: random.chance(0.3) ? Math.round(random.magnitude(100, 100_000)) : 0,
    ...planHeaders(new Random(seed ^ 0x1f83d9ab)),
    rules: planRules(new Random(seed ^ 0x5be0cd19)),
    hook: planHook(new Random(seed ^ 0x6a09e667)),
  };
  return limits.isOrderly ? { ...scenario, ...NO_CHANGES, arrivalGapMs: CROWDING_MS / limits.rate } : scenario;
}

// Its own random numbers: everything else stays what it is without headers.
function planHeaders(random: Random): Pick<Scenario, 'isFronted' | 'proxyProtocols'> {
  return {
    isFronted: random.chance(0.25),
    proxyProtocols: random.pick([[0], [0], [0], [1], [2], [0, 2], [1, 2]]),
  };
}

export function planMood(random: Random): Mood {
  if (random.chance(0.6)) return 'good';
  return random.pick(['refuses', 'hangs', 'flaky', 'flaky'] as const);
}

function planSettings(random: Random, listenerCount: number): MemorySettings {
  const isTight = random.chance(0.6);
  const submissionEntries = isTight ? random.pick([8, 8, 16, 64]) : random.pick([64, 256]);
  const connectionsMax = isTight ? random.pick([3, 6, 12, 40]) : random.pick([40, 100]);
  const bufferCount = isTight ? random.pick([2, 4, 8, 16, 64]) : random.pick([64, 256]);
  return {
    connectionsMax,
    bufferCount,
    // The data plane may keep the rest to itself until a receive finds none.
    buffersProvided: bufferCount >> random.pick([0, 0, 1, 3]),
    bufferBytes: random.pick([128, 512, 1024, 4096]),
    submissionEntries,
    completionEntries: Math.max(submissionEntries, isTight ? random.pick([8, 16, 64, 256]) : 512),
    // One record needs up to 1,120 bytes.
    recordsBytes: isTight ? random.pick([2048, 4096, 65536]) : 65536,
    sessions: isTight ? 8 : 64,
    portsCrowded: isTight ? 2 : 1000,
    arenaChunks: isTight ? random.pick([1, 4, 64]) : 256,
    // An accept that waits holds a slot: as memory-map.ts does, never more than half of them.
    quietMs: random.pick([1, 100, 1000, 3000]),
    acceptsInFlight: Math.max(1, Math.min(random.pick([1, 2, 4]), Math.floor(connectionsMax / 2 / listenerCount))),
  };
}

function planRates(random: Random): Rates {
  const rates = {} as Rates;
  for (const trouble of troubles)
    rates[trouble] = random.chance(0.5) ? RATE_LEAST ** random.fraction() * RATES_MAX[trouble] : 0;
  return rates;
}
