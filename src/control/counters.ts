// Counters as the main thread sees them: every worker's, summed, and never falling, since what a dead worker had
// counted is kept. Each number is read with one 64-bit load, so none is seen half written.
import {
  ADMISSION_BYTES,
  ADMISSION_QUEUED,
  BACKEND_COUNTERS_ACTIVE,
  BACKEND_COUNTERS_BYTES,
  BACKEND_COUNTERS_BYTES_FROM,
  BACKEND_COUNTERS_BYTES_TO,
  BACKEND_COUNTERS_CHOSEN,
  BACKEND_COUNTERS_CONNECTS,
  BACKEND_COUNTERS_EXHAUSTED,
  BACKEND_COUNTERS_FAILURES,
  BACKEND_FIGURES,
  BACKEND_FIGURES_BYTES,
  BACKENDS_MAX,
  COUNTERS_ACCEPT_ERRORS,
  COUNTERS_ACCEPTED,
  COUNTERS_AGES,
  COUNTERS_ARENA_USED,
  COUNTERS_BUFFERS_HELD,
  COUNTERS_BUFFERS_STARVED,
  COUNTERS_BYTES,
  COUNTERS_BYTES_FROM_CLIENTS,
  COUNTERS_BYTES_TO_CLIENTS,
  COUNTERS_CLOSED,
  COUNTERS_COMPLETIONS,
  COUNTERS_CONNECTS,
  COUNTERS_HOOK_ASKED,
  COUNTERS_HOOK_BUSY,
  COUNTERS_HOOK_TIMEOUTS,
  COUNTERS_KEEP_ALIVES,
  COUNTERS_KEEP_ALIVES_LAST,
  COUNTERS_PROTOCOLS,
  COUNTERS_REASONS,
  COUNTERS_RECORDS_DROPPED,
  COUNTERS_SLOTS_USED,
  COUNTERS_TLS_HANDSHAKES,
  COUNTERS_TLS_RESUMED,
  COUNTERS_TURNS,
  GATE_ACTIVE,
  GATE_BYTES,
  GATE_QUEUED_TOTAL,
  GATE_WAITING,
  GATES_BACKENDS,
  GATES_LISTENERS,
  GATES_MAX,
  GATES_POOLS,
  HEADER_REGION_ADMISSION,
  HEADER_REGION_BACKEND_COUNTERS,
  HEADER_REGION_COUNTERS,
  HEADER_REGION_SOURCE_COUNTERS,
  POOL_IDS_MAX,
  PROTOCOLS_MAX,
  REASON_CONNECTIONS_MAX,
  REASON_NONE,
  SOURCE_COUNTERS_ACTIVE,
  SOURCE_COUNTERS_BYTES,
  SOURCE_COUNTERS_EXHAUSTED,
  SOURCE_IDS_MAX,
} from '../../assembly/layout.ts';
import { regionOffset } from '../header.ts';
import { reasons } from '../reasons.ts';
import {
  AGE_BOUNDS,
  type ByProtocol,
  FIGURES_LENGTH,
  type Figures,
  type HistogramReading,
  KEEP_ALIVE_BOUNDS,
  PROTOCOLS,
  PROTOCOLS_AT_END,
  readHistogram,
} from './figures.ts';

/** Numbers that only grow, by the names under which they are shown. */
const SUMS = {
  accepted: COUNTERS_ACCEPTED,
  closed: COUNTERS_CLOSED,
  bytesFromClients: COUNTERS_BYTES_FROM_CLIENTS,
  bytesToClients: COUNTERS_BYTES_TO_CLIENTS,
  recordsDropped: COUNTERS_RECORDS_DROPPED,
  buffersStarved: COUNTERS_BUFFERS_STARVED,
  turns: COUNTERS_TURNS,
  completions: COUNTERS_COMPLETIONS,
  acceptErrors: COUNTERS_ACCEPT_ERRORS,
  tlsHandshakes: COUNTERS_TLS_HANDSHAKES,
  tlsResumed: COUNTERS_TLS_RESUMED,
  hookAsked: COUNTERS_HOOK_ASKED,
  hookTimeouts: COUNTERS_HOOK_TIMEOUTS,
  hookBusy: COUNTERS_HOOK_BUSY,
};
/** Numbers of this moment: a dead worker has none. */
const GAUGES = {
  buffersHeld: COUNTERS_BUFFERS_HELD,
  arenaUsed: COUNTERS_ARENA_USED,
};

const SOURCES_BYTES = BACKENDS_MAX * SOURCE_IDS_MAX * SOURCE_COUNTERS_BYTES;

export type Sums = Record<keyof typeof SUMS, number>;
export type Gauges = Record<keyof typeof GAUGES, number>;

/** Of one backend, since the start. */
export interface BackendSums {
  /** Times that it was the choice, first or after another one's failure. */
  chosen: number;
  connects: number;
  failures: number;
  bytesTo: number;
  bytesFrom: number;
}

/** Of clients that wait until they may be dialled. */
export interface Queue {
  queued: number;
  queuedTotal: number;
}

/** Views over one worker's counters, made once: the judge reads them twenty times a second. */
export class WorkerCounters {
  readonly counters: BigUint64Array;
  readonly backends: BigUint64Array;
  /** BACKEND_FIGURES_BYTES for each backend. */
  readonly figures: BigUint64Array;
  /** SOURCE_IDS_MAX entries for each backend. */
  readonly sources: BigUint64Array;
  readonly #admission: Uint32Array;
  /** Of admission, the total of those who waited at each gate. */
  readonly #gates: BigUint64Array;
  readonly #gateGauges: Uint32Array;
  readonly #gauges: Uint32Array;
  readonly #sourceGauges: Uint32Array;

  constructor(memory: WebAssembly.Memory) {
    const backends = regionOffset(memory, HEADER_REGION_BACKEND_COUNTERS);
    this.counters = new BigUint64Array(memory.buffer, regionOffset(memory, HEADER_REGION_COUNTERS), COUNTERS_BYTES / 8);
    this.backends = new BigUint64Array(memory.buffer, backends, (BACKENDS_MAX * BACKEND_COUNTERS_BYTES) / 8);
    this.#gauges = new Uint32Array(memory.buffer, backends, (BACKENDS_MAX * BACKEND_COUNTERS_BYTES) / 4);
    this.figures = new BigUint64Array(
      memory.buffer,
      backends + BACKEND_FIGURES,
      (BACKENDS_MAX * BACKEND_FIGURES_BYTES) / 8,
    );
    const sources = regionOffset(memory, HEADER_REGION_SOURCE_COUNTERS);
    this.sources = new BigUint64Array(memory.buffer, sources, SOURCES_BYTES / 8);
    this.#sourceGauges = new Uint32Array(memory.buffer, sources, SOURCES_BYTES / 4);
    const admission = regionOffset(memory, HEADER_REGION_ADMISSION);
    this.#admission = new Uint32Array(memory.buffer, admission, ADMISSION_BYTES / 4);
    const gates = admission + ADMISSION_BYTES;
    this.#gates = new BigUint64Array(memory.buffer, gates, (GATES_MAX * GATE_BYTES) / 8);
    this.#gateGauges = new Uint32Array(memory.buffer, gates, (GATES_MAX * GATE_BYTES) / 4);
  }

  /** Connections that hold a slot now. */
  connections(): number {
    return Number(this.counters[COUNTERS_SLOTS_USED / 8]!);
  }

  /** Clients sent away because the table was full; where they wait in the kernel's queue instead, none. */
  turnedAway(): number {
    return Number(this.counters[(COUNTERS_REASONS + REASON_CONNECTIONS_MAX * 8) / 8]!);
  }

  activeOf(backend: number): number {
    return this.#gauges[(backend * BACKEND_COUNTERS_BYTES + BACKEND_COUNTERS_ACTIVE) / 4]!;
  }

  queued(): number {
    return this.#admission[ADMISSION_QUEUED / 4]!;
  }

  queuedTotalAt(gate: number): number {
    return Number(this.#gates[(gate * GATE_BYTES + GATE_QUEUED_TOTAL) / 8]!);
  }

  queuedAt(gate: number): number {
    return this.#gateGauges[(gate * GATE_BYTES + GATE_WAITING) / 4]!;
  }

  admittedAt(gate: number): number {
    return this.#gateGauges[(gate * GATE_BYTES + GATE_ACTIVE) / 4]!;
  }

  activeFrom(backend: number, source: number): number {
    return this.#sourceGauges[(sourceOffset(backend, source) + SOURCE_COUNTERS_ACTIVE) / 4]!;
  }
}

export class Totals {
  readonly #living = new Set<WorkerCounters>();
  readonly #retired = new BigUint64Array(COUNTERS_BYTES / 8);
  readonly #retiredBackends = new BigUint64Array((BACKENDS_MAX * BACKEND_COUNTERS_BYTES) / 8);
  /** Times that a source had no port left, by the offset of its counter: most never have. */
  readonly #retiredExhaustions = new Map<number, number>();
  /** By backend id: of those that were ever chosen. */
  readonly #retiredFigures = new Map<number, Figures>();
  /** Clients that waited, by gate: at most gates nobody has. */
  readonly #retiredQueued = new Map<number, number>();

  add(worker: WorkerCounters): void {
    this.#living.add(worker);
  }

  /** Keeps what it had counted; its memory is free to go. */
  retire(worker: WorkerCounters): void {
    if (!this.#living.has(worker)) return;
    for (const backend of this.backendsChosen()) this.#retiredFigures.set(backend, this.#figuresOf(backend, [worker]));
    this.#living.delete(worker);
    for (const [index, value] of worker.counters.entries()) this.#retired[index]! += value;
    for (const [index, value] of worker.backends.entries()) {
      if (value !== 0n) this.#retiredBackends[index]! += value;
    }
    this.#retireQueued(worker);
    for (let backend = 0; backend < BACKENDS_MAX; backend++) {
      const exhausted = worker.backends[(backend * BACKEND_COUNTERS_BYTES + BACKEND_COUNTERS_EXHAUSTED) / 8]!;
      if (exhausted !== 0n) this.#retireSources(worker, backend);
    }
  }

  #retireSources(worker: WorkerCounters, backend: number): void {
    for (let source = 0; source < SOURCE_IDS_MAX; source++) {
      const offset = sourceOffset(backend, source) + SOURCE_COUNTERS_EXHAUSTED;
      const kept = this.#retiredExhaustions.get(offset) ?? 0;
      this.#retiredExhaustions.set(offset, kept + Number(worker.sources[offset / 8]!));
    }
  }

  #retireQueued(worker: WorkerCounters): void {
    for (let gate = 0; gate < GATES_MAX; gate++) {
      const queued = worker.queuedTotalAt(gate);
      if (queued > 0) this.#retiredQueued.set(gate, (this.#retiredQueued.get(gate) ?? 0) + queued);
    }
  }

  connections(): number {
    let sum = 0;
    for (const worker of this.#living) sum += worker.connections();
    return sum;
  }

  activeOf(backend: number): number {
    let sum = 0;
    for (const worker of this.#living) sum += worker.activeOf(backend);
    return sum;
  }

  /** Open connections to the backend from one of its sources. */
  activeFrom(backend: number, source: number): number {
    let sum = 0;
    for (const worker of this.#living) sum += worker.activeFrom(backend, source);
    return sum;
  }

  /** Dials of the backend for which a source had no port left. */
  exhaustionsOf(backend: number): number {
    return this.#backendSum(backend, BACKEND_COUNTERS_EXHAUSTED);
  }

  /** Those of one source. */
  exhaustionsFrom(backend: number, source: number): number {
    const offset = sourceOffset(backend, source) + SOURCE_COUNTERS_EXHAUSTED;
    let sum = this.#retiredExhaustions.get(offset) ?? 0;
    for (const worker of this.#living) sum += Number(worker.sources[offset / 8]!);
    return sum;
  }

  /** Who waits in the queue of a pool now, and whoever has since the start. */
  queueOfPool(id: number): Queue {
    return this.#queueAt(GATES_POOLS + id);
  }

  /** Those of them who wait for this backend and no other. */
  queueOfBackend(id: number): Queue {
    return this.#queueAt(GATES_BACKENDS + id);
  }

  /** In the queues of all pools. */
  queued(): number {
    let sum = 0;
    for (const worker of this.#living) sum += worker.queued();
    return sum;
  }

  /** Clients of a listener whose CONNECT was taken. */
  admittedOf(listener: number): number {
    let sum = 0;
    for (const worker of this.#living) sum += worker.admittedAt(GATES_LISTENERS + listener);
    return sum;
  }

  #queueAt(gate: number): Queue {
    const queue = { queued: 0, queuedTotal: this.#retiredQueued.get(gate) ?? 0 };
    for (const worker of this.#living) {
      queue.queued += worker.queuedAt(gate);
      queue.queuedTotal += worker.queuedTotalAt(gate);
    }
    return queue;
  }

  connectCounts(id: number): { connects: number; failures: number } {
    return {
      connects: this.#backendSum(id, BACKEND_COUNTERS_CONNECTS),
      failures: this.#backendSum(id, BACKEND_COUNTERS_FAILURES),
    };
  }

  sumsOf(id: number): BackendSums {
    return {
      ...this.connectCounts(id),
      chosen: this.#backendSum(id, BACKEND_COUNTERS_CHOSEN),
      bytesTo: this.#backendSum(id, BACKEND_COUNTERS_BYTES_TO),
      bytesFrom: this.#backendSum(id, BACKEND_COUNTERS_BYTES_FROM),
    };
  }

  /** Ids of the backends that were ever the choice. */
  backendsChosen(): number[] {
    const ids = Array.from({ length: BACKENDS_MAX }, (_, id) => id);
    return ids.filter((id) => this.#backendSum(id, BACKEND_COUNTERS_CHOSEN) > 0);
  }

  /** A backend's CONNACKs and latencies, see figures.ts. */
  figuresOf(id: number): Figures {
    return this.#figuresOf(id, this.#living);
  }

  #figuresOf(id: number, workers: Iterable<WorkerCounters>): Figures {
    const sums = this.#retiredFigures.get(id)?.slice() ?? new Float64Array(FIGURES_LENGTH);
    const first = (id * BACKEND_FIGURES_BYTES) / 8;
    for (const { backends, figures } of workers) {
      // Most memory of figures was never touched, and need not be by reading it.
      if (backends[(id * BACKEND_COUNTERS_BYTES + BACKEND_COUNTERS_CHOSEN) / 8] === 0n) continue;
      for (let index = 0; index < FIGURES_LENGTH; index++) sums[index]! += Number(figures[first + index]!);
    }
    return sums;
  }

  /** CONNECTs for one pool, or for all that there ever were; "other" are those refused for their version. */
  connectsByProtocol(pool?: number): ByProtocol {
    const pools = pool === undefined ? Array.from({ length: POOL_IDS_MAX }, (_, id) => id) : [pool];
    return mapValues(PROTOCOLS, (protocol) =>
      pools.reduce((sum, id) => sum + this.#sum(COUNTERS_CONNECTS + (id * PROTOCOLS_MAX + protocol) * 8), 0),
    );
  }

  /** Connections that ended; "unknown" are those that never said their version. */
  closedByProtocol(): Record<keyof typeof PROTOCOLS_AT_END, number> {
    return mapValues(PROTOCOLS_AT_END, (protocol) => this.#sum(COUNTERS_PROTOCOLS + protocol * 8));
  }

  /** As clients asked for it in CONNECT, in seconds. */
  keepAlives(): HistogramReading {
    return readHistogram(KEEP_ALIVE_BOUNDS, (offset) => this.#sum(COUNTERS_KEEP_ALIVES + offset));
  }

  /** As it was in force when a connection that had reached a backend ended. */
  keepAlivesLast(): HistogramReading {
    return readHistogram(KEEP_ALIVE_BOUNDS, (offset) => this.#sum(COUNTERS_KEEP_ALIVES_LAST + offset));
  }

  /** How long such connections had lasted, in seconds. */
  ages(): HistogramReading {
    return readHistogram(AGE_BOUNDS, (offset) => this.#sum(COUNTERS_AGES + offset), 1000);
  }

  sums(): Sums {
    return mapValues(SUMS, (offset) => this.#sum(offset));
  }

  gauges(): Gauges {
    return mapValues(GAUGES, (offset) => this.#gauge(offset));
  }

  /** Connections that ended, by the reason's name. */
  byReason(): Record<string, number> {
    const counts = reasons.flatMap((reason, index): [string, number][] =>
      reason === undefined || index === REASON_NONE ? [] : [[reason.name, this.#sum(COUNTERS_REASONS + index * 8)]],
    );
    return Object.fromEntries(counts);
  }

  /** Everything by name, each reason under its own. */
  named(): Record<string, number> {
    return { ...this.sums(), ...this.gauges(), ...this.byReason() };
  }

  #sum(offset: number): number {
    return Number(this.#retired[offset / 8]!) + this.#gauge(offset);
  }

  #gauge(offset: number): number {
    let sum = 0;
    for (const worker of this.#living) sum += Number(worker.counters[offset / 8]!);
    return sum;
  }

  #backendSum(id: number, offset: number): number {
    const index = (id * BACKEND_COUNTERS_BYTES + offset) / 8;
    let sum = Number(this.#retiredBackends[index]!);
    for (const worker of this.#living) sum += Number(worker.backends[index]!);
    return sum;
  }
}

function sourceOffset(backend: number, source: number): number {
  return (backend * SOURCE_IDS_MAX + source) * SOURCE_COUNTERS_BYTES;
}

function mapValues<Name extends string>(
  values: Record<Name, number>,
  change: (value: number) => number,
): Record<Name, number> {
  const changed = Object.entries<number>(values).map(([name, value]) => [name, change(value)]);
  return Object.fromEntries(changed);
}
