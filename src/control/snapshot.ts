// What the data plane knows of the configuration, as one block of bytes that is the same for every worker:
//
//   SnapshotHalf | ListenerEntry x LISTENERS_MAX | pool offsets u32 x POOLS_MAX | pool blocks, 16-byte aligned
//
// It is built whole, written whole into the half that the worker doesn't read, and published by one store.
import {
  BACKENDS_MAX,
  HEADER_EPOCH,
  HEADER_EPOCH_SEEN,
  HEADER_REGION_SNAPSHOTS,
  KEY_CLIENT_ID,
  KEY_REMOTE_ADDR,
  KEY_USERNAME,
  LISTENER_CONNECT_TIMEOUT_MS,
  LISTENER_ENTRY_BYTES,
  LISTENER_IDLE_TIMEOUT_MS,
  LISTENER_KEEP_ALIVE_PERCENT,
  LISTENER_POOL,
  MEMBER_BACKEND,
  MEMBER_BYTES,
  MEMBER_SOCKADDR,
  MEMBER_SOCKADDR_BYTES,
  POOL_CONNECT_TIMEOUT_MS,
  POOL_KEY,
  POOL_MEMBERS,
  SNAPSHOT_BLOCKS,
  SNAPSHOT_CONNECT_MAX_BYTES,
  SNAPSHOT_EPOCH,
  SNAPSHOT_HALF_BYTES,
  SNAPSHOT_LISTENER_COUNT,
  SNAPSHOT_LISTENERS,
  SNAPSHOT_POOL_COUNT,
  SNAPSHOT_POOLS,
} from '../../assembly/layout.ts';
import type { BackendConfig, Config, PoolConfig } from '../config.ts';
import { TidegateError } from '../errors.ts';
import { headerWords, regionOffset } from '../header.ts';
import { tableOf } from '../pool-table.ts';
import { resolveHost } from '../system/resolve-host.ts';
import { encodeSockaddr } from '../system/sockaddr.ts';

const KEYS = { client_id: KEY_CLIENT_ID, username: KEY_USERNAME, remote_addr: KEY_REMOTE_ADDR } as const;

/** One member of one pool, as everything in the control plane names it. */
export interface Backend {
  /** Index of its health word and counters in every worker's memory; never used for another in this process life. */
  id: number;
  pool: string;
  config: BackendConfig;
  sockaddr: Uint8Array;
}

/** Gives each pair of pool and address its number, the same one whenever it comes back. */
export class BackendIds {
  readonly #ids = new Map<string, number>();

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
}

/** Every backend of the configuration, in its order; names are resolved here, and fail here. */
export async function resolveBackends(pools: readonly PoolConfig[], ids: BackendIds): Promise<Backend[]> {
  const members = pools.flatMap((pool) => pool.backends.map((config) => ({ pool: pool.name, config })));
  return Promise.all(
    members.map(async ({ pool, config }) => ({
      id: ids.idOf(pool, config.address),
      pool,
      config,
      sockaddr: await resolveSockaddr(pool, config),
    })),
  );
}

async function resolveSockaddr(pool: string, { address, host, port }: BackendConfig): Promise<Uint8Array> {
  try {
    return encodeSockaddr(await resolveHost(host), port);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'ENOTFOUND';
    const message = `cannot resolve backend ${address} of pool ${pool} (${code}): correct the name, or write its IP address`;
    throw new TidegateError(code, message);
  }
}

/** The bytes of a half; its epoch is written when it is published. */
export function buildSnapshot(config: Config, backends: readonly Backend[]): Uint8Array {
  const blocks = config.pools.map((pool) => buildPoolBlock(pool, backends));
  const poolIndexes = new Map(config.pools.map(({ name }, index) => [name, index]));
  const offsets: number[] = [];
  let end = SNAPSHOT_BLOCKS;
  for (const block of blocks) {
    offsets.push(end);
    end += Math.ceil(block.length / 16) * 16;
  }
  if (end > SNAPSHOT_HALF_BYTES) {
    const message = `the pools' tables need ${end} bytes, but ${SNAPSHOT_HALF_BYTES} is what a worker holds: lower balance.rows`;
    throw new TidegateError('SNAPSHOT_BYTES', message);
  }
  const bytes = new Uint8Array(end);
  const view = new DataView(bytes.buffer);
  writeWord(view, SNAPSHOT_LISTENER_COUNT, config.listeners.length);
  writeWord(view, SNAPSHOT_POOL_COUNT, config.pools.length);
  writeWord(view, SNAPSHOT_CONNECT_MAX_BYTES, config.connectMaxBytes);
  for (const [index, listener] of config.listeners.entries()) {
    const entry = SNAPSHOT_LISTENERS + index * LISTENER_ENTRY_BYTES;
    writeWord(view, entry + LISTENER_POOL, poolIndexes.get(listener.pool)!);
    writeWord(view, entry + LISTENER_CONNECT_TIMEOUT_MS, listener.connectTimeoutMs);
    writeWord(view, entry + LISTENER_KEEP_ALIVE_PERCENT, Math.round(listener.keepAliveFactor * 100));
    writeWord(view, entry + LISTENER_IDLE_TIMEOUT_MS, listener.idleTimeoutMs);
  }
  for (const [index, offset] of offsets.entries()) {
    writeWord(view, SNAPSHOT_POOLS + index * 4, offset);
    bytes.set(blocks[index]!, offset);
  }
  return bytes;
}

/** The half may be written: its last reader has moved on to the epoch before this one. */
export function mayPublish(memory: WebAssembly.Memory, epoch: number): boolean {
  return Atomics.load(headerWords(memory), HEADER_EPOCH_SEEN / 4) >= epoch - 1;
}

/** Into a memory that no worker runs on yet, or after mayPublish. Everything is written before the epoch is. */
export function publishSnapshot(memory: WebAssembly.Memory, snapshot: Uint8Array, epoch: number): void {
  const half = regionOffset(memory, HEADER_REGION_SNAPSHOTS) + (epoch & 1) * SNAPSHOT_HALF_BYTES;
  new Uint8Array(memory.buffer).set(snapshot, half);
  writeWord(new DataView(memory.buffer), half + SNAPSHOT_EPOCH, epoch);
  Atomics.store(headerWords(memory), HEADER_EPOCH / 4, epoch);
}

function buildPoolBlock(pool: PoolConfig, backends: readonly Backend[]): Uint8Array {
  const block = tableOf(pool).block();
  const view = new DataView(block.buffer, block.byteOffset, block.byteLength);
  writeWord(view, POOL_KEY, KEYS[pool.balance.key]);
  writeWord(view, POOL_CONNECT_TIMEOUT_MS, pool.connectTimeoutMs);
  const members = backends.filter((backend) => backend.pool === pool.name);
  for (const [index, { id, sockaddr }] of members.entries()) {
    const member = view.getUint32(POOL_MEMBERS, true) + index * MEMBER_BYTES;
    writeWord(view, member + MEMBER_BACKEND, id);
    writeWord(view, member + MEMBER_SOCKADDR_BYTES, sockaddr.length);
    block.set(sockaddr, member + MEMBER_SOCKADDR);
  }
  return block;
}

function writeWord(view: DataView, offset: number, value: number): void {
  view.setUint32(offset, value, true);
}
