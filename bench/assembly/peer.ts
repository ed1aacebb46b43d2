// What swarm and sink have in common: a connection's place in the table, what waits to be sent on it, the ring's settings
// and counters.

import { IOVECS_MAX, NONE } from '../../assembly/layout';
import { Cold } from '../../assembly/memory';
import { appendBuffer, borrowBuffer, consume, holdsTooMuch, note } from '../../assembly/proxy/buffers';
import { BACKEND, CLIENT, cold, Direction, direction, header, hot } from '../../assembly/proxy/table';
import { addPiece, identity, OP_SEND, pieceAddress, prepSend, prepSendMessage } from '../../assembly/uring/ops';
import { bufferAddress } from '../../assembly/uring/ring';
import { CROWD_PACKET, CROWD_REASONS, CROWD_ROLE, ROLE_SINK } from '../layout';

/** Waits until there is something to receive. */
export const OP_POLL: u32 = 8;
/** Waits for free buffers; counts among the pending operations. */
export const OP_BUFFERS: u32 = 30;

/** Closed as soon as all is sent. */
export const FLAG_LEAVING: u32 = 1;
/** A client of the swarm whose first attempt is over. */
export const FLAG_TRIED: u32 = 2;
/** A client of the swarm that was open before. */
export const FLAG_KNOWN: u32 = 4;

/** What a connection knows beside its hot line, in place of the data plane's cold one. */
@unmanaged
export class Peer {
  /** When the PINGREQ that has no answer yet was due, in microseconds; 0: there is none. */
  pingDueUs: f64;
  /** When it was dialled. */
  begunUs: f64;
  /** When bytes came last. */
  heardUs: f64;
  /** Bytes that wait for the rest of their packet, and how many it needs, as far as that is known. */
  heldBytes: u32;
  wantedBytes: u32;
  /** Identifier of the packet sent last that has one. */
  packetId: u16;
  /** Messages of QoS 1 and 2 whose delivery isn't complete. */
  inFlight: u16;
  inFlightMax: u16;
  /** Protocol level; 0 before the CONNECT. */
  version: u8;
  /** More is likely to come at once. */
  talks: bool;
  /** The sink's: its first subscription, a node + 1; see sink-topics.ts. */
  subscriptions: u32;
}
if (offsetof<Peer>() > offsetof<Cold>()) ERROR('Peer is larger than its place');

export let base: usize = 0;

export function attachBlock(): void {
  base = header().snapshots;
}

export function peer(slot: u32): Peer {
  return changetype<Peer>(cold(slot));
}

export function emptyPeer(slot: u32): void {
  memory.fill(changetype<usize>(cold(slot)), 0, offsetof<Peer>());
}

export function isSink(): bool {
  return setting(CROWD_ROLE) == ROLE_SINK;
}

// ---- Operations ------------------------------------------------------------------------------------------------------

/** A connection has one file. The data plane's slots have two places each, so this is one of a pair's: for its slot ... */
export function fileSlot(slot: u32): u32 {
  return slot >> 1;
}

/** ... and for its side. */
export function fileSide(slot: u32): u32 {
  return slot & 1;
}

export function pend(slot: u32, op: u32): u64 {
  const line = hot(slot);
  assert((line.pending & (1 << op)) == 0);
  line.pending |= 1 << op;
  return identity(op, slot, line.generation);
}

export function done(slot: u32, op: u32): void {
  assert(isPending(slot, op));
  hot(slot).pending &= ~(1 << op);
}

export function isPending(slot: u32, op: u32): bool {
  return (hot(slot).pending & (1 << op)) != 0;
}

// ---- Bytes -----------------------------------------------------------------------------------------------------------

/** What came and isn't a whole packet yet. */
export function input(slot: u32): Direction {
  return direction(slot, BACKEND);
}

/** What waits to be sent. */
export function output(slot: u32): Direction {
  return direction(slot, CLIENT);
}

/** Where a packet is written before it is queued. */
export function draft(): usize {
  return base + CROWD_PACKET;
}

/** Behind what waits already; flush() sends it. False: there was no buffer for all of it. */
export function queue(slot: u32, from: usize, length: u32): bool {
  const bufferBytes = header().bufferBytes;
  for (let done: u32 = 0; done < length; ) {
    const buffer = borrowBuffer();
    if (buffer == NONE) return false;
    const part = min<u32>(length - done, bufferBytes);
    memory.copy(bufferAddress(buffer), from + done, part);
    note(buffer).end = part;
    appendBuffer(output(slot), buffer);
    done += part;
  }
  return true;
}

/** Sends what waits, unless a send is under way. */
export function sendQueued(slot: u32): void {
  const bytes = output(slot);
  if (bytes.head == NONE || isPending(slot, OP_SEND)) return;
  const userData = pend(slot, OP_SEND);
  if (bytes.head == bytes.tail) {
    const first = note(bytes.head);
    const length = first.end - first.start;
    prepSend(fileSlot(slot), fileSide(slot), pieceAddress(bytes.head, first.start), length, userData);
    return;
  }
  const message = prepSendMessage(fileSlot(slot), fileSide(slot), userData);
  let buffer = bytes.head;
  for (let pieces = 0; buffer != NONE && pieces < IOVECS_MAX; pieces++) {
    addPiece(message, pieceAddress(buffer, note(buffer).start), note(buffer).end - note(buffer).start);
    buffer = note(buffer).next;
  }
}

export function onSent(slot: u32, length: u32): void {
  consume(output(slot), length);
}

/** The other side reads so slowly that nothing more should be queued. */
export function isClogged(slot: u32): bool {
  return holdsTooMuch(output(slot));
}

// ---- Settings and figures --------------------------------------------------------------------------------------------

/** As read when the last system call returned. */
export function nowUs(): f64 {
  return header().clockMs * 1000;
}

export function setting(field: usize): u32 {
  return load<u32>(base + field);
}

/** Events a second; 0: none. */
export function rate(field: usize): f64 {
  return load<f64>(base + field);
}

export function add(field: usize, value: u64): void {
  store<u64>(base + field, load<u64>(base + field) + value);
}

/** `reason`: ENDED_*. */
export function countReason(reason: u32): void {
  const at = base + CROWD_REASONS + <usize>reason * 4;
  store<u32>(at, load<u32>(at) + 1);
}
