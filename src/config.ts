// The configuration: YAML in a file or a folder, validated whole, and normalised to what the rest of the program reads.
// Loading this module loads the YAML parser and zod (120 ms), so the command line imports it only when it needs it.
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type Address, parseAddress } from './config/address.ts';
import { normalisePoolTls, type PoolTlsConfig } from './config/backend-tls.ts';
import { checkDocuments, checkFiles, checkTables } from './config/checks.ts';
import { readDocument, type SourceDocument } from './config/document.ts';
import { isMapping, schemaFaults } from './config/faults.ts';
import {
  ADMIN_BIND_DEFAULT,
  type BackendSettings,
  configSchema,
  type HealthSettings,
  jsonSchema,
  type KEY_NAMES,
  type ListenerSettings,
  type PoolSettings,
  type Settings,
  type TakeOverLoopSettings,
  takeOverLoop,
} from './config/schema.ts';
import { normaliseTls, type TlsConfig } from './config/tls.ts';
import { normaliseWebSocket, type WebSocketConfig } from './config/websocket.ts';
import { ConfigError, type Fault } from './errors.ts';

export interface Config {
  workers: number | 'auto';
  engine: 'auto' | 'uring' | 'portable';
  cpuAffinity: 'off' | 'pin' | 'steer';
  /** Of one worker. */
  connectionsMax: number | 'auto';
  connectMaxBytes: number;
  listeners: ListenerConfig[];
  pools: PoolConfig[];
  accessLog: {
    /** "-" for standard output, "off" for none. */
    path: string;
    /** `text`, `json` or a template. */
    format: string;
  };
  /** null: off. */
  admin: AdminConfig | null;
  shutdownTimeoutMs: number;
  /** The configuration is read again when its file changes. */
  watch: boolean;
  /** Where what is set at runtime outlives the process; null: nowhere. */
  stateFile: string | null;
  /** Whom the process becomes when its ports and files are open; null: it stays who it is. */
  user: string | null;
  /** null: the user's own. */
  group: string | null;
}

export interface AdminConfig {
  bind: Address;
  /** Empty for none. */
  token: string;
  /** Holds the token instead; empty for none. */
  tokenFile: string;
  /** Nobody asked for it: where its port is taken, it is gone without. */
  isDefault: boolean;
}

export interface ListenerConfig {
  name: string;
  bind: Address;
  pool: string;
  /** Backends of its clients may want TLS. */
  leadsToTls: boolean;
  /** From accept to a complete CONNECT packet. */
  connectTimeoutMs: number;
  /** A client that is silent for so many times its Keep Alive is closed; 0: never. */
  keepAliveFactor: number;
  /** The same for a client with Keep Alive 0; 0: never. */
  idleTimeoutMs: number;
  /** Of all workers together; 0: no limit. */
  maxConnections: number;
  maxConnectionsPerSource: number;
  /** How fast each source may come. */
  connectRatePerSource: ConnectRate;
  /** The bits of an address that make a source. */
  sourcePrefix: { ipv4: number; ipv6: number };
  /** Clients whose CONNECT isn't complete, of all workers together; 0: as many as there is room for. */
  maxHalfOpen: number;
  /** null: nobody looks for them. */
  takeOverLoop: TakeOverLoopConfig | null;
  /** null: no TLS. */
  tls: TlsConfig | null;
  /** null: MQTT's bytes, in TLS or without. */
  webSocket: WebSocketConfig | null;
  /** Clients come through the one, the other, both or none of these, by what they begin with. */
  isDetecting: boolean;
  /** Its clients' TLS goes to pools by the host that they ask for, and isn't ended here; null: it isn't so. */
  passThrough: { host: string; pool: string }[] | null;
  /** Where the fronts are that say in a PROXY header who a client is; none: clients come by themselves. */
  proxyProtocolFrom: string[];
  /** Addresses, or ranges of them, that alone may come, or that may not; of an address in both the latter is heeded. */
  allow: string[];
  deny: string[];
  /** null: its clients may call themselves what they like. */
  identity: IdentityConfig | null;
  /** null: nobody is asked. */
  hook: HookConfig | null;
}

export interface HookConfig {
  /** Path of a module that exports onConnect. */
  module: string;
  /** For one decision. */
  timeoutMs: number;
  /** What becomes of a client for which there is none. */
  onError: 'refuse' | 'accept';
}

/** Clients of one name that throw each other out. */
export interface TakeOverLoopConfig {
  /** So many within the window are a loop. */
  takeOvers: number;
  windowMs: number;
  /** After the first of a loop, and at most: each is twice as long as the one before. */
  pauseMs: number;
  pauseMaxMs: number;
}

export interface IdentityConfig {
  /** None: any. */
  clientId: { patterns: string[]; deny: string[]; empty: 'allow' | 'refuse' | 'assign' };
  username: { patterns: string[]; deny: string[]; required: boolean };
  /** Templates of what the brokers are told; null: what the client said. */
  rewrite: { clientId: string | null; username: string | null; password: string | null };
}

/** PROXY protocol, and its version. */
export type ProxyProtocol = 'off' | 'v1' | 'v2';

export interface PoolConfig {
  name: string;
  balance: BalanceConfig;
  backends: BackendConfig[];
  /** Of one connect to a backend. */
  connectTimeoutMs: number;
  /** IP addresses of one family that connections to the backends are made from; none: the system chooses. */
  sourceAddresses: string[];
  drain: DrainConfig;
  rebalance: RebalanceConfig;
  orphans: OrphansConfig;
  connectRate: ConnectRate;
  /** Of those that connectRate lets wait. */
  queue: { max: number; timeoutMs: number };
  /** 0: no limit. */
  maxConnections: number;
  /** How backends are told who their client is. */
  proxyProtocol: ProxyProtocol;
  /** null: brokers are spoken to without TLS. */
  tls: PoolTlsConfig | null;
  /** What backends get that are added at runtime: the pool as it was written, with every default. */
  settings: PoolSettings;
}

/** CONNECTs a second that may be dialled, and how many at once after a quiet time; 0: no limit. */
export interface ConnectRate {
  rate: number;
  burst: number;
}

export interface DrainConfig {
  /** It is followed where packets begin and end, so that none is cut. */
  packets: boolean;
  /** What the DISCONNECT of a client that is moved away names as its other server; empty for nothing. */
  serverReference: string;
  /** Connections a second, when nobody says otherwise. */
  rate: number;
}

export interface RebalanceConfig {
  /** It begins by itself when a backend has come, or come back. */
  automatic: boolean;
  /** Connections a second, when nobody says otherwise. */
  rate: number;
  /** So many times its share a backend may have before it is relieved; for methods other than hash. */
  threshold: number;
}

export interface OrphansConfig {
  /** Of a backend that is down; auto: when its process or host is gone. */
  close: 'auto' | 'always' | 'never';
  /** Connections a second; 0: all at once. */
  rate: number;
}

export interface BalanceConfig {
  method: 'hash' | 'round_robin' | 'least_conn' | 'random_two';
  key: (typeof KEY_NAMES)[number];
  algorithm: 'rendezvous' | 'ketama';
  rows: number;
  /** Empty for none. */
  secret: string;
}

export interface BackendConfig {
  /** As written: this text is what is hashed and logged. */
  address: string;
  host: string;
  port: number;
  weight: number;
  backup: boolean;
  /** 0: never passed over. */
  maxFails: number;
  failTimeoutMs: number;
  /** null: it isn't probed. */
  health: HealthConfig | null;
  /** From its return until it gets its whole share of the clients. */
  slowStartMs: number;
  connectRate: ConnectRate;
  /** 0: no limit. */
  maxConnections: number;
}

export interface HealthConfig {
  probe: ProbeConfig;
  intervalMs: number;
  timeoutMs: number;
  /** Probes in a row that must pass to bring a backend up, or fail to take it down. */
  rise: number;
  fall: number;
  port: number;
  initial: 'up' | 'down';
  /** How the backend is told who is probing. */
  proxyProtocol: ProxyProtocol;
  /** It speaks TLS with the backend, as clients' connections do. */
  isTls: boolean;
}

export type ProbeConfig =
  | { type: 'mqtt'; version: 4 | 5; username: string | null; password: string | null }
  | { type: 'tcp' }
  /** `host`: the header, null for the address. */
  | { type: 'http'; path: string; host: string | null }
  | { type: 'raw'; send: Buffer; expect: Buffer };

/** Reads a file, or the `*.yaml` and `*.yml` of a folder as one. Throws a ConfigError that holds every fault found. */
export async function loadConfig(path: string): Promise<Config> {
  const files = await configFiles(path);
  const documents = await Promise.all(files.map(async (file) => readDocument(await readText(file), file)));
  return build(documents, checkFiles(documents));
}

/** The same for a text; `file` is only its name in messages. */
export function parseConfig(text: string, file: string): Config {
  return build([readDocument(text, file)]);
}

/** A backend that is added to the pool at runtime; `settings` as the pool's list of backends has them. */
export function addedBackend(settings: BackendSettings, pool: PoolConfig): BackendConfig {
  return normaliseBackend(settings, pool.settings);
}

/** JSON Schema of one configuration file, for editors. */
export function schema(): object {
  return jsonSchema();
}

async function configFiles(path: string): Promise<string[]> {
  const found = await stat(path).catch((error) => unreadable(path, error));
  if (!found.isDirectory()) return [path];
  const names = await readdir(path).catch((error) => unreadable(path, error));
  const files = names.filter((name) => /^[^.].*\.ya?ml$/.test(name)).sort();
  if (files.length === 0) throw fileError(path, 'expected a folder with at least one *.yaml or *.yml file, found none');
  return files.map((name) => join(path, name));
}

async function readText(file: string): Promise<string> {
  return readFile(file, 'utf8').catch((error) => unreadable(file, error));
}

function unreadable(file: string, error: NodeJS.ErrnoException): never {
  const { code = error.message } = error;
  const why = UNREADABLE[code] ?? `the system says ${code}`;
  throw fileError(file, `expected a readable configuration file or folder: ${why}`);
}

const UNREADABLE: Record<string, string> = {
  ENOENT: 'there is none of this name',
  ENOTDIR: 'a part of the path is not a folder',
  EACCES: 'not permitted; let this user read it',
};

function fileError(file: string, expected: string): ConfigError {
  return new ConfigError([{ file, path: '', expected }]);
}

function build(documents: readonly SourceDocument[], faults: readonly Fault[] = []): Config {
  refuse(documents, [
    ...documents.flatMap((document) => document.faults),
    ...documents.flatMap(schemaFaults),
    ...checkDocuments(documents),
    ...faults,
  ]);
  const config = normalise(configSchema.parse(merge(documents)));
  refuse(documents, checkTables(documents, config));
  return config;
}

/** In the order of the text, one fault for a key: the schema and the checks between keys may see the same one. */
function refuse(documents: readonly SourceDocument[], faults: readonly Fault[]): void {
  const keyOf = (fault: Fault) => `${fault.file} ${fault.path || `${fault.line}:${fault.column}`}`;
  const distinct = new Map<string, Fault>();
  for (const fault of faults) if (!distinct.has(keyOf(fault))) distinct.set(keyOf(fault), fault);
  const fileOrder = (fault: Fault) => documents.findIndex(({ file }) => file === fault.file);
  const [first, ...others] = [...distinct.values()].sort(
    (a, b) => fileOrder(a) - fileOrder(b) || (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0),
  );
  if (first !== undefined) throw new ConfigError([first, ...others]);
}

/** Once the checks have passed nothing stands twice but the two that add up. */
function merge(documents: readonly SourceDocument[]): object {
  const values = documents.map(({ value }) => value).filter(isMapping);
  return {
    ...Object.assign({}, ...values),
    listeners: values.flatMap(({ listeners }) => listeners ?? []),
    pools: Object.assign({}, ...values.map(({ pools }) => pools)),
  };
}

function normalise(settings: Settings): Config {
  const { listeners = [], pools = {} } = settings;
  const [onlyPool = ''] = Object.keys(pools);
  return {
    workers: settings.workers,
    engine: settings.engine,
    cpuAffinity: settings.cpu_affinity,
    connectionsMax: settings.connections_max,
    connectMaxBytes: settings.connect_max_bytes,
    listeners: listeners.map((listener) => normaliseListener(listener, onlyPool, pools)),
    pools: Object.entries(pools).map(([name, pool]) => normalisePool(name, pool)),
    accessLog: settings.access_log,
    admin: normaliseAdmin(settings.admin),
    shutdownTimeoutMs: settings.shutdown_timeout,
    watch: settings.watch,
    stateFile: settings.state_file ?? null,
    user: settings.user ?? null,
    group: settings.group ?? null,
  };
}

function normaliseAdmin(admin: Settings['admin']): AdminConfig | null {
  if (admin === null || admin === 'off') return null;
  const { bind, token = '', token_file: tokenFile = '' } = admin ?? { bind: ADMIN_BIND_DEFAULT };
  return { bind: addressOf(bind), token, tokenFile, isDefault: admin === undefined };
}

const NO_RATE: ConnectRate = { rate: 0, burst: 0 };

function normaliseListener(
  listener: ListenerSettings,
  onlyPool: string,
  pools: Record<string, PoolSettings>,
): ListenerConfig {
  const passThrough = Object.entries(listener.tls_passthrough ?? {});
  const pool = listener.pool ?? passThrough[0]?.[1] ?? onlyPool;
  const { method, key } = pools[pool]?.balance ?? {};
  const meetsItself = method === 'hash' && key === 'client_id';
  return {
    name: listener.name ?? listener.bind,
    bind: addressOf(listener.bind),
    pool,
    leadsToTls: mayLeadToTls(listener, pool, pools),
    connectTimeoutMs: listener.connect_timeout,
    keepAliveFactor: listener.keep_alive_factor,
    idleTimeoutMs: listener.idle_timeout,
    maxConnections: listener.max_connections ?? 0,
    maxConnectionsPerSource: listener.max_connections_per_source ?? 0,
    connectRatePerSource: listener.connect_rate_per_source ?? NO_RATE,
    sourcePrefix: listener.source_prefix,
    maxHalfOpen: listener.max_half_open === 'auto' ? 0 : listener.max_half_open,
    takeOverLoop: normaliseTakeOverLoop(listener.take_over_loop ?? (meetsItself ? takeOverLoop.parse({}) : 'off')),
    tls: listener.tls === undefined ? null : normaliseTls(listener.tls, protocolsOf(listener)),
    webSocket: listener.websocket === undefined ? null : normaliseWebSocket(listener.websocket),
    isDetecting: listener.detect,
    passThrough:
      passThrough.length === 0 ? null : passThrough.map(([host, pool]) => ({ host: host.toLowerCase(), pool })),
    proxyProtocolFrom: listener.proxy_protocol?.from ?? [],
    allow: listener.allow ?? [],
    deny: listener.deny ?? [],
    identity: normaliseIdentity(listener.identity),
    hook: normaliseHook(listener.hook),
  };
}

/** Whether TLS may have to be spoken to its clients' backends. A hook may choose any pool. */
function mayLeadToTls({ hook }: ListenerSettings, pool: string, pools: Record<string, PoolSettings>): boolean {
  return Object.entries(pools).some(([name, { tls }]) => tls !== undefined && (hook !== undefined || name === pool));
}

/** What its clients name in their handshake: browsers say http/1.1 before a WebSocket. */
function protocolsOf({ websocket }: ListenerSettings): string[] {
  return websocket === undefined ? ['mqtt'] : ['mqtt', 'http/1.1'];
}

// Two brokers that share no sessions may each have a client of one name, and neither has to go.
function normaliseTakeOverLoop(settings: 'off' | TakeOverLoopSettings): TakeOverLoopConfig | null {
  if (settings === 'off') return null;
  const { take_overs: takeOvers, window: windowMs, pause: pauseMs, pause_max: pauseMaxMs } = settings;
  return { takeOvers, windowMs, pauseMs, pauseMaxMs: Math.max(pauseMs, pauseMaxMs) };
}

function normaliseHook(hook: ListenerSettings['hook']): HookConfig | null {
  return hook === undefined ? null : { module: hook.module, timeoutMs: hook.timeout, onError: hook.on_error };
}

// A pattern that a client could pass by without a ClientId would be none.
function normaliseIdentity(identity: ListenerSettings['identity']): IdentityConfig | null {
  if (identity === undefined) return null;
  const { client_id: clientId, username, rewrite } = identity;
  const patterns = clientId?.pattern ?? [];
  return {
    clientId: {
      patterns,
      deny: clientId?.deny ?? [],
      empty: clientId?.empty ?? (patterns.length === 0 ? 'allow' : 'refuse'),
    },
    username: { patterns: username?.pattern ?? [], deny: username?.deny ?? [], required: username?.required ?? false },
    rewrite: {
      clientId: rewrite?.client_id ?? null,
      username: rewrite?.username ?? null,
      password: rewrite?.password ?? null,
    },
  };
}

function normalisePool(name: string, pool: PoolSettings): PoolConfig {
  return {
    name,
    balance: { ...pool.balance, rows: pool.balance.rows as number, secret: pool.balance.secret ?? '' },
    backends: pool.backends.map((backend) => normaliseBackend(backend, pool)),
    connectTimeoutMs: pool.connect_timeout,
    sourceAddresses: pool.source_addresses,
    drain: { packets: pool.drain.packets, serverReference: pool.drain.server_reference ?? '', rate: pool.drain.rate },
    rebalance: pool.rebalance,
    orphans: pool.orphans,
    connectRate: pool.connect_rate ?? NO_RATE,
    queue: { max: pool.queue.max, timeoutMs: pool.queue.timeout },
    maxConnections: pool.max_connections ?? 0,
    proxyProtocol: pool.proxy_protocol,
    tls: pool.tls === undefined ? null : normalisePoolTls(pool.tls),
    settings: pool,
  };
}

function normaliseBackend(backend: BackendSettings, pool: PoolSettings): BackendConfig {
  const address = addressOf(backend.address);
  return {
    address: backend.address,
    ...address,
    weight: backend.weight,
    backup: backend.backup,
    maxFails: backend.max_fails,
    failTimeoutMs: backend.fail_timeout,
    health: normaliseHealth(pool, backend.health_port ?? pool.health.port ?? address.port, address.port),
    slowStartMs: backend.slow_start ?? pool.slow_start,
    connectRate: backend.connect_rate ?? NO_RATE,
    maxConnections: backend.max_connections ?? 0,
  };
}

// Behind another port another listener of the broker's answers, or another program, which expects no PROXY header or TLS.
function normaliseHealth(pool: PoolSettings, port: number, backendPort: number): HealthConfig | null {
  const probe = normaliseProbe(pool.health);
  const { interval: intervalMs, timeout: timeoutMs, rise, fall, initial } = pool.health;
  const isBrokers = port === backendPort;
  const proxyProtocol = isBrokers ? pool.proxy_protocol : 'off';
  const isTls = isBrokers && pool.tls !== undefined;
  return probe && { probe, intervalMs, timeoutMs, rise, fall, port, initial, proxyProtocol, isTls };
}

function normaliseProbe(health: HealthSettings): ProbeConfig | null {
  const { type, username = null, password = null, path, host = null, send = '', expect = '' } = health;
  switch (type) {
    case 'mqtt':
      return { type, version: health.version === '3.1.1' ? 4 : 5, username, password };
    case 'tcp':
      return { type };
    case 'http':
      return { type, path, host };
    case 'raw':
      return { type, send: bytesOf(send), expect: bytesOf(expect) };
    case 'none':
      return null;
  }
}

function bytesOf(hex: string): Buffer {
  return Buffer.from(hex.replace(/\s/g, ''), 'hex');
}

function addressOf(text: string): Address {
  const address = parseAddress(text);
  if (address === null) throw new Error(`${text} has passed the checks as an address`);
  return address;
}
