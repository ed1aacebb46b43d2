// Connections that the main thread wants ended: a ring of entries with one writer, the main thread, and one reader, this
// worker. Between the two a connection may have ended by itself and its slot may have begun another life: such an entry
// is void, and so is one for a connection that isn't established yet, which the main thread will find again.
import {
  COLD_KEY_HASH,
  COLD_TRIED,
  EVICTION_ABRUPT,
  EVICTION_BYTES,
  EVICTION_REASON,
  EVICTIONS_MAX,
  HEADER_EVICTIONS_READ,
  HEADER_EVICTIONS_WRITTEN,
  HEADER_OFFSET,
  NONE,
} from '../layout';
import { Eviction } from '../memory';
import { observe, publish } from '../shared';
import {
  cold,
  FLAG_ANSWERED,
  FLAG_LEAVING,
  header,
  hot,
  PHASE_ASKING,
  PHASE_DIALLING,
  PHASE_GREETING,
  PHASE_LEAVING,
  PHASE_OPEN,
  PHASE_QUEUED,
  PHASE_READING,
  slotsEnd,
} from './table';

const WRITTEN: usize = HEADER_OFFSET + HEADER_EVICTIONS_WRITTEN;
const READ: usize = HEADER_OFFSET + HEADER_EVICTIONS_READ;

/** The slot of the next connection that has to go, marked as leaving; NONE when there is none. evictionOf says how. */
export function takeEviction(): u32 {
  const written = observe(WRITTEN);
  let read = header().evictionsRead;
  while (read != written) {
    const place = <usize>(read & (EVICTIONS_MAX - 1)) * EVICTION_BYTES;
    const entry = changetype<Eviction>(<usize>header().evictions + place);
    const slot = entry.slot;
    const isMeant = isDue(entry);
    if (isMeant) keep(entry);
    publish(READ, ++read);
    if (isMeant) return slot;
  }
  return NONE;
}

function isDue(entry: Eviction): bool {
  if (entry.slot >= slotsEnd()) return false;
  const line = hot(entry.slot);
  if (line.generation != entry.generation) return false;
  if (entry.flags & EVICTION_ABRUPT) return mayBeAbrupt(line.phase);
  return line.phase == PHASE_OPEN && (line.flags & (FLAG_ANSWERED | FLAG_LEAVING)) == FLAG_ANSWERED;
}

// Who is being refused, or closed, goes anyway.
function mayBeAbrupt(phase: u32): bool {
  if (phase == PHASE_READING || phase == PHASE_DIALLING || phase == PHASE_GREETING) return true;
  return phase == PHASE_OPEN || phase == PHASE_LEAVING || phase == PHASE_QUEUED || phase == PHASE_ASKING;
}

// The ring's place will be written again. Which candidates were tried matters no more: what the entry says beside whom it
// means fills just that word.
const KEPT: usize = COLD_TRIED - EVICTION_REASON;

function keep(entry: Eviction): void {
  hot(entry.slot).flags |= FLAG_LEAVING;
  const kept = changetype<usize>(evictionOf(entry.slot)) + EVICTION_REASON;
  memory.copy(kept, changetype<usize>(entry) + EVICTION_REASON, EVICTION_BYTES - EVICTION_REASON);
}

/** Of a connection that is leaving. Its slot and generation are not there: they are the connection's own. */
export function evictionOf(slot: u32): Eviction {
  return changetype<Eviction>(changetype<usize>(cold(slot)) + KEPT);
}

/**
 * Last words that must stay where they are until a send has taken them, in the place of the key's hash, which has done
 * its work. Each of both texts is whole, the counts say how many of its bytes are still to be sent.
 */
@unmanaged
export class LastWords {
  toClient: u32;
  toBackend: u16;
  clientLeft: u8;
  backendLeft: u8;
}
if (offsetof<LastWords>() != 8) ERROR('LastWords changed its size');

export function lastWordsOf(slot: u32): LastWords {
  return changetype<LastWords>(changetype<usize>(cold(slot)) + COLD_KEY_HASH);
}
