// How many clients each source has, in this worker: a hash table with open addressing, twice as large as the connection
// table, so that it never fills. Only listeners with max_connections_per_source have entries in it.
//
//   SourceCount 16 B: the source's first 64 bits | listener | family | connections, 0: the entry is free
import { MARK_SOURCE, SOURCE_COUNT_BYTES } from '../layout';
import { Cold } from '../memory';
import { mix64 } from '../route/hash';
import { listenerLimitsAt } from '../snapshot';
import { gateAt, listenerGate, talliesEnd, tallyOf } from './gates';
import { familyOfPeer, sourceOfPeer } from './source-address';
import { cold, header, slotsEnd } from './table';

@unmanaged
class SourceCount {
  source: u64;
  listener: u16;
  family: u16;
  connections: u32;
}
if (offsetof<SourceCount>() != SOURCE_COUNT_BYTES) ERROR('SourceCount changed its size');

let entries: usize = 0;
let mask: u32 = 0;

export function attachSourceCounts(): void {
  entries = talliesEnd();
  // The next power of two above twice the slots; memory-map.ts computes the same.
  mask = (1 << (32 - clz<u32>(2 * header().connectionsMax - 1))) - 1;
}

/** Where the paces of sources begin. */
export function sourceCountsEnd(): usize {
  return entries + (<usize>mask + 1) * SOURCE_COUNT_BYTES;
}

/** Of the slot's source, by the prefixes in force. */
export function sourceCount(line: Cold): u32 {
  followPrefixes(line.listener);
  return entryAt(find(line)).connections;
}

export function addSource(slot: u32, line: Cold): void {
  const entry = entryAt(find(line));
  entry.source = sourceOf(line);
  entry.listener = line.listener;
  entry.family = familyOfPeer(line);
  entry.connections++;
  tallyOf(slot).marks |= <u8>MARK_SOURCE;
}

/** Counts the slot for its source no more, if it did. */
export function leaveSource(slot: u32): void {
  const tally = tallyOf(slot);
  if ((tally.marks & <u8>MARK_SOURCE) == 0) return;
  tally.marks &= ~(<u8>MARK_SOURCE);
  removeSource(cold(slot));
}

export function removeSource(line: Cold): void {
  const index = find(line);
  const entry = entryAt(index);
  assert(entry.connections > 0);
  entry.connections--;
  if (entry.connections == 0) closeGap(index);
}

/**
 * A listener whose prefixes have changed: those who are here are counted anew, so that each is found again when it
 * leaves.
 */
function followPrefixes(listener: u32): void {
  const gate = gateAt(listenerGate(listener));
  const prefixes = listenerLimitsAt(listener).sourcePrefixes;
  if (gate.prefixes == prefixes) return;
  for (let slot: u32 = 0; slot < slotsEnd(); slot++) if (isCounted(slot, listener)) removeSource(cold(slot));
  gate.prefixes = prefixes;
  for (let slot: u32 = 0; slot < slotsEnd(); slot++) if (isCounted(slot, listener)) addSource(slot, cold(slot));
}

function isCounted(slot: u32, listener: u32): bool {
  return (tallyOf(slot).marks & <u8>MARK_SOURCE) != 0 && cold(slot).listener == <u8>listener;
}

function sourceOf(line: Cold): u64 {
  return sourceOfPeer(line, gateAt(listenerGate(line.listener)).prefixes);
}

/** The entry of the line's source, or the free one where it belongs. */
function find(line: Cold): u32 {
  const source = sourceOf(line);
  const family = familyOfPeer(line);
  let index = homeOf(source, line.listener, family);
  while (isOfOther(entryAt(index), source, line.listener, family)) index = (index + 1) & mask;
  return index;
}

function isOfOther(entry: SourceCount, source: u64, listener: u16, family: u16): bool {
  if (entry.connections == 0) return false;
  return entry.source != source || entry.listener != listener || entry.family != family;
}

/** Those behind a freed entry move up, unless they would come before the place where a search for them begins. */
function closeGap(gap: u32): void {
  for (let index = (gap + 1) & mask; entryAt(index).connections != 0; index = (index + 1) & mask) {
    const entry = entryAt(index);
    const home = homeOf(entry.source, entry.listener, entry.family);
    if (((index - home) & mask) < ((index - gap) & mask)) continue;
    memory.copy(changetype<usize>(entryAt(gap)), changetype<usize>(entry), SOURCE_COUNT_BYTES);
    entry.connections = 0;
    gap = index;
  }
}

function entryAt(index: u32): SourceCount {
  return changetype<SourceCount>(entries + <usize>index * SOURCE_COUNT_BYTES);
}

function homeOf(source: u64, listener: u16, family: u16): u32 {
  return <u32>sourceHash(source, listener, family) & mask;
}

/** Mixed with the worker's own seed: nobody outside can choose addresses that meet. */
export function sourceHash(source: u64, listener: u16, family: u16): u64 {
  const seed = (<u64>header().randomSeed) << 32;
  return mix64(mix64(source ^ seed) + (((<u64>family) << 16) | listener));
}
