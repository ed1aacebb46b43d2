// What is counted of MQTT, for metrics: CONNECTs and their Keep Alives, how soon backends answer and with which code, how
// long sessions last. All of it is counted where a connection begins or ends, none of it for each message.
//
// The clock is read once a turn, when its completions are there. So a latency begins and ends at turns, and can be off by
// the time that one of them takes: some 10 us for a quiet worker, a millisecond for one that serves hundreds at a time.
// What is seen of a backend is never less than that: a worker takes note of an answer when it comes to it.
import {
  BACKEND_FIGURES,
  BACKEND_FIGURES_BYTES,
  BACKEND_FIGURES_CONNACK,
  BACKEND_FIGURES_CONNACKS,
  BACKEND_FIGURES_CONNECT,
  BACKEND_FIGURES_OTHER,
  COUNTERS_AGES,
  COUNTERS_CONNECTS,
  COUNTERS_KEEP_ALIVES,
  COUNTERS_KEEP_ALIVES_LAST,
  COUNTERS_PROTOCOLS,
  HEADER_AGE_BOUNDS,
  HEADER_KEEP_ALIVE_BOUNDS,
  HEADER_OFFSET,
  HISTOGRAM_BOUNDS,
  HISTOGRAM_SUM,
  LATENCIES_SUM,
  LATENCY_QUARTERS_SHIFT,
  NONE,
  POOL_IDS_MAX,
  PROTOCOL_OTHER,
  PROTOCOL_UNKNOWN,
  PROTOCOLS_MAX,
} from '../layout';
import { Cold, Pool } from '../memory';
import { connackCode } from '../mqtt/connack-code';
import { add, backendCountersRegion, cold, counters, FLAG_ESTABLISHED, header, hot } from './table';

/** A CONNECT that could be read. */
export function countConnect(pool: Pool, version: u32, keepAlive: u32): void {
  countVersion(pool, version);
  countInBounds(counters + COUNTERS_KEEP_ALIVES, HEADER_KEEP_ALIVE_BOUNDS, keepAlive);
}

/** One that was refused for its version. */
export function countStranger(pool: Pool): void {
  countVersion(pool, PROTOCOL_OTHER);
}

function countVersion(pool: Pool, protocol: u32): void {
  assert(pool.id < <u32>POOL_IDS_MAX);
  add(counters + COUNTERS_CONNECTS + (pool.id * PROTOCOLS_MAX + protocol) * 8, 1);
}

/** A dial begins; it is submitted at the end of this turn, and the clock is that of the turn's beginning. */
export function stampDial(line: Cold): void {
  line.stampUs = nowUs();
}

/** It has succeeded, and CONNECT goes out at the end of this turn. */
export function countConnected(line: Cold): void {
  const now = nowUs();
  countLatency(figuresOf(line.backend) + BACKEND_FIGURES_CONNECT, now - line.stampUs);
  line.stampUs = now;
}

/**
 * The backend's first bytes: returns the code of its CONNACK, NONE when it is none. One is so short that it hardly ever
 * comes in pieces.
 */
export function countAnswer(line: Cold, bytes: usize, length: u32): u32 {
  const figures = figuresOf(line.backend);
  const code = connackCode(bytes, length);
  if (code == NONE) {
    add(figures + BACKEND_FIGURES_OTHER, 1);
    return NONE;
  }
  add(figures + BACKEND_FIGURES_CONNACKS + code * 8, 1);
  countLatency(figures + BACKEND_FIGURES_CONNACK, sinceUs(line));
  return code;
}

/** Since what the line is stamped for: a dial, or after that the CONNECT. */
export function sinceUs(line: Cold): u32 {
  return nowUs() - line.stampUs;
}

export function countEnd(slot: u32): void {
  const line = cold(slot);
  add(counters + COUNTERS_PROTOCOLS + protocolOf(line.version) * 8, 1);
  if (!(hot(slot).flags & FLAG_ESTABLISHED)) return;
  const age = <u64>max<f64>(header().clockMs + header().wallMs - line.openedMs, 0);
  countInBounds(counters + COUNTERS_AGES, HEADER_AGE_BOUNDS, age);
  countInBounds(counters + COUNTERS_KEEP_ALIVES_LAST, HEADER_KEEP_ALIVE_BOUNDS, line.keepAlive);
}

function protocolOf(version: u32): u32 {
  const isKnown = version == PROTOCOL_UNKNOWN || (version >= 3 && version <= 5);
  return isKnown ? version : PROTOCOL_OTHER;
}

/** `bounds` is where the header keeps them. */
function countInBounds(histogram: usize, bounds: u32, value: u64): void {
  let index: u32 = 0;
  while (index < <u32>HISTOGRAM_BOUNDS && value > load<u32>(HEADER_OFFSET + bounds + index * 4)) index++;
  add(histogram + index * 8, 1);
  add(histogram + HISTOGRAM_SUM, value);
}

function countLatency(latencies: usize, microseconds: u32): void {
  add(latencies + latencyBucket(microseconds) * 8, 1);
  add(latencies + LATENCIES_SUM, microseconds);
}

function latencyBucket(microseconds: u32): u32 {
  if (microseconds >> LATENCY_QUARTERS_SHIFT == 0) return microseconds;
  const power = 31 - clz(microseconds);
  const quarter = (microseconds >> (power - LATENCY_QUARTERS_SHIFT)) & ((1 << LATENCY_QUARTERS_SHIFT) - 1);
  return ((power - LATENCY_QUARTERS_SHIFT + 1) << LATENCY_QUARTERS_SHIFT) | quarter;
}

function figuresOf(backend: u32): usize {
  return backendCountersRegion + BACKEND_FIGURES + <usize>backend * BACKEND_FIGURES_BYTES;
}

function nowUs(): u32 {
  return <u32>(<u64>(header().clockMs * 1000));
}
