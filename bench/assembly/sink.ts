// The sink: a broker that takes every client, answers what it is sent, and keeps nothing. Messages are delivered with
// QoS 0, which is what its SUBACK grants; there are no retained messages, no wills, and no sessions that outlive their
// connections.
import { HEADER_ACCEPTING, HEADER_LISTENER_FDS, HEADER_OFFSET, NONE, PARSE_COMPLETE } from '../../assembly/layout';
import { Connect } from '../../assembly/memory';
import { writeRefusal } from '../../assembly/mqtt/connack';
import { parseConnect } from '../../assembly/mqtt/connect';
import { writeHexDigits } from '../../assembly/mqtt/ip-text';
import { store16 } from '../../assembly/mqtt/proxy-header';
import {
  atLimit,
  offset,
  openPacket,
  readBinary,
  readByte,
  readU16,
  readVarint,
  Span,
  setLimit,
  skip,
  stopped,
} from '../../assembly/mqtt/reader';
import {
  cold,
  freeSlot,
  hot,
  PHASE_ACCEPTING,
  PHASE_GREETING,
  PHASE_OPEN,
  slotAvailable,
  takeSlot,
} from '../../assembly/proxy/table';
import { ECANCELED } from '../../assembly/uring/abi';
import { OP_ACCEPT, prepAccept } from '../../assembly/uring/ops';
import {
  CROWD_ACCEPTED,
  CROWD_ACCEPTS,
  CROWD_CONNECTED,
  CROWD_FAILED,
  CROWD_HOLDING,
  CROWD_LISTENER_COUNT,
  CROWD_OPEN,
  CROWD_PACKET_BYTES_MAX,
  CROWD_PINGS,
  CROWD_PUBLISHED,
  CROWD_RECEIVED,
  CROWD_SINK_MODE,
  CROWD_SUBSCRIBED,
  CROWD_WITHHELD,
  ENDED_NOT_MQTT,
  SINK_ECHO,
  SINK_FAN_OUT,
} from '../layout';
import { armReceive, end, flush, isLive, say } from './crowd';
import {
  bodyOfDraft,
  CONNACK,
  CONNECT,
  closeDraft,
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
  SUBSCRIBE,
  UNSUBACK,
  UNSUBSCRIBE,
  writeAcknowledgement,
  writeBare,
} from './packets';
import {
  add,
  countReason,
  draft,
  emptyPeer,
  FLAG_LEAVING,
  fileSide,
  fileSlot,
  isClogged,
  nowUs,
  peer,
  pend,
  setting,
} from './peer';
import { forgetSubscriptions, nextSubscriber, openTopic, subscribe, unsubscribe } from './sink-topics';

/** After an accept that failed, which is mostly for want of descriptors or memory, none is tried for so long. */
const ACCEPT_REST_US: f64 = 20000;

/** Of the field that was read last. */
const span: Span = changetype<Span>(memory.data(offsetof<Span>()));
const greeting: Connect = changetype<Connect>(memory.data(offsetof<Connect>()));
let acceptUs: f64 = 0;

/** Keeps accepts waiting; returns when to look again, if something keeps it from that. */
export function sinkTurn(now: f64): f64 {
  if (now < acceptUs) return acceptUs;
  for (let listener: u32 = 0; listener < setting(CROWD_LISTENER_COUNT); listener++) {
    while (accepting(listener) < setting(CROWD_ACCEPTS) && slotAvailable()) armAccept(listener);
  }
  return Infinity;
}

function armAccept(listener: u32): void {
  const slot = takeSlot();
  const fd = load<u32>(HEADER_OFFSET + HEADER_LISTENER_FDS + listener * 4);
  hot(slot).phase = <u16>PHASE_ACCEPTING;
  cold(slot).listener = <u8>listener;
  setAccepting(listener, accepting(listener) + 1);
  prepAccept(fd, fileSlot(slot), cold(slot), true, pend(slot, OP_ACCEPT), fileSide(slot));
}

function accepting(listener: u32): u32 {
  return load<u32>(HEADER_OFFSET + HEADER_ACCEPTING + listener * 4);
}

function setAccepting(listener: u32, count: u32): void {
  store<u32>(HEADER_OFFSET + HEADER_ACCEPTING + listener * 4, count);
}

export function onAccept(slot: u32, result: i32): void {
  setAccepting(cold(slot).listener, accepting(cold(slot).listener) - 1);
  if (result < 0) {
    freeSlot(slot);
    if (result != -ECANCELED) acceptUs = nowUs() + ACCEPT_REST_US;
    return;
  }
  emptyPeer(slot);
  hot(slot).phase = <u16>PHASE_GREETING;
  add(CROWD_ACCEPTED, 1);
  add(CROWD_HOLDING, 1);
  armReceive(slot, false);
}

export function onSinkEnd(): void {
  add(CROWD_FAILED, 1);
}

export function sinkClosed(slot: u32): void {
  add(CROWD_HOLDING, -1);
  forgetSubscriptions(slot);
  freeSlot(slot);
}

// ---- Packets ---------------------------------------------------------------------------------------------------------

export function onSinkPacket(slot: u32, at: usize, bytes: u32): void {
  if (hot(slot).flags & FLAG_LEAVING) return;
  const type = <u32>(load<u8>(at) >> 4);
  if (type == CONNECT && hot(slot).phase == PHASE_OPEN) return end(slot, ENDED_NOT_MQTT);
  switch (type) {
    case CONNECT:
      return onConnect(slot, at, bytes);
    case PINGREQ:
      add(CROWD_PINGS, 1);
      return sayDraft(slot, writeBare(PINGRESP));
    case PUBLISH:
      return onPublish(slot, at, bytes);
    case PUBREL:
      return sayDraft(slot, writeAcknowledgement(PUBCOMP, packetId(at, bytes)));
    case SUBSCRIBE:
      return onFilters(slot, at, bytes, true);
    case UNSUBSCRIBE:
      return onFilters(slot, at, bytes, false);
    case PUBACK: // Nothing that it sends asks for one of these.
    case PUBREC:
    case PUBCOMP:
      return;
    case DISCONNECT: // What was asked before it is answered.
      hot(slot).flags |= FLAG_LEAVING;
      return;
    default:
      end(slot, ENDED_NOT_MQTT);
  }
}

function sayDraft(slot: u32, length: u32): void {
  say(slot, draftStart(), length);
}

function onConnect(slot: u32, at: usize, bytes: u32): void {
  if (parseConnect(at, bytes, CROWD_PACKET_BYTES_MAX, greeting) != PARSE_COMPLETE) return refuse(slot);
  const version = greeting.version;
  peer(slot).version = <u8>version;
  hot(slot).phase = <u16>PHASE_OPEN;
  add(CROWD_CONNECTED, 1);
  add(CROWD_OPEN, 1);
  let out = bodyOfDraft();
  store<u16>(out, 0); // no session present, success
  out += 2;
  if (version >= 5) out = writeProperties(out, slot, greeting.clientIdBytes == 0);
  sayDraft(slot, closeDraft(CONNACK, 0, out));
}

/** A client of 5.0 without a ClientId must be told which one it got [MQTT-3.2.2-16]. */
function writeProperties(at: usize, slot: u32, assigns: bool): usize {
  if (!assigns) {
    store<u8>(at, 0);
    return at + 1;
  }
  store<u8>(at, <u8>(3 + ASSIGNED_BYTES));
  store<u8>(at, ASSIGNED_CLIENT_ID, 1);
  store16(at + 2, ASSIGNED_BYTES);
  writeHexDigits(((<u64>slot) << 32) | hot(slot).generation, ASSIGNED_BYTES, at + 4);
  return at + 4 + ASSIGNED_BYTES;
}

const ASSIGNED_CLIENT_ID: u8 = 0x12;
const ASSIGNED_BYTES: u32 = 16;

/** Counted as failed at once; the other side hears why, where its version has words for it. */
function refuse(slot: u32): void {
  countReason(ENDED_NOT_MQTT);
  add(CROWD_FAILED, 1);
  hot(slot).flags |= FLAG_LEAVING;
  say(slot, draft(), writeRefusal(greeting.reason, greeting.version, draft()));
}

/** SUBSCRIBE and UNSUBSCRIBE, sections 3.8 and 3.10: an answer for each filter. */
function onFilters(slot: u32, at: usize, bytes: u32, subscribes: bool): void {
  const version = peer(slot).version;
  openPacket(at, bytes);
  readByte();
  setLimit(readVarint(ENDED_NOT_MQTT), ENDED_NOT_MQTT);
  const id = readU16();
  if (version >= 5) skip(readVarint(ENDED_NOT_MQTT));
  let out = bodyOfDraft();
  store16(out, id);
  out += 2;
  if (version >= 5) store<u8>(out++, 0);
  while (stopped() == 0 && !atLimit()) {
    readBinary(span);
    if (subscribes) readByte(); // options
    if (stopped() != 0) break;
    const code = subscribes
      ? subscribeTo(slot, at + span.offset, span.bytes)
      : unsubscribe(slot, at + span.offset, span.bytes);
    // Before 5.0 an UNSUBACK has no codes.
    if (subscribes || version >= 5) store<u8>(out++, <u8>code);
  }
  if (stopped() != 0) return end(slot, ENDED_NOT_MQTT);
  add(CROWD_SUBSCRIBED, subscribes ? 1 : 0);
  sayDraft(slot, closeDraft(subscribes ? SUBACK : UNSUBACK, 0, out));
}

/** The code for the SUBACK: QoS 0, or that the sink has no room for it. */
function subscribeTo(slot: u32, filter: usize, bytes: u32): u32 {
  if (setting(CROWD_SINK_MODE) != SINK_FAN_OUT) return 0;
  return subscribe(slot, filter, bytes) ? 0 : 0x80;
}

// ---- Messages --------------------------------------------------------------------------------------------------------

function onPublish(slot: u32, at: usize, bytes: u32): void {
  const version = peer(slot).version;
  const qos = (load<u8>(at) >> 1) & 3;
  openPacket(at, bytes);
  readByte();
  setLimit(readVarint(ENDED_NOT_MQTT), ENDED_NOT_MQTT);
  readBinary(span);
  const topic = at + span.offset;
  const topicBytes = span.bytes;
  const id = qos == 0 ? 0 : readU16();
  const propertiesAt = offset();
  if (version >= 5) skip(readVarint(ENDED_NOT_MQTT));
  if (stopped() != 0 || qos == 3) return end(slot, ENDED_NOT_MQTT);
  const payloadAt = offset();
  add(CROWD_RECEIVED, 1);
  if (qos != 0) sayDraft(slot, writeAcknowledgement(qos == 1 ? PUBACK : PUBREC, id));
  if (!isLive(slot)) return;
  message.topic = topic;
  message.topicBytes = topicBytes;
  message.properties = at + propertiesAt;
  message.propertiesBytes = payloadAt - propertiesAt;
  message.payload = at + payloadAt;
  message.payloadBytes = bytes - payloadAt;
  const mode = setting(CROWD_SINK_MODE);
  if (mode == SINK_ECHO) deliver(slot);
  else if (mode == SINK_FAN_OUT) fanOut(slot);
}

/** A message under way: places in the packet that brought it. */
@unmanaged
class Message {
  topic: usize;
  topicBytes: u32;
  /** With their length before them; no bytes before 5.0. */
  properties: usize;
  propertiesBytes: u32;
  payload: usize;
  payloadBytes: u32;
}
const message: Message = changetype<Message>(memory.data(offsetof<Message>()));

/** The message lies in its publisher's buffers, so with him it ends. */
function fanOut(publisher: u32): void {
  openTopic(message.topic, message.topicBytes);
  for (let slot = nextSubscriber(); slot != NONE && isLive(publisher); slot = nextSubscriber()) {
    deliver(slot);
    if (isLive(slot)) flush(slot);
  }
}

/** With QoS 0. Properties are for those who know them. */
function deliver(slot: u32): void {
  if (isClogged(slot)) return add(CROWD_WITHHELD, 1);
  const body = bodyOfDraft();
  store16(body, message.topicBytes);
  memory.copy(body + 2, message.topic, message.topicBytes);
  let at = body + 2 + message.topicBytes;
  if (peer(slot).version >= 5) at = copyProperties(at);
  memory.copy(at, message.payload, message.payloadBytes);
  add(CROWD_PUBLISHED, 1);
  sayDraft(slot, closeDraft(PUBLISH, 0, at + message.payloadBytes));
}

function copyProperties(at: usize): usize {
  if (message.propertiesBytes == 0) {
    store<u8>(at, 0);
    return at + 1;
  }
  memory.copy(at, message.properties, message.propertiesBytes);
  return at + message.propertiesBytes;
}

/** Of a packet that has it behind its fixed header. */
function packetId(at: usize, bytes: u32): u32 {
  openPacket(at, bytes);
  readByte();
  readVarint(ENDED_NOT_MQTT);
  return readU16();
}
