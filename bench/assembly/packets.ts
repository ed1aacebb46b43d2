// MQTT packets as the two write them, all into the draft, where each begins at draftStart(): they return their lengths.
import { writeDecimal } from '../../assembly/mqtt/ip-text';
import { store16 } from '../../assembly/mqtt/proxy-header';
import { CROWD_PASSWORD, CROWD_USERNAME, NUMBER_BYTE } from '../layout';
import { base, draft } from './peer';

export const CONNECT: u32 = 1;
export const CONNACK: u32 = 2;
export const PUBLISH: u32 = 3;
export const PUBACK: u32 = 4;
export const PUBREC: u32 = 5;
export const PUBREL: u32 = 6;
export const PUBCOMP: u32 = 7;
export const SUBSCRIBE: u32 = 8;
export const SUBACK: u32 = 9;
export const UNSUBSCRIBE: u32 = 10;
export const UNSUBACK: u32 = 11;
export const PINGREQ: u32 = 12;
export const PINGRESP: u32 = 13;
export const DISCONNECT: u32 = 14;
export const AUTH: u32 = 15;

/** Sections 3.6.1, 3.8.1 and 3.10.1: the flags of PUBREL, SUBSCRIBE and UNSUBSCRIBE. */
const FLAGS_RESERVED: u32 = 2;

let start: usize = 0;

export function draftStart(): usize {
  return start;
}

const CLEAN: u32 = 0x02;
const HAS_PASSWORD: u32 = 0x40;
const HAS_USERNAME: u32 = 0x80;
const SESSION_EXPIRY: u32 = 0x11;
/** Of persistent sessions with 5.0: an hour. */
const SESSION_EXPIRY_SECONDS: u32 = 3600;

/** PINGREQ, PINGRESP or DISCONNECT: nothing but a type. */
export function writeBare(type: u32): u32 {
  start = draft();
  store<u16>(start, <u16>(type << 4));
  return 2;
}

/** PUBACK, PUBREC, PUBREL or PUBCOMP; with 5.0 that means success [section 3.4.2.1]. */
export function writeAcknowledgement(type: u32, packetId: u32): u32 {
  start = draft();
  store<u8>(start, <u8>((type << 4) | (type == PUBREL ? FLAGS_RESERVED : 0)));
  store<u8>(start, 2, 1);
  store16(start + 2, packetId);
  return 4;
}

/** `clientId` is a pattern's place in the block; `keepAlive` in seconds. */
export function writeConnect(version: u32, clientId: usize, number: u32, keepAlive: u32, persistent: bool): u32 {
  const hasUsername = load<u32>(base + CROWD_USERNAME) != 0;
  const hasPassword = load<u32>(base + CROWD_PASSWORD) != 0;
  const body = bodyOfDraft();
  let at = writeProtocol(body, version);
  const flags = (persistent ? 0 : CLEAN) | (hasUsername ? HAS_USERNAME : 0) | (hasPassword ? HAS_PASSWORD : 0);
  store<u8>(at, <u8>flags);
  store16(at + 1, keepAlive);
  at += 3;
  if (version >= 5) at = writeSessionExpiry(at, persistent);
  at = writePattern(at, clientId, number);
  if (hasUsername) at = writePattern(at, CROWD_USERNAME, number);
  if (hasPassword) at = writePattern(at, CROWD_PASSWORD, number);
  return closeDraft(CONNECT, 0, at);
}

/** 3.1 has a name of its own, "MQIsdp". */
function writeProtocol(at: usize, version: u32): usize {
  const old = version == 3;
  const bytes: u32 = old ? 6 : 4;
  store16(at, bytes);
  store<u64>(at, old ? 0x70_64_73_49_51_4d : 0x54_54_51_4d, 2);
  store<u8>(at + 2 + bytes, <u8>version);
  return at + 3 + bytes;
}

function writeSessionExpiry(at: usize, persistent: bool): usize {
  if (!persistent) {
    store<u8>(at, 0);
    return at + 1;
  }
  store<u8>(at, 5);
  store<u8>(at, <u8>SESSION_EXPIRY, 1);
  store<u32>(at, bswap<u32>(SESSION_EXPIRY_SECONDS), 2);
  return at + 6;
}

/** One filter, a pattern. */
export function writeSubscribe(version: u32, packetId: u32, filter: usize, number: u32, qos: u32): u32 {
  const body = bodyOfDraft();
  store16(body, packetId);
  let at = body + 2;
  if (version >= 5) store<u8>(at++, 0);
  at = writePattern(at, filter, number);
  store<u8>(at, <u8>qos);
  return closeDraft(SUBSCRIBE, FLAGS_RESERVED, at + 1);
}

/** With a payload of `x`. `topic` is a pattern. */
export function writePublish(version: u32, topic: usize, number: u32, qos: u32, packetId: u32, payloadBytes: u32): u32 {
  let at = writePattern(bodyOfDraft(), topic, number);
  if (qos != 0) {
    store16(at, packetId);
    at += 2;
  }
  if (version >= 5) store<u8>(at++, 0);
  memory.fill(at, 0x78, payloadBytes);
  return closeDraft(PUBLISH, qos << 1, at + payloadBytes);
}

// ---- Parts -----------------------------------------------------------------------------------------------------------

/** Room for the longest fixed header stays before the body. */
const FIXED_HEADER_BYTES_MAX: u32 = 5;

export function bodyOfDraft(): usize {
  return draft() + FIXED_HEADER_BYTES_MAX;
}

/** Puts the fixed header before a body that ends at `end`; the packet begins at draftStart(). */
export function closeDraft(type: u32, flags: u32, end: usize): u32 {
  const remaining = <u32>(end - bodyOfDraft());
  start = bodyOfDraft() - varintBytes(remaining) - 1;
  store<u8>(start, <u8>((type << 4) | flags));
  writeVarint(start + 1, remaining);
  return <u32>(end - start);
}

/** Section 2.2.3 of 3.1.1. */
function varintBytes(value: u32): u32 {
  return value < 1 << 7 ? 1 : value < 1 << 14 ? 2 : value < 1 << 21 ? 3 : 4;
}

/** Returns what follows. */
export function writeVarint(at: usize, value: u32): usize {
  while (value > 0x7f) {
    store<u8>(at++, <u8>(value | 0x80));
    value >>= 7;
  }
  store<u8>(at, <u8>value);
  return at + 1;
}

/** A text with its length before it; returns what follows. */
export function writePattern(at: usize, pattern: usize, number: u32): usize {
  const bytes = load<u32>(base + pattern);
  const from = base + pattern + 4;
  let out = at + 2;
  for (let index: u32 = 0; index < bytes; index++) {
    const byte = load<u8>(from + index);
    if (byte == NUMBER_BYTE) out += writeDecimal(number, out);
    else store<u8>(out++, byte);
  }
  store16(at, <u32>(out - at - 2));
  return out;
}
