// The only place that places regions: from a worker's settings to a memory of exactly their size, header written.
// Pages that are never touched cost nothing, so everything is reserved for the worst case.
import { randomInt } from 'node:crypto';
import {
  ADMISSION_BYTES,
  ARENA_CHUNK_BYTES,
  ASKS_BYTES,
  BACKEND_COUNTERS_BYTES,
  BACKEND_FIGURES_BYTES,
  BACKENDS_MAX,
  BUFFER_NOTE_BYTES,
  COLD_BYTES,
  COMPLETION_BYTES,
  COUNTERS_BYTES,
  DECISIONS_BYTES,
  EVICTION_BYTES,
  EVICTIONS_MAX,
  GATE_BYTES,
  GATES_MAX,
  GREETING_BYTES,
  HEADER_ACCEPTS_IN_FLIGHT,
  HEADER_AGE_BOUNDS,
  HEADER_ARENA_CHUNKS,
  HEADER_BUFFER_BYTES,
  HEADER_BUFFER_COUNT,
  HEADER_BUFFERS_PROVIDED,
  HEADER_COMPLETION_ENTRIES,
  HEADER_CONNECTIONS_MAX,
  HEADER_ID_KEY_0,
  HEADER_KEEP_ALIVE_BOUNDS,
  HEADER_LAYOUT_VERSION,
  HEADER_LISTENER_FDS,
  HEADER_PORTS_CROWDED,
  HEADER_QUIET_MS,
  HEADER_RANDOM_SEED,
  HEADER_RECORDS_BYTES,
  HEADER_REGION_ADMISSION,
  HEADER_REGION_ARENA,
  HEADER_REGION_ASKS,
  HEADER_REGION_BACKEND_COUNTERS,
  HEADER_REGION_BUFFERS,
  HEADER_REGION_COLD,
  HEADER_REGION_COUNTERS,
  HEADER_REGION_DECISIONS,
  HEADER_REGION_END,
  HEADER_REGION_EVICTIONS,
  HEADER_REGION_GREETINGS,
  HEADER_REGION_HEALTH,
  HEADER_REGION_HOT,
  HEADER_REGION_RECORDS,
  HEADER_REGION_RINGS,
  HEADER_REGION_SCRATCH,
  HEADER_REGION_SNAPSHOTS,
  HEADER_REGION_SOURCE_COUNTERS,
  HEADER_REGION_WHEEL,
  HEADER_RING_FD,
  HEADER_SESSIONS,
  HEADER_SUBMISSION_ENTRIES,
  HEADER_WAKE_FD,
  HEADER_WORKER_INDEX,
  HOT_BYTES,
  LAYOUT_VERSION,
  LISTENERS_MAX,
  MESSAGE_BYTES,
  NONE,
  PAGE_BYTES,
  PAUSE_BYTES,
  PAUSES,
  PLACE_BYTES,
  PROVIDED_BUFFER_BYTES,
  REGIONS_OFFSET,
  RING_HEADS_BYTES,
  SCRATCH_BYTES,
  SESSION_BYTES,
  SNAPSHOT_HALF_BYTES,
  SOURCE_COUNT_BYTES,
  SOURCE_COUNTERS_BYTES,
  SOURCE_IDS_MAX,
  SOURCE_PACE_BYTES,
  SOURCE_PACES,
  SUBMISSION_BYTES,
  TALLY_BYTES,
  WHEEL_BYTES,
} from '../../assembly/layout.ts';
import { providedEntries } from '../engine/engine.ts';
import { TidegateError } from '../errors.ts';
import { headerWords, type Memory, regionOffset } from '../header.ts';
import { localPorts } from '../system/local-ports.ts';
import { WASM_PAGE_BYTES } from '../wasm.ts';
import { AGE_BOUNDS, KEEP_ALIVE_BOUNDS } from './figures.ts';

const WASM_PAGES_MAX = 65536;
/** An accept that waits holds a slot, and whom it accepts another one. */
export const CONNECTIONS_PER_LISTENER_MIN = 2;

const PAUSES_BYTES = PAUSES * PAUSE_BYTES;

/** Of the hash by which all workers note ClientIds: two u64. */
const ID_KEY = crypto.getRandomValues(new Uint32Array(4));

export interface MemorySettings {
  connectionsMax: number;
  bufferCount: number;
  bufferBytes: number;
  /** How many the kernel is given at first; all when it isn't said. */
  buffersProvided?: number;
  submissionEntries: number;
  completionEntries: number;
  recordsBytes: number;
  arenaChunks: number;
  acceptsInFlight: number;
  /** Of those that were begun lately, to see take-overs: a power of two. */
  sessions: number;
  /** Of connections between two addresses: from so many on, the kernel is asked to look at every port. */
  portsCrowded: number;
  /** Without bytes for so long, a side is polled instead of received from. */
  quietMs: number;
}

export interface Region {
  /** HEADER_REGION_* */
  field: number;
  offset: number;
  bytes: number;
}

/**
 * `listenerCount` is that of the start: when there are more, fewer accepts wait on each.
 *
 * Buffers are lent for as long as a send takes, so a busy sixteenth of a large table needs them at once; each buffer
 * that was ever used stays resident for a while, hence fewer for a small table. The rings are small, since every page of
 * theirs is touched: a turn that asks for more does so in parts, and what can complete is what one call asked for or
 * found ready, a few dozen.
 */
export function defaultSettings(connectionsMax: number, listenerCount: number): MemorySettings {
  return {
    connectionsMax,
    bufferCount: powerOfTwo(connectionsMax * 4, 256, 16384),
    bufferBytes: 4096,
    buffersProvided: 16,
    submissionEntries: 1024,
    completionEntries: 4096,
    recordsBytes: 4 << 20,
    arenaChunks: connectionsMax,
    // An accept that waits holds a slot, and a small table has few.
    acceptsInFlight: Math.max(1, Math.min(16, Math.floor(connectionsMax / 2 / listenerCount))),
    sessions: powerOfTwo(connectionsMax / 16, 256, 65536),
    portsCrowded: Math.ceil(localPorts() / 4),
    quietMs: 3000,
  };
}

/** A new worker's memory, zero but for its header. `wakeFd` is its eventfd, or NONE. */
export function createMemory(settings: MemorySettings, workerIndex: number, wakeFd: number): WebAssembly.Memory {
  const { regions, end } = placeRegions(settings);
  const pages = Math.ceil(end / WASM_PAGE_BYTES);
  const memory = allocate(pages, settings);
  const header = headerWords(memory);
  const write = (field: number, value: number): void => {
    header[field / 4] = value;
  };
  write(HEADER_LAYOUT_VERSION, LAYOUT_VERSION);
  write(HEADER_RING_FD, NONE);
  write(HEADER_CONNECTIONS_MAX, settings.connectionsMax);
  write(HEADER_BUFFER_COUNT, settings.bufferCount);
  write(HEADER_BUFFER_BYTES, settings.bufferBytes);
  write(HEADER_BUFFERS_PROVIDED, settings.buffersProvided ?? settings.bufferCount);
  write(HEADER_SUBMISSION_ENTRIES, settings.submissionEntries);
  write(HEADER_COMPLETION_ENTRIES, settings.completionEntries);
  write(HEADER_RECORDS_BYTES, settings.recordsBytes);
  write(HEADER_ARENA_CHUNKS, settings.arenaChunks);
  write(HEADER_WORKER_INDEX, workerIndex);
  write(HEADER_WAKE_FD, wakeFd);
  write(HEADER_RANDOM_SEED, randomInt(1, 2 ** 32));
  header.set(ID_KEY, HEADER_ID_KEY_0 / 4);
  write(HEADER_ACCEPTS_IN_FLIGHT, settings.acceptsInFlight);
  write(HEADER_SESSIONS, settings.sessions);
  write(HEADER_PORTS_CROWDED, settings.portsCrowded);
  write(HEADER_QUIET_MS, settings.quietMs);
  for (const region of regions) write(region.field, region.offset);
  header.set(KEEP_ALIVE_BOUNDS, HEADER_KEEP_ALIVE_BOUNDS / 4);
  header.set(
    AGE_BOUNDS.map((seconds) => seconds * 1000),
    HEADER_AGE_BOUNDS / 4,
  );
  write(HEADER_REGION_END, end);
  header.fill(NONE, HEADER_LISTENER_FDS / 4, HEADER_LISTENER_FDS / 4 + LISTENERS_MAX);
  return memory;
}

/** Every region in the order of HEADER_REGIONS, each on a page of its own, and where the last one ends. */
export function placeRegions(settings: MemorySettings): { regions: Region[]; end: number } {
  let end = REGIONS_OFFSET;
  const regions = regionSizes(settings).map(([field, bytes]) => {
    const region = { field, offset: end, bytes };
    end += pageAligned(bytes);
    return region;
  });
  return { regions, end };
}

function regionSizes(settings: MemorySettings): [field: number, bytes: number][] {
  return [
    [HEADER_REGION_COUNTERS, COUNTERS_BYTES],
    [HEADER_REGION_BACKEND_COUNTERS, BACKENDS_MAX * (BACKEND_COUNTERS_BYTES + BACKEND_FIGURES_BYTES)],
    [HEADER_REGION_HEALTH, BACKENDS_MAX * 4],
    [HEADER_REGION_SNAPSHOTS, 2 * SNAPSHOT_HALF_BYTES],
    [HEADER_REGION_RECORDS, settings.recordsBytes],
    [HEADER_REGION_HOT, settings.connectionsMax * HOT_BYTES],
    [HEADER_REGION_COLD, settings.connectionsMax * COLD_BYTES],
    [HEADER_REGION_ARENA, settings.arenaChunks * ARENA_CHUNK_BYTES],
    [HEADER_REGION_WHEEL, WHEEL_BYTES],
    [HEADER_REGION_RINGS, ringsBytes(settings)],
    [HEADER_REGION_BUFFERS, settings.bufferCount * settings.bufferBytes],
    [HEADER_REGION_SCRATCH, SCRATCH_BYTES],
    [HEADER_REGION_SOURCE_COUNTERS, BACKENDS_MAX * SOURCE_IDS_MAX * SOURCE_COUNTERS_BYTES],
    [HEADER_REGION_EVICTIONS, EVICTIONS_MAX * EVICTION_BYTES],
    [HEADER_REGION_ADMISSION, admissionBytes(settings)],
    [HEADER_REGION_GREETINGS, settings.connectionsMax * GREETING_BYTES],
    [HEADER_REGION_ASKS, ASKS_BYTES],
    [HEADER_REGION_DECISIONS, DECISIONS_BYTES],
  ];
}

/** Where a worker's sessions begin; assembly/proxy/take-overs.ts computes the same. Pauses stand behind them. */
export function sessionsOffset(memory: Memory): number {
  const connectionsMax = headerWords(memory)[HEADER_CONNECTIONS_MAX / 4]!;
  return regionOffset(memory, HEADER_REGION_ADMISSION) + admissionBytes({ connectionsMax, sessions: 0 }) - PAUSES_BYTES;
}

/** Drawn in layout.ts. The table of sources is at most half full; assembly/proxy/source-counts.ts computes the same. */
function admissionBytes({ connectionsMax, sessions }: Pick<MemorySettings, 'connectionsMax' | 'sessions'>): number {
  const sourceCounts = 2 ** Math.ceil(Math.log2(2 * connectionsMax));
  const tallies = Math.ceil((connectionsMax * TALLY_BYTES) / 16) * 16;
  const slots = ADMISSION_BYTES + GATES_MAX * GATE_BYTES + connectionsMax * PLACE_BYTES + tallies;
  const sources = sourceCounts * SOURCE_COUNT_BYTES + SOURCE_PACES * SOURCE_PACE_BYTES;
  return slots + sources + sessions * SESSION_BYTES + PAUSES_BYTES;
}

/** Its inner split is drawn in layout.ts; each part starts on a page. */
function ringsBytes(settings: MemorySettings): number {
  return (
    lockedBytes(settings) +
    pageAligned(settings.bufferCount * BUFFER_NOTE_BYTES) +
    pageAligned(settings.submissionEntries * MESSAGE_BYTES)
  );
}

/** The rings that the kernel shares: it locks their pages, and counts them against RLIMIT_MEMLOCK. */
export function lockedBytes(settings: MemorySettings): number {
  return (
    pageAligned(settings.completionEntries * COMPLETION_BYTES + RING_HEADS_BYTES) +
    pageAligned(settings.submissionEntries * SUBMISSION_BYTES) +
    pageAligned(providedEntries(settings.bufferCount) * PROVIDED_BUFFER_BYTES)
  );
}

function allocate(pages: number, settings: MemorySettings): WebAssembly.Memory {
  if (pages > WASM_PAGES_MAX) {
    const message = `${settings.connectionsMax} connections per worker need more than a worker's 4 GiB: lower connections_max`;
    throw new TidegateError('CONNECTIONS_MAX', message);
  }
  try {
    return new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  } catch (cause) {
    const message = `a worker's memory of ${pages / 16} MiB can't be had: lower connections_max or workers`;
    throw new TidegateError('ENOMEM', message, undefined, { cause });
  }
}

function pageAligned(bytes: number): number {
  return Math.ceil(bytes / PAGE_BYTES) * PAGE_BYTES;
}

function powerOfTwo(wanted: number, least: number, most: number): number {
  return Math.min(most, Math.max(least, 2 ** Math.ceil(Math.log2(wanted))));
}
