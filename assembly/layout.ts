// Numbers that both compilers read: AssemblyScript for the data plane, TypeScript for the control plane.
// Only `export const NAME = integer expression` may stand here; a number stands once, the next is computed from it.
// The structs themselves are in memory.ts, with a compile-time check under each for every offset named here.

// ---- One worker's memory -------------------------------------------------------------------------------------------
//
//   0          static data of the compiled module (constant: every instance writes the same bytes again)
//   64 KiB     Header: control words, clock, settings, and where the regions below lie
//   then       regions, page-aligned, placed by src/control/memory-map.ts and checked by the data plane at start:
//              counters | backend counters and figures | backend health | snapshot halves | records | connections | arena |
//              timer wheel | rings | buffers | scratch | source counters | evictions | admission | greetings |
//              hooks' asks | hooks' decisions
//
export const PAGE_BYTES = 4096;
export const HEADER_OFFSET = 65536;
export const HEADER_BYTES = 4096;
export const REGIONS_OFFSET = HEADER_OFFSET + HEADER_BYTES;
export const LAYOUT_VERSION = 1;

/** "No such index", for slots, buffers, backends and members. */
export const NONE = 0xffffffff;

// ---- Header ----------------------------------------------------------------------------------------------------------
export const HEADER_LAYOUT_VERSION = 0;
export const HEADER_CONTROL = 4; // written by the main thread: CONTROL_*
export const HEADER_STATE = 8; // written by the worker: STATE_*
export const HEADER_EPOCH = 12; // written by the main thread: the published snapshot is in half `epoch & 1`
export const HEADER_EPOCH_SEEN = 16; // written by the worker: the newest epoch that it has left the older one for
export const HEADER_RECORDS_WRITTEN = 20; // bytes, monotonic modulo 2^32; written by the worker
export const HEADER_RECORDS_READ = 24; // bytes, monotonic modulo 2^32; written by the log thread
export const HEADER_RING_FD = 28; // written by the uring engine: the ring, which outlives a dead worker until it is closed
export const HEADER_CLOCK_MS = 32; // f64, monotonic milliseconds, written by the engine at every turn
export const HEADER_WALL_MS = 40; // f64, what to add to the clock for milliseconds since 1970
export const HEADER_MEMORY_BASE = 48; // u64, address of this memory in the process, 0 for the portable engine
export const HEADER_THREAD_ID = 56; // Node's id of the thread that runs on this memory; written by the worker
export const HEADER_SLOTS_END = 60; // how many slots were ever used: as far as a walk over the table goes; written by the worker
export const HEADER_SETTINGS = 64; // u32 each, written by the main thread before start:
export const HEADER_CONNECTIONS_MAX = HEADER_SETTINGS;
export const HEADER_BUFFER_COUNT = HEADER_SETTINGS + 4; // a power of two, at most 32,768
export const HEADER_BUFFER_BYTES = HEADER_SETTINGS + 8;
export const HEADER_SUBMISSION_ENTRIES = HEADER_SETTINGS + 12; // a power of two
export const HEADER_COMPLETION_ENTRIES = HEADER_SETTINGS + 16; // a power of two
export const HEADER_RECORDS_BYTES = HEADER_SETTINGS + 20; // a power of two
export const HEADER_ARENA_CHUNKS = HEADER_SETTINGS + 24;
export const HEADER_WORKER_INDEX = HEADER_SETTINGS + 28;
export const HEADER_WAKE_FD = HEADER_SETTINGS + 32; // eventfd that the ring reads
export const HEADER_SESSIONS = HEADER_SETTINGS + 36; // a power of two, SESSION_WAYS at least
export const HEADER_RANDOM_SEED = HEADER_SETTINGS + 40;
export const HEADER_ACCEPTS_IN_FLIGHT = HEADER_SETTINGS + 44; // per listener
export const HEADER_RECEIVE_LIMIT = HEADER_SETTINGS + 48; // bytes after which the kernel ends a multishot receive; 0: it can't
export const HEADER_BUFFERS_PROVIDED = HEADER_SETTINGS + 52; // how many the kernel is given at first; 0: all
export const HEADER_QUIET_MS = HEADER_SETTINGS + 56; // without bytes for so long, a side is polled instead of received from
export const HEADER_PORTS_CROWDED = HEADER_SETTINGS + 60; // of connections between two addresses: from so many on every port is looked at
export const HEADER_REGIONS = 128; // u32 offsets, in this order:
export const HEADER_REGION_COUNTERS = HEADER_REGIONS;
export const HEADER_REGION_BACKEND_COUNTERS = HEADER_REGIONS + 4;
export const HEADER_REGION_HEALTH = HEADER_REGIONS + 8;
export const HEADER_REGION_SNAPSHOTS = HEADER_REGIONS + 12;
export const HEADER_REGION_RECORDS = HEADER_REGIONS + 16;
export const HEADER_REGION_HOT = HEADER_REGIONS + 20;
export const HEADER_REGION_COLD = HEADER_REGIONS + 24;
export const HEADER_REGION_ARENA = HEADER_REGIONS + 28;
export const HEADER_REGION_WHEEL = HEADER_REGIONS + 32;
export const HEADER_REGION_RINGS = HEADER_REGIONS + 36;
export const HEADER_REGION_BUFFERS = HEADER_REGIONS + 40;
export const HEADER_REGION_SCRATCH = HEADER_REGIONS + 44;
export const HEADER_REGION_SOURCE_COUNTERS = HEADER_REGIONS + 48;
export const HEADER_REGION_EVICTIONS = HEADER_REGIONS + 52;
export const HEADER_REGION_ADMISSION = HEADER_REGIONS + 56;
export const HEADER_REGION_GREETINGS = HEADER_REGIONS + 60;
export const HEADER_REGION_ASKS = HEADER_REGIONS + 64;
export const HEADER_REGION_DECISIONS = HEADER_REGIONS + 68;
export const HEADER_REGION_END = HEADER_REGIONS + 72;
export const HEADER_EVICTIONS_WRITTEN = 204; // entries, monotonic modulo 2^32; written by the main thread
export const HEADER_EVICTIONS_READ = 208; // entries, monotonic modulo 2^32; written by the worker
export const HEADER_ASKS_WRITTEN = 212; // bytes, monotonic modulo 2^32; written by the worker
export const HEADER_ASKS_READ = 216; // bytes, monotonic modulo 2^32; written by the main thread
export const HEADER_DECISIONS_WRITTEN = 220; // bytes, monotonic modulo 2^32; written by the main thread
export const HEADER_DECISIONS_READ = 224; // bytes, monotonic modulo 2^32; written by the worker
export const HEADER_ID_KEY_0 = 232; // u64, key of the hash by which ClientIds are noted, the same in all workers
export const HEADER_ID_KEY_1 = 240; // u64, its other half
export const HEADER_LISTENER_FDS = 256; // u32 for each listener: the socket that it accepts from, or NONE; written by the worker
export const HEADER_RING_PARAMS = 512; // struct io_uring_params, as the kernel filled it
export const HEADER_ENTER_ARGUMENT = 640; // struct io_uring_getevents_arg, written before every wait
export const HEADER_TIMEOUT = 672; // struct __kernel_timespec that it points to
export const HEADER_WAKE_VALUE = 688; // u64, where the eventfd is read to
export const HEADER_OPTION_ON = 696; // u32, always 1: the value for setsockopt
export const HEADER_OPTION_OFF = 700; // u32, always 0
export const HEADER_RANDOM_STATE = 704; // u64
export const HEADER_OPTION_PORTS = 712; // u32, always OPTION_PORTS
export const HEADER_NOW = 720; // struct timespec: the monotonic clock when the last wait ended; the uring engine's
export const OPTION_PORTS = 0xffff0001; // first and last port of IP_LOCAL_PORT_RANGE, which the kernel bounds by the system's own
export const HEADER_CONNECT = 768; // Connect, what the parser found last
export const HEADER_PROXY_HEADER = 896; // ProxyHeader, what its parser found last
export const HEADER_ACCEPTING = 1024; // u32 for each listener: accepts in flight
export const HEADER_LISTENER_ACTIVE = 1284; // u32 for each listener: connections that came through it and live
export const HEADER_ORPHANS_DUE_MS = 2560; // f64 for each pool: when its next client that was left behind may be closed
export const HEADER_KEEP_ALIVE_BOUNDS = 3072; // u32 each, HISTOGRAM_BOUNDS of them, seconds; written by the main thread before start
export const HEADER_AGE_BOUNDS = HEADER_KEEP_ALIVE_BOUNDS + 48; // the same in milliseconds

export const CONTROL_RUN = 0;
export const CONTROL_DRAIN = 1; // accept nobody, let the others finish
export const CONTROL_STOP = 2; // close everybody, then return
export const CONTROL_WAIT = 3; // accept nobody yet

export const STATE_STARTING = 0;
export const STATE_RUNNING = 1;
export const STATE_STOPPED = 2;
export const STATE_READY = 3; // could serve, and is told by CONTROL_WAIT not to

// ---- Rings region ----------------------------------------------------------------------------------------------------
//
//   rings: completions and both rings' heads | submissions | provided buffers | buffer notes | messages for sendmsg
//
// Each part starts on a page; assembly/uring/ring.ts places them, these are the sizes of one entry.
export const COMPLETION_BYTES = 16;
export const RING_HEADS_BYTES = 65536;
export const SUBMISSION_BYTES = 64;
export const PROVIDED_BUFFER_BYTES = 16;
export const PROVIDED_ENTRIES_MAX = 4096; // in the ring of provided buffers; there may be more buffers than that
export const BUFFER_NOTE_BYTES = 16;
export const BUFFER_NOTE_STATE = 12; // u32, see uring/ring.ts
/** One struct msghdr and its iovecs, for each submission entry. */
export const IOVECS_MAX = 12;
export const MESSAGE_BYTES = 64 + IOVECS_MAX * 16;

// ---- Timer wheel: the first slot of a list for each tick -------------------------------------------------------------
export const WHEEL_TICK_MS = 64;
export const WHEEL_BUCKETS = 4096;
export const WHEEL_BYTES = WHEEL_BUCKETS * 4;

// ---- Limits ----------------------------------------------------------------------------------------------------------
export const LISTENERS_MAX = 64;
export const POOLS_MAX = 64;
/** Members of one pool: one bit each in the set of those already tried. */
export const MEMBERS_MAX = 64;
/** Backends of all pools in one process life; an id is never used for another address. */
export const BACKENDS_MAX = 1024;
/** Pools in one process life; an id is never used for another name. */
export const POOL_IDS_MAX = 256;
export const WEIGHT_MAX = 1000;
/** source_addresses of one pool. */
export const SOURCES_MAX = 64;
/** Those of one pool in one process life, and SOURCE_ANY; an id is never used for another address. */
export const SOURCE_IDS_MAX = 128;
/** The source of a pool without source_addresses: the system chooses the address. */
export const SOURCE_ANY = 0;
export const SNAPSHOT_HALF_BYTES = 16 << 20;
export const SOCKADDR_BYTES_MAX = 28;
/** connect_max_bytes can't be more: partial CONNECT packets are gathered in the scratch region. */
export const CONNECT_BYTES_LIMIT = 1 << 19;
// The scratch region: first bytes, gathered | a rewritten CONNECT | what is noted while a client's identity is looked at |
// a Front block
export const SCRATCH_REWRITTEN = CONNECT_BYTES_LIMIT;
export const SCRATCH_IDENTITY = SCRATCH_REWRITTEN + CONNECT_BYTES_LIMIT;
export const SCRATCH_IDENTITY_BYTES = 16384;
export const SCRATCH_FRONT = SCRATCH_IDENTITY + SCRATCH_IDENTITY_BYTES;
export const SCRATCH_FRONT_BYTES = 2048;
export const SCRATCH_BYTES = SCRATCH_FRONT + SCRATCH_FRONT_BYTES;
/** How long a client is listened to after its refusal, so that a reset doesn't overtake the CONNACK. */
export const LINGER_MS = 500;
/** Without a byte for so long, a side that stopped reading, or that was told of the other's end, is given up. */
export const STALL_MS = 60000;
/** The same while buffers are short: who stalls then keeps others from being served. */
export const STALL_WHEN_SHORT_MS = 5000;
/** A source from which no port was left to a backend isn't dialled from for so long: each vain search reads every port. */
export const SOURCE_REST_MS = 1000;

// ---- Histograms -----------------------------------------------------------------------------------------------------
// A histogram with the bounds that the header names: for each of them u64 how many values were no greater than it, but
// greater than the one before; then those above all of them; then the sum of all values.
export const HISTOGRAM_BOUNDS = 12;
export const HISTOGRAM_SUM = (HISTOGRAM_BOUNDS + 1) * 8;
export const HISTOGRAM_BYTES = HISTOGRAM_SUM + 8;

// Latencies in microseconds: each power of two is split in four, so that a count's place is known within an eighth. The
// first four counts are of 0, 1, 2 and 3 us, then follow the quarters of 4..7, of 8..15 and so on; behind them the sum.
export const LATENCY_QUARTERS_SHIFT = 2;
export const LATENCY_BUCKETS = 31 << LATENCY_QUARTERS_SHIFT; // all that 32 bits can hold, 71 minutes
export const LATENCIES_SUM = LATENCY_BUCKETS * 8;
export const LATENCIES_BYTES = LATENCIES_SUM + 8;

// ---- Counters: u64 each ----------------------------------------------------------------------------------------------
export const COUNTERS_ACCEPTED = 0;
export const COUNTERS_CLOSED = 8;
export const COUNTERS_BYTES_FROM_CLIENTS = 16;
export const COUNTERS_BYTES_TO_CLIENTS = 24;
export const COUNTERS_RECORDS_DROPPED = 32;
export const COUNTERS_BUFFERS_HELD = 40; // gauge
export const COUNTERS_BUFFERS_STARVED = 48; // times that a read found no buffer
export const COUNTERS_TURNS = 56;
export const COUNTERS_COMPLETIONS = 64;
export const COUNTERS_SLOTS_USED = 72; // gauge: slots that hold a client, without those waiting in accept
export const COUNTERS_ARENA_USED = 80; // gauge: chunks
export const COUNTERS_ACCEPT_ERRORS = 88;
export const COUNTERS_TLS_HANDSHAKES = 96; // that succeeded
export const COUNTERS_TLS_RESUMED = 104; // of these, with a session of before
export const COUNTERS_REASONS = 128; // one for each REASON_*
export const REASONS_MAX = 128;
export const COUNTERS_PROTOCOLS = COUNTERS_REASONS + REASONS_MAX * 8; // connections that ended, PROTOCOLS_MAX of them
/** An MQTT version's place is its protocol level: 3, 4 or 5. */
export const PROTOCOLS_MAX = 8;
export const PROTOCOL_UNKNOWN = 0; // never told
export const PROTOCOL_OTHER = 1; // a level, or a level with a name, that isn't spoken
/** CONNECTs that could be read, and under PROTOCOL_OTHER those refused for their version: PROTOCOLS_MAX for each pool id. */
export const COUNTERS_CONNECTS = COUNTERS_PROTOCOLS + PROTOCOLS_MAX * 8;
export const COUNTERS_KEEP_ALIVES = COUNTERS_CONNECTS + POOL_IDS_MAX * PROTOCOLS_MAX * 8; // histogram: in those CONNECTs
export const COUNTERS_KEEP_ALIVES_LAST = COUNTERS_KEEP_ALIVES + HISTOGRAM_BYTES; // histogram: in force when a session ended
export const COUNTERS_AGES = COUNTERS_KEEP_ALIVES_LAST + HISTOGRAM_BYTES; // histogram: of sessions when they ended
export const COUNTERS_HOOK_ASKED = COUNTERS_AGES + HISTOGRAM_BYTES; // CONNECTs that a hook was asked for
export const COUNTERS_HOOK_TIMEOUTS = COUNTERS_HOOK_ASKED + 8; // of these, those that it had no decision for in time
export const COUNTERS_HOOK_BUSY = COUNTERS_HOOK_TIMEOUTS + 8; // CONNECTs for which it could not be asked: too many wait for it
export const COUNTERS_BYTES = COUNTERS_HOOK_BUSY + 8;

// ---- Backend counters: 64 bytes for each backend id, written by the worker -------------------------------------------
export const BACKEND_COUNTERS_BYTES = 64;
export const BACKEND_COUNTERS_ACTIVE = 0; // u32 gauge: connections that chose it, dialling or established
export const BACKEND_COUNTERS_CURRENT_WEIGHT = 4; // i32, smooth weighted round robin
export const BACKEND_COUNTERS_CONNECTS = 8; // u64, dials that succeeded
export const BACKEND_COUNTERS_FAILURES = 16; // u64, dials that failed
export const BACKEND_COUNTERS_CHOSEN = 24; // u64
export const BACKEND_COUNTERS_BYTES_TO = 32; // u64
export const BACKEND_COUNTERS_BYTES_FROM = 40; // u64
export const BACKEND_COUNTERS_EXHAUSTED = 48; // u64, dials for which the source had no port left: no failure of its own
export const BACKEND_COUNTERS_SOURCE_TURN = 56; // u32, the pool's sources are taken in turn

// ---- Backend figures: a page for each backend id, behind all of the counters; written when a connection begins ---------
export const BACKEND_FIGURES = BACKENDS_MAX * BACKEND_COUNTERS_BYTES; // offset in the region of the counters
export const BACKEND_FIGURES_BYTES = 4096;
export const BACKEND_FIGURES_CONNACKS = 0; // u64 for each code that a byte can hold: those of 3.1.1 and 5.0 differ but for 0
export const CONNACK_CODES = 256;
export const BACKEND_FIGURES_OTHER = BACKEND_FIGURES_CONNACKS + CONNACK_CODES * 8; // u64, first bytes that tell no code
export const BACKEND_FIGURES_CONNECT = BACKEND_FIGURES_OTHER + 8; // latencies, from a dial to its success
export const BACKEND_FIGURES_CONNACK = BACKEND_FIGURES_CONNECT + LATENCIES_BYTES; // latencies, from there to CONNACK

// ---- Source counters: SOURCE_IDS_MAX entries for each backend id, written by the worker ------------------------------
export const SOURCE_COUNTERS_BYTES = 16;
export const SOURCE_COUNTERS_ACTIVE = 0; // u32 gauge: connections from there to the backend, dialling or established
export const SOURCE_COUNTERS_REST_TICK = 4; // u32, until then it isn't dialled from; 0: it had ports the last time
export const SOURCE_COUNTERS_EXHAUSTED = 8; // u64, dials that found no port

// ---- Backend health: one u32 for each backend id, written by the main thread -----------------------------------------
export const HEALTH_UP = 0;
/** Connects failed lately (max_fails): passed over while another member is left, tried when none is. */
export const HEALTH_SUSPECT = 1;
/** Never chosen. */
export const HEALTH_DOWN = 2;
/** Takes nobody new. */
export const HEALTH_DRAIN = 4;
/** The bits of the states above. The others say how much is withheld from a backend in its slow start: 0 is nothing. */
export const HEALTH_STATES = 0xffff;
export const HEALTH_WITHHELD_SHIFT = 16;
/** A backend's full share of its clients in the parts that are counted as withheld. Never are all of them. */
export const HEALTH_SHARE_FULL = 1 << 16;

// ---- Snapshot --------------------------------------------------------------------------------------------------------
//
//   SnapshotHalf | ListenerEntry x LISTENERS_MAX | pool offsets u32 x POOLS_MAX | limits | binds | pool blocks, and the
//   Addresses and Identities of the listeners that have them, 16-byte aligned
//
//   limits: ListenerLimits x LISTENERS_MAX | PoolLimits x POOLS_MAX | BackendLimits x BACKENDS_MAX, by backend id
//   binds: what each listener is bound to, a sockaddr x LISTENERS_MAX; then Hook x LISTENERS_MAX
//
// A listener keeps its index for as long as it has connections: one that was removed keeps its entry too, by which they
// are served. The bytes are the same for every worker but for the sockets.
//
export const SNAPSHOT_EPOCH = 0;
export const SNAPSHOT_LISTENER_COUNT = 4;
export const SNAPSHOT_POOL_COUNT = 8;
export const SNAPSHOT_CONNECT_MAX_BYTES = 12;
export const SNAPSHOT_LISTENERS = 64;
export const LISTENER_ENTRY_BYTES = 32;
export const LISTENER_POOL = 0; // index in the list of pools; NONE: it was removed, and its pool with it
export const LISTENER_CONNECT_TIMEOUT_MS = 4; // from accept to a complete CONNECT
export const LISTENER_KEEP_ALIVE_PERCENT = 8; // of the Keep Alive, after which a silent client is closed; 0 never
export const LISTENER_IDLE_TIMEOUT_MS = 12; // the same for a client with Keep Alive 0; 0 never
export const LISTENER_FRONTS = 16; // offset in the half of the Addresses whose connections begin with a PROXY header; 0: none do
export const LISTENER_IDENTITY = 20; // offset in the half of its Identity; 0: it asks for none
export const LISTENER_ADDRESSES = 24; // offset in the half of its Addresses; 0: everybody may come
export const LISTENER_FD = 28; // the worker's own listening socket, written when the snapshot is published; NONE: it was removed
export const SNAPSHOT_POOLS = SNAPSHOT_LISTENERS + LISTENERS_MAX * LISTENER_ENTRY_BYTES; // u32 offset in the half
// Limits are those of all workers together, 0 for none: each worker keeps to its part.
export const SNAPSHOT_LISTENER_LIMITS = SNAPSHOT_POOLS + POOLS_MAX * 4;
export const LISTENER_LIMITS_BYTES = 32;
export const LISTENER_LIMITS_MAX_CONNECTIONS = 0;
export const LISTENER_LIMITS_MAX_PER_SOURCE = 4;
export const LISTENER_LIMITS_MAX_HALF_OPEN = 8; // 0: as many as there are slots, but for a few
export const LISTENER_LIMITS_SOURCE_RATE = 12; // connections a second of one source
export const LISTENER_LIMITS_SOURCE_BURST = 16;
export const LISTENER_LIMITS_SOURCE_PREFIXES = 20; // bits of an IPv4 address that make a source | those of an IPv6 one << 8
export const LISTENER_LIMITS_TAKE_OVERS = 24; // 1: who takes whose place is followed
export const SNAPSHOT_POOL_LIMITS = SNAPSHOT_LISTENER_LIMITS + LISTENERS_MAX * LISTENER_LIMITS_BYTES;
export const POOL_LIMITS_BYTES = 32;
export const POOL_LIMITS_ID = 0; // index of the pool's gate: the same in every snapshot
export const POOL_LIMITS_IS_LIMITED = 4; // 1: the pool or one of its backends has a limit
export const POOL_LIMITS_RATE = 8; // CONNECTs a second
export const POOL_LIMITS_BURST = 12;
export const POOL_LIMITS_MAX_CONNECTIONS = 16;
export const POOL_LIMITS_QUEUE_MAX = 20;
export const POOL_LIMITS_QUEUE_TIMEOUT_MS = 24;
export const POOL_LIMITS_CREWS = 28; // whose workers share rate and queue: those of one engine, or of two; 0 is one
export const SNAPSHOT_BACKEND_LIMITS = SNAPSHOT_POOL_LIMITS + POOLS_MAX * POOL_LIMITS_BYTES;
export const BACKEND_LIMITS_BYTES = 16;
export const BACKEND_LIMITS_RATE = 0;
export const BACKEND_LIMITS_BURST = 4;
export const BACKEND_LIMITS_MAX_CONNECTIONS = 8;
export const BACKEND_LIMITS_CREWS = 12; // its pool's
export const SNAPSHOT_LISTENER_BINDS = SNAPSHOT_BACKEND_LIMITS + BACKENDS_MAX * BACKEND_LIMITS_BYTES;
export const LISTENER_BIND_BYTES = 32; // SOCKADDR_BYTES_MAX, as the kernel spells it
export const SNAPSHOT_LISTENER_HOOKS = SNAPSHOT_LISTENER_BINDS + LISTENERS_MAX * LISTENER_BIND_BYTES;
export const HOOK_BYTES = 16;
export const HOOK_ID = 0; // that the main thread knows it by
export const HOOK_TIMEOUT_MS = 4; // until then it has decided; 0: the listener has none
export const HOOK_ACCEPTS = 8; // 1: a client whose hook has failed is let in as if there were none
export const SNAPSHOT_BLOCKS = SNAPSHOT_LISTENER_HOOKS + LISTENERS_MAX * HOOK_BYTES;

// A pool block is relocatable: offsets inside it count from its own start, so it is built once and copied everywhere.
//
//   Pool 80 B | Member 64 B x memberCount | table | Source x sourceCount, 8-byte aligned | Drain, its server reference
//
// table: rendezvous, rowCount rows of ROW_BYTES (first, second, third member, spare: u8 each, ROW_NONE for none);
//        ketama, pointCount points of POINT_BYTES (u32 hash, u32 member), ascending by hash, no hash twice;
//        nothing for pools of another method.
export const POOL_BYTES = 80;
export const POOL_METHOD = 0;
export const POOL_KEY = 4;
export const POOL_ALGORITHM = 8;
export const POOL_MEMBER_COUNT = 12;
export const POOL_ENTRY_COUNT = 16; // rows (a power of two) or points
export const POOL_MEMBERS = 20; // offset in the block
export const POOL_TABLE = 24; // offset in the block
export const POOL_BLOCK_BYTES = 28;
export const POOL_SECRET = 32; // 16 bytes, key of SipHash; zeros when the operator set none
export const POOL_CONNECT_TIMEOUT_MS = 48; // for one dial
export const POOL_SOURCE_COUNT = 52; // 0: the system chooses
export const POOL_SOURCES = 56; // offset in the block
export const POOL_ID = 60; // index of its counters
export const POOL_DRAIN = 64; // offset in the block
export const POOL_PROXY_PROTOCOL = 68; // PROXY_PROTOCOL_*: what its backends are told of a client before it speaks
export const MEMBER_BYTES = 64;
export const MEMBER_BACKEND = 0; // id: index of health and counters
export const MEMBER_WEIGHT = 4; // 0 takes nobody
export const MEMBER_BACKUP = 8; // 1: only when no other member is left
export const MEMBER_SOCKADDR_BYTES = 12;
export const MEMBER_SOCKADDR = 16; // SOCKADDR_BYTES_MAX, as the kernel spells it
export const MEMBER_NAME_HASH = 48; // u64, written by the table's build
export const SOURCE_BYTES = 40;
export const SOURCE_ID = 0; // index of its counters, for each backend of the pool
export const SOURCE_SOCKADDR_BYTES = 4;
export const SOURCE_SOCKADDR = 8; // SOCKADDR_BYTES_MAX, as the kernel spells it; port 0
export const DRAIN_BYTES = 16;
export const DRAIN_PACKETS = 0; // 1: it is followed where a connection's packets begin and end
export const DRAIN_REFERENCE_BYTES = 4; // of the Server Reference, which follows; 0: none
export const DRAIN_ORPHAN_INTERVAL_US = 8; // between two clients that a backend left behind; 0: all are closed at once
export const SERVER_REFERENCE_BYTES_MAX = 255;
export const ROW_BYTES = 4;
export const ROW_NONE = 255;
export const ROWS_MIN = 1 << 8;
export const ROWS_DEFAULT = 1 << 16;
export const ROWS_MAX = 1 << 20;
export const POINT_BYTES = 8;
export const POINTS_PER_WEIGHT = 160; // nginx's number
/** The weights of a ketama pool can't add up to more than POINTS_MAX / POINTS_PER_WEIGHT: half a snapshot. */
export const POINTS_MAX = 1 << 20;

// Addresses are those that may come: AddressRange x rangeCount, ascending, none touching the next. An IPv4 address is
// looked up as the IPv6 one that it is mapped to, which is no other's.
//
//   rangeCount u32, padded to ADDRESSES_BYTES | AddressRange: first and last, each as two u64, the higher one first
//
export const ADDRESSES_BYTES = 16;
export const ADDRESSES_RANGE_COUNT = 0;
export const ADDRESS_RANGE_BYTES = 32;
export const ADDRESS_RANGE_LAST = 16;
/** In each of a listener's two lists. */
export const ADDRESS_RULES_MAX = 4096;

// What a listener asks of its clients' names, and what it makes of them. Offsets count from the Identity's own start, 0
// for what isn't there.
//
//   Identity 48 B | TextList: count u32, Text x count | Text: Text 8 B, tokens u16 x tokenCount, padded to 4 bytes
//
// A Text is a pattern or a template: its tokens are bytes below TOKEN_ANY_CHARACTER, then wildcards, then fields.
export const IDENTITY_BYTES = 48;
export const IDENTITY_CLIENT_ID_PATTERNS = 0; // TextList, one of which the ClientId must match
export const IDENTITY_CLIENT_ID_DENIED = 4; // TextList, none of which it may match
export const IDENTITY_USERNAME_PATTERNS = 8;
export const IDENTITY_USERNAME_DENIED = 12;
export const IDENTITY_CLIENT_ID = 16; // Text, template of what the broker is told instead
export const IDENTITY_USERNAME = 20;
export const IDENTITY_PASSWORD = 24;
export const IDENTITY_EMPTY = 28; // EMPTY_*: what becomes of a client without ClientId
export const IDENTITY_USERNAME_REQUIRED = 32; // 1: nobody without one
export const EMPTY_ALLOW = 0; // the broker names it
export const EMPTY_REFUSE = 1;
export const EMPTY_ASSIGN = 2; // it is named here, unless it speaks MQTT 5.0, whose brokers tell a client its name
export const TEXT_BYTES = 8;
export const TEXT_TOKEN_COUNT = 0;
export const TEXT_FIELDS = 4; // a bit for each FIELD_* that it names
export const TOKEN_ANY_CHARACTER = 256; // one character
export const TOKEN_ANY_RUN = 257; // any number of them
export const TOKEN_FIELDS = 512; // and the FIELD_*
export const FIELD_CLIENT_ID = 0;
export const FIELD_USERNAME = 1;
export const FIELD_REMOTE_ADDR = 2;
export const FIELD_TLS_CLIENT_CN = 3; // of a certificate that was verified
export const FIELD_TLS_SNI = 4;
export const FIELD_TLS_CLIENT_SUBJECT = 5; // of such a one, too, as all that follow
export const FIELD_TLS_CLIENT_SAN = 6; // in a pattern any of its names, elsewhere the first one
export const FIELD_TLS_CLIENT_SERIAL = 7;
export const FIELD_TLS_CLIENT_FINGERPRINT = 8;
export const FIELDS_MAX = 9;
/** A longer ClientId or user name matches no pattern, and is refused where any are to be matched: no match takes long. */
export const MATCHED_BYTES_MAX = 1024;
/** Patterns in one list, the bytes of one, and how many fields it names. */
export const PATTERNS_MAX = 64;
export const PATTERN_BYTES_MAX = 256;
export const PATTERN_FIELDS_MAX = 4;
export const TEMPLATE_BYTES_MAX = 1024;

// What the build of a table answers.
export const TABLE_BUILT = 0;
export const TABLE_MEMBER_COUNT = 1; // none, or more than MEMBERS_MAX
export const TABLE_MEMBER_WEIGHT = 2; // more than WEIGHT_MAX
export const TABLE_MEMBER_TWICE = 3; // two members of one name
export const TABLE_ROWS = 4; // not a power of two between ROWS_MIN and ROWS_MAX
export const TABLE_POINTS = 5; // more than POINTS_MAX

export const METHOD_HASH = 0;
export const METHOD_ROUND_ROBIN = 1;
export const METHOD_LEAST_CONN = 2;
export const METHOD_RANDOM_TWO = 3;
export const KEY_CLIENT_ID = 0;
export const KEY_USERNAME = 1;
export const KEY_REMOTE_ADDR = 2;
export const KEY_TLS_SNI = 3;
export const KEY_TLS_CLIENT_CN = 4;
export const KEY_TLS_CLIENT_SUBJECT = 5;
export const KEY_TLS_CLIENT_SAN = 6;
export const KEY_TLS_CLIENT_SERIAL = 7;
export const KEY_TLS_CLIENT_FINGERPRINT = 8;
export const ALGORITHM_RENDEZVOUS = 0;
export const ALGORITHM_KETAMA = 1;

// ---- Connect: what the parser found in a CONNECT packet --------------------------------------------------------------
// Offsets count from the packet's first byte. A field that is absent has offset 0.
export const CONNECT_PACKET_BYTES = 0; // whole packet; 0 while the length isn't known
export const CONNECT_VERSION = 4; // 3, 4 or 5: MQTT 3.1, 3.1.1, 5.0; 0 while unknown; else the level that was refused
export const CONNECT_FLAGS = 8; // the connect flags byte
export const CONNECT_KEEP_ALIVE = 12; // seconds
export const CONNECT_CLIENT_ID = 16; // offset, then bytes
export const CONNECT_CLIENT_ID_BYTES = 20;
export const CONNECT_USERNAME = 24;
export const CONNECT_USERNAME_BYTES = 28;
export const CONNECT_PASSWORD = 32;
export const CONNECT_PASSWORD_BYTES = 36;
export const CONNECT_WILL_TOPIC = 40;
export const CONNECT_WILL_TOPIC_BYTES = 44;
export const CONNECT_WILL_PAYLOAD = 48;
export const CONNECT_WILL_PAYLOAD_BYTES = 52;
export const CONNECT_PROPERTIES = 56;
export const CONNECT_PROPERTIES_BYTES = 60;
export const CONNECT_WILL_PROPERTIES = 64;
export const CONNECT_WILL_PROPERTIES_BYTES = 68;
export const CONNECT_SESSION_EXPIRY = 72; // seconds, 0xffffffff never
export const CONNECT_RECEIVE_MAXIMUM = 76; // 65,535 when absent
export const CONNECT_MAXIMUM_PACKET_SIZE = 80; // bytes, 0 when absent
export const CONNECT_TOPIC_ALIAS_MAXIMUM = 84;
export const CONNECT_REASON = 88; // REASON_* when refused
export const CONNECT_REASON_OFFSET = 92; // where in the packet the fault stands
export const CONNECT_BYTES = 96;

export const CONNECT_FLAG_CLEAN_START = 2;
export const CONNECT_FLAG_WILL = 4;
export const CONNECT_FLAG_WILL_QOS = 24;
export const CONNECT_FLAG_WILL_RETAIN = 32;
export const CONNECT_FLAG_PASSWORD = 64;
export const CONNECT_FLAG_USERNAME = 128;

export const PARSE_COMPLETE = 0;
export const PARSE_PARTIAL = 1;
export const PARSE_REFUSED = 2;

// ---- PROXY protocol: who a client is, told by whoever is connected in its stead -----------------------------------------
export const PROXY_PROTOCOL_OFF = 0;
export const PROXY_PROTOCOL_V1 = 1; // a line of text
export const PROXY_PROTOCOL_V2 = 2; // binary
/** A longer header is refused. Those with a TLS client's name, its certificate's fields and the like have some hundred bytes. */
export const PROXY_HEADER_BYTES_MAX = 4096;
// ProxyHeader: what the parser found.
export const PROXY_HEADER_BYTES_TOTAL = 0; // of the whole header; 0 while it isn't whole
export const PROXY_HEADER_HAS_ADDRESS = 4; // 0: it speaks of nobody (LOCAL, UNKNOWN), and the socket's own address holds
export const PROXY_HEADER_SOURCE = 8; // SOCKADDR_BYTES_MAX, as the kernel spells it
export const PROXY_HEADER_DESTINATION = PROXY_HEADER_SOURCE + SOCKADDR_BYTES_MAX;
export const PROXY_HEADER_STRUCT_BYTES = PROXY_HEADER_DESTINATION + SOCKADDR_BYTES_MAX;
export const PP2_TYPE_ALPN = 0x01;
export const PP2_TYPE_AUTHORITY = 0x02;
export const PP2_TYPE_CRC32C = 0x03;
export const PP2_TYPE_UNIQUE_ID = 0x05;
export const PP2_TYPE_SSL = 0x20;
export const PP2_SUBTYPE_SSL_VERSION = 0x21;
export const PP2_SUBTYPE_SSL_CN = 0x22;
export const PP2_SUBTYPE_SSL_CIPHER = 0x23;
export const PP2_CLIENT_SSL = 1;
export const PP2_CLIENT_CERT_CONN = 2;
/** Of a connection, in hex. */
export const UNIQUE_ID_BYTES = 32;

// ---- Greetings: PROXY headers on their way to a backend, as many as connections at most ------------------------------------
export const GREETING_BYTES = 128; // u32 next free one, or the header's bytes | the header

// ---- Reasons: why a connection ended. The names that logs and metrics show are in src/reasons.ts -----------------------
export const REASON_NONE = 0; // still open
// the client's first bytes
export const REASON_HTTP_REQUEST = 1;
export const REASON_TLS_HELLO = 2;
export const REASON_CONNECT_EXPECTED = 3; // an MQTT packet, but not CONNECT
export const REASON_NOT_MQTT = 4;
export const REASON_FIXED_HEADER_FLAGS = 5;
export const REASON_REMAINING_LENGTH = 6;
export const REASON_CONNECT_TOO_LARGE = 7;
export const REASON_PROTOCOL_NAME = 8;
export const REASON_PROTOCOL_VERSION = 9;
export const REASON_RESERVED_FLAG = 10;
export const REASON_WILL_FLAGS = 11;
export const REASON_PASSWORD_WITHOUT_USERNAME = 12;
export const REASON_UTF8 = 13;
export const REASON_NULL_CHARACTER = 14;
export const REASON_FIELD_TOO_LONG = 15; // a field's length reaches past the packet's end
export const REASON_TRAILING_BYTES = 16;
export const REASON_PROPERTY_UNKNOWN = 17;
export const REASON_PROPERTY_DUPLICATE = 18;
export const REASON_PROPERTY_VALUE = 19;
export const REASON_PROPERTY_LENGTH = 20;
export const REASON_CLIENT_ID_REQUIRED = 21;
export const REASON_WILL_TOPIC = 22; // empty, or with wildcards
export const REASON_CONNECT_TIMEOUT = 23;
export const REASON_CLIENT_LEFT_EARLY = 24; // closed or reset before its CONNECT was complete
// who is connected in a client's stead
export const REASON_PROXY_HEADER = 25; // from a front, but with no PROXY header, or a malformed one
export const REASON_PROXY_SOURCE = 26; // from an address that no front of this listener has
// the front doors before them
export const REASON_TLS_HANDSHAKE = 28; // failed, or the client left during it
export const REASON_TLS_TIMEOUT = 29;
export const REASON_TLS_HANDSHAKES_MAX = 30; // too many at once
export const REASON_CLIENT_CERTIFICATE = 31; // none, or one that isn't good, where one is required
// ours
export const REASON_NO_BACKEND = 32; // every candidate refused, timed out or is down
export const REASON_CONNECTIONS_MAX = 33;
export const REASON_SHUTDOWN = 34;
export const REASON_WORKER_DIED = 35;
export const REASON_INTERNAL = 36;
export const REASON_BUFFERS_SHORT = 37; // partial CONNECT packets hold all the buffers that they may
export const REASON_PORTS_EXHAUSTED = 38; // no candidate could be had, at least one of them for want of a port
// an established connection
export const REASON_CLIENT_CLOSED = 40;
export const REASON_CLIENT_RESET = 41;
export const REASON_BACKEND_CLOSED = 42;
export const REASON_BACKEND_RESET = 43;
export const REASON_CLIENT_STALLED = 44; // stopped reading
export const REASON_BACKEND_STALLED = 45;
export const REASON_KEEP_ALIVE_TIMEOUT = 46; // nothing from the client for longer than its Keep Alive allows
export const REASON_IDLE_TIMEOUT = 47; // the same of a client without Keep Alive
export const REASON_DRAINED = 48; // moved away: its backend is being emptied
export const REASON_REBALANCED = 49; // moved away: another backend is its owner now
export const REASON_KICKED = 50; // by an operator
export const REASON_BACKEND_DOWN = 51; // its backend was found dead
// admission
export const REASON_CONNECT_RATE = 56; // more CONNECTs than connect_rate and the queue take
export const REASON_QUEUE_TIMEOUT = 57; // waited in the queue for too long
export const REASON_CLIENT_LEFT_QUEUE = 58; // closed or reset while it waited there
export const REASON_LISTENER_CONNECTIONS = 59; // max_connections of the listener
export const REASON_SOURCE_CONNECTIONS = 60; // max_connections_per_source of the listener
export const REASON_POOL_CONNECTIONS = 61; // max_connections of the pool
export const REASON_BACKEND_CONNECTIONS = 62; // no backend is left but those that have their max_connections
// of a front door
export const REASON_WEBSOCKET_REFUSED = 63; // its request was refused
// a listener's rules
export const REASON_ADDRESS_DENIED = 64; // it comes from where nobody may
export const REASON_CLIENT_ID_EMPTY = 65;
export const REASON_CLIENT_ID_DENIED = 66;
export const REASON_USERNAME_REQUIRED = 67;
export const REASON_USERNAME_DENIED = 68;
export const REASON_IDENTITY_MISMATCH = 69; // what it calls itself isn't what its other fields say
export const REASON_REWRITE_FIELD_MISSING = 70; // its CONNECT lacks what the rewritten one is made of
export const REASON_REWRITE_TOO_LARGE = 71; // longer than connect_max_bytes, or a field longer than MQTT can say
// protection
export const REASON_HALF_OPEN = 90; // the oldest of those whose CONNECT wasn't whole, when there were too many of them
export const REASON_SOURCE_RATE = 91; // connect_rate_per_source of the listener
export const REASON_TAKE_OVER_LOOP = 92; // its name is in a loop of take-overs, and has to pause
// a listener's hook
export const REASON_HOOK_REFUSED = 80; // by its word
export const REASON_HOOK_FAILED = 81; // it threw, or answered what is no decision
export const REASON_HOOK_TIMEOUT = 82;
export const REASON_HOOK_BUSY = 83; // too many wait for it already
export const REASON_CLIENT_LEFT_HOOK = 84; // closed or reset while its hook was asked

/** Longest refusal: a v5 CONNACK with no properties. */
export const REFUSAL_BYTES_MAX = 5;

// ---- Verdicts of decide ------------------------------------------------------------------------------------------------
export const VERDICT_MORE = 0; // the CONNECT isn't complete yet
export const VERDICT_DIAL = 1; // a backend was chosen
export const VERDICT_REFUSE = 2; // Cold.reason says why
export const VERDICT_QUEUE = 3; // it waits until it may be dialled
export const VERDICT_HEADER = 4; // of a new client: a PROXY header comes before its CONNECT
export const VERDICT_REWRITTEN = 5; // another CONNECT takes the place of the client's, then connectionAdmit says more
export const VERDICT_ASK = 6; // it waits until its listener's hook has decided

// ---- Connections: one hot and one cold line each -------------------------------------------------------------------------
export const HOT_BYTES = 64;
export const HOT_GENERATION = 0;
export const HOT_PHASE = 8; // u16
export const HOT_EPOCH = 10; // u16
export const HOT_FLAGS = 12;
/** Of Hot.phase; the picture of a connection's life is drawn in proxy/table.ts. */
export const PHASE_FREE = 0;
export const PHASE_ACCEPTING = 1;
export const PHASE_READING = 2; // waits for a whole CONNECT
export const PHASE_DIALLING = 3;
export const PHASE_GREETING = 4; // the backend is connected, the CONNECT is on its way to it: the last moment for another
export const PHASE_OPEN = 5;
export const PHASE_REFUSING = 6;
export const PHASE_CLOSING = 7;
export const PHASE_LEAVING = 8; // evicted: nothing new is passed on, what had come goes out, then a last word
export const PHASE_QUEUED = 9; // waits until a backend may be dialled for it
export const PHASE_ASKING = 10; // waits until its listener's hook has decided
/** Of Hot.flags: Cold.keyHash is the hash of a key. */
export const FLAG_KEYED = 1 << 0;
/** The backend's first bytes were looked at: a CONNACK, as a rule. */
export const FLAG_ANSWERED = 1 << 2;
export const COLD_BYTES = 128;
// The first 64 bytes of a cold line are what bytes and looks at the clock touch, the others what its beginning and end do.
export const COLD_BYTES_FROM_CLIENT = 0; // u64
export const COLD_BYTES_TO_CLIENT = 8; // u64
export const COLD_SENT_TICKS = 16; // u32 for each direction: when it last got rid of bytes, or began to have some
export const COLD_FRAMING = 24; // u32 for each direction: where in an MQTT packet its bytes stand
export const COLD_CLIENT_TICK = 32; // when the client's last bytes came, in ticks of the timer wheel
export const COLD_STAMP_US = 36; // microseconds modulo 2^32: when what is being waited for was asked for
export const COLD_BACKEND = 40; // id, or NONE
export const COLD_LISTENER = 44; // u8
export const COLD_POOL = 45; // u8
export const COLD_MEMBER = 46; // u8
export const COLD_SOURCE = 47; // u8, id: of the backend's counters
export const COLD_REASON = 48; // u16
export const COLD_KEEP_ALIVE = 50; // u16, seconds: the one in force
export const COLD_CLIENT_ID_BYTES = 52; // u16
export const COLD_VERSION = 54; // u8
export const COLD_CHOICE = 55; // u8, the code that a hook refuses it with, or, with MARK_POOL_CHOSEN, the id of its pool
export const COLD_OPENED_MS = 56; // f64, milliseconds since 1970
export const COLD_KEY_HASH = 64; // u64
export const COLD_TRIED = 72; // u64, a bit for each member already dialled
export const COLD_PEER = 80; // sockaddr as accept wrote it
export const COLD_GREETING = COLD_PEER + SOCKADDR_BYTES_MAX; // u32
export const COLD_CLIENT_ID = 112; // the id itself up to CLIENT_ID_INLINE_BYTES, else the first arena chunk (u32)
/** COLD_FRAMING between two packets. What it says inside of one: mqtt/framing.ts. */
export const FRAMING_BOUNDARY = 0;
export const FRAMING_UNKNOWN = 0xffffffff; // this isn't MQTT, or isn't followed: no boundary is known any more
export const CLIENT_ID_INLINE_BYTES = 16;
/** A longer ClientId is routed whole but logged cut off at this length. */
export const CLIENT_ID_KEPT_BYTES_MAX = 1020;
export const ARENA_CHUNK_BYTES = 64; // u32 next, then 60 bytes

// ---- Evictions: connections that the main thread wants ended, a ring of entries ------------------------------------------
// The main thread writes entries, then the header's count of those written, and wakes the worker.
export const EVICTIONS_MAX = 1024; // a power of two
export const EVICTION_BYTES = 16;
export const EVICTION_SLOT = 0;
export const EVICTION_GENERATION = 4; // Hot.generation of the life that is meant; of another life the entry is void
export const EVICTION_REASON = 8; // u16, REASON_*
export const EVICTION_CODE = 10; // u8, reason code of the DISCONNECT that an MQTT 5.0 client gets; 0: none
export const EVICTION_FLAGS = 11; // u8, EVICTION_* below
export const EVICTION_REFERENCE = 12; // u32, 1: the DISCONNECT carries the pool's server reference
/** The backend gets a DISCONNECT in the client's name, so that it publishes no will for a client that only moves. */
export const EVICTION_GOODBYE = 1;
/** At once, wherever in a packet its bytes stand: its backend is gone. */
export const EVICTION_ABRUPT = 2;

// ---- Hooks: what they are asked, and what they have decided ---------------------------------------------------------------
// Two rings of entries like the ring of access records: none wraps, each is a multiple of 8 bytes, and one whose count of
// bytes has ENTRY_SKIP set is padding up to the ring's end. The worker asks and wakes the main thread, which waits for
// the word HEADER_ASKS_WRITTEN; the main thread brings decisions and wakes the worker.
export const ENTRY_SKIP = 0x80000000;
export const ASKS_BYTES = 1 << 21; // four of the largest CONNECTs
export const ASK_BYTES_TOTAL = 0;
export const ASK_SLOT = 4;
export const ASK_GENERATION = 8; // Hot.generation
export const ASK_HOOK = 12; // its id
export const ASK_CONNECT_BYTES = 16;
export const ASK_PEER = 20; // sockaddr, SOCKADDR_BYTES_MAX
export const ASK_CONNECT = ASK_PEER + SOCKADDR_BYTES_MAX; // the packet; behind it, 8-byte aligned, a Front block if there is one
export const DECISIONS_BYTES = 1 << 20;
export const DECISION_BYTES_TOTAL = 0;
export const DECISION_SLOT = 4;
export const DECISION_GENERATION = 8; // of the life that is meant; for another life the entry is void
export const DECISION_VERDICT = 12; // DECISION_ACCEPT and the like
export const DECISION_CODE = 16; // reason code of MQTT 5.0, of a refusal
export const DECISION_POOL = 20; // id of the pool; NONE: its listener's
export const DECISION_KEY_BYTES = 24; // of each text, NONE: there is none, and nothing changes
export const DECISION_CLIENT_ID_BYTES = 28;
export const DECISION_USERNAME_BYTES = 32;
export const DECISION_PASSWORD_BYTES = 36;
export const DECISION_TEXTS = 40; // key, ClientId, user name, password, one after the other
export const DECISION_ACCEPT = 0;
export const DECISION_REFUSE = 1;
export const DECISION_FAILED = 2; // there is none
/** Of all texts of one together. */
export const DECISION_TEXTS_BYTES_MAX = 1 << 18;

// ---- Admission: who may be dialled, and who waits for it ---------------------------------------------------------------
//
//   Admission | Gate x GATES_MAX | Place for each slot | Tally for each slot, padded to 16 B | table of sources, 16 B
//   each | paces of sources, 16 B each | Session x HEADER_SESSIONS | Pause x PAUSES
//
// A gate stands for a listener, a pool or a backend, or for a pool's clients that wait for a place: it has a bucket of
// tokens, a lane of waiting slots (a listener has a list of those who are half open, whose CONNECT isn't whole), and the
// connections that this worker may have. Zeroed memory is a gate that nobody has come to. Allowances are the main
// thread's, see src/control/leases.ts.
export const ADMISSION_BYTES = 64;
export const ADMISSION_LEASES_WRITTEN = 0; // u32, grows with every change of an allowance; written by the main thread
export const ADMISSION_LEASES_SEEN = 4; // u32, all that this worker decides from now on heeds them; written by the worker
export const ADMISSION_WORKERS = 8; // u32, of this engine: they share a listener
export const ADMISSION_QUEUED = 12; // u32 gauge, in all lanes
export const ADMISSION_SESSIONS_BEGUN = 16; // u32, serial of the session that began last
export const GATE_BYTES = 64;
export const GATE_TOKENS = 0; // f64
export const GATE_FILLED_MS = 8; // f64, when the tokens were counted last; 0: never
export const GATE_QUEUED_TOTAL = 16; // u64, clients that waited here, or of a pool in any of its lanes
export const GATE_HEAD = 24; // u32 slot + 1, the one that has waited longest; 0: nobody
export const GATE_TAIL = 28; // u32
export const GATE_WAITING = 32; // u32 gauge, in this lane, or of a pool in any of its lanes
export const GATE_ACTIVE = 36; // u32 gauge, of a listener or a pool: clients that were let in, queued ones too
export const GATE_ALLOWANCE = 40; // u32, how many this worker may have; written by the main thread
export const GATE_IS_FULL = 44; // u32, 1: no worker has any left; written by the main thread
export const GATE_WANTED = 48; // u32, times that the allowance was too small
export const GATE_POOL = 52; // u32, id of the pool that the lane belongs to
export const GATE_PREFIXES = 56; // u32, of a listener: the prefixes by which its sources are counted
export const GATES_LISTENERS = 0;
export const GATES_POOLS = GATES_LISTENERS + LISTENERS_MAX;
export const GATES_BACKENDS = GATES_POOLS + POOL_IDS_MAX;
export const GATES_LEASES = GATES_BACKENDS + BACKENDS_MAX; // by pool: who waits for the main thread to move an allowance
export const GATES_STRAYS = GATES_LEASES + POOL_IDS_MAX; // one: whose listener and pool were removed while they waited
export const GATES_MAX = GATES_STRAYS + 1;
export const PLACE_BYTES = 16;
export const PLACE_PREVIOUS = 0; // u32 slot + 1
export const PLACE_NEXT = 4; // u32 slot + 1
export const PLACE_SINCE_TICK = 8; // when it first began to wait; 0: it never has
export const PLACE_LANE = 12; // u32, gate + 1; 0: it doesn't wait
export const TALLY_BYTES = 2;
export const TALLY_POOL = 0; // u8, id of the pool that counts the slot, with MARK_ADMITTED
export const TALLY_MARKS = 1; // u8, MARK_* below
/** Its listener and its pool count it. */
export const MARK_ADMITTED = 4;
/** Its source address counts it. */
export const MARK_SOURCE = 1;
/** Its pool is the one that a hook has chosen: Cold.choice. */
export const MARK_POOL_CHOSEN = 128;
/** It has waited for a lease for as long as it may, and does so no more. */
export const MARK_IMPATIENT = 2;
/** It stands in the list of those whose CONNECT isn't whole. */
export const MARK_HALF_OPEN = 32;
export const SOURCE_COUNT_BYTES = 16;
export const SOURCE_PACE_BYTES = 16;
export const SOURCE_PACES = 16384; // in each worker, a power of two
/** Its ClientId is followed, and at its CONNECT another session of that name was open. */
export const MARK_SESSION = 8;
export const MARK_OVERLAP = 16;
export const SESSION_WAYS = 8; // of them that share a place
export const SESSION_BYTES = 104; // the session that began last of those with one ClientId in one pool
export const SESSION_TAG = 0; // u64, keyed hash of the two; 0: free
export const SESSION_CONNECT_MS = 8; // f64, of the worker's clock: its broker was sent the CONNECT
export const SESSION_ENDED_MS = 16; // f64; 0: not yet
export const SESSION_SLOT = 24;
export const SESSION_GENERATION = 28;
export const SESSION_SERIAL = 32; // u32, grows with every session in this worker; written last
export const SESSION_OVERLAPS = 36; // u32, how many of that name began here while another was open here
export const SESSION_LISTENER = 40; // u32
export const SESSION_PEER = 44; // sockaddr, SOCKADDR_BYTES_MAX
export const SESSION_OTHER_PEER = SESSION_PEER + SOCKADDR_BYTES_MAX; // the same of the session that was open here at the last overlap
/** Names whose CONNECTs are refused for a while, each at the place that its hash says; written by the main thread. */
export const PAUSES = 1024; // a power of two
export const PAUSE_BYTES = 16;
export const PAUSE_TAG = 0; // u64, as of sessions
export const PAUSE_UNTIL_MS = 8; // f64, of the worker's clock; taken away first, written last
/** How long a client waits at most for an allowance of another worker's; a tenth of a second is enough on most days. */
export const LEASE_WAIT_MS = 3000;

// ---- Front block: what a front door (TLS) knows of a client, as texts --------------------------------------------------
//
//   bytes of each text, u16 x FRONT_TEXTS_MAX | the texts, one after the other
//
// The engine brings it when it asks for a decision, and once more for the record at the end.
export const FRONT_TEXTS_MAX = 12;
export const FRONT_SNI = 0; // what is found at which place in the list
export const FRONT_CLIENT_CN = 1; // of a certificate that could be verified
export const FRONT_TLS_VERSION = 2;
export const FRONT_TLS_CIPHER = 3;
export const FRONT_ERROR = 4; // why there was no handshake
export const FRONT_CLIENT_SUBJECT = 5; // of such a certificate, too, as all that follow
export const FRONT_CLIENT_SAN = 6; // its names, NAMES_SEPARATOR between them
export const FRONT_CLIENT_SERIAL = 7;
export const FRONT_CLIENT_FINGERPRINT = 8;
export const NAMES_SEPARATOR = 44; // a comma
export const FRONT_TEXTS = FRONT_TEXTS_MAX * 2;
export const FRONT_BYTES_MAX = FRONT_TEXTS + 1400;

// ---- Access record: written by a worker, read by the log thread --------------------------------------------------------
// Records follow one another in a ring of RECORDS_BYTES, each a multiple of 8 bytes, never wrapping: a record whose
// RECORD_BYTES_TOTAL has RECORD_SKIP set is padding up to the ring's end.
export const RECORD_BYTES_TOTAL = 0;
export const RECORD_SKIP = ENTRY_SKIP;
export const RECORD_REASON = 4;
export const RECORD_OPENED_MS = 8; // f64, since 1970
export const RECORD_CLOSED_MS = 16; // f64
export const RECORD_BYTES_FROM_CLIENT = 24; // u64
export const RECORD_BYTES_TO_CLIENT = 32; // u64
export const RECORD_BACKEND = 40; // id or NONE
export const RECORD_LISTENER = 44;
export const RECORD_VERSION = 48; // 0 unknown, else the protocol level
export const RECORD_KEEP_ALIVE = 52;
export const RECORD_ATTEMPTS = 56; // dials
export const RECORD_CLIENT_ID_BYTES = 60; // low half: its whole length; high half: how many of them were kept, and follow
export const RECORD_KEPT_SHIFT = 16;
export const RECORD_PEER = 64; // sockaddr, SOCKADDR_BYTES_MAX
export const RECORD_EPOCH = RECORD_PEER + SOCKADDR_BYTES_MAX; // snapshot epoch that names the listener
export const RECORD_CLIENT_ID = 96; // behind it, 8-byte aligned, a Front block if the client has one
