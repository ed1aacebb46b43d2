// Which connections exist: read where they live, in each worker's table, while the worker goes on changing it.
//
// Nothing is locked and nobody waits. A slot's generation changes when its connection ends, so what was read between two
// looks at the same generation is of one connection, and what wasn't is dropped; a number that changes meanwhile, such as
// a count of bytes, is the older or the newer one. A ClientId is whole between two looks at the same length. Its chain of
// chunks may be torn while it is walked: every index is checked, and no walk is longer than the longest id that is kept.
//
// A table of a million lines takes its time, and the main thread has other things to do: the walk is cut into slices.
import { setImmediate as nextTurn } from 'node:timers/promises';
import {
  ARENA_CHUNK_BYTES,
  CLIENT_ID_INLINE_BYTES,
  CLIENT_ID_KEPT_BYTES_MAX,
  COLD_BACKEND,
  COLD_BYTES,
  COLD_BYTES_FROM_CLIENT,
  COLD_BYTES_TO_CLIENT,
  COLD_CLIENT_ID,
  COLD_CLIENT_ID_BYTES,
  COLD_CLIENT_TICK,
  COLD_KEEP_ALIVE,
  COLD_KEY_HASH,
  COLD_LISTENER,
  COLD_OPENED_MS,
  COLD_PEER,
  COLD_VERSION,
  FLAG_ANSWERED,
  FLAG_KEYED,
  HEADER_ARENA_CHUNKS,
  HEADER_CONNECTIONS_MAX,
  HEADER_REGION_ARENA,
  HEADER_REGION_COLD,
  HEADER_REGION_HOT,
  HEADER_SLOTS_END,
  HEADER_WALL_MS,
  HOT_BYTES,
  HOT_FLAGS,
  HOT_GENERATION,
  HOT_PHASE,
  NONE,
  PHASE_ACCEPTING,
  PHASE_FREE,
  SOCKADDR_BYTES_MAX,
  WHEEL_TICK_MS,
} from '../../assembly/layout.ts';
import { AF_INET6 } from '../../assembly/uring/abi.ts';
import { headerClocks, headerWords, type Memory, regionOffset } from '../header.ts';
import { decodeSockaddr } from '../system/sockaddr.ts';

/** The main thread's other work waits no longer than this for a walk. */
export const SLICE_MS = 5;
/** Slots between two looks at the clock. */
const STRIDE = 1024;

/** It is the lower half of its word. */
const PHASE_MASK = 0xffff;
const HOT_WORDS = HOT_BYTES / 4;
const COLD_WORDS = COLD_BYTES / 4;
const CHUNK_DATA_BYTES = ARENA_CHUNK_BYTES - 4;

/** One life of a worker, as the supervisor names it. */
export interface Life {
  worker: number;
  life: number;
  memory: Memory;
}

/** One connection, for as long as it lives. */
export interface ConnectionId {
  worker: number;
  life: number;
  slot: number;
  generation: number;
}

export interface Connection extends ConnectionId {
  /** PHASE_* */
  phase: number;
  /** Its backend has said something. */
  isAnswered: boolean;
  /** Up to CLIENT_ID_KEPT_BYTES_MAX of it; empty until the CONNECT has come. */
  clientId: string;
  /** An empty host: never known. */
  peer: { host: string; port: number };
  /** Index in the list of listeners. */
  listener: number;
  /** Its id; NONE: none yet. */
  backend: number;
  /** Protocol level; 0: not known yet. */
  version: number;
  /** Seconds. */
  keepAlive: number;
  /** Milliseconds since 1970. */
  openedMs: number;
  /** Since the client's last bytes. */
  idleMs: number;
  bytesFromClient: number;
  bytesToClient: number;
}

export function formatConnectionId({ worker, life, slot, generation }: ConnectionId): string {
  return [worker, life, slot, generation].join('.');
}

export function parseConnectionId(text: string): ConnectionId | undefined {
  if (!/^\d{1,10}(\.\d{1,10}){3}$/.test(text)) return undefined;
  const [worker, life, slot, generation] = text.split('.').map(Number) as [number, number, number, number];
  return { worker, life, slot, generation };
}

/** One worker's table. Whatever a method says of a slot is of this moment. */
export class ConnectionTable {
  readonly worker: number;
  readonly life: number;
  /** The client's clock in ticks, as of the table's making. */
  readonly nowTick: number;
  readonly #header: Uint32Array;
  readonly #hot: Uint32Array;
  readonly #cold: Uint32Array;
  readonly #coldBytes: Uint8Array;
  readonly #coldLongs: BigUint64Array;
  readonly #coldDoubles: Float64Array;
  readonly #arena: Uint8Array;
  readonly #links: Uint32Array;

  constructor({ worker, life, memory }: Life) {
    this.worker = worker;
    this.life = life;
    this.#header = headerWords(memory);
    const slots = this.#header[HEADER_CONNECTIONS_MAX / 4]!;
    const chunks = this.#header[HEADER_ARENA_CHUNKS / 4]!;
    const { buffer } = memory;
    const cold = regionOffset(memory, HEADER_REGION_COLD);
    const arena = regionOffset(memory, HEADER_REGION_ARENA);
    this.#hot = new Uint32Array(buffer, regionOffset(memory, HEADER_REGION_HOT), slots * HOT_WORDS);
    this.#cold = new Uint32Array(buffer, cold, slots * COLD_WORDS);
    this.#coldBytes = new Uint8Array(buffer, cold, slots * COLD_BYTES);
    this.#coldLongs = new BigUint64Array(buffer, cold, (slots * COLD_BYTES) / 8);
    this.#coldDoubles = new Float64Array(buffer, cold, (slots * COLD_BYTES) / 8);
    this.#arena = new Uint8Array(buffer, arena, chunks * ARENA_CHUNK_BYTES);
    this.#links = new Uint32Array(buffer, arena, (chunks * ARENA_CHUNK_BYTES) / 4);
    // The worker's own clock stands while it sleeps.
    const clockMs = performance.timeOrigin + performance.now() - headerClocks(memory)[HEADER_WALL_MS / 8]!;
    this.nowTick = Math.floor(clockMs / WHEEL_TICK_MS) + 1;
  }

  /** Slots from here on were never used. */
  get slotsEnd(): number {
    return Atomics.load(this.#header, HEADER_SLOTS_END / 4);
  }

  generationOf(slot: number): number {
    return Atomics.load(this.#hot, slot * HOT_WORDS + HOT_GENERATION / 4);
  }

  phaseOf(slot: number): number {
    return Atomics.load(this.#hot, slot * HOT_WORDS + HOT_PHASE / 4) & PHASE_MASK;
  }

  /** Its key has a hash: keyHashOf says which. */
  isKeyed(slot: number): boolean {
    return (this.#hot[slot * HOT_WORDS + HOT_FLAGS / 4]! & FLAG_KEYED) !== 0;
  }

  /** Its backend has said something: nobody is moved before that. */
  isAnswered(slot: number): boolean {
    return (this.#hot[slot * HOT_WORDS + HOT_FLAGS / 4]! & FLAG_ANSWERED) !== 0;
  }

  keyHashOf(slot: number): bigint {
    return this.#coldLongs[(slot * COLD_BYTES + COLD_KEY_HASH) / 8]!;
  }

  /** NONE: none yet. */
  backendOf(slot: number): number {
    return this.#cold[slot * COLD_WORDS + COLD_BACKEND / 4]!;
  }

  listenerOf(slot: number): number {
    return this.#coldBytes[slot * COLD_BYTES + COLD_LISTENER]!;
  }

  openedMsOf(slot: number): number {
    return this.#coldDoubles[(slot * COLD_BYTES + COLD_OPENED_MS) / 8]!;
  }

  /** Ticks of WHEEL_TICK_MS since the client's last bytes. */
  idleTicksOf(slot: number): number {
    return Math.max(0, (this.nowTick - this.#cold[slot * COLD_WORDS + COLD_CLIENT_TICK / 4]!) | 0);
  }

  /** `address`: the bytes of an IPv4 or IPv6 address. */
  hasAddress(slot: number, address: Uint8Array): boolean {
    const peer = slot * COLD_BYTES + COLD_PEER;
    const isIPv6 = this.#shortAt(peer) === AF_INET6;
    if (address.length !== (isIPv6 ? 16 : 4)) return false;
    return startsWith(this.#coldBytes, peer + (isIPv6 ? 8 : 4), address, 0, address.length);
  }

  /** False also for an id that was being changed meanwhile. */
  hasClientIdPrefix(slot: number, prefix: Uint8Array): boolean {
    const length = this.#clientIdBytesOf(slot);
    if (length < prefix.length) return false;
    const inline = slot * COLD_BYTES + COLD_CLIENT_ID;
    if (length <= CLIENT_ID_INLINE_BYTES) return startsWith(this.#coldBytes, inline, prefix, 0, prefix.length);
    let chunk = this.#cold[inline / 4]!;
    for (let compared = 0; compared < prefix.length; compared += CHUNK_DATA_BYTES) {
      const at = chunk * ARENA_CHUNK_BYTES;
      if (at >= this.#arena.length) return false;
      const part = Math.min(prefix.length - compared, CHUNK_DATA_BYTES);
      if (!startsWith(this.#arena, at + 4, prefix, compared, part)) return false;
      chunk = this.#links[at / 4]!;
    }
    return true;
  }

  /** undefined when the connection of that generation has ended, perhaps while it was read. */
  read(slot: number, generation: number): Connection | undefined {
    if (!this.isLiving(slot, generation)) return undefined;
    const cold = slot * COLD_BYTES;
    const clientId = this.#clientIdOf(slot);
    const connection = {
      worker: this.worker,
      life: this.life,
      slot,
      generation,
      phase: this.phaseOf(slot),
      isAnswered: this.isAnswered(slot),
      clientId: utf8.decode(clientId.kept),
      peer: decodeSockaddr(this.#peerOf(slot)),
      listener: this.listenerOf(slot),
      backend: this.backendOf(slot),
      version: this.#coldBytes[cold + COLD_VERSION]!,
      keepAlive: this.#shortAt(cold + COLD_KEEP_ALIVE),
      openedMs: this.openedMsOf(slot),
      idleMs: this.idleTicksOf(slot) * WHEEL_TICK_MS,
      bytesFromClient: Number(this.#coldLongs[(cold + COLD_BYTES_FROM_CLIENT) / 8]!),
      bytesToClient: Number(this.#coldLongs[(cold + COLD_BYTES_TO_CLIENT) / 8]!),
    };
    const isWhole = this.#clientIdBytesOf(slot) === clientId.length;
    return isWhole && this.isLiving(slot, generation) ? connection : undefined;
  }

  isLiving(slot: number, generation: number): boolean {
    if (slot >= this.slotsEnd) return false;
    const phase = this.phaseOf(slot);
    return phase !== PHASE_FREE && phase !== PHASE_ACCEPTING && this.generationOf(slot) === generation;
  }

  #clientIdBytesOf(slot: number): number {
    return this.#shortAt(slot * COLD_BYTES + COLD_CLIENT_ID_BYTES);
  }

  /** Its whole length, and a copy of what is kept. */
  #clientIdOf(slot: number): { length: number; kept: Uint8Array } {
    const length = this.#clientIdBytesOf(slot);
    const inline = slot * COLD_BYTES + COLD_CLIENT_ID;
    if (length <= CLIENT_ID_INLINE_BYTES) return { length, kept: this.#coldBytes.slice(inline, inline + length) };
    const kept = new Uint8Array(Math.min(length, CLIENT_ID_KEPT_BYTES_MAX));
    let chunk = this.#cold[inline / 4]!;
    for (let copied = 0; copied < kept.length; copied += CHUNK_DATA_BYTES) {
      const at = chunk * ARENA_CHUNK_BYTES;
      if (at >= this.#arena.length) return { length, kept: kept.subarray(0, copied) }; // the arena was full, or a torn chain
      const part = Math.min(kept.length - copied, CHUNK_DATA_BYTES);
      kept.set(this.#arena.subarray(at + 4, at + 4 + part), copied);
      chunk = this.#links[at / 4]!;
    }
    return { length, kept };
  }

  #peerOf(slot: number): Uint8Array {
    const at = slot * COLD_BYTES + COLD_PEER;
    return this.#coldBytes.slice(at, at + SOCKADDR_BYTES_MAX);
  }

  #shortAt(at: number): number {
    return this.#coldBytes[at]! | (this.#coldBytes[at + 1]! << 8);
  }
}

const utf8 = new TextDecoder('utf-8', { ignoreBOM: true });

function startsWith(bytes: Uint8Array, at: number, prefix: Uint8Array, from: number, length: number): boolean {
  for (let index = 0; index < length; index++) if (bytes[at + index] !== prefix[from + index]) return false;
  return true;
}

/**
 * Shows every connection of every life to `visit`, in slices of SLICE_MS between which others have their turn. `visit`
 * may find that the connection has ended already.
 */
export async function walkConnections(
  lives: readonly Life[],
  visit: (table: ConnectionTable, slot: number, generation: number) => void,
): Promise<void> {
  let sliceEndMs = performance.now() + SLICE_MS;
  for (const life of lives) {
    const table = new ConnectionTable(life);
    const end = table.slotsEnd;
    for (let first = 0; first < end; first += STRIDE) {
      visitStride(table, first, Math.min(first + STRIDE, end), visit);
      if (performance.now() < sliceEndMs) continue;
      await nextTurn();
      sliceEndMs = performance.now() + SLICE_MS;
    }
  }
}

function visitStride(
  table: ConnectionTable,
  first: number,
  end: number,
  visit: (table: ConnectionTable, slot: number, generation: number) => void,
): void {
  for (let slot = first; slot < end; slot++) {
    // The generation first: a slot that is freed and taken again between the two shows its older one, and is passed over.
    const generation = table.generationOf(slot);
    const phase = table.phaseOf(slot);
    if (phase !== PHASE_FREE && phase !== PHASE_ACCEPTING) visit(table, slot, generation);
  }
}

export interface ConnectionQuery {
  /** Empty for any. */
  clientIdPrefix: Uint8Array;
  /** By their ids; null for any. */
  backends: ReadonlySet<number> | null;
  /** Beside those: connections that have no backend yet, by the listeners that they came through. */
  listeners: ReadonlySet<number>;
  /** Bytes of an IP address; null for any. */
  address: Uint8Array | null;
  /** How many are shown. */
  limit: number;
}

export interface ConnectionsFound {
  matched: number;
  searched: number;
  /** Those that were met first. */
  connections: Connection[];
}

export async function searchConnections(lives: readonly Life[], query: ConnectionQuery): Promise<ConnectionsFound> {
  const found: ConnectionsFound = { matched: 0, searched: 0, connections: [] };
  await walkConnections(lives, (table, slot, generation) => {
    found.searched += 1;
    if (!matches(table, slot, query)) return;
    if (found.connections.length < query.limit) {
      const connection = table.read(slot, generation);
      if (connection === undefined) return;
      found.connections.push(connection);
    } else if (!table.isLiving(slot, generation)) return;
    found.matched += 1;
  });
  return found;
}

function matches(table: ConnectionTable, slot: number, query: ConnectionQuery): boolean {
  const { clientIdPrefix, backends, address } = query;
  if (backends !== null && !isOfBackends(table, slot, backends, query.listeners)) return false;
  if (clientIdPrefix.length > 0 && !table.hasClientIdPrefix(slot, clientIdPrefix)) return false;
  return address === null || table.hasAddress(slot, address);
}

function isOfBackends(
  table: ConnectionTable,
  slot: number,
  backends: ReadonlySet<number>,
  listeners: ReadonlySet<number>,
): boolean {
  const backend = table.backendOf(slot);
  return backend === NONE ? listeners.has(table.listenerOf(slot)) : backends.has(backend);
}
