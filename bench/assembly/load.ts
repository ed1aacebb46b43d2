// The bench's load: MQTT clients and the sink broker that they reach through the proxy under test, on a ring of their
// own and the data plane's machinery. A client is the backend half of its slot (it dials), a connection of the sink the
// client half of its own (it is accepted).
//
//   client  DIALLING -> CONNECTING (CONNECT sent) -> READY (CONNACK seen): from then on messages, as the mode says
//   sink    GREETED by the first packet, which it answers with CONNACK; then it echoes, swallows or sends
import { HEADER_LISTENER_FDS, HEADER_OFFSET, IOVECS_MAX, NONE } from '../../assembly/layout';
import { Member } from '../../assembly/memory';
import {
  appendBuffer,
  buffersFree,
  consume,
  dropAll,
  giveBackBuffer,
  note,
  takeBuffer,
} from '../../assembly/proxy/buffers';
import {
  attachTable,
  BACKEND,
  CLIENT,
  cold,
  direction,
  freeSlot,
  header,
  hot,
  slotAvailable,
  slotsEnd,
  takeSlot,
} from '../../assembly/proxy/table';
import { observe } from '../../assembly/shared';
import { ENOBUFS, IORING_CQE_BUFFER_SHIFT, IORING_CQE_F_BUFFER, IORING_CQE_F_MORE } from '../../assembly/uring/abi';
import {
  addPiece,
  identity,
  isOfGeneration,
  OP_ACCEPT,
  OP_CANCEL,
  OP_DIAL,
  OP_RECEIVE,
  OP_SEND,
  operationOf,
  pieceAddress,
  prepAccept,
  prepCancel,
  prepClose,
  prepDial,
  prepReceive,
  prepSend,
  prepSendMessage,
  slotOf,
} from '../../assembly/uring/ops';
import { drainCompletions, submitAndWait } from '../../assembly/uring/ring';
import {
  HISTOGRAM_BUCKETS,
  HISTOGRAM_STEPS,
  LOAD_CLIENTS,
  LOAD_CONNECTED,
  LOAD_DEPTH,
  LOAD_DIALS_MAX,
  LOAD_FAILED,
  LOAD_FIRST_ID,
  LOAD_HISTOGRAM,
  LOAD_LATE,
  LOAD_LIVES,
  LOAD_MEMBER,
  LOAD_MESSAGE,
  LOAD_MESSAGE_BYTES,
  LOAD_MESSAGES,
  LOAD_MODE,
  LOAD_OPEN,
  LOAD_PAUSED,
  LOAD_RATE_US,
  LOAD_RUNNING,
  MODE_CHURN,
  MODE_ECHO,
  MODE_FAN_IN,
  MODE_FAN_OUT,
  MODE_OPEN_LOOP,
} from '../layout';

export { placeRings, ringHeads, ringProvided, ringSubmissions, startRing } from '../../assembly/uring/ring';

const PHASE_DIALLING: u32 = 1;
const PHASE_CONNECTING: u32 = 2;
const PHASE_READY: u32 = 3;
const PHASE_ACCEPTING: u32 = 4;
const PHASE_SINK: u32 = 5;
const PHASE_CLOSING: u32 = 6;

const FLAG_GREETED: u32 = 1;
const FLAG_STARVED: u32 = 2;

const ACCEPTS: u32 = 64;
const CONNACK_BYTES: u32 = 4;
/** fixed header 2, protocol name 6, level, flags, keep alive 2, ClientId length 2, ClientId. */
const CLIENT_ID_DIGITS: u32 = 10;
const CONNECT_BYTES: u32 = 14 + CLIENT_ID_DIGITS;

let base: usize = 0;
let accepts: u32 = 0;
let dials: u32 = 0;
let clients: u32 = 0;
let nextId: u32 = 0;
let starvedHead: u32 = NONE;
let nextDueUs: f64 = 0;
let nextSender: u32 = 0;
let firstClient: u32 = NONE;

export function start(): u32 {
  attachTable();
  base = header().snapshots;
  return 0;
}

/** Runs until LOAD_RUNNING is 0. */
export function run(): void {
  nextId = setting(LOAD_FIRST_ID);
  nextDueUs = nowUs();
  while (observe(base + LOAD_RUNNING)) {
    armAccepts();
    armDials();
    if (setting(LOAD_MODE) == MODE_OPEN_LOOP) sendDue();
    submitAndWait(1, 0, 1);
    drainCompletions(onCompletion);
    feedStarved();
  }
}

function onCompletion(userData: u64, result: i32, flags: u32): void {
  const op = operationOf(userData);
  if (op >= OP_CANCEL) return;
  const slot = slotOf(userData);
  assert(isOfGeneration(userData, hot(slot).generation));
  if (op == OP_ACCEPT) onAccept(slot, result);
  else if (op == OP_DIAL) onDial(slot, result);
  else if (op == OP_SEND || op == OP_SEND + 1) onSend(slot, op - OP_SEND, result);
  else onReceive(slot, op - OP_RECEIVE, result, flags);
}

// ---- The sink --------------------------------------------------------------------------------------------------------

function armAccepts(): void {
  const listener = load<u32>(HEADER_OFFSET + HEADER_LISTENER_FDS);
  while (listener != NONE && accepts < ACCEPTS && slotAvailable()) {
    const slot = takeSlot();
    accepts++;
    hot(slot).phase = PHASE_ACCEPTING;
    prepAccept(listener, slot, cold(slot), pend(slot, OP_ACCEPT));
  }
}

function onAccept(slot: u32, result: i32): void {
  done(slot, OP_ACCEPT);
  accepts--;
  if (result < 0) return freeSlot(slot);
  hot(slot).phase = PHASE_SINK;
  armReceive(slot, CLIENT);
}

function onSinkBytes(slot: u32, buffer: u32): void {
  const line = hot(slot);
  if (!(line.flags & FLAG_GREETED)) {
    line.flags |= FLAG_GREETED;
    giveBackBuffer(buffer);
    const connack = changetype<usize>(cold(slot));
    store<u32>(connack, 0x00000220);
    prepSend(slot, CLIENT, connack, CONNACK_BYTES, pend(slot, OP_SEND + BACKEND));
    return;
  }
  const mode = setting(LOAD_MODE);
  if (mode != MODE_ECHO && mode != MODE_OPEN_LOOP) {
    if (mode == MODE_FAN_IN) countBytes(note(buffer).end);
    giveBackBuffer(buffer);
    return;
  }
  appendBuffer(direction(slot, CLIENT), buffer);
  sendEcho(slot);
}

function sendEcho(slot: u32): void {
  const bytes = direction(slot, CLIENT);
  if (bytes.head == NONE || hot(slot).pending & (1 << (OP_SEND + BACKEND))) return;
  const userData = pend(slot, OP_SEND + BACKEND);
  if (bytes.head == bytes.tail) {
    const first = note(bytes.head);
    prepSend(slot, CLIENT, pieceAddress(bytes.head, first.start), first.end - first.start, userData);
    return;
  }
  const message = prepSendMessage(slot, CLIENT, userData);
  let buffer = bytes.head;
  for (let pieces = 0; buffer != NONE && pieces < IOVECS_MAX; pieces++) {
    addPiece(message, pieceAddress(buffer, note(buffer).start), note(buffer).end - note(buffer).start);
    buffer = note(buffer).next;
  }
}

// ---- The clients -----------------------------------------------------------------------------------------------------

function armDials(): void {
  while (clients < setting(LOAD_CLIENTS) && dials < setting(LOAD_DIALS_MAX) && slotAvailable()) {
    clients++;
    armDial(takeSlot());
  }
}

function armDial(slot: u32): void {
  dials++;
  const line = hot(slot);
  line.phase = PHASE_DIALLING;
  line.flags = 0;
  prepDial(slot, changetype<Member>(base + LOAD_MEMBER), pend(slot, OP_DIAL));
}

function onDial(slot: u32, result: i32): void {
  done(slot, OP_DIAL);
  dials--;
  if (result < 0) {
    add(LOAD_FAILED, 1);
    clients--;
    prepClose(slot, BACKEND);
    freeSlot(slot);
    return;
  }
  hot(slot).phase = PHASE_CONNECTING;
  writeConnect(changetype<usize>(cold(slot)), nextId++);
  prepSend(slot, BACKEND, changetype<usize>(cold(slot)), CONNECT_BYTES, pend(slot, OP_SEND + CLIENT));
  armReceive(slot, BACKEND);
}

function onConnack(slot: u32): void {
  add(LOAD_LIVES, 1);
  if (setting(LOAD_MODE) == MODE_CHURN) return close(slot);
  add(LOAD_CONNECTED, 1);
  add(LOAD_OPEN, 1);
  const line = cold(slot);
  hot(slot).phase = PHASE_READY;
  line.keyHash = 0; // bytes of replies that are not whole yet
  line.tried = 0; // messages owed
  line.openedMs = 0; // when the message under way was due, in microseconds; 0 when there is none
  const mode = setting(LOAD_MODE);
  if (mode == MODE_ECHO) sendMessages(slot, setting(LOAD_DEPTH));
  else if (mode == MODE_FAN_IN) sendMessages(slot, setting(LOAD_DEPTH));
}

function sendMessages(slot: u32, messages: u32): void {
  const line = cold(slot);
  if (setting(LOAD_PAUSED)) return;
  if (hot(slot).pending & (1 << (OP_SEND + CLIENT))) {
    line.tried += messages;
    return;
  }
  if (setting(LOAD_MODE) == MODE_ECHO) line.openedMs = nowUs();
  prepSend(slot, BACKEND, base + LOAD_MESSAGE, messages * setting(LOAD_MESSAGE_BYTES), pend(slot, OP_SEND + CLIENT));
}

function onReply(slot: u32, length: u32): void {
  const line = cold(slot);
  line.keyHash += length;
  let messages: u32 = 0;
  while (line.keyHash >= setting(LOAD_MESSAGE_BYTES)) {
    line.keyHash -= setting(LOAD_MESSAGE_BYTES);
    messages++;
  }
  if (messages == 0) return;
  add(LOAD_MESSAGES, messages);
  if (line.openedMs != 0) recordLatency(nowUs() - line.openedMs);
  line.openedMs = 0;
  if (setting(LOAD_MODE) == MODE_ECHO) sendMessages(slot, messages);
}

/** Open loop: what is due is sent whatever became of the message before, and its latency counts from then. */
function sendDue(): void {
  if (clients < setting(LOAD_CLIENTS) || setting(LOAD_PAUSED)) {
    nextDueUs = nowUs();
    return;
  }
  const now = nowUs();
  const step = <f64>setting(LOAD_RATE_US) / 16;
  while (nextDueUs <= now) {
    const slot = nextReady();
    if (slot == NONE) return;
    const line = cold(slot);
    if (line.openedMs != 0) add(LOAD_LATE, 1);
    else line.openedMs = nextDueUs;
    if (!(hot(slot).pending & (1 << (OP_SEND + CLIENT)))) {
      prepSend(slot, BACKEND, base + LOAD_MESSAGE, setting(LOAD_MESSAGE_BYTES), pend(slot, OP_SEND + CLIENT));
    }
    nextDueUs += step;
  }
}

function nextReady(): u32 {
  for (let tries: u32 = 0; tries < slotsEnd(); tries++) {
    nextSender = nextSender + 1 < slotsEnd() ? nextSender + 1 : 0;
    if (hot(nextSender).phase == PHASE_READY) return nextSender;
  }
  return NONE;
}

function writeConnect(at: usize, id: u32): void {
  store<u8>(at, 0x10);
  store<u8>(at + 1, <u8>(CONNECT_BYTES - 2));
  store<u64>(at + 2, 0x04_54_54_51_4d_04_00); // length 4, "MQTT", level 4
  store<u8>(at + 9, 2); // clean session
  store<u16>(at + 10, 0x3c00); // keep alive 60
  store<u8>(at + 12, 0);
  store<u8>(at + 13, <u8>CLIENT_ID_DIGITS);
  for (let digit = CLIENT_ID_DIGITS; digit > 0; digit--) {
    store<u8>(at + 13 + digit, <u8>(0x30 + (id % 10)));
    id /= 10;
  }
}

// ---- Both ------------------------------------------------------------------------------------------------------------

function armReceive(slot: u32, side: u32): void {
  prepReceive(slot, side, true, pend(slot, OP_RECEIVE + side));
}

function onReceive(slot: u32, side: u32, result: i32, flags: u32): void {
  const line = hot(slot);
  if (!(flags & IORING_CQE_F_MORE)) done(slot, OP_RECEIVE + side);
  let buffer: u32 = NONE;
  if (flags & IORING_CQE_F_BUFFER) {
    buffer = flags >> IORING_CQE_BUFFER_SHIFT;
    takeBuffer(buffer, max<i32>(result, 0));
  }
  if (line.phase == PHASE_CLOSING || result <= 0) {
    if (buffer != NONE) giveBackBuffer(buffer);
    if (line.phase == PHASE_CLOSING) return join(slot);
    if (result == -ENOBUFS) return onStarved(slot);
    return close(slot);
  }
  const length: u32 = result;
  if (side == CLIENT) {
    onSinkBytes(slot, buffer);
  } else {
    giveBackBuffer(buffer);
    if (line.phase == PHASE_CONNECTING) onConnack(slot);
    else onReply(slot, length);
  }
  if (line.phase != PHASE_CLOSING && !(line.pending & (1 << (OP_RECEIVE + side)))) armReceive(slot, side);
}

function onSend(slot: u32, from: u32, result: i32): void {
  done(slot, OP_SEND + from);
  const line = hot(slot);
  if (line.phase == PHASE_CLOSING) return join(slot);
  if (result <= 0) return close(slot);
  if (from == CLIENT) return onMessageSent(slot);
  const bytes = direction(slot, CLIENT);
  if (bytes.head != NONE) {
    consume(bytes, result);
    sendEcho(slot);
  } else if (setting(LOAD_MODE) == MODE_FAN_OUT && !setting(LOAD_PAUSED)) {
    prepSend(
      slot,
      CLIENT,
      base + LOAD_MESSAGE,
      setting(LOAD_DEPTH) * setting(LOAD_MESSAGE_BYTES),
      pend(slot, OP_SEND + BACKEND),
    );
  }
}

function onMessageSent(slot: u32): void {
  const line = cold(slot);
  if (hot(slot).phase != PHASE_READY) return;
  if (setting(LOAD_MODE) == MODE_FAN_IN) return sendMessages(slot, setting(LOAD_DEPTH));
  if (line.tried == 0) return;
  const owed = min<u64>(line.tried, setting(LOAD_DEPTH));
  line.tried -= owed;
  sendMessages(slot, <u32>owed);
}

function onStarved(slot: u32): void {
  hot(slot).flags |= FLAG_STARVED;
  hot(slot).pending |= 1 << 30;
  direction(slot, BACKEND).link = starvedHead;
  starvedHead = slot;
}

function feedStarved(): void {
  while (starvedHead != NONE && buffersFree() > 64) {
    const slot = starvedHead;
    starvedHead = direction(slot, BACKEND).link;
    hot(slot).pending &= ~(1 << 30);
    if (hot(slot).phase == PHASE_CLOSING) join(slot);
    else armReceive(slot, hot(slot).phase == PHASE_SINK ? CLIENT : BACKEND);
  }
}

function close(slot: u32): void {
  const line = hot(slot);
  if (line.phase == PHASE_READY) {
    add(LOAD_OPEN, -1);
    if (setting(LOAD_RUNNING)) add(LOAD_FAILED, 1);
  }
  if (line.phase != PHASE_SINK) clients--;
  line.flags = line.phase == PHASE_SINK ? 1 << 8 : 0;
  line.phase = PHASE_CLOSING;
  for (let op = OP_RECEIVE; op <= OP_DIAL; op++) {
    if (line.pending & (1 << op)) prepCancel(identity(op, slot, line.generation), slot);
  }
  join(slot);
}

function join(slot: u32): void {
  const line = hot(slot);
  if (line.pending != 0) return;
  prepClose(slot, line.flags & (1 << 8) ? CLIENT : BACKEND);
  dropAll(direction(slot, CLIENT));
  freeSlot(slot);
}

function pend(slot: u32, op: u32): u64 {
  const line = hot(slot);
  assert((line.pending & (1 << op)) == 0);
  line.pending |= 1 << op;
  return identity(op, slot, line.generation);
}

function done(slot: u32, op: u32): void {
  assert((hot(slot).pending & (1 << op)) != 0);
  hot(slot).pending &= ~(1 << op);
}

function countBytes(length: u32): void {
  bytesSeen += length;
  const messages = bytesSeen / setting(LOAD_MESSAGE_BYTES);
  bytesSeen -= messages * setting(LOAD_MESSAGE_BYTES);
  add(LOAD_MESSAGES, messages);
}
let bytesSeen: u64 = 0;

// ---- Figures ---------------------------------------------------------------------------------------------------------

// Bucket: the doubling of the latency in 1/STEPS microseconds, then STEPS equal steps in it.
function recordLatency(us: f64): void {
  const ticks = <u64>(us * HISTOGRAM_STEPS) + HISTOGRAM_STEPS;
  const doubling = 63 - <u32>clz<u64>(ticks) - 6;
  const step = <u32>(ticks >> doubling) - HISTOGRAM_STEPS;
  const bucket = min<u32>(doubling * HISTOGRAM_STEPS + step, HISTOGRAM_BUCKETS - 1);
  const at = base + LOAD_HISTOGRAM + <usize>bucket * 4;
  store<u32>(at, load<u32>(at) + 1);
}

function nowUs(): f64 {
  return header().clockMs * 1000;
}

function setting(field: usize): u32 {
  return load<u32>(base + field);
}

function add(field: usize, value: u64): void {
  store<u64>(base + field, load<u64>(base + field) + value);
}
