// The life of a connection on the rings, in the order in which it is lived: accepted, read, dialled, greeted, open,
// closing. armX asks the kernel for something, onX receives the answer. Every answer does the same: clear the bit;
// closing? then join; handle the error; go on.

import { replacedBytes, rewrittenAddress, rewrittenBytes } from '../identity/rules';
import {
  COLD_KEY_HASH,
  COLD_SENT_TICKS,
  COLD_TRIED,
  CONNECT_BYTES_LIMIT,
  EVICTION_ABRUPT,
  HEADER_ACCEPTING,
  HEADER_LISTENER_FDS,
  HEADER_OFFSET,
  IOVECS_MAX,
  LINGER_MS,
  NONE,
  REASON_BACKEND_CLOSED,
  REASON_BACKEND_RESET,
  REASON_BACKEND_STALLED,
  REASON_BUFFERS_SHORT,
  REASON_CLIENT_CLOSED,
  REASON_CLIENT_LEFT_EARLY,
  REASON_CLIENT_LEFT_HOOK,
  REASON_CLIENT_LEFT_QUEUE,
  REASON_CLIENT_RESET,
  REASON_CLIENT_STALLED,
  REASON_CONNECT_TIMEOUT,
  REASON_NONE,
  REASON_SHUTDOWN,
  STALL_MS,
  STALL_WHEN_SHORT_MS,
  VERDICT_ASK,
  VERDICT_DIAL,
  VERDICT_MORE,
  VERDICT_QUEUE,
  VERDICT_REFUSE,
  VERDICT_REWRITTEN,
  WHEEL_TICK_MS,
} from '../layout';
import { Member } from '../memory';
import { DISCONNECT, DISCONNECT_BYTES, endsLikeDisconnect, SERVER_DISCONNECT_BYTES } from '../mqtt/disconnect';
import { publish } from '../shared';
import { listenerAt, snapshot } from '../snapshot';
import {
  EADDRINUSE,
  EADDRNOTAVAIL,
  EAGAIN,
  EBADF,
  ECANCELED,
  ECONNABORTED,
  ENOBUFS,
  IORING_CQE_BUFFER_SHIFT,
  IORING_CQE_F_BUFFER,
  IORING_CQE_F_MORE,
} from '../uring/abi';
import {
  addPiece,
  identity,
  isOfGeneration,
  OP_ACCEPT,
  OP_CANCEL,
  OP_CLOSE,
  OP_DIAL,
  OP_RECEIVE,
  OP_SEND,
  OP_SHUTDOWN,
  OP_WAKE,
  operationOf,
  pieceAddress,
  prepAccept,
  prepCancel,
  prepClose,
  prepDial,
  prepPoll,
  prepReceive,
  prepSend,
  prepSendMessage,
  prepShutdown,
  prepWake,
  slotOf,
} from '../uring/ops';
import { noteStarved, trimBuffers } from '../uring/ring';
import { queueLeftMs, releaseDueMs } from './admission';
import {
  appendBuffer,
  borrowBuffer,
  buffersFree,
  buffersShort,
  consume,
  dropAll,
  gather,
  giveBackBuffer,
  HELD_MAX,
  holdsLittle,
  holdsTooMuch,
  note,
  prepend,
  takeBuffer,
} from './buffers';
import {
  beginLife,
  connectionAdmit,
  connectionAnswered,
  connectionArrived,
  connectionClientEnded,
  connectionConnected,
  connectionCrowdedOut,
  connectionDecide,
  connectionDecided,
  connectionDialled,
  connectionFarewell,
  connectionFramed,
  connectionHeader,
  connectionLeaveQueue,
  connectionMayCut,
  connectionNext,
  connectionOrphaned,
  connectionOutOfPorts,
  connectionRefusal,
  connectionRelease,
  connectionReleased,
  connectionRenamed,
  connectionRest,
  connectionSaysGoodbye,
  connectionUndecided,
  connectionWaited,
  connectTimeoutMs,
  countFromClient,
  countToClient,
  dialTimeoutMs,
  endLife,
  idleLimitMs,
  idleReason,
  memberAddress,
  sourceAddress,
} from './connection';
import { evictionOf, LastWords, lastWordsOf, takeEviction } from './evictions';
import { attachGreetings, beginGreeting, endGreeting, greetingAddress, greetingBytes } from './greeting';
import { hookTimeoutMs, takeDecision } from './hook';
import { isCrowded } from './sources';
import {
  BACKEND,
  CLIENT,
  cold,
  count,
  Direction,
  direction,
  FLAG_ANSWERED,
  FLAG_CONNECT_WHOLE,
  FLAG_HEADER_DUE,
  FLAG_LEAVING,
  freeSlot,
  header,
  hot,
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
  setPhase,
  slotAvailable,
  slotsEnd,
  takeSlot,
} from './table';
import { clearTimer, currentTick, setTimer, setTimerAtMost } from './timers';

// Hot.pending: a bit for each operation (uring/ops.ts), and one for each list that a slot may stand in.
const PENDING_STARVED: u32 = 1 << 30;
const PENDING_DIRTY: u32 = 1 << 31;

const SENDS: u32 = (1 << (OP_SEND + CLIENT)) | (1 << (OP_SEND + BACKEND));

// Hot.flags; those of two are shifted by the side.
const FLAG_ENDED: u32 = 1 << 4; // the side sends no more
const FLAG_RESET: u32 = 1 << 6; // the side is gone altogether
const FLAG_THROTTLED: u32 = 1 << 8; // not read while the other side is slow
const THROTTLED_OR_ENDED: u32 = FLAG_THROTTLED | FLAG_ENDED;
const FLAG_STARVED: u32 = 1 << 10; // not read for want of a buffer
/** Of one side: shifted by it. */
const NOT_READ: u32 = FLAG_ENDED | FLAG_THROTTLED | FLAG_STARVED;
const FLAG_DIRTY: u32 = 1 << 12; // bytes of this side wait for the end of the turn
const FLAG_SHUT: u32 = 1 << 14; // the end was passed on to the other side
const FLAG_GOODBYE: u32 = 1 << 16; // the client's last bytes were DISCONNECT: its broker will close by itself
const FLAG_CLIENT_FILE: u32 = 1 << 17;
const FLAG_BACKEND_FILE: u32 = 1 << 18;

const FLAG_CUT: u32 = 1 << 24; // of a connection that is to leave: what this side sends now is not passed on
const FLAG_TOLD: u32 = 1 << 26; // the side was sent all that it will be sent
const FLAG_ORPHANED: u32 = 1 << 28; // the backend has ended; the client goes when it is its turn

const FLAG_QUIET: u32 = 1 << 19; // brings so little that it is polled, and received from only when there is something
const FLAG_POLLED: u32 = 1 << 21; // the receive that is pending is a poll

/** How long a broker may take to close after the client's DISCONNECT, before it is told that the client has gone. */
const GOODBYE_MS: u32 = 1000;
/** A refusal that can't be sent. */
const REFUSAL_MS: u32 = 2000;
/** How long the answer to a cancel is waited for before it is asked for again. */
const CANCEL_AGAIN_MS: u32 = 1000;
/** How often a worker looks at its buffers: at those that are idle, and, when it is short of them, at those who hold them. */
const RELIEF_MS: f64 = 1000;
/** After an accept that failed for want of something, such as file handles of the whole system. */
const ACCEPT_PAUSE_MS: u32 = 100;
/** How long the queue of a removed listener is emptied: whoever goes on connecting to it can't keep it open. */
const LEAVE_MS: f64 = 500;
/** A quiet side that brings bytes twice within this time is quiet no longer. */
const QUIET_GAP_MS: u32 = 1000;

let accepting: bool = false;
let acceptsInFlight: u32 = 0;
let acceptPauseEndMs: f64 = 0;
let followedEpoch: u32 = 0;
let openListeners: u32 = 0;
/** Those that are being left. */
let listenersLeft: u32 = 0;
let leaveEndMs: f64 = 0;
let reliefEndMs: f64 = 0;
let starvedHead: u32 = NONE;
let starvedTail: u32 = NONE;
let dirtyHead: u32 = NONE;
/** When all are to be closed: the connections in the slots before that one were. */
let closedBelow: u32 = 0;

export function startProxy(): void {
  attachGreetings();
  accepting = false;
  acceptsInFlight = followedEpoch = openListeners = listenersLeft = 0;
  acceptPauseEndMs = reliefEndMs = 0;
  starvedHead = starvedTail = dirtyHead = NONE;
  closedBelow = 0;
  prepWake(header().wakeFd);
}

export function onCompletion(userData: u64, result: i32, flags: u32): void {
  const op = operationOf(userData);
  if (op >= OP_CANCEL) return onUnawaited(op, result);
  const slot = slotOf(userData);
  assert(slot < slotsEnd() && isOfGeneration(userData, hot(slot).generation));
  if (op == OP_RECEIVE || op == OP_RECEIVE + 1) onReceive(slot, op - OP_RECEIVE, result, flags);
  else if (op == OP_SEND || op == OP_SEND + 1) onSend(slot, op - OP_SEND, result);
  else if (op == OP_ACCEPT) onAccept(slot, result);
  else if (op == OP_DIAL) onDial(slot, result);
  else onShutdown(slot, op - OP_SHUTDOWN);
}

function onUnawaited(op: u32, result: i32): void {
  if (op == OP_WAKE) prepWake(header().wakeFd);
  // A backend's place can be empty, when not even a socket could be made for it.
  else if (op == OP_CLOSE) assert(result == -EBADF);
}

// ---- Accepted --------------------------------------------------------------------------------------------------------

/** From now on, until stopAccepting. True when it did not before. */
export function acceptClients(): bool {
  const begins = !accepting;
  accepting = true;
  return begins;
}

// A listener that is removed is left: its accepts are cancelled, and who waits in its queue by then is still served. Its
// socket stays in the header until that is done, since the main thread closes it when it is gone from there.
//
//   NONE ── in a new snapshot ──► open ── gone from a newer one ──► left ── its queue is empty, or LEAVE_MS passed ──► NONE
//
/** Follows the snapshot's listeners, which may be others than those of the one before. */
export function followListeners(): void {
  if (!accepting || followedEpoch == snapshot().epoch) return;
  followedEpoch = snapshot().epoch;
  openListeners = 0;
  for (let listener: u32 = 0; listener < snapshot().listenerCount; listener++) {
    const fd = listenerAt(listener).fd;
    const at = listenerFd(listener);
    if (fd != NONE) openListeners++;
    if (load<u32>(at) == fd) continue;
    if (fd == NONE) leaveListener(listener);
    else openListener(at, fd);
  }
}

/** The main thread gives an index to another listener only after it was left. */
function openListener(at: usize, fd: u32): void {
  assert(load<u32>(at) == NONE);
  store<u32>(at, fd);
}

function leaveListener(listener: u32): void {
  listenersLeft++;
  leaveEndMs = header().clockMs + LEAVE_MS;
  cancelAccepts(listener);
}

function cancelAccepts(listener: u32): void {
  for (let slot: u32 = 0; slot < slotsEnd(); slot++) {
    const isOurs = hot(slot).phase == PHASE_ACCEPTING && (listener == NONE || cold(slot).listener == listener);
    if (isOurs) prepCancel(identityOf(slot, OP_ACCEPT), slot);
  }
}

/** Takes who waits for a listener that is being left, one by one. */
function emptyQueues(): void {
  for (let listener: u32 = 0; listener < snapshot().listenerCount; listener++) {
    if (!isLeft(listener) || load<u32>(acceptCount(listener)) > 0) continue;
    if (slotAvailable() && header().clockMs < leaveEndMs) armAccept(listener, takeSlot(), false);
    else forgetListener(listener);
  }
}

function isLeft(listener: u32): bool {
  return load<u32>(listenerFd(listener)) != NONE && listenerAt(listener).fd == NONE;
}

function forgetListener(listener: u32): void {
  publish(listenerFd(listener), NONE);
  listenersLeft--;
}

/** Keeps acceptsInFlight accepts waiting on each listener, as long as there are slots to accept into. */
export function armAccepts(): void {
  if (!accepting || header().clockMs < acceptPauseEndMs) return;
  if (listenersLeft > 0) emptyQueues();
  if (acceptsInFlight >= openListeners * header().acceptsInFlight) return;
  // One for each listener before any gets a second, and few for all when few slots are left: an accept that waits holds
  // a slot that another listener's client may need.
  for (let depth: u32 = 1; depth <= acceptDepth(); depth++) {
    for (let listener: u32 = 0; listener < snapshot().listenerCount && slotAvailable(); listener++) {
      if (listenerAt(listener).fd == NONE) continue;
      if (load<u32>(acceptCount(listener)) < depth) armAccept(listener, takeSlot(), true);
    }
  }
}

function acceptDepth(): u32 {
  const free = header().connectionsMax - <u32>count().slotsUsed;
  return min(header().acceptsInFlight, max(1, free / (2 * openListeners)));
}

function armAccept(listener: u32, slot: u32, waits: bool): void {
  const inFlight = acceptCount(listener);
  store<u32>(inFlight, load<u32>(inFlight) + 1);
  acceptsInFlight++;
  setPhase(slot, PHASE_ACCEPTING);
  cold(slot).listener = <u8>listener;
  prepAccept(load<u32>(listenerFd(listener)), slot, cold(slot), waits, awaited(slot, OP_ACCEPT));
}

function onAccept(slot: u32, result: i32): void {
  answered(slot, OP_ACCEPT);
  const listener = cold(slot).listener;
  const inFlight = acceptCount(listener);
  store<u32>(inFlight, load<u32>(inFlight) - 1);
  acceptsInFlight--;
  if (result < 0) return onAcceptError(slot, result);
  beginLife(slot, listener);
  closedBelow = min(closedBelow, slot); // an accept that was cancelled too late
  hot(slot).flags |= FLAG_CLIENT_FILE;
  if (connectionArrived(slot) == VERDICT_REFUSE) return closeConnection(slot, cold(slot).reason);
  const oldest = connectionCrowdedOut(listener);
  if (oldest != NONE) closeConnection(oldest, cold(oldest).reason);
  setTimer(slot, connectTimeoutMs(slot));
  armReceive(slot, CLIENT);
}

// A client that arrives wakes one accept of all that wait at the socket, in whichever process. One that was woken and then
// cancelled has kept the news to itself: the client would wait until the next one came. So it looks once more.
function onAcceptError(slot: u32, result: i32): void {
  const listener = cold(slot).listener;
  freeSlot(slot);
  if (result == -ECANCELED) return armAccept(listener, takeSlot(), false);
  if (result == -EAGAIN && (isLeft(listener) || !accepting)) return onNobodyWaits(listener);
  if (result == -ECONNABORTED) return;
  count().acceptErrors++;
  acceptPauseEndMs = header().clockMs + ACCEPT_PAUSE_MS;
}

/** All that looked have found nobody. */
function onNobodyWaits(listener: u32): void {
  if (isLeft(listener) && load<u32>(acceptCount(listener)) == 0) forgetListener(listener);
}

/** The socket that the listener's accepts wait on, where the main thread sees it. */
function listenerFd(listener: u32): usize {
  return <usize>(HEADER_OFFSET + HEADER_LISTENER_FDS) + <usize>listener * 4;
}

function acceptCount(listener: u32): usize {
  return <usize>(HEADER_OFFSET + HEADER_ACCEPTING) + <usize>listener * 4;
}

// ---- Received --------------------------------------------------------------------------------------------------------

function armReceive(slot: u32, side: u32): void {
  const line = hot(slot);
  if (line.pending & (1 << (OP_RECEIVE + side))) return;
  if (line.flags & (NOT_READ << side)) return;
  if (line.flags & (FLAG_QUIET << side)) return armPoll(slot, side);
  // A multishot receive can take dozens of buffers before it is stopped: only for a side that flows, one that has at most
  // the bytes that have just come still to be sent.
  const flows = direction(slot, side).bufferCount <= 1 && !buffersShort();
  // The broker's first word is an answer to what has only just been sent.
  const isEarly = side == BACKEND && !(line.flags & FLAG_ANSWERED);
  prepReceive(slot, side, flows, isEarly, awaited(slot, OP_RECEIVE + side));
}

// A receive that waits keeps three times as much of the kernel's memory as a poll, for which a quiet side is read in two
// steps: poll, then receive what is there.
function armPoll(slot: u32, side: u32): void {
  hot(slot).flags |= FLAG_POLLED << side;
  prepPoll(slot, side, awaited(slot, OP_RECEIVE + side));
}

function onPolled(slot: u32, side: u32, result: i32): void {
  const line = hot(slot);
  answered(slot, OP_RECEIVE + side);
  line.flags &= ~(FLAG_POLLED << side);
  if (line.phase == PHASE_CLOSING) return join(slot);
  if (result == -ECANCELED) return armReceive(slot, side);
  if (line.flags & (NOT_READ << side)) return;
  if (quietForMs(slot, side) > QUIET_GAP_MS)
    return prepReceive(slot, side, false, false, awaited(slot, OP_RECEIVE + side));
  line.flags &= ~(FLAG_QUIET << side);
  if (line.phase == PHASE_OPEN) setTimerAtMost(slot, header().quietMs);
  armReceive(slot, side);
}

/** Whoever has brought nothing for a while is polled from now on. */
function pollIfQuiet(slot: u32, side: u32): void {
  const line = hot(slot);
  if (line.flags & (FLAG_QUIET << side) || quietForMs(slot, side) < header().quietMs) return;
  line.flags |= FLAG_QUIET << side;
  if (line.pending & (1 << (OP_RECEIVE + side))) prepCancel(identityOf(slot, OP_RECEIVE + side), slot);
}

/** Since the side last brought bytes. */
function quietForMs(slot: u32, side: u32): u32 {
  const last = side == CLIENT ? cold(slot).clientTick : load<u32>(sentTick(slot, BACKEND));
  return (currentTick() - last) * WHEEL_TICK_MS;
}

function bothQuiet(slot: u32): bool {
  const both = FLAG_QUIET | (FLAG_QUIET << 1);
  return (hot(slot).flags & both) == both;
}

/** After a pause: while it wasn't read, the client could not be heard, so its silence begins now. */
function readAgain(slot: u32, side: u32): void {
  if (side == CLIENT) {
    cold(slot).clientTick = currentTick();
    if (hot(slot).phase == PHASE_OPEN) setOpenTimer(slot);
  }
  armReceive(slot, side);
}

function onReceive(slot: u32, side: u32, result: i32, flags: u32): void {
  const line = hot(slot);
  if (line.flags & (FLAG_POLLED << side)) return onPolled(slot, side, result);
  if (!(flags & IORING_CQE_F_MORE)) answered(slot, OP_RECEIVE + side);
  let buffer: u32 = NONE;
  if (flags & IORING_CQE_F_BUFFER) {
    buffer = flags >> IORING_CQE_BUFFER_SHIFT;
    takeBuffer(buffer, max<i32>(result, 0));
  }
  if (isParting(line.phase) || result <= 0) {
    if (buffer != NONE) giveBackBuffer(buffer);
    if (line.phase == PHASE_CLOSING) return join(slot);
    if (result <= 0) return onReceiveEnd(slot, side, result);
  } else {
    assert(buffer != NONE);
    onBytes(slot, side, buffer, result);
    if (line.phase == PHASE_FREE || line.phase == PHASE_CLOSING) return;
  }
  armReceive(slot, side);
}

// What still comes is dropped.
function isParting(phase: u32): bool {
  return phase == PHASE_REFUSING || phase == PHASE_CLOSING || phase == PHASE_LEAVING;
}

function onBytes(slot: u32, side: u32, buffer: u32, received: u32): void {
  const line = hot(slot);
  if (line.flags & FLAG_HEADER_DUE) return onHeaderBytes(slot, buffer);
  const length = line.flags & FLAG_LEAVING ? cutAfterPacket(slot, side, buffer, received) : received;
  if (length == 0) return giveBackBuffer(buffer);
  connectionFramed(slot, side, pieceAddress(buffer, 0), length);
  if (side == CLIENT) {
    countFromClient(slot, length);
    noteGoodbye(slot, pieceAddress(buffer, 0), length);
  } else if (!(line.flags & FLAG_ANSWERED)) {
    connectionAnswered(slot, pieceAddress(buffer, 0), length);
    setOpenTimer(slot);
  }
  // Nobody is left to send it to.
  if (line.flags & (FLAG_RESET << (1 - side))) return giveBackBuffer(buffer);
  const bytes = direction(slot, side);
  if (bytes.head == NONE) noteSent(slot, side);
  appendBuffer(bytes, buffer);
  if (line.phase == PHASE_READING) return readConnect(slot);
  markDirty(slot, side);
  if (holdsTooMuch(bytes)) throttle(slot, side);
  if (line.flags & FLAG_LEAVING) leaveIfCut(slot);
}

function noteGoodbye(slot: u32, bytes: usize, length: u32): void {
  const line = hot(slot);
  if (endsLikeDisconnect(bytes, length)) line.flags |= FLAG_GOODBYE;
  else line.flags &= ~FLAG_GOODBYE;
}

function onReceiveEnd(slot: u32, side: u32, result: i32): void {
  const line = hot(slot);
  if (result == -ENOBUFS) return onStarved(slot, side);
  if (result == -ECANCELED) return armReceive(slot, side); // throttled; if it has been lifted meanwhile, read on
  if (side == CLIENT) connectionClientEnded(slot);
  if (result < 0) return onReset(slot, side);
  line.flags |= FLAG_ENDED << side;
  if (line.phase == PHASE_READING) return closeConnection(slot, REASON_CLIENT_LEFT_EARLY);
  if (line.phase == PHASE_QUEUED) return closeConnection(slot, REASON_CLIENT_LEFT_QUEUE);
  if (line.phase == PHASE_ASKING) return closeConnection(slot, REASON_CLIENT_LEFT_HOOK);
  if (line.phase == PHASE_REFUSING) return onRefusedEnd(slot);
  if (line.phase == PHASE_LEAVING) return leaveFurther(slot);
  noteReason(slot, side == CLIENT ? REASON_CLIENT_CLOSED : REASON_BACKEND_CLOSED);
  if (line.flags & FLAG_LEAVING) leaveIfCut(slot);
  settle(slot, side);
}

/** The side is gone. What it had sent before still goes to the other one; what waits for it is dropped. */
function onReset(slot: u32, side: u32): void {
  const line = hot(slot);
  const reason = side == CLIENT ? REASON_CLIENT_RESET : REASON_BACKEND_RESET;
  if (line.phase == PHASE_READING) return closeConnection(slot, REASON_CLIENT_LEFT_EARLY);
  if (line.phase == PHASE_LEAVING) return onGone(slot, side);
  if (line.phase == PHASE_QUEUED) return closeConnection(slot, REASON_CLIENT_LEFT_QUEUE);
  if (line.phase == PHASE_ASKING) return closeConnection(slot, REASON_CLIENT_LEFT_HOOK);
  if (line.phase != PHASE_OPEN) return closeConnection(slot, reason);
  noteReason(slot, reason);
  line.flags |= (FLAG_ENDED | FLAG_RESET) << side;
  if (!(line.pending & (1 << (OP_SEND + 1 - side)))) dropAll(direction(slot, 1 - side));
  settle(slot, side);
}

function throttle(slot: u32, side: u32): void {
  const line = hot(slot);
  // A cancel can miss a receive that is just being served: asked again when that one has brought as much again.
  if (line.flags & (FLAG_THROTTLED << side) && direction(slot, side).bufferCount % HELD_MAX != 0) return;
  line.flags |= FLAG_THROTTLED << side;
  if (line.pending & (1 << (OP_RECEIVE + side))) prepCancel(identityOf(slot, OP_RECEIVE + side), slot);
  if (line.phase == PHASE_OPEN) watch(slot);
}

function liftThrottle(slot: u32, side: u32): void {
  if (!(hot(slot).flags & (FLAG_THROTTLED << side)) || !holdsLittle(direction(slot, side))) return;
  hot(slot).flags &= ~(FLAG_THROTTLED << side);
  readAgain(slot, side);
}

// A receive that found no buffer ends. It is armed again when buffers have come back: at once it would fail at once.
function onStarved(slot: u32, side: u32): void {
  const line = hot(slot);
  count().buffersStarved++;
  // In a storm of CONNECTs everybody waits for a turn; those who are connected shall not.
  if (line.phase == PHASE_OPEN) noteStarved();
  line.flags |= FLAG_STARVED << side;
  if (line.pending & PENDING_STARVED) return;
  line.pending |= PENDING_STARVED;
  const link = direction(slot, CLIENT);
  link.link = NONE;
  if (starvedTail == NONE) starvedHead = slot;
  else direction(starvedTail, CLIENT).link = slot;
  starvedTail = slot;
}

// Who closes needs no buffer any more, and must not wait for one. The list is short but while buffers are.
function leaveStarved(slot: u32): void {
  let before: u32 = NONE;
  for (let each = starvedHead; each != slot; each = direction(each, CLIENT).link) before = each;
  const next = direction(slot, CLIENT).link;
  if (before == NONE) starvedHead = next;
  else direction(before, CLIENT).link = next;
  if (starvedTail == slot) starvedTail = before;
  hot(slot).pending &= ~PENDING_STARVED;
}

/** Reads on from those that found no buffer, one for each buffer that is free now. */
export function feedStarved(): void {
  let buffers = buffersFree();
  while (starvedHead != NONE && buffers > 0) {
    const slot = starvedHead;
    starvedHead = direction(slot, CLIENT).link;
    if (starvedHead == NONE) starvedTail = NONE;
    buffers -= min<u32>(buffers, 2);
    const line = hot(slot);
    line.pending &= ~PENDING_STARVED;
    const flags = line.flags;
    line.flags &= ~(FLAG_STARVED | (FLAG_STARVED << 1));
    if (flags & FLAG_STARVED) readAgain(slot, CLIENT);
    if (flags & (FLAG_STARVED << 1)) readAgain(slot, BACKEND);
  }
}

/** How long the worker may sleep, as far as it depends on what it lacks. */
export function impatienceMs(longestMs: u32): u32 {
  if (starvedHead != NONE && buffersFree() > 0) return 0;
  const asked = min(longestMs, releaseDueMs());
  return header().clockMs < acceptPauseEndMs ? min<u32>(asked, ACCEPT_PAUSE_MS) : asked;
}

// ---- Read ------------------------------------------------------------------------------------------------------------

// What a front says before its client speaks is its own: it is neither counted nor passed on.
function onHeaderBytes(slot: u32, buffer: u32): void {
  const bytes = direction(slot, CLIENT);
  if (bytes.head == NONE) noteSent(slot, CLIENT);
  appendBuffer(bytes, buffer);
  const length = putTogether(bytes);
  const headerBytes = connectionHeader(slot, putTogetherAt, length);
  if (headerBytes == NONE) return follow(slot, VERDICT_REFUSE);
  if (headerBytes == 0) return holdPartial(slot);
  if (connectionRenamed(slot) == VERDICT_REFUSE) return follow(slot, VERDICT_REFUSE);
  consume(bytes, headerBytes);
  if (bytes.head != NONE) onFirstBytes(slot, bytes);
}

/** What came with the header's end is the client's. All that came before it was the header. */
function onFirstBytes(slot: u32, bytes: Direction): void {
  assert(bytes.head == bytes.tail);
  const first = note(bytes.head);
  const at = pieceAddress(bytes.head, first.start);
  const length = first.end - first.start;
  connectionFramed(slot, CLIENT, at, length);
  countFromClient(slot, length);
  noteGoodbye(slot, at, length);
  readConnect(slot);
}

// A CONNECT that came in pieces is put together and parsed again from its first byte: it is small.
function readConnect(slot: u32): void {
  const length = putTogether(direction(slot, CLIENT));
  const verdict = connectionDecide(slot, putTogetherAt, length, 0);
  if (verdict == VERDICT_MORE) return holdPartial(slot);
  obey(slot, verdict);
}

function obey(slot: u32, verdict: u32): void {
  if (verdict == VERDICT_REWRITTEN) putRewritten(slot);
  else follow(slot, verdict);
}

let putTogetherAt: usize = 0;

/** All that the direction holds, in one place: putTogetherAt. Returns how many bytes those are. */
function putTogether(bytes: Direction): u32 {
  const first = note(bytes.head);
  putTogetherAt = pieceAddress(bytes.head, first.start);
  if (bytes.head == bytes.tail) return first.end - first.start;
  putTogetherAt = header().scratch;
  return gather(bytes, putTogetherAt, CONNECT_BYTES_LIMIT);
}

// Before anything is chosen for the client: for want of a buffer it may come to nothing.
function putRewritten(slot: u32): void {
  const bytes = direction(slot, CLIENT);
  consume(bytes, replacedBytes());
  if (prepend(bytes, rewrittenAddress(), rewrittenBytes())) return follow(slot, connectionAdmit(slot, 0));
  cold(slot).reason = <u16>REASON_BUFFERS_SHORT;
  follow(slot, VERDICT_REFUSE);
}

function follow(slot: u32, verdict: u32): void {
  clearTimer(slot);
  if (verdict == VERDICT_DIAL) armDial(slot);
  else if (verdict == VERDICT_QUEUE) wait(slot);
  else if (verdict == VERDICT_ASK) waitForHook(slot);
  else refuse(slot);
}

// A partial CONNECT may always hold one buffer, which are enough for everybody. More only while there are plenty: else
// those who never finish would keep those who have from being served.
function holdPartial(slot: u32): void {
  if (direction(slot, CLIENT).bufferCount < 2 || !buffersShort()) return;
  cold(slot).reason = <u16>REASON_BUFFERS_SHORT;
  clearTimer(slot);
  refuse(slot);
}

// ---- Asked about -----------------------------------------------------------------------------------------------------

function waitForHook(slot: u32): void {
  if (mayWait(slot, REASON_CLIENT_LEFT_HOOK)) setTimer(slot, hookTimeoutMs(slot));
}

/** Due at every turn: goes on with those whose hook has decided. */
export function obeyHooks(): void {
  for (let slot = takeDecision(); slot != NONE; slot = takeDecision()) {
    const length = putTogether(direction(slot, CLIENT));
    obey(slot, connectionDecided(slot, putTogetherAt, length, 0));
  }
}

// ---- Queued ----------------------------------------------------------------------------------------------------------

function wait(slot: u32): void {
  if (!mayWait(slot, REASON_CLIENT_LEFT_QUEUE)) return;
  dropBackendFile(slot);
  setTimer(slot, queueLeftMs(slot));
}

// Whoever waits keeps the buffer of its CONNECT. While those are short, it can't: others, who are served, need them.
function mayWait(slot: u32, leftReason: u32): bool {
  if (hot(slot).flags & FLAG_ENDED) {
    closeConnection(slot, leftReason);
    return false;
  }
  if (!buffersShort()) return true;
  cold(slot).reason = <u16>REASON_BUFFERS_SHORT;
  refuse(slot);
  return false;
}

// A dial that was given up may still come about: its broker would have a silent socket for as long as the client waits.
function dropBackendFile(slot: u32): void {
  if (hot(slot).flags & FLAG_BACKEND_FILE) prepClose(slot, BACKEND);
  hot(slot).flags &= ~FLAG_BACKEND_FILE;
}

/** Due at every turn: dials for those whose time has come, as many as there are tokens. */
export function releaseQueued(): void {
  for (let slot = connectionRelease(); slot != NONE; slot = connectionRelease()) follow(slot, connectionReleased(slot));
}

// ---- Dialled ---------------------------------------------------------------------------------------------------------

function armDial(slot: u32): void {
  const line = hot(slot);
  setPhase(slot, PHASE_DIALLING);
  line.flags |= FLAG_BACKEND_FILE;
  beginGreeting(slot);
  setTimer(slot, dialTimeoutMs(slot));
  const to = changetype<Member>(memberAddress(slot));
  prepDial(slot, to, sourceAddress(slot), isCrowded(cold(slot)), awaited(slot, OP_DIAL));
}

function onDial(slot: u32, result: i32): void {
  answered(slot, OP_DIAL);
  if (hot(slot).phase == PHASE_CLOSING) return join(slot);
  if (result < 0) endGreeting(slot);
  // The client has noticed nothing yet, and its bytes are still here.
  if (result == -EADDRNOTAVAIL || result == -EADDRINUSE) return follow(slot, connectionOutOfPorts(slot));
  if (result < 0) return follow(slot, connectionNext(slot));
  connectionConnected(slot);
  setPhase(slot, PHASE_GREETING);
  if (greetingBytes(slot) == 0) armSend(slot, CLIENT);
  else armGreeting(slot);
}

/** The header and the CONNECT are one send, and so, as a rule, one segment. */
function armGreeting(slot: u32): void {
  const message = prepSendMessage(slot, BACKEND, awaited(slot, OP_SEND + CLIENT));
  addPiece(message, greetingAddress(slot), greetingBytes(slot));
  addPieces(message, direction(slot, CLIENT).head, IOVECS_MAX - 1);
}

// A backend that has taken no more than the header knows nothing of the CONNECT: the next one may have it.
function onGreeted(slot: u32, sent: i32): void {
  const result = sent - <i32>greetingBytes(slot);
  endGreeting(slot);
  if (result <= 0) return follow(slot, connectionNext(slot));
  clearTimer(slot);
  connectionDialled(slot);
  setOpenTimer(slot);
  armReceive(slot, BACKEND);
  onSent(slot, CLIENT, result);
}

// ---- Refused ---------------------------------------------------------------------------------------------------------

function refuse(slot: u32): void {
  connectionLeaveQueue(slot);
  setPhase(slot, PHASE_REFUSING);
  dropAll(direction(slot, CLIENT));
  setTimer(slot, REFUSAL_MS);
  sendRefusal(slot);
}

// The key's hash has done its work: its place holds the few bytes until they are sent.
function sendRefusal(slot: u32): void {
  const out = changetype<usize>(cold(slot)) + COLD_KEY_HASH;
  const sent = <u32>cold(slot).bytesToClient;
  const length = connectionRefusal(slot, out);
  if (sent < length) prepSend(slot, CLIENT, out + sent, length - sent, awaited(slot, OP_SEND + BACKEND));
  else onRefused(slot);
}

function onRefusalSent(slot: u32, result: i32): void {
  if (result <= 0) return closeConnection(slot, cold(slot).reason);
  countToClient(slot, result);
  sendRefusal(slot);
}

// A client that may still be sending is listened to for a while: a reset would overtake the refusal.
function onRefused(slot: u32): void {
  const ended = hot(slot).flags & (FLAG_CONNECT_WHOLE | FLAG_ENDED);
  if (ended || cold(slot).bytesToClient == 0) return closeConnection(slot, cold(slot).reason);
  setTimer(slot, LINGER_MS);
}

function onRefusedEnd(slot: u32): void {
  if (!(hot(slot).pending & (1 << (OP_SEND + BACKEND)))) closeConnection(slot, cold(slot).reason);
}

// ---- Open ------------------------------------------------------------------------------------------------------------

// All that arrives for one side in a turn goes out in one send at the turn's end.
function markDirty(slot: u32, side: u32): void {
  const line = hot(slot);
  line.flags |= FLAG_DIRTY << side;
  if (line.pending & PENDING_DIRTY) return;
  line.pending |= PENDING_DIRTY;
  direction(slot, BACKEND).link = dirtyHead;
  dirtyHead = slot;
}

export function sendDirty(): void {
  while (dirtyHead != NONE) {
    const slot = dirtyHead;
    dirtyHead = direction(slot, BACKEND).link;
    const line = hot(slot);
    line.pending &= ~PENDING_DIRTY;
    const flags = line.flags;
    line.flags &= ~(FLAG_DIRTY | (FLAG_DIRTY << 1));
    if (line.phase == PHASE_CLOSING) {
      join(slot);
      continue;
    }
    if (line.phase != PHASE_OPEN) continue; // still dialling: what waits goes with the CONNECT
    if (flags & FLAG_DIRTY) armSend(slot, CLIENT);
    if (flags & (FLAG_DIRTY << 1)) armSend(slot, BACKEND);
  }
}

// Never two sends on one socket at once: partial progress of the first would let the second overtake it.
function armSend(slot: u32, from: u32): void {
  const bytes = direction(slot, from);
  if (bytes.head == NONE || hot(slot).pending & (1 << (OP_SEND + from))) return;
  if (hot(slot).phase == PHASE_OPEN) watch(slot);
  const userData = awaited(slot, OP_SEND + from);
  const to = 1 - from;
  const first = note(bytes.head);
  if (bytes.head == bytes.tail) {
    prepSend(slot, to, pieceAddress(bytes.head, first.start), first.end - first.start, userData);
    return;
  }
  addPieces(prepSendMessage(slot, to, userData), bytes.head, IOVECS_MAX);
}

/** From that buffer on. */
function addPieces(message: usize, buffer: u32, piecesMax: u32): void {
  for (let pieces: u32 = 0; buffer != NONE && pieces < piecesMax; pieces++) {
    addPiece(message, pieceAddress(buffer, note(buffer).start), note(buffer).end - note(buffer).start);
    buffer = note(buffer).next;
  }
}

function onSend(slot: u32, from: u32, result: i32): void {
  answered(slot, OP_SEND + from);
  const phase = hot(slot).phase;
  if (phase == PHASE_CLOSING) return onSendClosing(slot, from, result);
  if (phase == PHASE_REFUSING) return onRefusalSent(slot, result);
  if (phase == PHASE_GREETING) return onGreeted(slot, result);
  if (phase == PHASE_LEAVING) return onSendLeaving(slot, from, result);
  assert(phase == PHASE_OPEN);
  if (result == -ECANCELED) return closeStalled(slot, from);
  if (result <= 0) return onSendError(slot, from);
  onSent(slot, from, result);
}

// What the kernel took before the end still counts; and the buffers go back before anything else is waited for.
function onSendClosing(slot: u32, from: u32, result: i32): void {
  if (from == BACKEND) countToClient(slot, max<i32>(result, 0));
  dropAll(direction(slot, from));
  join(slot);
}

function onSent(slot: u32, from: u32, length: u32): void {
  if (from == BACKEND) countToClient(slot, length);
  const bytes = direction(slot, from);
  noteSent(slot, from);
  consume(bytes, length);
  liftThrottle(slot, from);
  if (bytes.head != NONE) markDirty(slot, from);
  else settle(slot, from);
}

function onSendError(slot: u32, from: u32): void {
  const to = 1 - from;
  dropAll(direction(slot, from));
  if (hot(slot).flags & (FLAG_RESET << to)) return settle(slot, to);
  onReset(slot, to);
}

/** Called when something came to its end: passes the end of a side on, once all that it sent has gone to the other. */
function settle(slot: u32, side: u32): void {
  const line = hot(slot);
  if (line.phase != PHASE_OPEN || !(line.flags & (FLAG_ENDED << side))) return;
  if (!isDrained(slot, side)) return;
  const other = 1 - side;
  if (side == BACKEND && waitsItsTurn(slot)) return;
  if (line.flags & (FLAG_RESET << side)) return closeConnection(slot, cold(slot).reason);
  if (line.flags & (FLAG_ENDED << other)) {
    if (isDrained(slot, other)) closeConnection(slot, cold(slot).reason);
    return;
  }
  if (line.flags & (FLAG_SHUT << side)) return;
  if (side == CLIENT && line.flags & FLAG_GOODBYE) return setTimer(slot, GOODBYE_MS);
  passEnd(slot, side);
}

// Left behind by its backend, a client keeps its connection until those have gone that were left behind before it.
function waitsItsTurn(slot: u32): bool {
  const line = hot(slot);
  if (line.flags & (FLAG_ENDED | FLAG_LEAVING)) return false;
  // Which candidates were tried matters no more.
  const due = changetype<usize>(cold(slot)) + COLD_TRIED;
  if (!(line.flags & FLAG_ORPHANED)) {
    line.flags |= FLAG_ORPHANED;
    store<u32>(due, currentTick() + connectionOrphaned(slot) / WHEEL_TICK_MS);
  }
  const ticks = <i32>(load<u32>(due) - currentTick());
  if (ticks <= 0) return false;
  setTimerAtMost(slot, <u32>ticks * WHEEL_TICK_MS);
  return true;
}

function passEnd(slot: u32, side: u32): void {
  hot(slot).flags |= FLAG_SHUT << side;
  prepShutdown(slot, 1 - side, awaited(slot, OP_SHUTDOWN + side));
  noteSent(slot, side);
  setOpenTimer(slot);
}

function onShutdown(slot: u32, side: u32): void {
  answered(slot, OP_SHUTDOWN + side);
  // An error says that the other side is gone, which its receive finds out too, behind what it still had to say.
  if (hot(slot).phase == PHASE_CLOSING) join(slot);
}

function isDrained(slot: u32, side: u32): bool {
  return direction(slot, side).head == NONE && !(hot(slot).pending & (1 << (OP_SEND + side)));
}

// ---- Deadlines -------------------------------------------------------------------------------------------------------

export function onTimer(slot: u32): void {
  const phase = hot(slot).phase;
  if (phase == PHASE_READING) {
    cold(slot).reason = <u16>REASON_CONNECT_TIMEOUT;
    refuse(slot);
  } else if (phase == PHASE_QUEUED) {
    follow(slot, connectionWaited(slot));
  } else if (phase == PHASE_ASKING) {
    follow(slot, connectionUndecided(slot));
  } else if (phase == PHASE_DIALLING || phase == PHASE_GREETING) {
    cancelPending(slot, OP_SEND, OP_DIAL); // the answer, ECANCELED, leads to the next candidate
  } else if (phase == PHASE_CLOSING) {
    cancelPending(slot, OP_RECEIVE, OP_DIAL);
  } else if (phase == PHASE_REFUSING) {
    closeConnection(slot, cold(slot).reason);
  } else if (phase == PHASE_OPEN) {
    onOpenTimer(slot);
  } else if (phase == PHASE_LEAVING) {
    onLeavingTimer(slot);
  }
}

// The timer of an open connection asks three things: whether the client has been silent for longer than its keep alive
// allows; while somebody is waited for, whether bytes still move; and who has become quiet. It is set anew only when it
// has expired, so a busy connection pays for one timer each quietMs, an idle one for one each Keep Alive.
function onOpenTimer(slot: u32): void {
  const line = hot(slot);
  if (line.flags & FLAG_ENDED && !(line.flags & (FLAG_SHUT | (FLAG_ENDED << 1)))) {
    // The broker was to close after DISCONNECT and didn't; or the client's last bytes still wait for it.
    if (isDrained(slot, CLIENT)) return passEnd(slot, CLIENT);
  }
  if (silenceLeftMs(slot) == 0) return closeConnection(slot, idleReason(slot));
  const side = stalledSide(slot);
  if (side != NONE) return giveUp(slot, side);
  if (hasStalledLeaving(slot)) return leave(slot);
  if (line.flags & FLAG_ORPHANED && !(line.flags & (FLAG_SHUT << BACKEND))) return onOrphanTimer(slot);
  if (isDoneWith(slot)) return closeConnection(slot, cold(slot).reason);
  pollIfQuiet(slot, CLIENT);
  pollIfQuiet(slot, BACKEND);
  setOpenTimer(slot);
}

function onOrphanTimer(slot: u32): void {
  settle(slot, BACKEND);
  if (hot(slot).phase == PHASE_OPEN) setOpenTimer(slot);
}

// What a send has got rid of is only seen at its end: it is asked to end now. If that was nothing, it answers ECANCELED.
function giveUp(slot: u32, side: u32): void {
  if (hot(slot).pending & (1 << (OP_SEND + side))) return cancelPending(slot, OP_SEND + side, OP_SEND + side);
  closeStalled(slot, side);
}

function closeStalled(slot: u32, side: u32): void {
  closeConnection(slot, side == CLIENT ? REASON_BACKEND_STALLED : REASON_CLIENT_STALLED);
}

/**
 * Due at every turn: now and then gives back the memory of buffers that nobody needs, and, when they are all needed,
 * closes those who have held theirs for long without getting rid of any.
 */
export function relieve(): void {
  if (header().clockMs < reliefEndMs) return;
  reliefEndMs = header().clockMs + RELIEF_MS;
  trimBuffers();
  if (!buffersShort()) return;
  for (let slot: u32 = 0; slot < slotsEnd(); slot++) {
    if (hot(slot).phase == PHASE_QUEUED || hot(slot).phase == PHASE_ASKING) relieveOfWaiting(slot);
    if (hot(slot).phase != PHASE_OPEN && hot(slot).phase != PHASE_LEAVING) continue;
    const side = stalledSide(slot);
    if (side != NONE) giveUp(slot, side);
  }
}

// Who waits, in the queue or for a hook, may keep its CONNECT there, and not what else it says, when others lack the
// buffers.
function relieveOfWaiting(slot: u32): void {
  if (direction(slot, CLIENT).bufferCount < 2) return;
  cold(slot).reason = <u16>REASON_BUFFERS_SHORT;
  follow(slot, VERDICT_REFUSE);
}

// A deadline that comes too early is looked at again, so an earlier one may stand.
function setOpenTimer(slot: u32): void {
  const left = silenceLeftMs(slot);
  if (left != NONE) setTimerAtMost(slot, left);
  if (isWaitedFor(slot)) setTimerAtMost(slot, STALL_MS);
  if (!bothQuiet(slot)) setTimerAtMost(slot, header().quietMs);
  if (hot(slot).flags & FLAG_LEAVING) setTimerAtMost(slot, STALL_MS - min<u32>(STALL_MS, leavingForMs(slot)));
}

function isWaitedFor(slot: u32): bool {
  const line = hot(slot);
  return (line.pending & SENDS) != 0 || (line.flags & (THROTTLED_OR_ENDED | (THROTTLED_OR_ENDED << 1))) != 0;
}

/** The side whose bytes the other one has not taken for too long; NONE if there is none. */
function stalledSide(slot: u32): u32 {
  const limit = stallLimitMs();
  if (isHeldUp(slot, CLIENT) && stalledMs(slot, CLIENT) >= limit) return CLIENT;
  if (isHeldUp(slot, BACKEND) && stalledMs(slot, BACKEND) >= limit) return BACKEND;
  return NONE;
}

// One side has ended, and nothing comes from the other any more.
function isDoneWith(slot: u32): bool {
  if (!(hot(slot).flags & (FLAG_ENDED | (FLAG_ENDED << 1)))) return false;
  return min(stalledMs(slot, CLIENT), stalledMs(slot, BACKEND)) >= <u32>STALL_MS;
}

function isHeldUp(slot: u32, side: u32): bool {
  return (hot(slot).pending & (1 << (OP_SEND + side))) != 0 || (hot(slot).flags & (FLAG_THROTTLED << side)) != 0;
}

/** Since the direction last got rid of bytes. */
function stalledMs(slot: u32, side: u32): u32 {
  return (currentTick() - load<u32>(sentTick(slot, side))) * WHEEL_TICK_MS;
}

function stallLimitMs(): u32 {
  return buffersShort() ? STALL_WHEN_SHORT_MS : STALL_MS;
}

function noteSent(slot: u32, side: u32): void {
  store<u32>(sentTick(slot, side), currentTick());
}

function sentTick(slot: u32, side: u32): usize {
  return changetype<usize>(cold(slot)) + COLD_SENT_TICKS + side * 4;
}

/** For how long the client may go on being silent, in ms. NONE: for ever, as when it has ended or isn't being read. */
function silenceLeftMs(slot: u32): u32 {
  const limit = idleLimitMs(slot);
  if (limit == 0 || hot(slot).flags & NOT_READ) return NONE;
  // Whole ticks, less the one that had begun before: rather late than early.
  const silent = <u32>max<i32>(currentTick() - cold(slot).clientTick - 1, 0) * WHEEL_TICK_MS;
  return silent >= limit ? 0 : limit - silent;
}

/** From now on somebody is waited for, who may never come. */
function watch(slot: u32): void {
  setTimerAtMost(slot, STALL_MS);
}

// ---- Evicted ---------------------------------------------------------------------------------------------------------

/** Due at every turn: begins to part with those whom the main thread wants gone. */
export function evict(): void {
  for (let slot = takeEviction(); slot != NONE; slot = takeEviction()) {
    if (evictionOf(slot).flags & EVICTION_ABRUPT) {
      evictAtOnce(slot);
      continue;
    }
    cold(slot).stampUs = currentTick();
    setTimerAtMost(slot, STALL_MS);
    leaveIfCut(slot);
  }
}

// A peer that stops in the middle of a packet, or never ends one, has stalled like one that stops reading: it is parted
// with as it stands, and nothing is said to a side that waits for the rest of a packet.
function hasStalledLeaving(slot: u32): bool {
  return (hot(slot).flags & FLAG_LEAVING) != 0 && leavingForMs(slot) >= <u32>STALL_MS;
}

function leavingForMs(slot: u32): u32 {
  return (currentTick() - cold(slot).stampUs) * WHEEL_TICK_MS;
}

// Its backend is dead: nothing is lost with the bytes that were on their way to it. A client that can be told is told.
function evictAtOnce(slot: u32): void {
  const line = hot(slot);
  const reason = evictionOf(slot).reason;
  const canTell = line.phase == PHASE_OPEN && isListening(slot, CLIENT);
  if (!canTell || connectionFarewell(slot, changetype<usize>(lastWordsOf(slot)), SERVER_DISCONNECT_BYTES) == 0) {
    return closeConnection(slot, reason);
  }
  line.flags |= (FLAG_ENDED | FLAG_RESET) << BACKEND;
  if (line.pending & (1 << (OP_SEND + CLIENT))) cancelPending(slot, OP_SEND + CLIENT, OP_SEND + CLIENT);
  leave(slot);
}

/** What of these bytes still goes to the other side: the rest of a packet that it has got the beginning of. */
function cutAfterPacket(slot: u32, side: u32, buffer: u32, length: u32): u32 {
  if (hot(slot).flags & (FLAG_CUT << side)) {
    if (side == CLIENT) cold(slot).clientTick = currentTick();
    return 0;
  }
  const rest = connectionRest(slot, side, pieceAddress(buffer, 0), length);
  note(buffer).end = rest;
  return rest;
}

// Each direction is cut at the end of the packet that it is in. Both leave together: until the slower one is there, what
// comes behind the cut of the other is dropped, as it would be if it came after the end.
function leaveIfCut(slot: u32): void {
  const line = hot(slot);
  for (let side = CLIENT; side <= BACKEND; side++) {
    if (line.flags & (FLAG_ENDED << side) || connectionMayCut(slot, side)) line.flags |= FLAG_CUT << side;
  }
  if ((line.flags & (FLAG_CUT | (FLAG_CUT << 1))) == (FLAG_CUT | (FLAG_CUT << 1))) leave(slot);
}

// From now on both sides are read only so that nothing unread is left: a close would become a reset by it, which can
// overtake what the other end hasn't read yet.
function leave(slot: u32): void {
  const line = hot(slot);
  noteReason(slot, evictionOf(slot).reason);
  setPhase(slot, PHASE_LEAVING);
  line.flags &= ~(FLAG_THROTTLED | (FLAG_THROTTLED << 1));
  writeLastWords(slot);
  noteSent(slot, CLIENT);
  noteSent(slot, BACKEND);
  setTimer(slot, STALL_MS);
  leaveFurther(slot);
  if (line.phase != PHASE_LEAVING) return;
  armReceive(slot, CLIENT);
  armReceive(slot, BACKEND);
}

function writeLastWords(slot: u32): void {
  const words = lastWordsOf(slot);
  words.toClient = 0;
  words.toBackend = 0;
  words.clientLeft = 0;
  words.backendLeft = 0;
  if (isListening(slot, CLIENT)) writeDisconnect(slot);
  // A client that has ended has said itself how it leaves, or has left without a word, and then its will is due.
  const isThere = (hot(slot).flags & (FLAG_ENDED << CLIENT)) == 0;
  if (isThere && isListening(slot, BACKEND) && connectionSaysGoodbye(slot)) {
    words.toBackend = DISCONNECT;
    words.backendLeft = <u8>DISCONNECT_BYTES;
  }
}

// A server reference doesn't fit into the cold line. It goes with a spare buffer, or, when there is none, not at all.
function writeDisconnect(slot: u32): void {
  const words = lastWordsOf(slot);
  const text = changetype<usize>(words);
  words.clientLeft = <u8>connectionFarewell(slot, text, SERVER_DISCONNECT_BYTES);
  if (words.clientLeft == 0 || evictionOf(slot).reference == 0) return;
  const buffer = borrowBuffer();
  if (buffer == NONE) return;
  note(buffer).end = connectionFarewell(slot, pieceAddress(buffer, 0), header().bufferBytes);
  appendBuffer(direction(slot, BACKEND), buffer);
  words.clientLeft = 0;
}

/** It has not gone, and was not told that nothing more will come. */
function isListening(slot: u32, side: u32): bool {
  return (hot(slot).flags & ((FLAG_RESET << side) | (FLAG_SHUT << (1 - side)))) == 0;
}

/** Called when something came to its end: says what is still to be said, and closes when both sides have ended. */
function leaveFurther(slot: u32): void {
  const line = hot(slot);
  tell(slot, CLIENT);
  tell(slot, BACKEND);
  if ((line.flags & (FLAG_TOLD | (FLAG_TOLD << 1))) != (FLAG_TOLD | (FLAG_TOLD << 1))) return;
  const bothEnded = FLAG_ENDED | (FLAG_ENDED << 1);
  if ((line.flags & bothEnded) == bothEnded) closeConnection(slot, cold(slot).reason);
  else setTimerAtMost(slot, LINGER_MS);
}

// What waits for the side, its last words, FIN: one after the other, this is called again when each of them is done.
function tell(slot: u32, side: u32): void {
  const line = hot(slot);
  const from = 1 - side;
  if (line.flags & (FLAG_TOLD << side) || line.pending & (1 << (OP_SEND + from))) return;
  if (line.flags & (FLAG_RESET << side)) dropAll(direction(slot, from));
  else if (direction(slot, from).head != NONE) return armSend(slot, from);
  else if (wordsLeft(slot, side) > 0) return sendLastWords(slot, side);
  line.flags |= FLAG_TOLD << side;
  if (!isListening(slot, side)) return;
  line.flags |= FLAG_SHUT << from;
  prepShutdown(slot, side, awaited(slot, OP_SHUTDOWN + from));
}

function sendLastWords(slot: u32, side: u32): void {
  const words = changetype<usize>(lastWordsOf(slot));
  const left = wordsLeft(slot, side);
  const client = words + SERVER_DISCONNECT_BYTES;
  const backend = words + offsetof<LastWords>('toBackend') + DISCONNECT_BYTES;
  prepSend(slot, side, (side == CLIENT ? client : backend) - left, left, awaited(slot, OP_SEND + 1 - side));
}

function wordsLeft(slot: u32, side: u32): u32 {
  const words = lastWordsOf(slot);
  return side == CLIENT ? words.clientLeft : words.backendLeft;
}

function onSendLeaving(slot: u32, from: u32, result: i32): void {
  const side = 1 - from;
  if (result <= 0) return onGone(slot, side);
  const words = lastWordsOf(slot);
  noteSent(slot, from);
  if (side == CLIENT) countToClient(slot, result);
  if (direction(slot, from).head != NONE) consume(direction(slot, from), result);
  else if (side == CLIENT) words.clientLeft -= <u8>result;
  else words.backendLeft -= <u8>result;
  leaveFurther(slot);
}

function onGone(slot: u32, side: u32): void {
  hot(slot).flags |= (FLAG_ENDED | FLAG_RESET) << side;
  leaveFurther(slot);
}

function onLeavingTimer(slot: u32): void {
  const told = FLAG_TOLD | (FLAG_TOLD << 1);
  if ((hot(slot).flags & told) == told) return closeConnection(slot, cold(slot).reason);
  setTimer(slot, STALL_MS);
  const side = stalledSide(slot);
  if (side != NONE) giveUp(slot, side);
}

// ---- Closing ---------------------------------------------------------------------------------------------------------

function noteReason(slot: u32, reason: u32): void {
  if (cold(slot).reason == REASON_NONE) cold(slot).reason = <u16>reason;
}

/** Asked for once, with a reason; the rest is waiting for what the kernel still holds. */
function closeConnection(slot: u32, reason: u32): void {
  const line = hot(slot);
  assert(line.phase != PHASE_CLOSING && line.phase != PHASE_FREE);
  noteReason(slot, reason);
  connectionLeaveQueue(slot);
  setPhase(slot, PHASE_CLOSING);
  // At once, but for what a send still reads: others may be waiting for these buffers, this slot among them.
  for (let side = CLIENT; side <= BACKEND; side++) {
    if (!(line.pending & (1 << (OP_SEND + side)))) dropAll(direction(slot, side));
  }
  if (line.pending & PENDING_STARVED) leaveStarved(slot);
  if (line.pending != 0) cancelPending(slot, OP_RECEIVE, OP_DIAL);
  join(slot);
}

// A cancel can come too early: of a dial's chain that was submitted in the same batch the kernel doesn't know the later
// links yet. So whoever waits for the end of something asks again.
function cancelPending(slot: u32, firstOp: u32, lastOp: u32): void {
  for (let op = firstOp; op <= lastOp; op++) {
    if (hot(slot).pending & (1 << op)) prepCancel(identityOf(slot, op), slot);
  }
  setTimer(slot, CANCEL_AGAIN_MS);
}

function join(slot: u32): void {
  const line = hot(slot);
  if (line.pending != 0) return;
  endGreeting(slot);
  clearTimer(slot);
  if (line.flags & FLAG_CLIENT_FILE) prepClose(slot, CLIENT);
  if (line.flags & FLAG_BACKEND_FILE) prepClose(slot, BACKEND);
  dropAll(direction(slot, CLIENT));
  dropAll(direction(slot, BACKEND));
  endLife(slot, 0);
  freeSlot(slot);
}

/** Accepts nobody any more; who is there may finish. */
export function stopAccepting(): void {
  if (!accepting) return;
  accepting = false;
  cancelAccepts(NONE);
}

/** Asked at every turn, it looks only at the slots that it hasn't seen. */
export function closeAll(): void {
  for (let slot = closedBelow; slot < slotsEnd(); slot++) {
    const phase = hot(slot).phase;
    if (phase == PHASE_FREE || phase == PHASE_ACCEPTING || phase == PHASE_CLOSING) continue;
    closeConnection(slot, REASON_SHUTDOWN);
  }
  closedBelow = slotsEnd();
}

export function nobodyLeft(): bool {
  return acceptsInFlight == 0 && count().slotsUsed == 0;
}

// ---- Identity --------------------------------------------------------------------------------------------------------

function identityOf(slot: u32, op: u32): u64 {
  return identity(op, slot, hot(slot).generation);
}

function awaited(slot: u32, op: u32): u64 {
  const line = hot(slot);
  assert((line.pending & (1 << op)) == 0);
  line.pending |= 1 << op;
  return identityOf(slot, op);
}

function answered(slot: u32, op: u32): void {
  const line = hot(slot);
  assert((line.pending & (1 << op)) != 0);
  line.pending &= ~(1 << op);
}
