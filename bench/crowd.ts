// All rings of a swarm or a sink: how many there must be, and what they have counted together.
import { availableParallelism } from 'node:os';
import { getSystemErrorName } from 'node:util';
import { COUNTERS, type CrowdFigures, CrowdRing, type SinkSettings, type SwarmSettings } from './crowd-ring.ts';
import {
  CROWD_CLOSE,
  CROWD_RUN,
  CROWD_STOP,
  ENDED_CLOSED,
  ENDED_CONNACK,
  ENDED_COUNT,
  ENDED_DISCONNECT,
  ENDED_NO_BUFFERS,
  ENDED_NOT_MQTT,
  ENDED_SILENT,
  ENDED_SLOW,
  HISTOGRAM_BUCKETS,
} from './layout.ts';

export type { CrowdFigures } from './crowd-ring.ts';

/** So many on one ring, however large its file table could be: then as many threads share the work as there is work. */
const RING_SLOTS_MAX = 65_536;
/** With fewer than this for each, more rings than needed gain nothing. */
const RING_CONNECTIONS_MIN = 1000;

/** A ring's file table may hold as many descriptors as a process may open. */
export function ringSlots(descriptors: number): number {
  return Math.min(descriptors, RING_SLOTS_MAX);
}

/** Enough for all, and one for each core that has something to do. */
export function ringsFor(connections: number, perRing: number): number {
  const needed = Math.ceil(connections / perRing);
  const useful = Math.ceil(connections / RING_CONNECTIONS_MIN);
  return Math.max(1, needed, Math.min(availableParallelism(), useful));
}

export class Crowd {
  readonly #rings: readonly CrowdRing[];

  constructor(settings: readonly (SwarmSettings | SinkSettings)[], slots: number) {
    this.#rings = settings.map((ring) => new CrowdRing(ring, slots));
    for (const { ended } of this.#rings) ended.catch(() => {});
  }

  get ringCount(): number {
    return this.#rings.length;
  }

  /** Starts all at the same moment; rejects when one can't. */
  async start(): Promise<void> {
    await Promise.all(this.#rings.map(({ ready }) => ready));
    for (const ring of this.#rings) ring.setState(CROWD_RUN);
  }

  /** Resolves when all threads have returned, and rejects as soon as one dies. */
  async ended(): Promise<void> {
    await Promise.all(this.#rings.map(({ ended }) => ended));
  }

  /** Takes leave of everybody; what is left after a while is dropped. */
  close(): void {
    for (const ring of this.#rings) ring.setState(CROWD_CLOSE);
  }

  /** Drops everybody. */
  stop(): void {
    for (const ring of this.#rings) ring.setState(CROWD_STOP);
  }

  /** Connections that each ring of a sink has accepted and not closed. */
  held(): number[] {
    return this.#rings.map((ring) => ring.held());
  }

  figures(): CrowdFigures {
    const sum = Object.fromEntries(Object.keys(COUNTERS).map((name) => [name, 0])) as CrowdFigures;
    for (const ring of this.#rings) ring.addTo(sum);
    return sum;
  }

  /** Latencies of pings since the start, by bucket, into `sum`; see latency.ts. */
  histogram(sum: Uint32Array = new Uint32Array(HISTOGRAM_BUCKETS)): Uint32Array {
    sum.fill(0);
    for (const ring of this.#rings) ring.addHistogram(sum);
    return sum;
  }

  /** How many connections failed or were lost, by reason, the most frequent first. */
  reasons(): Record<string, number> {
    const sum = new Uint32Array(ENDED_COUNT);
    for (const ring of this.#rings) ring.addReasons(sum);
    const counted = [...sum].flatMap((count, reason) => (count > 0 ? [[reasonText(reason), count] as const] : []));
    return Object.fromEntries(counted.sort(([, a], [, b]) => b - a));
  }
}

const WORDS: Record<number, string> = {
  [ENDED_CLOSED]: 'closed by the other side',
  [ENDED_SILENT]: 'no answer to a ping',
  [ENDED_SLOW]: 'no answer to CONNECT',
  [ENDED_NOT_MQTT]: 'not MQTT',
  [ENDED_NO_BUFFERS]: 'no buffers left',
};

function reasonText(reason: number): string {
  if (WORDS[reason] !== undefined) return WORDS[reason];
  if (reason >= ENDED_DISCONNECT) return `DISCONNECT 0x${(reason - ENDED_DISCONNECT).toString(16).padStart(2, '0')}`;
  if (reason >= ENDED_CONNACK) return `CONNACK 0x${(reason - ENDED_CONNACK).toString(16).padStart(2, '0')}`;
  return reason === 0 ? WORDS[ENDED_CLOSED]! : getSystemErrorName(-reason);
}
