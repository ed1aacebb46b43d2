// One worker's life: turns, each one system call long. Decisions about the whole worker stand here, those about one
// connection in proxy.ts.
import {
  CONTROL_DRAIN,
  CONTROL_STOP,
  HEADER_CONTROL,
  HEADER_OFFSET,
  HEADER_STATE,
  STATE_RUNNING,
  STATE_STOPPED,
} from '../layout';
import { observe, publish } from '../shared';
import { observeSnapshot } from '../snapshot';
import { drainCompletions, submitAndWait } from '../uring/ring';
import {
  armAccepts,
  closeAll,
  feedStarved,
  impatienceMs,
  nobodyLeft,
  onCompletion,
  onTimer,
  relieve,
  sendDirty,
  startProxy,
  stopAccepting,
} from './proxy';
import { count } from './table';
import { expireTimers, sleepMs, startTimers } from './timers';

/** With nothing to do at all, a worker looks up this often. */
const IDLE_MS: u32 = 1000;

// How a turn waits. A worker that found several completions at its last turn is under load: it asks for many and gives
// them a few microseconds to come together, for every wake-up saved is work saved, and asking for many also lifts the
// kernel's bound of 20 completions for a call. A quiet worker takes the first that comes and adds no latency.
const BUSY_COMPLETIONS: u32 = 4;
const GATHERED_COMPLETIONS: u32 = 32;
const GATHER_MICROSECONDS: u32 = 20;

/** Completions of the last turn: the load. */
let completions: u32 = 0;

/** Serves until the main thread says stop, or says drain and nobody is left. */
export function run(): void {
  startLoop();
  while (turn()) {}
  publish(HEADER_OFFSET + HEADER_STATE, STATE_STOPPED);
}

export function startLoop(): void {
  startTimers();
  startProxy();
  publish(HEADER_OFFSET + HEADER_STATE, STATE_RUNNING);
}

/** Answers everything that happened, then waits for more. False when the worker's work is done. */
export function turn(): bool {
  observeSnapshot();
  if (!obeyControl()) return false;
  armAccepts();
  sendDirty();
  const busy = completions >= BUSY_COMPLETIONS;
  submitAndWait(busy ? GATHERED_COMPLETIONS : 1, busy ? GATHER_MICROSECONDS : 0, impatienceMs(sleepMs(IDLE_MS)));
  completions = drainCompletions(onCompletion);
  count().turns++;
  count().completions += completions;
  expireTimers(onTimer); // after what came in time was seen
  sendDirty();
  feedStarved();
  relieve();
  return true;
}

function obeyControl(): bool {
  const control = observe(HEADER_OFFSET + HEADER_CONTROL);
  if (control != CONTROL_DRAIN && control != CONTROL_STOP) return true;
  stopAccepting();
  if (control == CONTROL_STOP) closeAll();
  return !nobodyLeft();
}
