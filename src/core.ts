// The core for programs that bring their own sockets, published as `tidegate/core`: typed functions over core.wasm.
import { createHash } from 'node:crypto';
import {
  ALGORITHM_KETAMA,
  ALGORITHM_RENDEZVOUS,
  CONNECT_BYTES,
  CONNECT_BYTES_LIMIT,
  CONNECT_CLIENT_ID,
  CONNECT_FLAG_CLEAN_START,
  CONNECT_FLAG_WILL,
  CONNECT_FLAG_WILL_QOS,
  CONNECT_FLAG_WILL_RETAIN,
  CONNECT_FLAGS,
  CONNECT_KEEP_ALIVE,
  CONNECT_MAXIMUM_PACKET_SIZE,
  CONNECT_PACKET_BYTES,
  CONNECT_PASSWORD,
  CONNECT_PROPERTIES,
  CONNECT_REASON,
  CONNECT_REASON_OFFSET,
  CONNECT_RECEIVE_MAXIMUM,
  CONNECT_SESSION_EXPIRY,
  CONNECT_TOPIC_ALIAS_MAXIMUM,
  CONNECT_USERNAME,
  CONNECT_VERSION,
  CONNECT_WILL_PAYLOAD,
  CONNECT_WILL_PROPERTIES,
  CONNECT_WILL_TOPIC,
  MEMBER_BACKEND,
  MEMBER_BACKUP,
  MEMBER_BYTES,
  MEMBER_WEIGHT,
  MEMBERS_MAX,
  METHOD_HASH,
  METHOD_LEAST_CONN,
  METHOD_RANDOM_TWO,
  METHOD_ROUND_ROBIN,
  NONE,
  PARSE_COMPLETE,
  PARSE_PARTIAL,
  POINTS_MAX,
  POINTS_PER_WEIGHT,
  POOL_ALGORITHM,
  POOL_BLOCK_BYTES,
  POOL_BYTES,
  POOL_ENTRY_COUNT,
  POOL_MEMBER_COUNT,
  POOL_METHOD,
  POOL_SECRET,
  PROXY_HEADER_BYTES_MAX,
  PROXY_HEADER_BYTES_TOTAL,
  PROXY_HEADER_DESTINATION,
  PROXY_HEADER_HAS_ADDRESS,
  PROXY_HEADER_SOURCE,
  PROXY_HEADER_STRUCT_BYTES,
  PROXY_PROTOCOL_V1,
  PROXY_PROTOCOL_V2,
  REFUSAL_BYTES_MAX,
  ROWS_DEFAULT,
  ROWS_MAX,
  ROWS_MIN,
  SOCKADDR_BYTES_MAX,
  TABLE_BUILT,
  TABLE_MEMBER_COUNT,
  TABLE_MEMBER_TWICE,
  TABLE_MEMBER_WEIGHT,
  TABLE_POINTS,
  TABLE_ROWS,
  WEIGHT_MAX,
} from '../assembly/layout.ts';
import type { Address } from './config/address.ts';
import { reasons } from './reasons.ts';
import { decodeSockaddr, encodeSockaddr } from './system/sockaddr.ts';
import { compile, instantiate, WASM_PAGE_BYTES } from './wasm.ts';

const SECRET_BYTES = 16;
const NO_BYTES = new Uint8Array(0);

// ---- CONNECT ---------------------------------------------------------------------------------------------------------

export interface ParseOptions {
  /** Longest packet that is accepted, in bytes, fixed header included. Default and most: CONNECT_BYTES_LIMIT, 512 KiB. */
  packetBytesMax?: number;
}

export interface Will {
  topic: string;
  payload: Uint8Array;
  qos: 0 | 1 | 2;
  retain: boolean;
  /** MQTT 5.0 will properties as sent, without their length; null for older versions. */
  properties: Uint8Array | null;
}

export interface CompleteConnect {
  state: 'complete';
  /** Length of the packet, fixed header included; bytes behind it belong to the next packet. */
  packetBytes: number;
  /** Protocol level: 3 is MQTT 3.1, 4 is 3.1.1, 5 is 5.0. */
  version: number;
  /** Clean session before 5.0. */
  cleanStart: boolean;
  /** Seconds, 0 for none. */
  keepAlive: number;
  /** May be empty: the broker then names the client. */
  clientId: string;
  username: string | null;
  password: Uint8Array | null;
  will: Will | null;
  /** MQTT 5.0 properties as sent, without their length; null for older versions. */
  properties: Uint8Array | null;
  /** Seconds; 0xffffffff never expires. */
  sessionExpiry: number;
  receiveMaximum: number;
  /** Bytes; null when the client named no limit. */
  maximumPacketSize: number | null;
  topicAliasMaximum: number;
}

export interface RefusedConnect {
  state: 'refused';
  /** A stable name, as in logs and metrics. */
  reason: string;
  /** Where in the packet the fault stands, in bytes. */
  offset: number;
  /** The protocol level that the client asked for, 0 if the packet ended before it. */
  version: number;
  /** What to send before closing: a CONNACK of the client's version, or nothing. */
  reply: Uint8Array;
}

export type ParsedConnect = CompleteConnect | { state: 'partial' } | RefusedConnect;

/**
 * Reads a CONNECT packet of MQTT 3.1, 3.1.1 or 5.0 from the first byte of `bytes`. `partial` asks for the same call again
 * with more bytes behind these. Byte fields of the result are views of `bytes`. Bad input is a result, never an exception;
 * throws RangeError for a `packetBytesMax` out of range, TypeError for `bytes` that are none.
 */
export function parseConnect(bytes: Uint8Array, options: ParseOptions = {}): ParsedConnect {
  if (!(bytes instanceof Uint8Array)) throw new TypeError(`bytes must be a Uint8Array or a Buffer, not ${kind(bytes)}`);
  const packetBytesMax = options.packetBytesMax ?? CONNECT_BYTES_LIMIT;
  if (!Number.isInteger(packetBytesMax) || packetBytesMax < 1 || packetBytesMax > CONNECT_BYTES_LIMIT) {
    throw new RangeError(
      `packetBytesMax must be a whole number from 1 to ${CONNECT_BYTES_LIMIT}, not ${packetBytesMax}`,
    );
  }
  parser ??= openParser();
  const { core, found, packet } = parser;
  const length = Math.min(bytes.length, CONNECT_BYTES_LIMIT);
  new Uint8Array(core.memory.buffer, packet, length).set(bytes.subarray(0, length));
  const state = core.parse_connect(packet, length, packetBytesMax, found.byteOffset);
  if (state === PARSE_PARTIAL) return { state: 'partial' };
  return state === PARSE_COMPLETE ? readComplete(found, bytes) : readRefused(parser);
}

interface Parser {
  core: CoreExports;
  found: DataView;
  reply: Uint8Array;
  packet: number;
}

let parser: Parser | undefined;

function openParser(): Parser {
  const core = openCore(CONNECT_BYTES + REFUSAL_BYTES_MAX + CONNECT_BYTES_LIMIT);
  const found = core.heap_base();
  const reply = found + CONNECT_BYTES;
  return {
    core,
    found: new DataView(core.memory.buffer, found, CONNECT_BYTES),
    reply: new Uint8Array(core.memory.buffer, reply, REFUSAL_BYTES_MAX),
    packet: reply + REFUSAL_BYTES_MAX,
  };
}

// ignoreBOM keeps a leading U+FEFF: MQTT forbids to strip it [MQTT-1.5.4-3].
const utf8 = new TextDecoder('utf-8', { ignoreBOM: true });

function readComplete(found: DataView, bytes: Uint8Array): CompleteConnect {
  const number = (offset: number) => found.getUint32(offset, true);
  // Each field is an offset followed by a length; an absent one has offset 0.
  const span = (offset: number) => {
    const start = number(offset);
    return start === 0 ? null : bytes.subarray(start, start + number(offset + 4));
  };
  const text = (offset: number) => utf8.decode(span(offset) ?? new Uint8Array(0));
  const flags = number(CONNECT_FLAGS);
  return {
    state: 'complete',
    packetBytes: number(CONNECT_PACKET_BYTES),
    version: number(CONNECT_VERSION),
    cleanStart: (flags & CONNECT_FLAG_CLEAN_START) !== 0,
    keepAlive: number(CONNECT_KEEP_ALIVE),
    clientId: text(CONNECT_CLIENT_ID),
    username: span(CONNECT_USERNAME) && text(CONNECT_USERNAME),
    password: span(CONNECT_PASSWORD),
    will:
      (flags & CONNECT_FLAG_WILL) === 0
        ? null
        : {
            topic: text(CONNECT_WILL_TOPIC),
            payload: span(CONNECT_WILL_PAYLOAD) ?? new Uint8Array(0),
            qos: ((flags & CONNECT_FLAG_WILL_QOS) >> 3) as 0 | 1 | 2,
            retain: (flags & CONNECT_FLAG_WILL_RETAIN) !== 0,
            properties: span(CONNECT_WILL_PROPERTIES),
          },
    properties: span(CONNECT_PROPERTIES),
    sessionExpiry: number(CONNECT_SESSION_EXPIRY),
    receiveMaximum: number(CONNECT_RECEIVE_MAXIMUM),
    maximumPacketSize: number(CONNECT_MAXIMUM_PACKET_SIZE) || null,
    topicAliasMaximum: number(CONNECT_TOPIC_ALIAS_MAXIMUM),
  };
}

function readRefused({ core, found, reply }: Parser): RefusedConnect {
  const reason = found.getUint32(CONNECT_REASON, true);
  const version = found.getUint32(CONNECT_VERSION, true);
  const replyBytes = core.write_refusal(reason, version, reply.byteOffset);
  return {
    state: 'refused',
    reason: reasons[reason]?.name ?? 'internal',
    offset: found.getUint32(CONNECT_REASON_OFFSET, true),
    version,
    reply: reply.slice(0, replyBytes),
  };
}

// ---- PROXY protocol --------------------------------------------------------------------------------------------------

export interface ProxyHeaderOptions {
  version: 'v1' | 'v2';
  /** Who the client is. */
  source: Address;
  /** What it has connected to. */
  destination: Address;
  /** Whole TLVs, for v2; a CRC32C comes behind them. */
  tlvs?: Uint8Array;
}

export type ParsedProxyHeader =
  | {
      state: 'complete';
      /** Length of the header; bytes behind it are the client's. */
      headerBytes: number;
      /** null when the header speaks of nobody (LOCAL, UNKNOWN): the socket's own addresses hold. */
      source: Address | null;
      destination: Address | null;
    }
  | { state: 'partial' }
  | { state: 'refused' };

/** A header to begin a connection with. Throws RangeError for hosts that are no IP addresses, and for TLVs that don't fit. */
export function encodeProxyHeader({ version, source, destination, tlvs = NO_BYTES }: ProxyHeaderOptions): Uint8Array {
  headers ??= openHeaders();
  const { core, found, bytes } = headers;
  const room = new Uint8Array(core.memory.buffer);
  const addresses = found.byteOffset;
  room.set(encodeSockaddr(source.host, source.port), addresses);
  room.set(encodeSockaddr(destination.host, destination.port), addresses + SOCKADDR_BYTES_MAX);
  const tlvsAt = bytes + PROXY_HEADER_BYTES_MAX;
  const length = tlvs.length > PROXY_HEADER_BYTES_MAX ? 0 : writeHeader();
  if (length === 0) throw new RangeError(`a PROXY header has at most ${PROXY_HEADER_BYTES_MAX} bytes`);
  return room.slice(bytes, bytes + length);

  function writeHeader(): number {
    room.set(tlvs, tlvsAt);
    const number = version === 'v1' ? PROXY_PROTOCOL_V1 : PROXY_PROTOCOL_V2;
    const to = addresses + SOCKADDR_BYTES_MAX;
    return core.write_proxy_header(number, addresses, to, tlvsAt, tlvs.length, bytes);
  }
}

/** Reads a PROXY header from the first byte of `bytes`; `partial` asks for the same call again with more bytes behind these. */
export function parseProxyHeader(bytes: Uint8Array): ParsedProxyHeader {
  headers ??= openHeaders();
  const { core, found, bytes: at } = headers;
  const length = Math.min(bytes.length, PROXY_HEADER_BYTES_MAX);
  new Uint8Array(core.memory.buffer, at, length).set(bytes.subarray(0, length));
  const state = core.parse_proxy_header(at, length, found.byteOffset);
  if (state === PARSE_PARTIAL) return { state: 'partial' };
  if (state !== PARSE_COMPLETE) return { state: 'refused' };
  const hasAddress = found.getUint32(PROXY_HEADER_HAS_ADDRESS, true) !== 0;
  const addressAt = (offset: number) =>
    decodeSockaddr(new Uint8Array(core.memory.buffer, found.byteOffset + offset, SOCKADDR_BYTES_MAX));
  return {
    state: 'complete',
    headerBytes: found.getUint32(PROXY_HEADER_BYTES_TOTAL, true),
    source: hasAddress ? addressAt(PROXY_HEADER_SOURCE) : null,
    destination: hasAddress ? addressAt(PROXY_HEADER_DESTINATION) : null,
  };
}

interface Headers {
  core: CoreExports;
  /** A ProxyHeader, or the two sockaddrs that go into one. */
  found: DataView;
  /** Room for the longest header, and for TLVs behind it. */
  bytes: number;
}

let headers: Headers | undefined;

function openHeaders(): Headers {
  const core = openCore(PROXY_HEADER_STRUCT_BYTES + 2 * PROXY_HEADER_BYTES_MAX);
  const found = core.heap_base();
  return {
    core,
    found: new DataView(core.memory.buffer, found, PROXY_HEADER_STRUCT_BYTES),
    bytes: found + PROXY_HEADER_STRUCT_BYTES,
  };
}

// ---- Tables ----------------------------------------------------------------------------------------------------------

export type Algorithm = 'rendezvous' | 'ketama';
export type Method = 'hash' | 'round_robin' | 'least_conn' | 'random_two';

export interface TableMember {
  /** The address as configured, such as `10.0.0.11:1883`. Names decide the hash: no two members share one. */
  name: string;
  /** Whole number from 0 (takes nobody) to 1000. Default 1. */
  weight?: number;
  /** True: chosen only when no other member is left. */
  backup?: boolean;
}

export interface TableOptions {
  algorithm: Algorithm;
  /** 1 to 64. */
  members: readonly TableMember[];
  /** Rows of a rendezvous table, a power of two from 256 to 2^20. Default 2^16. More rows, more even shares. */
  rows?: number;
  /** Keys the rendezvous hash, so that nobody can aim ClientIds at one member. Instances must share it. Ketama has none. */
  secret?: string;
  /** Methods other than `hash`, the default, need no table: their block holds the members alone. */
  method?: Method;
}

export interface Table {
  /** Name of the key's member. Throws TableError `no_member` when no member has a weight. */
  lookup(key: string | Uint8Array): string;
  /** Index of the key's member in `members`, -1 when no member has a weight. */
  index(key: string | Uint8Array): number;
  /** The key's hash, as `choose` wants it. */
  hash(key: string | Uint8Array): bigint;
  /**
   * Index of the member that a key of this hash goes to while the members are in these states, -1 when none takes it.
   * `health`: a HEALTH_* word of assembly/layout.ts for each member, by its index. For method `hash`.
   */
  choose(keyHash: bigint, health: Uint32Array): number;
  /** All members with a weight, in the order in which they would be tried for this key. */
  order(key: string | Uint8Array): string[];
  /** 16 hex digits; equal for tables that send every key the same way, in whatever order members were listed. */
  digest(): string;
  /** A copy of the relocatable pool block (see assembly/layout.ts); member i has backend id i until told otherwise. */
  block(): Uint8Array;
}

export type TableFault = 'member_count' | 'member_weight' | 'member_twice' | 'rows' | 'points' | 'no_member';

export class TableError extends RangeError {
  readonly code: TableFault;

  constructor(code: TableFault, message: string) {
    super(message);
    this.name = 'TableError';
    this.code = code;
  }
}

/**
 * Builds the table of a pool: some 50 ms for 64 members and 2^16 rows. Throws TableError for what can't be built, and
 * TypeError for what is no TableOptions.
 */
export function createTable(options: TableOptions): Table {
  return new BuiltTable(options);
}

/** Bytes that the table's block may take, without building it. Throws as createTable does. */
export function tableBytes(options: TableOptions): number {
  const { core, pool } = openPool(options);
  return core.table_block_bytes(pool);
}

const ALGORITHMS: Record<Algorithm, number> = { rendezvous: ALGORITHM_RENDEZVOUS, ketama: ALGORITHM_KETAMA };
const METHODS: Record<Method, number> = {
  hash: METHOD_HASH,
  round_robin: METHOD_ROUND_ROBIN,
  least_conn: METHOD_LEAST_CONN,
  random_two: METHOD_RANDOM_TWO,
};

const encoder = new TextEncoder();

// A table has a memory of its own, which goes with it:
//
//   heap_base   pool block | health, all up | health, as given | member order | key, as long as it needs; while building:
//               names, scratch
//
class BuiltTable implements Table {
  readonly #names: readonly string[];
  readonly #core: CoreExports;
  readonly #pool: number;
  readonly #health: number;
  readonly #healthGiven: number;
  readonly #order: number;
  readonly #key: number;

  constructor(options: TableOptions) {
    const { core, pool } = openPool(options);
    this.#names = options.members.map((member) => member.name);
    this.#core = core;
    this.#pool = pool;
    this.#health = this.#pool + this.#core.table_block_bytes(this.#pool);
    this.#healthGiven = this.#health + MEMBERS_MAX * 4;
    this.#order = this.#healthGiven + MEMBERS_MAX * 4;
    this.#key = this.#order + MEMBERS_MAX * 4;
    this.#build(options);
  }

  #build(options: TableOptions): void {
    const names = encodeNames(this.#names);
    const scratch = this.#key + names.length;
    grow(this.#core.memory, scratch + this.#core.table_scratch_bytes(this.#pool));
    new Uint8Array(this.#core.memory.buffer).set(names, this.#key);
    const fault = this.#core.table_build(this.#pool, this.#key, scratch);
    if (fault !== TABLE_BUILT) throw tableError(fault, options);
  }

  lookup(key: string | Uint8Array): string {
    const name = this.#names[this.index(key)];
    if (name === undefined) throw new TableError('no_member', 'no member of the table has a weight above 0');
    return name;
  }

  index(key: string | Uint8Array): number {
    const keyBytes = this.#writeKey(key);
    const index = this.#core.table_lookup(this.#pool, this.#key, keyBytes, this.#health) >>> 0;
    return index === NONE ? -1 : index;
  }

  hash(key: string | Uint8Array): bigint {
    return BigInt.asUintN(64, this.#core.hash_key(this.#pool, this.#key, this.#writeKey(key)));
  }

  choose(keyHash: bigint, health: Uint32Array): number {
    new Uint32Array(this.#core.memory.buffer, this.#healthGiven, this.#names.length).set(health);
    // Neither counters nor a random state are looked at for a key that has a hash.
    const index = this.#core.table_choose(this.#pool, 1, keyHash, 0n, this.#healthGiven, 0, 0) >>> 0;
    return index === NONE ? -1 : index;
  }

  order(key: string | Uint8Array): string[] {
    const keyHash = this.hash(key);
    const count = this.#core.table_order(this.#pool, keyHash, this.#health, this.#order);
    const indexes = new Uint32Array(this.#core.memory.buffer, this.#order, count);
    return Array.from(indexes, (index) => this.#names[index] as string);
  }

  digest(): string {
    return BigInt.asUintN(64, this.#core.table_digest(this.#pool)).toString(16).padStart(16, '0');
  }

  block(): Uint8Array {
    const view = new DataView(this.#core.memory.buffer, this.#pool);
    return new Uint8Array(this.#core.memory.buffer, this.#pool, view.getUint32(POOL_BLOCK_BYTES, true)).slice();
  }

  #writeKey(key: string | Uint8Array): number {
    if (typeof key !== 'string' && !(key instanceof Uint8Array)) {
      throw new TypeError(`a key is a string or a Uint8Array, not ${kind(key)}`);
    }
    // No character takes more than three bytes of UTF-8 for each unit of its UTF-16.
    grow(this.#core.memory, this.#key + key.length * 3);
    const room = new Uint8Array(this.#core.memory.buffer, this.#key);
    if (typeof key === 'string') return encoder.encodeInto(key, room).written;
    room.set(key);
    return key.length;
  }
}

/** A core of its own with the pool written and checked, ready for its table. */
function openPool(options: TableOptions): { core: CoreExports; pool: number } {
  checkTypes(options);
  checkMembers(options.members);
  const core = openCore(POOL_BYTES + MEMBERS_MAX * MEMBER_BYTES);
  const pool = core.heap_base();
  writePool(new DataView(core.memory.buffer, pool), options);
  const fault = core.table_check(pool);
  if (fault !== TABLE_BUILT) throw tableError(fault, options);
  return { core, pool };
}

// Plain JavaScript may pass anything.
function checkTypes(options: TableOptions): void {
  if (typeof options !== 'object' || options === null) {
    throw new TypeError(`a table needs { algorithm, members }, not ${kind(options)}`);
  }
  const { algorithm, method = 'hash', members, secret = '' } = options;
  if (!Object.hasOwn(ALGORITHMS, algorithm)) throw notOneOf('algorithm', ALGORITHMS, algorithm);
  if (!Object.hasOwn(METHODS, method)) throw notOneOf('method', METHODS, method);
  if (typeof secret !== 'string') throw new TypeError(`secret must be a string, not ${kind(secret)}`);
  if (!Array.isArray(members)) {
    throw new TypeError(`members must be an array such as [{ name: '10.0.0.11:1883' }], not ${kind(members)}`);
  }
  for (const [index, member] of members.entries()) {
    if (typeof member?.name === 'string') continue;
    throw new TypeError(`members[${index}] must be an object such as { name: '10.0.0.11:1883' }, not ${kind(member)}`);
  }
}

function notOneOf(option: string, known: object, value: unknown): TypeError {
  return new TypeError(`${option} must be ${Object.keys(known).join(' or ')}, not ${kind(value)}`);
}

function kind(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 40));
  if (Array.isArray(value)) return 'an array';
  return typeof value === 'object' && value !== null ? 'an object' : String(value);
}

// What the core could not see: it reads u32 weights, and has room for MEMBERS_MAX members before it can count them.
function checkMembers(members: readonly TableMember[]): void {
  if (members.length < 1 || members.length > MEMBERS_MAX) {
    throw new TableError('member_count', `a table needs 1 to ${MEMBERS_MAX} members, not ${members.length}`);
  }
  const names = new Set<string>();
  for (const { name, weight = 1 } of members) {
    if (names.has(name)) throw new TableError('member_twice', `${name} is a member of the table twice`);
    names.add(name);
    if (!Number.isInteger(weight) || weight < 0 || weight > WEIGHT_MAX) {
      throw new TableError(
        'member_weight',
        `${name}: a weight is a whole number from 0 to ${WEIGHT_MAX}, not ${weight}`,
      );
    }
  }
}

function writePool(view: DataView, options: TableOptions): void {
  view.setUint32(POOL_METHOD, METHODS[options.method ?? 'hash'], true);
  view.setUint32(POOL_ALGORITHM, ALGORITHMS[options.algorithm], true);
  view.setUint32(POOL_MEMBER_COUNT, options.members.length, true);
  view.setUint32(POOL_ENTRY_COUNT, options.rows ?? ROWS_DEFAULT, true);
  secretKey(options.secret ?? '').forEach((byte, index) => {
    view.setUint8(POOL_SECRET + index, byte);
  });
  options.members.forEach((member, index) => {
    const offset = POOL_BYTES + index * MEMBER_BYTES;
    view.setUint32(offset + MEMBER_BACKEND, index, true);
    view.setUint32(offset + MEMBER_WEIGHT, member.weight ?? 1, true);
    view.setUint32(offset + MEMBER_BACKUP, member.backup ? 1 : 0, true);
  });
}

/** The operator's text as a key of SipHash: the first 16 bytes of its SHA-256, zeros for no secret. */
function secretKey(secret: string): Uint8Array {
  if (secret === '') return new Uint8Array(SECRET_BYTES);
  return createHash('sha256').update(secret, 'utf8').digest().subarray(0, SECRET_BYTES);
}

/** For each name u32 offset and u32 length, then the texts, as table_build wants them. */
function encodeNames(names: readonly string[]): Uint8Array {
  const texts = names.map((name) => Buffer.from(name));
  const heads = Buffer.alloc(texts.length * 8);
  let offset = heads.length;
  texts.forEach((text, index) => {
    heads.writeUInt32LE(offset, index * 8);
    heads.writeUInt32LE(text.length, index * 8 + 4);
    offset += text.length;
  });
  return Buffer.concat([heads, ...texts]);
}

function tableError(fault: number, options: TableOptions): TableError {
  switch (fault) {
    case TABLE_MEMBER_COUNT:
      return new TableError('member_count', `a table needs 1 to ${MEMBERS_MAX} members`);
    case TABLE_MEMBER_WEIGHT:
      return new TableError('member_weight', `a weight is a whole number from 0 to ${WEIGHT_MAX}`);
    case TABLE_MEMBER_TWICE:
      return new TableError('member_twice', 'two members of a table have the same name');
    case TABLE_ROWS:
      return new TableError('rows', `rows is a power of two from ${ROWS_MIN} to ${ROWS_MAX}, not ${options.rows}`);
    case TABLE_POINTS: {
      const weightMax = Math.floor(POINTS_MAX / POINTS_PER_WEIGHT);
      const weight = options.members.reduce((sum, member) => sum + (member.weight ?? 1), 0);
      const expected = `expected weights that add up to at most ${weightMax} for algorithm: ketama`;
      return new TableError('points', `${expected}, found ${weight}`);
    }
    default:
      throw new Error(`table_build returned ${fault}, which is no TABLE_*`);
  }
}

// ---- The core module ---------------------------------------------------------------------------------------------------

interface CoreExports {
  memory: WebAssembly.Memory;
  heap_base(): number;
  parse_connect(bytes: number, length: number, packetBytesMax: number, out: number): number;
  write_refusal(reason: number, version: number, out: number): number;
  parse_proxy_header(bytes: number, length: number, out: number): number;
  write_proxy_header(
    version: number,
    source: number,
    destination: number,
    tlvs: number,
    tlvBytes: number,
    out: number,
  ): number;
  hash_key(pool: number, bytes: number, length: number): bigint;
  table_check(pool: number): number;
  table_block_bytes(pool: number): number;
  table_scratch_bytes(pool: number): number;
  table_build(pool: number, names: number, scratch: number): number;
  table_choose(
    pool: number,
    keyed: number,
    keyHash: bigint,
    tried: bigint,
    health: number,
    counters: number,
    random: number,
  ): number;
  table_lookup(pool: number, bytes: number, length: number, health: number): number;
  table_order(pool: number, keyHash: bigint, health: number, out: number): number;
  table_digest(pool: number): bigint;
}

let coreModule: WebAssembly.Module | undefined;

/** A new instance with a memory of its own, at least `heapBytes` of it free. */
function openCore(heapBytes: number): CoreExports {
  coreModule ??= compile('core.wasm');
  const memory = new WebAssembly.Memory({ initial: 1 });
  const core = instantiate<CoreExports>(coreModule, { env: { memory } });
  grow(memory, core.heap_base() + heapBytes);
  return core;
}

function grow(memory: WebAssembly.Memory, bytes: number): void {
  const missing = bytes - memory.buffer.byteLength;
  if (missing > 0) memory.grow(Math.ceil(missing / WASM_PAGE_BYTES));
}
