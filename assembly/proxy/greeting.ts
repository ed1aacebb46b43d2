// The PROXY header that a backend is sent with its client's CONNECT, where the pool says so. The uring engine keeps it
// from the dial until the backend has taken it: few at once, but in the worst case one for each slot. Those that were
// given back are used first, so no more memory is touched than was ever needed at once.
//
//   greeting, GREETING_BYTES: u32 next free one + 1, or the header's bytes | the header
//
// Cold.greeting is the number of the slot's own + 1, 0 for none.
import { GREETING_BYTES, PP2_TYPE_UNIQUE_ID, PROXY_PROTOCOL_OFF, PROXY_PROTOCOL_V2, UNIQUE_ID_BYTES } from '../layout';
import { Cold, peerOf } from '../memory';
import { writeHexDigits } from '../mqtt/ip-text';
import {
  CRC32C_BYTES,
  store16,
  TLV_HEAD_BYTES,
  V1_BYTES_MAX,
  V2_HEAD_BYTES,
  V2_TCP6_BYTES,
} from '../mqtt/proxy-header';
import { writeProxyHeader } from '../mqtt/proxy-header-writer';
import { listenerBindAt, poolAt } from '../snapshot';
import { cold, header, hot } from './table';

const HEAD_BYTES: u32 = 4;
const UNIQUE_ID_TLV_BYTES: u32 = TLV_HEAD_BYTES + UNIQUE_ID_BYTES;
if (HEAD_BYTES + V1_BYTES_MAX > <u32>GREETING_BYTES) ERROR('a header of version 1 is larger than a greeting');
if (
  HEAD_BYTES + V2_HEAD_BYTES + V2_TCP6_BYTES + UNIQUE_ID_TLV_BYTES + TLV_HEAD_BYTES + CRC32C_BYTES >
  <u32>GREETING_BYTES
)
  ERROR('a header of version 2 is larger than a greeting');

let greetings: usize = 0;
/** Number + 1; 0 for none. */
let freeHead: u32 = 0;
let touched: u32 = 0;

export function attachGreetings(): void {
  greetings = header().greetings;
  freeHead = touched = 0;
}

/** The slot's backend is about to be dialled. */
export function beginGreeting(slot: u32): void {
  const line = cold(slot);
  if (poolAt(line.pool).proxyProtocol == PROXY_PROTOCOL_OFF) return;
  assert(line.greeting == 0);
  line.greeting = takeGreeting();
  const at = greetingOf(line);
  store<u32>(at, writeGreeting(slot, 0, 0, 0, at + HEAD_BYTES));
}

/** The backend has it, or will never have it. */
export function endGreeting(slot: u32): void {
  const line = cold(slot);
  if (line.greeting == 0) return;
  store<u32>(greetingOf(line), freeHead);
  freeHead = line.greeting;
  line.greeting = 0;
}

/** 0 for none. */
export function greetingBytes(slot: u32): u32 {
  const line = cold(slot);
  return line.greeting == 0 ? 0 : load<u32>(greetingOf(line));
}

export function greetingAddress(slot: u32): usize {
  return greetingOf(cold(slot)) + HEAD_BYTES;
}

/** Writes it and returns its bytes; see connectionGreeting. */
export function writeGreeting(slot: u32, local: usize, tlvs: usize, tlvBytes: u32, out: usize): u32 {
  const line = cold(slot);
  const version = poolAt(line.pool).proxyProtocol;
  const source = peerOf(line);
  const destination = local != 0 ? local : listenerBindAt(line.listener);
  if (version != PROXY_PROTOCOL_V2) return writeProxyHeader(version, source, destination, 0, 0, out);
  // Where the header's end will be there is room to put all TLVs together, out of the way of what is written before it.
  const all = out + V2_HEAD_BYTES + V2_TCP6_BYTES;
  memory.copy(all + UNIQUE_ID_TLV_BYTES, tlvs, tlvBytes);
  writeUniqueId(slot, all);
  return writeProxyHeader(version, source, destination, all, UNIQUE_ID_TLV_BYTES + tlvBytes, out);
}

/** No two connections have the same: when it was opened, the worker's random number, slot and generation. */
function writeUniqueId(slot: u32, out: usize): void {
  store<u8>(out, <u8>PP2_TYPE_UNIQUE_ID);
  store16(out + 1, UNIQUE_ID_BYTES);
  const id = out + TLV_HEAD_BYTES;
  writeHexDigits(<u64>cold(slot).openedMs, 12, id);
  writeHexDigits(header().randomSeed, 8, id + 12);
  writeHexDigits(slot, 6, id + 20);
  writeHexDigits(hot(slot).generation, 6, id + 26);
}

function takeGreeting(): u32 {
  const greeting = freeHead;
  if (greeting == 0) {
    assert(touched < header().connectionsMax);
    return ++touched;
  }
  freeHead = load<u32>(greetings + <usize>(greeting - 1) * GREETING_BYTES);
  return greeting;
}

function greetingOf(line: Cold): usize {
  return greetings + <usize>(line.greeting - 1) * GREETING_BYTES;
}
