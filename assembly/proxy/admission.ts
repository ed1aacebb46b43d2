// Who is let in, and when. Limits of connections refuse at once whoever exceeds them; rates of CONNECTs let everybody
// wait for a token, and nothing is dialled before, since a broker gives a silent socket only so long. All limits hold for
// all workers together: rates are divided among them, connections are lent by the main thread (gates.ts), and this
// worker keeps to its part.
//
// A client that must come to one backend, where its session is, waits for that one's token while others pass.
import {
  GATES_STRAYS,
  LEASE_WAIT_MS,
  MARK_ADMITTED,
  MARK_IMPATIENT,
  METHOD_HASH,
  NONE,
  REASON_BACKEND_CONNECTIONS,
  REASON_CONNECT_RATE,
  REASON_LISTENER_CONNECTIONS,
  REASON_POOL_CONNECTIONS,
  REASON_QUEUE_TIMEOUT,
  VERDICT_DIAL,
  VERDICT_QUEUE,
  VERDICT_REFUSE,
  WHEEL_TICK_MS,
} from '../layout';
import { Cold, memberAt, Pool, PoolLimits } from '../memory';
import { candidates } from '../route/choose';
import { backendLimitsAt, listenerLimitsAt, poolAt, poolLimitsAt, snapshot } from '../snapshot';
import {
  bestMember,
  chooseBackend,
  isKeyed,
  noneLeftReason,
  poolFor,
  refuseWithoutPool,
  takeBackend,
  takeMember,
} from './decide';
import {
  admission,
  attachGates,
  backendGate,
  gateAt,
  hasToken,
  leaseGate,
  listenerGate,
  placeOf,
  poolGate,
  ROOM,
  ROOM_ELSEWHERE,
  roomAt,
  sharers,
  takeToken,
  tallyOf,
  tokenDueMs,
} from './gates';
import { emptyLanes, firstOf, isLeaseLane, isOlder, laneOf, lineUp, stepOut } from './queue';
import { attachSourceCounts, leaveSource } from './source-counts';
import { attachSourcePaces } from './source-paces';
import { backendCounters, cold, FLAG_OUT_OF_PORTS, healthBase, hot } from './table';
import { attachTakeOvers } from './take-overs';
import { currentTick } from './timers';

// What the next step of a slot may be, besides a lane to wait in.
const GOES: u32 = NONE;
const REFUSED: u32 = NONE - 1;
/** Of the backend that was taken: it is tried already, and another one may be better off. */
const OUT_OF_PORTS: u32 = NONE - 2;

/** The snapshot that those who wait were lined up by. */
let epoch: u32 = 0;
let leasesSeen: u32 = 0;
/** Of the round over those who wait for a lease: the pool, and how many of its are still to be looked at. */
let leasePool: u32 = NONE;
let leaseLeft: u32 = 0;

export function attachAdmission(): void {
  attachGates();
  attachSourceCounts();
  attachSourcePaces();
  attachTakeOvers();
  epoch = leasesSeen = leaseLeft = 0;
  leasePool = NONE;
}

/** VERDICT_* for a client whose CONNECT is whole, or whose dial failed. */
export function admit(slot: u32): u32 {
  const line = cold(slot);
  const limits = poolLimitsAt(line.pool);
  return settle(slot, line, limits, nextStep(slot, line, limits));
}

// Who comes new never passes those who wait.
function nextStep(slot: u32, line: Cold, limits: PoolLimits): u32 {
  const entered = enter(slot, line, limits);
  if (entered != GOES) return entered;
  if (limits.isLimited == 0) return chooseBackend(slot) == VERDICT_DIAL ? GOES : REFUSED;
  const lane = poolGate(limits.id);
  const othersWait = limits.rate == 0 ? firstOf(lane) != NONE : gateAt(lane).waiting != 0;
  return othersWait ? lane : chooseUnderLimits(slot, line, limits);
}

/** For a slot that stands in no lane: the verdict, and its place in the lane if it must wait. */
function settle(slot: u32, line: Cold, limits: PoolLimits, step: u32): u32 {
  if (step == GOES) return VERDICT_DIAL;
  if (step == REFUSED) return VERDICT_REFUSE;
  const share = sharers(limits.crews);
  if (gateAt(poolGate(limits.id)).waiting >= (limits.queueMax + share - 1) / share) {
    return refuseFor(line, REASON_CONNECT_RATE);
  }
  if (admission().queued == 0) epoch = snapshot().epoch;
  hot(slot).epoch = <u16>snapshot().epoch;
  lineUp(slot, step, limits.id);
  return VERDICT_QUEUE;
}

function refuseFor(line: Cold, reason: u32): u32 {
  line.reason = <u16>reason;
  return VERDICT_REFUSE;
}

// ---- Connections -----------------------------------------------------------------------------------------------------

/** Counts the slot in its listener and pool, if they have room: GOES, REFUSED, or the lane to wait in. */
function enter(slot: u32, line: Cold, limits: PoolLimits): u32 {
  const tally = tallyOf(slot);
  const isIn = (tally.marks & <u8>MARK_ADMITTED) != 0;
  if (isIn && tally.pool == <u8>limits.id) return GOES;
  if (!isIn && listenerLimitsAt(line.listener).maxConnections != 0) {
    const step = stepFor(slot, listenerGate(line.listener), limits, REASON_LISTENER_CONNECTIONS);
    if (step != GOES) return step;
  }
  if (limits.maxConnections != 0) {
    const step = stepFor(slot, poolGate(limits.id), limits, REASON_POOL_CONNECTIONS);
    if (step != GOES) return step;
  }
  // A snapshot may have given the listener another pool meanwhile.
  if (isIn) gateAt(poolGate(tally.pool)).active--;
  else gateAt(listenerGate(line.listener)).active++;
  tally.marks |= <u8>MARK_ADMITTED;
  tally.pool = <u8>limits.id;
  gateAt(poolGate(limits.id)).active++;
  return GOES;
}

function stepFor(slot: u32, gate: u32, limits: PoolLimits, reason: u32): u32 {
  const room = roomAt(gate, gateAt(gate).active);
  if (room == ROOM) return GOES;
  if (room == ROOM_ELSEWHERE && isPatient(slot)) {
    gateAt(gate).wanted++;
    return leaseGate(limits.id);
  }
  refuseFor(cold(slot), reason);
  return REFUSED;
}

/** Whether it waits for what another worker has. */
function isPatient(slot: u32): bool {
  return (tallyOf(slot).marks & <u8>MARK_IMPATIENT) == 0;
}

/** The connection has ended: nobody counts it any more. */
export function leave(slot: u32): void {
  stepOut(slot);
  const place = placeOf(slot);
  if (place.sinceTick != 0) place.sinceTick = 0; // a page that is only read costs nothing
  leaveSource(slot);
  const tally = tallyOf(slot);
  const marks = tally.marks;
  tally.marks = 0;
  if ((marks & <u8>MARK_ADMITTED) == 0) return;
  gateAt(listenerGate(cold(slot).listener)).active--;
  gateAt(poolGate(tally.pool)).active--;
}

// ---- Backends --------------------------------------------------------------------------------------------------------

/** Members that have all the connections they may have, and those for which other workers may have some left. */
let full: u64 = 0;
let fullHere: u64 = 0;

/** Takes the best backend that may be dialled now: GOES, REFUSED, or the lane to wait in. */
function chooseUnderLimits(slot: u32, line: Cold, limits: PoolLimits): u32 {
  const lane = poolGate(limits.id);
  if (!hasToken(lane, limits.rate, limits.burst, limits.crews)) return lane;
  const pool = poolAt(line.pool);
  let step = tryBest(slot, line, pool, limits);
  while (step == OUT_OF_PORTS) step = tryBest(slot, line, pool, limits);
  return step;
}

function tryBest(slot: u32, line: Cold, pool: Pool, limits: PoolLimits): u32 {
  lookForRoom(slot, pool);
  const found = candidates(pool, line.tried | full, healthBase);
  if (found == 0) return refuseForNone(slot, line, pool);
  if (pool.method != METHOD_HASH || !isKeyed(slot)) {
    const open = found & ~fullHere;
    if (open == 0) return wantLease(pool, found, limits);
    const ready = membersWithToken(slot, pool, open);
    return ready == 0 ? poolGate(limits.id) : take(slot, pool, bestMember(slot, pool, ~ready), limits);
  }
  const owner = bestMember(slot, pool, line.tried | full);
  if ((fullHere >> owner) & 1) return wantLease(pool, (<u64>1) << owner, limits);
  const backend = memberAt(pool, owner).backend;
  return isDialable(slot, backend) ? take(slot, pool, owner, limits) : backendGate(backend);
}

function refuseForNone(slot: u32, line: Cold, pool: Pool): u32 {
  const areFull = candidates(pool, line.tried, healthBase) != 0;
  refuseFor(line, areFull ? REASON_BACKEND_CONNECTIONS : noneLeftReason(slot));
  return REFUSED;
}

function take(slot: u32, pool: Pool, index: u32, limits: PoolLimits): u32 {
  const backend = memberAt(pool, index).backend;
  takeMember(slot, index);
  if (!takeBackend(slot, backend)) {
    hot(slot).flags |= FLAG_OUT_OF_PORTS;
    return OUT_OF_PORTS;
  }
  takeToken(poolGate(limits.id), limits.rate);
  takeToken(backendGate(backend), backendLimitsAt(backend).rate);
  return GOES;
}

function lookForRoom(slot: u32, pool: Pool): void {
  full = fullHere = 0;
  for (let index: u32 = 0; index < pool.memberCount; index++) {
    const backend = memberAt(pool, index).backend;
    if (backendLimitsAt(backend).maxConnections == 0) continue;
    const room = roomAt(backendGate(backend), backendCounters(backend).active);
    if (room == ROOM) continue;
    if (room == ROOM_ELSEWHERE && isPatient(slot)) fullHere |= (<u64>1) << index;
    else full |= (<u64>1) << index;
  }
}

function wantLease(pool: Pool, members: u64, limits: PoolLimits): u32 {
  for (let rest = members; rest != 0; rest &= rest - 1) {
    gateAt(backendGate(memberAt(pool, <u32>ctz(rest)).backend)).wanted++;
  }
  return leaseGate(limits.id);
}

function membersWithToken(slot: u32, pool: Pool, members: u64): u64 {
  let found: u64 = 0;
  for (let rest = members; rest != 0; rest &= rest - 1) {
    const index = <u32>ctz(rest);
    if (isDialable(slot, memberAt(pool, index).backend)) found |= (<u64>1) << index;
  }
  return found;
}

// Those who wait for this very backend go first.
function isDialable(slot: u32, backend: u32): bool {
  const first = firstOf(backendGate(backend));
  return (first == NONE || first == slot) && backendHasToken(backend);
}

function backendHasToken(backend: u32): bool {
  const limits = backendLimitsAt(backend);
  return hasToken(backendGate(backend), limits.rate, limits.burst, limits.crews);
}

// ---- Those who wait --------------------------------------------------------------------------------------------------

/**
 * The next one whose wait is over, NONE when nobody's is: it has a backend to be dialled, or a reason to be refused. Due
 * at every turn, until it says NONE.
 */
export function nextReleased(): u32 {
  if (admission().queued == 0) return NONE;
  if (snapshot().epoch != epoch) lineUpAnew();
  const stray = firstOf(GATES_STRAYS);
  if (stray != NONE) {
    refuseStray(stray);
    return stray;
  }
  const slot = nextOfLeases();
  if (slot != NONE) return slot;
  for (let index: u32 = 0; index < snapshot().poolCount; index++) {
    const released = nextOfPool(index);
    if (released != NONE) return released;
  }
  return NONE;
}

// Pools, backends and limits are others now: everybody begins again.
function lineUpAnew(): void {
  epoch = snapshot().epoch;
  emptyLanes(beginAgain);
  leasePool = NONE;
  nextLeasePool();
}

function beginAgain(slot: u32): void {
  const line = cold(slot);
  const pool = poolFor(slot);
  if (pool == NONE) return lineUp(slot, GATES_STRAYS, 0);
  line.pool = <u8>pool;
  line.tried = 0;
  hot(slot).epoch = <u16>epoch;
  const id = poolLimitsAt(line.pool).id;
  const isIn = (tallyOf(slot).marks & <u8>MARK_ADMITTED) != 0;
  lineUp(slot, isIn ? poolGate(id) : leaseGate(id), id);
}

function refuseStray(slot: u32): u32 {
  stepOut(slot);
  return refuseWithoutPool(cold(slot));
}

/** Allowances have changed: everybody who waits for one is looked at once. */
function nextOfLeases(): u32 {
  if (leasesSeen != admission().leasesSeen) {
    leasesSeen = admission().leasesSeen;
    leasePool = NONE;
    nextLeasePool();
  }
  while (leasePool < snapshot().poolCount) {
    const limits = poolLimitsAt(leasePool);
    for (; leaseLeft > 0; leaseLeft--) {
      const slot = firstOf(leaseGate(limits.id));
      stepOut(slot);
      const step = enter(slot, cold(slot), limits);
      if (step == REFUSED) {
        leaseLeft--;
        return slot;
      }
      lineUp(slot, step == GOES ? poolGate(limits.id) : step, limits.id);
    }
    nextLeasePool();
  }
  return NONE;
}

function nextLeasePool(): void {
  leasePool++;
  leaseLeft = leasePool < snapshot().poolCount ? gateAt(leaseGate(poolLimitsAt(leasePool).id)).waiting : 0;
}

/** Of this pool, the one who has waited longest among those who may go now. */
function nextOfPool(index: u32): u32 {
  const limits = poolLimitsAt(index);
  const lane = poolGate(limits.id);
  const pool = poolAt(index);
  let stuck: u64 = 0;
  let isLaneStuck = false;
  while (gateAt(lane).waiting != 0 && hasToken(lane, limits.rate, limits.burst, limits.crews)) {
    const member = oldestOwner(pool, stuck);
    const owned = member == NONE ? NONE : firstOf(backendGate(memberAt(pool, member).backend));
    const first = isLaneStuck ? NONE : firstOf(lane);
    const isOwned = owned != NONE && (first == NONE || !isOlder(first, owned));
    const slot = isOwned ? owned : first;
    if (slot == NONE) return NONE;
    const stood = laneOf(slot);
    const step = advance(slot, limits);
    if (step == stood) {
      if (isOwned) stuck |= (<u64>1) << member;
      else isLaneStuck = true;
      continue;
    }
    stepOut(slot);
    if (step == GOES || step == REFUSED) return slot;
    lineUp(slot, step, limits.id);
  }
  return NONE;
}

function advance(slot: u32, limits: PoolLimits): u32 {
  const line = cold(slot);
  const entered = enter(slot, line, limits);
  return entered == GOES ? chooseUnderLimits(slot, line, limits) : entered;
}

/** The member, not one of those stuck, whose lane has the one who has waited longest. */
function oldestOwner(pool: Pool, stuck: u64): u32 {
  let oldest: u32 = NONE;
  let oldestSlot: u32 = NONE;
  for (let index: u32 = 0; index < pool.memberCount; index++) {
    if ((stuck >> index) & 1) continue;
    const slot = firstOf(backendGate(memberAt(pool, index).backend));
    if (slot == NONE || (oldest != NONE && !isOlder(slot, oldestSlot))) continue;
    oldest = index;
    oldestSlot = slot;
  }
  return oldest;
}

/** Milliseconds until somebody's token is due, at least 1; NONE when nobody waits for one. */
export function releaseDueMs(): u32 {
  if (admission().queued == 0) return NONE;
  if (snapshot().epoch != epoch) return 1;
  let due: u32 = NONE;
  for (let index: u32 = 0; index < snapshot().poolCount; index++) due = min(due, dueOfPool(index));
  return max<u32>(due, 1);
}

function dueOfPool(index: u32): u32 {
  const limits = poolLimitsAt(index);
  const lane = poolGate(limits.id);
  if (gateAt(lane).waiting == 0) return NONE;
  if (!hasToken(lane, limits.rate, limits.burst, limits.crews)) return tokenDueMs(lane, limits.rate, limits.crews);
  const pool = poolAt(index);
  let due: u32 = NONE;
  for (let member: u32 = 0; member < pool.memberCount; member++) {
    const backend = memberAt(pool, member).backend;
    if (backendHasToken(backend)) continue;
    const limits = backendLimitsAt(backend);
    due = min(due, tokenDueMs(backendGate(backend), limits.rate, limits.crews));
  }
  return due;
}

// ---- The end of patience ---------------------------------------------------------------------------------------------

/** Milliseconds that the slot may still wait where it stands. */
export function queueLeftMs(slot: u32): u32 {
  if (isLeaseLane(laneOf(slot))) return LEASE_WAIT_MS;
  const limit = poolLimitsAt(cold(slot).pool).queueTimeoutMs;
  const waited = (currentTick() - placeOf(slot).sinceTick) * WHEEL_TICK_MS;
  return waited < limit ? limit - waited : 0;
}

/** Its time is over: the verdict, VERDICT_QUEUE when it waits for something else now. */
export function onQueueTimer(slot: u32): u32 {
  if (snapshot().epoch != epoch) lineUpAnew();
  if (laneOf(slot) == GATES_STRAYS) return refuseStray(slot);
  const line = cold(slot);
  const limits = poolLimitsAt(line.pool);
  if (isLeaseLane(laneOf(slot))) {
    stepOut(slot);
    tallyOf(slot).marks |= <u8>MARK_IMPATIENT;
    return settle(slot, line, limits, nextStep(slot, line, limits));
  }
  if (queueLeftMs(slot) > 0) return VERDICT_QUEUE;
  stepOut(slot);
  return refuseFor(line, REASON_QUEUE_TIMEOUT);
}
