// One worker's life: turns, each one system call long. Decisions about the whole worker stand here, those about one
// connection in proxy.ts.
import {
  CONTROL_DRAIN,
  CONTROL_STOP,
  CONTROL_WAIT,
  HEADER_CONTROL,
  HEADER_OFFSET,
  HEADER_STATE,
  STATE_READY,
  STATE_RUNNING,
  STATE_STOPPED,
} from '../layout';
import { observe, publish } from '../shared';
import { observeSnapshot } from '../snapshot';
import { drainCompletions, submitAndWait } from '../uring/ring';
import {
  acceptClients,
  armAccepts,
  closeAll,
  evict,
  feedStarved,
  followListeners,
  impatienceMs,
  nobodyLeft,
  obeyHooks,
  onCompletion,
  onTimer,
  releaseQueued,
  relieve,
  sendDirty,
  startProxy,
  stopAccepting,
} from './proxy';
import { count, header } from './table';
import { expireTimers, sleepMs, startTimers } from './timers';

/** With nothing to do at all, a worker looks up this often. */
const IDLE_MS: u32 = 1000;

// How a turn waits. A worker that found many completions at its last turn is under load: it asks for many and gives
// them a few microseconds to come together, for every wake-up saved is work saved, and asking for many also lifts the
// kernel's bound of 20 completions for a call. A quiet worker takes the first that comes and adds no latency.
const BUSY_COMPLETIONS: u32 = 16;
const GATHERED_COMPLETIONS: u32 = 32;
const GATHER_MICROSECONDS: u32 = 20;

/** A turn that took so much longer than it was to sleep was late. */
const LATE_MS: f64 = 200;
/** And if it was as late as this, the whole machine may have stood still: what was sent meanwhile still has to arrive. */
const PAUSED_MS: f64 = 2000;
const GRACE_MS: f64 = 1000;
/** Enough for what a full table has waiting; whoever floods meanwhile can't hold the worker here. */
const CATCH_UP_BATCHES_MAX: u32 = 4096;

/** Completions of the last turn: the load. */
let completions: u32 = 0;
let graceEndMs: f64 = 0;

/** Serves until the main thread says stop, or says drain and nobody is left. */
export function run(): void {
  startLoop();
  while (turn()) {}
  publish(HEADER_OFFSET + HEADER_STATE, STATE_STOPPED);
}

export function startLoop(): void {
  graceEndMs = 0;
  startTimers();
  startProxy();
  publish(HEADER_OFFSET + HEADER_STATE, STATE_READY);
}

/** Answers everything that happened, then waits for more. False when the worker's work is done. */
export function turn(): bool {
  observeSnapshot();
  if (!obeyControl()) return false;
  followListeners();
  evict();
  obeyHooks();
  armAccepts();
  sendDirty();
  const busy = completions >= BUSY_COMPLETIONS;
  const sleep = impatienceMs(sleepMs(IDLE_MS));
  const begunMs = header().clockMs;
  submitAndWait(busy ? GATHERED_COMPLETIONS : 1, busy ? GATHER_MICROSECONDS : 0, sleep);
  completions = drainCompletions(onCompletion);
  const lateMs = header().clockMs - begunMs - <f64>sleep;
  if (lateMs > LATE_MS) completions += catchUp();
  if (lateMs > PAUSED_MS) graceEndMs = header().clockMs + GRACE_MS;
  count().turns++;
  count().completions += completions;
  releaseQueued();
  if (header().clockMs >= graceEndMs) expireTimers(onTimer); // after what came in time was seen
  sendDirty();
  feedStarved();
  relieve();
  return true;
}

// A worker that was kept from its CPU finds deadlines that have passed and bytes that came before them, and a wait that
// was interrupted returns without them: it must not blame its clients for its own delay.
function catchUp(): u32 {
  let caughtUp: u32 = 0;
  for (let batch: u32 = 0; batch < CATCH_UP_BATCHES_MAX; batch++) {
    submitAndWait(GATHERED_COMPLETIONS, 0, 0);
    const found = drainCompletions(onCompletion);
    if (found == 0) break;
    caughtUp += found;
  }
  return caughtUp;
}

function obeyControl(): bool {
  const control = observe(HEADER_OFFSET + HEADER_CONTROL);
  if (control == CONTROL_WAIT) return true;
  if (control != CONTROL_DRAIN && control != CONTROL_STOP) {
    if (acceptClients()) publish(HEADER_OFFSET + HEADER_STATE, STATE_RUNNING);
    return true;
  }
  stopAccepting();
  if (control == CONTROL_STOP) closeAll();
  return !nobodyLeft();
}
