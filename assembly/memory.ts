// The shared structs as views over raw memory. layout.ts names the offsets for TypeScript; the bare `if` under each
// class is a compile-time check that both say the same (inside an inlined helper it would always fire).
import {
  BACKEND_COUNTERS_BYTES,
  BACKEND_COUNTERS_BYTES_FROM,
  BACKEND_COUNTERS_CONNECTS,
  COLD_BACKEND,
  COLD_BYTES,
  COLD_BYTES_FROM_CLIENT,
  COLD_CLIENT_ID,
  COLD_CLIENT_ID_BYTES,
  COLD_CLIENT_TICK,
  COLD_KEEP_ALIVE,
  COLD_LISTENER,
  COLD_MEMBER,
  COLD_OPENED_MS,
  COLD_PEER,
  COLD_PEER_BYTES,
  COLD_POOL,
  COLD_REASON,
  COLD_SENT_TICKS,
  COLD_TRIED,
  COLD_VERSION,
  CONNECT_BYTES,
  CONNECT_CLIENT_ID,
  CONNECT_PROPERTIES,
  CONNECT_REASON,
  CONNECT_SESSION_EXPIRY,
  CONNECT_USERNAME,
  CONNECT_WILL_PAYLOAD,
  COUNTERS_ACCEPT_ERRORS,
  COUNTERS_ARENA_USED,
  COUNTERS_RECORDS_DROPPED,
  HEADER_ACCEPTING,
  HEADER_ACCEPTS_IN_FLIGHT,
  HEADER_BYTES,
  HEADER_CLOCK_MS,
  HEADER_CONNECT,
  HEADER_CONNECTIONS_MAX,
  HEADER_ENTER_ARGUMENT,
  HEADER_EPOCH,
  HEADER_LISTENER_COUNT,
  HEADER_LISTENER_FDS,
  HEADER_MEMORY_BASE,
  HEADER_RANDOM_STATE,
  HEADER_RECORDS_READ,
  HEADER_REGION_BUFFERS,
  HEADER_REGION_COUNTERS,
  HEADER_REGION_END,
  HEADER_RING_PARAMS,
  HEADER_THREAD_ID,
  HEADER_TIMEOUT,
  HEADER_WAKE_VALUE,
  LISTENER_CONNECT_TIMEOUT_MS,
  LISTENER_ENTRY_BYTES,
  LISTENER_IDLE_TIMEOUT_MS,
  LISTENER_KEEP_ALIVE_PERCENT,
  LISTENERS_MAX,
  MEMBER_BACKUP,
  MEMBER_BYTES,
  MEMBER_NAME_HASH,
  MEMBER_SOCKADDR,
  MEMBER_SOCKADDR_BYTES,
  POOL_BLOCK_BYTES,
  POOL_BYTES,
  POOL_CONNECT_TIMEOUT_MS,
  POOL_ENTRY_COUNT,
  POOL_SECRET,
  RECORD_BACKEND,
  RECORD_CLIENT_ID,
  RECORD_CLIENT_ID_BYTES,
  RECORD_EPOCH,
  RECORD_PEER,
  SNAPSHOT_CONNECT_MAX_BYTES,
} from './layout';
import { GETEVENTS_BYTES, PARAMS_BYTES } from './uring/abi';

@unmanaged
export class Header {
  layoutVersion: u32;
  control: u32;
  state: u32;
  epoch: u32;
  epochSeen: u32;
  recordsWritten: u32;
  recordsRead: u32;
  ringFd: u32;
  clockMs: f64;
  wallMs: f64;
  memoryBase: u64;
  threadId: u32;
  _pad60: u32;
  connectionsMax: u32;
  bufferCount: u32;
  bufferBytes: u32;
  submissionEntries: u32;
  completionEntries: u32;
  recordsBytes: u32;
  arenaChunks: u32;
  workerIndex: u32;
  wakeFd: u32;
  listenerCount: u32;
  randomSeed: u32;
  acceptsInFlight: u32;
  _pad112: u64;
  _pad120: u64;
  counters: u32;
  backendCounters: u32;
  health: u32;
  snapshots: u32;
  records: u32;
  hot: u32;
  cold: u32;
  arena: u32;
  wheel: u32;
  rings: u32;
  buffers: u32;
  scratch: u32;
  end: u32;
}
if (offsetof<Header>('epoch') != HEADER_EPOCH) ERROR('Header.epoch moved');
if (offsetof<Header>('recordsRead') != HEADER_RECORDS_READ) ERROR('Header.recordsRead moved');
if (offsetof<Header>('clockMs') != HEADER_CLOCK_MS) ERROR('Header.clockMs moved');
if (offsetof<Header>('memoryBase') != HEADER_MEMORY_BASE) ERROR('Header.memoryBase moved');
if (offsetof<Header>('threadId') != HEADER_THREAD_ID) ERROR('Header.threadId moved');
if (offsetof<Header>('connectionsMax') != HEADER_CONNECTIONS_MAX) ERROR('Header.connectionsMax moved');
if (offsetof<Header>('listenerCount') != HEADER_LISTENER_COUNT) ERROR('Header.listenerCount moved');
if (offsetof<Header>('acceptsInFlight') != HEADER_ACCEPTS_IN_FLIGHT) ERROR('Header.acceptsInFlight moved');
if (offsetof<Header>('counters') != HEADER_REGION_COUNTERS) ERROR('Header.counters moved');
if (offsetof<Header>('buffers') != HEADER_REGION_BUFFERS) ERROR('Header.buffers moved');
if (offsetof<Header>('end') != HEADER_REGION_END) ERROR('Header.end moved');

// The areas behind the fields, in the order in which they lie: none reaches into the next.
if (HEADER_REGION_END + 4 > HEADER_LISTENER_FDS) ERROR('the regions reach into the listeners');
if (HEADER_LISTENER_FDS + LISTENERS_MAX * 4 > HEADER_RING_PARAMS) ERROR('the listeners reach into the parameters');
if (HEADER_RING_PARAMS + PARAMS_BYTES > HEADER_ENTER_ARGUMENT) ERROR('the parameters reach into the argument');
if (HEADER_ENTER_ARGUMENT + GETEVENTS_BYTES > HEADER_TIMEOUT) ERROR('the argument reaches into the timeout');
if (HEADER_TIMEOUT + 16 > HEADER_WAKE_VALUE) ERROR('the timeout reaches into the wake value');
if (HEADER_RANDOM_STATE + 8 > HEADER_CONNECT) ERROR('the random state reaches into Connect');
if (HEADER_CONNECT + CONNECT_BYTES > HEADER_ACCEPTING) ERROR('Connect reaches into the accepts');
if (HEADER_ACCEPTING + LISTENERS_MAX * 4 > HEADER_BYTES) ERROR('the accepts reach past the header');

@unmanaged
export class Counters {
  accepted: u64;
  closed: u64;
  bytesFromClients: u64;
  bytesToClients: u64;
  recordsDropped: u64;
  buffersHeld: u64;
  buffersStarved: u64;
  turns: u64;
  completions: u64;
  slotsUsed: u64;
  arenaUsed: u64;
  acceptErrors: u64;
}
if (offsetof<Counters>('recordsDropped') != COUNTERS_RECORDS_DROPPED) ERROR('Counters.recordsDropped moved');
if (offsetof<Counters>('arenaUsed') != COUNTERS_ARENA_USED) ERROR('Counters.arenaUsed moved');
if (offsetof<Counters>('acceptErrors') != COUNTERS_ACCEPT_ERRORS) ERROR('Counters.acceptErrors moved');

@unmanaged
export class BackendCounters {
  active: u32;
  currentWeight: i32;
  connects: u64;
  failures: u64;
  chosen: u64;
  bytesTo: u64;
  bytesFrom: u64;
  _pad48: u64;
  _pad56: u64;
}
if (offsetof<BackendCounters>() != BACKEND_COUNTERS_BYTES) ERROR('BackendCounters changed its size');
if (offsetof<BackendCounters>('connects') != BACKEND_COUNTERS_CONNECTS) ERROR('BackendCounters.connects moved');
if (offsetof<BackendCounters>('bytesFrom') != BACKEND_COUNTERS_BYTES_FROM) ERROR('BackendCounters.bytesFrom moved');

@unmanaged
export class SnapshotHalf {
  epoch: u32;
  listenerCount: u32;
  poolCount: u32;
  connectMaxBytes: u32;
}
if (offsetof<SnapshotHalf>('connectMaxBytes') != SNAPSHOT_CONNECT_MAX_BYTES)
  ERROR('SnapshotHalf.connectMaxBytes moved');

@unmanaged
export class ListenerEntry {
  pool: u32;
  connectTimeoutMs: u32;
  keepAlivePercent: u32;
  idleTimeoutMs: u32;
  _pad16: u64;
  _pad24: u64;
}
if (offsetof<ListenerEntry>() != LISTENER_ENTRY_BYTES) ERROR('ListenerEntry changed its size');
if (offsetof<ListenerEntry>('idleTimeoutMs') != LISTENER_IDLE_TIMEOUT_MS) ERROR('ListenerEntry.idleTimeoutMs moved');
if (offsetof<ListenerEntry>('keepAlivePercent') != LISTENER_KEEP_ALIVE_PERCENT)
  ERROR('ListenerEntry.keepAlivePercent moved');
if (offsetof<ListenerEntry>('connectTimeoutMs') != LISTENER_CONNECT_TIMEOUT_MS)
  ERROR('ListenerEntry.connectTimeoutMs moved');

@unmanaged
export class Pool {
  method: u32;
  key: u32;
  algorithm: u32;
  memberCount: u32;
  entryCount: u32;
  members: u32;
  table: u32;
  blockBytes: u32;
  secret0: u64;
  secret1: u64;
  connectTimeoutMs: u32;
  _pad52: u32;
  _pad56: u64;
}
if (offsetof<Pool>() != POOL_BYTES) ERROR('Pool changed its size');
if (offsetof<Pool>('entryCount') != POOL_ENTRY_COUNT) ERROR('Pool.entryCount moved');
if (offsetof<Pool>('blockBytes') != POOL_BLOCK_BYTES) ERROR('Pool.blockBytes moved');
if (offsetof<Pool>('secret0') != POOL_SECRET) ERROR('Pool.secret0 moved');
if (offsetof<Pool>('connectTimeoutMs') != POOL_CONNECT_TIMEOUT_MS) ERROR('Pool.connectTimeoutMs moved');

@unmanaged
export class Member {
  backend: u32;
  weight: u32;
  backup: u32;
  sockaddrBytes: u32;
  _sockaddr0: u64;
  _sockaddr8: u64;
  _sockaddr16: u64;
  _sockaddr24: u64;
  nameHash: u64;
  _pad56: u64;
}
if (offsetof<Member>() != MEMBER_BYTES) ERROR('Member changed its size');
if (offsetof<Member>('backup') != MEMBER_BACKUP) ERROR('Member.backup moved');
if (offsetof<Member>('sockaddrBytes') != MEMBER_SOCKADDR_BYTES) ERROR('Member.sockaddrBytes moved');
if (offsetof<Member>('_sockaddr0') != MEMBER_SOCKADDR) ERROR('Member.sockaddr moved');
if (offsetof<Member>('nameHash') != MEMBER_NAME_HASH) ERROR('Member.nameHash moved');

@unmanaged
export class Connect {
  packetBytes: u32;
  version: u32;
  flags: u32;
  keepAlive: u32;
  clientId: u32;
  clientIdBytes: u32;
  username: u32;
  usernameBytes: u32;
  password: u32;
  passwordBytes: u32;
  willTopic: u32;
  willTopicBytes: u32;
  willPayload: u32;
  willPayloadBytes: u32;
  properties: u32;
  propertiesBytes: u32;
  willProperties: u32;
  willPropertiesBytes: u32;
  sessionExpiry: u32;
  receiveMaximum: u32;
  maximumPacketSize: u32;
  topicAliasMaximum: u32;
  reason: u32;
  reasonOffset: u32;
}
if (offsetof<Connect>() != CONNECT_BYTES) ERROR('Connect changed its size');
if (offsetof<Connect>('clientId') != CONNECT_CLIENT_ID) ERROR('Connect.clientId moved');
if (offsetof<Connect>('username') != CONNECT_USERNAME) ERROR('Connect.username moved');
if (offsetof<Connect>('willPayload') != CONNECT_WILL_PAYLOAD) ERROR('Connect.willPayload moved');
if (offsetof<Connect>('properties') != CONNECT_PROPERTIES) ERROR('Connect.properties moved');
if (offsetof<Connect>('sessionExpiry') != CONNECT_SESSION_EXPIRY) ERROR('Connect.sessionExpiry moved');
if (offsetof<Connect>('reason') != CONNECT_REASON) ERROR('Connect.reason moved');

/** What stays of a connection while it is idle, beside its hot line; see proxy/connection.ts for who writes what. */
@unmanaged
export class Cold {
  bytesFromClient: u64;
  bytesToClient: u64;
  openedMs: f64;
  keyHash: u64;
  tried: u64;
  _peer0: u64;
  _peer8: u64;
  _peer16: u64;
  _peer24: u32;
  peerBytes: u32;
  listener: u16;
  pool: u16;
  member: u16;
  reason: u16;
  backend: u32;
  sentTickToBackend: u32;
  sentTickToClient: u32;
  keepAlive: u16;
  version: u8;
  /** Last byte of the snapshot's epoch that pool, member and tried speak of. */
  epoch: u8;
  clientTick: u32;
  clientIdBytes: u32;
  clientId: u32;
  _clientId4: u32;
  _clientId8: u64;
  _clientId16: u64;
}
if (offsetof<Cold>() != COLD_BYTES) ERROR('Cold changed its size');
if (offsetof<Cold>('bytesFromClient') != COLD_BYTES_FROM_CLIENT) ERROR('Cold.bytesFromClient moved');
if (offsetof<Cold>('openedMs') != COLD_OPENED_MS) ERROR('Cold.openedMs moved');
if (offsetof<Cold>('tried') != COLD_TRIED) ERROR('Cold.tried moved');
if (offsetof<Cold>('_peer0') != COLD_PEER) ERROR('Cold.peer moved');
if (offsetof<Cold>('peerBytes') != COLD_PEER_BYTES) ERROR('Cold.peerBytes moved');
if (offsetof<Cold>('listener') != COLD_LISTENER) ERROR('Cold.listener moved');
if (offsetof<Cold>('backend') != COLD_BACKEND) ERROR('Cold.backend moved');
if (offsetof<Cold>('pool') != COLD_POOL) ERROR('Cold.pool moved');
if (offsetof<Cold>('member') != COLD_MEMBER) ERROR('Cold.member moved');
if (offsetof<Cold>('reason') != COLD_REASON) ERROR('Cold.reason moved');
if (offsetof<Cold>('sentTickToBackend') != COLD_SENT_TICKS) ERROR('Cold.sentTickToBackend moved');
if (offsetof<Cold>('keepAlive') != COLD_KEEP_ALIVE) ERROR('Cold.keepAlive moved');
if (offsetof<Cold>('version') != COLD_VERSION) ERROR('Cold.version moved');
if (offsetof<Cold>('clientTick') != COLD_CLIENT_TICK) ERROR('Cold.clientTick moved');
if (offsetof<Cold>('clientIdBytes') != COLD_CLIENT_ID_BYTES) ERROR('Cold.clientIdBytes moved');
if (offsetof<Cold>('clientId') != COLD_CLIENT_ID) ERROR('Cold.clientId moved');

/** One end of a connection in the access log; the ClientId follows. */
@unmanaged
export class AccessRecord {
  bytesTotal: u32;
  reason: u32;
  openedMs: f64;
  closedMs: f64;
  bytesFromClient: u64;
  bytesToClient: u64;
  backend: u32;
  listener: u32;
  version: u32;
  keepAlive: u32;
  attempts: u32;
  clientIdBytes: u32;
  _peer0: u64;
  _peer8: u64;
  _peer16: u64;
  _peer24: u32;
  epoch: u32;
}
if (offsetof<AccessRecord>() != RECORD_CLIENT_ID) ERROR('AccessRecord changed its size');
if (offsetof<AccessRecord>('backend') != RECORD_BACKEND) ERROR('AccessRecord.backend moved');
if (offsetof<AccessRecord>('clientIdBytes') != RECORD_CLIENT_ID_BYTES) ERROR('AccessRecord.clientIdBytes moved');
if (offsetof<AccessRecord>('_peer0') != RECORD_PEER) ERROR('AccessRecord.peer moved');
if (offsetof<AccessRecord>('epoch') != RECORD_EPOCH) ERROR('AccessRecord.epoch moved');

/** Members follow the pool directly; pool.members says so to those who read the block in TypeScript. */
export function memberAt(pool: Pool, index: u32): Member {
  assert(index < pool.memberCount);
  return changetype<Member>(changetype<usize>(pool) + POOL_BYTES + <usize>index * MEMBER_BYTES);
}
