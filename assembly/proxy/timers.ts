// One deadline for each connection, in a wheel of WHEEL_BUCKETS lists, one for each tick of WHEEL_TICK_MS. A deadline
// further away than one turn of the wheel stays in its list and is looked at again once a turn.
import { WHEEL_BUCKETS, WHEEL_TICK_MS } from '../layout';
import { header, hot } from './table';

let wheel: usize = 0;
let lastTick: u32 = 0;
let armed: u32 = 0;

export function startTimers(): void {
  wheel = header().wheel;
  lastTick = currentTick();
  armed = 0;
}

/** Sets the connection's only deadline, at least `milliseconds` from now; an older one is forgotten. */
export function setTimer(slot: u32, milliseconds: u32): void {
  clearTimer(slot);
  const line = hot(slot);
  line.deadlineTick = currentTick() + (milliseconds + WHEEL_TICK_MS - 1) / WHEEL_TICK_MS + 1;
  const bucket = bucketAddress(line.deadlineTick);
  const next = load<u32>(bucket);
  line.timerNext = next;
  line.timerPrevious = 0;
  if (next != 0) hot(next - 1).timerPrevious = slot + 1;
  store<u32>(bucket, slot + 1);
  armed++;
}

/** Sets the deadline unless there is one as early. */
export function setTimerAtMost(slot: u32, milliseconds: u32): void {
  const ticks = (milliseconds + WHEEL_TICK_MS - 1) / WHEEL_TICK_MS + 1;
  const deadline = hot(slot).deadlineTick;
  if (deadline == 0 || <i32>(deadline - currentTick() - ticks) > 0) setTimer(slot, milliseconds);
}

export function clearTimer(slot: u32): void {
  const line = hot(slot);
  if (line.deadlineTick == 0) return;
  if (line.timerPrevious != 0) hot(line.timerPrevious - 1).timerNext = line.timerNext;
  else store<u32>(bucketAddress(line.deadlineTick), line.timerNext);
  if (line.timerNext != 0) hot(line.timerNext - 1).timerPrevious = line.timerPrevious;
  line.deadlineTick = 0;
  armed--;
}

/** Calls `onTimer` for each connection whose deadline has passed. It may only touch that connection's own timer. */
export function expireTimers(onTimer: (slot: u32) => void): void {
  const now = currentTick();
  if (armed == 0) {
    lastTick = now;
    return;
  }
  // After a long sleep one turn of the wheel looks at every list.
  if (now - lastTick > <u32>WHEEL_BUCKETS) lastTick = now - WHEEL_BUCKETS;
  while (lastTick != now) expireBucket(++lastTick, now, onTimer);
}

/** How long a worker with nothing else to do may sleep. */
export function sleepMs(longestMs: u32): u32 {
  return armed == 0 ? longestMs : min<u32>(longestMs, WHEEL_TICK_MS);
}

function expireBucket(tick: u32, now: u32, onTimer: (slot: u32) => void): void {
  let entry = load<u32>(bucketAddress(tick));
  while (entry != 0) {
    const slot = entry - 1;
    entry = hot(slot).timerNext;
    if (<i32>(hot(slot).deadlineTick - now) > 0) continue;
    clearTimer(slot);
    onTimer(slot);
  }
}

/** Ticks of WHEEL_TICK_MS on the engine's clock; never 0, which means "no deadline". */
export function currentTick(): u32 {
  return <u32>(header().clockMs / <f64>WHEEL_TICK_MS) + 1;
}

function bucketAddress(tick: u32): usize {
  return wheel + <usize>(tick & (WHEEL_BUCKETS - 1)) * 4;
}
