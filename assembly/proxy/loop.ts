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
  nobodyLeft,
  onCompletion,
  onTimer,
  sendDirty,
  startProxy,
  stopAccepting,
} from './proxy';
import { count } from './table';
import { expireTimers, sleepMs, startTimers } from './timers';

/** With nothing to do at all, a worker looks up this often. */
const IDLE_MS: u32 = 1000;

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
  expireTimers(onTimer);
  armAccepts();
  sendDirty();
  submitAndWait(1, 0, sleepMs(IDLE_MS));
  count().turns++;
  count().completions += drainCompletions(onCompletion);
  sendDirty();
  feedStarved();
  return true;
}

function obeyControl(): bool {
  const control = observe(HEADER_OFFSET + HEADER_CONTROL);
  if (control != CONTROL_DRAIN && control != CONTROL_STOP) return true;
  stopAccepting();
  if (control == CONTROL_STOP) closeAll();
  return !nobodyLeft();
}
