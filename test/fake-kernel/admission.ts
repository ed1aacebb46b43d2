// Rates, queues and limits of one simulation, and what the data plane must make of them: never more open than allowed,
// nothing dialled before its token, first come, first served.
import {
  ADMISSION_BYTES,
  ADMISSION_LEASES_WRITTEN,
  BACKEND_LIMITS_BURST,
  BACKEND_LIMITS_BYTES,
  BACKEND_LIMITS_MAX_CONNECTIONS,
  BACKEND_LIMITS_RATE,
  GATE_ACTIVE,
  GATE_ALLOWANCE,
  GATE_BYTES,
  GATE_HEAD,
  GATE_IS_FULL,
  GATE_WAITING,
  GATES_BACKENDS,
  GATES_LEASES,
  GATES_LISTENERS,
  GATES_MAX,
  GATES_POOLS,
  HEADER_OFFSET,
  HEADER_REGION_ADMISSION,
  LEASE_WAIT_MS,
  LISTENER_LIMITS_BYTES,
  LISTENER_LIMITS_MAX_CONNECTIONS,
  LISTENER_LIMITS_MAX_HALF_OPEN,
  LISTENER_LIMITS_MAX_PER_SOURCE,
  LISTENER_LIMITS_SOURCE_BURST,
  LISTENER_LIMITS_SOURCE_PREFIXES,
  LISTENER_LIMITS_SOURCE_RATE,
  LISTENER_LIMITS_TAKE_OVERS,
  NONE,
  PLACE_BYTES,
  PLACE_NEXT,
  POOL_LIMITS_BURST,
  POOL_LIMITS_IS_LIMITED,
  POOL_LIMITS_MAX_CONNECTIONS,
  POOL_LIMITS_QUEUE_MAX,
  POOL_LIMITS_QUEUE_TIMEOUT_MS,
  POOL_LIMITS_RATE,
  SNAPSHOT_BACKEND_LIMITS,
  SNAPSHOT_LISTENER_LIMITS,
  SNAPSHOT_POOL_LIMITS,
  SOURCE_COUNT_BYTES,
  TALLY_BYTES,
} from '../../assembly/layout.ts';
import type { Random } from '../tools/random.ts';
import type { Kernel } from './kernel.ts';
import type { Life } from './life.ts';
import { LISTENERS_MAX } from './listeners.ts';
import {
  PHASE_DIALLING,
  PHASE_GREETING,
  PHASE_OPEN,
  PHASE_QUEUED,
  PHASE_READING,
  type PlaneView,
} from './plane-view.ts';
import { Violation } from './violation.ts';

/** 0: no limit. */
export interface Limits {
  rate: number;
  burst: number;
  queueMax: number;
  queueTimeoutMs: number;
  listener: number;
  perSource: number;
  pool: number;
  backend: number;
  backendRate: number;
  backendBurst: number;
  /** Nothing but its clients changes, so that nobody has a reason to overtake. */
  isOrderly: boolean;
  /** How often another worker's part of a limit grows or shrinks. */
  leaseFlips: number;
  /** How many addresses the clients come from; 0: each from its own. */
  sources: number;
  /** At once, of those whose CONNECT isn't whole; 0: as many as the data plane thinks fit. */
  halfOpen: number;
  /** Arrivals of one source. */
  sourceRate: number;
  sourceBurst: number;
  /** Of which the snapshots have one after the other. */
  prefixes: readonly Prefix[];
}

export interface Prefix {
  ipv4: number;
  ipv6: number;
}

/** The widest sources of any, and the narrowest. */
const WIDEST: Prefix = { ipv4: 24, ipv6: 48 };
const NARROWEST: Prefix = { ipv4: 32, ipv6: 64 };

const NO_LIMITS: Limits = {
  rate: 0,
  burst: 0,
  queueMax: 0,
  queueTimeoutMs: 0,
  listener: 0,
  perSource: 0,
  pool: 0,
  backend: 0,
  backendRate: 0,
  backendBurst: 0,
  isOrderly: false,
  leaseFlips: 0,
  sources: 0,
  halfOpen: 1000,
  sourceRate: 0,
  sourceBurst: 1,
  prefixes: [NARROWEST],
};

/** Backends of the world, by id. */
const BACKENDS = 8;
/** A token that came while nobody took it is kept for so long; what was decided is done so much later. */
const CATCH_UP_S = 0.1;
const SUBMITTED_S = 0.05;
/** After a pause deadlines are put off. */
const LATE_MS = 1500;
/** Without any, they are late by a few ticks of the timer wheel. */
const TICKS_MS = 400;
/** From an entry to what it does. */
const DONE_MS = 50;

export function planLimits(random: Random): Limits {
  if (random.chance(0.6)) return NO_LIMITS;
  if (random.chance(0.3)) return planCrowd(random);
  const limit = (chance: number, max: number) => (random.chance(chance) ? random.magnitude(1, max) : 0);
  const perSource = limit(0.4, 6);
  return {
    rate: limit(0.6, 3000),
    burst: random.magnitude(1, 20),
    queueMax: random.pick([0, 1, 3, 20, 1000]),
    queueTimeoutMs: random.magnitude(50, 3000),
    listener: limit(0.3, 40),
    perSource,
    pool: limit(0.4, 40),
    backend: limit(0.4, 20),
    backendRate: limit(0.4, 1000),
    backendBurst: random.magnitude(1, 10),
    isOrderly: false,
    leaseFlips: random.chance(0.5) ? random.integer(1, 40) : 0,
    sources: perSource > 0 ? random.integer(1, 16) : 0,
    halfOpen: 1000,
    sourceRate: 0,
    sourceBurst: 1,
    prefixes: [NARROWEST],
  };
}

/** What holds for those who have said nothing yet, beside the rest. */
export function planArrivals(random: Random, limits: Limits): Limits {
  if (limits.isOrderly || random.chance(0.4)) return limits;
  const sourceRate = random.chance(0.4) ? random.magnitude(1, 300) : 0;
  const prefixes = [NARROWEST, { ipv4: 30, ipv6: 56 }, WIDEST];
  return {
    ...limits,
    halfOpen: random.pick([0, 1000, random.integer(1, 6)]),
    sourceRate,
    sourceBurst: random.integer(1, 5),
    sources: limits.sources || (sourceRate > 0 ? random.integer(1, 16) : 0),
    prefixes: random.pick([[NARROWEST], [random.pick(prefixes)], prefixes]),
  };
}

/** The client's source by the widest prefix or by the narrowest: what stands between them nobody can tell. */
export function sourceOfClient(sockaddr: Uint8Array, isWide: boolean): string {
  const { ipv4, ipv6 } = isWide ? WIDEST : NARROWEST;
  const hex = Buffer.from(sockaddr).toString('hex');
  if (sockaddr.length === 16) return hex.slice(8, 8 + ipv4 / 4);
  const isMapped = hex.startsWith('00000000000000000000ffff', 16);
  return isMapped ? hex.slice(40, 40 + ipv4 / 4) : hex.slice(16, 16 + ipv6 / 4);
}

/** Nothing stands in anybody's way but who came before, and the rate. */
function planCrowd(random: Random): Limits {
  const [rate, burst] = [random.magnitude(200, 5000), random.integer(1, 3)];
  return { ...NO_LIMITS, isOrderly: true, rate, burst, queueMax: 1000, queueTimeoutMs: random.magnitude(50, 3000) };
}

export function writeLimits(snapshot: Uint8Array, listenerCount: number, limits: Limits, prefix: Prefix): void {
  const view = new DataView(snapshot.buffer, snapshot.byteOffset);
  const write = (offset: number, value: number) => view.setUint32(offset, value, true);
  for (let index = 0; index < listenerCount; index++) {
    const listener = SNAPSHOT_LISTENER_LIMITS + index * LISTENER_LIMITS_BYTES;
    write(listener + LISTENER_LIMITS_MAX_CONNECTIONS, limits.listener);
    write(listener + LISTENER_LIMITS_MAX_PER_SOURCE, limits.perSource);
    write(listener + LISTENER_LIMITS_MAX_HALF_OPEN, limits.halfOpen);
    write(listener + LISTENER_LIMITS_TAKE_OVERS, 1);
    write(listener + LISTENER_LIMITS_SOURCE_RATE, limits.sourceRate);
    write(listener + LISTENER_LIMITS_SOURCE_BURST, limits.sourceBurst);
    write(listener + LISTENER_LIMITS_SOURCE_PREFIXES, prefix.ipv4 | (prefix.ipv6 << 8));
  }
  const isLimited = [limits.rate, limits.pool, limits.backend, limits.backendRate].some((limit) => limit > 0);
  write(SNAPSHOT_POOL_LIMITS + POOL_LIMITS_IS_LIMITED, Number(isLimited));
  write(SNAPSHOT_POOL_LIMITS + POOL_LIMITS_RATE, limits.rate);
  write(SNAPSHOT_POOL_LIMITS + POOL_LIMITS_BURST, limits.burst);
  write(SNAPSHOT_POOL_LIMITS + POOL_LIMITS_MAX_CONNECTIONS, limits.pool);
  write(SNAPSHOT_POOL_LIMITS + POOL_LIMITS_QUEUE_MAX, limits.queueMax);
  write(SNAPSHOT_POOL_LIMITS + POOL_LIMITS_QUEUE_TIMEOUT_MS, limits.queueTimeoutMs);
  for (let id = 0; id < BACKENDS; id++) {
    const backend = SNAPSHOT_BACKEND_LIMITS + id * BACKEND_LIMITS_BYTES;
    write(backend + BACKEND_LIMITS_RATE, limits.backendRate);
    write(backend + BACKEND_LIMITS_BURST, limits.backendBurst);
    write(backend + BACKEND_LIMITS_MAX_CONNECTIONS, limits.backend);
  }
}

/** Dials that follow one another no faster than tokens come. */
class Pace {
  #level = 0;
  #atMs = 0;
  readonly #rate: number;
  readonly #room: number;

  constructor(rate: number, burst: number) {
    this.#rate = rate;
    this.#room = Math.max(burst, rate * CATCH_UP_S) + rate * SUBMITTED_S + 1;
  }

  /** False when it comes too soon. */
  step(decidedMs: number): boolean {
    const atMs = Math.max(decidedMs, this.#atMs);
    this.#level = Math.max(0, this.#level - (this.#rate * (atMs - this.#atMs)) / 1000) + 1;
    this.#atMs = atMs;
    return this.#rate === 0 || this.#level <= this.#room;
  }
}

export class Gatekeeper {
  readonly limits: Limits;
  readonly #words: Uint32Array;
  readonly #region: number;
  readonly #connectionsMax: number;
  readonly #pace: Pace;
  readonly #backendPaces: Pace[];
  /** Who stood in which lane when it was last looked at. */
  readonly #lanes = new Map<number, number[]>();
  readonly #dialledAt: number[] = [];
  /** When those in a lane were first seen there. */
  readonly #since = new Map<number, number>();
  /** Of every slot, when it was last looked at. */
  readonly #phases: number[] = [];
  /** How fast they come, by source and listener. */
  readonly #sourcePaces = new Map<string, Pace>();
  /** The life that was last seen in each slot. */
  readonly #seen: number[] = [];
  /** Rates and backends stay what they are, so that nobody has a reason to overtake. */
  readonly #isSettled: boolean;

  constructor(memory: WebAssembly.Memory, limits: Limits, connectionsMax: number, isSettled: boolean) {
    this.limits = limits;
    this.#words = new Uint32Array(memory.buffer);
    this.#region = this.#words[(HEADER_OFFSET + HEADER_REGION_ADMISSION) / 4]!;
    this.#connectionsMax = connectionsMax;
    // Who waits for another worker's part is passed by those who need none.
    this.#isSettled = isSettled && limits.leaseFlips === 0;
    this.#pace = new Pace(limits.rate, limits.burst);
    this.#backendPaces = Array.from({ length: BACKENDS }, () => new Pace(limits.backendRate, limits.backendBurst));
  }

  /** All of every limit is this worker's, or a part. */
  lend(random: Random | null): void {
    const lend = (gate: number, limit: number) => {
      const allowance = random?.chance(0.6) ? random.integer(0, limit) : limit;
      this.#set(gate, GATE_ALLOWANCE, allowance);
      this.#set(gate, GATE_IS_FULL, Number(allowance === limit || random!.chance(0.3)));
    };
    for (let listener = 0; listener < LISTENERS_MAX; listener++) lend(GATES_LISTENERS + listener, this.limits.listener);
    lend(GATES_POOLS, this.limits.pool);
    for (let id = 0; id < BACKENDS; id++) lend(GATES_BACKENDS + id, this.limits.backend);
    this.#words[(this.#region + ADMISSION_LEASES_WRITTEN) / 4]!++;
  }

  // ---- Checks

  /** A dial begins that costs a token. */
  onDial(life: Life, decidedMs: number): void {
    this.#dialledAt.push(decidedMs);
    if (!this.#pace.step(decidedMs))
      throw new Violation('a client is dialled before there is a token for it', life.about);
  }

  /** It has come to its backend. */
  onConnect(life: Life, backend: number, others: readonly (Life | undefined)[], decidedMs: number): void {
    if (!this.#backendPaces[backend]!.step(decidedMs))
      throw new Violation(`backend ${backend} is dialled before it has a token`, life.about);
    const { pool, backend: most } = this.limits;
    const open = others.filter((other): other is Life => other !== undefined && other !== life && other.isOpen);
    if (pool > 0 && open.length >= pool) throw new Violation(`${open.length + 1} clients of ${pool}`, life.about);
    const there = open.filter((other) => other.backend!.id === backend).length;
    if (most > 0 && there >= most)
      throw new Violation(`${there + 1} connections of ${most} to backend ${backend}`, life.about);
  }

  /** Lanes are whole, nobody has overtaken, and nobody waits for too long. */
  checkLanes({ plane, files }: Kernel, nowMs: number, jumpedMs: number): void {
    this.#checkNewcomers(plane);
    const queued: number[] = [];
    for (const gate of this.#lanesLookedAt()) {
      const slots = this.#slotsIn(gate);
      queued.push(...slots);
      this.#checkOrder(gate, slots, plane);
    }
    for (const slot of queued) {
      if (plane.phase(slot) !== PHASE_QUEUED)
        throw new Violation('a slot that does not wait stands in a lane', { slot });
    }
    const counted = this.#gauge(GATES_POOLS, GATE_WAITING);
    if (queued.length !== counted) throw new Violation(`${queued.length} wait, and ${counted} are counted`);
    if (counted > this.limits.queueMax) throw new Violation(`${counted} wait where ${this.limits.queueMax} may`);
    this.#checkWaits(queued, files, nowMs - jumpedMs, jumpedMs > 0 ? LATE_MS : TICKS_MS);
  }

  #checkWaits(queued: readonly number[], files: Kernel['files'], time: number, lateMs: number): void {
    const before = new Map(this.#since);
    this.#since.clear();
    const leaseWaitMs = this.limits.leaseFlips > 0 ? LEASE_WAIT_MS : 0;
    for (const slot of queued) {
      const since = before.get(slot) ?? time;
      this.#since.set(slot, since);
      if (time - since > this.limits.queueTimeoutMs + leaseWaitMs + lateMs)
        throw new Violation('a client waits for longer than it may', { slot });
      if (time - since > DONE_MS && files[slot * 2 + 1])
        throw new Violation('a client that waits has a socket to a backend', { slot });
    }
  }

  /** Who was being read is dialled though somebody waits who did so before. */
  #checkNewcomers(plane: PlaneView): void {
    if (this.limits.rate === 0 || !this.#isSettled) return;
    const [first] = this.#lanes.get(GATES_POOLS) ?? [];
    const goesOnWaiting = first !== undefined && this.#slotsIn(GATES_POOLS).includes(first);
    for (let slot = 0; slot < this.#connectionsMax; slot++) {
      const phase = plane.phase(slot);
      if (goesOnWaiting && this.#phases[slot] === PHASE_READING && isDialled(phase))
        throw new Violation('a client that has just come is dialled before those who wait', { slot });
      this.#phases[slot] = phase;
    }
  }

  /** Of those who have come, no source has too many or brings them too fast, and not too many are half open. */
  checkArrivals({ plane, files }: Kernel, lives: readonly (Life | undefined)[], nowMs: number): void {
    const { halfOpen, perSource } = this.limits;
    const counts = new Map<string, number>();
    for (let slot = 0; slot < this.#connectionsMax; slot++) {
      const life = isThere(plane.phase(slot)) ? lives[files[slot * 2]?.peer?.life ?? NONE] : undefined;
      if (life === undefined) continue;
      if (plane.phase(slot) === PHASE_READING) add(counts, `half-open ${life.listener}`, halfOpen, life);
      if (life.hasHeader) continue;
      add(counts, life.narrowSource, perSource, life);
      if (this.#seen[slot] !== life.index) this.#checkPace(life, nowMs);
      this.#seen[slot] = life.index;
    }
  }

  #checkPace(life: Life, nowMs: number): void {
    const { sourceRate, sourceBurst, prefixes } = this.limits;
    if (prefixes.length > 1) return; // other prefixes make other sources, which begin anew
    const pace = this.#sourcePaces.get(life.narrowSource) ?? new Pace(sourceRate, sourceBurst);
    this.#sourcePaces.set(life.narrowSource, pace);
    if (!pace.step(nowMs)) throw new Violation('a source brings more clients than it may', life.about);
  }

  /** By that time it has waited as long as it may: others were dialled meanwhile, as many as there were tokens. */
  hasBeenBusy(nowMs: number): boolean {
    const { rate, backendRate, leaseFlips, queueTimeoutMs } = this.limits;
    if (rate === 0 || backendRate > 0 || leaseFlips > 0) return true;
    const wanted = Math.floor((rate * queueTimeoutMs) / 2000) - 1;
    return this.#dialledAt.filter((at) => at >= nowMs - queueTimeoutMs - LATE_MS).length >= wanted;
  }

  // The order of a lane stays, and nobody is dialled before those who stood in front of it.
  #checkOrder(gate: number, slots: number[], plane: PlaneView): void {
    const before = this.#lanes.get(gate) ?? [];
    this.#lanes.set(gate, slots);
    if (!this.#isSettled || gate === GATES_LEASES) return;
    const left = before.filter((slot) => slots.includes(slot));
    if (left.some((slot, index) => slot !== slots[index]))
      throw new Violation('a lane has changed its order', { slot: left[0]! });
    const first = before.findIndex((slot) => slots.includes(slot));
    const dialled = before.slice(first < 0 ? before.length : first).find((slot) => isDialled(plane.phase(slot)));
    if (dialled !== undefined)
      throw new Violation('a client is dialled before one that came sooner', { slot: dialled });
  }

  /** Nobody is there: nobody is counted. */
  checkEmpty(): void {
    for (let gate = 0; gate < GATES_MAX; gate++) {
      const active = this.#gauge(gate, GATE_ACTIVE);
      const waiting = this.#gauge(gate, GATE_WAITING);
      if (active + waiting + this.#gauge(gate, GATE_HEAD) > 0)
        throw new Violation(`gate ${gate} is left with ${active} connections and ${waiting} that wait`);
    }
    const tallies = Math.ceil((this.#connectionsMax * TALLY_BYTES) / 16) * 16;
    const first = this.#places + this.#connectionsMax * PLACE_BYTES + tallies;
    const entries = 2 ** Math.ceil(Math.log2(2 * this.#connectionsMax));
    for (let entry = 0; entry < entries; entry++) {
      const connections = this.#words[(first + entry * SOURCE_COUNT_BYTES + 12) / 4];
      if (connections !== 0) throw new Violation(`a source is left with ${connections} connections`);
    }
  }

  *#lanesLookedAt(): Iterable<number> {
    yield GATES_POOLS;
    yield GATES_LEASES;
    for (let id = 0; id < BACKENDS; id++) yield GATES_BACKENDS + id;
  }

  #slotsIn(gate: number): number[] {
    const slots: number[] = [];
    for (let slot = this.#gauge(gate, GATE_HEAD) - 1; slot >= 0; slot = this.#next(slot)) {
      slots.push(slot);
      if (slots.length > this.#connectionsMax) throw new Violation('a lane has no end', { slot });
    }
    return slots;
  }

  #next(slot: number): number {
    return this.#words[(this.#places + slot * PLACE_BYTES + PLACE_NEXT) / 4]! - 1;
  }

  get #places(): number {
    return this.#region + ADMISSION_BYTES + GATES_MAX * GATE_BYTES;
  }

  #gauge(gate: number, field: number): number {
    return this.#words[(this.#region + ADMISSION_BYTES + gate * GATE_BYTES + field) / 4]!;
  }

  #set(gate: number, field: number, value: number): void {
    this.#words[(this.#region + ADMISSION_BYTES + gate * GATE_BYTES + field) / 4] = value;
  }
}

function add(counts: Map<string, number>, what: string, most: number, life: Life): void {
  const count = (counts.get(what) ?? 0) + 1;
  counts.set(what, count);
  if (most > 0 && count > most) throw new Violation(`${count} of ${most}: ${what}`, life.about);
}

/** Accepted, and not being closed. */
function isThere(phase: number): boolean {
  return [PHASE_READING, PHASE_QUEUED, PHASE_DIALLING, PHASE_GREETING, PHASE_OPEN].includes(phase);
}

function isDialled(phase: number): boolean {
  return phase === PHASE_DIALLING || phase === PHASE_GREETING;
}
