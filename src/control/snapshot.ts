// What the data plane knows of the configuration, as one block of bytes that is the same for every worker:
//
//   SnapshotHalf | ListenerEntry x LISTENERS_MAX | pool offsets u32 x POOLS_MAX | limits | binds | pool blocks, and the
//   Addresses and Identities of the listeners that have them, 16-byte aligned
//
// It is built whole, written whole into the half that the worker doesn't read, and published by one store.

import { isIP } from 'node:net';
import {
  BACKEND_LIMITS_BURST,
  BACKEND_LIMITS_BYTES,
  BACKEND_LIMITS_CREWS,
  BACKEND_LIMITS_MAX_CONNECTIONS,
  BACKEND_LIMITS_RATE,
  BACKENDS_MAX,
  DRAIN_BYTES,
  DRAIN_ORPHAN_INTERVAL_US,
  DRAIN_PACKETS,
  DRAIN_REFERENCE_BYTES,
  HEADER_EPOCH,
  HEADER_EPOCH_SEEN,
  HEADER_REGION_SNAPSHOTS,
  HOOK_ACCEPTS,
  HOOK_BYTES,
  HOOK_ID,
  HOOK_TIMEOUT_MS,
  KEY_CLIENT_ID,
  KEY_REMOTE_ADDR,
  KEY_TLS_CLIENT_CN,
  KEY_TLS_CLIENT_FINGERPRINT,
  KEY_TLS_CLIENT_SAN,
  KEY_TLS_CLIENT_SERIAL,
  KEY_TLS_CLIENT_SUBJECT,
  KEY_TLS_SNI,
  KEY_USERNAME,
  LISTENER_ADDRESSES,
  LISTENER_BIND_BYTES,
  LISTENER_CONNECT_TIMEOUT_MS,
  LISTENER_ENTRY_BYTES,
  LISTENER_FD,
  LISTENER_FRONTS,
  LISTENER_IDENTITY,
  LISTENER_IDLE_TIMEOUT_MS,
  LISTENER_KEEP_ALIVE_PERCENT,
  LISTENER_LIMITS_BYTES,
  LISTENER_LIMITS_MAX_CONNECTIONS,
  LISTENER_LIMITS_MAX_HALF_OPEN,
  LISTENER_LIMITS_MAX_PER_SOURCE,
  LISTENER_LIMITS_SOURCE_BURST,
  LISTENER_LIMITS_SOURCE_PREFIXES,
  LISTENER_LIMITS_SOURCE_RATE,
  LISTENER_LIMITS_TAKE_OVERS,
  LISTENER_POOL,
  MEMBER_BACKEND,
  MEMBER_BYTES,
  MEMBER_SOCKADDR,
  MEMBER_SOCKADDR_BYTES,
  NONE,
  POOL_CONNECT_TIMEOUT_MS,
  POOL_DRAIN,
  POOL_ID,
  POOL_IDS_MAX,
  POOL_KEY,
  POOL_LIMITS_BURST,
  POOL_LIMITS_BYTES,
  POOL_LIMITS_CREWS,
  POOL_LIMITS_ID,
  POOL_LIMITS_IS_LIMITED,
  POOL_LIMITS_MAX_CONNECTIONS,
  POOL_LIMITS_QUEUE_MAX,
  POOL_LIMITS_QUEUE_TIMEOUT_MS,
  POOL_LIMITS_RATE,
  POOL_MEMBERS,
  POOL_PROXY_PROTOCOL,
  POOL_SOURCE_COUNT,
  POOL_SOURCES,
  PROXY_PROTOCOL_OFF,
  PROXY_PROTOCOL_V1,
  PROXY_PROTOCOL_V2,
  SNAPSHOT_BACKEND_LIMITS,
  SNAPSHOT_BLOCKS,
  SNAPSHOT_CONNECT_MAX_BYTES,
  SNAPSHOT_EPOCH,
  SNAPSHOT_HALF_BYTES,
  SNAPSHOT_LISTENER_BINDS,
  SNAPSHOT_LISTENER_COUNT,
  SNAPSHOT_LISTENER_HOOKS,
  SNAPSHOT_LISTENER_LIMITS,
  SNAPSHOT_LISTENERS,
  SNAPSHOT_POOL_COUNT,
  SNAPSHOT_POOL_LIMITS,
  SNAPSHOT_POOLS,
  SOURCE_ANY,
  SOURCE_BYTES,
  SOURCE_ID,
  SOURCE_IDS_MAX,
  SOURCE_SOCKADDR,
  SOURCE_SOCKADDR_BYTES,
} from '../../assembly/layout.ts';
import type { BackendConfig, Config, HookConfig, ListenerConfig, PoolConfig } from '../config.ts';
import { carrierOf, type EngineName } from '../engine/engine.ts';
import { TidegateError } from '../errors.ts';
import { headerWords, regionOffset } from '../header.ts';
import { sourcesOffset, tableOf } from '../pool-table.ts';
import { resolveHost } from '../system/resolve-host.ts';
import { encodeSockaddr } from '../system/sockaddr.ts';
import { addressesBlock, identityBlock } from './identity-block.ts';

/** What of the configuration the data plane has to know. */
export type SnapshotConfig = Pick<Config, 'listeners' | 'pools' | 'connectMaxBytes'>;

const KEYS = {
  client_id: KEY_CLIENT_ID,
  username: KEY_USERNAME,
  remote_addr: KEY_REMOTE_ADDR,
  tls_sni: KEY_TLS_SNI,
  tls_client_cn: KEY_TLS_CLIENT_CN,
  tls_client_subject: KEY_TLS_CLIENT_SUBJECT,
  tls_client_san: KEY_TLS_CLIENT_SAN,
  tls_client_serial: KEY_TLS_CLIENT_SERIAL,
  tls_client_fingerprint: KEY_TLS_CLIENT_FINGERPRINT,
} as const;
const PROXY_PROTOCOLS = { off: PROXY_PROTOCOL_OFF, v1: PROXY_PROTOCOL_V1, v2: PROXY_PROTOCOL_V2 } as const;

/** One member of one pool, as everything in the control plane names it. */
export interface Backend {
  /** Index of its health word and counters in every worker's memory; never used for another in this process life. */
  id: number;
  pool: string;
  /** Index of the pool's counters, the same for all of its members; never used for another pool in this process life. */
  poolId: number;
  config: BackendConfig;
  sockaddr: Uint8Array;
  /** What it is dialled from, the same for all of a pool: ANY_SOURCE alone, or the pool's source_addresses. */
  sources: readonly Source[];
}

export interface Source {
  /** Index of its counters, for each backend of the pool; never used for another address of it in this process life. */
  id: number;
  /** As written; null when the system chooses. */
  address: string | null;
  sockaddr: Uint8Array;
}

export const ANY_SOURCE: Source = { id: SOURCE_ANY, address: null, sockaddr: new Uint8Array(0) };

/** Gives each pool, and each pair of pool and address, its number, the same one whenever it comes back. */
export class BackendIds {
  readonly #ids = new Map<string, number>();
  readonly #pools = new Map<string, number>();
  readonly #sources = new Map<string, Map<string, number>>();

  idOf(pool: string, address: string): number {
    const key = `${pool}\0${address}`;
    const known = this.#ids.get(key);
    if (known !== undefined) return known;
    const id = this.#ids.size;
    if (id >= BACKENDS_MAX) {
      const message = `more than ${BACKENDS_MAX} backends, counting those that were removed since the start: restart`;
      throw new TidegateError('BACKENDS_MAX', message);
    }
    this.#ids.set(key, id);
    return id;
  }

  poolIdOf(pool: string): number {
    const id = this.#pools.get(pool) ?? this.#pools.size;
    if (id >= POOL_IDS_MAX) {
      const message = `more than ${POOL_IDS_MAX} pools, counting those that were removed since the start: restart`;
      throw new TidegateError('POOLS_MAX', message);
    }
    this.#pools.set(pool, id);
    return id;
  }

  sourceIdOf(pool: string, address: string): number {
    const ids = this.#sources.get(pool) ?? new Map<string, number>();
    this.#sources.set(pool, ids);
    const id = ids.get(address) ?? ids.size + SOURCE_ANY + 1;
    if (id >= SOURCE_IDS_MAX) {
      const message = `more than ${SOURCE_IDS_MAX - 1} source_addresses of pool ${pool}, counting those that were removed since the start: restart`;
      throw new TidegateError('SOURCES_MAX', message);
    }
    ids.set(address, id);
    return id;
  }
}

/**
 * Every backend of the configuration, in its order; names are resolved here, and fail here. What is `known` stands for
 * the address that it had.
 */
export async function resolveBackends(
  pools: readonly PoolConfig[],
  ids: BackendIds,
  known: readonly Backend[] = [],
): Promise<Backend[]> {
  const addresses = new Map(known.map(({ id, sockaddr }) => [id, sockaddr]));
  const resolved = await Promise.all(pools.map((pool) => resolvePool(pool, ids, addresses)));
  return resolved.flat();
}

function resolvePool(
  { name: pool, backends, sourceAddresses }: PoolConfig,
  ids: BackendIds,
  known: ReadonlyMap<number, Uint8Array>,
): Promise<Backend[]> {
  const sources = sourceAddresses.map((address) => {
    return { id: ids.sourceIdOf(pool, address), address, sockaddr: encodeSockaddr(address, 0) };
  });
  const poolId = ids.poolIdOf(pool);
  // A connection has one family from end to end, so of a name the address of the sources' family is wanted.
  const family = sourceAddresses.length === 0 ? 0 : isIP(sourceAddresses[0]!);
  return Promise.all(
    backends.map(async (config) => {
      const id = ids.idOf(pool, config.address);
      const sockaddr = known.get(id) ?? (await resolveSockaddr(pool, config, family));
      return { id, pool, poolId, config, sockaddr, sources: sources.length === 0 ? [ANY_SOURCE] : sources };
    }),
  );
}

async function resolveSockaddr(
  pool: string,
  { address, host, port }: BackendConfig,
  family: number,
): Promise<Uint8Array> {
  try {
    return encodeSockaddr(await resolveHost(host, family), port);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'ENOTFOUND';
    const wanted = family === 0 ? '' : ` to an IPv${family} address, as source_addresses has`;
    const message = `cannot resolve backend ${address} of pool ${pool}${wanted} (${code}): correct the name, or write its IP address`;
    throw new TidegateError(code, message);
  }
}

/**
 * The bytes of a half; its epoch and the sockets are written when it is published. What is said of a second is shared by
 * the workers, of which each engine has `workerCount`. The listeners are in the order of their indexes; one that was
 * removed may name a pool that was too. `hookIds` are those of their hooks, 0 for none.
 */
export function buildSnapshot(
  config: SnapshotConfig,
  backends: readonly Backend[],
  workerCount = 1,
  engine: EngineName = 'portable',
  hookIds: readonly number[] = [],
): Uint8Array {
  const crews = config.pools.map((pool) => crewsOf(pool, config, engine));
  const blocks = config.pools.map((pool, index) => buildPoolBlock(pool, backends, workerCount * crews[index]!));
  const poolIndexes = new Map(config.pools.map(({ name }, index) => [name, index]));
  const rules = config.listeners.map(rulesOf);
  const listed = rules.flatMap(({ addresses, fronts, identity }) => [addresses, fronts, identity]);
  const { offsets, end } = placeBlocks([...blocks, ...listed]);
  const bytes = new Uint8Array(end);
  const view = new DataView(bytes.buffer);
  writeWord(view, SNAPSHOT_LISTENER_COUNT, config.listeners.length);
  writeWord(view, SNAPSHOT_POOL_COUNT, config.pools.length);
  writeWord(view, SNAPSHOT_CONNECT_MAX_BYTES, config.connectMaxBytes);
  for (const [index, listener] of config.listeners.entries()) {
    writeListenerEntry(view, index, listener, poolIndexes.get(listener.pool) ?? NONE);
    writeRules(view, index, rules[index]!, offsets);
    writeListenerLimits(view, index, listener);
    writeHook(view, index, listener.hook, hookIds[index] ?? 0);
    const { host, port } = listener.bind;
    bytes.set(encodeSockaddr(host, port), SNAPSHOT_LISTENER_BINDS + index * LISTENER_BIND_BYTES);
  }
  for (const [index, pool] of config.pools.entries()) {
    writePoolLimits(view, index, pool, membersOf(pool, backends), crews[index]!);
  }
  for (const [index, block] of blocks.entries()) writeWord(view, SNAPSHOT_POOLS + index * 4, offsets.get(block)!);
  for (const [block, offset] of offsets) bytes.set(block, offset);
  return bytes;
}

/** The half may be written: its last reader has moved on to the epoch before this one. */
export function mayPublish(memory: WebAssembly.Memory, epoch: number): boolean {
  return Atomics.load(headerWords(memory), HEADER_EPOCH_SEEN / 4) >= epoch - 1;
}

/**
 * Into a memory that no worker runs on yet, or after mayPublish. `listenerFds` are that worker's sockets by the index of
 * the listener, NONE for one that was removed. Everything is written before the epoch is.
 */
export function publishSnapshot(
  memory: WebAssembly.Memory,
  snapshot: Uint8Array,
  epoch: number,
  listenerFds: readonly number[] = [],
): void {
  const half = regionOffset(memory, HEADER_REGION_SNAPSHOTS) + (epoch & 1) * SNAPSHOT_HALF_BYTES;
  new Uint8Array(memory.buffer).set(snapshot, half);
  const view = new DataView(memory.buffer);
  for (const [index, fd] of listenerFds.entries()) {
    writeWord(view, half + SNAPSHOT_LISTENERS + index * LISTENER_ENTRY_BYTES + LISTENER_FD, fd);
  }
  writeWord(view, half + SNAPSHOT_EPOCH, epoch);
  Atomics.store(headerWords(memory), HEADER_EPOCH / 4, epoch);
}

/** A listener's blocks; null where it asks for none. */
interface Rules {
  addresses: Uint8Array | null;
  fronts: Uint8Array | null;
  identity: Uint8Array | null;
}

function rulesOf(listener: ListenerConfig): Rules {
  return {
    addresses: addressesBlock(listener),
    fronts: addressesBlock({ allow: listener.proxyProtocolFrom, deny: [] }),
    identity: identityBlock(listener.identity),
  };
}

/** Where each block is to stand, and where the last one ends. */
function placeBlocks(blocks: readonly (Uint8Array | null)[]): { offsets: Map<Uint8Array, number>; end: number } {
  const offsets = new Map<Uint8Array, number>();
  let end = SNAPSHOT_BLOCKS;
  for (const block of blocks) {
    if (block === null) continue;
    offsets.set(block, end);
    end += Math.ceil(block.length / 16) * 16;
  }
  if (end > SNAPSHOT_HALF_BYTES) {
    const message = `the pools' tables and the listeners' rules need ${end} bytes, but ${SNAPSHOT_HALF_BYTES} is what a worker holds: lower balance.rows`;
    throw new TidegateError('SNAPSHOT_BYTES', message);
  }
  return { offsets, end };
}

function writeListenerEntry(view: DataView, index: number, listener: ListenerConfig, pool: number): void {
  const entry = SNAPSHOT_LISTENERS + index * LISTENER_ENTRY_BYTES;
  writeWord(view, entry + LISTENER_POOL, pool);
  writeWord(view, entry + LISTENER_FD, NONE);
  writeWord(view, entry + LISTENER_CONNECT_TIMEOUT_MS, listener.connectTimeoutMs);
  writeWord(view, entry + LISTENER_KEEP_ALIVE_PERCENT, Math.round(listener.keepAliveFactor * 100));
  writeWord(view, entry + LISTENER_IDLE_TIMEOUT_MS, listener.idleTimeoutMs);
}

function writeRules(view: DataView, index: number, rules: Rules, offsets: ReadonlyMap<Uint8Array, number>): void {
  const entry = SNAPSHOT_LISTENERS + index * LISTENER_ENTRY_BYTES;
  const offsetOf = (block: Uint8Array | null) => (block === null ? 0 : offsets.get(block)!);
  writeWord(view, entry + LISTENER_ADDRESSES, offsetOf(rules.addresses));
  writeWord(view, entry + LISTENER_FRONTS, offsetOf(rules.fronts));
  writeWord(view, entry + LISTENER_IDENTITY, offsetOf(rules.identity));
}

function writeListenerLimits(view: DataView, index: number, listener: ListenerConfig): void {
  const limits = SNAPSHOT_LISTENER_LIMITS + index * LISTENER_LIMITS_BYTES;
  const { ipv4, ipv6 } = listener.sourcePrefix;
  writeWord(view, limits + LISTENER_LIMITS_MAX_CONNECTIONS, listener.maxConnections);
  writeWord(view, limits + LISTENER_LIMITS_MAX_PER_SOURCE, listener.maxConnectionsPerSource);
  writeWord(view, limits + LISTENER_LIMITS_MAX_HALF_OPEN, listener.maxHalfOpen);
  writeWord(view, limits + LISTENER_LIMITS_SOURCE_RATE, listener.connectRatePerSource.rate);
  writeWord(view, limits + LISTENER_LIMITS_SOURCE_BURST, listener.connectRatePerSource.burst);
  writeWord(view, limits + LISTENER_LIMITS_SOURCE_PREFIXES, ipv4 | (ipv6 << 8));
  writeWord(view, limits + LISTENER_LIMITS_TAKE_OVERS, Number(listener.takeOverLoop !== null));
}

function writeHook(view: DataView, index: number, hook: HookConfig | null | undefined, id: number): void {
  if (!hook) return;
  const at = SNAPSHOT_LISTENER_HOOKS + index * HOOK_BYTES;
  writeWord(view, at + HOOK_ID, id);
  writeWord(view, at + HOOK_TIMEOUT_MS, hook.timeoutMs);
  writeWord(view, at + HOOK_ACCEPTS, Number(hook.onError === 'accept'));
}

/** How many engines bring clients to the pool. A hook may choose any. */
function crewsOf({ name }: PoolConfig, { listeners }: SnapshotConfig, engine: EngineName): number {
  const carriers = listeners
    .filter((listener) => leadsTo(listener, name))
    .map((listener) => carrierOf(engine, listener));
  return Math.max(new Set(carriers).size, 1);
}

function leadsTo({ pool, passThrough, hook }: ListenerConfig, name: string): boolean {
  if (hook !== null) return true;
  return passThrough === null ? pool === name : passThrough.some((route) => route.pool === name);
}

function membersOf({ name }: PoolConfig, backends: readonly Backend[]): Backend[] {
  return backends.filter(({ pool }) => pool === name);
}

function writePoolLimits(
  view: DataView,
  index: number,
  pool: PoolConfig,
  members: readonly Backend[],
  crews: number,
): void {
  const limits = SNAPSHOT_POOL_LIMITS + index * POOL_LIMITS_BYTES;
  const isLimited = [pool, ...pool.backends].some((each) => each.connectRate.rate > 0 || each.maxConnections > 0);
  writeWord(view, limits + POOL_LIMITS_ID, members[0]!.poolId);
  writeWord(view, limits + POOL_LIMITS_IS_LIMITED, Number(isLimited));
  writeWord(view, limits + POOL_LIMITS_RATE, pool.connectRate.rate);
  writeWord(view, limits + POOL_LIMITS_BURST, pool.connectRate.burst);
  writeWord(view, limits + POOL_LIMITS_MAX_CONNECTIONS, pool.maxConnections);
  writeWord(view, limits + POOL_LIMITS_QUEUE_MAX, pool.queue.max);
  writeWord(view, limits + POOL_LIMITS_QUEUE_TIMEOUT_MS, pool.queue.timeoutMs);
  writeWord(view, limits + POOL_LIMITS_CREWS, crews);
  for (const { id, config } of members) {
    const backend = SNAPSHOT_BACKEND_LIMITS + id * BACKEND_LIMITS_BYTES;
    writeWord(view, backend + BACKEND_LIMITS_RATE, config.connectRate.rate);
    writeWord(view, backend + BACKEND_LIMITS_BURST, config.connectRate.burst);
    writeWord(view, backend + BACKEND_LIMITS_MAX_CONNECTIONS, config.maxConnections);
    writeWord(view, backend + BACKEND_LIMITS_CREWS, crews);
  }
}

function buildPoolBlock(pool: PoolConfig, backends: readonly Backend[], workerCount: number): Uint8Array {
  const members = membersOf(pool, backends);
  const block = withDrain(withSources(tableOf(pool).block(), members[0]!.sources), pool, workerCount);
  const view = new DataView(block.buffer, block.byteOffset, block.byteLength);
  writeWord(view, POOL_ID, members[0]!.poolId);
  writeWord(view, POOL_KEY, KEYS[pool.balance.key]);
  writeWord(view, POOL_PROXY_PROTOCOL, PROXY_PROTOCOLS[pool.proxyProtocol]);
  writeWord(view, POOL_CONNECT_TIMEOUT_MS, pool.connectTimeoutMs);
  for (const [index, { id, sockaddr }] of members.entries()) {
    const member = view.getUint32(POOL_MEMBERS, true) + index * MEMBER_BYTES;
    writeWord(view, member + MEMBER_BACKEND, id);
    writeWord(view, member + MEMBER_SOCKADDR_BYTES, sockaddr.length);
    block.set(sockaddr, member + MEMBER_SOCKADDR);
  }
  return block;
}

/** They stand behind the table, which knows nothing of them. */
function withSources(table: Uint8Array, sources: readonly Source[]): Uint8Array {
  const listed = sources.filter(({ id }) => id !== SOURCE_ANY);
  const first = sourcesOffset(table.length);
  const block = new Uint8Array(first + listed.length * SOURCE_BYTES);
  block.set(table);
  const view = new DataView(block.buffer);
  writeWord(view, POOL_SOURCE_COUNT, listed.length);
  writeWord(view, POOL_SOURCES, first);
  for (const [index, { id, sockaddr }] of listed.entries()) {
    const source = first + index * SOURCE_BYTES;
    writeWord(view, source + SOURCE_ID, id);
    writeWord(view, source + SOURCE_SOCKADDR_BYTES, sockaddr.length);
    block.set(sockaddr, source + SOURCE_SOCKADDR);
  }
  return block;
}

function withDrain(rest: Uint8Array, { drain, orphans }: PoolConfig, workerCount: number): Uint8Array {
  const { packets, serverReference } = drain;
  const block = new Uint8Array(rest.length + DRAIN_BYTES + serverReference.length);
  block.set(rest);
  const view = new DataView(block.buffer);
  writeWord(view, POOL_DRAIN, rest.length);
  writeWord(view, rest.length + DRAIN_PACKETS, Number(packets));
  writeWord(view, rest.length + DRAIN_REFERENCE_BYTES, serverReference.length);
  const intervalUs = orphans.rate === 0 ? 0 : Math.min(Math.ceil((1_000_000 * workerCount) / orphans.rate), 0xffffffff);
  writeWord(view, rest.length + DRAIN_ORPHAN_INTERVAL_US, intervalUs);
  block.set(Buffer.from(serverReference, 'latin1'), rest.length + DRAIN_BYTES); // the schema lets only ASCII pass
  return block;
}

function writeWord(view: DataView, offset: number, value: number): void {
  view.setUint32(offset, value, true);
}
