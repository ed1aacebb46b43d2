// Numbers of the bench's load that both compilers read; see assembly/load.ts. The block lies where the data plane has
// its snapshots, which the load doesn't use.
//
//   settings | counters | member | histogram | messages, ready to be sent | PUBACKs, ready to be sent
//
// Settings, u32 each, written by the main thread before the start; RUNNING and PAUSED at any time.
export const LOAD_RUNNING = 0; // 0 stops
export const LOAD_PAUSED = 4; // PAUSED_*: what is under way arrives, and nothing new begins
export const LOAD_MODE = 8; // MODE_*
export const LOAD_CLIENTS = 12; // connections to keep open
export const LOAD_MESSAGE_BYTES = 16;
export const LOAD_ANSWER_BYTES = 20; // of the answer to one message
export const LOAD_DEPTH = 24; // messages in flight on each connection
export const LOAD_RATE = 28; // messages (in churn: connections) per second of all clients together; 0: a closed loop
export const LOAD_SPIN = 32; // 1: the thread never sleeps, so that nothing is noticed late
export const LOAD_DIALS_MAX = 36; // dials under way at once
export const LOAD_FIRST_ID = 40; // number in the first ClientId
export const LOAD_LISTENER_COUNT = 44; // listening sockets of the sink

// Counters, u64 each, written by the load.
export const LOAD_CONNECTED = 64; // connections that had their CONNACK
export const LOAD_FAILED = 72; // refused, reset or closed without being asked
export const LOAD_MESSAGES = 80; // answered
export const LOAD_OPEN = 88; // gauge: connections that could send now
export const LOAD_TURNS = 96;
export const LOAD_COMPLETIONS = 104;
export const LOAD_BEGUN_MS = 112; // f64, the first dial
export const LOAD_COMPLETE_MS = 120; // f64, when all clients were connected; 0 before

export const LOAD_MEMBER = 256; // Member: where to dial
export const LOAD_HISTOGRAM = 4096; // u32 for each bucket: latency, log-linear
export const HISTOGRAM_STEPS = 256; // buckets in each doubling
export const HISTOGRAM_DOUBLINGS = 30; // from 1 microsecond / HISTOGRAM_STEPS up
export const HISTOGRAM_BUCKETS = HISTOGRAM_STEPS * HISTOGRAM_DOUBLINGS;
export const LOAD_MESSAGE = 65536; // 2 * depth messages, one behind the other
export const LOAD_MESSAGES_BYTES_MAX = 8 << 20;
export const LOAD_ACKS = LOAD_MESSAGE + LOAD_MESSAGES_BYTES_MAX; // 2 * depth PUBACKs
export const LOAD_DEPTH_MAX = 1024;
export const PUBACK_BYTES = 4;

export const PAUSED_NOT = 0;
export const PAUSED_MESSAGES = 1; // clients connect, and wait
export const PAUSED_ALL = 2;

export const MODE_ECHO = 0; // clients send QoS 0, the sink sends it back
export const MODE_FAN_IN = 1; // clients send QoS 1, the sink acknowledges
export const MODE_FAN_OUT = 2; // the sink sends QoS 1, clients acknowledge
export const MODE_CHURN = 3; // connect, CONNECT, CONNACK, close, again
export const MODE_IDLE = 4; // connect and stay

// ---- The crowd: one ring of the swarm or of the sink ------------------------------------------------------------------
// See assembly/crowd.ts. Its block lies in the same place:
//
//   settings | paces | counters | reasons | texts | targets | sources | retries | histogram | packet | subscriptions
//
// Settings, u32 each, written by the main thread before the start; STATE at any time.
export const CROWD_STATE = 0; // one of the four below
export const CROWD_ROLE = 4; // ROLE_*
export const CROWD_LISTENER_COUNT = 8; // of the sink
export const CROWD_ACCEPTS = 12; // waiting on each of them
export const CROWD_SINK_MODE = 16; // SINK_*
export const CROWD_CLIENTS = 20; // of this ring
export const CROWD_FIRST = 24; // number of its first client
export const CROWD_KEEP_ALIVE_MS = 28; // 0: no pings
export const CROWD_VERSION = 32; // protocol level
export const CROWD_PERSISTENT = 36; // 1: sessions outlive their connections
export const CROWD_RECONNECT = 40; // 1: who failed or was lost comes again
export const CROWD_QOS = 44;
export const CROWD_PAYLOAD_BYTES = 48;
export const CROWD_TARGET_COUNT = 52;
export const CROWD_SOURCE_COUNT = 56; // 0: the system chooses
export const CROWD_GRID_MS = 60; // what is due is due at a multiple of it
export const CROWD_CROWDED = 88; // 1: most of the ports between two addresses will be taken

export const CROWD_WAIT = 0; // for the other rings to be ready
export const CROWD_RUN = 1;
export const CROWD_CLOSE = 2; // take leave of everybody, then return
export const CROWD_STOP = 3; // return at once
export const ROLE_SWARM = 0;
export const ROLE_SINK = 1;
export const SINK_ACK = 0; // acknowledges what it is sent
export const SINK_ECHO = 1; // and sends it back
export const SINK_FAN_OUT = 2; // or to all who have subscribed to it on the same ring

// Paces, f64, events a second on this ring; 0: none.
export const CROWD_CONNECT_RATE = 64;
export const CROWD_PUBLISH_RATE = 72;
export const CROWD_CLOSE_RATE = 80;

// Counters, u64 each, written by the ring.
export const CROWD_OPEN = 128; // gauge
export const CROWD_CONNECTED = 136; // swarm: CONNACKs with success; sink: CONNECTs that were answered so
export const CROWD_FAILED = 144; // swarm: dials and CONNECTs; sink: connections that ended in other ways than MQTT's
export const CROWD_LOST = 152; // sessions that ended unasked
export const CROWD_RECONNECTED = 160; // CONNACKs of clients that had been open before
export const CROWD_TRIED = 168; // clients whose first attempt is over
export const CROWD_PINGS = 176; // answered
export const CROWD_PUBLISHED = 184; // sent
export const CROWD_RECEIVED = 192; // PUBLISH
export const CROWD_WITHHELD = 200; // messages that were due while too many were under way, or nobody could take them
export const CROWD_ACCEPTED = 208;
export const CROWD_SUBSCRIBED = 216; // SUBSCRIBE, sent or answered
export const CROWD_ACKNOWLEDGED = 224; // messages of QoS 1 and 2 whose delivery is complete
export const CROWD_HOLDING = 232; // gauge: connections that the sink has accepted and not closed

// Why connections failed or were lost: u32 for each errno, each code in a CONNACK, each in a DISCONNECT, then the others.
export const CROWD_REASONS = 512;
export const ENDED_ERRNO = 0;
export const ENDED_CONNACK = 256;
export const ENDED_DISCONNECT = 512;
export const ENDED_CLOSED = 768; // by the other side, without a word
export const ENDED_SILENT = 769; // a PINGREQ without an answer for a whole keep alive
export const ENDED_SLOW = 770; // no answer to the dial or the CONNECT in time
export const ENDED_NOT_MQTT = 771;
export const ENDED_NO_BUFFERS = 772; // of our own
export const ENDED_COUNT = 773;

// Texts: u32 bytes, then the text. In a pattern NUMBER_BYTE stands for the client's number: MQTT's texts never hold it.
export const CROWD_TEXT_BYTES_MAX = 508;
export const CROWD_CLIENT_ID = 4096;
export const CROWD_TOPIC = CROWD_CLIENT_ID + 512;
export const CROWD_FILTER = CROWD_TOPIC + 512; // empty: nobody subscribes
export const CROWD_USERNAME = CROWD_FILTER + 512; // empty: none
export const CROWD_PASSWORD = CROWD_USERNAME + 512;
export const NUMBER_BYTE = 0;

export const CROWD_TARGETS = 8192; // Member each
export const CROWD_TARGETS_MAX = 256;
export const CROWD_SOURCES = CROWD_TARGETS + CROWD_TARGETS_MAX * 64; // Source each
export const CROWD_SOURCES_MAX = 256;
export const CROWD_RETRIES = CROWD_SOURCES + CROWD_SOURCES_MAX * 40; // slot + 1 for each tick: the first who dials again
export const RETRY_TICK_MS = 64;
export const RETRY_TICKS = 1024; // a power of two; longer than the longest back-off
export const CROWD_HISTOGRAM = 49152; // u32 for each bucket: from when a ping was due to its answer
export const CROWD_PACKET = 131072; // a packet while it is written
export const CROWD_PACKET_BYTES_MAX = 65536; // none larger is sent or taken
export const CROWD_SUBSCRIPTIONS = 1 << 20; // of the sink, see assembly/sink-topics.ts
