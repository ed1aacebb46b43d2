// What must hold between keys, within a file and over all files of a folder. It reads the plain values, so that it
// finds its faults also while others are left; whatever has a wrong type is passed over here and reported by the schema.
import { accessSync, constants, existsSync } from 'node:fs';
import { isIP } from 'node:net';
import { dirname, resolve } from 'node:path';
import { BACKENDS_MAX, LISTENERS_MAX, POOLS_MAX, SNAPSHOT_BLOCKS, SNAPSHOT_HALF_BYTES } from '../../assembly/layout.ts';
import type { Config, ListenerConfig } from '../config.ts';
import { addressesBlock, identityBlock } from '../control/identity-block.ts';
import { CONNECTIONS_PER_LISTENER_MIN } from '../control/memory-map.ts';
import { TableError } from '../core.ts';
import type { Fault } from '../errors.ts';
import { readPoolTls, readTls } from '../front/certificates.ts';
import { nearestName } from '../nearest-name.ts';
import { blockBytesOf } from '../pool-table.ts';
import { canonicalAddress, isLoopback, overlap, parseAddress } from './address.ts';
import { normalisePoolTls, poolTls } from './backend-tls.ts';
import type { Path, SourceDocument } from './document.ts';
import { found, isMapping } from './faults.ts';
import { ADMIN_BIND_DEFAULT } from './schema.ts';
import { normaliseTls, tls as tlsSchema } from './tls.ts';

/** Of a block in the snapshot. */
const BLOCK_ALIGNMENT = 16;

/** A listener or a pool as it stands in its file. */
interface Entry {
  document: SourceDocument;
  path: Path;
  value: Record<string, unknown>;
}

export function checkDocuments(documents: readonly SourceDocument[]): Fault[] {
  const listeners = documents.flatMap(listenersOf);
  const pools = documents.flatMap(poolsOf);
  return [
    ...checkSettingsOnce(documents),
    ...checkPresence(documents, 'listeners', 'at least one listener'),
    ...checkPresence(documents, 'pools', 'at least one pool'),
    ...checkGroup(documents),
    ...checkListenerNames(listeners),
    ...checkBinds([...listeners, ...documents.flatMap(adminOf)]),
    ...documents.flatMap(adminOf).flatMap(checkAdmin),
    ...checkConnectionsMax(documents, listeners),
    ...checkPoolReferences(listeners, pools),
    ...checkPoolNames(pools),
    ...listeners.flatMap(checkTls),
    ...listeners.flatMap(checkDetect),
    ...listeners.flatMap((listener) => checkPassThrough(listener, pools)),
    ...pools.flatMap(checkBalance),
    ...pools.flatMap(checkHealth),
    ...pools.flatMap(checkHealthPorts),
    ...pools.flatMap(checkBackendAddresses),
    ...pools.flatMap(checkSourceAddresses),
    ...pools.flatMap(checkQueue),
    ...pools.flatMap(checkPoolTls),
    ...checkCount(listeners, LISTENERS_MAX, 'listeners'),
    ...checkCount(pools, POOLS_MAX, 'pools'),
    ...checkBackendCount(pools),
  ];
}

/** What the tables need; `pools` are valid ones, in the order of the documents. They all lie in one snapshot. */
export function checkTables(
  documents: readonly SourceDocument[],
  { listeners, pools }: Pick<Config, 'listeners' | 'pools'>,
): Fault[] {
  const entries = documents.flatMap(poolsOf);
  let bytes = SNAPSHOT_BLOCKS + rulesBytes(listeners);
  for (const [index, pool] of pools.entries()) {
    const { document, path } = entries[index]!;
    try {
      bytes += blockBytesOf(pool) + BLOCK_ALIGNMENT;
    } catch (error) {
      if (error instanceof TableError) return [document.fault([...path, 'backends'], error.message, 'key')];
      throw error;
    }
    if (bytes > SNAPSHOT_HALF_BYTES) return [document.fault(path, NO_ROOM, 'key')];
  }
  return [];
}

function rulesBytes(listeners: readonly ListenerConfig[]): number {
  const blocks = listeners.flatMap((listener) => [
    addressesBlock(listener),
    addressesBlock({ allow: listener.proxyProtocolFrom, deny: [] }),
    identityBlock(listener.identity),
  ]);
  return blocks.reduce((sum, block) => sum + (block === null ? 0 : block.length + BLOCK_ALIGNMENT), 0);
}

const NO_ROOM =
  `expected the hash tables of all pools, and the rules of all listeners, to fit into ${SNAPSHOT_HALF_BYTES >> 20} MiB; with this pool they need more: ` +
  'lower rows, for ketama the weights, or the number of pools';

/** What must be there in the file system. */
export function checkFiles(documents: readonly SourceDocument[]): Fault[] {
  return documents.flatMap((document) => [
    ...checkLogFolder(document),
    ...checkTokenFile(document),
    ...checkStateFolder(document),
    ...listenersOf(document).flatMap(checkTlsFiles),
    ...listenersOf(document).flatMap(checkHookModule),
    ...poolsOf(document).flatMap(checkPoolTlsFiles),
  ]);
}

/** The log's file is made when it is needed, its folder is not. */
function checkLogFolder(document: SourceDocument): Fault[] {
  const { path } = mapping(mapping(document.value).access_log);
  return path === '-' || path === 'off' ? [] : checkFolder(document, ['access_log', 'path'], path);
}

function checkStateFolder(document: SourceDocument): Fault[] {
  return checkFolder(document, ['state_file'], mapping(document.value).state_file);
}

function checkFolder(document: SourceDocument, path: Path, file: unknown): Fault[] {
  if (typeof file !== 'string' || existsSync(dirname(resolve(file)))) return [];
  return [document.fault(path, found('expected a file in a folder that exists', file, path))];
}

function checkTokenFile(document: SourceDocument): Fault[] {
  const file = mapping(mapping(document.value).admin).token_file;
  if (typeof file !== 'string' || isReadable(file)) return [];
  return [document.fault(['admin', 'token_file'], found('expected a file that can be read', file, ['token_file']))];
}

function isReadable(file: string): boolean {
  try {
    accessSync(file, constants.R_OK);
    return true;
  } catch {
    return false;
  }
}

function listenersOf(document: SourceDocument): Entry[] {
  return list(mapping(document.value).listeners).flatMap((value, index) =>
    isMapping(value) ? [{ document, path: ['listeners', index], value }] : [],
  );
}

function adminOf(document: SourceDocument): Entry[] {
  const { admin } = mapping(document.value);
  if (!isMapping(admin)) return [];
  return [{ document, path: ['admin'], value: { bind: ADMIN_BIND_DEFAULT, ...admin } }];
}

function poolsOf(document: SourceDocument): Entry[] {
  return Object.entries(mapping(mapping(document.value).pools)).map(([name, value]) => ({
    document,
    path: ['pools', name],
    value: mapping(value),
  }));
}

// ---- Over all files --------------------------------------------------------------------------------------------------

/** Listeners and pools of several files add up; a setting has one place, or nobody could tell which one counts. */
function checkSettingsOnce(documents: readonly SourceDocument[]): Fault[] {
  const settings = documents.flatMap((document) =>
    Object.keys(mapping(document.value))
      .filter((key) => key !== 'listeners' && key !== 'pools')
      .map((key) => ({ key, at: document.fault([key], '', 'key') })),
  );
  return repeated(settings, ({ key }) => key).map(({ item, first }) => ({
    ...item.at,
    expected: `expected this key in one file only, found it also at ${place(first.at)}`,
  }));
}

function checkPresence(documents: readonly SourceDocument[], key: string, what: string): Fault[] {
  const readable = documents.every(({ value }) => isMapping(value));
  if (!readable || documents.some(({ value }) => key in mapping(value))) return [];
  return documents.slice(0, 1).map((document) => document.fault([key], `expected ${what}, found nothing`));
}

function checkListenerNames(listeners: readonly Entry[]): Fault[] {
  const named = listeners.flatMap((entry) => {
    const name = entry.value.name ?? entry.value.bind;
    return typeof name === 'string' ? [{ name, at: entry.document.fault([...entry.path, 'name'], '') }] : [];
  });
  return repeated(named, ({ name }) => name)
    .filter(({ item, first }) => pathKey(item.at) !== pathKey(first.at))
    .map(({ item, first }) => ({
      ...item.at,
      expected: `expected a name of its own, found ${JSON.stringify(item.name)}, which is taken at ${place(first.at)}`,
    }));
}

/** An address that stands for all of its family takes the port from every other one. */
function checkBinds(listeners: readonly Entry[]): Fault[] {
  const binds = listeners.flatMap(({ document, path, value }) => {
    const address = parseAddress(String(value.bind));
    const anyPort = address === null || address.port === 0;
    return anyPort ? [] : [{ address, at: document.fault([...path, 'bind'], '') }];
  });
  return binds.flatMap((item, index) => {
    const first = binds.slice(0, index).find(({ address }) => overlap(address, item.address));
    if (first === undefined) return [];
    const taken = `which is taken at ${place(first.at)}`;
    const expected = `expected an address of its own, found ${canonicalAddress(item.address)}, ${taken}`;
    return [{ ...item.at, expected }];
  });
}

/** Root that only changed its group would be root still. */
function checkGroup(documents: readonly SourceDocument[]): Fault[] {
  if (documents.some(({ value }) => mapping(value).user !== undefined)) return [];
  return documents
    .filter(({ value }) => mapping(value).group !== undefined)
    .map((document) => document.fault(['group'], 'expected only with user, found without', 'key'));
}

/** Each listener keeps an accept waiting, which holds a place that no client has. */
function checkConnectionsMax(documents: readonly SourceDocument[], listeners: readonly Entry[]): Fault[] {
  const least = CONNECTIONS_PER_LISTENER_MIN * listeners.length;
  return documents.flatMap((document) => {
    const value = mapping(document.value).connections_max;
    if (typeof value !== 'number' || value < 1 || value >= least) return [];
    const expected = `expected at least ${least}, ${CONNECTIONS_PER_LISTENER_MIN} for each listener, found ${value}`;
    return [document.fault(['connections_max'], expected)];
  });
}

function checkPoolReferences(listeners: readonly Entry[], pools: readonly Entry[]): Fault[] {
  const names = [...new Set(pools.map(({ path }) => String(path[1])))];
  if (names.length === 0) return [];
  return listeners.flatMap(({ document, path, value }) => {
    const reference = value.pool;
    if (reference === undefined && 'tls_passthrough' in value) return [];
    const known =
      typeof reference === 'string' ? names.includes(reference) : reference !== undefined || names.length === 1;
    if (known) return [];
    const nearest = typeof reference === 'string' ? nearestName(reference, names) : null;
    const guess = nearest === null ? '' : `, did you mean ${nearest}?`;
    const expected = `expected the name of a pool (there is ${names.join(', ')})`;
    return [document.fault([...path, 'pool'], found(expected, reference, path) + guess)];
  });
}

/** Twice in one file is a fault of the YAML already. */
function checkPoolNames(pools: readonly Entry[]): Fault[] {
  const keys = pools.map(({ document, path }) => ({ name: String(path[1]), at: document.fault(path, '', 'key') }));
  const inherited = keys.filter(({ name }) => name === '__proto__'); // the one name that the schema never sees
  const twice = repeated(keys, ({ name }) => name).map(({ item, first }) => ({
    ...item.at,
    expected: `expected a name of its own, found one that is taken at ${place(first.at)}`,
  }));
  return [...inherited.map(({ at }) => ({ ...at, expected: 'expected another name for a pool' })), ...twice];
}

function checkCount(entries: readonly Entry[], countMax: number, what: string): Fault[] {
  const documents = new Set(entries.map(({ document }) => document));
  const over = documents.size > 1 ? entries[countMax] : undefined; // within one file the schema says it
  return over === undefined
    ? []
    : [
        over.document.fault(
          over.path,
          `expected at most ${countMax} ${what} in all files, found ${entries.length}`,
          'key',
        ),
      ];
}

function checkBackendCount(pools: readonly Entry[]): Fault[] {
  let count = 0;
  const over = pools.find(({ value }) => {
    count += list(value.backends).length;
    return count > BACKENDS_MAX;
  });
  if (over === undefined) return [];
  return [over.document.fault(over.path, `expected at most ${BACKENDS_MAX} backends in all pools, found more`, 'key')];
}

// ---- The admin API ---------------------------------------------------------------------------------------------------

/** Whoever reaches it can see every device and steer every connection. */
function checkAdmin({ document, path, value: { bind, token, token_file } }: Entry): Fault[] {
  if (token !== undefined && token_file !== undefined) {
    return [document.fault([...path, 'token_file'], 'expected token or token_file, found both', 'key')];
  }
  const address = parseAddress(String(bind));
  if (address === null || isIP(address.host) === 0 || isLoopback(address)) return [];
  if (token !== undefined || token_file !== undefined) return [];
  const expected = `expected a loopback address such as ${ADMIN_BIND_DEFAULT}, or a token (or token_file) beside it`;
  return [document.fault([...path, 'bind'], found(expected, bind, ['bind']))];
}

// ---- Within a listener -----------------------------------------------------------------------------------------------

/** A key that would do nothing is refused, as with a pool's. */
function checkTls({ document, path, value }: Entry): Fault[] {
  if (!isMapping(value.tls)) return [];
  const { tls } = value;
  const at = (key: string) => [...path, 'tls', key];
  const missing = (key: string, what: string) => [document.fault(at(key), `expected ${what}, found nothing`)];
  const only = (key: string, where: string) => [
    document.fault(at(key), `expected only with ${where}, found without`, 'key'),
  ];
  const isVerifying = tls.verify_client === 'request' || tls.verify_client === 'require';
  const isSingle = 'cert' in tls || 'key' in tls;
  return [
    ...(isSingle && 'certificates' in tls
      ? [document.fault(at('certificates'), 'expected cert and key, or certificates, found both', 'key')]
      : []),
    ...(isSingle && !('key' in tls) ? missing('key', "the path of the certificate's key") : []),
    ...(!('cert' in tls) && !('certificates' in tls) ? missing('cert', 'the path of a certificate') : []),
    ...(isVerifying && !('client_ca' in tls) ? missing('client_ca', "the path of the clients' CA certificates") : []),
    ...(!isVerifying && 'client_ca' in tls ? only('client_ca', 'verify_client: request or require') : []),
    ...('client_crl' in tls && !('client_ca' in tls) ? only('client_crl', 'client_ca') : []),
  ];
}

function checkDetect({ document, path, value }: Entry): Fault[] {
  if (value.detect !== true || 'tls' in value || 'websocket' in value || 'tls_passthrough' in value) return [];
  return [document.fault([...path, 'detect'], 'expected only with tls or websocket, found without', 'key')];
}

/** What would need to see inside. */
const KEYS_OF_MQTT = ['pool', 'tls', 'websocket', 'detect', 'identity', 'hook'];

function checkPassThrough({ document, path, value }: Entry, pools: readonly Entry[]): Fault[] {
  if (!isMapping(value.tls_passthrough)) return [];
  const faults = KEYS_OF_MQTT.filter((key) => key in value).map((key) =>
    document.fault([...path, key], 'expected only without tls_passthrough, found with it', 'key'),
  );
  const wrong = Object.entries(value.tls_passthrough).flatMap(([host, name]) => {
    const at = [...path, 'tls_passthrough', host];
    const pool = pools.find((each) => each.path[1] === name);
    if (pool === undefined) return [document.fault(at, found('expected the name of a pool', name, at))];
    if ('tls' in pool.value) {
      return [document.fault(at, `expected a pool without tls, since its clients bring their own, found ${name}`)];
    }
    if (!isProbedInPlain(pool.value)) return [];
    const expected = `expected a pool with health: tcp, or with health.port where its brokers speak plain MQTT, found ${name}`;
    return [document.fault(at, `${expected}, whose probes can't speak TLS`)];
  });
  return [...faults, ...wrong];
}

/** Its backends' own ports are asked in plain MQTT. */
function isProbedInPlain({ health }: Record<string, unknown>): boolean {
  if (!isMapping(health)) return health === 'mqtt';
  return (health.type ?? 'mqtt') === 'mqtt' && !('port' in health);
}

function checkTlsFiles({ document, path, value }: Entry): Fault[] {
  const settings = tlsSchema.safeParse(value.tls);
  if (!settings.success) return []; // the schema's to report
  return readTls(normaliseTls(settings.data, [])).faults.map(({ at, text }) =>
    document.fault([...path, 'tls', ...at], text),
  );
}

function checkHookModule({ document, path, value }: Entry): Fault[] {
  const { module } = mapping(value.hook);
  if (typeof module !== 'string' || isReadable(module)) return [];
  const at = [...path, 'hook', 'module'];
  return [document.fault(at, found('expected a file that can be read', module, at))];
}

// ---- Within a pool ---------------------------------------------------------------------------------------------------

/** A key that would do nothing is refused: whoever wrote it expects something of it. */
function checkBalance({ document, path, value }: Entry): Fault[] {
  const balance = mapping(value.balance);
  const { method, algorithm } = balance;
  const misplaced = (keys: string[], owner: string, instead: string) =>
    keys
      .filter((key) => key in balance)
      .map((key) =>
        document.fault([...path, 'balance', key], `expected only with ${owner}, found with ${instead}`, 'key'),
      );
  if (method === 'round_robin' || method === 'least_conn' || method === 'random_two') {
    return misplaced(['key', 'algorithm', 'rows', 'secret'], 'method: hash', `method: ${method}`);
  }
  return algorithm === 'ketama' ? misplaced(['rows', 'secret'], 'algorithm: rendezvous', 'algorithm: ketama') : [];
}

/** The keys that mean something to one type of probe only. */
const PROBE_KEYS: Record<string, readonly string[]> = {
  mqtt: ['version', 'username', 'password'],
  http: ['path', 'host'],
  raw: ['send', 'expect'],
};

function checkHealth({ document, path, value }: Entry): Fault[] {
  if (!isMapping(value.health)) return [];
  const health = value.health;
  const { type = 'mqtt' } = health;
  const at = (key: string) => [...path, 'health', key];
  const misplaced = Object.entries(PROBE_KEYS).flatMap(([owner, keys]) =>
    keys
      .filter((key) => owner !== type && key in health)
      .map((key) => document.fault(at(key), `expected only with type: ${owner}, found with type: ${type}`, 'key')),
  );
  const missing = (key: string, what: string) => [document.fault(at(key), `expected ${what}, found nothing`)];
  return [
    ...misplaced,
    ...(type === 'raw' && !('expect' in health) ? missing('expect', 'what the answer must contain, in hex') : []),
    ...(type === 'mqtt' && 'password' in health && !('username' in health)
      ? missing('username', 'a username, since there is a password')
      : []),
  ];
}

/** No broker speaks HTTP where it speaks MQTT. */
function checkHealthPorts({ document, path, value }: Entry): Fault[] {
  const health = mapping(value.health);
  const isProbed = 'health' in value && value.health !== 'none' && health.type !== 'none';
  const needed = health.type === 'http' && !('port' in health);
  return list(value.backends).flatMap((backend, index) => {
    const at = [...path, 'backends', index, 'health_port'];
    const hasPort = 'health_port' in mapping(backend);
    if (needed && !hasPort) return [document.fault([...path, 'health', 'port'], HTTP_PORT)];
    return hasPort && !isProbed ? [document.fault(at, 'expected only with probes, found without', 'key')] : [];
  });
}

const HTTP_PORT =
  "expected the port of the brokers' HTTP API, here or as the health_port of each backend, found nothing";

function checkBackendAddresses({ document, path, value }: Entry): Fault[] {
  const backends = list(value.backends).flatMap((backend, index) => {
    const short = typeof backend === 'string';
    const address = parseAddress(String(short ? backend : mapping(backend).address));
    const at = document.fault([...path, 'backends', index, ...(short ? [] : ['address'])], '');
    return address === null ? [] : [{ address: canonicalAddress(address), at }];
  });
  return repeated(backends, ({ address }) => address).map(({ item, first }) => ({
    ...item.at,
    expected: `expected each backend once in a pool, found ${item.address} also at ${place(first.at)}`,
  }));
}

function checkSourceAddresses({ document, path, value }: Entry): Fault[] {
  const sources = list(value.source_addresses).flatMap((host, index) => {
    const isAddress = typeof host === 'string' && isIP(host) !== 0;
    return isAddress ? [{ host, at: document.fault([...path, 'source_addresses', index], '') }] : [];
  });
  const twice = repeated(sources, ({ host }) => canonicalAddress({ host, port: 0 })).map(({ item, first }) => ({
    ...item.at,
    expected: `expected each address once, found ${item.host} also at ${place(first.at)}`,
  }));
  // A name's family is seen when it is resolved, at start.
  const backends = list(value.backends).flatMap((backend) => {
    const address = String(isMapping(backend) ? backend.address : backend);
    const host = parseAddress(address)?.host ?? '';
    return isIP(host) === 0 ? [] : [{ host, text: `backend ${address}` }];
  });
  const first = sources.slice(0, 1).map(({ host }) => ({ host, text: `source address ${host}` }));
  const odd = sources.flatMap(({ host, at }) => {
    const other = [...backends, ...first].find((each) => isIP(each.host) !== isIP(host));
    if (other === undefined) return [];
    return [{ ...at, expected: `expected an IPv${isIP(other.host)} address, as ${other.text} has, found ${host}` }];
  });
  return [...twice, ...odd];
}

/** A key that would do nothing is refused. */
function checkPoolTls({ document, path, value }: Entry): Fault[] {
  const tls = mapping(value.tls);
  const at = (key: string) => [...path, 'tls', key];
  const missing = (key: string, what: string) => [document.fault(at(key), `expected ${what}, found nothing`)];
  return [
    ...('cert' in tls && !('key' in tls) ? missing('key', "the path of the certificate's key") : []),
    ...('key' in tls && !('cert' in tls) ? missing('cert', 'the path of a certificate') : []),
    ...('ca' in tls && tls.verify === false
      ? [document.fault(at('ca'), 'expected only with verify: true, found with verify: false', 'key')]
      : []),
  ];
}

function checkPoolTlsFiles({ document, path, value }: Entry): Fault[] {
  const settings = poolTls.safeParse(value.tls);
  if (!settings.success) return []; // the schema's to report
  return readPoolTls(normalisePoolTls(settings.data)).faults.map(({ at, text }) =>
    document.fault([...path, 'tls', ...at], text),
  );
}

/** Nobody waits for what isn't limited. */
function checkQueue({ document, path, value }: Entry): Fault[] {
  const isRated = [value, ...list(value.backends)].some((each) => 'connect_rate' in mapping(each));
  if (isRated || !('queue' in value)) return [];
  const expected = 'expected only with a connect_rate, here or of a backend, found without';
  return [document.fault([...path, 'queue'], expected, 'key')];
}

// ---- Helpers ---------------------------------------------------------------------------------------------------------

/** Every item whose key an earlier one has, with that earlier one. */
function repeated<Item>(items: readonly Item[], keyOf: (item: Item) => string): { item: Item; first: Item }[] {
  const firsts = new Map<string, Item>();
  return items.flatMap((item) => {
    const first = firsts.get(keyOf(item));
    if (first === undefined) firsts.set(keyOf(item), item);
    return first === undefined ? [] : [{ item, first }];
  });
}

function place({ file, line, column }: Fault): string {
  return `${file}:${line}:${column}`;
}

function pathKey(at: Fault): string {
  return `${at.file} ${at.path}`;
}

function mapping(value: unknown): Record<string, unknown> {
  return isMapping(value) ? value : {};
}

function list(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}
