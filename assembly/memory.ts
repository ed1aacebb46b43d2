// The shared structs as views over raw memory. layout.ts names the offsets for TypeScript; the bare `if` under each
// class is a compile-time check that both say the same (inside an inlined helper it would always fire).
import {
  ADMISSION_BYTES,
  ADMISSION_LEASES_SEEN,
  ADMISSION_LEASES_WRITTEN,
  ADMISSION_QUEUED,
  ADMISSION_SESSIONS_BEGUN,
  ADMISSION_WORKERS,
  ASK_BYTES_TOTAL,
  ASK_CONNECT,
  ASK_CONNECT_BYTES,
  ASK_GENERATION,
  ASK_HOOK,
  ASK_PEER,
  ASK_SLOT,
  BACKEND_COUNTERS_ACTIVE,
  BACKEND_COUNTERS_BYTES,
  BACKEND_COUNTERS_BYTES_FROM,
  BACKEND_COUNTERS_BYTES_TO,
  BACKEND_COUNTERS_CHOSEN,
  BACKEND_COUNTERS_CONNECTS,
  BACKEND_COUNTERS_CURRENT_WEIGHT,
  BACKEND_COUNTERS_EXHAUSTED,
  BACKEND_COUNTERS_FAILURES,
  BACKEND_COUNTERS_SOURCE_TURN,
  BACKEND_FIGURES_BYTES,
  BACKEND_FIGURES_CONNACK,
  BACKEND_LIMITS_BURST,
  BACKEND_LIMITS_BYTES,
  BACKEND_LIMITS_CREWS,
  BACKEND_LIMITS_MAX_CONNECTIONS,
  BACKEND_LIMITS_RATE,
  COLD_BACKEND,
  COLD_BYTES,
  COLD_BYTES_FROM_CLIENT,
  COLD_BYTES_TO_CLIENT,
  COLD_CHOICE,
  COLD_CLIENT_ID,
  COLD_CLIENT_ID_BYTES,
  COLD_CLIENT_TICK,
  COLD_FRAMING,
  COLD_GREETING,
  COLD_KEEP_ALIVE,
  COLD_KEY_HASH,
  COLD_LISTENER,
  COLD_MEMBER,
  COLD_OPENED_MS,
  COLD_PEER,
  COLD_POOL,
  COLD_REASON,
  COLD_SENT_TICKS,
  COLD_SOURCE,
  COLD_STAMP_US,
  COLD_TRIED,
  COLD_VERSION,
  CONNECT_BYTES,
  CONNECT_CLIENT_ID,
  CONNECT_CLIENT_ID_BYTES,
  CONNECT_FLAGS,
  CONNECT_KEEP_ALIVE,
  CONNECT_MAXIMUM_PACKET_SIZE,
  CONNECT_PACKET_BYTES,
  CONNECT_PASSWORD,
  CONNECT_PASSWORD_BYTES,
  CONNECT_PROPERTIES,
  CONNECT_PROPERTIES_BYTES,
  CONNECT_REASON,
  CONNECT_REASON_OFFSET,
  CONNECT_RECEIVE_MAXIMUM,
  CONNECT_SESSION_EXPIRY,
  CONNECT_TOPIC_ALIAS_MAXIMUM,
  CONNECT_USERNAME,
  CONNECT_USERNAME_BYTES,
  CONNECT_VERSION,
  CONNECT_WILL_PAYLOAD,
  CONNECT_WILL_PAYLOAD_BYTES,
  CONNECT_WILL_PROPERTIES,
  CONNECT_WILL_PROPERTIES_BYTES,
  CONNECT_WILL_TOPIC,
  CONNECT_WILL_TOPIC_BYTES,
  COUNTERS_ACCEPT_ERRORS,
  COUNTERS_ACCEPTED,
  COUNTERS_ARENA_USED,
  COUNTERS_BUFFERS_HELD,
  COUNTERS_BUFFERS_STARVED,
  COUNTERS_BYTES_FROM_CLIENTS,
  COUNTERS_BYTES_TO_CLIENTS,
  COUNTERS_CLOSED,
  COUNTERS_COMPLETIONS,
  COUNTERS_RECORDS_DROPPED,
  COUNTERS_SLOTS_USED,
  COUNTERS_TLS_HANDSHAKES,
  COUNTERS_TLS_RESUMED,
  COUNTERS_TURNS,
  DECISION_BYTES_TOTAL,
  DECISION_CLIENT_ID_BYTES,
  DECISION_CODE,
  DECISION_GENERATION,
  DECISION_KEY_BYTES,
  DECISION_PASSWORD_BYTES,
  DECISION_POOL,
  DECISION_SLOT,
  DECISION_TEXTS,
  DECISION_USERNAME_BYTES,
  DECISION_VERDICT,
  DRAIN_BYTES,
  DRAIN_ORPHAN_INTERVAL_US,
  DRAIN_PACKETS,
  DRAIN_REFERENCE_BYTES,
  EVICTION_BYTES,
  EVICTION_CODE,
  EVICTION_FLAGS,
  EVICTION_GENERATION,
  EVICTION_REASON,
  EVICTION_REFERENCE,
  EVICTION_SLOT,
  GATE_ACTIVE,
  GATE_ALLOWANCE,
  GATE_BYTES,
  GATE_FILLED_MS,
  GATE_HEAD,
  GATE_IS_FULL,
  GATE_POOL,
  GATE_PREFIXES,
  GATE_QUEUED_TOTAL,
  GATE_TAIL,
  GATE_TOKENS,
  GATE_WAITING,
  GATE_WANTED,
  HEADER_ACCEPTING,
  HEADER_ACCEPTS_IN_FLIGHT,
  HEADER_AGE_BOUNDS,
  HEADER_ARENA_CHUNKS,
  HEADER_ASKS_READ,
  HEADER_ASKS_WRITTEN,
  HEADER_BUFFER_BYTES,
  HEADER_BUFFER_COUNT,
  HEADER_BUFFERS_PROVIDED,
  HEADER_BYTES,
  HEADER_CLOCK_MS,
  HEADER_COMPLETION_ENTRIES,
  HEADER_CONNECT,
  HEADER_CONNECTIONS_MAX,
  HEADER_CONTROL,
  HEADER_DECISIONS_READ,
  HEADER_DECISIONS_WRITTEN,
  HEADER_ENTER_ARGUMENT,
  HEADER_EPOCH,
  HEADER_EPOCH_SEEN,
  HEADER_EVICTIONS_READ,
  HEADER_EVICTIONS_WRITTEN,
  HEADER_ID_KEY_0,
  HEADER_ID_KEY_1,
  HEADER_KEEP_ALIVE_BOUNDS,
  HEADER_LAYOUT_VERSION,
  HEADER_LISTENER_ACTIVE,
  HEADER_LISTENER_FDS,
  HEADER_MEMORY_BASE,
  HEADER_ORPHANS_DUE_MS,
  HEADER_PORTS_CROWDED,
  HEADER_PROXY_HEADER,
  HEADER_QUIET_MS,
  HEADER_RANDOM_SEED,
  HEADER_RANDOM_STATE,
  HEADER_RECEIVE_LIMIT,
  HEADER_RECORDS_BYTES,
  HEADER_RECORDS_READ,
  HEADER_RECORDS_WRITTEN,
  HEADER_REGION_ADMISSION,
  HEADER_REGION_ARENA,
  HEADER_REGION_ASKS,
  HEADER_REGION_BACKEND_COUNTERS,
  HEADER_REGION_BUFFERS,
  HEADER_REGION_COLD,
  HEADER_REGION_COUNTERS,
  HEADER_REGION_DECISIONS,
  HEADER_REGION_END,
  HEADER_REGION_EVICTIONS,
  HEADER_REGION_GREETINGS,
  HEADER_REGION_HEALTH,
  HEADER_REGION_HOT,
  HEADER_REGION_RECORDS,
  HEADER_REGION_RINGS,
  HEADER_REGION_SCRATCH,
  HEADER_REGION_SNAPSHOTS,
  HEADER_REGION_SOURCE_COUNTERS,
  HEADER_REGION_WHEEL,
  HEADER_RING_FD,
  HEADER_RING_PARAMS,
  HEADER_SESSIONS,
  HEADER_SLOTS_END,
  HEADER_STATE,
  HEADER_SUBMISSION_ENTRIES,
  HEADER_THREAD_ID,
  HEADER_TIMEOUT,
  HEADER_WAKE_FD,
  HEADER_WAKE_VALUE,
  HEADER_WALL_MS,
  HEADER_WORKER_INDEX,
  HISTOGRAM_BOUNDS,
  HOOK_ACCEPTS,
  HOOK_BYTES,
  HOOK_ID,
  HOOK_TIMEOUT_MS,
  IDENTITY_BYTES,
  IDENTITY_CLIENT_ID,
  IDENTITY_CLIENT_ID_DENIED,
  IDENTITY_CLIENT_ID_PATTERNS,
  IDENTITY_EMPTY,
  IDENTITY_PASSWORD,
  IDENTITY_USERNAME,
  IDENTITY_USERNAME_DENIED,
  IDENTITY_USERNAME_PATTERNS,
  IDENTITY_USERNAME_REQUIRED,
  LATENCIES_BYTES,
  LISTENER_ADDRESSES,
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
  LISTENERS_MAX,
  MEMBER_BACKEND,
  MEMBER_BACKUP,
  MEMBER_BYTES,
  MEMBER_NAME_HASH,
  MEMBER_SOCKADDR,
  MEMBER_SOCKADDR_BYTES,
  MEMBER_WEIGHT,
  MEMBERS_MAX,
  PAUSE_BYTES,
  PAUSE_TAG,
  PAUSE_UNTIL_MS,
  PLACE_BYTES,
  PLACE_LANE,
  PLACE_NEXT,
  PLACE_PREVIOUS,
  PLACE_SINCE_TICK,
  POOL_ALGORITHM,
  POOL_BLOCK_BYTES,
  POOL_BYTES,
  POOL_CONNECT_TIMEOUT_MS,
  POOL_DRAIN,
  POOL_ENTRY_COUNT,
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
  POOL_MEMBER_COUNT,
  POOL_MEMBERS,
  POOL_METHOD,
  POOL_PROXY_PROTOCOL,
  POOL_SECRET,
  POOL_SOURCE_COUNT,
  POOL_SOURCES,
  POOL_TABLE,
  POOLS_MAX,
  PROXY_HEADER_BYTES_TOTAL,
  PROXY_HEADER_DESTINATION,
  PROXY_HEADER_HAS_ADDRESS,
  PROXY_HEADER_SOURCE,
  PROXY_HEADER_STRUCT_BYTES,
  RECORD_ATTEMPTS,
  RECORD_BACKEND,
  RECORD_BYTES_FROM_CLIENT,
  RECORD_BYTES_TO_CLIENT,
  RECORD_BYTES_TOTAL,
  RECORD_CLIENT_ID,
  RECORD_CLIENT_ID_BYTES,
  RECORD_CLOSED_MS,
  RECORD_EPOCH,
  RECORD_KEEP_ALIVE,
  RECORD_LISTENER,
  RECORD_OPENED_MS,
  RECORD_PEER,
  RECORD_REASON,
  RECORD_VERSION,
  SESSION_BYTES,
  SESSION_CONNECT_MS,
  SESSION_ENDED_MS,
  SESSION_GENERATION,
  SESSION_LISTENER,
  SESSION_OTHER_PEER,
  SESSION_OVERLAPS,
  SESSION_PEER,
  SESSION_SERIAL,
  SESSION_SLOT,
  SESSION_TAG,
  SNAPSHOT_CONNECT_MAX_BYTES,
  SNAPSHOT_EPOCH,
  SNAPSHOT_LISTENER_COUNT,
  SNAPSHOT_POOL_COUNT,
  SOCKADDR_BYTES_MAX,
  SOURCE_BYTES,
  SOURCE_COUNTERS_ACTIVE,
  SOURCE_COUNTERS_BYTES,
  SOURCE_COUNTERS_EXHAUSTED,
  SOURCE_COUNTERS_REST_TICK,
  SOURCE_ID,
  SOURCE_IDS_MAX,
  SOURCE_SOCKADDR,
  SOURCE_SOCKADDR_BYTES,
  SOURCES_MAX,
  TALLY_BYTES,
  TALLY_MARKS,
  TALLY_POOL,
  TEXT_BYTES,
  TEXT_FIELDS,
  TEXT_TOKEN_COUNT,
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
  slotsEnd: u32;
  connectionsMax: u32;
  bufferCount: u32;
  bufferBytes: u32;
  submissionEntries: u32;
  completionEntries: u32;
  recordsBytes: u32;
  arenaChunks: u32;
  workerIndex: u32;
  wakeFd: u32;
  sessions: u32;
  randomSeed: u32;
  acceptsInFlight: u32;
  receiveLimit: u32;
  buffersProvided: u32;
  quietMs: u32;
  portsCrowded: u32;
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
  sourceCounters: u32;
  evictions: u32;
  admission: u32;
  greetings: u32;
  asks: u32;
  decisions: u32;
  end: u32;
  evictionsWritten: u32;
  evictionsRead: u32;
  asksWritten: u32;
  asksRead: u32;
  decisionsWritten: u32;
  decisionsRead: u32;
  _pad228: u32;
  idKey0: u64;
  idKey1: u64;
}
if (offsetof<Header>('slotsEnd') != HEADER_SLOTS_END) ERROR('Header.slotsEnd moved');
if (offsetof<Header>('admission') != HEADER_REGION_ADMISSION) ERROR('Header.admission moved');
if (offsetof<Header>('greetings') != HEADER_REGION_GREETINGS) ERROR('Header.greetings moved');
if (offsetof<Header>('evictions') != HEADER_REGION_EVICTIONS) ERROR('Header.evictions moved');
if (offsetof<Header>('evictionsWritten') != HEADER_EVICTIONS_WRITTEN) ERROR('Header.evictionsWritten moved');
if (offsetof<Header>('idKey0') != HEADER_ID_KEY_0) ERROR('Header.idKey0 moved');
if (offsetof<Header>('idKey1') != HEADER_ID_KEY_1) ERROR('Header.idKey1 moved');
if (offsetof<Header>('evictionsRead') != HEADER_EVICTIONS_READ) ERROR('Header.evictionsRead moved');
if (offsetof<Header>('asks') != HEADER_REGION_ASKS) ERROR('Header.asks moved');
if (offsetof<Header>('decisions') != HEADER_REGION_DECISIONS) ERROR('Header.decisions moved');
if (offsetof<Header>('asksWritten') != HEADER_ASKS_WRITTEN) ERROR('Header.asksWritten moved');
if (offsetof<Header>('asksRead') != HEADER_ASKS_READ) ERROR('Header.asksRead moved');
if (offsetof<Header>('decisionsWritten') != HEADER_DECISIONS_WRITTEN) ERROR('Header.decisionsWritten moved');
if (offsetof<Header>('decisionsRead') != HEADER_DECISIONS_READ) ERROR('Header.decisionsRead moved');
if (offsetof<Header>('workerIndex') != HEADER_WORKER_INDEX) ERROR('Header.workerIndex moved');
if (offsetof<Header>('wallMs') != HEADER_WALL_MS) ERROR('Header.wallMs moved');
if (offsetof<Header>('wakeFd') != HEADER_WAKE_FD) ERROR('Header.wakeFd moved');
if (offsetof<Header>('submissionEntries') != HEADER_SUBMISSION_ENTRIES) ERROR('Header.submissionEntries moved');
if (offsetof<Header>('state') != HEADER_STATE) ERROR('Header.state moved');
if (offsetof<Header>('ringFd') != HEADER_RING_FD) ERROR('Header.ringFd moved');
if (offsetof<Header>('wheel') != HEADER_REGION_WHEEL) ERROR('Header.wheel moved');
if (offsetof<Header>('snapshots') != HEADER_REGION_SNAPSHOTS) ERROR('Header.snapshots moved');
if (offsetof<Header>('scratch') != HEADER_REGION_SCRATCH) ERROR('Header.scratch moved');
if (offsetof<Header>('rings') != HEADER_REGION_RINGS) ERROR('Header.rings moved');
if (offsetof<Header>('records') != HEADER_REGION_RECORDS) ERROR('Header.records moved');
if (offsetof<Header>('hot') != HEADER_REGION_HOT) ERROR('Header.hot moved');
if (offsetof<Header>('health') != HEADER_REGION_HEALTH) ERROR('Header.health moved');
if (offsetof<Header>('cold') != HEADER_REGION_COLD) ERROR('Header.cold moved');
if (offsetof<Header>('backendCounters') != HEADER_REGION_BACKEND_COUNTERS) ERROR('Header.backendCounters moved');
if (offsetof<Header>('arena') != HEADER_REGION_ARENA) ERROR('Header.arena moved');
if (offsetof<Header>('recordsWritten') != HEADER_RECORDS_WRITTEN) ERROR('Header.recordsWritten moved');
if (offsetof<Header>('recordsBytes') != HEADER_RECORDS_BYTES) ERROR('Header.recordsBytes moved');
if (offsetof<Header>('randomSeed') != HEADER_RANDOM_SEED) ERROR('Header.randomSeed moved');
if (offsetof<Header>('layoutVersion') != HEADER_LAYOUT_VERSION) ERROR('Header.layoutVersion moved');
if (offsetof<Header>('epochSeen') != HEADER_EPOCH_SEEN) ERROR('Header.epochSeen moved');
if (offsetof<Header>('control') != HEADER_CONTROL) ERROR('Header.control moved');
if (offsetof<Header>('completionEntries') != HEADER_COMPLETION_ENTRIES) ERROR('Header.completionEntries moved');
if (offsetof<Header>('bufferCount') != HEADER_BUFFER_COUNT) ERROR('Header.bufferCount moved');
if (offsetof<Header>('bufferBytes') != HEADER_BUFFER_BYTES) ERROR('Header.bufferBytes moved');
if (offsetof<Header>('arenaChunks') != HEADER_ARENA_CHUNKS) ERROR('Header.arenaChunks moved');
if (offsetof<Header>('epoch') != HEADER_EPOCH) ERROR('Header.epoch moved');
if (offsetof<Header>('recordsRead') != HEADER_RECORDS_READ) ERROR('Header.recordsRead moved');
if (offsetof<Header>('clockMs') != HEADER_CLOCK_MS) ERROR('Header.clockMs moved');
if (offsetof<Header>('memoryBase') != HEADER_MEMORY_BASE) ERROR('Header.memoryBase moved');
if (offsetof<Header>('threadId') != HEADER_THREAD_ID) ERROR('Header.threadId moved');
if (offsetof<Header>('connectionsMax') != HEADER_CONNECTIONS_MAX) ERROR('Header.connectionsMax moved');
if (offsetof<Header>('buffersProvided') != HEADER_BUFFERS_PROVIDED) ERROR('Header.buffersProvided moved');
if (offsetof<Header>('portsCrowded') != HEADER_PORTS_CROWDED) ERROR('Header.portsCrowded moved');
if (offsetof<Header>('sessions') != HEADER_SESSIONS) ERROR('Header.sessions moved');
if (offsetof<Header>('quietMs') != HEADER_QUIET_MS) ERROR('Header.quietMs moved');
if (offsetof<Header>('receiveLimit') != HEADER_RECEIVE_LIMIT) ERROR('Header.receiveLimit moved');
if (offsetof<Header>('acceptsInFlight') != HEADER_ACCEPTS_IN_FLIGHT) ERROR('Header.acceptsInFlight moved');
if (offsetof<Header>('counters') != HEADER_REGION_COUNTERS) ERROR('Header.counters moved');
if (offsetof<Header>('buffers') != HEADER_REGION_BUFFERS) ERROR('Header.buffers moved');
if (offsetof<Header>('sourceCounters') != HEADER_REGION_SOURCE_COUNTERS) ERROR('Header.sourceCounters moved');
if (offsetof<Header>('end') != HEADER_REGION_END) ERROR('Header.end moved');

// The areas behind the fields, in the order in which they lie: none reaches into the next.
if (HEADER_REGION_END + 4 > HEADER_EVICTIONS_WRITTEN) ERROR('the regions reach into the evictions');
if (HEADER_ID_KEY_1 + 8 > HEADER_LISTENER_FDS) ERROR('the regions reach into the listeners');
if (HEADER_LISTENER_FDS + LISTENERS_MAX * 4 > HEADER_RING_PARAMS) ERROR('the listeners reach into the parameters');
if (HEADER_RING_PARAMS + PARAMS_BYTES > HEADER_ENTER_ARGUMENT) ERROR('the parameters reach into the argument');
if (HEADER_ENTER_ARGUMENT + GETEVENTS_BYTES > HEADER_TIMEOUT) ERROR('the argument reaches into the timeout');
if (HEADER_TIMEOUT + 16 > HEADER_WAKE_VALUE) ERROR('the timeout reaches into the wake value');
if (HEADER_RANDOM_STATE + 8 > HEADER_CONNECT) ERROR('the random state reaches into Connect');
if (HEADER_CONNECT + CONNECT_BYTES > HEADER_ACCEPTING) ERROR('Connect reaches into the accepts');
if (HEADER_ACCEPTING + LISTENERS_MAX * 4 > HEADER_LISTENER_ACTIVE) ERROR('the accepts reach into the counts');
if (HEADER_LISTENER_ACTIVE + LISTENERS_MAX * 4 > HEADER_ORPHANS_DUE_MS) ERROR('the counts reach into the orphans');
if (HEADER_ORPHANS_DUE_MS + POOLS_MAX * 8 > HEADER_KEEP_ALIVE_BOUNDS) ERROR('the orphans reach into the bounds');
if (HEADER_KEEP_ALIVE_BOUNDS + HISTOGRAM_BOUNDS * 4 != HEADER_AGE_BOUNDS) ERROR('HISTOGRAM_BOUNDS changed');
if (HEADER_AGE_BOUNDS + HISTOGRAM_BOUNDS * 4 > HEADER_BYTES) ERROR('the bounds reach past the header');

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
  tlsHandshakes: u64;
  tlsResumed: u64;
}
if (offsetof<Counters>('turns') != COUNTERS_TURNS) ERROR('Counters.turns moved');
if (offsetof<Counters>('slotsUsed') != COUNTERS_SLOTS_USED) ERROR('Counters.slotsUsed moved');
if (offsetof<Counters>('completions') != COUNTERS_COMPLETIONS) ERROR('Counters.completions moved');
if (offsetof<Counters>('closed') != COUNTERS_CLOSED) ERROR('Counters.closed moved');
if (offsetof<Counters>('bytesToClients') != COUNTERS_BYTES_TO_CLIENTS) ERROR('Counters.bytesToClients moved');
if (offsetof<Counters>('bytesFromClients') != COUNTERS_BYTES_FROM_CLIENTS) ERROR('Counters.bytesFromClients moved');
if (offsetof<Counters>('buffersStarved') != COUNTERS_BUFFERS_STARVED) ERROR('Counters.buffersStarved moved');
if (offsetof<Counters>('buffersHeld') != COUNTERS_BUFFERS_HELD) ERROR('Counters.buffersHeld moved');
if (offsetof<Counters>('accepted') != COUNTERS_ACCEPTED) ERROR('Counters.accepted moved');
if (offsetof<Counters>('recordsDropped') != COUNTERS_RECORDS_DROPPED) ERROR('Counters.recordsDropped moved');
if (offsetof<Counters>('arenaUsed') != COUNTERS_ARENA_USED) ERROR('Counters.arenaUsed moved');
if (offsetof<Counters>('acceptErrors') != COUNTERS_ACCEPT_ERRORS) ERROR('Counters.acceptErrors moved');
if (offsetof<Counters>('tlsHandshakes') != COUNTERS_TLS_HANDSHAKES) ERROR('Counters.tlsHandshakes moved');
if (offsetof<Counters>('tlsResumed') != COUNTERS_TLS_RESUMED) ERROR('Counters.tlsResumed moved');

@unmanaged
export class BackendCounters {
  active: u32;
  currentWeight: i32;
  connects: u64;
  failures: u64;
  chosen: u64;
  bytesTo: u64;
  bytesFrom: u64;
  exhausted: u64;
  sourceTurn: u32;
  _pad60: u32;
}
if (offsetof<BackendCounters>('exhausted') != BACKEND_COUNTERS_EXHAUSTED) ERROR('BackendCounters.exhausted moved');
if (offsetof<BackendCounters>('sourceTurn') != BACKEND_COUNTERS_SOURCE_TURN) ERROR('BackendCounters.sourceTurn moved');
if (offsetof<BackendCounters>('failures') != BACKEND_COUNTERS_FAILURES) ERROR('BackendCounters.failures moved');
if (offsetof<BackendCounters>('currentWeight') != BACKEND_COUNTERS_CURRENT_WEIGHT)
  ERROR('BackendCounters.currentWeight moved');
if (offsetof<BackendCounters>('chosen') != BACKEND_COUNTERS_CHOSEN) ERROR('BackendCounters.chosen moved');
if (offsetof<BackendCounters>('bytesTo') != BACKEND_COUNTERS_BYTES_TO) ERROR('BackendCounters.bytesTo moved');
if (offsetof<BackendCounters>('active') != BACKEND_COUNTERS_ACTIVE) ERROR('BackendCounters.active moved');
if (offsetof<BackendCounters>() != BACKEND_COUNTERS_BYTES) ERROR('BackendCounters changed its size');
if (offsetof<BackendCounters>('connects') != BACKEND_COUNTERS_CONNECTS) ERROR('BackendCounters.connects moved');
if (offsetof<BackendCounters>('bytesFrom') != BACKEND_COUNTERS_BYTES_FROM) ERROR('BackendCounters.bytesFrom moved');
if (BACKEND_FIGURES_CONNACK + LATENCIES_BYTES > BACKEND_FIGURES_BYTES) ERROR('figures are larger than their place');

@unmanaged
export class SnapshotHalf {
  epoch: u32;
  listenerCount: u32;
  poolCount: u32;
  connectMaxBytes: u32;
}
if (offsetof<SnapshotHalf>('poolCount') != SNAPSHOT_POOL_COUNT) ERROR('SnapshotHalf.poolCount moved');
if (offsetof<SnapshotHalf>('listenerCount') != SNAPSHOT_LISTENER_COUNT) ERROR('SnapshotHalf.listenerCount moved');
if (offsetof<SnapshotHalf>('epoch') != SNAPSHOT_EPOCH) ERROR('SnapshotHalf.epoch moved');
if (offsetof<SnapshotHalf>('connectMaxBytes') != SNAPSHOT_CONNECT_MAX_BYTES)
  ERROR('SnapshotHalf.connectMaxBytes moved');

@unmanaged
export class ListenerEntry {
  pool: u32;
  connectTimeoutMs: u32;
  keepAlivePercent: u32;
  idleTimeoutMs: u32;
  fronts: u32;
  identity: u32;
  addresses: u32;
  /** Written last, when the snapshot is published: each worker has a socket of its own. */
  fd: u32;
}
if (offsetof<ListenerEntry>('identity') != LISTENER_IDENTITY) ERROR('ListenerEntry.identity moved');
if (offsetof<ListenerEntry>('addresses') != LISTENER_ADDRESSES) ERROR('ListenerEntry.addresses moved');
if (offsetof<ListenerEntry>('fd') != LISTENER_FD) ERROR('ListenerEntry.fd moved');
if (offsetof<ListenerEntry>('fronts') != LISTENER_FRONTS) ERROR('ListenerEntry.fronts moved');
if (offsetof<ListenerEntry>('pool') != LISTENER_POOL) ERROR('ListenerEntry.pool moved');
if (offsetof<ListenerEntry>() != LISTENER_ENTRY_BYTES) ERROR('ListenerEntry changed its size');
if (offsetof<ListenerEntry>('idleTimeoutMs') != LISTENER_IDLE_TIMEOUT_MS) ERROR('ListenerEntry.idleTimeoutMs moved');
if (offsetof<ListenerEntry>('keepAlivePercent') != LISTENER_KEEP_ALIVE_PERCENT)
  ERROR('ListenerEntry.keepAlivePercent moved');
if (offsetof<ListenerEntry>('connectTimeoutMs') != LISTENER_CONNECT_TIMEOUT_MS)
  ERROR('ListenerEntry.connectTimeoutMs moved');

/** What a listener asks of its clients' names. Offsets are from its own start. */
@unmanaged
export class Identity {
  clientIdPatterns: u32;
  clientIdDenied: u32;
  usernamePatterns: u32;
  usernameDenied: u32;
  clientId: u32;
  username: u32;
  password: u32;
  empty: u32;
  usernameRequired: u32;
  _pad36: u32;
  _pad40: u64;
}
if (offsetof<Identity>('clientIdPatterns') != IDENTITY_CLIENT_ID_PATTERNS) ERROR('Identity.clientIdPatterns moved');
if (offsetof<Identity>('clientIdDenied') != IDENTITY_CLIENT_ID_DENIED) ERROR('Identity.clientIdDenied moved');
if (offsetof<Identity>('usernamePatterns') != IDENTITY_USERNAME_PATTERNS) ERROR('Identity.usernamePatterns moved');
if (offsetof<Identity>('usernameDenied') != IDENTITY_USERNAME_DENIED) ERROR('Identity.usernameDenied moved');
if (offsetof<Identity>('clientId') != IDENTITY_CLIENT_ID) ERROR('Identity.clientId moved');
if (offsetof<Identity>('username') != IDENTITY_USERNAME) ERROR('Identity.username moved');
if (offsetof<Identity>('password') != IDENTITY_PASSWORD) ERROR('Identity.password moved');
if (offsetof<Identity>('empty') != IDENTITY_EMPTY) ERROR('Identity.empty moved');
if (offsetof<Identity>('usernameRequired') != IDENTITY_USERNAME_REQUIRED) ERROR('Identity.usernameRequired moved');
if (offsetof<Identity>() != IDENTITY_BYTES) ERROR('Identity changed its size');

/** A pattern or a template; its tokens follow. */
@unmanaged
export class Text {
  tokenCount: u32;
  fields: u32;
}
if (offsetof<Text>('tokenCount') != TEXT_TOKEN_COUNT) ERROR('Text.tokenCount moved');
if (offsetof<Text>('fields') != TEXT_FIELDS) ERROR('Text.fields moved');
if (offsetof<Text>() != TEXT_BYTES) ERROR('Text changed its size');

/** What a listener may have, in all workers together. */
@unmanaged
export class ListenerLimits {
  maxConnections: u32;
  maxPerSource: u32;
  maxHalfOpen: u32;
  sourceRate: u32;
  sourceBurst: u32;
  sourcePrefixes: u32;
  takeOvers: u32;
  _pad28: u32;
}
if (offsetof<ListenerLimits>('maxConnections') != LISTENER_LIMITS_MAX_CONNECTIONS)
  ERROR('ListenerLimits.maxConnections moved');
if (offsetof<ListenerLimits>('maxPerSource') != LISTENER_LIMITS_MAX_PER_SOURCE)
  ERROR('ListenerLimits.maxPerSource moved');
if (offsetof<ListenerLimits>('maxHalfOpen') != LISTENER_LIMITS_MAX_HALF_OPEN) ERROR('ListenerLimits.maxHalfOpen moved');
if (offsetof<ListenerLimits>('sourceRate') != LISTENER_LIMITS_SOURCE_RATE) ERROR('ListenerLimits.sourceRate moved');
if (offsetof<ListenerLimits>('sourceBurst') != LISTENER_LIMITS_SOURCE_BURST) ERROR('ListenerLimits.sourceBurst moved');
if (offsetof<ListenerLimits>('sourcePrefixes') != LISTENER_LIMITS_SOURCE_PREFIXES)
  ERROR('ListenerLimits.sourcePrefixes moved');
if (offsetof<ListenerLimits>('takeOvers') != LISTENER_LIMITS_TAKE_OVERS) ERROR('ListenerLimits.takeOvers moved');
if (offsetof<ListenerLimits>() != LISTENER_LIMITS_BYTES) ERROR('ListenerLimits changed its size');

@unmanaged
export class PoolLimits {
  id: u32;
  isLimited: u32;
  rate: u32;
  burst: u32;
  maxConnections: u32;
  queueMax: u32;
  queueTimeoutMs: u32;
  crews: u32;
}
if (offsetof<PoolLimits>('crews') != POOL_LIMITS_CREWS) ERROR('PoolLimits.crews moved');
if (offsetof<PoolLimits>('id') != POOL_LIMITS_ID) ERROR('PoolLimits.id moved');
if (offsetof<PoolLimits>('isLimited') != POOL_LIMITS_IS_LIMITED) ERROR('PoolLimits.isLimited moved');
if (offsetof<PoolLimits>('rate') != POOL_LIMITS_RATE) ERROR('PoolLimits.rate moved');
if (offsetof<PoolLimits>('burst') != POOL_LIMITS_BURST) ERROR('PoolLimits.burst moved');
if (offsetof<PoolLimits>('maxConnections') != POOL_LIMITS_MAX_CONNECTIONS) ERROR('PoolLimits.maxConnections moved');
if (offsetof<PoolLimits>('queueMax') != POOL_LIMITS_QUEUE_MAX) ERROR('PoolLimits.queueMax moved');
if (offsetof<PoolLimits>('queueTimeoutMs') != POOL_LIMITS_QUEUE_TIMEOUT_MS) ERROR('PoolLimits.queueTimeoutMs moved');
if (offsetof<PoolLimits>() != POOL_LIMITS_BYTES) ERROR('PoolLimits changed its size');

@unmanaged
export class BackendLimits {
  rate: u32;
  burst: u32;
  maxConnections: u32;
  crews: u32;
}
if (offsetof<BackendLimits>('crews') != BACKEND_LIMITS_CREWS) ERROR('BackendLimits.crews moved');
if (offsetof<BackendLimits>('rate') != BACKEND_LIMITS_RATE) ERROR('BackendLimits.rate moved');
if (offsetof<BackendLimits>('burst') != BACKEND_LIMITS_BURST) ERROR('BackendLimits.burst moved');
if (offsetof<BackendLimits>('maxConnections') != BACKEND_LIMITS_MAX_CONNECTIONS)
  ERROR('BackendLimits.maxConnections moved');
if (offsetof<BackendLimits>() != BACKEND_LIMITS_BYTES) ERROR('BackendLimits changed its size');

/** The head of the admission region. */
@unmanaged
export class Admission {
  leasesWritten: u32;
  leasesSeen: u32;
  workers: u32;
  queued: u32;
  sessionsBegun: u32;
}
if (offsetof<Admission>('leasesWritten') != ADMISSION_LEASES_WRITTEN) ERROR('Admission.leasesWritten moved');
if (offsetof<Admission>('leasesSeen') != ADMISSION_LEASES_SEEN) ERROR('Admission.leasesSeen moved');
if (offsetof<Admission>('workers') != ADMISSION_WORKERS) ERROR('Admission.workers moved');
if (offsetof<Admission>('queued') != ADMISSION_QUEUED) ERROR('Admission.queued moved');
if (offsetof<Admission>('sessionsBegun') != ADMISSION_SESSIONS_BEGUN) ERROR('Admission.sessionsBegun moved');
if (<i32>offsetof<Admission>() > ADMISSION_BYTES) ERROR('Admission is larger than its place');

/** What stands before a listener, a pool or a backend. */
@unmanaged
export class Gate {
  tokens: f64;
  filledMs: f64;
  queuedTotal: u64;
  head: u32;
  tail: u32;
  waiting: u32;
  active: u32;
  allowance: u32;
  isFull: u32;
  wanted: u32;
  pool: u32;
  prefixes: u32;
  _pad60: u32;
}
if (offsetof<Gate>('tokens') != GATE_TOKENS) ERROR('Gate.tokens moved');
if (offsetof<Gate>('filledMs') != GATE_FILLED_MS) ERROR('Gate.filledMs moved');
if (offsetof<Gate>('queuedTotal') != GATE_QUEUED_TOTAL) ERROR('Gate.queuedTotal moved');
if (offsetof<Gate>('head') != GATE_HEAD) ERROR('Gate.head moved');
if (offsetof<Gate>('tail') != GATE_TAIL) ERROR('Gate.tail moved');
if (offsetof<Gate>('waiting') != GATE_WAITING) ERROR('Gate.waiting moved');
if (offsetof<Gate>('active') != GATE_ACTIVE) ERROR('Gate.active moved');
if (offsetof<Gate>('allowance') != GATE_ALLOWANCE) ERROR('Gate.allowance moved');
if (offsetof<Gate>('isFull') != GATE_IS_FULL) ERROR('Gate.isFull moved');
if (offsetof<Gate>('wanted') != GATE_WANTED) ERROR('Gate.wanted moved');
if (offsetof<Gate>('pool') != GATE_POOL) ERROR('Gate.pool moved');
if (offsetof<Gate>('prefixes') != GATE_PREFIXES) ERROR('Gate.prefixes moved');
if (offsetof<Gate>() != GATE_BYTES) ERROR('Gate changed its size');

/** Where a slot waits to be dialled. Never touched where nobody has to: a million of these are 16 MB. */
@unmanaged
export class Place {
  previous: u32;
  next: u32;
  sinceTick: u32;
  lane: u32;
}
if (offsetof<Place>('previous') != PLACE_PREVIOUS) ERROR('Place.previous moved');
if (offsetof<Place>('next') != PLACE_NEXT) ERROR('Place.next moved');
if (offsetof<Place>('sinceTick') != PLACE_SINCE_TICK) ERROR('Place.sinceTick moved');
if (offsetof<Place>('lane') != PLACE_LANE) ERROR('Place.lane moved');
if (offsetof<Place>() != PLACE_BYTES) ERROR('Place changed its size');

/** Who counts a slot. */
@unmanaged
export class Tally {
  pool: u8;
  marks: u8;
}
if (offsetof<Tally>('pool') != TALLY_POOL) ERROR('Tally.pool moved');
if (offsetof<Tally>('marks') != TALLY_MARKS) ERROR('Tally.marks moved');
if (offsetof<Tally>() != TALLY_BYTES) ERROR('Tally changed its size');
if (POOL_IDS_MAX > 256) ERROR('a byte of Tally is too small');

/** The last session of those of one ClientId. */
@unmanaged
export class Session {
  tag: u64;
  connectMs: f64;
  endedMs: f64;
  slot: u32;
  generation: u32;
  serial: u32;
  overlaps: u32;
  listener: u32;
  _peer0: u32;
  _peer4: u64;
  _peer12: u64;
  _peer20: u64;
  _otherPeer0: u64;
  _otherPeer8: u64;
  _otherPeer16: u64;
  _otherPeer24: u32;
  _pad100: u32;
}
if (offsetof<Session>('tag') != SESSION_TAG) ERROR('Session.tag moved');
if (offsetof<Session>('connectMs') != SESSION_CONNECT_MS) ERROR('Session.connectMs moved');
if (offsetof<Session>('endedMs') != SESSION_ENDED_MS) ERROR('Session.endedMs moved');
if (offsetof<Session>('slot') != SESSION_SLOT) ERROR('Session.slot moved');
if (offsetof<Session>('generation') != SESSION_GENERATION) ERROR('Session.generation moved');
if (offsetof<Session>('serial') != SESSION_SERIAL) ERROR('Session.serial moved');
if (offsetof<Session>('overlaps') != SESSION_OVERLAPS) ERROR('Session.overlaps moved');
if (offsetof<Session>('listener') != SESSION_LISTENER) ERROR('Session.listener moved');
if (offsetof<Session>('_peer0') != SESSION_PEER) ERROR('Session.peer moved');
if (offsetof<Session>('_otherPeer0') != SESSION_OTHER_PEER) ERROR('Session.otherPeer moved');
if (offsetof<Session>() != SESSION_BYTES) ERROR('Session changed its size');

/** A ClientId that has to pause. */
@unmanaged
export class Pause {
  tag: u64;
  untilMs: f64;
}
if (offsetof<Pause>('tag') != PAUSE_TAG) ERROR('Pause.tag moved');
if (offsetof<Pause>('untilMs') != PAUSE_UNTIL_MS) ERROR('Pause.untilMs moved');
if (offsetof<Pause>() != PAUSE_BYTES) ERROR('Pause changed its size');

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
  sourceCount: u32;
  sources: u32;
  id: u32;
  drain: u32;
  proxyProtocol: u32;
  _pad72: u64;
}
if (offsetof<Pool>('sourceCount') != POOL_SOURCE_COUNT) ERROR('Pool.sourceCount moved');
if (offsetof<Pool>('sources') != POOL_SOURCES) ERROR('Pool.sources moved');
if (offsetof<Pool>('id') != POOL_ID) ERROR('Pool.id moved');
if (offsetof<Pool>('drain') != POOL_DRAIN) ERROR('Pool.drain moved');
if (offsetof<Pool>('proxyProtocol') != POOL_PROXY_PROTOCOL) ERROR('Pool.proxyProtocol moved');
if (offsetof<Pool>('table') != POOL_TABLE) ERROR('Pool.table moved');
if (offsetof<Pool>('method') != POOL_METHOD) ERROR('Pool.method moved');
if (offsetof<Pool>('memberCount') != POOL_MEMBER_COUNT) ERROR('Pool.memberCount moved');
if (offsetof<Pool>('members') != POOL_MEMBERS) ERROR('Pool.members moved');
if (offsetof<Pool>('key') != POOL_KEY) ERROR('Pool.key moved');
if (offsetof<Pool>('algorithm') != POOL_ALGORITHM) ERROR('Pool.algorithm moved');
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
if (offsetof<Member>('weight') != MEMBER_WEIGHT) ERROR('Member.weight moved');
if (offsetof<Member>('backend') != MEMBER_BACKEND) ERROR('Member.backend moved');
if (offsetof<Member>() != MEMBER_BYTES) ERROR('Member changed its size');
if (offsetof<Member>('backup') != MEMBER_BACKUP) ERROR('Member.backup moved');
if (offsetof<Member>('sockaddrBytes') != MEMBER_SOCKADDR_BYTES) ERROR('Member.sockaddrBytes moved');
if (offsetof<Member>('_sockaddr0') != MEMBER_SOCKADDR) ERROR('Member.sockaddr moved');
if (offsetof<Member>('nameHash') != MEMBER_NAME_HASH) ERROR('Member.nameHash moved');

/** One of a pool's source_addresses. */
@unmanaged
export class Source {
  id: u32;
  sockaddrBytes: u32;
  _sockaddr0: u64;
  _sockaddr8: u64;
  _sockaddr16: u64;
  _sockaddr24: u64;
}
if (offsetof<Source>('id') != SOURCE_ID) ERROR('Source.id moved');
if (offsetof<Source>('sockaddrBytes') != SOURCE_SOCKADDR_BYTES) ERROR('Source.sockaddrBytes moved');
if (offsetof<Source>('_sockaddr0') != SOURCE_SOCKADDR) ERROR('Source.sockaddr moved');
if (offsetof<Source>() != SOURCE_BYTES) ERROR('Source changed its size');
if (SOURCE_SOCKADDR + SOCKADDR_BYTES_MAX > SOURCE_BYTES) ERROR('an address is larger than its place');
if (SOURCES_MAX >= SOURCE_IDS_MAX) ERROR('more sources than ids');

/** How a pool's clients are moved away; the server reference follows. */
@unmanaged
export class Drain {
  packets: u32;
  referenceBytes: u32;
  orphanIntervalUs: u32;
  _pad12: u32;
}
if (offsetof<Drain>('packets') != DRAIN_PACKETS) ERROR('Drain.packets moved');
if (offsetof<Drain>('referenceBytes') != DRAIN_REFERENCE_BYTES) ERROR('Drain.referenceBytes moved');
if (offsetof<Drain>('orphanIntervalUs') != DRAIN_ORPHAN_INTERVAL_US) ERROR('Drain.orphanIntervalUs moved');
if (offsetof<Drain>() != DRAIN_BYTES) ERROR('Drain changed its size');

/** What a worker knows of one backend as dialled from one source. */
@unmanaged
export class SourceCounters {
  active: u32;
  restTick: u32;
  exhausted: u64;
}
if (offsetof<SourceCounters>('active') != SOURCE_COUNTERS_ACTIVE) ERROR('SourceCounters.active moved');
if (offsetof<SourceCounters>('restTick') != SOURCE_COUNTERS_REST_TICK) ERROR('SourceCounters.restTick moved');
if (offsetof<SourceCounters>('exhausted') != SOURCE_COUNTERS_EXHAUSTED) ERROR('SourceCounters.exhausted moved');
if (offsetof<SourceCounters>() != SOURCE_COUNTERS_BYTES) ERROR('SourceCounters changed its size');

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
if (offsetof<Connect>('willTopicBytes') != CONNECT_WILL_TOPIC_BYTES) ERROR('Connect.willTopicBytes moved');
if (offsetof<Connect>('willTopic') != CONNECT_WILL_TOPIC) ERROR('Connect.willTopic moved');
if (offsetof<Connect>('willPropertiesBytes') != CONNECT_WILL_PROPERTIES_BYTES)
  ERROR('Connect.willPropertiesBytes moved');
if (offsetof<Connect>('willProperties') != CONNECT_WILL_PROPERTIES) ERROR('Connect.willProperties moved');
if (offsetof<Connect>('willPayloadBytes') != CONNECT_WILL_PAYLOAD_BYTES) ERROR('Connect.willPayloadBytes moved');
if (offsetof<Connect>('version') != CONNECT_VERSION) ERROR('Connect.version moved');
if (offsetof<Connect>('usernameBytes') != CONNECT_USERNAME_BYTES) ERROR('Connect.usernameBytes moved');
if (offsetof<Connect>('topicAliasMaximum') != CONNECT_TOPIC_ALIAS_MAXIMUM) ERROR('Connect.topicAliasMaximum moved');
if (offsetof<Connect>('receiveMaximum') != CONNECT_RECEIVE_MAXIMUM) ERROR('Connect.receiveMaximum moved');
if (offsetof<Connect>('reasonOffset') != CONNECT_REASON_OFFSET) ERROR('Connect.reasonOffset moved');
if (offsetof<Connect>('propertiesBytes') != CONNECT_PROPERTIES_BYTES) ERROR('Connect.propertiesBytes moved');
if (offsetof<Connect>('passwordBytes') != CONNECT_PASSWORD_BYTES) ERROR('Connect.passwordBytes moved');
if (offsetof<Connect>('password') != CONNECT_PASSWORD) ERROR('Connect.password moved');
if (offsetof<Connect>('packetBytes') != CONNECT_PACKET_BYTES) ERROR('Connect.packetBytes moved');
if (offsetof<Connect>('maximumPacketSize') != CONNECT_MAXIMUM_PACKET_SIZE) ERROR('Connect.maximumPacketSize moved');
if (offsetof<Connect>('keepAlive') != CONNECT_KEEP_ALIVE) ERROR('Connect.keepAlive moved');
if (offsetof<Connect>('flags') != CONNECT_FLAGS) ERROR('Connect.flags moved');
if (offsetof<Connect>('clientIdBytes') != CONNECT_CLIENT_ID_BYTES) ERROR('Connect.clientIdBytes moved');
if (offsetof<Connect>() != CONNECT_BYTES) ERROR('Connect changed its size');
if (offsetof<Connect>('clientId') != CONNECT_CLIENT_ID) ERROR('Connect.clientId moved');
if (offsetof<Connect>('username') != CONNECT_USERNAME) ERROR('Connect.username moved');
if (offsetof<Connect>('willPayload') != CONNECT_WILL_PAYLOAD) ERROR('Connect.willPayload moved');
if (offsetof<Connect>('properties') != CONNECT_PROPERTIES) ERROR('Connect.properties moved');
if (offsetof<Connect>('sessionExpiry') != CONNECT_SESSION_EXPIRY) ERROR('Connect.sessionExpiry moved');
if (offsetof<Connect>('reason') != CONNECT_REASON) ERROR('Connect.reason moved');

/** What the parser found in a PROXY header. */
@unmanaged
export class ProxyHeader {
  bytesTotal: u32;
  hasAddress: u32;
  _source0: u64;
  _source8: u64;
  _source16: u64;
  _source24: u32;
  _destination0: u32;
  _destination4: u64;
  _destination12: u64;
  _destination20: u64;
}
if (offsetof<ProxyHeader>('bytesTotal') != PROXY_HEADER_BYTES_TOTAL) ERROR('ProxyHeader.bytesTotal moved');
if (offsetof<ProxyHeader>('hasAddress') != PROXY_HEADER_HAS_ADDRESS) ERROR('ProxyHeader.hasAddress moved');
if (offsetof<ProxyHeader>('_source0') != PROXY_HEADER_SOURCE) ERROR('ProxyHeader.source moved');
if (offsetof<ProxyHeader>('_destination0') != PROXY_HEADER_DESTINATION) ERROR('ProxyHeader.destination moved');
if (offsetof<ProxyHeader>() != PROXY_HEADER_STRUCT_BYTES) ERROR('ProxyHeader changed its size');
if (HEADER_PROXY_HEADER < HEADER_CONNECT + CONNECT_BYTES) ERROR('Connect reaches into ProxyHeader');
if (HEADER_PROXY_HEADER + PROXY_HEADER_STRUCT_BYTES > HEADER_ACCEPTING) ERROR('ProxyHeader reaches into what follows');

/** What stays of a connection while it is idle, beside its hot line; see proxy/connection.ts for who writes what. */
@unmanaged
export class Cold {
  bytesFromClient: u64;
  bytesToClient: u64;
  sentTickToBackend: u32;
  sentTickToClient: u32;
  framingFromClient: u32;
  framingFromBackend: u32;
  clientTick: u32;
  stampUs: u32;
  backend: u32;
  listener: u8;
  pool: u8;
  member: u8;
  source: u8;
  reason: u16;
  keepAlive: u16;
  clientIdBytes: u16;
  version: u8;
  choice: u8;
  openedMs: f64;
  keyHash: u64;
  tried: u64;
  _peer0: u64;
  _peer8: u64;
  _peer16: u64;
  _peer24: u32;
  /** The kernel writes the address's length there, which nobody asks for; then it is the slot's greeting, see greeting.ts. */
  greeting: u32;
  clientId: u32;
  _clientId4: u32;
  _clientId8: u64;
}
if (offsetof<Cold>('keyHash') != COLD_KEY_HASH) ERROR('Cold.keyHash moved');
if (offsetof<Cold>('bytesToClient') != COLD_BYTES_TO_CLIENT) ERROR('Cold.bytesToClient moved');
if (offsetof<Cold>() != COLD_BYTES) ERROR('Cold changed its size');
if (offsetof<Cold>('bytesFromClient') != COLD_BYTES_FROM_CLIENT) ERROR('Cold.bytesFromClient moved');
if (offsetof<Cold>('openedMs') != COLD_OPENED_MS) ERROR('Cold.openedMs moved');
if (offsetof<Cold>('tried') != COLD_TRIED) ERROR('Cold.tried moved');
if (offsetof<Cold>('_peer0') != COLD_PEER) ERROR('Cold.peer moved');
if (offsetof<Cold>('greeting') != COLD_GREETING) ERROR('Cold.greeting moved');
if (offsetof<Cold>('listener') != COLD_LISTENER) ERROR('Cold.listener moved');
if (offsetof<Cold>('backend') != COLD_BACKEND) ERROR('Cold.backend moved');
if (offsetof<Cold>('pool') != COLD_POOL) ERROR('Cold.pool moved');
if (offsetof<Cold>('member') != COLD_MEMBER) ERROR('Cold.member moved');
if (offsetof<Cold>('source') != COLD_SOURCE) ERROR('Cold.source moved');
if (MEMBERS_MAX > 256 || SOURCE_IDS_MAX > 256 || LISTENERS_MAX > 256 || POOLS_MAX > 256)
  ERROR('a byte of Cold is too small');
if (offsetof<Cold>('framingFromClient') != COLD_FRAMING) ERROR('Cold.framing moved');
if (offsetof<Cold>('stampUs') != COLD_STAMP_US) ERROR('Cold.stampUs moved');
if (offsetof<Cold>('reason') != COLD_REASON) ERROR('Cold.reason moved');
if (offsetof<Cold>('sentTickToBackend') != COLD_SENT_TICKS) ERROR('Cold.sentTickToBackend moved');
if (offsetof<Cold>('keepAlive') != COLD_KEEP_ALIVE) ERROR('Cold.keepAlive moved');
if (offsetof<Cold>('version') != COLD_VERSION) ERROR('Cold.version moved');
if (offsetof<Cold>('choice') != COLD_CHOICE) ERROR('Cold.choice moved');
if (offsetof<Cold>('clientTick') != COLD_CLIENT_TICK) ERROR('Cold.clientTick moved');
if (offsetof<Cold>('clientIdBytes') != COLD_CLIENT_ID_BYTES) ERROR('Cold.clientIdBytes moved');
if (offsetof<Cold>('clientId') != COLD_CLIENT_ID) ERROR('Cold.clientId moved');

/** A listener's hook, as the data plane knows it. */
@unmanaged
export class Hook {
  id: u32;
  timeoutMs: u32;
  accepts: u32;
  _pad12: u32;
}
if (offsetof<Hook>('id') != HOOK_ID) ERROR('Hook.id moved');
if (offsetof<Hook>('timeoutMs') != HOOK_TIMEOUT_MS) ERROR('Hook.timeoutMs moved');
if (offsetof<Hook>('accepts') != HOOK_ACCEPTS) ERROR('Hook.accepts moved');
if (offsetof<Hook>() != HOOK_BYTES) ERROR('Hook changed its size');

/** What a hook is asked; the CONNECT follows. */
@unmanaged
export class Ask {
  bytesTotal: u32;
  slot: u32;
  generation: u32;
  hook: u32;
  connectBytes: u32;
  _peer0: u32;
  _peer4: u64;
  _peer12: u64;
  _peer20: u64;
}
if (offsetof<Ask>('bytesTotal') != ASK_BYTES_TOTAL) ERROR('Ask.bytesTotal moved');
if (offsetof<Ask>('slot') != ASK_SLOT) ERROR('Ask.slot moved');
if (offsetof<Ask>('generation') != ASK_GENERATION) ERROR('Ask.generation moved');
if (offsetof<Ask>('hook') != ASK_HOOK) ERROR('Ask.hook moved');
if (offsetof<Ask>('connectBytes') != ASK_CONNECT_BYTES) ERROR('Ask.connectBytes moved');
if (offsetof<Ask>('_peer0') != ASK_PEER) ERROR('Ask.peer moved');
if (offsetof<Ask>() != ASK_CONNECT) ERROR('Ask changed its size');

/** What it has decided; the texts follow. */
@unmanaged
export class Decision {
  bytesTotal: u32;
  slot: u32;
  generation: u32;
  verdict: u32;
  code: u32;
  pool: u32;
  keyBytes: u32;
  clientIdBytes: u32;
  usernameBytes: u32;
  passwordBytes: u32;
}
if (offsetof<Decision>('bytesTotal') != DECISION_BYTES_TOTAL) ERROR('Decision.bytesTotal moved');
if (offsetof<Decision>('slot') != DECISION_SLOT) ERROR('Decision.slot moved');
if (offsetof<Decision>('generation') != DECISION_GENERATION) ERROR('Decision.generation moved');
if (offsetof<Decision>('verdict') != DECISION_VERDICT) ERROR('Decision.verdict moved');
if (offsetof<Decision>('code') != DECISION_CODE) ERROR('Decision.code moved');
if (offsetof<Decision>('pool') != DECISION_POOL) ERROR('Decision.pool moved');
if (offsetof<Decision>('keyBytes') != DECISION_KEY_BYTES) ERROR('Decision.keyBytes moved');
if (offsetof<Decision>('clientIdBytes') != DECISION_CLIENT_ID_BYTES) ERROR('Decision.clientIdBytes moved');
if (offsetof<Decision>('usernameBytes') != DECISION_USERNAME_BYTES) ERROR('Decision.usernameBytes moved');
if (offsetof<Decision>('passwordBytes') != DECISION_PASSWORD_BYTES) ERROR('Decision.passwordBytes moved');
if (offsetof<Decision>() != DECISION_TEXTS) ERROR('Decision changed its size');

/** A connection that the main thread wants ended. */
@unmanaged
export class Eviction {
  slot: u32;
  generation: u32;
  reason: u16;
  code: u8;
  flags: u8;
  reference: u32;
}
if (offsetof<Eviction>('slot') != EVICTION_SLOT) ERROR('Eviction.slot moved');
if (offsetof<Eviction>('generation') != EVICTION_GENERATION) ERROR('Eviction.generation moved');
if (offsetof<Eviction>('reason') != EVICTION_REASON) ERROR('Eviction.reason moved');
if (offsetof<Eviction>('code') != EVICTION_CODE) ERROR('Eviction.code moved');
if (offsetof<Eviction>('flags') != EVICTION_FLAGS) ERROR('Eviction.flags moved');
if (offsetof<Eviction>('reference') != EVICTION_REFERENCE) ERROR('Eviction.reference moved');
if (offsetof<Eviction>() != EVICTION_BYTES) ERROR('Eviction changed its size');

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
if (offsetof<AccessRecord>('version') != RECORD_VERSION) ERROR('AccessRecord.version moved');
if (offsetof<AccessRecord>('reason') != RECORD_REASON) ERROR('AccessRecord.reason moved');
if (offsetof<AccessRecord>('openedMs') != RECORD_OPENED_MS) ERROR('AccessRecord.openedMs moved');
if (offsetof<AccessRecord>('listener') != RECORD_LISTENER) ERROR('AccessRecord.listener moved');
if (offsetof<AccessRecord>('keepAlive') != RECORD_KEEP_ALIVE) ERROR('AccessRecord.keepAlive moved');
if (offsetof<AccessRecord>('closedMs') != RECORD_CLOSED_MS) ERROR('AccessRecord.closedMs moved');
if (offsetof<AccessRecord>('bytesToClient') != RECORD_BYTES_TO_CLIENT) ERROR('AccessRecord.bytesToClient moved');
if (offsetof<AccessRecord>('bytesTotal') != RECORD_BYTES_TOTAL) ERROR('AccessRecord.bytesTotal moved');
if (offsetof<AccessRecord>('bytesFromClient') != RECORD_BYTES_FROM_CLIENT) ERROR('AccessRecord.bytesFromClient moved');
if (offsetof<AccessRecord>('attempts') != RECORD_ATTEMPTS) ERROR('AccessRecord.attempts moved');
if (offsetof<AccessRecord>() != RECORD_CLIENT_ID) ERROR('AccessRecord changed its size');
if (offsetof<AccessRecord>('backend') != RECORD_BACKEND) ERROR('AccessRecord.backend moved');
if (offsetof<AccessRecord>('clientIdBytes') != RECORD_CLIENT_ID_BYTES) ERROR('AccessRecord.clientIdBytes moved');
if (offsetof<AccessRecord>('_peer0') != RECORD_PEER) ERROR('AccessRecord.peer moved');
if (offsetof<AccessRecord>('epoch') != RECORD_EPOCH) ERROR('AccessRecord.epoch moved');

/** The client's sockaddr. */
export function peerOf(line: Cold): usize {
  return changetype<usize>(line) + offsetof<Cold>('_peer0');
}

/** Members follow the pool directly; pool.members says so to those who read the block in TypeScript. */
export function memberAt(pool: Pool, index: u32): Member {
  assert(index < pool.memberCount);
  return changetype<Member>(changetype<usize>(pool) + POOL_BYTES + <usize>index * MEMBER_BYTES);
}

/** One of the addresses that the pool's connections are made from. */
export function sourceAt(pool: Pool, index: u32): Source {
  assert(index < pool.sourceCount);
  return changetype<Source>(changetype<usize>(pool) + pool.sources + <usize>index * SOURCE_BYTES);
}

/** How its clients are moved away. */
export function drainOf(pool: Pool): Drain {
  assert(pool.drain != 0);
  return changetype<Drain>(changetype<usize>(pool) + pool.drain);
}
