// A ring of entries with one writer and one reader, who may be of different threads. Both count bytes modulo 2^32. An
// entry never wraps: what is left before the ring's end becomes padding, an entry that says ENTRY_SKIP.
import { ENTRY_SKIP } from '../layout';
import { observe, publish } from '../shared';

/** From this part of the ring on, an empty one begins anew: it need not touch more of its memory than it fills. */
const REWIND_SHARE: u32 = 16;

/**
 * Where an entry of at most `bytesMax` may be written in one piece, 0 when the ring is full. It is there for the reader
 * once its own bytes are added to what `writtenAt` counts.
 */
export function placeEntry(base: usize, ringBytes: u32, writtenAt: usize, readAt: usize, bytesMax: u32): usize {
  const written = observe(writtenAt);
  const free = ringBytes - (written - observe(readAt));
  const offset = written & (ringBytes - 1);
  const untilEnd = ringBytes - offset;
  const rewinds = free == ringBytes && offset >= max(ringBytes / REWIND_SHARE, bytesMax);
  if (untilEnd >= bytesMax && !rewinds) return free >= bytesMax ? base + offset : 0;
  if (free < untilEnd + bytesMax) return 0;
  store<u32>(base + offset, ENTRY_SKIP | untilEnd);
  publish(writtenAt, written + untilEnd);
  return base;
}
