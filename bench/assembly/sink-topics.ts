// Who of a sink's ring has subscribed to what. Filters without wildcards are found by a hash of their text, so that a
// message's cost doesn't grow with them; those with wildcards are tried one after the other.
//
//   heads: u32 for each hash, filter + 1 | filters | nodes: one for each subscription
//
// All of it is memory that nobody touches before the first SUBSCRIBE.
import { NONE } from '../../assembly/layout';
import { CROWD_SUBSCRIPTIONS } from '../layout';
import { base, peer } from './peer';

const FILTERS_MAX: u32 = 32768;
const HASHES: u32 = 32768;
const NODES_MAX: u32 = 65536;
const TEXT_BYTES_MAX: u32 = 100;
const PLUS: u8 = 0x2b;
const HASH_SIGN: u8 = 0x23;
const SLASH: u8 = 0x2f;
const DOLLAR: u8 = 0x24;

/** Links hold an index + 1, so that zeroed memory is an empty list. */
@unmanaged
class Filter {
  /** Of its hash, or of those with wildcards. */
  next: u32;
  previous: u32;
  nodes: u32;
  hash: u32;
  wild: u32;
  bytes: u32;
  text: u32;
}
const FILTER_BYTES: u32 = offsetof<Filter>('text') + TEXT_BYTES_MAX;

@unmanaged
class Node {
  slot: u32;
  filter: u32;
  nextOfFilter: u32;
  previousOfFilter: u32;
  nextOfSlot: u32;
}

const HEADS: u32 = CROWD_SUBSCRIPTIONS;
const FILTERS: u32 = HEADS + HASHES * 4;
const NODES: u32 = FILTERS + FILTERS_MAX * FILTER_BYTES;

let wildHead: u32 = 0;
let filtersTouched: u32 = 0;
let filterFree: u32 = 0;
let nodesTouched: u32 = 0;
let nodeFree: u32 = 0;

function filterAt(index: u32): Filter {
  return changetype<Filter>(base + FILTERS + <usize>index * FILTER_BYTES);
}

function nodeAt(index: u32): Node {
  return changetype<Node>(base + NODES + <usize>index * offsetof<Node>());
}

function textOf(filter: Filter): usize {
  return changetype<usize>(filter) + offsetof<Filter>('text');
}

/** False when there is no room for it, or its filter is too long. */
export function subscribe(slot: u32, text: usize, bytes: u32): bool {
  let filter = find(text, bytes);
  if (filter == 0) filter = addFilter(text, bytes);
  if (filter == 0) return false;
  for (let entry = peer(slot).subscriptions; entry != 0; entry = nodeAt(entry - 1).nextOfSlot) {
    if (nodeAt(entry - 1).filter == filter) return true;
  }
  const entry = takeNode();
  if (entry == 0) return false;
  const node = nodeAt(entry - 1);
  const line = filterAt(filter - 1);
  node.slot = slot;
  node.filter = filter;
  node.nextOfFilter = line.nodes;
  node.previousOfFilter = 0;
  if (line.nodes != 0) nodeAt(line.nodes - 1).previousOfFilter = entry;
  line.nodes = entry;
  node.nextOfSlot = peer(slot).subscriptions;
  peer(slot).subscriptions = entry;
  return true;
}

/** The code for an UNSUBACK of 5.0: success, or that there was no such subscription. */
export function unsubscribe(slot: u32, text: usize, bytes: u32): u32 {
  const filter = find(text, bytes);
  let previous: u32 = 0;
  for (let entry = peer(slot).subscriptions; entry != 0; entry = nodeAt(entry - 1).nextOfSlot) {
    const node = nodeAt(entry - 1);
    if (filter != 0 && node.filter == filter) {
      if (previous == 0) peer(slot).subscriptions = node.nextOfSlot;
      else nodeAt(previous - 1).nextOfSlot = node.nextOfSlot;
      dropNode(entry);
      return 0;
    }
    previous = entry;
  }
  return 0x11;
}

/** Of a connection that has ended. */
export function forgetSubscriptions(slot: u32): void {
  for (let entry = peer(slot).subscriptions; entry != 0; ) {
    const next = nodeAt(entry - 1).nextOfSlot;
    dropNode(entry);
    entry = next;
  }
  peer(slot).subscriptions = 0;
}

// ---- Who gets a message ----------------------------------------------------------------------------------------------

let topic: usize = 0;
let topicBytes: u32 = 0;
/** The next filter with wildcards to be tried, and the next subscription of the one that matches. */
let wildNext: u32 = 0;
let nodeNext: u32 = 0;

/** nextSubscriber() then names one after the other. */
export function openTopic(text: usize, bytes: u32): void {
  topic = text;
  topicBytes = bytes;
  wildNext = wildHead;
  const exact = find(text, bytes);
  nodeNext = exact == 0 ? 0 : filterAt(exact - 1).nodes;
}

/** NONE: that were all. Whoever has subscribed twice to the topic comes twice, as section 3.3.5 of 3.1.1 allows. */
export function nextSubscriber(): u32 {
  while (nodeNext == 0) {
    if (wildNext == 0) return NONE;
    const filter = filterAt(wildNext - 1);
    wildNext = filter.next;
    if (matches(textOf(filter), filter.bytes)) nodeNext = filter.nodes;
  }
  const node = nodeAt(nodeNext - 1);
  nodeNext = node.nextOfFilter;
  return node.slot;
}

/** Section 4.7 of 3.1.1. */
function matches(filter: usize, bytes: u32): bool {
  if (topicBytes != 0 && load<u8>(topic) == DOLLAR && load<u8>(filter) != DOLLAR) return false;
  let at: u32 = 0;
  let place: u32 = 0;
  while (place < bytes) {
    const character = load<u8>(filter + place);
    if (character == HASH_SIGN) return true;
    if (character == PLUS) {
      while (at < topicBytes && load<u8>(topic + at) != SLASH) at++;
    } else if (at < topicBytes && load<u8>(topic + at) == character) {
      at++;
    } else {
      // "a/#" also stands for its parent, "a".
      return at == topicBytes && character == SLASH && place + 2 == bytes && load<u8>(filter + place, 1) == HASH_SIGN;
    }
    place++;
  }
  return at == topicBytes;
}

// ---- Filters and nodes -----------------------------------------------------------------------------------------------

/** Index + 1, or 0. */
function find(text: usize, bytes: u32): u32 {
  const hash = hashOf(text, bytes);
  const first = isWild(text, bytes) ? wildHead : load<u32>(headOf(hash));
  for (let entry = first; entry != 0; entry = filterAt(entry - 1).next) {
    const filter = filterAt(entry - 1);
    if (filter.hash == hash && filter.bytes == bytes && memory.compare(textOf(filter), text, bytes) == 0) return entry;
  }
  return 0;
}

function addFilter(text: usize, bytes: u32): u32 {
  if (bytes == 0 || bytes > TEXT_BYTES_MAX) return 0;
  let entry = filterFree;
  if (entry != 0) filterFree = filterAt(entry - 1).next;
  else if (filtersTouched < FILTERS_MAX) entry = ++filtersTouched;
  else return 0;
  const filter = filterAt(entry - 1);
  filter.hash = hashOf(text, bytes);
  filter.wild = isWild(text, bytes) ? 1 : 0;
  filter.bytes = bytes;
  filter.nodes = 0;
  memory.copy(textOf(filter), text, bytes);
  const first = filter.wild ? wildHead : load<u32>(headOf(filter.hash));
  filter.next = first;
  filter.previous = 0;
  if (first != 0) filterAt(first - 1).previous = entry;
  setHead(filter, entry);
  return entry;
}

function dropFilter(entry: u32): void {
  const filter = filterAt(entry - 1);
  if (filter.next != 0) filterAt(filter.next - 1).previous = filter.previous;
  if (filter.previous != 0) filterAt(filter.previous - 1).next = filter.next;
  else setHead(filter, filter.next);
  filter.next = filterFree;
  filterFree = entry;
}

function setHead(filter: Filter, entry: u32): void {
  if (filter.wild) wildHead = entry;
  else store<u32>(headOf(filter.hash), entry);
}

function takeNode(): u32 {
  const entry = nodeFree;
  if (entry == 0) return nodesTouched < NODES_MAX ? ++nodesTouched : 0;
  nodeFree = nodeAt(entry - 1).nextOfSlot;
  return entry;
}

/** Out of its filter's list; out of its slot's is the caller's. */
function dropNode(entry: u32): void {
  const node = nodeAt(entry - 1);
  const filter = filterAt(node.filter - 1);
  if (node.nextOfFilter != 0) nodeAt(node.nextOfFilter - 1).previousOfFilter = node.previousOfFilter;
  if (node.previousOfFilter != 0) nodeAt(node.previousOfFilter - 1).nextOfFilter = node.nextOfFilter;
  else filter.nodes = node.nextOfFilter;
  if (filter.nodes == 0) dropFilter(node.filter);
  node.nextOfSlot = nodeFree;
  nodeFree = entry;
}

function headOf(hash: u32): usize {
  return base + HEADS + <usize>(hash & (HASHES - 1)) * 4;
}

/** FNV-1a. */
function hashOf(text: usize, bytes: u32): u32 {
  let hash: u32 = 0x811c9dc5;
  for (let index: u32 = 0; index < bytes; index++) hash = (hash ^ load<u8>(text + index)) * 0x01000193;
  return hash;
}

function isWild(text: usize, bytes: u32): bool {
  for (let index: u32 = 0; index < bytes; index++) {
    const character = load<u8>(text + index);
    if (character == PLUS || character == HASH_SIGN) return true;
  }
  return false;
}
