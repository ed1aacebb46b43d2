// Snapshots to publish: the same backends in pools of every method, with other weights, fewer members, backups.
import {
  DRAIN_ORPHAN_INTERVAL_US,
  DRAIN_PACKETS,
  LISTENER_CONNECT_TIMEOUT_MS,
  LISTENER_ENTRY_BYTES,
  LISTENER_IDLE_TIMEOUT_MS,
  LISTENER_KEEP_ALIVE_PERCENT,
  POOL_CONNECT_TIMEOUT_MS,
  POOL_DRAIN,
  POOL_PROXY_PROTOCOL,
  POOL_SOURCE_COUNT,
  POOL_SOURCES,
  SNAPSHOT_BLOCKS,
  SNAPSHOT_LISTENERS,
  SOURCE_ANY,
  SOURCE_BYTES,
  SOURCE_ID,
} from '../../assembly/layout.ts';
import type { BackendConfig, Config, PoolConfig } from '../../src/config.ts';
import { ANY_SOURCE, buildSnapshot, type Backend as PoolMember, type Source } from '../../src/control/snapshot.ts';
import { encodeSockaddr } from '../../src/system/sockaddr.ts';
import { Random } from '../tools/random.ts';
import { type Limits, type Prefix, writeLimits } from './admission.ts';
import { type HookPlan, writeHooks } from './hooks.ts';
import { FRONTS, LISTENER_ADDRESS } from './preface.ts';
import type { Rules } from './rules.ts';

/** Larger than any CONNECT that is meant to be taken. */
const CONNECT_MAX_BYTES = 16384;
const VARIANTS = 24;
const ipv4Hosts = ['10.9.0.1', '10.9.0.2', '10.9.0.3', '10.9.0.4'];
const sourceHosts = ['10.8.0.1', '10.8.0.2', '10.8.0.3'];

/** The backend that a socket address names: its number stands in the last byte of the address. */
export function backendOf(sockaddr: Uint8Array): number {
  return sockaddr[sockaddr.length === 16 ? 7 : 23]! - 1;
}

/** The id of the source that a socket address names, in the same way. */
export function sourceOf(sockaddr: Uint8Array): number {
  return sockaddr[7]!;
}

/** Of the one pool. */
export function sourceIdsOf(snapshot: Uint8Array): number[] {
  const view = new DataView(snapshot.buffer, snapshot.byteOffset);
  const first = SNAPSHOT_BLOCKS + view.getUint32(SNAPSHOT_BLOCKS + POOL_SOURCES, true);
  const count = view.getUint32(SNAPSHOT_BLOCKS + POOL_SOURCE_COUNT, true);
  if (count === 0) return [SOURCE_ANY];
  return Array.from({ length: count }, (_, index) => view.getUint32(first + index * SOURCE_BYTES + SOURCE_ID, true));
}

/** The server references of the pools that are published. */
export const references = ['', 'other.example:1883', 'r'.repeat(200)];
const NO_RATE = { rate: 0, burst: 0 };

const built = new Map<string, Uint8Array>();

/** What the listeners and the pool of a simulation say about time. */
export interface Timeouts {
  connectTimeoutMs: number;
  dialTimeoutMs: number;
  keepAlivePercent: number;
  idleTimeoutMs: number;
}

/** What they say beside that. */
export interface Circumstances extends Timeouts {
  /** Whether it is followed where packets begin and end. */
  packets: boolean;
  /** Between two clients that a backend left behind. */
  orphanIntervalUs: number;
  /** Clients come through fronts. */
  isFronted: boolean;
  /** PROXY_PROTOCOL_* */
  proxyProtocol: number;
  hook: HookPlan | null;
}

/** One of them, by chance. Building a table takes long, so they are built once. */
export function pickSnapshot(
  random: Random,
  listenerCount: number,
  circumstances: Circumstances,
  limits: Limits,
  prefix: Prefix,
  rules: Rules,
): Uint8Array {
  const variant = random.integer(0, VARIANTS - 1);
  const { isFronted } = circumstances;
  const key = `${variant} ${listenerCount} ${isFronted} ${JSON.stringify(rules)}`;
  let snapshot = built.get(key);
  if (!snapshot) {
    snapshot = build(new Random(variant), listenerCount, rules, isFronted);
    built.set(key, snapshot);
  }
  writeLimits(snapshot, listenerCount, limits, prefix);
  writeHooks(snapshot, listenerCount, circumstances.hook);
  return withCircumstances(snapshot, listenerCount, circumstances);
}

function build(random: Random, listenerCount: number, { deny, identity }: Rules, isFronted: boolean): Uint8Array {
  // Some that go and come back: an address keeps its id.
  const addresses = random.chance(0.6) ? sourceHosts.slice(random.integer(0, 1), random.integer(2, 3)) : [];
  const hosts = addresses.length > 0 ? ipv4Hosts : [...ipv4Hosts, 'fd00::5'];
  const members = hosts.slice(0, random.integer(1, hosts.length)).map((host, id) => planMember(random, host, id));
  const pool: Omit<PoolConfig, 'settings'> = {
    name: 'brokers',
    balance: {
      method: random.pick(['hash', 'hash', 'round_robin', 'least_conn', 'random_two'] as const),
      key: random.pick(['client_id', 'username', 'remote_addr'] as const),
      algorithm: random.pick(['rendezvous', 'ketama'] as const),
      rows: 256,
      secret: '',
    },
    backends: members,
    connectTimeoutMs: 0,
    sourceAddresses: addresses,
    drain: { packets: true, serverReference: random.pick(references), rate: 50 },
    rebalance: { automatic: false, rate: 50, threshold: 1.1 },
    orphans: { close: 'auto', rate: 0 },
    connectRate: NO_RATE,
    queue: { max: 0, timeoutMs: 0 },
    maxConnections: 0,
    proxyProtocol: 'off',
    tls: null,
  };
  const listeners = Array.from({ length: listenerCount }, (_, index) => ({
    passThrough: null,
    name: `mqtt${index}`,
    pool: 'brokers',
    bind: LISTENER_ADDRESS,
    connectTimeoutMs: 0,
    connectRatePerSource: NO_RATE,
    sourcePrefix: { ipv4: 32, ipv6: 64 },
    takeOverLoop: { takeOvers: 5, windowMs: 30_000, pauseMs: 1000, pauseMaxMs: 60_000 },
    proxyProtocolFrom: isFronted ? FRONTS : [],
    allow: [],
    deny,
    identity,
  }));
  const config = { pools: [pool], listeners, connectMaxBytes: CONNECT_MAX_BYTES } as unknown as Config;
  return buildSnapshot(
    config,
    members.map((member, id) => toPoolMember(member, id, addresses)),
  );
}

function planMember(random: Random, host: string, id: number): BackendConfig {
  const weight = id === 0 ? 1 : random.pick([1, 1, 1, 2, 5, 0]);
  return {
    address: `${host}:1883`,
    host,
    port: 1883,
    weight,
    backup: random.chance(0.2),
    maxFails: 1,
    failTimeoutMs: 1000,
    health: null,
    slowStartMs: 0,
    connectRate: NO_RATE,
    maxConnections: 0,
  };
}

function toPoolMember(config: BackendConfig, id: number, addresses: readonly string[]): PoolMember {
  const sockaddr = encodeSockaddr(config.host, config.port);
  const sources = addresses.map(toSource);
  return { id, pool: 'brokers', poolId: 0, config, sockaddr, sources: sources.length === 0 ? [ANY_SOURCE] : sources };
}

function toSource(address: string): Source {
  const sockaddr = encodeSockaddr(address, 0);
  return { id: sourceOf(sockaddr), address, sockaddr };
}

function withCircumstances(snapshot: Uint8Array, listenerCount: number, circumstances: Circumstances): Uint8Array {
  const view = new DataView(snapshot.buffer, snapshot.byteOffset);
  for (let listener = 0; listener < listenerCount; listener++) {
    const entry = SNAPSHOT_LISTENERS + listener * LISTENER_ENTRY_BYTES;
    view.setUint32(entry + LISTENER_CONNECT_TIMEOUT_MS, circumstances.connectTimeoutMs, true);
    view.setUint32(entry + LISTENER_KEEP_ALIVE_PERCENT, circumstances.keepAlivePercent, true);
    view.setUint32(entry + LISTENER_IDLE_TIMEOUT_MS, circumstances.idleTimeoutMs, true);
  }
  // There is one pool, and its block is the first.
  view.setUint32(SNAPSHOT_BLOCKS + POOL_CONNECT_TIMEOUT_MS, circumstances.dialTimeoutMs, true);
  view.setUint32(SNAPSHOT_BLOCKS + POOL_PROXY_PROTOCOL, circumstances.proxyProtocol, true);
  const drain = SNAPSHOT_BLOCKS + view.getUint32(SNAPSHOT_BLOCKS + POOL_DRAIN, true);
  view.setUint32(drain + DRAIN_PACKETS, Number(circumstances.packets), true);
  view.setUint32(drain + DRAIN_ORPHAN_INTERVAL_US, circumstances.orphanIntervalUs, true);
  return snapshot;
}
