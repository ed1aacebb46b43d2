// One ring of the swarm or of the sink, from the main thread's side: its memory, what is written into it before the start,
// and what is read from it.
import { once } from 'node:events';
import type { Worker } from 'node:worker_threads';
import {
  HEADER_REGION_SNAPSHOTS,
  MEMBER_BYTES,
  MEMBER_SOCKADDR,
  MEMBER_SOCKADDR_BYTES,
  NONE,
  SOURCE_BYTES,
  SOURCE_SOCKADDR,
  SOURCE_SOCKADDR_BYTES,
} from '../assembly/layout.ts';
import { createMemory, defaultSettings } from '../src/control/memory-map.ts';
import { regionOffset } from '../src/header.ts';
import type { CrowdThreadStart } from './crowd-thread.ts';
import {
  CROWD_ACCEPTED,
  CROWD_ACCEPTS,
  CROWD_ACKNOWLEDGED,
  CROWD_CLIENT_ID,
  CROWD_CLIENTS,
  CROWD_CLOSE_RATE,
  CROWD_CONNECT_RATE,
  CROWD_CONNECTED,
  CROWD_CROWDED,
  CROWD_FAILED,
  CROWD_FILTER,
  CROWD_FIRST,
  CROWD_GRID_MS,
  CROWD_HISTOGRAM,
  CROWD_HOLDING,
  CROWD_KEEP_ALIVE_MS,
  CROWD_LISTENER_COUNT,
  CROWD_LOST,
  CROWD_OPEN,
  CROWD_PASSWORD,
  CROWD_PAYLOAD_BYTES,
  CROWD_PERSISTENT,
  CROWD_PINGS,
  CROWD_PUBLISH_RATE,
  CROWD_PUBLISHED,
  CROWD_QOS,
  CROWD_REASONS,
  CROWD_RECEIVED,
  CROWD_RECONNECT,
  CROWD_RECONNECTED,
  CROWD_ROLE,
  CROWD_SINK_MODE,
  CROWD_SOURCE_COUNT,
  CROWD_SOURCES,
  CROWD_STATE,
  CROWD_SUBSCRIBED,
  CROWD_TARGET_COUNT,
  CROWD_TARGETS,
  CROWD_TOPIC,
  CROWD_TRIED,
  CROWD_USERNAME,
  CROWD_VERSION,
  CROWD_WITHHELD,
  ENDED_COUNT,
  HISTOGRAM_BUCKETS,
  ROLE_SINK,
  ROLE_SWARM,
} from './layout.ts';
import { startLeanWorker } from './lean-worker.ts';

export const COUNTERS = {
  open: CROWD_OPEN,
  connected: CROWD_CONNECTED,
  failed: CROWD_FAILED,
  lost: CROWD_LOST,
  reconnected: CROWD_RECONNECTED,
  tried: CROWD_TRIED,
  pings: CROWD_PINGS,
  published: CROWD_PUBLISHED,
  received: CROWD_RECEIVED,
  withheld: CROWD_WITHHELD,
  accepted: CROWD_ACCEPTED,
  subscribed: CROWD_SUBSCRIBED,
  acknowledged: CROWD_ACKNOWLEDGED,
  holding: CROWD_HOLDING,
};

/** See CROWD_* for what each of them counts. */
export type CrowdFigures = Record<keyof typeof COUNTERS, number>;

/** What the clients of one ring do. Rates are events a second; patterns have the character NUL for the client's number. */
export interface SwarmSettings {
  role: 'swarm';
  clients: number;
  /** Number of the first one. */
  first: number;
  /** What is due is due at a multiple of it. */
  gridMs: number;
  connectRate: number;
  closeRate: number;
  keepAliveMs: number;
  /** Protocol level. */
  version: number;
  persistent: boolean;
  reconnect: boolean;
  publishRate: number;
  payloadBytes: number;
  qos: number;
  clientId: string;
  topic: string;
  /** Empty: nobody subscribes. */
  filter: string;
  username: string;
  password: string;
  /** Most of the ports between two addresses will be taken. */
  isCrowded: boolean;
  /** As encodeSockaddr makes them; taken in turn. */
  targets: readonly Uint8Array[];
  sources: readonly Uint8Array[];
}

export interface SinkSettings {
  role: 'sink';
  /** SINK_* */
  mode: number;
  /** Waiting on each listening socket. */
  accepts: number;
  listenerFds: readonly number[];
}

export class CrowdRing {
  readonly #base: number;
  readonly #view: DataView;
  readonly #memory: WebAssembly.Memory;
  readonly #thread: Worker;
  /** Resolves when its thread could run, and rejects with what keeps it from that. */
  readonly ready: Promise<unknown>;
  /** Resolves when its thread has returned, and rejects with what it died of. */
  readonly ended: Promise<unknown>;

  /** `slots`: connections that it can hold, an accept that waits being one. */
  constructor(settings: SwarmSettings | SinkSettings, slots: number) {
    const listenerFds = settings.role === 'sink' ? settings.listenerFds : [];
    this.#memory = createMemory(defaultSettings(slots, Math.max(1, listenerFds.length)), 0, NONE);
    this.#base = regionOffset(this.#memory, HEADER_REGION_SNAPSHOTS);
    this.#view = new DataView(this.#memory.buffer, this.#base);
    if (settings.role === 'sink') this.#writeSink(settings);
    else this.#writeSwarm(settings);
    const workerData: CrowdThreadStart = { memory: this.#memory, listenerFds };
    this.#thread = startLeanWorker(new URL('./crowd-thread.ts', import.meta.url), workerData);
    this.ready = once(this.#thread, 'message');
    this.ended = once(this.#thread, 'exit');
  }

  #writeSink({ mode, accepts, listenerFds }: SinkSettings): void {
    this.#set(CROWD_ROLE, ROLE_SINK);
    this.#set(CROWD_SINK_MODE, mode);
    this.#set(CROWD_ACCEPTS, accepts);
    this.#set(CROWD_LISTENER_COUNT, listenerFds.length);
  }

  #writeSwarm(settings: SwarmSettings): void {
    this.#set(CROWD_ROLE, ROLE_SWARM);
    this.#set(CROWD_CLIENTS, settings.clients);
    this.#set(CROWD_FIRST, settings.first);
    this.#set(CROWD_GRID_MS, settings.gridMs);
    this.#set(CROWD_KEEP_ALIVE_MS, settings.keepAliveMs);
    this.#set(CROWD_VERSION, settings.version);
    this.#set(CROWD_PERSISTENT, settings.persistent ? 1 : 0);
    this.#set(CROWD_RECONNECT, settings.reconnect ? 1 : 0);
    this.#set(CROWD_CROWDED, settings.isCrowded ? 1 : 0);
    this.#set(CROWD_QOS, settings.qos);
    this.#set(CROWD_PAYLOAD_BYTES, settings.payloadBytes);
    this.#view.setFloat64(CROWD_CONNECT_RATE, settings.connectRate, true);
    this.#view.setFloat64(CROWD_PUBLISH_RATE, settings.publishRate, true);
    this.#view.setFloat64(CROWD_CLOSE_RATE, settings.closeRate, true);
    this.#text(CROWD_CLIENT_ID, settings.clientId);
    this.#text(CROWD_TOPIC, settings.topic);
    this.#text(CROWD_FILTER, settings.filter);
    this.#text(CROWD_USERNAME, settings.username);
    this.#text(CROWD_PASSWORD, settings.password);
    this.#set(CROWD_TARGET_COUNT, settings.targets.length);
    for (const [index, sockaddr] of settings.targets.entries()) {
      this.#set(CROWD_TARGETS + index * MEMBER_BYTES + MEMBER_SOCKADDR_BYTES, sockaddr.length);
      this.#bytes(CROWD_TARGETS + index * MEMBER_BYTES + MEMBER_SOCKADDR, sockaddr);
    }
    this.#set(CROWD_SOURCE_COUNT, settings.sources.length);
    for (const [index, sockaddr] of settings.sources.entries()) {
      this.#set(CROWD_SOURCES + index * SOURCE_BYTES + SOURCE_SOCKADDR_BYTES, sockaddr.length);
      this.#bytes(CROWD_SOURCES + index * SOURCE_BYTES + SOURCE_SOCKADDR, sockaddr);
    }
  }

  #text(at: number, text: string): void {
    const bytes = Buffer.from(text);
    this.#set(at, bytes.length);
    this.#bytes(at + 4, bytes);
  }

  #bytes(at: number, bytes: Uint8Array): void {
    new Uint8Array(this.#memory.buffer, this.#base + at, bytes.length).set(bytes);
  }

  #set(field: number, value: number): void {
    this.#view.setUint32(field, value, true);
  }

  /** CROWD_WAIT, CROWD_RUN, CROWD_CLOSE or CROWD_STOP; who sleeps for another one notices within a moment. */
  setState(state: number): void {
    const word = new Int32Array(this.#memory.buffer, this.#base + CROWD_STATE, 1);
    Atomics.store(word, 0, state);
    Atomics.notify(word, 0);
  }

  /** CROWD_HOLDING. */
  held(): number {
    return Number(this.#view.getBigInt64(CROWD_HOLDING, true));
  }

  addTo(sum: CrowdFigures): void {
    for (const [name, at] of Object.entries(COUNTERS)) {
      sum[name as keyof CrowdFigures] += Number(this.#view.getBigInt64(at, true));
    }
  }

  /** Adds its ping latencies by bucket. */
  addHistogram(sum: Uint32Array): void {
    const counts = new Uint32Array(this.#memory.buffer, this.#base + CROWD_HISTOGRAM, HISTOGRAM_BUCKETS);
    for (let bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++) sum[bucket]! += counts[bucket]!;
  }

  /** Adds how many connections ended for each reason, by ENDED_*. */
  addReasons(sum: Uint32Array): void {
    const counts = new Uint32Array(this.#memory.buffer, this.#base + CROWD_REASONS, ENDED_COUNT);
    for (let reason = 0; reason < ENDED_COUNT; reason++) sum[reason]! += counts[reason]!;
  }
}
