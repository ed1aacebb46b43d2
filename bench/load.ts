// MQTT clients and the sink broker behind the proxy under test, from the bench's side: one thread where its ring's file
// table holds both ends of every connection, else one for the clients and one for the sink.
import { AF_INET, IPPROTO_TCP, TCP_NODELAY } from '../assembly/uring/abi.ts';
import {
  bind,
  close,
  decodeSockaddr,
  encodeSockaddr,
  getrlimit,
  getsockname,
  listen,
  RLIMIT_NOFILE,
  SO_REUSEADDR,
  SOL_SOCKET,
  setsockopt,
  socket,
} from '../src/system/libc.ts';
import { MODE_CHURN } from './layout.ts';
import { type Figures, LoadRing, type RingSettings } from './load-ring.ts';

export type { Figures } from './load-ring.ts';

/** A slot has two places in the ring's file table, of which a client or a connection of the sink uses one. */
const FILES_PER_SLOT = 2;
/** For accepts that wait and connections that are still closing. */
const SLOTS_SPARE = 512;
const BACKLOG = 4096;
const DIALS_MAX = 64;

export interface LoadSettings {
  mode: number;
  clients: number;
  messageBytes?: number;
  depth?: number;
  rate?: number;
  spin?: boolean;
  /** Clients connect, but nobody sends before resume(). */
  waits?: boolean;
  dialsMax?: number;
  firstId?: number;
  target: { host: string; port: number };
  /** Omitted: clients only, which share the sink of another load. */
  sink?: Sink | undefined;
  /** Connections that the sink must hold besides those of this load's own clients. */
  guests?: number;
}

/** The brokers' listening sockets. They outlive the loads: a late dial finds a queue, never a refusal. */
export class Sink {
  readonly listenerFds: readonly number[];
  /** Of each host; the real ones where 0 was asked for. */
  readonly ports: readonly number[];

  constructor(hosts: readonly string[], port: number) {
    this.listenerFds = hosts.map((host) => listenAt(host, port));
    this.ports = this.listenerFds.map((fd) => decodeSockaddr(getsockname(fd)).port);
  }

  close(): void {
    for (const fd of this.listenerFds) close(fd);
  }
}

function listenAt(host: string, port: number): number {
  const fd = socket(AF_INET);
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  bind(fd, encodeSockaddr(host, port));
  listen(fd, BACKLOG);
  return fd;
}

/** What can be measured, whatever makes it. */
export interface RunningLoad {
  pause(): void;
  resume(): void;
  figures(): Figures;
  /** Milliseconds from the first dial to the last CONNACK; 0 while not all are connected. */
  connectMs(): number;
  /** Latencies counted since the start, by bucket; see latency.ts. */
  histogram(): Uint32Array;
  stop(): Promise<void>;
}

export class Load implements RunningLoad {
  readonly #clients: LoadRing;
  readonly #rings: readonly LoadRing[];

  constructor(settings: LoadSettings) {
    const { clients, sink } = settings;
    const filled: RingSettings = {
      messageBytes: 64,
      depth: 1,
      rate: 0,
      spin: false,
      waits: false,
      dialsMax: DIALS_MAX,
      firstId: 1,
      ...settings,
      listenerFds: sink?.listenerFds ?? [],
      slots: slotsFor(settings),
    };
    if (sink === undefined || filled.slots <= ringSlotsMax()) {
      this.#clients = new LoadRing(filled);
      this.#rings = [this.#clients];
      return;
    }
    const slots = clients + SLOTS_SPARE;
    const sinkRing = new LoadRing({ ...filled, clients: 0, rate: 0, slots });
    this.#clients = new LoadRing({ ...filled, listenerFds: [], slots });
    this.#rings = [this.#clients, sinkRing];
  }

  pause(): void {
    for (const ring of this.#rings) ring.pause();
  }

  resume(): void {
    for (const ring of this.#rings) ring.resume();
  }

  figures(): Figures {
    return sumFigures(this.#rings.map((ring) => ring.figures()));
  }

  connectMs(): number {
    return this.#clients.connectMs();
  }

  histogram(): Uint32Array {
    return this.#clients.histogram();
  }

  async stop(): Promise<void> {
    await Promise.all(this.#rings.map((ring) => ring.stop()));
  }
}

export function sumFigures(all: readonly Figures[]): Figures {
  const sum: Figures = { connected: 0, failed: 0, messages: 0, open: 0, turns: 0, completions: 0 };
  for (const one of all) {
    for (const [name, value] of Object.entries(one)) sum[name as keyof Figures] += value;
  }
  return sum;
}

function slotsFor({ mode, clients, sink, guests = 0 }: LoadSettings): number {
  const ends = (sink === undefined ? clients : 2 * clients) + guests;
  // Lives that are over wait for their close, and in churn there are many.
  return mode === MODE_CHURN ? 4 * ends + SLOTS_SPARE : ends + SLOTS_SPARE;
}

function ringSlotsMax(): number {
  return Math.floor(getrlimit(RLIMIT_NOFILE).hard / FILES_PER_SLOT);
}
