// The swarm's clients: they dial at a pace, greet, ping once in a keep alive, publish, and take leave at a pace. A client
// keeps its slot for good, so its number is the ring's first and the slot's.
//
// All of it is an open loop. What is due is due on a grid of a few milliseconds, so that a ring with little to do sleeps in
// between, and whatever becomes of those before: a broker or proxy that stalls is charged for all that it delayed. Pings
// and messages take the slots in turn, at such a pace that each slot's turn comes once in its time; whoever isn't open
// then passes it.
import { SOURCE_BYTES } from '../../assembly/layout';
import { Member } from '../../assembly/memory';
import { connackCode } from '../../assembly/mqtt/connack-code';
import {
  atLimit,
  openPacket,
  readByte,
  readU16,
  readVarint,
  setLimit,
  skip,
  stopped,
} from '../../assembly/mqtt/reader';
import {
  header,
  hot,
  PHASE_CLOSING,
  PHASE_DIALLING,
  PHASE_FREE,
  PHASE_GREETING,
  PHASE_OPEN,
  PHASE_QUEUED,
  slotsEnd,
  takeSlot,
} from '../../assembly/proxy/table';
import { observe } from '../../assembly/shared';
import { OP_DIAL, prepDial } from '../../assembly/uring/ops';
import {
  CROWD_ACKNOWLEDGED,
  CROWD_CLIENT_ID,
  CROWD_CLIENTS,
  CROWD_CLOSE,
  CROWD_CLOSE_RATE,
  CROWD_CONNECT_RATE,
  CROWD_CONNECTED,
  CROWD_CROWDED,
  CROWD_FAILED,
  CROWD_FILTER,
  CROWD_FIRST,
  CROWD_GRID_MS,
  CROWD_HISTOGRAM,
  CROWD_KEEP_ALIVE_MS,
  CROWD_LOST,
  CROWD_OPEN,
  CROWD_PAYLOAD_BYTES,
  CROWD_PERSISTENT,
  CROWD_PINGS,
  CROWD_PUBLISH_RATE,
  CROWD_PUBLISHED,
  CROWD_QOS,
  CROWD_RECEIVED,
  CROWD_RECONNECT,
  CROWD_RECONNECTED,
  CROWD_RETRIES,
  CROWD_SOURCE_COUNT,
  CROWD_SOURCES,
  CROWD_STATE,
  CROWD_SUBSCRIBED,
  CROWD_TARGET_COUNT,
  CROWD_TARGETS,
  CROWD_TOPIC,
  CROWD_TRIED,
  CROWD_VERSION,
  CROWD_WITHHELD,
  ENDED_CONNACK,
  ENDED_DISCONNECT,
  ENDED_ERRNO,
  ENDED_NOT_MQTT,
  ENDED_SILENT,
  ENDED_SLOW,
  RETRY_TICK_MS,
  RETRY_TICKS,
} from '../layout';
import { armReceive, close, end, flush, isLive, say } from './crowd';
import { recordLatency } from './histogram';
import {
  DISCONNECT,
  draftStart,
  PINGREQ,
  PINGRESP,
  PUBACK,
  PUBCOMP,
  PUBLISH,
  PUBREC,
  PUBREL,
  SUBACK,
  UNSUBACK,
  writeAcknowledgement,
  writeBare,
  writeConnect,
  writePublish,
  writeSubscribe,
} from './packets';
import {
  add,
  base,
  emptyPeer,
  FLAG_KNOWN,
  FLAG_LEAVING,
  FLAG_TRIED,
  fileSide,
  fileSlot,
  isClogged,
  nowUs,
  peer,
  pend,
  rate,
  setting,
} from './peer';

/**
 * Dials and CONNECTs without an answer at once: a second's worth, within these bounds. More would only wait in the other side's
 * queues, be sent again there, and take the CPU from those who could be answered.
 */
const DIALS_MIN: u32 = 64;
const DIALS_MAX: u32 = 4096;
/** Who has no CONNACK by then is given up when its slot's turn to ping comes. */
const SLOW_US: f64 = 30000000;
/** Without a keep alive slots have a turn all the same. */
const TURN_US: f64 = 60000000;
/** A goodbye that isn't taken in this time is given up. */
const LEAVE_US: f64 = 5000000;
const BACK_OFF_MS: u32 = 1000;
const BACK_OFF_MS_MAX: u32 = 60000;
/** A broker may allow fewer unacknowledged messages than a client of 5.0 is told before it says so; no more than these. */
const IN_FLIGHT_MAX: u32 = 16;
const CODE_REFUSED: u32 = 0x80;

let gridUs: f64 = 0;
let dials: u32 = 0;
/** Slots that are neither free nor waiting to dial again. */
let lively: u32 = 0;
let nextDialUs: f64 = 0;
let nextPingUs: f64 = 0;
let pingSlot: u32 = 0;
let nextPublishUs: f64 = 0;
let publishSlot: u32 = 0;
let nextLeaveUs: f64 = 0;
let leaveSlot: u32 = 0;
let leaveEndUs: f64 = 0;
/** Those that wait in CROWD_RETRIES, and those whose time has come. */
let waiting: u32 = 0;
let retryTick: u32 = 0;
let dueHead: u32 = 0;
let dueTail: u32 = 0;
let random: u32 = 0;

export function startSwarm(): void {
  const now = nowUs();
  gridUs = <f64>setting(CROWD_GRID_MS) * 1000;
  random = header().randomSeed | 1;
  retryTick = tickOf(now);
  nextDialUs = now;
  nextPingUs = now;
  nextPublishUs = now;
}

/** Does what is due, and returns when the next thing is. */
export function swarmTurn(now: f64): f64 {
  if (observe(base + CROWD_STATE) == CROWD_CLOSE) return leave(now);
  wakeRetries(now);
  dialDue(now);
  pingDue(now);
  publishDue(now);
  let dueUs = setting(CROWD_CLIENTS) == 0 ? Infinity : onGrid(nextPingUs);
  if (rate(CROWD_PUBLISH_RATE) != 0) dueUs = min(dueUs, onGrid(nextPublishUs));
  if (someoneDials()) dueUs = min(dueUs, onGrid(nextDialUs));
  if (waiting != 0) dueUs = min(dueUs, <f64>(retryTick + 1) * RETRY_TICK_MS * 1000);
  return dueUs;
}

function onGrid(us: f64): f64 {
  return ceil(us / gridUs) * gridUs;
}

function numberOf(slot: u32): u32 {
  return setting(CROWD_FIRST) + slot;
}

// ---- Dials -----------------------------------------------------------------------------------------------------------

function someoneDials(): bool {
  return dueHead != 0 || slotsEnd() < setting(CROWD_CLIENTS);
}

function dialDue(now: f64): void {
  const stepUs = 1000000 / rate(CROWD_CONNECT_RATE);
  while (onGrid(nextDialUs) <= now) {
    // What could not begin in time isn't made up for in a burst.
    if (!someoneDials() || dials >= dialsMax()) {
      nextDialUs = now;
      return;
    }
    dial(dueHead != 0 ? takeRetry() : takeSlot(), now);
    nextDialUs += stepUs;
  }
}

function dialsMax(): u32 {
  return min<u32>(DIALS_MAX, max<u32>(DIALS_MIN, <u32>rate(CROWD_CONNECT_RATE)));
}

function dial(slot: u32, now: f64): void {
  const number = numberOf(slot);
  const targets = setting(CROWD_TARGET_COUNT);
  const sources = setting(CROWD_SOURCE_COUNT);
  const target = base + CROWD_TARGETS + <usize>(number % targets) * offsetof<Member>();
  let source: usize = 0;
  if (sources != 0) source = base + CROWD_SOURCES + <usize>((number / targets) % sources) * SOURCE_BYTES;
  emptyPeer(slot);
  peer(slot).begunUs = now;
  hot(slot).phase = <u16>PHASE_DIALLING;
  dials++;
  lively++;
  const isCrowded = setting(CROWD_CROWDED) != 0;
  prepDial(fileSlot(slot), changetype<Member>(target), source, isCrowded, pend(slot, OP_DIAL), fileSide(slot));
}

export function onDial(slot: u32, result: i32): void {
  if (result < 0) return end(slot, ENDED_ERRNO - result);
  hot(slot).phase = <u16>PHASE_GREETING;
  const keepAlive = (setting(CROWD_KEEP_ALIVE_MS) + 999) / 1000;
  const persistent = setting(CROWD_PERSISTENT) != 0;
  sayDraft(slot, writeConnect(setting(CROWD_VERSION), CROWD_CLIENT_ID, numberOf(slot), keepAlive, persistent));
  if (!isLive(slot)) return;
  flush(slot);
  armReceive(slot, true);
}

function sayDraft(slot: u32, length: u32): void {
  say(slot, draftStart(), length);
}

/** The dial and what followed it led to a session, or to nothing. */
export function onAttemptOver(slot: u32): void {
  dials--;
  if (hot(slot).flags & FLAG_TRIED) return;
  hot(slot).flags |= FLAG_TRIED;
  add(CROWD_TRIED, 1);
}

function onConnack(slot: u32, at: usize, bytes: u32): void {
  const code = connackCode(at, bytes);
  if (code > 0xff) return end(slot, ENDED_NOT_MQTT);
  if (code != 0) return end(slot, ENDED_CONNACK + code);
  const line = hot(slot);
  onAttemptOver(slot);
  add(CROWD_CONNECTED, 1);
  add(CROWD_OPEN, 1);
  if (line.flags & FLAG_KNOWN) add(CROWD_RECONNECTED, 1);
  line.flags |= FLAG_KNOWN;
  line.attempts = 0;
  line.phase = <u16>PHASE_OPEN;
  peer(slot).inFlightMax = <u16>(
    min<u32>(IN_FLIGHT_MAX, setting(CROWD_VERSION) < 5 ? 0xffff : receiveMaximum(at, bytes))
  );
  if (load<u32>(base + CROWD_FILTER) != 0) subscribe(slot);
}

function subscribe(slot: u32): void {
  const packetId = takePacketId(slot);
  sayDraft(slot, writeSubscribe(setting(CROWD_VERSION), packetId, CROWD_FILTER, numberOf(slot), setting(CROWD_QOS)));
}

/** What a CONNACK of 5.0 says, section 3.2.2.3.3. */
function receiveMaximum(at: usize, bytes: u32): u32 {
  openPacket(at, bytes);
  readByte();
  readVarint(ENDED_NOT_MQTT);
  skip(2); // acknowledge flags, reason code
  setLimit(readVarint(ENDED_NOT_MQTT), ENDED_NOT_MQTT);
  while (stopped() == 0 && !atLimit()) {
    const property = readByte();
    if (property == RECEIVE_MAXIMUM) return readU16();
    skipProperty(property);
  }
  return 0xffff;
}

const RECEIVE_MAXIMUM: u32 = 0x21;

/** The value of a property that a CONNACK may have, by its type, section 2.2.2.2. */
function skipProperty(property: u32): void {
  switch (property) {
    case 0x24: // Maximum QoS
    case 0x25: // Retain Available
    case 0x28: // Wildcard Subscription Available
    case 0x29: // Subscription Identifiers Available
    case 0x2a: // Shared Subscription Available
      return skip(1);
    case 0x13: // Server Keep Alive
    case 0x22: // Topic Alias Maximum
      return skip(2);
    case 0x11: // Session Expiry Interval
    case 0x27: // Maximum Packet Size
      return skip(4);
    case 0x26: // User Property: two texts
      skip(readU16());
      return skip(readU16());
    default: // texts and binary data
      return skip(readU16());
  }
}

// ---- Again -----------------------------------------------------------------------------------------------------------

/** A connection failed or a session was lost. */
export function onSwarmEnd(slot: u32): void {
  add(hot(slot).phase == PHASE_OPEN ? CROWD_LOST : CROWD_FAILED, 1);
}

/** The last of a life. A late answer to it is told from the next one's by the generation. */
export function swarmClosed(slot: u32): void {
  const line = hot(slot);
  line.generation++;
  line.flags &= FLAG_TRIED | FLAG_KNOWN;
  lively--;
  const again = setting(CROWD_RECONNECT) != 0 && observe(base + CROWD_STATE) != CROWD_CLOSE;
  line.phase = <u16>(again ? PHASE_QUEUED : PHASE_FREE);
  if (again) waitToDial(slot);
}

// From half of the back-off to all of it, so that those that one failure has thrown out don't come back as one.
function waitToDial(slot: u32): void {
  const line = hot(slot);
  const backOffMs = min<u32>(BACK_OFF_MS << min<u32>(line.attempts, 16), BACK_OFF_MS_MAX);
  line.attempts++;
  const ticks = (backOffMs / 2 + (nextRandom() % (backOffMs / 2))) / RETRY_TICK_MS + 1;
  const at = retriesAt(retryTick + ticks);
  line.timerNext = load<u32>(at);
  store<u32>(at, slot + 1);
  waiting++;
}

function wakeRetries(now: f64): void {
  for (const tick = tickOf(now); retryTick < tick; ) {
    retryTick++;
    const at = retriesAt(retryTick);
    for (let entry = load<u32>(at); entry != 0; ) {
      const slot = entry - 1;
      entry = hot(slot).timerNext;
      waiting--;
      appendDue(slot);
    }
    store<u32>(at, 0);
  }
}

function appendDue(slot: u32): void {
  hot(slot).timerNext = 0;
  if (dueHead == 0) dueHead = slot + 1;
  else hot(dueTail - 1).timerNext = slot + 1;
  dueTail = slot + 1;
}

function takeRetry(): u32 {
  const slot = dueHead - 1;
  dueHead = hot(slot).timerNext;
  return slot;
}

function tickOf(us: f64): u32 {
  return <u32>(us / (RETRY_TICK_MS * 1000));
}

function retriesAt(tick: u32): usize {
  return base + CROWD_RETRIES + <usize>(tick & (RETRY_TICKS - 1)) * 4;
}

/** xorshift, 32 bits. */
function nextRandom(): u32 {
  random ^= random << 13;
  random ^= random >> 17;
  random ^= random << 5;
  return random;
}

// ---- Pings -----------------------------------------------------------------------------------------------------------

function pingDue(now: f64): void {
  const clients = setting(CROWD_CLIENTS);
  if (clients == 0) return;
  const keepAliveUs = <f64>setting(CROWD_KEEP_ALIVE_MS) * 1000;
  const turnUs = keepAliveUs == 0 ? TURN_US : keepAliveUs;
  // Behind by that much, this thread itself stood still, and answers that have long been there wait to be read.
  if (nextPingUs < now - turnUs / 2) nextPingUs = now;
  while (onGrid(nextPingUs) <= now) {
    if (pingSlot < slotsEnd()) visit(pingSlot, onGrid(nextPingUs), now, keepAliveUs != 0);
    pingSlot = pingSlot + 1 < clients ? pingSlot + 1 : 0;
    nextPingUs += turnUs / clients;
  }
}

function visit(slot: u32, dueUs: f64, now: f64, pings: bool): void {
  const phase = hot(slot).phase;
  if (phase == PHASE_OPEN && pings) ping(slot, dueUs);
  else if ((phase == PHASE_DIALLING || phase == PHASE_GREETING) && now - peer(slot).begunUs > SLOW_US) {
    end(slot, ENDED_SLOW);
  }
}

function ping(slot: u32, dueUs: f64): void {
  if (peer(slot).pingDueUs != 0) return end(slot, ENDED_SILENT);
  peer(slot).pingDueUs = dueUs;
  sayDraft(slot, writeBare(PINGREQ));
  if (isLive(slot)) flush(slot);
}

function onPingresp(slot: u32): void {
  const line = peer(slot);
  if (line.pingDueUs == 0) return;
  recordLatency(base + CROWD_HISTOGRAM, nowUs() - line.pingDueUs);
  line.pingDueUs = 0;
  add(CROWD_PINGS, 1);
}

// ---- Messages --------------------------------------------------------------------------------------------------------

function publishDue(now: f64): void {
  const perSecond = rate(CROWD_PUBLISH_RATE);
  const clients = setting(CROWD_CLIENTS);
  if (perSecond == 0 || clients == 0) return;
  while (onGrid(nextPublishUs) <= now) {
    if (publishSlot < slotsEnd() && hot(publishSlot).phase == PHASE_OPEN) publish(publishSlot);
    publishSlot = publishSlot + 1 < clients ? publishSlot + 1 : 0;
    nextPublishUs += 1000000 / perSecond;
  }
}

function publish(slot: u32): void {
  const line = peer(slot);
  const qos = setting(CROWD_QOS);
  if (isClogged(slot) || (qos != 0 && line.inFlight >= line.inFlightMax)) return add(CROWD_WITHHELD, 1);
  if (qos != 0) line.inFlight++;
  add(CROWD_PUBLISHED, 1);
  const packetId = qos == 0 ? 0 : takePacketId(slot);
  const payloadBytes = setting(CROWD_PAYLOAD_BYTES);
  sayDraft(slot, writePublish(setting(CROWD_VERSION), CROWD_TOPIC, numberOf(slot), qos, packetId, payloadBytes));
  if (isLive(slot)) flush(slot);
}

/** Never 0, section 2.3.1; by the time that they begin anew the few in flight are others. */
function takePacketId(slot: u32): u32 {
  const line = peer(slot);
  line.packetId = line.packetId == 0xffff ? 1 : line.packetId + 1;
  return line.packetId;
}

export function onSwarmPacket(slot: u32, at: usize, bytes: u32): void {
  const type = <u32>(load<u8>(at) >> 4);
  if (hot(slot).phase == PHASE_GREETING) return onConnack(slot, at, bytes);
  switch (type) {
    case PINGRESP:
      return onPingresp(slot);
    case PUBLISH:
      return onPublish(slot, at, bytes);
    case PUBACK:
    case PUBCOMP:
      return onDelivered(slot);
    case PUBREC:
      return onPubrec(slot, at, bytes);
    case PUBREL:
      return sayDraft(slot, writeAcknowledgement(PUBCOMP, packetIdAt(at, bytes)));
    case SUBACK:
      if (load<u8>(at + bytes - 1) < CODE_REFUSED) add(CROWD_SUBSCRIBED, 1);
      return;
    case UNSUBACK:
      return;
    case DISCONNECT:
      return end(slot, ENDED_DISCONNECT + (bytes > 2 ? load<u8>(at, 2) : 0));
    default:
      end(slot, ENDED_NOT_MQTT);
  }
}

function onDelivered(slot: u32): void {
  const line = peer(slot);
  if (line.inFlight != 0) line.inFlight--;
  add(CROWD_ACKNOWLEDGED, 1);
}

/** With 5.0 it can be a refusal, with which the delivery is over [MQTT-4.3.3-4]. */
function onPubrec(slot: u32, at: usize, bytes: u32): void {
  const refused = setting(CROWD_VERSION) >= 5 && bytes > 4 && load<u8>(at, 4) >= CODE_REFUSED;
  if (refused) return onDelivered(slot);
  sayDraft(slot, writeAcknowledgement(PUBREL, packetIdAt(at, bytes)));
}

function onPublish(slot: u32, at: usize, bytes: u32): void {
  const qos = (load<u8>(at) >> 1) & 3;
  add(CROWD_RECEIVED, 1);
  if (qos == 0) return;
  openPacket(at, bytes);
  readByte();
  readVarint(ENDED_NOT_MQTT);
  skip(readU16()); // the topic
  const packetId = readU16();
  if (stopped() != 0) return end(slot, ENDED_NOT_MQTT);
  sayDraft(slot, writeAcknowledgement(qos == 1 ? PUBACK : PUBREC, packetId));
}

/** Of a packet that has it behind its fixed header; 0, which none may have, where the packet is too short. */
function packetIdAt(at: usize, bytes: u32): u32 {
  openPacket(at, bytes);
  readByte();
  readVarint(ENDED_NOT_MQTT);
  return readU16();
}

// ---- Leave -----------------------------------------------------------------------------------------------------------

/** Slots in their order, at a pace; who isn't open is closed without a word. */
function leave(now: f64): f64 {
  if (leaveEndUs == 0) {
    nextLeaveUs = now;
    leaveEndUs = Infinity;
  }
  while (leaveSlot < slotsEnd() && onGrid(nextLeaveUs) <= now) {
    const slot = leaveSlot++;
    if (hot(slot).phase == PHASE_FREE || hot(slot).phase == PHASE_QUEUED) continue;
    nextLeaveUs += 1000000 / rate(CROWD_CLOSE_RATE);
    if (hot(slot).phase == PHASE_OPEN) sayGoodbye(slot);
    else if (hot(slot).phase != PHASE_CLOSING) close(slot);
  }
  if (leaveSlot < slotsEnd()) return onGrid(nextLeaveUs);
  if (leaveEndUs == Infinity) leaveEndUs = now + LEAVE_US;
  return leaveEndUs;
}

function sayGoodbye(slot: u32): void {
  hot(slot).flags |= FLAG_LEAVING;
  sayDraft(slot, writeBare(DISCONNECT));
  if (isLive(slot)) flush(slot);
}

/** Everybody, or all who would. */
export function hasLeft(): bool {
  return leaveSlot >= slotsEnd() && (lively == 0 || (leaveEndUs != 0 && nowUs() > leaveEndUs));
}
