// How many clients each source address has, in this worker: a hash table with open addressing, twice as large as the
// connection table, so that it never fills. Only listeners with max_connections_per_source have entries in it.
//
//   SourceCount 16 B: address, the first 64 bits of an IPv6 one | listener | family | connections, 0: the entry is free
import { SOURCE_COUNT_BYTES } from '../layout';
import { Cold } from '../memory';
import { mix64 } from '../route/hash';
import { AF_INET, AF_INET6 } from '../uring/abi';
import { talliesEnd } from './gates';
import { header } from './table';

@unmanaged
class SourceCount {
  address: u64;
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

export function sourceCount(line: Cold): u32 {
  return entryAt(find(line)).connections;
}

export function addSource(line: Cold): void {
  const entry = entryAt(find(line));
  entry.address = addressOf(line);
  entry.listener = line.listener;
  entry.family = familyOf(line);
  entry.connections++;
}

export function removeSource(line: Cold): void {
  const index = find(line);
  const entry = entryAt(index);
  assert(entry.connections > 0);
  entry.connections--;
  if (entry.connections == 0) closeGap(index);
}

/** The entry of the line's address, or the free one where it belongs. */
function find(line: Cold): u32 {
  const address = addressOf(line);
  const family = familyOf(line);
  let index = homeOf(address, line.listener, family);
  while (isOfOther(entryAt(index), address, line.listener, family)) index = (index + 1) & mask;
  return index;
}

function isOfOther(entry: SourceCount, address: u64, listener: u16, family: u16): bool {
  if (entry.connections == 0) return false;
  return entry.address != address || entry.listener != listener || entry.family != family;
}

/** Those behind a freed entry move up, unless they would come before the place where a search for them begins. */
function closeGap(gap: u32): void {
  for (let index = (gap + 1) & mask; entryAt(index).connections != 0; index = (index + 1) & mask) {
    const entry = entryAt(index);
    const home = homeOf(entry.address, entry.listener, entry.family);
    if (((index - home) & mask) < ((index - gap) & mask)) continue;
    memory.copy(changetype<usize>(entryAt(gap)), changetype<usize>(entry), SOURCE_COUNT_BYTES);
    entry.connections = 0;
    gap = index;
  }
}

function entryAt(index: u32): SourceCount {
  return changetype<SourceCount>(entries + <usize>index * SOURCE_COUNT_BYTES);
}

// Mixed with the worker's own seed: nobody outside can choose addresses that meet.
function homeOf(address: u64, listener: u16, family: u16): u32 {
  const seed = (<u64>header().randomSeed) << 32;
  return <u32>mix64(mix64(address ^ seed) + (((<u64>family) << 16) | listener)) & mask;
}

// struct sockaddr_in has its address at 4, sockaddr_in6 at 8. One network of /64 is one household's, or one company's: an
// IPv6 address alone would limit nobody. An IPv4 address in an IPv6 one (::ffff:a.b.c.d) is an IPv4 address.
function addressOf(line: Cold): u64 {
  const peer = peerOf(line);
  if (familyOf(line) == <u16>AF_INET6) return load<u64>(peer, 8);
  return load<u32>(peer + (load<u16>(peer) == AF_INET6 ? 20 : 4));
}

function familyOf(line: Cold): u16 {
  const peer = peerOf(line);
  if (load<u16>(peer) != AF_INET6) return <u16>AF_INET;
  const isMapped = load<u64>(peer, 8) == 0 && load<u32>(peer, 16) == 0xffff0000;
  return isMapped ? <u16>AF_INET : <u16>AF_INET6;
}

function peerOf(line: Cold): usize {
  return changetype<usize>(line) + offsetof<Cold>('_peer0');
}
