// One choice: which member takes this connection. Stateless: a caller whose dial failed sets the member's bit in `tried`
// and asks again, until the answer is NONE.
//
// Four passes, each over members with a weight that weren't tried: primaries that are up, backups that are up, then
// primaries and backups whose connects failed lately. A suspect is worth a try when the alternative is a refusal.
import {
  ALGORITHM_KETAMA,
  BACKEND_COUNTERS_BYTES,
  HEALTH_SUSPECT,
  HEALTH_UP,
  METHOD_HASH,
  METHOD_LEAST_CONN,
  METHOD_RANDOM_TWO,
  NONE,
  ROW_BYTES,
  ROW_NONE,
} from '../layout';
import { BackendCounters, memberAt, Pool } from '../memory';
import { mix64 } from './hash';
import { walkPoints } from './ketama';
import { bestOfRow, rowOf } from './rendezvous';
import { isEligible } from './table';

/**
 * The index of the member to dial, or NONE when all are tried, down, draining or without weight. `keyed` false means that
 * there is no key to hash (an empty ClientId): METHOD_HASH then takes turns. `tried`: a bit for each member index.
 * `health`: u32 and `counters`: BackendCounters, for each backend id. `random`: address of a u64, any value, advanced.
 */
export function choose(
  pool: Pool,
  keyed: bool,
  keyHash: u64,
  tried: u64,
  health: usize,
  counters: usize,
  random: usize,
): u32 {
  if (keyed && pool.method == METHOD_HASH && pool.algorithm != ALGORITHM_KETAMA) {
    const member = firstOfRow(pool, keyHash, tried, health);
    if (member != NONE) return member;
  }
  for (let pass: u32 = 0; pass < 4; pass++) {
    const backup = pass & 1;
    const wantedHealth = pass < 2 ? HEALTH_UP : HEALTH_SUSPECT;
    const eligible = eligibleMembers(pool, backup, wantedHealth, tried, health);
    if (eligible == 0) continue;
    if (pool.method == METHOD_LEAST_CONN) return leastConnections(pool, eligible, counters);
    if (pool.method == METHOD_RANDOM_TWO) return randomTwo(pool, eligible, counters, random);
    if (pool.method != METHOD_HASH || !keyed) return smoothRoundRobin(pool, eligible, counters);
    if (pool.algorithm != ALGORITHM_KETAMA || backup != 0) {
      return bestOfRow(pool, rowOf(pool, keyHash), eligible);
    }
    return walkPoints(pool, <u32>keyHash, eligible);
  }
  return NONE;
}

/** The answer in nearly every case: one of the three members that the row holds ready. */
function firstOfRow(pool: Pool, keyHash: u64, tried: u64, health: usize): u32 {
  const row = changetype<usize>(pool) + pool.table + rowOf(pool, keyHash) * ROW_BYTES;
  for (let choice = 0; choice < 3; choice++) {
    const member = <u32>load<u8>(row + choice);
    if (member == ROW_NONE) return NONE;
    if (isEligible(pool, member, 0, HEALTH_UP, tried, health)) return member;
  }
  return NONE;
}

/** A bit for each member that this pass may choose. */
function eligibleMembers(pool: Pool, backup: u32, wantedHealth: u32, tried: u64, health: usize): u64 {
  let eligible: u64 = 0;
  for (let index: u32 = 0; index < pool.memberCount; index++) {
    if (isEligible(pool, index, backup, wantedHealth, tried, health)) eligible |= (<u64>1) << index;
  }
  return eligible;
}

/**
 * Smooth weighted round robin: everyone gains its weight, the richest goes and pays what all gained together. Turns of
 * a heavy member are spread between the others' instead of following one another.
 */
function smoothRoundRobin(pool: Pool, eligible: u64, counters: usize): u32 {
  let best: u32 = NONE;
  let total: i32 = 0;
  for (let rest = eligible; rest != 0; rest &= rest - 1) {
    const index = <u32>ctz(rest);
    const weight = <i32>memberAt(pool, index).weight;
    const ours = countersOf(pool, index, counters);
    ours.currentWeight += weight;
    total += weight;
    if (best == NONE || ours.currentWeight > countersOf(pool, best, counters).currentWeight) best = index;
  }
  countersOf(pool, best, counters).currentWeight -= total;
  return best;
}

/** The fewest active connections for its weight; among equals they take turns. */
function leastConnections(pool: Pool, eligible: u64, counters: usize): u32 {
  let equals: u64 = 0;
  let best: u32 = NONE;
  for (let rest = eligible; rest != 0; rest &= rest - 1) {
    const index = <u32>ctz(rest);
    const order = best == NONE ? -1 : compareLoad(pool, index, best, counters);
    if (order > 0) continue;
    if (order < 0) {
      best = index;
      equals = 0;
    }
    equals |= (<u64>1) << index;
  }
  return smoothRoundRobin(pool, equals, counters);
}

/** Two different members drawn by weight; the one with fewer active connections for its weight. */
function randomTwo(pool: Pool, eligible: u64, counters: usize, random: usize): u32 {
  const first = drawByWeight(pool, eligible, random);
  const others = eligible & ~((<u64>1) << first);
  if (others == 0) return first;
  const second = drawByWeight(pool, others, random);
  return compareLoad(pool, second, first, counters) < 0 ? second : first;
}

function drawByWeight(pool: Pool, eligible: u64, random: usize): u32 {
  let total: u64 = 0;
  for (let rest = eligible; rest != 0; rest &= rest - 1) total += memberAt(pool, <u32>ctz(rest)).weight;
  let left = ((nextRandom(random) >> 32) * total) >> 32;
  let index: u32 = NONE;
  for (let rest = eligible; rest != 0; rest &= rest - 1) {
    index = <u32>ctz(rest);
    const weight = <u64>memberAt(pool, index).weight;
    if (left < weight) break;
    left -= weight;
  }
  return index;
}

/** SplitMix64: a counter through a mixer, so any state will do, also zero. */
function nextRandom(random: usize): u64 {
  const state = load<u64>(random) + 0x9e3779b97f4a7c15;
  store<u64>(random, state);
  return mix64(state);
}

/** Negative if `one` has fewer active connections for its weight than `other`, 0 if as many. */
function compareLoad(pool: Pool, one: u32, other: u32, counters: usize): i32 {
  const ours = <u64>countersOf(pool, one, counters).active * memberAt(pool, other).weight;
  const theirs = <u64>countersOf(pool, other, counters).active * memberAt(pool, one).weight;
  return i32(ours > theirs) - i32(ours < theirs);
}

function countersOf(pool: Pool, index: u32, counters: usize): BackendCounters {
  return changetype<BackendCounters>(counters + <usize>memberAt(pool, index).backend * BACKEND_COUNTERS_BYTES);
}
