// One choice: which member takes this connection. Stateless: a caller whose dial failed sets the member's bit in `tried`
// and asks again, until the answer is NONE.
//
// Four passes, each over members with a weight that weren't tried: primaries that are up, backups that are up, then
// primaries and backups whose connects failed lately. A suspect is worth a try when the alternative is a refusal.
//
// A member in its slow start has a part of its share withheld. A key is kept away from it by a number of its own, the
// same at every try, so that a growing share never sends a key away again; methods without a key count its weight less.
// A member that is all that a pass has left gets everybody: slow start never refuses a client.
import {
  ALGORITHM_KETAMA,
  BACKEND_COUNTERS_BYTES,
  HEALTH_SHARE_FULL,
  HEALTH_SUSPECT,
  HEALTH_UP,
  HEALTH_WITHHELD_SHIFT,
  METHOD_HASH,
  METHOD_LEAST_CONN,
  METHOD_RANDOM_TWO,
  NONE,
  ROW_BYTES,
  ROW_NONE,
} from '../layout';
import { BackendCounters, memberAt, Pool } from '../memory';
import { mix64, nextRandom } from './hash';
import { walkPoints } from './ketama';
import { bestOfRow, rowOf } from './rendezvous';
import { healthOf, isEligible } from './table';

/**
 * The index of the member to dial, or NONE when all are tried, down, draining or without weight. `keyed` false means that
 * there is no key to hash (an empty ClientId): METHOD_HASH then takes turns. `tried`: a bit for each member index.
 * `health`: a health word and `counters`: BackendCounters, for each backend id. `random`: address of a u64, any value, advanced.
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
    const eligible = eligibleMembers(pool, backup, healthOfPass(pass), tried, health);
    if (eligible == 0) continue;
    if (pool.method == METHOD_LEAST_CONN) return leastConnections(pool, eligible, health, counters);
    if (pool.method == METHOD_RANDOM_TWO) return randomTwo(pool, eligible, health, counters, random);
    if (pool.method != METHOD_HASH || !keyed) return smoothRoundRobin(pool, eligible, health, counters);
    const candidates = membersForKey(pool, eligible, keyHash, health);
    if (pool.algorithm != ALGORITHM_KETAMA || backup != 0) {
      return bestOfRow(pool, rowOf(pool, keyHash), candidates);
    }
    return walkPoints(pool, <u32>keyHash, candidates);
  }
  return NONE;
}

/** A bit for each member among which `choose` takes its pick; 0 when it finds none. */
export function candidates(pool: Pool, tried: u64, health: usize): u64 {
  for (let pass: u32 = 0; pass < 4; pass++) {
    const eligible = eligibleMembers(pool, pass & 1, healthOfPass(pass), tried, health);
    if (eligible != 0) return eligible;
  }
  return 0;
}

/** The answer in nearly every case: one of the three members that the row holds ready. */
function firstOfRow(pool: Pool, keyHash: u64, tried: u64, health: usize): u32 {
  const row = changetype<usize>(pool) + pool.table + rowOf(pool, keyHash) * ROW_BYTES;
  for (let choice = 0; choice < 3; choice++) {
    const member = <u32>load<u8>(row + choice);
    if (member == ROW_NONE) return NONE;
    if (!isEligible(pool, member, 0, HEALTH_UP, tried, health)) continue;
    if (!isWithheld(pool, member, keyHash, health)) return member;
  }
  return NONE;
}

function healthOfPass(pass: u32): u32 {
  return pass < 2 ? HEALTH_UP : HEALTH_SUSPECT;
}

/** A bit for each member that this pass may choose. */
function eligibleMembers(pool: Pool, backup: u32, wantedHealth: u32, tried: u64, health: usize): u64 {
  let eligible: u64 = 0;
  for (let index: u32 = 0; index < pool.memberCount; index++) {
    if (isEligible(pool, index, backup, wantedHealth, tried, health)) eligible |= (<u64>1) << index;
  }
  return eligible;
}

/** Those that the key isn't withheld from; all of them when it is withheld from each. */
function membersForKey(pool: Pool, eligible: u64, keyHash: u64, health: usize): u64 {
  let members: u64 = 0;
  for (let rest = eligible; rest != 0; rest &= rest - 1) {
    const index = <u32>ctz(rest);
    if (!isWithheld(pool, index, keyHash, health)) members |= (<u64>1) << index;
  }
  return members == 0 ? eligible : members;
}

/** Bits that the row of the key, or its place on the ring, doesn't show: every part of a member's keys is an even one. */
function isWithheld(pool: Pool, index: u32, keyHash: u64, health: usize): bool {
  const member = memberAt(pool, index);
  const withheld = healthOf(member, health) >>> HEALTH_WITHHELD_SHIFT;
  return withheld != 0 && <u32>(mix64(keyHash ^ member.nameHash) >> 48) < withheld;
}

/** In 256ths, so that a small weight has parts too. Never 0: somebody must go first. */
function weightNow(pool: Pool, index: u32, health: usize): u32 {
  const member = memberAt(pool, index);
  const share = <u32>HEALTH_SHARE_FULL - (healthOf(member, health) >>> HEALTH_WITHHELD_SHIFT);
  return max<u32>(1, (member.weight * share) >>> 8);
}

/**
 * Smooth weighted round robin: everyone gains its weight, the richest goes and pays what all gained together. Turns of
 * a heavy member are spread between the others' instead of following one another.
 */
function smoothRoundRobin(pool: Pool, eligible: u64, health: usize, counters: usize): u32 {
  let best: u32 = NONE;
  let total: i32 = 0;
  for (let rest = eligible; rest != 0; rest &= rest - 1) {
    const index = <u32>ctz(rest);
    const weight = <i32>weightNow(pool, index, health);
    const ours = countersOf(pool, index, counters);
    ours.currentWeight += weight;
    total += weight;
    if (best == NONE || ours.currentWeight > countersOf(pool, best, counters).currentWeight) best = index;
  }
  countersOf(pool, best, counters).currentWeight -= total;
  return best;
}

/** The fewest active connections for its weight; among equals they take turns. */
function leastConnections(pool: Pool, eligible: u64, health: usize, counters: usize): u32 {
  let equals: u64 = 0;
  let best: u32 = NONE;
  for (let rest = eligible; rest != 0; rest &= rest - 1) {
    const index = <u32>ctz(rest);
    const order = best == NONE ? -1 : compareLoad(pool, index, best, health, counters);
    if (order > 0) continue;
    if (order < 0) {
      best = index;
      equals = 0;
    }
    equals |= (<u64>1) << index;
  }
  return smoothRoundRobin(pool, equals, health, counters);
}

/** Two different members drawn by weight; the one with fewer active connections for its weight. */
function randomTwo(pool: Pool, eligible: u64, health: usize, counters: usize, random: usize): u32 {
  const first = drawByWeight(pool, eligible, health, random);
  const others = eligible & ~((<u64>1) << first);
  if (others == 0) return first;
  const second = drawByWeight(pool, others, health, random);
  return compareLoad(pool, second, first, health, counters) < 0 ? second : first;
}

function drawByWeight(pool: Pool, eligible: u64, health: usize, random: usize): u32 {
  let total: u64 = 0;
  for (let rest = eligible; rest != 0; rest &= rest - 1) total += weightNow(pool, <u32>ctz(rest), health);
  let left = ((nextRandom(random) >> 32) * total) >> 32;
  let index: u32 = NONE;
  for (let rest = eligible; rest != 0; rest &= rest - 1) {
    index = <u32>ctz(rest);
    const weight = <u64>weightNow(pool, index, health);
    if (left < weight) break;
    left -= weight;
  }
  return index;
}

/** Negative if `one` has fewer active connections for its weight than `other`, 0 if as many. */
function compareLoad(pool: Pool, one: u32, other: u32, health: usize, counters: usize): i32 {
  const ours = <u64>countersOf(pool, one, counters).active * weightNow(pool, other, health);
  const theirs = <u64>countersOf(pool, other, counters).active * weightNow(pool, one, health);
  return i32(ours > theirs) - i32(ours < theirs);
}

function countersOf(pool: Pool, index: u32, counters: usize): BackendCounters {
  return changetype<BackendCounters>(counters + <usize>memberAt(pool, index).backend * BACKEND_COUNTERS_BYTES);
}
