// The embeddable core: CONNECT parsing and the choice of a broker, for programs that bring their own sockets. It imports
// a memory and nothing else. Addresses are u32 byte offsets in that memory, everything from heap_base on is the caller's.
// The README describes each function; src/core.ts is the wrapper that Tidegate itself uses.
import { METHOD_HASH, NONE } from './layout';
import { Connect, Pool, ProxyHeader } from './memory';
import { writeRefusal } from './mqtt/connack';
import { parseConnect } from './mqtt/connect';
import { parseProxyHeader } from './mqtt/proxy-header-reader';
import { writeProxyHeader } from './mqtt/proxy-header-writer';
import { choose } from './route/choose';
import { blockBytesMax, buildTable, checkPool, digestTable, hashKey, scratchBytes } from './route/table';

export function heap_base(): u32 {
  return <u32>((__heap_base + 15) & ~15);
}

export function parse_connect(bytes: u32, length: u32, packet_bytes_max: u32, out: u32): u32 {
  return parseConnect(bytes, length, packet_bytes_max, changetype<Connect>(<usize>out));
}

export function write_refusal(reason: u32, version: u32, out: u32): u32 {
  return writeRefusal(reason, version, out);
}

export function parse_proxy_header(bytes: u32, length: u32, out: u32): u32 {
  return parseProxyHeader(bytes, length, changetype<ProxyHeader>(<usize>out));
}

export function write_proxy_header(
  version: u32,
  source: u32,
  destination: u32,
  tlvs: u32,
  tlv_bytes: u32,
  out: u32,
): u32 {
  return writeProxyHeader(version, source, destination, tlvs, tlv_bytes, out);
}

export function hash_key(pool: u32, bytes: u32, length: u32): u64 {
  return hashKey(poolAt(pool), bytes, length);
}

export function table_check(pool: u32): u32 {
  return checkPool(poolAt(pool));
}

export function table_block_bytes(pool: u32): u32 {
  return blockBytesMax(poolAt(pool));
}

export function table_scratch_bytes(pool: u32): u32 {
  return scratchBytes(poolAt(pool));
}

export function table_build(pool: u32, names: u32, scratch: u32): u32 {
  return buildTable(poolAt(pool), names, scratch);
}

export function table_choose(
  pool: u32,
  keyed: u32,
  key_hash: u64,
  tried: u64,
  health: u32,
  counters: u32,
  random: u32,
): u32 {
  return choose(poolAt(pool), keyed != 0, key_hash, tried, health, counters, random);
}

export function table_lookup(pool: u32, bytes: u32, length: u32, health: u32): u32 {
  const members = poolAt(pool);
  if (members.method != METHOD_HASH) return NONE;
  return choose(members, true, hashKey(members, bytes, length), 0, health, 0, 0);
}

export function table_order(pool: u32, key_hash: u64, health: u32, out: u32): u32 {
  const members = poolAt(pool);
  if (members.method != METHOD_HASH) return 0;
  let tried: u64 = 0;
  let count: u32 = 0;
  let index = choose(members, true, key_hash, tried, health, 0, 0);
  while (index != NONE) {
    store<u32>(<usize>out + ((<usize>count) << 2), index);
    count++;
    tried |= (<u64>1) << index;
    index = choose(members, true, key_hash, tried, health, 0, 0);
  }
  return count;
}

export function table_digest(pool: u32): u64 {
  return digestTable(poolAt(pool));
}

function poolAt(pool: u32): Pool {
  return changetype<Pool>(<usize>pool);
}
