// A pool's block: the members, and the table by which METHOD_HASH finds one. Built by the control plane, once for each
// change; read by every worker from a copy.
//
// The caller writes method, algorithm, memberCount, the secret, entryCount (the rows wanted, for rendezvous) and each
// member's weight and backup; the build fills in the rest.
import {
  ALGORITHM_KETAMA,
  HEALTH_STATES,
  MEMBER_BYTES,
  MEMBERS_MAX,
  METHOD_HASH,
  POINT_BYTES,
  POINTS_MAX,
  POOL_BYTES,
  ROW_BYTES,
  ROW_NONE,
  ROWS_MAX,
  ROWS_MIN,
  TABLE_BUILT,
  TABLE_MEMBER_COUNT,
  TABLE_MEMBER_TWICE,
  TABLE_MEMBER_WEIGHT,
  TABLE_POINTS,
  TABLE_ROWS,
  WEIGHT_MAX,
} from '../layout';
import { Member, memberAt, Pool } from '../memory';
import { crc32, mix64, sipHash } from './hash';
import { buildPoints, pointCountMax, pointScratchBytes } from './ketama';
import { buildRows, CONTENDERS_BYTES } from './rendezvous';

/** The hash of a key as this pool's table wants it: CRC-32 for nginx's ring, else SipHash under the pool's secret. */
export function hashKey(pool: Pool, bytes: usize, length: u32): u64 {
  return isKetama(pool) ? <u64>crc32(0, bytes, length) : sipHash(pool.secret0, pool.secret1, bytes, length);
}

/** TABLE_BUILT if what the caller wrote can be built; says nothing yet about two members of one name. */
export function checkPool(pool: Pool): u32 {
  if (pool.memberCount == 0 || pool.memberCount > <u32>MEMBERS_MAX) return TABLE_MEMBER_COUNT;
  for (let index: u32 = 0; index < pool.memberCount; index++) {
    if (memberAt(pool, index).weight > <u32>WEIGHT_MAX) return TABLE_MEMBER_WEIGHT;
  }
  if (pool.method != METHOD_HASH) return TABLE_BUILT;
  if (isKetama(pool)) return pointCountMax(pool) > <u32>POINTS_MAX ? TABLE_POINTS : TABLE_BUILT;
  const rows = pool.entryCount;
  return rows < <u32>ROWS_MIN || rows > <u32>ROWS_MAX || popcnt(rows) != 1 ? TABLE_ROWS : TABLE_BUILT;
}

/** Bytes of the whole block: room for the build, which may leave a little less in `pool.blockBytes`. */
export function blockBytesMax(pool: Pool): u32 {
  let tableBytes: u32 = 0;
  if (pool.method == METHOD_HASH)
    tableBytes = isKetama(pool) ? pointCountMax(pool) * POINT_BYTES : pool.entryCount * ROW_BYTES;
  return tableOffset(pool) + tableBytes;
}

/** Bytes that the build needs for its own work; nothing in them afterwards. */
export function scratchBytes(pool: Pool): u32 {
  if (pool.method != METHOD_HASH) return 0;
  return isKetama(pool) ? pointScratchBytes(pool) : CONTENDERS_BYTES;
}

/**
 * Fills nameHash of each member, the table and the pool's offsets. `names`: for each member u32 offset from `names` and
 * u32 bytes of its address text, then the texts. `scratch`: scratchBytes(pool). Returns TABLE_BUILT or another TABLE_*.
 */
export function buildTable(pool: Pool, names: usize, scratch: usize): u32 {
  const fault = checkPool(pool);
  if (fault != TABLE_BUILT) return fault;
  pool.members = POOL_BYTES;
  pool.table = tableOffset(pool);
  if (!hashNames(pool, names)) return TABLE_MEMBER_TWICE;
  pool.blockBytes = pool.table + fillTable(pool, names, scratch);
  return TABLE_BUILT;
}

function fillTable(pool: Pool, names: usize, scratch: usize): u32 {
  if (pool.method != METHOD_HASH) {
    pool.entryCount = 0;
    return 0;
  }
  if (isKetama(pool)) {
    pool.entryCount = buildPoints(pool, names, scratch);
    return pool.entryCount * POINT_BYTES;
  }
  buildRows(pool, scratch);
  return pool.entryCount * ROW_BYTES;
}

/** False if two members have one name: their scores would be the same for every row. */
function hashNames(pool: Pool, names: usize): bool {
  for (let index: u32 = 0; index < pool.memberCount; index++) {
    const nameHash = sipHash(pool.secret0, pool.secret1, nameAt(names, index), nameBytesAt(names, index));
    memberAt(pool, index).nameHash = nameHash;
    for (let earlier: u32 = 0; earlier < index; earlier++) {
      if (memberAt(pool, earlier).nameHash == nameHash) return false;
    }
  }
  return true;
}

/**
 * A number that two instances share when they would send every key the same way. Rows and points are taken with the
 * members' names instead of their indexes, and the member list as a sum, so the order of listing leaves no trace.
 */
export function digestTable(pool: Pool): u64 {
  let digest: u64 = 0;
  for (let index: u32 = 0; index < pool.memberCount; index++) {
    const member = memberAt(pool, index);
    digest += mix64(member.nameHash ^ mix64(((<u64>member.weight) << 1) | u64(member.backup != 0)));
  }
  if (pool.method != METHOD_HASH) return digest;
  digest = mix64(digest ^ pool.algorithm);
  const table = changetype<usize>(pool) + pool.table;
  for (let entry: u32 = 0; entry < pool.entryCount; entry++) {
    digest = isKetama(pool)
      ? digestPoint(digest, pool, table + entry * POINT_BYTES)
      : digestRow(digest, pool, table + entry * ROW_BYTES);
  }
  return digest;
}

function digestPoint(digest: u64, pool: Pool, point: usize): u64 {
  return mix64(mix64(digest ^ load<u32>(point)) ^ memberAt(pool, load<u32>(point, 4)).nameHash);
}

function digestRow(digest: u64, pool: Pool, row: usize): u64 {
  for (let choice = 0; choice < 3; choice++) {
    const member = <u32>load<u8>(row + choice);
    digest = mix64(digest + (member == ROW_NONE ? 1 : memberAt(pool, member).nameHash));
  }
  return digest;
}

/** May this member be chosen now, in a pass that wants backups (or not) and this health? */
export function isEligible(pool: Pool, index: u32, backup: u32, wantedHealth: u32, tried: u64, health: usize): bool {
  const member = memberAt(pool, index);
  return (
    ((tried >> index) & 1) == 0 &&
    member.weight != 0 &&
    u32(member.backup != 0) == backup &&
    (healthOf(member, health) & HEALTH_STATES) == wantedHealth
  );
}

/** The word of its backend: a state, and what is withheld from it. */
export function healthOf(member: Member, health: usize): u32 {
  return load<u32>(health + ((<usize>member.backend) << 2));
}

export function nameAt(names: usize, index: u32): usize {
  return names + load<u32>(names + ((<usize>index) << 3));
}

export function nameBytesAt(names: usize, index: u32): u32 {
  return load<u32>(names + ((<usize>index) << 3), 4);
}

function isKetama(pool: Pool): bool {
  return pool.algorithm == ALGORITHM_KETAMA;
}

function tableOffset(pool: Pool): u32 {
  return POOL_BYTES + pool.memberCount * MEMBER_BYTES;
}
