// The life of a connection as both engines live it: open, decide, dial, next, close. How bytes are moved in between is
// each engine's own (proxy.ts here, portable.ts in TypeScript).

import { holdsPeer } from '../identity/addresses';
import { rewrittenAddress } from '../identity/rules';
import {
  COLD_FRAMING,
  DRAIN_BYTES,
  EVICTION_GOODBYE,
  FRAMING_BOUNDARY,
  FRAMING_UNKNOWN,
  HEADER_OFFSET,
  HEADER_ORPHANS_DUE_MS,
  NONE,
  REASON_ADDRESS_DENIED,
  REASON_HOOK_REFUSED,
  REASON_IDLE_TIMEOUT,
  REASON_KEEP_ALIVE_TIMEOUT,
  REASON_NONE,
  REASON_TAKE_OVER_LOOP,
  VERDICT_ASK,
  VERDICT_DIAL,
  VERDICT_MORE,
  VERDICT_QUEUE,
  VERDICT_REFUSE,
} from '../layout';
import { Cold, drainOf, memberAt } from '../memory';

import { writeRefusal, writeRefusalWith } from '../mqtt/connack';
import { referringDisconnectBytes, SERVER_DISCONNECT_BYTES, writeDisconnect } from '../mqtt/disconnect';
import { advanceFraming, bytesOfPacket } from '../mqtt/framing';
import { keepAliveInForce } from '../mqtt/server-keep-alive';
import { addressesAt, hookAt, listenerAt, observeSnapshot, poolAt, poolLimitsAt, snapshot } from '../snapshot';
import { admit, attachAdmission, leave, nextReleased, onQueueTimer } from './admission';
import { beginHalfOpen, countArrival, crowdedOut, endHalfOpen } from './arrivals';
import { attachClientIds, forgetClientId } from './client-id';
import { decide, dropBackend, poolFor, refuseWithoutPool, takeBackend } from './decide';
import { evictionOf } from './evictions';
import { countAnswer, countConnected, countEnd, sinceUs } from './figures';
import { askForHeader, readHeader } from './front-header';
import { writeGreeting } from './greeting';
import { applyDecision, ask, attachHooks, onHookTimer } from './hook';
import { routeTo } from './pass-through';
import { stepOut } from './queue';
import { writeRecord } from './records';
import { leaveSource } from './source-counts';
import { restSource, sourceOf } from './sources';
import {
  abandonSlot,
  attachTable,
  backendCounters,
  cold,
  count,
  FLAG_ANSWERED,
  FLAG_ESTABLISHED,
  FLAG_KEEP_ALIVE_UNKNOWN,
  FLAG_OUT_OF_PORTS,
  freeSlot,
  header,
  hot,
  listenerActive,
  PHASE_ACCEPTING,
  PHASE_ASKING,
  PHASE_DIALLING,
  PHASE_FREE,
  PHASE_OPEN,
  PHASE_QUEUED,
  PHASE_READING,
  setPhase,
  takeSlot,
} from './table';
import { beginSession, endSession, mustPause } from './take-overs';
import { currentTick } from './timers';

/** A slot in phase READING for a client of that listener, or NONE when the table is full. */
export function connectionOpen(listener: u32): u32 {
  const slot = takeSlot();
  if (slot == NONE) return NONE;
  beginLife(slot, listener);
  return slot;
}

/** The client is there; its address is written by the engine. */
export function beginLife(slot: u32, listener: u32): void {
  const line = cold(slot);
  line.bytesFromClient = 0;
  line.bytesToClient = 0;
  line.openedMs = header().clockMs + header().wallMs;
  line.keyHash = 0;
  line.tried = 0;
  line.listener = <u8>listener;
  line.backend = NONE;
  line.reason = <u16>REASON_NONE;
  line.keepAlive = 0;
  line.version = 0;
  line.clientTick = currentTick();
  line.clientIdBytes = 0;
  line.greeting = 0;
  line.framingFromClient = FRAMING_BOUNDARY;
  line.framingFromBackend = FRAMING_BOUNDARY;
  setPhase(slot, PHASE_READING);
  count().accepted++;
  count().slotsUsed++;
  const active = listenerActive(listener);
  store<u32>(active, load<u32>(active) + 1);
}

/**
 * Its address is known, and nothing was read: VERDICT_MORE, VERDICT_HEADER when connectionHeader has to be asked before
 * connectionDecide, or VERDICT_REFUSE.
 */
export function connectionArrived(slot: u32): u32 {
  const line = cold(slot);
  let verdict: u32 = VERDICT_MORE;
  if (listenerAt(line.listener).fronts != 0) verdict = askForHeader(slot);
  else if (!mayCome(slot, line)) verdict = VERDICT_REFUSE;
  if (verdict != VERDICT_REFUSE) beginHalfOpen(slot, line);
  return verdict;
}

/** After connectionArrived: a slot of the listener that is to be closed, since too many are half open; or NONE. */
export function connectionCrowdedOut(listener: u32): u32 {
  return crowdedOut(listener);
}

/** Instead, when a proxy has brought it, who is no client and will tell whose connection it is. */
export function connectionBrought(slot: u32): u32 {
  const line = cold(slot);
  if (listenerAt(line.listener).fronts != 0) return connectionArrived(slot);
  beginHalfOpen(slot, line);
  return VERDICT_MORE;
}

/** A front door has found out that the connection is another's, whose address is about to be written. */
export function connectionUnnamed(slot: u32): void {
  leaveSource(slot);
}

/** Whose connection it is is known now: VERDICT_MORE or VERDICT_REFUSE. */
export function connectionRenamed(slot: u32): u32 {
  return mayCome(slot, cold(slot)) ? VERDICT_MORE : VERDICT_REFUSE;
}

/** How many of the connection's first bytes are a front's header; 0: it isn't whole yet; NONE: the slot is refused. */
export function connectionHeader(slot: u32, bytes: usize, length: u32): u32 {
  return readHeader(slot, bytes, length);
}

/** Whether the client's listener lets it in from where it is; else the reason is set. */
function mayCome(slot: u32, line: Cold): bool {
  const listener = listenerAt(line.listener);
  const isAllowed = listener.addresses == 0 || holdsPeer(addressesAt(listener), line);
  line.reason = <u16>(isAllowed ? countArrival(slot, line) : REASON_ADDRESS_DENIED);
  return line.reason == REASON_NONE;
}

/**
 * VERDICT_* for the bytes that came so far, in one piece from the connection's first, or the header's end; `front`: its
 * Front block, or 0.
 */
export function connectionDecide(slot: u32, bytes: usize, length: u32, front: usize): u32 {
  assert(hot(slot).phase == PHASE_READING);
  const verdict = decide(slot, bytes, length, front);
  if (verdict != VERDICT_MORE) endHalfOpen(slot);
  return verdict == VERDICT_DIAL ? advance(slot, bytes, front) : verdict;
}

/** Its CONNECT is what its broker would get. Its listener's hook is asked first, if there is one. */
function advance(slot: u32, packet: usize, front: usize): u32 {
  if (hot(slot).phase != PHASE_READING || hookAt(cold(slot).listener).timeoutMs == 0)
    return enterPhase(slot, letIn(slot));
  return settle(slot, ask(slot, packet, front));
}

function settle(slot: u32, verdict: u32): u32 {
  return enterPhase(slot, verdict == VERDICT_DIAL ? letIn(slot) : verdict);
}

/** Its name and its pool are what they will be. */
function letIn(slot: u32): u32 {
  const line = cold(slot);
  if (!mustPause(slot, line, poolLimitsAt(line.pool).id)) return admit(slot);
  line.reason = <u16>REASON_TAKE_OVER_LOOP;
  return VERDICT_REFUSE;
}

/**
 * For a slot that takeDecision has found: VERDICT_*. `bytes` and `front` are what they are for connectionDecide, with the
 * rewritten CONNECT in its place.
 */
export function connectionDecided(slot: u32, bytes: usize, length: u32, front: usize): u32 {
  assert(hot(slot).phase == PHASE_ASKING);
  return settle(slot, applyDecision(slot, bytes, length, front));
}

/** The slot's hook has not decided in time: VERDICT_*. */
export function connectionUndecided(slot: u32): u32 {
  assert(hot(slot).phase == PHASE_ASKING);
  return settle(slot, onHookTimer(slot));
}

/**
 * Instead, of a client that speaks TLS to a backend of the pool with that id: VERDICT_DIAL, VERDICT_QUEUE or
 * VERDICT_REFUSE.
 */
export function connectionRouted(slot: u32, pool: u32, front: usize): u32 {
  assert(hot(slot).phase == PHASE_READING);
  const verdict = routeTo(slot, pool, front);
  endHalfOpen(slot);
  return verdict == VERDICT_DIAL ? enterPhase(slot, admit(slot)) : verdict;
}

/** The one that the verdict asks for, which is returned. */
function enterPhase(slot: u32, verdict: u32): u32 {
  if (verdict == VERDICT_DIAL) setPhase(slot, PHASE_DIALLING);
  else if (verdict == VERDICT_QUEUE) setPhase(slot, PHASE_QUEUED);
  else if (verdict == VERDICT_ASK) setPhase(slot, PHASE_ASKING);
  return verdict;
}

/**
 * After VERDICT_REWRITTEN, when the rewritten CONNECT is in its place: what else VERDICT_* can be. `front`: as before.
 */
export function connectionAdmit(slot: u32, front: usize): u32 {
  assert(hot(slot).phase == PHASE_READING || hot(slot).phase == PHASE_ASKING);
  return advance(slot, rewrittenAddress(), front);
}

/** The next slot whose wait is over, NONE when there is none; connectionReleased says what is to be done with it. */
export function connectionRelease(): u32 {
  const slot = nextReleased();
  if (slot != NONE && cold(slot).backend != NONE) setPhase(slot, PHASE_DIALLING);
  return slot;
}

export function connectionReleased(slot: u32): u32 {
  return hot(slot).phase == PHASE_DIALLING ? VERDICT_DIAL : VERDICT_REFUSE;
}

/** The slot has waited for as long as it may: VERDICT_QUEUE when it waits for something else now. */
export function connectionWaited(slot: u32): u32 {
  assert(hot(slot).phase == PHASE_QUEUED);
  return enterPhase(slot, onQueueTimer(slot));
}

/** The client has left, or is refused: it stands in no lane or list any more. */
export function connectionLeaveQueue(slot: u32): void {
  endHalfOpen(slot);
  stepOut(slot);
}

/** The dial failed: VERDICT_DIAL with another member chosen, VERDICT_QUEUE or VERDICT_REFUSE. */
export function connectionNext(slot: u32): u32 {
  const line = cold(slot);
  assert(line.backend != NONE);
  backendCounters(line.backend).failures++;
  dropBackend(line);
  return chooseAgain(slot);
}

/**
 * The source had no port left for the dial, which says nothing of the backend: VERDICT_DIAL with another source or, when
 * all of them rest, another member; or VERDICT_QUEUE, or VERDICT_REFUSE.
 */
export function connectionOutOfPorts(slot: u32): u32 {
  const line = cold(slot);
  const backend = line.backend;
  assert(backend != NONE);
  restSource(line);
  // The place that it has there is kept meanwhile: whoever counts must not see it free.
  const counters = backendCounters(backend);
  counters.active++;
  dropBackend(line);
  const isTaken = isOfSnapshot(slot) && takeBackend(slot, backend);
  counters.active--;
  if (isTaken) return VERDICT_DIAL;
  hot(slot).flags |= FLAG_OUT_OF_PORTS;
  return chooseAgain(slot);
}

function chooseAgain(slot: u32): u32 {
  const line = cold(slot);
  if (!isOfSnapshot(slot)) {
    // Pools and members have other numbers now: begin again with those of the listener.
    const pool = poolFor(slot);
    if (pool == NONE) return refuseWithoutPool(line);
    line.pool = <u8>pool;
    line.tried = 0;
  }
  return enterPhase(slot, admit(slot));
}

/** The slot's pool and member are numbers of the snapshot in force. */
function isOfSnapshot(slot: u32): bool {
  return hot(slot).epoch == <u16>snapshot().epoch;
}

/** The dial succeeded, and CONNECT is about to be sent. */
export function connectionConnected(slot: u32): void {
  countConnected(cold(slot));
}

/** The backend has taken the CONNECT: what the client has said so far is its own. */
export function connectionDialled(slot: u32): void {
  const line = cold(slot);
  const backend = backendCounters(line.backend);
  backend.connects++;
  backend.bytesTo += line.bytesFromClient;
  // Of TLS that goes through no answer is read.
  hot(slot).flags |= line.version == 0 ? FLAG_ESTABLISHED | FLAG_ANSWERED : FLAG_ESTABLISHED;
  setPhase(slot, PHASE_OPEN);
}

/** The backend's first bytes: an MQTT 5.0 server may set another keep alive than the client asked for. */
export function connectionAnswered(slot: u32, bytes: usize, length: u32): void {
  hot(slot).flags |= FLAG_ANSWERED;
  const line = cold(slot);
  if (countAnswer(line, bytes, length) == 0) beginSession(slot, line, <f64>sinceUs(line) / 1000);
  if (line.version != 5) return;
  const seconds = keepAliveInForce(bytes, length, line.keepAlive);
  if (seconds == NONE) hot(slot).flags |= FLAG_KEEP_ALIVE_UNKNOWN;
  else line.keepAlive = <u16>seconds;
}

/** The client has sent all that it will: whoever comes by its name takes nobody's place any more. */
export function connectionClientEnded(slot: u32): void {
  endSession(slot);
}

/** Milliseconds that the client may be silent before it is closed for idleReason; 0: for ever. */
export function idleLimitMs(slot: u32): u32 {
  const line = cold(slot);
  const settings = listenerAt(line.listener);
  if (line.keepAlive == 0) return settings.idleTimeoutMs;
  if (hot(slot).flags & FLAG_KEEP_ALIVE_UNKNOWN) return 0;
  return <u32>line.keepAlive * settings.keepAlivePercent * 10;
}

export function idleReason(slot: u32): u32 {
  return cold(slot).keepAlive == 0 ? REASON_IDLE_TIMEOUT : REASON_KEEP_ALIVE_TIMEOUT;
}

/** The refusal that fits the reason and the client's version, at most REFUSAL_BYTES_MAX; 0: close without a word. */
export function connectionRefusal(slot: u32, out: usize): u32 {
  const line = cold(slot);
  if (line.reason == REASON_HOOK_REFUSED) return writeRefusalWith(line.choice, line.version, out);
  return writeRefusal(line.reason, line.version, out);
}

export function connectionMoved(slot: u32, fromClient: u32, toClient: u32): void {
  if (fromClient > 0) countFromClient(slot, fromClient);
  if (toClient > 0) countToClient(slot, toClient);
}

// Sums grow with each message and not at a connection's end, which may be a month away. What that touches beyond the
// connection's own lines are the worker's first line of counters, which every message needs for its buffer, and one line
// for each backend.

export function countFromClient(slot: u32, length: u32): void {
  const line = cold(slot);
  line.bytesFromClient += length;
  line.clientTick = currentTick();
  count().bytesFromClients += length;
  if (hot(slot).flags & FLAG_ESTABLISHED) backendCounters(line.backend).bytesTo += length;
}

export function countToClient(slot: u32, length: u32): void {
  const line = cold(slot);
  line.bytesToClient += length;
  count().bytesToClients += length;
  if (hot(slot).flags & FLAG_ESTABLISHED) backendCounters(line.backend).bytesFrom += length;
}

/** The side's next bytes have come: notes where in a packet they end. */
export function connectionFramed(slot: u32, side: u32, bytes: usize, length: u32): void {
  const framing = framingAddress(slot, side);
  store<u32>(framing, advanceFraming(load<u32>(framing), bytes, length));
}

/** Nothing of this side's that was received would be cut if nothing followed, as far as that is known. */
export function connectionMayCut(slot: u32, side: u32): bool {
  const framing = load<u32>(framingAddress(slot, side));
  return framing == FRAMING_BOUNDARY || framing == FRAMING_UNKNOWN;
}

/** How many of the side's next bytes belong to the packet that it has begun. */
export function connectionRest(slot: u32, side: u32, bytes: usize, length: u32): u32 {
  return bytesOfPacket(load<u32>(framingAddress(slot, side)), bytes, length);
}

/**
 * Writes what an evicted client is told behind its last packet, at most `room` bytes, and returns how many those are.
 * None for a client of MQTT 3, for one that waits for its CONNACK, or in the middle of a packet.
 */
export function connectionFarewell(slot: u32, out: usize, room: u32): u32 {
  const eviction = evictionOf(slot);
  const line = cold(slot);
  if (eviction.code == 0 || line.version != 5 || !(hot(slot).flags & FLAG_ANSWERED)) return 0;
  if (line.framingFromBackend != FRAMING_BOUNDARY || !fits(SERVER_DISCONNECT_BYTES, slot, room)) return 0;
  const pool = poolNow(slot);
  if (pool == NONE || eviction.reference == 0) return writeDisconnect(eviction.code, 0, 0, out);
  const drain = drainOf(poolAt(pool));
  const refers = fits(referringDisconnectBytes(drain.referenceBytes), slot, room);
  return writeDisconnect(eviction.code, changetype<usize>(drain) + DRAIN_BYTES, refers ? drain.referenceBytes : 0, out);
}

/** The backend is told, in the client's name, that the client leaves in good order. */
export function connectionSaysGoodbye(slot: u32): bool {
  return (evictionOf(slot).flags & EVICTION_GOODBYE) != 0 && cold(slot).framingFromClient == FRAMING_BOUNDARY;
}

/** A server must not send more than the client's Maximum Packet Size [MQTT-3.1.2-24]. */
function fits(length: u32, slot: u32, room: u32): bool {
  const packetBytesMax = <u32>hot(slot).clientPacketBytesMax;
  return length <= room && (packetBytesMax == 0 || length <= packetBytesMax);
}

/**
 * Its backend has ended and has said all it had: how many milliseconds the client still keeps its connection. When a
 * backend dies all of its clients are left behind at once, and all would come back at once.
 */
export function connectionOrphaned(slot: u32): u32 {
  const pool = poolNow(slot);
  if (pool == NONE) return 0;
  const intervalUs = drainOf(poolAt(pool)).orphanIntervalUs;
  if (intervalUs == 0) return 0;
  const next = <usize>(HEADER_OFFSET + HEADER_ORPHANS_DUE_MS) + <usize>pool * 8;
  const nowMs = header().clockMs;
  const dueMs = max<f64>(nowMs, load<f64>(next));
  store<f64>(next, dueMs + <f64>intervalUs / 1000);
  return <u32>(dueMs - nowMs);
}

/** Its pool may have another number since it was chosen, or have gone with its listener: NONE. */
function poolNow(slot: u32): u32 {
  const line = cold(slot);
  // For a long session the epoch's end may have come round: what its number stands for now is as good.
  if (isOfSnapshot(slot) && line.pool < <u8>snapshot().poolCount) return line.pool;
  return poolFor(slot);
}

function framingAddress(slot: u32, side: u32): usize {
  return changetype<usize>(cold(slot)) + COLD_FRAMING + (side << 2);
}

/**
 * Ends the life: one access record, with the Front block if there is one, then the slot is free. The first reason given
 * stands.
 */
export function connectionClose(slot: u32, reason: u32, front: usize): void {
  const line = cold(slot);
  if (line.reason == REASON_NONE) line.reason = <u16>reason;
  endLife(slot, front);
  freeSlot(slot);
}

export function endLife(slot: u32, front: usize): void {
  const line = cold(slot);
  const active = listenerActive(line.listener);
  store<u32>(active, load<u32>(active) - 1);
  const totals = count();
  totals.closed++;
  totals.slotsUsed--;
  countEnd(slot);
  writeRecord(slot, front);
  endSession(slot);
  dropBackend(line);
  forgetClientId(line);
  endHalfOpen(slot);
  leave(slot);
}

/** Milliseconds from accept to a complete CONNECT. */
export function connectTimeoutMs(slot: u32): u32 {
  return listenerAt(cold(slot).listener).connectTimeoutMs;
}

/** Milliseconds for one dial. */
export function dialTimeoutMs(slot: u32): u32 {
  return poolAt(cold(slot).pool).connectTimeoutMs;
}

/** PROXY_PROTOCOL_* of the pool that the slot was given a backend of. */
export function proxyProtocol(slot: u32): u32 {
  return poolAt(cold(slot).pool).proxyProtocol;
}

/**
 * Writes the PROXY header for the backend that is to be dialled. `local` is the sockaddr that the client has connected
 * to, 0 for the one that the listener is bound to; `tlvs` are whole TLVs, what a front door has to say of the client.
 * Returns the header's bytes, at most PROXY_HEADER_BYTES_MAX.
 */
export function connectionGreeting(slot: u32, local: usize, tlvs: usize, tlvBytes: u32, out: usize): u32 {
  return writeGreeting(slot, local, tlvs, tlvBytes, out);
}

/** The member to dial; the address holds until the next snapshot is observed. */
export function memberAddress(slot: u32): usize {
  return changetype<usize>(memberAt(poolAt(cold(slot).pool), cold(slot).member));
}

/** The Source to dial from, 0 when the system chooses; the address holds as long as the member's. */
export function sourceAddress(slot: u32): usize {
  return sourceOf(cold(slot), poolAt(cold(slot).pool));
}

/** Ends every connection of a worker that died: called by the main thread over that worker's memory. */
export function sweep(reason: u32): void {
  attachTable();
  attachAdmission();
  attachClientIds();
  attachHooks();
  observeSnapshot();
  for (let slot: u32 = 0; slot < header().connectionsMax; slot++) {
    const phase = hot(slot).phase;
    if (phase == PHASE_FREE || phase == PHASE_ACCEPTING) continue;
    abandonSlot(slot);
    const line = cold(slot);
    if (line.reason == REASON_NONE) line.reason = <u16>reason;
    endLife(slot, 0);
  }
}
