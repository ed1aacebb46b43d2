// CONNECT of MQTT 3.1, 3.1.1 and 5.0, read in one pass in the order of its bytes:
//
//   fixed header      type and flags 1 | remaining length 1 to 4
//   variable header   protocol name | level 1 | connect flags 1 | keep alive 2 | properties (5.0)
//   payload           ClientId | will properties (5.0), will topic, will payload | user name | password
//
// Clauses in brackets carry the same number in 3.1.1 and 5.0 unless a version stands beside them. 3.1 has no numbered
// clauses and demands less: where its text says that a value is disregarded, it is disregarded here too.
// Nothing beyond the standards is checked (ClientIds longer than 23 bytes, control characters): that is the broker's.
import {
  CONNECT_BYTES,
  CONNECT_CLIENT_ID,
  CONNECT_FLAG_CLEAN_START,
  CONNECT_FLAG_PASSWORD,
  CONNECT_FLAG_USERNAME,
  CONNECT_FLAG_WILL,
  CONNECT_FLAG_WILL_QOS,
  CONNECT_FLAG_WILL_RETAIN,
  CONNECT_PASSWORD,
  CONNECT_PROPERTIES,
  CONNECT_USERNAME,
  CONNECT_WILL_PAYLOAD,
  CONNECT_WILL_PROPERTIES,
  CONNECT_WILL_TOPIC,
  PARSE_COMPLETE,
  PARSE_PARTIAL,
  PARSE_REFUSED,
  REASON_CLIENT_ID_REQUIRED,
  REASON_CONNECT_EXPECTED,
  REASON_CONNECT_TOO_LARGE,
  REASON_FIELD_TOO_LONG,
  REASON_FIXED_HEADER_FLAGS,
  REASON_HTTP_REQUEST,
  REASON_NOT_MQTT,
  REASON_PASSWORD_WITHOUT_USERNAME,
  REASON_PROPERTY_DUPLICATE,
  REASON_PROPERTY_LENGTH,
  REASON_PROPERTY_UNKNOWN,
  REASON_PROPERTY_VALUE,
  REASON_PROTOCOL_NAME,
  REASON_PROTOCOL_VERSION,
  REASON_REMAINING_LENGTH,
  REASON_RESERVED_FLAG,
  REASON_TLS_HELLO,
  REASON_TRAILING_BYTES,
  REASON_WILL_FLAGS,
  REASON_WILL_TOPIC,
} from '../layout';
import { Connect } from '../memory';
import {
  atLimit,
  MORE_WANTED,
  NOWHERE,
  needRoom,
  offset,
  openPacket,
  readBinary,
  readByte,
  readText,
  readTopicName,
  readU16,
  readU32,
  readVarint,
  refuse,
  room,
  Span,
  setLimit,
  stopped,
  stoppedAt,
  varintIsPadded,
} from './reader';

/**
 * Parses the packet at `bytes`, of which `length` bytes are there, always from its first byte, and never reads further.
 * Returns PARSE_COMPLETE with every field of `out` set, PARSE_PARTIAL when the bytes run out, or PARSE_REFUSED with
 * reason, reasonOffset and what was known by then. A prefix is refused for the very fault that its whole packet is.
 * Bytes after the packet are left alone: they are the broker's.
 */
export function parseConnect(bytes: usize, length: u32, packetBytesMax: u32, out: Connect): u32 {
  memory.fill(changetype<usize>(out), 0, CONNECT_BYTES);
  out.receiveMaximum = 65535; // 3.1.2.11.3 of 5.0
  openPacket(bytes, length);
  parsePacket(bytes, length, packetBytesMax, out);
  const stop = stopped();
  if (stop == 0) return PARSE_COMPLETE;
  if (stop == MORE_WANTED) return PARSE_PARTIAL;
  out.reason = stop;
  out.reasonOffset = stoppedAt();
  return PARSE_REFUSED;
}

function parsePacket(bytes: usize, length: u32, packetBytesMax: u32, out: Connect): void {
  checkPacketType(bytes, length);
  const type = readByte();
  if (stopped()) return;
  // [MQTT-2.2.2-2] of 3.1.1, [MQTT-2.1.3-1] of 5.0
  if (type != CONNECT_TYPE) return refuse(REASON_FIXED_HEADER_FLAGS, 0);
  const remaining = readVarint(REASON_REMAINING_LENGTH);
  if (stopped()) return;
  const padded = varintIsPadded(1);
  out.packetBytes = offset() + remaining;
  if (out.packetBytes > packetBytesMax) return refuseTooLarge(bytes, length, out);
  setLimit(remaining, REASON_FIELD_TOO_LONG);

  parseProtocol(out);
  // 5.0 wants the shortest form [MQTT-1.5.5-1], 3.1.1 doesn't: which of them it is has only become known here.
  if (padded && out.version == 5) refuse(REASON_REMAINING_LENGTH, 1);
  parseVariableHeader(out);
  if (stopped()) return;
  parsePayload(out);
}

// ---- The first bytes: what else could it be? ------------------------------------------------------------------------
const CONNECT_TYPE: u32 = 0x10;
const PUBLISH: u32 = 3;
const PUBREL: u32 = 6;
const SUBSCRIBE: u32 = 8;
const UNSUBSCRIBE: u32 = 10;
const TLS_HANDSHAKE: u32 = 0x16;
const TLS_MAJOR_VERSION: u32 = 0x03;

/** A client must begin with CONNECT [MQTT-3.1.0-1]. Many that don't are at the wrong port, which the log should say. */
function checkPacketType(bytes: usize, length: u32): void {
  if (length == 0) return;
  const first = <u32>load<u8>(bytes);
  if (first == CONNECT_TYPE) return;
  if (first == TLS_HANDSHAKE) return checkTls(bytes, length);
  if (first >> 4 == CONNECT_TYPE >> 4) return; // its flags are wrong, whatever follows
  checkHttp(bytes, length, isPacketType(first) ? REASON_CONNECT_EXPECTED : REASON_NOT_MQTT);
}

/** A TLS record of type handshake, RFC 8446 section 5.1; read as MQTT it is a CONNECT with wrong flags. */
function checkTls(bytes: usize, length: u32): void {
  if (length == 1) return refuse(MORE_WANTED, 0);
  if (load<u8>(bytes, 1) == TLS_MAJOR_VERSION) refuse(REASON_TLS_HELLO, 0);
}

/** Three letters tell an HTTP method from a packet: P is the first byte of a PUBREC as well as of a POST. */
function checkHttp(bytes: usize, length: u32, otherwise: u32): void {
  const count = min<u32>(length, 3);
  let letters: u32 = 0;
  for (let index: u32 = 0; index < count; index++) letters |= (<u32>load<u8>(bytes + index)) << (16 - 8 * index);
  const mask: u32 = 0xffffff << (24 - 8 * count);
  if (isMethod(letters, mask)) refuse(count == 3 ? REASON_HTTP_REQUEST : MORE_WANTED, 0);
  // A PROXY protocol header that nobody asked for begins with such a P as well.
  else if (letters == LETTERS_PRO && count == 3) refuse(REASON_NOT_MQTT, 0);
  else refuse(otherwise, 0);
}

const LETTERS_PRO: u32 = 0x50524f;

/** The first letters of RFC 9110's methods, of PATCH, and of HTTP/2's preface. */
function isMethod(letters: u32, mask: u32): bool {
  return (
    letters == (0x474554 & mask) || // GET
    letters == (0x484541 & mask) || // HEAD
    letters == (0x504f53 & mask) || // POST
    letters == (0x505554 & mask) || // PUT
    letters == (0x504154 & mask) || // PATCH
    letters == (0x44454c & mask) || // DELETE
    letters == (0x4f5054 & mask) || // OPTIONS
    letters == (0x434f4e & mask) || // CONNECT
    letters == (0x545241 & mask) || // TRACE
    letters == (0x505249 & mask)
  ); // PRI
}

/** Whether some MQTT packet begins so, table 2.1 for the types and table 2.2 for their flags; 15 is AUTH of 5.0. */
function isPacketType(first: u32): bool {
  const type = first >> 4;
  const flags = first & 15;
  if (type == 0) return false;
  if (type == PUBLISH) return (flags & 6) != 6; // QoS 3 [MQTT-3.3.1-4]
  if (type == PUBREL || type == SUBSCRIBE || type == UNSUBSCRIBE) return flags == 2;
  return flags == 0;
}

/** The limit is ours, but the client deserves an answer in its own version, if its bytes already tell it. */
function refuseTooLarge(bytes: usize, length: u32, out: Connect): void {
  const name = offset();
  refuse(REASON_CONNECT_TOO_LARGE, 1);
  const versionOffset = name + 2 + NAME_MQTT_BYTES;
  if (length <= versionOffset || load<u16>(bytes + name) != bswap<u16>(NAME_MQTT_BYTES)) return;
  if (load<u32>(bytes + name + 2) != <u32>NAME_MQTT) return;
  out.version = versionOf(NAME_MQTT, load<u8>(bytes + versionOffset));
}

// ---- Variable header ------------------------------------------------------------------------------------------------
const NAME_MQTT: u64 = 0x5454514d; // "MQTT", the first letter lowest
const NAME_MQTT_BYTES: u16 = 4;
const NAME_MQISDP: u64 = 0x70647349514d; // "MQIsdp"
const NAME_MQISDP_BYTES: u16 = 6;

/** Set by mosquitto's bridges of 3.1 and 3.1.1, so that the broker knows them; brokers take the level without it. */
const LEVEL_BRIDGE: u32 = 0x80;

function parseProtocol(out: Connect): void {
  const nameOffset = offset();
  const nameBytes = readU16();
  if (nameBytes != NAME_MQTT_BYTES && nameBytes != NAME_MQISDP_BYTES) refuse(REASON_PROTOCOL_NAME, nameOffset);
  needRoom(nameBytes, REASON_FIELD_TOO_LONG, nameOffset);
  const name = nameBytes == NAME_MQTT_BYTES ? NAME_MQTT : NAME_MQISDP;
  for (let index: u32 = 0; index < nameBytes; index++) {
    const at = offset();
    if (readByte() != <u32>(name >> (8 * index)) % 256) refuse(REASON_PROTOCOL_NAME, at); // [MQTT-3.1.2-1]
  }
  const levelOffset = offset();
  const level = readByte();
  if (stopped()) return;
  out.version = versionOf(name, level);
  if (out.version) return;
  out.version = level;
  refuse(REASON_PROTOCOL_VERSION, levelOffset); // [MQTT-3.1.2-2]
}

/** 3, 4 or 5, or 0 for a level that doesn't belong to the name. */
function versionOf(name: u64, level: u32): u32 {
  if (name == NAME_MQISDP) return (level & ~LEVEL_BRIDGE) == 3 ? 3 : 0;
  if (level == 5) return 5;
  return (level & ~LEVEL_BRIDGE) == 4 ? 4 : 0;
}

function parseVariableHeader(out: Connect): void {
  const flagsOffset = offset();
  const flags = readByte();
  if (stopped()) return;
  out.flags = flags;
  checkFlags(flags, out.version, flagsOffset);
  out.keepAlive = readU16();
  if (out.version == 5) parseProperties(out, CONNECT_PROPERTY_SET, connectSpan(out, CONNECT_PROPERTIES));
}

const FLAG_RESERVED: u32 = 1;

function checkFlags(flags: u32, version: u32, at: u32): void {
  const qos = flags & CONNECT_FLAG_WILL_QOS;
  // 3.1 reserves the bit without saying that a server checks it.
  if (flags & FLAG_RESERVED && version != 3) refuse(REASON_RESERVED_FLAG, at); // [MQTT-3.1.2-3]
  if (flags & CONNECT_FLAG_WILL) {
    // [MQTT-3.1.2-14] of 3.1.1, [MQTT-3.1.2-12] of 5.0
    if (qos == CONNECT_FLAG_WILL_QOS) refuse(REASON_WILL_FLAGS, at);
  } else if (version != 3) {
    // [MQTT-3.1.2-13] and [MQTT-3.1.2-15] of 3.1.1, [MQTT-3.1.2-11] and [MQTT-3.1.2-13] of 5.0; 3.1 disregards both.
    if (qos || flags & CONNECT_FLAG_WILL_RETAIN) refuse(REASON_WILL_FLAGS, at);
  }
  // [MQTT-3.1.2-22] of 3.1.1, and 3.1 calls it not valid; 5.0 allows it, section 3.1.2.9.
  if (flags & CONNECT_FLAG_PASSWORD && !(flags & CONNECT_FLAG_USERNAME) && version != 5) {
    refuse(REASON_PASSWORD_WITHOUT_USERNAME, at);
  }
}

// ---- Properties, section 2.2.2 of 5.0 -------------------------------------------------------------------------------
const PAYLOAD_FORMAT_INDICATOR: u32 = 0x01;
const MESSAGE_EXPIRY_INTERVAL: u32 = 0x02;
const CONTENT_TYPE: u32 = 0x03;
const RESPONSE_TOPIC: u32 = 0x08;
const CORRELATION_DATA: u32 = 0x09;
const SESSION_EXPIRY_INTERVAL: u32 = 0x11;
const AUTHENTICATION_METHOD: u32 = 0x15;
const AUTHENTICATION_DATA: u32 = 0x16;
const REQUEST_PROBLEM_INFORMATION: u32 = 0x17;
const WILL_DELAY_INTERVAL: u32 = 0x18;
const REQUEST_RESPONSE_INFORMATION: u32 = 0x19;
const RECEIVE_MAXIMUM: u32 = 0x21;
const TOPIC_ALIAS_MAXIMUM: u32 = 0x22;
const USER_PROPERTY: u32 = 0x26;
const MAXIMUM_PACKET_SIZE: u32 = 0x27;

const CONNECT_PROPERTY_SET: u64 =
  ((<u64>1) << SESSION_EXPIRY_INTERVAL) |
  ((<u64>1) << AUTHENTICATION_METHOD) |
  ((<u64>1) << AUTHENTICATION_DATA) |
  ((<u64>1) << REQUEST_PROBLEM_INFORMATION) |
  ((<u64>1) << REQUEST_RESPONSE_INFORMATION) |
  ((<u64>1) << RECEIVE_MAXIMUM) |
  ((<u64>1) << TOPIC_ALIAS_MAXIMUM) |
  ((<u64>1) << USER_PROPERTY) |
  ((<u64>1) << MAXIMUM_PACKET_SIZE);
const WILL_PROPERTY_SET: u64 =
  ((<u64>1) << PAYLOAD_FORMAT_INDICATOR) |
  ((<u64>1) << MESSAGE_EXPIRY_INTERVAL) |
  ((<u64>1) << CONTENT_TYPE) |
  ((<u64>1) << RESPONSE_TOPIC) |
  ((<u64>1) << CORRELATION_DATA) |
  ((<u64>1) << WILL_DELAY_INTERVAL) |
  ((<u64>1) << USER_PROPERTY);

/** Reads a property length and as many bytes of properties, of which only those in the set may stand here. */
function parseProperties(out: Connect, allowed: u64, span: Span): void {
  const lengthOffset = offset();
  const bytes = readVarint(REASON_PROPERTY_LENGTH);
  if (varintIsPadded(lengthOffset)) refuse(REASON_PROPERTY_LENGTH, lengthOffset); // [MQTT-1.5.5-1]
  needRoom(bytes, REASON_PROPERTY_LENGTH, lengthOffset);
  if (stopped()) return;
  const bytesAfter = room() - bytes;
  span.offset = offset();
  span.bytes = bytes;

  setLimit(bytes, REASON_PROPERTY_LENGTH);
  let seen: u64 = 0;
  let dataOffset: u32 = 0;
  while (!stopped() && !atLimit()) {
    const at = offset();
    const identifier = readPropertyIdentifier(allowed);
    if (stopped()) return;
    const bit = (<u64>1) << identifier;
    if (seen & bit && identifier != USER_PROPERTY) refuse(REASON_PROPERTY_DUPLICATE, at);
    if (identifier == AUTHENTICATION_DATA) dataOffset = at;
    seen |= bit;
    readPropertyValue(identifier, at, out);
  }
  // 3.1.2.11.10: a Protocol Error, whichever of the two would have come first.
  const methodSeen = (seen & ((<u64>1) << AUTHENTICATION_METHOD)) != 0;
  if (dataOffset && !methodSeen) refuse(REASON_PROPERTY_VALUE, dataOffset);
  setLimit(bytesAfter, REASON_FIELD_TOO_LONG);
}

/** A Variable Byte Integer, 2.2.2.2; those in use fit one byte: a longer one is unknown, or padded [MQTT-1.5.5-1]. */
function readPropertyIdentifier(allowed: u64): u32 {
  const at = offset();
  const identifier = readByte();
  if (identifier > 63 || !((allowed >> identifier) & 1)) refuse(REASON_PROPERTY_UNKNOWN, at);
  return identifier;
}

/** One line for each property, by identifier: table 2-4 for the types, 3.1.2.11 and 3.1.3.2 for the values. */
function readPropertyValue(identifier: u32, at: u32, out: Connect): void {
  switch (identifier) {
    case SESSION_EXPIRY_INTERVAL:
      out.sessionExpiry = readU32();
      break;
    case RECEIVE_MAXIMUM:
      out.receiveMaximum = notZero(readU16(), at);
      break;
    case MAXIMUM_PACKET_SIZE:
      out.maximumPacketSize = notZero(readU32(), at);
      break;
    case TOPIC_ALIAS_MAXIMUM:
      out.topicAliasMaximum = readU16();
      break;
    case REQUEST_RESPONSE_INFORMATION:
    case REQUEST_PROBLEM_INFORMATION:
    case PAYLOAD_FORMAT_INDICATOR:
      zeroOrOne(readByte(), at);
      break;
    case AUTHENTICATION_METHOD:
    case CONTENT_TYPE:
      readText(NOWHERE);
      break;
    case AUTHENTICATION_DATA:
    case CORRELATION_DATA:
      readBinary(NOWHERE);
      break;
    case RESPONSE_TOPIC:
      readTopicName(NOWHERE, REASON_PROPERTY_VALUE);
      break; // [MQTT-3.3.2-14]
    case USER_PROPERTY:
      readText(NOWHERE);
      readText(NOWHERE);
      break; // [MQTT-1.5.7-1]
    case WILL_DELAY_INTERVAL:
    case MESSAGE_EXPIRY_INTERVAL:
      readU32();
      break;
  }
}

function notZero(value: u32, at: u32): u32 {
  if (!value) refuse(REASON_PROPERTY_VALUE, at);
  return value;
}

function zeroOrOne(value: u32, at: u32): void {
  if (value > 1) refuse(REASON_PROPERTY_VALUE, at);
}

// ---- Payload: in this order [MQTT-3.1.3-1] --------------------------------------------------------------------------
function parsePayload(out: Connect): void {
  parseClientId(out);
  if (stopped()) return;
  if (out.flags & CONNECT_FLAG_WILL) parseWill(out);
  // UTF-8: [MQTT-3.1.3-11] of 3.1.1, [MQTT-3.1.3-12] of 5.0. The password may be any bytes.
  if (out.flags & CONNECT_FLAG_USERNAME && !mayBeMissing(out)) readText(connectSpan(out, CONNECT_USERNAME));
  if (out.flags & CONNECT_FLAG_PASSWORD && !mayBeMissing(out)) readBinary(connectSpan(out, CONNECT_PASSWORD));
  // The flags say what is in the payload; a packet with more in it doesn't match the format [MQTT-3.1.4-1].
  if (!stopped() && !atLimit()) refuse(REASON_TRAILING_BYTES, offset());
}

/** In 3.1 the packet's length takes precedence over both flags: a user name or password may be missing at its end. */
function mayBeMissing(out: Connect): bool {
  return out.version == 3 && atLimit();
}

/** The first field, always there, UTF-8 [MQTT-3.1.3-3] [MQTT-3.1.3-4]. */
function parseClientId(out: Connect): void {
  const at = offset();
  readText(connectSpan(out, CONNECT_CLIENT_ID));
  if (stopped() || out.clientIdBytes || out.version == 5) return; // 5.0: the broker assigns one [MQTT-3.1.3-6]
  // 3.1 wants at least one character; 3.1.1 allows none only with clean session [MQTT-3.1.3-7] [MQTT-3.1.3-8].
  if (out.version == 3 || !(out.flags & CONNECT_FLAG_CLEAN_START)) refuse(REASON_CLIENT_ID_REQUIRED, at);
}

function parseWill(out: Connect): void {
  if (out.version == 5) parseProperties(out, WILL_PROPERTY_SET, connectSpan(out, CONNECT_WILL_PROPERTIES));
  // UTF-8: [MQTT-3.1.3-10] of 3.1.1, [MQTT-3.1.3-11] of 5.0
  readTopicName(connectSpan(out, CONNECT_WILL_TOPIC), REASON_WILL_TOPIC);
  readBinary(connectSpan(out, CONNECT_WILL_PAYLOAD));
}

function connectSpan(out: Connect, field: usize): Span {
  return changetype<Span>(changetype<usize>(out) + field);
}
