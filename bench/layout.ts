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
