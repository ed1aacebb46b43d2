// Reads one packet from its first byte. A read needs two things: room before `limit`, which is the end of the packet or
// of the properties inside it, and bytes that have already arrived. The first lack of either, and the first fault that
// the parser reports, stops the reader: from then on reads return 0 and later faults are ignored. So the parser is
// written as if every byte were there and sound, and what it says about a prefix of a packet is what it says about the
// whole packet, or that more is wanted.
//
//   start ............ position ............ limit
//                          |<-- here -->|              `here` bytes have arrived and aren't read yet
//
// Distances are compared, never addresses: a claimed length may reach past the end of the memory, where sums wrap.
import { NONE, REASON_FIELD_TOO_LONG, REASON_NULL_CHARACTER, REASON_UTF8 } from '../layout';

/** The reader's stop while nothing is wrong but the bytes so far. */
export const MORE_WANTED = NONE;

let start: usize = 0;
let position: usize = 0;
let here: u32 = 0;
let limit: usize = 0;
let pastLimit: u32 = 0;
let stop: u32 = 0;
let stopOffset: u32 = 0;

/** Begins at a packet's first byte, of which `length` bytes are there. The end of the packet isn't known yet. */
export function openPacket(bytes: usize, length: u32): void {
  start = bytes;
  position = bytes;
  here = length;
  limit = bytes - 1; // as far from the position as can be
  pastLimit = REASON_FIELD_TOO_LONG;
  stop = 0;
}

/** Why reading stopped: 0 while it goes on, MORE_WANTED, or a REASON_*. */
export function stopped(): u32 {
  return stop;
}

/** Where the fault stands that stopped the reader. */
export function stoppedAt(): u32 {
  return stopOffset;
}

/** Reports a fault at an offset from the packet's first byte. */
export function refuse(reason: u32, offset: u32): void {
  if (stop) return;
  stop = reason;
  stopOffset = offset;
}

export function offset(): u32 {
  return <u32>(position - start);
}

export function atLimit(): bool {
  return position == limit;
}

/** What was read ends `bytes` after the position; a field that reaches further is refused for `reason`. */
export function setLimit(bytes: u32, reason: u32): void {
  if (stop) return;
  limit = position + bytes;
  pastLimit = reason;
}

/** Bytes from the position to the limit. */
export function room(): u32 {
  return <u32>(limit - position);
}

/** Refuses a length, claimed at an offset, that reaches past the limit: at once, before any of those bytes arrives. */
export function needRoom(bytes: u32, reason: u32, lengthOffset: u32): void {
  if (bytes > room()) refuse(reason, lengthOffset);
}

export function readByte(): u32 {
  if (!have(1)) return 0;
  const value = load<u8>(position);
  advance(1);
  return value;
}

/** Two Byte Integer, section 1.5.2. */
export function skip(bytes: u32): void {
  if (have(bytes)) advance(bytes);
}

export function readU16(): u32 {
  if (!have(2)) return 0;
  const value = bswap<u16>(load<u16>(position));
  advance(2);
  return value;
}

/** Four Byte Integer, section 1.5.3 of 5.0. */
export function readU32(): u32 {
  if (!have(4)) return 0;
  const value = bswap<u32>(load<u32>(position));
  advance(4);
  return value;
}

/** Variable Byte Integer of at most four bytes, section 1.5.5 of 5.0 and 2.2.3 of 3.1.1; `reason` when it is longer. */
export function readVarint(reason: u32): u32 {
  let value: u32 = 0;
  for (let shift: u32 = 0; shift < 28; shift += 7) {
    const byte = readByte();
    value |= (byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  refuse(reason, offset() - 1);
  return 0;
}

/** Whether the Variable Byte Integer just read, from `from` on, would have fitted into fewer bytes. */
export function varintIsPadded(from: u32): bool {
  return !stop && offset() - from > 1 && load<u8>(position - 1) == 0;
}

/** Where a field lies: an offset from the packet's first byte, as the pairs of Connect hold it. */
@unmanaged
export class Span {
  offset: u32;
  bytes: u32;
}

/** For fields that are checked but not kept. */
export const NOWHERE: Span = changetype<Span>(0);

/** Binary Data, section 1.5.6 of 5.0: two bytes of length, then anything. Writes the span once all of it is there. */
export function readBinary(span: Span): void {
  const bytes = readLength();
  if (!have(bytes)) return;
  keepSpan(span, bytes);
  advance(bytes);
}

/** UTF-8 Encoded String, section 1.5.3 of 3.1.1 and 1.5.4 of 5.0. One that is still arriving is checked so far. */
export function readText(span: Span): void {
  const bytes = readLength();
  if (stop) return;
  const arrived = min(bytes, here);
  const sound = soundBytes(position, arrived, bytes);
  if (sound < arrived) return refuseText(position + sound);
  if (!have(bytes)) return;
  keepSpan(span, bytes);
  advance(bytes);
}

/** A Topic Name: text of at least one character [MQTT-4.7.3-1], none a wildcard [MQTT-4.7.1-1], or else `reason`. */
export function readTopicName(span: Span, reason: u32): void {
  const lengthOffset = offset();
  const bytes = readLength();
  if (stop) return;
  if (bytes == 0) return refuse(reason, lengthOffset);
  const arrived = min(bytes, here);
  const sound = soundBytes(position, arrived, bytes);
  // Only before the first ill-formed character: whichever fault comes first is the one that a prefix shows too.
  for (let at = position, end = position + sound; at < end; at++) {
    const byte = load<u8>(at);
    if (byte == CHARACTER_PLUS || byte == CHARACTER_HASH) return refuse(reason, <u32>(at - start));
  }
  if (sound < arrived) return refuseText(position + sound);
  if (!have(bytes)) return;
  keepSpan(span, bytes);
  advance(bytes);
}

const CHARACTER_PLUS: u8 = 0x2b;
const CHARACTER_HASH: u8 = 0x23;

/** The two bytes of a field's length, for which there is room. */
function readLength(): u32 {
  const lengthOffset = offset();
  const bytes = readU16();
  needRoom(bytes, pastLimit, lengthOffset);
  return bytes;
}

function keepSpan(span: Span, bytes: u32): void {
  if (span == NOWHERE) return;
  span.offset = offset();
  span.bytes = bytes;
}

/** [MQTT-1.5.3-1] and [MQTT-1.5.3-2] of 3.1.1, [MQTT-1.5.4-1] and [MQTT-1.5.4-2] of 5.0. */
function refuseText(at: usize): void {
  refuse(load<u8>(at) == 0 ? REASON_NULL_CHARACTER : REASON_UTF8, <u32>(at - start));
}

function have(bytes: u32): bool {
  if (stop) return false;
  if (bytes > <u32>(limit - position)) {
    refuse(pastLimit, offset());
    return false;
  }
  if (bytes > here) {
    stop = MORE_WANTED;
    return false;
  }
  return true;
}

function advance(bytes: u32): void {
  position += bytes;
  here -= bytes;
}

// ---- UTF-8 ----------------------------------------------------------------------------------------------------------
const EVERY_BYTE_ONE: u64 = 0x0101010101010101;
const EVERY_HIGH_BIT: u64 = 0x8080808080808080;

/** How many of the bytes that arrived of a text are without fault: all of them, or those before the first fault. */
function soundBytes(from: usize, arrived: usize, bytes: usize): usize {
  let done: usize = 0;
  while (done < arrived) {
    if (arrived - done >= 8) {
      // A byte that is zero borrows from its high bit, a byte past ASCII has it: eight plain characters have none.
      const word = load<u64>(from + done);
      if ((((word - EVERY_BYTE_ONE) | word) & EVERY_HIGH_BIT) == 0) {
        done += 8;
        continue;
      }
    }
    const taken = characterBytes(from + done, arrived - done, bytes - done);
    if (taken == 0) return done;
    done += taken;
  }
  return done;
}

/**
 * Bytes of the well-formed character at an address (table 3-7 of the Unicode standard, restated in RFC 3629), 0 for an
 * ill-formed one or U+0000. One that is still arriving counts as far as it has come, unless the text ends within it.
 */
function characterBytes(at: usize, arrived: usize, room: usize): usize {
  const lead = <u32>load<u8>(at);
  if (lead < 0x80) return lead ? 1 : 0;
  // Continuation bytes can't lead, C0 and C1 could only lead overlong forms, F5 and higher lead past U+10FFFF.
  if (lead < 0xc2 || lead > 0xf4) return 0;
  const bytes: usize = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  if (bytes > room) return 0;
  for (let index: usize = 1; index < bytes; index++) {
    if (index == arrived) return arrived;
    const byte = <u32>load<u8>(at + index);
    if (index == 1 && (byte < secondByteMin(lead) || byte > secondByteMax(lead))) return 0;
    if ((byte & 0xc0) != 0x80) return 0;
  }
  return bytes;
}

function secondByteMin(lead: u32): u32 {
  if (lead == 0xe0) return 0xa0; // less would be an overlong form of two bytes
  if (lead == 0xf0) return 0x90; // or of three
  return 0x80;
}

function secondByteMax(lead: u32): u32 {
  if (lead == 0xed) return 0x9f; // more would be a surrogate, U+D800 to U+DFFF
  if (lead == 0xf4) return 0x8f; // more would be past U+10FFFF
  return 0xbf;
}
