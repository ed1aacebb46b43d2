// The bench's load: MQTT clients and the sink broker that they reach through the proxy under test, on a ring of their
// own and the data plane's machinery. A client is the backend half of its slot (it dials), a connection of the sink the
// client half of its own (it is accepted).
//
//   client  FREE -> DIALLING -> GREETING (CONNECT sent) -> OPEN (CONNACK seen) -> CLOSING
//   sink    FREE -> ACCEPTING -> GREETING (CONNECT awaited) -> OPEN (CONNACK sent) -> CLOSING
//
// When both are OPEN one of the two sends messages, which the other echoes or acknowledges; the mode says which. In a
// closed loop each answer sends the next message. In an open loop messages are due at fixed times, whatever became of
// those before, and a latency counts from then: a proxy that stalls is charged for everything that it delayed.
import {
  HEADER_ACCEPTING,
  HEADER_LISTENER_FDS,
  HEADER_OFFSET,
  HEADER_OPTION_ON,
  IOVECS_MAX,
  NONE,
} from '../../assembly/layout';
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
  PHASE_ACCEPTING,
  PHASE_CLOSING,
  PHASE_DIALLING,
  PHASE_GREETING,
  PHASE_OPEN,
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
import { bufferAddress, drainCompletions, submitAndWait } from '../../assembly/uring/ring';
import {
  LOAD_ACKS,
  LOAD_ANSWER_BYTES,
  LOAD_BEGUN_MS,
  LOAD_CLIENTS,
  LOAD_COMPLETE_MS,
  LOAD_COMPLETIONS,
  LOAD_CONNECTED,
  LOAD_DEPTH,
  LOAD_DIALS_MAX,
  LOAD_FAILED,
  LOAD_FIRST_ID,
  LOAD_HISTOGRAM,
  LOAD_LISTENER_COUNT,
  LOAD_MEMBER,
  LOAD_MESSAGE,
  LOAD_MESSAGE_BYTES,
  LOAD_MESSAGES,
  LOAD_MODE,
  LOAD_OPEN,
  LOAD_PAUSED,
  LOAD_RATE,
  LOAD_RUNNING,
  LOAD_SPIN,
  LOAD_TURNS,
  MODE_CHURN,
  MODE_ECHO,
  MODE_FAN_IN,
  MODE_FAN_OUT,
  MODE_IDLE,
  PAUSED_ALL,
  PUBACK_BYTES,
} from '../layout';
import { recordLatency } from './histogram';

export { placeRings, ringHeads, ringProvided, ringSubmissions, startRing } from '../../assembly/uring/ring';

/** The slot is a connection of the sink. */
const FLAG_SINK: u32 = 1;
/** Waits for free buffers; counts among the pending operations. */
const OP_BUFFERS: u32 = 30;

const ACCEPTS_PER_LISTENER: u32 = 64;
const BUFFERS_SPARE: u32 = 64;
const CONNACK: u32 = 0x00000220;
const CONNACK_BYTES: u32 = 4;
/** fixed header 2, protocol name 6, level, flags, keep alive 2, ClientId length 2, ClientId. */
const CLIENT_ID_DIGITS: u32 = 10;
const CONNECT_BYTES: u32 = 14 + CLIENT_ID_DIGITS;

// The same policy as the data plane's loop: under load ask for many completions and give them a moment to gather.
const BUSY_COMPLETIONS: u32 = 4;
const GATHERED_COMPLETIONS: u32 = 256;
const GATHER_MICROSECONDS: u32 = 20;
/** So often is LOAD_RUNNING looked at when nothing happens. */
const IDLE_MS: u32 = 5;

/** What a connection knows beside its hot line, in place of the data plane's cold one. */
@unmanaged
class Peer {
  // The CONNECT or CONNACK while it is sent.
  _packet0: u64;
  _packet8: u64;
  _packet16: u64;
  /** When the oldest message without an answer was due, in microseconds. */
  dueUs: f64;
  /** Messages sent or owed. */
  unanswered: u32;
  /** Messages or acknowledgements to send once the send under way is done. */
  owed: u32;
  /** Which of the prepared ones comes next. */
  next: u32;
  /** Bytes of a message or answer that isn't whole yet. */
  partialBytes: u32;
}
if (offsetof<Peer>('dueUs') < CONNECT_BYTES) ERROR('Peer has no room for a CONNECT');

let base: usize = 0;
let dials: u32 = 0;
let clients: u32 = 0;
let nextId: u32 = 0;
let starvedHead: u32 = NONE;
let nextDueUs: f64 = 0;
let nextSender: u32 = 0;
let completions: u32 = 0;
let paused: bool = false;

export function start(): u32 {
  attachTable();
  store<u32>(HEADER_OFFSET + HEADER_OPTION_ON, 1);
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
    if (paused && !setting(LOAD_PAUSED)) resume();
    paused = setting(LOAD_PAUSED) != 0;
    sendDue();
    wait();
    completions = drainCompletions(onCompletion);
    add(LOAD_TURNS, 1);
    add(LOAD_COMPLETIONS, completions);
    feedStarved();
  }
}

function wait(): void {
  if (setting(LOAD_SPIN) && !paused) return submitAndWait(0, 0, 0);
  if (setting(LOAD_RATE)) return waitUntilDue();
  const busy = completions >= BUSY_COMPLETIONS;
  submitAndWait(busy ? GATHERED_COMPLETIONS : 1, busy ? GATHER_MICROSECONDS : 0, IDLE_MS);
}

// The timeout counts in milliseconds; the time that the kernel gives completions to gather counts in microseconds, and
// ends with the first one when only one is asked for.
function waitUntilDue(): void {
  const waitUs = nextDueUs - nowUs();
  if (waitUs >= 1) submitAndWait(1, <u32>min(waitUs, <f64>IDLE_MS * 1000), 0);
  else submitAndWait(0, 0, 0);
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

// ---- Beginnings: the sink's ------------------------------------------------------------------------------------------

function armAccepts(): void {
  for (let listener: u32 = 0; listener < setting(LOAD_LISTENER_COUNT); listener++) {
    while (accepting(listener) < ACCEPTS_PER_LISTENER && slotAvailable()) {
      const slot = takeSlot();
      hot(slot).phase = <u16>PHASE_ACCEPTING;
      hot(slot).flags = FLAG_SINK;
      cold(slot).listener = <u8>listener;
      setAccepting(listener, accepting(listener) + 1);
      prepAccept(
        load<u32>(HEADER_OFFSET + HEADER_LISTENER_FDS + listener * 4),
        slot,
        cold(slot),
        true,
        pend(slot, OP_ACCEPT),
      );
    }
  }
}

function accepting(listener: u32): u32 {
  return load<u32>(HEADER_OFFSET + HEADER_ACCEPTING + listener * 4);
}

function setAccepting(listener: u32, count: u32): void {
  store<u32>(HEADER_OFFSET + HEADER_ACCEPTING + listener * 4, count);
}

function onAccept(slot: u32, result: i32): void {
  done(slot, OP_ACCEPT);
  setAccepting(cold(slot).listener, accepting(cold(slot).listener) - 1);
  if (result < 0) return freeSlot(slot);
  hot(slot).phase = <u16>PHASE_GREETING;
  emptyPeer(slot);
  armReceive(slot, CLIENT);
}

function onConnect(slot: u32): void {
  const packet = changetype<usize>(peer(slot));
  store<u32>(packet, CONNACK);
  hot(slot).phase = <u16>PHASE_OPEN;
  peer(slot).partialBytes -= CONNECT_BYTES;
  prepSend(slot, CLIENT, packet, CONNACK_BYTES, pend(slot, OP_SEND + CLIENT));
  const begins = setting(LOAD_MODE) == MODE_FAN_OUT && !setting(LOAD_PAUSED);
  if (begins) sendMessages(slot, setting(LOAD_DEPTH), nowUs());
}

// ---- Beginnings: the clients' ----------------------------------------------------------------------------------------

function armDials(): void {
  const paced = setting(LOAD_MODE) == MODE_CHURN && setting(LOAD_RATE) != 0;
  const mayDial = setting(LOAD_PAUSED) != PAUSED_ALL;
  if (clients == setting(LOAD_CLIENTS) || !mayDial) {
    if (paced && !mayDial) nextDueUs = nowUs();
    return;
  }
  while (clients < setting(LOAD_CLIENTS) && dials < setting(LOAD_DIALS_MAX) && slotAvailable()) {
    if (paced && nextDueUs > nowUs()) return;
    const slot = takeSlot();
    emptyPeer(slot);
    peer(slot).dueUs = paced ? nextDueUs : nowUs();
    if (paced) nextDueUs += stepUs();
    armDial(slot);
  }
}

function armDial(slot: u32): void {
  if (load<f64>(base + LOAD_BEGUN_MS) == 0) store<f64>(base + LOAD_BEGUN_MS, header().clockMs);
  clients++;
  dials++;
  hot(slot).phase = <u16>PHASE_DIALLING;
  prepDial(slot, changetype<Member>(base + LOAD_MEMBER), 0, false, pend(slot, OP_DIAL));
}

function onDial(slot: u32, result: i32): void {
  done(slot, OP_DIAL);
  dials--;
  if (result < 0) {
    add(LOAD_FAILED, 1);
    if (setting(LOAD_MODE) == MODE_CHURN) clients--;
    prepClose(slot, BACKEND);
    freeSlot(slot);
    return;
  }
  hot(slot).phase = <u16>PHASE_GREETING;
  const packet = changetype<usize>(peer(slot));
  writeConnect(packet, nextId++);
  prepSend(slot, BACKEND, packet, CONNECT_BYTES, pend(slot, OP_SEND + BACKEND));
  armReceive(slot, BACKEND);
}

function onConnack(slot: u32): void {
  const mode = setting(LOAD_MODE);
  const line = peer(slot);
  add(LOAD_CONNECTED, 1);
  if (mode == MODE_CHURN || mode == MODE_IDLE) recordLatency(base + LOAD_HISTOGRAM, nowUs() - line.dueUs);
  if (mode == MODE_CHURN) return close(slot, false);
  add(LOAD_OPEN, 1);
  if (load<u64>(base + LOAD_CONNECTED) == setting(LOAD_CLIENTS)) onComplete();
  hot(slot).phase = <u16>PHASE_OPEN;
  line.partialBytes -= CONNACK_BYTES;
  if (clientsSend() && !setting(LOAD_RATE) && !setting(LOAD_PAUSED)) sendMessages(slot, setting(LOAD_DEPTH), nowUs());
}

function onComplete(): void {
  store<f64>(base + LOAD_COMPLETE_MS, header().clockMs);
  nextDueUs = nowUs();
}

/** MQTT 3.1.1, clean session, keep alive 60 s; the ClientId is a number. */
function writeConnect(at: usize, id: u32): void {
  store<u8>(at, 0x10);
  store<u8>(at + 1, <u8>(CONNECT_BYTES - 2));
  store<u64>(at + 2, 0x02_04_54_54_51_4d_04_00); // "MQTT" behind its length, level 4, clean session
  store<u16>(at + 10, 0x3c00);
  store<u8>(at + 12, 0);
  store<u8>(at + 13, <u8>CLIENT_ID_DIGITS);
  for (let digit = CLIENT_ID_DIGITS; digit > 0; digit--) {
    store<u8>(at + 13 + digit, <u8>(0x30 + (id % 10)));
    id /= 10;
  }
}

// ---- Messages --------------------------------------------------------------------------------------------------------

function clientsSend(): bool {
  return setting(LOAD_MODE) == MODE_ECHO || setting(LOAD_MODE) == MODE_FAN_IN;
}

/** Whether this end of the connection is the one that sends messages. */
function initiates(slot: u32): bool {
  return ((hot(slot).flags & FLAG_SINK) != 0) == (setting(LOAD_MODE) == MODE_FAN_OUT);
}

/** All of them due at once; where answers are awaited, the times of several follow one another by the period. */
function sendMessages(slot: u32, messages: u32, dueUs: f64): void {
  const line = peer(slot);
  if (line.unanswered == 0) line.dueUs = dueUs;
  line.unanswered += messages;
  line.owed += messages;
  sendOwed(slot);
}

function sendOwed(slot: u32): void {
  const line = peer(slot);
  const side = sideOf(slot);
  if (line.owed == 0 || isPending(slot, OP_SEND + side)) return;
  const initiator = initiates(slot);
  const count = min<u32>(line.owed, setting(LOAD_DEPTH));
  const bytes = initiator ? setting(LOAD_MESSAGE_BYTES) : PUBACK_BYTES;
  const from = base + (initiator ? LOAD_MESSAGE : LOAD_ACKS) + <usize>line.next * bytes;
  line.owed -= count;
  line.next = (line.next + count) % setting(LOAD_DEPTH);
  prepSend(slot, side, from, count * bytes, pend(slot, OP_SEND + side));
}

/** Bytes of messages at the sink in MODE_ECHO go back as they are; all others are counted and given back. */
function onBytes(slot: u32, buffer: u32): void {
  const line = peer(slot);
  const length = note(buffer).end;
  if (hot(slot).phase == PHASE_OPEN && setting(LOAD_MODE) == MODE_ECHO && !initiates(slot)) {
    appendBuffer(direction(slot, CLIENT), buffer);
    return sendEcho(slot);
  }
  const first = load<u32>(bufferAddress(buffer));
  giveBackBuffer(buffer);
  line.partialBytes += length;
  if (hot(slot).phase == PHASE_GREETING && !greet(slot, first)) return;
  if (hot(slot).phase != PHASE_OPEN) return;
  const whole = initiates(slot) ? setting(LOAD_ANSWER_BYTES) : setting(LOAD_MESSAGE_BYTES);
  const count = line.partialBytes / whole;
  if (count == 0) return;
  line.partialBytes -= count * whole;
  if (initiates(slot)) return onAnswers(slot, count);
  line.owed += count;
  sendOwed(slot);
}

/** True when the greeting is over and what follows it may be looked at. */
function greet(slot: u32, first: u32): bool {
  const line = peer(slot);
  if (hot(slot).flags & FLAG_SINK) {
    if (line.partialBytes < CONNECT_BYTES) return false;
    onConnect(slot);
    return true;
  }
  if (line.partialBytes < CONNACK_BYTES) return false;
  if (first != CONNACK) {
    close(slot, true);
    return false;
  }
  onConnack(slot);
  return true;
}

function onAnswers(slot: u32, count: u32): void {
  const line = peer(slot);
  add(LOAD_MESSAGES, count);
  const rate = setting(LOAD_RATE);
  if (rate || setting(LOAD_DEPTH) == 1) recordAnswers(line, count);
  line.unanswered -= count;
  if (!rate && !setting(LOAD_PAUSED)) sendMessages(slot, count, nowUs());
}

/** Whoever has fewer messages under way than it may sends the rest. */
function resume(): void {
  if (setting(LOAD_RATE)) return;
  for (let slot: u32 = 0; slot < slotsEnd(); slot++) {
    if (hot(slot).phase != PHASE_OPEN || !initiates(slot)) continue;
    const missing = setting(LOAD_DEPTH) - peer(slot).unanswered;
    if (missing != 0) sendMessages(slot, missing, nowUs());
  }
}

// One connection's messages are due at a fixed distance, so the oldest one's time tells those of all behind it.
function recordAnswers(line: Peer, count: u32): void {
  const periodUs = setting(LOAD_RATE) ? stepUs() * setting(LOAD_CLIENTS) : 0;
  const now = nowUs();
  for (; count > 0; count--) {
    recordLatency(base + LOAD_HISTOGRAM, now - line.dueUs);
    line.dueUs += periodUs;
  }
}

/** Open loop: sends what is due, round robin over the clients, once all are connected. */
function sendDue(): void {
  if (!setting(LOAD_RATE) || !clientsSend() || setting(LOAD_CLIENTS) == 0) return;
  const now = nowUs();
  if (setting(LOAD_PAUSED) || load<f64>(base + LOAD_COMPLETE_MS) == 0) {
    nextDueUs = now;
    return;
  }
  while (nextDueUs <= now) {
    const slot = nextOpen();
    if (slot == NONE) return;
    sendMessages(slot, 1, nextDueUs);
    nextDueUs += stepUs();
  }
}

function nextOpen(): u32 {
  for (let tries: u32 = 0; tries < slotsEnd(); tries++) {
    nextSender = nextSender + 1 < slotsEnd() ? nextSender + 1 : 0;
    if (hot(nextSender).phase == PHASE_OPEN && !(hot(nextSender).flags & FLAG_SINK)) return nextSender;
  }
  return NONE;
}

function stepUs(): f64 {
  return 1000000 / <f64>setting(LOAD_RATE);
}

function sendEcho(slot: u32): void {
  const bytes = direction(slot, CLIENT);
  if (bytes.head == NONE || isPending(slot, OP_SEND + CLIENT)) return;
  const userData = pend(slot, OP_SEND + CLIENT);
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

// ---- Both ------------------------------------------------------------------------------------------------------------

function armReceive(slot: u32, side: u32): void {
  prepReceive(slot, side, true, false, pend(slot, OP_RECEIVE + side));
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
    return close(slot, true);
  }
  onBytes(slot, buffer);
  if (line.phase != PHASE_GREETING && line.phase != PHASE_OPEN) return;
  if (!isPending(slot, OP_RECEIVE + side)) armReceive(slot, side);
}

function onSend(slot: u32, side: u32, result: i32): void {
  done(slot, OP_SEND + side);
  if (hot(slot).phase == PHASE_CLOSING) return join(slot);
  if (result <= 0) return close(slot, true);
  const bytes = direction(slot, CLIENT);
  if (bytes.head == NONE) return sendOwed(slot);
  consume(bytes, result);
  sendEcho(slot);
}

function onStarved(slot: u32): void {
  hot(slot).pending |= 1 << OP_BUFFERS;
  direction(slot, BACKEND).link = starvedHead;
  starvedHead = slot;
}

function feedStarved(): void {
  while (starvedHead != NONE && buffersFree() > BUFFERS_SPARE) {
    const slot = starvedHead;
    starvedHead = direction(slot, BACKEND).link;
    done(slot, OP_BUFFERS);
    if (hot(slot).phase == PHASE_CLOSING) join(slot);
    else armReceive(slot, sideOf(slot));
  }
}

/** `failed`: nobody asked for it. A client that failed is not replaced, so that the figures show it, but in churn. */
function close(slot: u32, failed: bool): void {
  const line = hot(slot);
  if (!(line.flags & FLAG_SINK)) {
    if (line.phase == PHASE_OPEN) add(LOAD_OPEN, -1);
    if (failed) add(LOAD_FAILED, 1);
    if (setting(LOAD_MODE) == MODE_CHURN) clients--;
  }
  line.phase = <u16>PHASE_CLOSING;
  for (let op = OP_RECEIVE; op <= OP_DIAL; op++) {
    if (isPending(slot, op)) prepCancel(identity(op, slot, line.generation), slot);
  }
  join(slot);
}

function join(slot: u32): void {
  if (hot(slot).pending != 0) return;
  prepClose(slot, sideOf(slot));
  dropAll(direction(slot, CLIENT));
  freeSlot(slot);
}

function peer(slot: u32): Peer {
  return changetype<Peer>(cold(slot));
}

function emptyPeer(slot: u32): void {
  memory.fill(changetype<usize>(cold(slot)), 0, offsetof<Peer>());
}

function sideOf(slot: u32): u32 {
  return hot(slot).flags & FLAG_SINK ? CLIENT : BACKEND;
}

function pend(slot: u32, op: u32): u64 {
  const line = hot(slot);
  assert((line.pending & (1 << op)) == 0);
  line.pending |= 1 << op;
  return identity(op, slot, line.generation);
}

function done(slot: u32, op: u32): void {
  assert(isPending(slot, op));
  hot(slot).pending &= ~(1 << op);
}

function isPending(slot: u32, op: u32): bool {
  return (hot(slot).pending & (1 << op)) != 0;
}

// ---- Figures ---------------------------------------------------------------------------------------------------------

/** As read when the last system call returned. */
function nowUs(): f64 {
  return header().clockMs * 1000;
}

function setting(field: usize): u32 {
  return load<u32>(base + field);
}

function add(field: usize, value: u64): void {
  store<u64>(base + field, load<u64>(base + field) + value);
}
