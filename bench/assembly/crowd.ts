// One ring of the swarm, which opens MQTT sessions and keeps them, or of the sink, the broker that answers such sessions;
// both on the data plane's rings, table and buffers. A connection has one slot and one file.
//
//   swarm  FREE -> DIALLING -> GREETING (CONNECT sent) -> OPEN -> CLOSING -> FREE, or QUEUED (waits to dial again)
//   sink   FREE -> ACCEPTING -> GREETING (CONNECT awaited) -> OPEN -> CLOSING -> FREE
//
// Whoever talks is received from; whoever doesn't is polled, which costs the kernel a third, and holds no buffer. Bytes
// of a packet that isn't whole yet wait in their buffers, and a packet that is longer than those may be ends the
// connection. Nothing that happens in a turn grows with the number of connections.
import { HEADER_OFFSET, HEADER_OPTION_ON, HEADER_OPTION_PORTS, NONE, OPTION_PORTS } from '../../assembly/layout';
import { MORE_WANTED, offset, openPacket, readByte, readVarint, stopped } from '../../assembly/mqtt/reader';
import {
  appendBuffer,
  buffersFree,
  consume,
  dropAll,
  gather,
  giveBackBuffer,
  note,
  takeBuffer,
} from '../../assembly/proxy/buffers';
import { attachTable, header, hot, PHASE_CLOSING, PHASE_GREETING, PHASE_OPEN } from '../../assembly/proxy/table';
import { observe } from '../../assembly/shared';
import { ENOBUFS, IORING_CQE_BUFFER_SHIFT, IORING_CQE_F_BUFFER } from '../../assembly/uring/abi';
import {
  identity,
  isOfGeneration,
  OP_ACCEPT,
  OP_CANCEL,
  OP_DIAL,
  OP_RECEIVE,
  OP_SEND,
  operationOf,
  pieceAddress,
  prepCancel,
  prepClose,
  prepPoll,
  prepReceive,
  slotOf,
} from '../../assembly/uring/ops';
import { drainCompletions, noteStarved, submitAndWait, trimBuffers } from '../../assembly/uring/ring';
import {
  CROWD_CLOSE,
  CROWD_OPEN,
  CROWD_PACKET_BYTES_MAX,
  CROWD_STATE,
  CROWD_STOP,
  ENDED_CLOSED,
  ENDED_ERRNO,
  ENDED_NO_BUFFERS,
  ENDED_NOT_MQTT,
} from '../layout';
import { CONNACK, CONNECT } from './packets';
import {
  add,
  attachBlock,
  base,
  countReason,
  done,
  FLAG_LEAVING,
  fileSide,
  fileSlot,
  input,
  isClogged,
  isPending,
  isSink,
  nowUs,
  OP_BUFFERS,
  OP_POLL,
  onSent,
  output,
  peer,
  pend,
  queue,
  sendQueued,
} from './peer';
import { onAccept, onSinkEnd, onSinkPacket, sinkClosed, sinkTurn } from './sink';
import { hasLeft, onAttemptOver, onDial, onSwarmEnd, onSwarmPacket, startSwarm, swarmClosed, swarmTurn } from './swarm';

export { placeRings, ringHeads, ringProvided, ringSubmissions, startRing } from '../../assembly/uring/ring';

const BUFFERS_SPARE: u32 = 64;
/** Who sent twice within this time is received from rather than polled. */
const TALK_US: f64 = 1000000;
const TRIM_US: f64 = 5000000;

// The same policy as the data plane's loop: under load ask for many completions and give them a moment to gather.
const BUSY_COMPLETIONS: u32 = 4;
const GATHERED_COMPLETIONS: u32 = 256;
const GATHER_MICROSECONDS: u32 = 20;
/** So often is CROWD_STATE looked at when nothing happens. */
const IDLE_US: f64 = 50000;

let completions: u32 = 0;
let starvedHead: u32 = NONE;
let nextTrimUs: f64 = 0;

export function start(): void {
  attachTable();
  store<u32>(HEADER_OFFSET + HEADER_OPTION_ON, 1);
  store<u32>(HEADER_OFFSET + HEADER_OPTION_PORTS, OPTION_PORTS);
  attachBlock();
}

/** Runs until CROWD_STATE says to stop, or says to close and everybody has left. */
export function run(): void {
  if (!isSink()) startSwarm();
  for (;;) {
    const state = observe(base + CROWD_STATE);
    if (state == CROWD_STOP || (state == CROWD_CLOSE && (isSink() || hasLeft()))) return;
    const now = nowUs();
    const dueUs = isSink() ? sinkTurn(now) : swarmTurn(now);
    if (now >= nextTrimUs) {
      nextTrimUs = now + TRIM_US;
      trimBuffers();
    }
    wait(dueUs);
    completions = drainCompletions(onCompletion);
    feedStarved();
  }
}

// The time that the kernel gives completions to gather counts in microseconds, where the timeout counts in milliseconds; it
// ends with the first one when only one is asked for.
function wait(dueUs: f64): void {
  const restUs = min(IDLE_US, dueUs - nowUs());
  if (restUs < 1) return submitAndWait(0, 0, 0);
  const busy = completions >= BUSY_COMPLETIONS;
  if (busy) submitAndWait(GATHERED_COMPLETIONS, min<u32>(GATHER_MICROSECONDS, <u32>restUs), 0);
  else submitAndWait(1, <u32>restUs, 0);
}

// Every operation answers once.
function onCompletion(userData: u64, result: i32, flags: u32): void {
  const op = operationOf(userData);
  if (op >= OP_CANCEL) return;
  const slot = slotOf(userData);
  assert(isOfGeneration(userData, hot(slot).generation));
  done(slot, op);
  if (op == OP_RECEIVE) return onReceive(slot, result, flags);
  if (hot(slot).phase == PHASE_CLOSING) return join(slot);
  if (op == OP_POLL) onPoll(slot, result);
  else if (op == OP_SEND) onSend(slot, result);
  else if (op == OP_ACCEPT) onAccept(slot, result);
  else if (op == OP_DIAL) onDial(slot, result);
}

// ---- Bytes in --------------------------------------------------------------------------------------------------------

export function isLive(slot: u32): bool {
  const phase = hot(slot).phase;
  return phase == PHASE_GREETING || phase == PHASE_OPEN;
}

/** Waits for bytes, unless something else waits for them already or the other side doesn't take what it is sent. */
export function armInput(slot: u32): void {
  if (hot(slot).pending & ((1 << OP_RECEIVE) | (1 << OP_POLL) | (1 << OP_BUFFERS))) return;
  if (isClogged(slot)) return;
  if (peer(slot).talks) armReceive(slot, true);
  else prepPoll(fileSlot(slot), fileSide(slot), pend(slot, OP_POLL));
}

/** `pollFirst` where nothing can be there yet. */
export function armReceive(slot: u32, pollFirst: bool): void {
  prepReceive(fileSlot(slot), fileSide(slot), false, pollFirst, pend(slot, OP_RECEIVE));
}

function onPoll(slot: u32, result: i32): void {
  if (result < 0) return end(slot, ENDED_ERRNO - result);
  armReceive(slot, false);
}

function onReceive(slot: u32, result: i32, flags: u32): void {
  let buffer: u32 = NONE;
  if (flags & IORING_CQE_F_BUFFER) {
    buffer = flags >> IORING_CQE_BUFFER_SHIFT;
    takeBuffer(buffer, max<i32>(result, 0));
  }
  const closing = hot(slot).phase == PHASE_CLOSING;
  if (!closing && result > 0) return onBytes(slot, buffer);
  if (buffer != NONE) giveBackBuffer(buffer);
  if (closing) return join(slot);
  if (result == -ENOBUFS) return onStarved(slot);
  end(slot, result == 0 ? ENDED_CLOSED : ENDED_ERRNO - result);
}

function onBytes(slot: u32, buffer: u32): void {
  const line = peer(slot);
  const length = note(buffer).end;
  const now = nowUs();
  line.talks = now - line.heardUs < TALK_US || length == header().bufferBytes;
  line.heardUs = now;
  line.heldBytes += length;
  appendBuffer(input(slot), buffer);
  takePackets(slot);
  if (isLive(slot)) flush(slot);
  if (isLive(slot)) armInput(slot);
}

/** Takes every packet that is whole. */
function takePackets(slot: u32): void {
  const line = peer(slot);
  const bytes = input(slot);
  while (line.heldBytes > 0 && line.heldBytes >= line.wantedBytes) {
    const first = note(bytes.head);
    let at = pieceAddress(bytes.head, first.start);
    let length = first.end - first.start;
    if (bytes.head != bytes.tail) {
      at = header().scratch;
      length = gather(bytes, at, CROWD_PACKET_BYTES_MAX);
    }
    const taken = takeFrom(slot, at, length);
    if (!isLive(slot) || taken == 0) return;
    consume(bytes, taken);
    line.heldBytes -= taken;
  }
}

/** Returns how many of the bytes were whole packets, unless the connection was closed for one of them. */
function takeFrom(slot: u32, at: usize, length: u32): u32 {
  let taken: u32 = 0;
  while (taken < length) {
    const bytes = greets(slot, at + taken) ? packetBytes(at + taken, length - taken) : NONE;
    if (bytes > <u32>CROWD_PACKET_BYTES_MAX) {
      end(slot, ENDED_NOT_MQTT);
      break;
    }
    const whole = bytes != 0 && bytes <= length - taken;
    peer(slot).wantedBytes = whole ? 0 : bytes;
    if (!whole) break;
    if (isSink()) onSinkPacket(slot, at + taken, bytes);
    else onSwarmPacket(slot, at + taken, bytes);
    if (!isLive(slot)) break;
    taken += bytes;
  }
  return taken;
}

/** Whoever begins with something else isn't waited for until its packet is whole, since it mostly has none. */
function greets(slot: u32, at: usize): bool {
  if (hot(slot).phase != PHASE_GREETING || hot(slot).flags & FLAG_LEAVING) return true;
  return <u32>(load<u8>(at) >> 4) == (isSink() ? CONNECT : CONNACK);
}

/** From the fixed header, section 2.2 of 3.1.1: 0 while it isn't whole, NONE when it's none. */
function packetBytes(at: usize, length: u32): u32 {
  openPacket(at, length);
  readByte();
  const rest = readVarint(ENDED_NOT_MQTT);
  if (stopped() == 0) return offset() + rest;
  return stopped() == MORE_WANTED ? 0 : NONE;
}

function onStarved(slot: u32): void {
  noteStarved();
  pend(slot, OP_BUFFERS);
  hot(slot).timerNext = starvedHead;
  starvedHead = slot;
}

function feedStarved(): void {
  while (starvedHead != NONE && buffersFree() > BUFFERS_SPARE) {
    const slot = starvedHead;
    starvedHead = hot(slot).timerNext;
    done(slot, OP_BUFFERS);
    if (hot(slot).phase == PHASE_CLOSING) join(slot);
    else armReceive(slot, false);
  }
}

// ---- Bytes out -------------------------------------------------------------------------------------------------------

/** Queues a packet; without a buffer for it the connection is given up, since half of it may be queued. */
export function say(slot: u32, from: usize, length: u32): void {
  if (!queue(slot, from, length)) end(slot, ENDED_NO_BUFFERS);
}

/** Sends what waits; who is to leave then leaves. */
export function flush(slot: u32): void {
  if (output(slot).head != NONE) return sendQueued(slot);
  if (hot(slot).flags & FLAG_LEAVING) close(slot);
}

function onSend(slot: u32, result: i32): void {
  if (result <= 0) return end(slot, ENDED_ERRNO - result);
  onSent(slot, result);
  flush(slot);
  if (isLive(slot)) armInput(slot);
}

// ---- Ends ------------------------------------------------------------------------------------------------------------

/** Nobody asked for it, unless it is leaving anyway; `reason`: ENDED_*. */
export function end(slot: u32, reason: u32): void {
  if (hot(slot).phase == PHASE_CLOSING) return;
  if (!(hot(slot).flags & FLAG_LEAVING)) {
    countReason(reason);
    if (isSink()) onSinkEnd();
    else onSwarmEnd(slot);
  }
  close(slot);
}

/** The rest is waiting for what the kernel holds. */
export function close(slot: u32): void {
  const line = hot(slot);
  if (line.phase == PHASE_OPEN) add(CROWD_OPEN, -1);
  else if (!isSink()) onAttemptOver(slot);
  line.phase = <u16>PHASE_CLOSING;
  for (let op = OP_RECEIVE; op <= OP_POLL; op++) {
    if (isPending(slot, op)) prepCancel(identity(op, slot, line.generation), slot);
  }
  join(slot);
}

function join(slot: u32): void {
  if (hot(slot).pending != 0) return;
  prepClose(fileSlot(slot), fileSide(slot));
  dropAll(input(slot));
  dropAll(output(slot));
  if (isSink()) sinkClosed(slot);
  else swarmClosed(slot);
}
