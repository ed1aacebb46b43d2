// The connection table: for each slot one hot line, which every turn may touch, and one cold line, which only the
// beginning and the end of a life touch. Memory of slots never used stays untouched.
import {
  COLD_BYTES,
  FLAG_ANSWERED,
  FLAG_KEYED,
  HEADER_LISTENER_ACTIVE,
  HEADER_OFFSET,
  HOT_BYTES,
  HOT_EPOCH,
  HOT_FLAGS,
  HOT_GENERATION,
  HOT_PHASE,
  NONE,
  PHASE_ACCEPTING,
  PHASE_ASKING,
  PHASE_CLOSING,
  PHASE_DIALLING,
  PHASE_FREE,
  PHASE_GREETING,
  PHASE_LEAVING,
  PHASE_OPEN,
  PHASE_QUEUED,
  PHASE_READING,
  PHASE_REFUSING,
  SOURCE_IDS_MAX,
} from '../layout';
import { BackendCounters, Cold, Counters, Header, SourceCounters } from '../memory';

/** One side's bytes on their way to the other: a list of buffers, oldest first. */
@unmanaged
export class Direction {
  head: u32;
  tail: u32;
  bufferCount: u32;
  /** Of the client's direction: next free or starved slot; of the backend's: next dirty slot. */
  link: u32;
}
if (offsetof<Direction>() != 16) ERROR('Direction changed its size');

@unmanaged
export class Hot {
  generation: u32;
  /** One bit for each operation that the kernel holds; the slot is free only when it is 0. */
  pending: u32;
  phase: u16;
  /**
   * The end of the epoch of the snapshot that Cold's pool, member and tried speak of. No dial is so long that as many
   * snapshots are published meanwhile as would bring the same number again.
   */
  epoch: u16;
  flags: u32;
  // Direction of the client's bytes, then of the backend's: reached through direction().
  _fromClient0: u64;
  _fromClient8: u64;
  _fromBackend0: u64;
  _fromBackend8: u64;
  // Timer lists hold slot + 1, so that zeroed memory is an empty list.
  timerNext: u32;
  timerPrevious: u32;
  deadlineTick: u32;
  /** Dials. */
  attempts: u16;
  /** The longest packet that an MQTT 5.0 client takes; 0: any, or one of 64 KiB at least. */
  clientPacketBytesMax: u16;
}
if (offsetof<Hot>() != HOT_BYTES) ERROR('Hot changed its size');
if (offsetof<Hot>('generation') != HOT_GENERATION) ERROR('Hot.generation moved');
if (offsetof<Hot>('phase') != HOT_PHASE) ERROR('Hot.phase moved');
if (offsetof<Hot>('epoch') != HOT_EPOCH) ERROR('Hot.epoch moved');
if (offsetof<Hot>('flags') != HOT_FLAGS) ERROR('Hot.flags moved');

// A connection's phases. The portable engine walks FREE, READING, DIALLING, OPEN and back.
//
//   FREE -> ACCEPTING -> READING -> DIALLING <-> GREETING -> OPEN
//     ^         |           |  |        |  |         |  |      |
//     |<--------+           |  +------->+--|-------->+  |      |
//     |                     |        REFUSING           |      |
//     |                     |           |               |   LEAVING
//     |                     v           v               v      v
//     +---------------------------- CLOSING: until nothing is pending
//
//   READING, DIALLING, GREETING -> QUEUED -> DIALLING, REFUSING, CLOSING
//   READING -> ASKING -> DIALLING, QUEUED, REFUSING, CLOSING
//
export {
  FLAG_ANSWERED,
  FLAG_KEYED,
  PHASE_ACCEPTING,
  PHASE_ASKING,
  PHASE_CLOSING,
  PHASE_DIALLING,
  PHASE_FREE,
  PHASE_GREETING,
  PHASE_LEAVING,
  PHASE_OPEN,
  PHASE_QUEUED,
  PHASE_READING,
  PHASE_REFUSING,
};

/** The side that bytes come from, and the index of its direction. */
export const CLIENT: u32 = 0;
export const BACKEND: u32 = 1;

// Flags that both engines use; the uring engine's own stand in proxy.ts.
//   1 << 0  FLAG_KEYED, 1 << 2  FLAG_ANSWERED: in layout.ts
export const FLAG_CONNECT_WHOLE: u32 = 1 << 1;
/** Which keep alive is in force could not be told: the client is not judged by it. */
export const FLAG_KEEP_ALIVE_UNKNOWN: u32 = 1 << 3;
/** A backend has taken the CONNECT. */
export const FLAG_ESTABLISHED: u32 = 1 << 30;
/** An eviction is to be carried out as soon as no packet is cut by it, or is being carried out. */
export const FLAG_LEAVING: u32 = 1 << 23;
/** The client comes through a front, whose PROXY header isn't there yet. */
export const FLAG_HEADER_DUE: u32 = 1 << 29;
/** A candidate was passed over since no port was left to dial it from. */
export const FLAG_OUT_OF_PORTS: u32 = 1 << 31;

export let counters: usize = 0;
let backendCountersBase: usize = 0;
let sourceCountersBase: usize = 0;
export let healthBase: usize = 0;
export let backendCountersRegion: usize = 0;
let hotBase: usize = 0;
let coldBase: usize = 0;
let slotsMax: u32 = 0;
let slotsTouched: u32 = 0;
let freeHead: u32 = NONE;

export function header(): Header {
  return changetype<Header>(HEADER_OFFSET);
}

export function count(): Counters {
  return changetype<Counters>(counters);
}

/** To a counter that no class has as a field. */
export function add(counter: usize, value: u64): void {
  store<u64>(counter, load<u64>(counter) + value);
}

export function backendCounters(backend: u32): BackendCounters {
  return changetype<BackendCounters>(backendCountersBase + <usize>backend * offsetof<BackendCounters>());
}

/** Of a backend as dialled from one source. */
export function sourceCounters(backend: u32, source: u32): SourceCounters {
  const index = <usize>backend * SOURCE_IDS_MAX + source;
  return changetype<SourceCounters>(sourceCountersBase + index * offsetof<SourceCounters>());
}

/** Where the connections are counted that came through that listener. */
export function listenerActive(listener: u32): usize {
  return <usize>(HEADER_OFFSET + HEADER_LISTENER_ACTIVE) + <usize>listener * 4;
}

export function hot(slot: u32): Hot {
  return changetype<Hot>(hotBase + <usize>slot * HOT_BYTES);
}

export function cold(slot: u32): Cold {
  return changetype<Cold>(coldBase + <usize>slot * COLD_BYTES);
}

export function direction(slot: u32, side: u32): Direction {
  return changetype<Direction>(
    hotBase + <usize>slot * HOT_BYTES + offsetof<Hot>('_fromClient0') + <usize>side * offsetof<Direction>(),
  );
}

export function attachTable(): void {
  const head = header();
  counters = head.counters;
  backendCountersBase = head.backendCounters;
  backendCountersRegion = backendCountersBase;
  sourceCountersBase = head.sourceCounters;
  healthBase = head.health;
  hotBase = head.hot;
  coldBase = head.cold;
  slotsMax = head.connectionsMax;
  slotsTouched = 0;
  head.slotsEnd = 0;
  freeHead = NONE;
}

/** How many slots were ever used: what a walk over all connections has to look at. */
export function slotsEnd(): u32 {
  return slotsTouched;
}

export function slotAvailable(): bool {
  return freeHead != NONE || slotsTouched < slotsMax;
}

/** A slot in phase FREE with empty lists, or NONE when the table is full. */
export function takeSlot(): u32 {
  let slot = freeHead;
  if (slot != NONE) {
    freeHead = direction(slot, CLIENT).link;
  } else {
    if (slotsTouched == slotsMax) return NONE;
    slot = slotsTouched++;
    header().slotsEnd = slotsTouched;
  }
  const line = hot(slot);
  assert(line.phase == PHASE_FREE && line.pending == 0);
  line.flags = 0;
  line.attempts = 0;
  line.clientPacketBytesMax = 0;
  emptyDirection(direction(slot, CLIENT));
  emptyDirection(direction(slot, BACKEND));
  return slot;
}

/** The next life of the slot has another generation, so that a late answer to this one is recognised. */
export function freeSlot(slot: u32): void {
  const line = hot(slot);
  assert(line.pending == 0 && line.deadlineTick == 0);
  // In this order: the main thread, which reads along, must not find the old life under the next one's generation.
  setPhase(slot, PHASE_FREE);
  line.generation++;
  line.flags = 0;
  direction(slot, CLIENT).link = freeHead;
  freeHead = slot;
}

function emptyDirection(bytes: Direction): void {
  bytes.head = NONE;
  bytes.tail = NONE;
  bytes.bufferCount = 0;
  bytes.link = NONE;
}

/** The only place where a phase changes: along the picture above, or not at all. */
export function setPhase(slot: u32, phase: u32): void {
  const line = hot(slot);
  assert(((load<u16>(FOLLOWERS + ((<usize>line.phase) << 1)) >> (phase as u16)) & 1) != 0);
  line.phase = <u16>phase;
}

/** Of a worker that died: its connections end wherever they stood, which is along no line of the picture. */
export function abandonSlot(slot: u32): void {
  hot(slot).phase = <u16>PHASE_FREE;
}

// For each phase the phases that may follow it, a bit each.
const FOLLOWERS = memory.data<u16>([
  (1 << 1) | (1 << 2), // FREE: ACCEPTING, READING
  (1 << 0) | (1 << 2), // ACCEPTING: FREE, READING
  (1 << 0) | (1 << 3) | (1 << 6) | (1 << 7) | (1 << 9) | (1 << 10), // READING: FREE (portable), DIALLING, REFUSING, CLOSING, QUEUED, ASKING
  (1 << 0) | (1 << 3) | (1 << 4) | (1 << 5) | (1 << 6) | (1 << 7) | (1 << 9), // DIALLING: again, GREETING, OPEN (portable), ...
  (1 << 3) | (1 << 5) | (1 << 6) | (1 << 7) | (1 << 9), // GREETING: DIALLING, OPEN, REFUSING, CLOSING, QUEUED
  (1 << 0) | (1 << 7) | (1 << 8), // OPEN: FREE (portable), CLOSING, LEAVING
  1 << 7, // REFUSING: CLOSING
  1 << 0, // CLOSING: FREE
  1 << 7, // LEAVING: CLOSING
  (1 << 0) | (1 << 3) | (1 << 6) | (1 << 7) | (1 << 9), // QUEUED: FREE (portable), DIALLING, REFUSING, CLOSING, again
  (1 << 0) | (1 << 3) | (1 << 6) | (1 << 7) | (1 << 9), // ASKING: FREE (portable), DIALLING, REFUSING, CLOSING, QUEUED
]);
