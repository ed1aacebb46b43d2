// What stands before a listener, a pool or a backend, in this worker: a bucket of tokens, each good for one CONNECT that
// is dialled; the connections that it may have; and the lane of those who wait (queue.ts).
import {
  ADMISSION_BYTES,
  GATE_BYTES,
  GATES_BACKENDS,
  GATES_LEASES,
  GATES_LISTENERS,
  GATES_MAX,
  GATES_POOLS,
  PLACE_BYTES,
  TALLY_BYTES,
} from '../layout';
import { Admission, Gate, Place, Tally } from '../memory';
import { header } from './table';

/** A gate has room for one more, has none while other workers may have some, or has none at all. */
export const ROOM: u32 = 0;
export const ROOM_ELSEWHERE: u32 = 1;
export const ROOM_NOWHERE: u32 = 2;

/** As long as somebody waits, tokens are not lost to a turn that came later than they: those of so long a time. */
const CATCH_UP_MS: f64 = 100;
/** Sums of small parts fall short of one. */
const TOKEN: f64 = 1 - 1e-6;

let region: usize = 0;
let gates: usize = 0;
let places: usize = 0;
let tallies: usize = 0;

export function attachGates(): void {
  region = header().admission;
  gates = region + ADMISSION_BYTES;
  places = gates + GATES_MAX * GATE_BYTES;
  tallies = places + <usize>header().connectionsMax * PLACE_BYTES;
}

/** Where the table of source addresses begins. */
export function talliesEnd(): usize {
  return tallies + ((<usize>header().connectionsMax * TALLY_BYTES + 15) & ~(<usize>15));
}

export function admission(): Admission {
  return changetype<Admission>(region);
}

export function gateAt(index: u32): Gate {
  assert(index < <u32>GATES_MAX);
  return changetype<Gate>(gates + <usize>index * GATE_BYTES);
}

export function placeOf(slot: u32): Place {
  return changetype<Place>(places + <usize>slot * PLACE_BYTES);
}

export function tallyOf(slot: u32): Tally {
  return changetype<Tally>(tallies + <usize>slot * TALLY_BYTES);
}

export function listenerGate(listener: u32): u32 {
  return GATES_LISTENERS + listener;
}

export function poolGate(id: u32): u32 {
  return GATES_POOLS + id;
}

export function backendGate(backend: u32): u32 {
  return GATES_BACKENDS + backend;
}

/** Of a pool's clients that wait for the main thread to move an allowance here. */
export function leaseGate(pool: u32): u32 {
  return GATES_LEASES + pool;
}

/** How many share a listener. */
export function workers(): u32 {
  return max<u32>(admission().workers, 1);
}

/** How many share the rates and the queue of a pool. */
export function sharers(crews: u32): u32 {
  return workers() * max<u32>(crews, 1);
}

// ---- Connections -----------------------------------------------------------------------------------------------------

/** ROOM_*, for a gate that has a limit; `active` of its connections are in this worker. */
export function roomAt(index: u32, active: u32): u32 {
  const gate = gateAt(index);
  if (active < gate.allowance) return ROOM;
  return gate.isFull != 0 ? ROOM_NOWHERE : ROOM_ELSEWHERE;
}

// ---- Tokens ----------------------------------------------------------------------------------------------------------

/** Whether the gate has a token for one more CONNECT. `rate` and `burst` are those of all workers; rate 0: no limit. */
export function hasToken(index: u32, rate: u32, burst: u32, crews: u32): bool {
  if (rate == 0) return true;
  const gate = gateAt(index);
  const perMs = tokensPerMs(rate, crews);
  const room = <f64>max<u32>(burst / sharers(crews), 1);
  const now = header().clockMs;
  const tokens = gate.filledMs == 0 ? room : gate.tokens + (now - gate.filledMs) * perMs;
  gate.filledMs = now;
  gate.tokens = min(tokens, gate.waiting == 0 ? room : max(room, perMs * CATCH_UP_MS));
  return gate.tokens >= TOKEN;
}

export function takeToken(index: u32, rate: u32): void {
  if (rate != 0) gateAt(index).tokens -= 1;
}

/** Until the gate has a token, which it has not now. */
export function tokenDueMs(index: u32, rate: u32, crews: u32): u32 {
  return <u32>ceil((1 - gateAt(index).tokens) / tokensPerMs(rate, crews));
}

function tokensPerMs(rate: u32, crews: u32): f64 {
  return <f64>rate / (1000 * <f64>sharers(crews));
}
