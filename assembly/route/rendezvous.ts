// Rendezvous hashing: every member has a score for every row, and a row belongs to the member with the best one. A score
// depends on its row and its member alone, so a member that comes, goes or changes its weight moves only rows that it
// wins or loses, and the order in which members were listed can't matter.
//
// Weighted as highest-random-weight: with u uniform in (0, 1), the member with the least -log2(u) / weight wins a row
// with a chance proportional to its weight. Integers only, so that every machine agrees: -log2 in fixed point, and two
// quotients are compared by cross-multiplication. Equal scores go to the greater nameHash.
//
// Drawn at random, u would leave the shares of 16 equal members over 2^16 rows 1.5% apart (standard deviation), and one
// set of names in fourteen would have a member more than 4% above the mean. So a member's u are not drawn but dealt: its
// rows are shuffled by a permutation of the member's own, and the shuffled position is the upper part of u. Each member
// then has every stratum of (0, 1) exactly once, which takes away half of the variance: 1.04% apart, and one set of names
// in five hundred (test/rendezvous.test.ts). Who wants shares more even than that takes more rows.
import { ALGORITHM_RENDEZVOUS, MEMBERS_MAX, NONE, ROW_BYTES, ROW_NONE, ROWS_DEFAULT } from '../layout';
import { memberAt, Pool } from '../memory';
import { mix64 } from './hash';

/** What one member brings to every row, precomputed for a build. */
@unmanaged
class Contender {
  nameHash: u64;
  shuffle: u64;
  weight: u32;
  member: u32;
}
export const CONTENDERS_BYTES: u32 = MEMBERS_MAX * offsetof<Contender>();

/** Fills all rows. `scratch`: CONTENDERS_BYTES. */
export function buildRows(pool: Pool, scratch: usize): void {
  const count = gatherContenders(pool, scratch);
  const rowBits = ctz(pool.entryCount);
  const rows = changetype<usize>(pool) + pool.table;
  for (let row: u32 = 0; row < pool.entryCount; row++) {
    store<u32>(rows + row * ROW_BYTES, firstThree(row, rowBits, scratch, count));
  }
}

function gatherContenders(pool: Pool, scratch: usize): u32 {
  let count: u32 = 0;
  for (let index: u32 = 0; index < pool.memberCount; index++) {
    const member = memberAt(pool, index);
    if (member.weight == 0 || member.backup != 0) continue;
    const contender = changetype<Contender>(scratch + count * offsetof<Contender>());
    contender.nameHash = member.nameHash;
    contender.shuffle = mix64(member.nameHash);
    contender.weight = member.weight;
    contender.member = index;
    count++;
  }
  return count;
}

/** A row's first, second and third member in its lowest three bytes, as the row is stored. */
function firstThree(row: u32, rowBits: u32, contenders: usize, count: u32): u32 {
  let first: usize = 0;
  let second: usize = 0;
  let third: usize = 0;
  let firstScore: u64 = 0;
  let secondScore: u64 = 0;
  let thirdScore: u64 = 0;
  const end = contenders + count * offsetof<Contender>();
  for (let at = contenders; at < end; at += offsetof<Contender>()) {
    const contender = changetype<Contender>(at);
    const score = scoreOf(row, rowBits, contender.nameHash, contender.shuffle);
    if (third && !contenderWins(score, at, thirdScore, third)) continue;
    if (second && !contenderWins(score, at, secondScore, second)) {
      third = at;
      thirdScore = score;
      continue;
    }
    third = second;
    thirdScore = secondScore;
    if (first && !contenderWins(score, at, firstScore, first)) {
      second = at;
      secondScore = score;
      continue;
    }
    second = first;
    secondScore = firstScore;
    first = at;
    firstScore = score;
  }
  return memberOf(first) | (memberOf(second) << 8) | (memberOf(third) << 16) | (ROW_NONE << 24);
}

function contenderWins(score: u64, contender: usize, rivalScore: u64, rival: usize): bool {
  const one = changetype<Contender>(contender);
  const other = changetype<Contender>(rival);
  return wins(score, one.weight, one.nameHash, rivalScore, other.weight, other.nameHash);
}

function memberOf(contender: usize): u32 {
  return contender ? changetype<Contender>(contender).member : ROW_NONE;
}

/** The row of a key: the table's own, or one of ROWS_DEFAULT where the pool's table isn't made of rows. */
export function rowOf(pool: Pool, keyHash: u64): u32 {
  return <u32>keyHash & (rowCountOf(pool) - 1);
}

function rowCountOf(pool: Pool): u32 {
  return pool.algorithm == ALGORITHM_RENDEZVOUS ? pool.entryCount : ROWS_DEFAULT;
}

/** The best eligible member of a row by computing all scores again: what the row would hold if it were long enough. */
export function bestOfRow(pool: Pool, row: u32, eligible: u64): u32 {
  const rowBits = ctz(rowCountOf(pool));
  let best: u32 = NONE;
  let bestScore: u64 = 0;
  for (let rest = eligible; rest != 0; rest &= rest - 1) {
    const index = <u32>ctz(rest);
    const member = memberAt(pool, index);
    const score = scoreOf(row, rowBits, member.nameHash, mix64(member.nameHash));
    if (best != NONE) {
      const rival = memberAt(pool, best);
      if (!wins(score, member.weight, member.nameHash, bestScore, rival.weight, rival.nameHash)) continue;
    }
    best = index;
    bestScore = score;
  }
  return best;
}

/** Is score / weight less than the rival's? A score stays below 2^38 and a weight below 2^10: no product overflows. */
function wins(score: u64, weight: u32, nameHash: u64, rivalScore: u64, rivalWeight: u32, rivalNameHash: u64): bool {
  const ours = score * rivalWeight;
  const theirs = rivalScore * weight;
  return ours < theirs || (ours == theirs && nameHash > rivalNameHash);
}

/** -log2 of the member's u for this row: the shuffled row above, bits of the member's hash below. */
function scoreOf(row: u32, rowBits: u32, nameHash: u64, shuffle: u64): u64 {
  const position = shuffled(row, rowBits, nameHash, shuffle);
  const below = ((nameHash ^ row) * 0x9e3779b97f4a7c15) >> rowBits;
  return negativeLog2(((<u64>position) << (64 - rowBits)) | below | 1);
}

/**
 * A keyed permutation of the numbers below 2^rowBits. Multiplying by an odd number, adding, and xoring with the upper
 * half are each invertible modulo 2^rowBits, so the whole is; three rounds make the members' permutations look unrelated.
 */
function shuffled(row: u32, rowBits: u32, key0: u64, key1: u64): u32 {
  const mask: u32 = (1 << rowBits) - 1;
  const half = (rowBits + 1) >>> 1;
  let x = (row * (<u32>key0 | 1) + <u32>(key0 >> 32)) & mask;
  x ^= x >>> half;
  x = (x * (<u32>key1 | 1) + <u32>(key1 >> 32)) & mask;
  x ^= x >>> half;
  x = (x * (<u32>(key0 >> 20) | 1) + <u32>(key1 >> 20)) & mask;
  return x ^ (x >>> half);
}

/**
 * -log2(u / 2^64) for u > 0, with 31 fractional bits. The leading zeros give the whole part, the next 8 bits a place in
 * the table, 32 more a straight line to its neighbour. Table and line both fall, so a greater u never scores worse.
 */
function negativeLog2(u: u64): u64 {
  const zeros = clz(u);
  const mantissa = u << zeros;
  const entry = NEGATIVE_LOG2 + ((<usize>(mantissa >> 55) & 255) << 2);
  const from = <u64>load<u32>(entry);
  const drop = from - <u64>load<u32>(entry, 4);
  return (zeros << 31) + from - ((drop * ((mantissa >> 23) & 0xffffffff)) >> 32);
}

// A flat table: 2^31 * (1 - log2(1 + i / 256)), rounded, for i from 0 to 256. The test computes it again.
const NEGATIVE_LOG2: usize = memory.data<u32>([
  0x80000000, 0x7f47b1dd, 0x7e901af5, 0x7dd939dd, 0x7d230d2f, 0x7c6d9389, 0x7bb8cb8b, 0x7b04b3db, 0x7a514b23,
  0x799e900f, 0x78ec8152, 0x783b1d9f, 0x778a63b0, 0x76da5241, 0x762ae811, 0x757c23e5, 0x74ce0483, 0x742088b5,
  0x7373af49, 0x72c77710, 0x721bdee0, 0x7170e58e, 0x70c689f7, 0x701ccaf8, 0x6f73a773, 0x6ecb1e4b, 0x6e232e69,
  0x6d7bd6b5, 0x6cd5161e, 0x6c2eeb92, 0x6b895606, 0x6ae45470, 0x6a3fe5c6, 0x699c0905, 0x68f8bd2b, 0x68560138,
  0x67b3d430, 0x67123518, 0x667122f9, 0x65d09cdd, 0x6530a1d2, 0x649130e9, 0x63f24932, 0x6353e9c4, 0x62b611b4,
  0x6218c01c, 0x617bf419, 0x60dfacc7, 0x6043e947, 0x5fa8a8bb, 0x5f0dea49, 0x5e73ad15, 0x5dd9f04a, 0x5d40b313,
  0x5ca7f49b, 0x5c0fb412, 0x5b77f0aa, 0x5ae0a995, 0x5a49de07, 0x59b38d39, 0x591db663, 0x588858bf, 0x57f3738a,
  0x575f0602, 0x56cb0f68, 0x56378efe, 0x55a48407, 0x5511edca, 0x547fcb8c, 0x53ee1c98, 0x535ce037, 0x52cc15b7,
  0x523bbc65, 0x51abd390, 0x511c5a8b, 0x508d50a7, 0x4ffeb53a, 0x4f708798, 0x4ee2c71a, 0x4e557319, 0x4dc88aee,
  0x4d3c0df6, 0x4caffb8e, 0x4c245315, 0x4b9913eb, 0x4b0e3d72, 0x4a83cf0d, 0x49f9c820, 0x49702812, 0x48e6ee48,
  0x485e1a2c, 0x47d5ab28, 0x474da0a6, 0x46c5fa12, 0x463eb6dc, 0x45b7d670, 0x45315840, 0x44ab3bbc, 0x44258057,
  0x43a02586, 0x431b2abc, 0x42968f70, 0x4212531a, 0x418e7531, 0x410af52e, 0x4087d28e, 0x40050ccb, 0x3f82a362,
  0x3f0095d2, 0x3e7ee398, 0x3dfd8c36, 0x3d7c8f2c, 0x3cfbebfd, 0x3c7ba22b, 0x3bfbb13b, 0x3b7c18b2, 0x3afcd815,
  0x3a7deeee, 0x39ff5cc2, 0x3981211c, 0x39033b86, 0x3885ab8a, 0x380870b4, 0x378b8a91, 0x370ef8af, 0x3692ba9d,
  0x3616cfea, 0x359b3826, 0x351ff2e3, 0x34a4ffb3, 0x342a5e28, 0x33b00dd8, 0x33360e55, 0x32bc5f37, 0x32430012,
  0x31c9f07f, 0x31513015, 0x30d8be6e, 0x30609b22, 0x2fe8c5cb, 0x2f713e06, 0x2efa036d, 0x2e83159d, 0x2e0c7435,
  0x2d961ed1, 0x2d201510, 0x2caa5693, 0x2c34e2f9, 0x2bbfb9e4, 0x2b4adaf4, 0x2ad645cd, 0x2a61fa12, 0x29edf766,
  0x297a3d6d, 0x2906cbcd, 0x2893a22c, 0x2820c030, 0x27ae257f, 0x273bd1c3, 0x26c9c4a2, 0x2657fdc7, 0x25e67cda,
  0x25754187, 0x25044b77, 0x24939a56, 0x24232dd1, 0x23b30594, 0x2343214c, 0x22d380a7, 0x22642353, 0x21f50901,
  0x2186315e, 0x21179c1b, 0x20a948e9, 0x203b377a, 0x1fcd677e, 0x1f5fd8a9, 0x1ef28aad, 0x1e857d3d, 0x1e18b00e,
  0x1dac22d4, 0x1d3fd544, 0x1cd3c713, 0x1c67f7f7, 0x1bfc67a8, 0x1b9115dc, 0x1b260249, 0x1abb2caa, 0x1a5094b5,
  0x19e63a25, 0x197c1cb1, 0x19123c15, 0x18a8980b, 0x183f304d, 0x17d60497, 0x176d14a4, 0x17046032, 0x169be6fc,
  0x1633a8bf, 0x15cba53a, 0x1563dc2a, 0x14fc4d4e, 0x1494f864, 0x142ddd2c, 0x13c6fb65, 0x136052d0, 0x12f9e32d,
  0x1293ac3e, 0x122dadc3, 0x11c7e77e, 0x11625932, 0x10fd02a0, 0x1097e38d, 0x1032fbbb, 0x0fce4aee, 0x0f69d0ea,
  0x0f058d74, 0x0ea18051, 0x0e3da946, 0x0dda0818, 0x0d769c8d, 0x0d13666d, 0x0cb0657d, 0x0c4d9985, 0x0beb024b,
  0x0b889f99, 0x0b267136, 0x0ac476ea, 0x0a62b07f, 0x0a011dbe, 0x099fbe6f, 0x093e925d, 0x08dd9953, 0x087cd31a,
  0x081c3f7e, 0x07bbde49, 0x075baf48, 0x06fbb245, 0x069be70e, 0x063c4d6e, 0x05dce532, 0x057dae28, 0x051ea81d,
  0x04bfd2de, 0x04612e39, 0x0402b9fd, 0x03a475f9, 0x034661fa, 0x02e87dd1, 0x028ac94c, 0x022d443c, 0x01cfee71,
  0x0172c7ba, 0x0115cfe9, 0x00b906ce, 0x005c6c3b, 0x00000000,
]);
