// max_connections over all workers, who know nothing of one another: of each limit every worker has a part, its
// allowance, and admits nobody beyond it. The parts never add up to more than the limit. Who runs short says so, and
// gets what others don't use.
//
// A part is made smaller before another grows: the worker may be letting somebody in just now. So its old part counts
// until it has been seen to decide by the new one, and after that what it really has, if that is more.
import {
  ADMISSION_BYTES,
  ADMISSION_LEASES_SEEN,
  ADMISSION_LEASES_WRITTEN,
  ADMISSION_WORKERS,
  BACKEND_COUNTERS_ACTIVE,
  BACKEND_COUNTERS_BYTES,
  BACKEND_LIMITS_BYTES,
  BACKEND_LIMITS_MAX_CONNECTIONS,
  BACKENDS_MAX,
  GATE_ACTIVE,
  GATE_ALLOWANCE,
  GATE_BYTES,
  GATE_IS_FULL,
  GATE_WANTED,
  GATES_BACKENDS,
  GATES_LISTENERS,
  GATES_POOLS,
  HEADER_REGION_ADMISSION,
  HEADER_REGION_BACKEND_COUNTERS,
  LEASE_WAIT_MS,
  LISTENER_LIMITS_BYTES,
  LISTENER_LIMITS_MAX_CONNECTIONS,
  POOL_LIMITS_BYTES,
  POOL_LIMITS_ID,
  POOL_LIMITS_MAX_CONNECTIONS,
  SNAPSHOT_BACKEND_LIMITS,
  SNAPSHOT_LISTENER_COUNT,
  SNAPSHOT_LISTENER_LIMITS,
  SNAPSHOT_POOL_COUNT,
  SNAPSHOT_POOL_LIMITS,
} from '../../assembly/layout.ts';
import { type Memory, regionOffset } from '../header.ts';

/** How often parts are compared with what is needed. */
export const LEASE_POLL_MS = 50;
const LOOKS_WANTING = Math.ceil(LEASE_WAIT_MS / LEASE_POLL_MS);

/** Of one worker's gate. */
interface Lease {
  allowance: number;
  /** The largest part that it may still be deciding by; `allowance` when it has seen that one. */
  ceiling: number;
  /** How often it had wanted more, when last looked at. */
  wanted: number;
  /** For how many looks it goes on wanting: as long as its clients wait. */
  looksWanting: number;
}

/** One worker's life, as far as admission goes. */
class Tenant {
  readonly leases = new Map<number, Lease>();
  readonly wake: () => void;
  readonly #words: Uint32Array;
  readonly #region: number;
  readonly #backends: number;
  #version = 0;
  #isTold = true;

  constructor(memory: Memory, workerCount: number, wake: () => void) {
    this.wake = wake;
    this.#words = new Uint32Array(memory.buffer);
    this.#region = regionOffset(memory, HEADER_REGION_ADMISSION) / 4;
    this.#backends = regionOffset(memory, HEADER_REGION_BACKEND_COUNTERS) / 4;
    this.#words[this.#region + ADMISSION_WORKERS / 4] = workerCount;
  }

  /** Connections that count for the gate now. */
  active(gate: number): number {
    const backend = gate - GATES_BACKENDS;
    return backend < 0
      ? this.#load(gate, GATE_ACTIVE)
      : Atomics.load(this.#words, this.#backends + (backend * BACKEND_COUNTERS_BYTES + BACKEND_COUNTERS_ACTIVE) / 4);
  }

  wanted(gate: number): number {
    return this.#load(gate, GATE_WANTED);
  }

  /** All that it was told, it decides by. */
  hasSeen(): boolean {
    return Atomics.load(this.#words, this.#region + ADMISSION_LEASES_SEEN / 4) === this.#version;
  }

  tell(gate: number, allowance: number, isFull: boolean): void {
    if (this.#load(gate, GATE_ALLOWANCE) === allowance && this.#load(gate, GATE_IS_FULL) === Number(isFull)) return;
    this.#store(gate, GATE_ALLOWANCE, allowance);
    this.#store(gate, GATE_IS_FULL, Number(isFull));
    this.#isTold = false;
  }

  /** What was told counts from here on. */
  publish(): void {
    if (this.#isTold) return;
    this.#isTold = true;
    this.#version = (this.#version + 1) >>> 0;
    Atomics.store(this.#words, this.#region + ADMISSION_LEASES_WRITTEN / 4, this.#version);
    this.wake();
  }

  #load(gate: number, field: number): number {
    return Atomics.load(this.#words, this.#at(gate, field));
  }

  #store(gate: number, field: number, value: number): void {
    Atomics.store(this.#words, this.#at(gate, field), value);
  }

  #at(gate: number, field: number): number {
    return this.#region + (ADMISSION_BYTES + gate * GATE_BYTES + field) / 4;
  }
}

export class Leases {
  /** Of one engine. */
  readonly #crewSize: number;
  #workerCount: number;
  readonly #tenants = new Map<Memory, Tenant>();
  /** By gate. */
  #limits: ReadonlyMap<number, number> = new Map();

  constructor(crewSize: number, crews = 1) {
    this.#crewSize = crewSize;
    this.#workerCount = crewSize * crews;
  }

  /** There will be one crew more. */
  grow(): void {
    this.#workerCount += this.#crewSize;
  }

  /** A worker begins on this memory: before it runs. */
  add(memory: Memory, wake: () => void): void {
    this.#tenants.set(memory, new Tenant(memory, this.#crewSize, wake));
    this.#share(this.#workerCount);
  }

  /** Its connections have ended. */
  remove(memory: Memory): void {
    this.#tenants.delete(memory);
  }

  /** Before the snapshot that says so is published. */
  adopt(limits: ReadonlyMap<number, number>): void {
    this.#limits = limits;
    for (const { leases } of this.#tenants.values()) {
      for (const gate of leases.keys()) if (!limits.has(gate)) leases.delete(gate);
    }
    this.#share(this.#workerCount);
  }

  /** Moves parts to where they are needed. Due every LEASE_POLL_MS. */
  look(): void {
    if (this.#limits.size > 0) this.#share(this.#tenants.size);
  }

  #share(workers: number): void {
    for (const [gate, limit] of this.#limits) this.#shareOf(gate, limit, workers);
    for (const tenant of this.#tenants.values()) tenant.publish();
  }

  #shareOf(gate: number, limit: number, workers: number): void {
    const parts = [...this.#tenants.values()].map((tenant) => partOf(tenant, gate));
    const spare = limit - sum(parts, ({ active }) => active);
    setTargets(parts, spare, workers);
    const exceeds = sum(parts, ({ reserve }) => reserve) > limit;
    if (exceeds || parts.some(isShort)) for (const { lease, target } of parts) lower(lease, target);
    // Only what is certainly nobody's is given away.
    let free = limit - sum(parts, ({ reserve }) => reserve);
    for (const { tenant, lease, target } of parts) {
      const more = Math.max(0, Math.min(free, target - lease.allowance));
      if (more > 0) lease.looksWanting = 0;
      free -= more;
      lease.allowance += more;
      lease.ceiling = Math.max(lease.ceiling, lease.allowance);
      tenant.tell(gate, lease.allowance, spare <= 0 || this.#workerCount === 1);
    }
  }
}

/** The limits of a snapshot, by gate. */
export function limitsOf(snapshot: Uint8Array): Map<number, number> {
  const view = new DataView(snapshot.buffer, snapshot.byteOffset, snapshot.byteLength);
  const word = (offset: number) => view.getUint32(offset, true);
  const limits = new Map<number, number>();
  const note = (gate: number, limit: number) => void (limit > 0 && limits.set(gate, limit));
  for (let index = 0; index < word(SNAPSHOT_LISTENER_COUNT); index++) {
    const listener = SNAPSHOT_LISTENER_LIMITS + index * LISTENER_LIMITS_BYTES;
    note(GATES_LISTENERS + index, word(listener + LISTENER_LIMITS_MAX_CONNECTIONS));
  }
  for (let index = 0; index < word(SNAPSHOT_POOL_COUNT); index++) {
    const pool = SNAPSHOT_POOL_LIMITS + index * POOL_LIMITS_BYTES;
    note(GATES_POOLS + word(pool + POOL_LIMITS_ID), word(pool + POOL_LIMITS_MAX_CONNECTIONS));
  }
  for (let id = 0; id < BACKENDS_MAX; id++) {
    const backend = SNAPSHOT_BACKEND_LIMITS + id * BACKEND_LIMITS_BYTES;
    note(GATES_BACKENDS + id, word(backend + BACKEND_LIMITS_MAX_CONNECTIONS));
  }
  return limits;
}

/** A worker's part of a limit, while it is looked at. */
interface Part {
  tenant: Tenant;
  lease: Lease;
  active: number;
  /** It lets somebody wait. */
  wants: boolean;
  /** What it should have. */
  target: number;
  /** What it may have taken, at most. */
  reserve: number;
}

function partOf(tenant: Tenant, gate: number): Part {
  const known = tenant.leases.get(gate);
  const wanted = tenant.wanted(gate);
  const lease = known ?? { allowance: 0, ceiling: 0, wanted, looksWanting: 0 };
  tenant.leases.set(gate, lease);
  if (tenant.hasSeen()) lease.ceiling = lease.allowance;
  lease.looksWanting = wanted === lease.wanted ? Math.max(0, lease.looksWanting - 1) : LOOKS_WANTING;
  lease.wanted = wanted;
  const active = tenant.active(gate);
  const wants = lease.looksWanting > 0;
  return { tenant, lease, active, wants, target: 0, reserve: Math.max(lease.ceiling, active) };
}

/** What is spare is divided evenly; what can't be divided goes to those who want it, or stays where it is. */
function setTargets(parts: readonly Part[], spare: number, workers: number): void {
  if (spare < 0) return; // nobody may have more until enough have left
  const each = Math.floor(spare / workers);
  let rest = spare % workers;
  const byNeed = [...parts].sort((a, b) => Number(b.wants) - Number(a.wants) || headroom(b) - headroom(a));
  for (const part of byNeed) {
    part.target = part.active + each + Math.min(rest, 1);
    rest -= Math.min(rest, 1);
  }
}

function isShort(part: Part): boolean {
  const { lease, target, active, wants } = part;
  return target > lease.allowance && (wants || headroom(part) * 2 < target - active);
}

function headroom({ lease, active }: Part): number {
  return lease.allowance - active;
}

function lower(lease: Lease, target: number): void {
  lease.allowance = Math.min(lease.allowance, target);
}

function sum(parts: readonly Part[], numberOf: (part: Part) => number): number {
  return parts.reduce((total, part) => total + numberOf(part), 0);
}
