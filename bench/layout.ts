// Numbers of the bench's load that both compilers read; see assembly/load.ts. The block lies where the data plane has
// its snapshots, which the load doesn't use.
export const LOAD_MODE = 0; // MODE_*
export const LOAD_CLIENTS = 4; // connections to open
export const LOAD_MESSAGE_BYTES = 8;
export const LOAD_DEPTH = 12; // messages in flight on each connection
export const LOAD_RATE_US = 16; // open loop: microseconds between two messages of all clients together
export const LOAD_DIALS_MAX = 20; // dials under way at once
export const LOAD_RUNNING = 24; // written by the main thread: 0 stops
export const LOAD_PAUSED = 28; // written by the main thread: 1 lets the messages run out
export const LOAD_FIRST_ID = 32; // number in the first ClientId
export const LOAD_CONNECTED = 64; // u64 counters from here on, written by the load
export const LOAD_FAILED = 72;
export const LOAD_MESSAGES = 80; // that arrived where they were meant to
export const LOAD_LIVES = 88; // churn: connections that had their CONNACK
export const LOAD_OPEN = 96; // gauge
export const LOAD_LATE = 104; // open loop: messages that had to wait for the one before
export const LOAD_MEMBER = 256; // Member: where to dial
export const LOAD_HISTOGRAM = 4096; // u32 for each bucket: latency, log-linear
export const HISTOGRAM_STEPS = 64; // buckets in each doubling
export const HISTOGRAM_DOUBLINGS = 32; // from 1 microsecond / HISTOGRAM_STEPS up
export const HISTOGRAM_BUCKETS = HISTOGRAM_STEPS * HISTOGRAM_DOUBLINGS;
export const LOAD_MESSAGE = 65536; // depth messages, one behind the other

export const MODE_ECHO = 0; // closed loop: each reply sends the next message
export const MODE_OPEN_LOOP = 1; // messages at a fixed rate, latency from when each was due
export const MODE_CHURN = 2; // connect, CONNECT, CONNACK, close, again
export const MODE_IDLE = 3; // connect and stay
export const MODE_FAN_IN = 4; // clients send as fast as they are read, the sink swallows
export const MODE_FAN_OUT = 5; // the sink sends as fast as it is read, the clients swallow
