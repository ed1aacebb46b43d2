// The lanes in which clients wait until they may be dialled: first come, first served in each. A gate holds a lane's
// ends, a slot's Place its neighbours, so that whoever leaves is gone at once, wherever it stood.
//
// Everybody begins in the lane of the pool. Who then has to wait for the one backend that has its session goes on to the
// lane of that backend; who waits for a place that another worker holds, to the pool's lane for leases.
import { GATES_BACKENDS, GATES_LEASES, GATES_MAX, GATES_POOLS, GATES_STRAYS, NONE } from '../layout';
import { Place } from '../memory';
import { admission, gateAt, placeOf, poolGate } from './gates';
import { currentTick } from './timers';

/** Waits at the end of the lane; `pool` is the id of the slot's pool. */
export function lineUp(slot: u32, lane: u32, pool: u32): void {
  const place = placeOf(slot);
  assert(place.lane == 0);
  const gate = gateAt(lane);
  place.lane = lane + 1;
  place.next = 0;
  place.previous = gate.tail;
  if (gate.tail != 0) placeOf(gate.tail - 1).next = slot + 1;
  else gate.head = slot + 1;
  gate.tail = slot + 1;
  gate.pool = pool;
  countIn(lane, place);
}

/** Leaves its lane, if it stands in one. */
export function stepOut(slot: u32): void {
  const place = placeOf(slot);
  if (place.lane == 0) return;
  const lane = place.lane - 1;
  const gate = gateAt(lane);
  if (place.previous != 0) placeOf(place.previous - 1).next = place.next;
  else gate.head = place.next;
  if (place.next != 0) placeOf(place.next - 1).previous = place.previous;
  else gate.tail = place.previous;
  place.lane = 0;
  gate.waiting--;
  if (isBesidePool(lane)) gateAt(poolGate(gate.pool)).waiting--;
  admission().queued--;
}

/** The slot that has waited longest in the lane, NONE when nobody does. */
export function firstOf(lane: u32): u32 {
  return gateAt(lane).head - 1;
}

/** The lane that the slot waits in, NONE when it doesn't. */
export function laneOf(slot: u32): u32 {
  return placeOf(slot).lane - 1;
}

export function isLeaseLane(lane: u32): bool {
  return lane >= <u32>GATES_LEASES && lane < <u32>GATES_STRAYS;
}

/** One began to wait before the other. */
export function isOlder(slot: u32, other: u32): bool {
  return <i32>(placeOf(slot).sinceTick - placeOf(other).sinceTick) < 0;
}

/** Takes everybody out of every lane, then calls `again` for each, in the order of the lanes and within each lane. */
export function emptyLanes(again: (slot: u32) => void): void {
  let first: u32 = 0;
  let last: u32 = 0;
  for (let lane: u32 = GATES_POOLS; lane < <u32>GATES_MAX; lane++) {
    for (let slot = firstOf(lane); slot != NONE; slot = firstOf(lane)) {
      stepOut(slot);
      // Out of every lane, its links are free to hold the list of those who are out.
      placeOf(slot).next = 0;
      if (last != 0) placeOf(last - 1).next = slot + 1;
      else first = slot + 1;
      last = slot + 1;
    }
  }
  while (first != 0) {
    const slot = first - 1;
    first = placeOf(slot).next;
    again(slot);
  }
}

// A pool counts all of its own, whichever lane they wait in, and each of them once.
function countIn(lane: u32, place: Place): void {
  const gate = gateAt(lane);
  gate.waiting++;
  const pool = gateAt(poolGate(gate.pool));
  if (isBesidePool(lane)) pool.waiting++;
  if (lane >= <u32>GATES_BACKENDS && lane < <u32>GATES_LEASES) gate.queuedTotal++;
  if (place.sinceTick == 0) {
    pool.queuedTotal++;
    place.sinceTick = currentTick();
  }
  admission().queued++;
}

/** It is a pool's, but not the one that counts for the pool. */
function isBesidePool(lane: u32): bool {
  return lane >= <u32>GATES_BACKENDS && lane < <u32>GATES_STRAYS;
}
