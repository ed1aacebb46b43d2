// The kernel's rings, which lie inside this memory. Every address that the kernel is given is computed here, checked
// against the region that it must stay in: the kernel writes wherever it points.
//
//   rings region, each part on a page of its own:
//   heads and completions | submissions | provided buffers | buffer notes | messages
import {
  BUFFER_NOTE_BYTES,
  BUFFER_NOTE_STATE,
  COLD_BYTES,
  COMPLETION_BYTES,
  HEADER_ENTER_ARGUMENT,
  HEADER_NOW,
  HEADER_OFFSET,
  HEADER_RING_PARAMS,
  HEADER_TIMEOUT,
  MESSAGE_BYTES,
  NONE,
  PAGE_BYTES,
  PROVIDED_BUFFER_BYTES,
  PROVIDED_ENTRIES_MAX,
  RING_HEADS_BYTES,
  SUBMISSION_BYTES,
} from '../layout';
import { Header } from '../memory';
import { observe, publish, publish16 } from '../shared';
import {
  BUF_ADDR,
  BUF_BID,
  BUF_LEN,
  BUF_RING_TAIL,
  CQE_FLAGS,
  CQE_RES,
  CQE_USER_DATA,
  EAGAIN,
  EBUSY,
  EINTR,
  GETEVENTS_MIN_WAIT_USEC,
  GETEVENTS_SIGMASK,
  GETEVENTS_SIGMASK_SZ,
  GETEVENTS_TS,
  IORING_ENTER_EXT_ARG,
  IORING_ENTER_GETEVENTS,
  PARAMS_CQ_CQES,
  PARAMS_CQ_HEAD,
  PARAMS_CQ_TAIL,
  PARAMS_SQ_HEAD,
  PARAMS_SQ_TAIL,
} from './abi';

/** io_uring_enter for this worker's ring: entries taken, or -errno. It also writes Header.clockMs before it returns. */
declare function enter(submit: u32, minComplete: u32, flags: u32): i32;
/** Gives the pages of a piece of memory back to the system; what it held is lost. */
declare function release(offset: usize, bytes: usize): void;

const PARAMS: usize = HEADER_OFFSET + HEADER_RING_PARAMS;
/** The kernel is short of memory: about half a second of asking again before the worker gives up. */
const REFUSALS_MAX = 1000000;
/** The ring of provided buffers grows when all of it was missed so many times between two trims. */
const STARVED_TIMES: u32 = 4;
/** So few idle buffers are not worth the call. */
const IDLE_BUFFERS_MIN: u32 = 16;
// Every call makes all cores that run workers look up their pages anew: no more at once than a turn can bear.
const RELEASES_MAX = 64;
/** Buffers that one call releases. */
const RELEASE_BUFFERS_MAX: u32 = 64;
const STATE_IDLE: u32 = 2;
const STATE_RELEASED: u32 = 3;
const WAIT_FLAGS: u32 = IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG;

let heads: usize = 0;
let submissions: usize = 0;
let provided: usize = 0;
let notes: usize = 0;
let messages: usize = 0;
let base: u64 = 0;
let end: usize = 0;
let coldEnd: usize = 0;
let buffersEnd: usize = 0;

let submissionHead: usize = 0;
let submissionTailAt: usize = 0;
let completionHeadAt: usize = 0;
let completionTailAt: usize = 0;
let completions: usize = 0;
let submissionMask: u32 = 0;
let completionMask: u32 = 0;

let submissionTail: u32 = 0;
let submitted: u32 = 0;
let completionHead: u32 = 0;
let providedTail: u16 = 0;
let providedPublished: u16 = 0;
let providedEntries: u32 = 0;
let providedMax: u32 = 0;
let withKernel: u32 = 0;
let buffersTouched: u32 = 0;
/** Receives that found none since the last trim, and since the ring last grew. */
let starved: u32 = 0;
let spareHead: u32 = NONE;
let spareCount: u32 = 0;
/** The fewest spare buffers since the last trim: so many were not needed. */
let spareLeast: u32 = 0;
let messageNext: u32 = 0;

function header(): Header {
  return changetype<Header>(HEADER_OFFSET);
}

/** Splits the rings region. The host asks for the three parts below, sets the ring up there, then calls startRing. */
export function placeRings(): void {
  const head = header();
  base = head.memoryBase;
  end = head.end;
  coldEnd = <usize>head.cold + <usize>head.connectionsMax * COLD_BYTES;
  buffersEnd = <usize>head.buffers + <usize>head.bufferCount * head.bufferBytes;
  heads = head.rings;
  submissions = pageAfter(heads + RING_HEADS_BYTES + <usize>head.completionEntries * COMPLETION_BYTES);
  provided = pageAfter(submissions + <usize>head.submissionEntries * SUBMISSION_BYTES);
  providedEntries = min<u32>(head.bufferCount, PROVIDED_ENTRIES_MAX);
  notes = pageAfter(provided + <usize>providedEntries * PROVIDED_BUFFER_BYTES);
  messages = pageAfter(notes + <usize>head.bufferCount * BUFFER_NOTE_BYTES);
  assert(pageAfter(messages + <usize>head.submissionEntries * MESSAGE_BYTES) <= <usize>head.buffers);
  assert(
    isPowerOfTwo(head.submissionEntries) && isPowerOfTwo(head.completionEntries) && isPowerOfTwo(head.bufferCount),
  );
}

export function ringHeads(): usize {
  return heads;
}

export function ringSubmissions(): usize {
  return submissions;
}

export function ringProvided(): usize {
  return provided;
}

/** After the kernel has filled the parameters: finds the heads, and provides the first buffers. */
export function startRing(): void {
  submissionHead = heads + load<u32>(PARAMS + PARAMS_SQ_HEAD);
  submissionTailAt = heads + load<u32>(PARAMS + PARAMS_SQ_TAIL);
  completionHeadAt = heads + load<u32>(PARAMS + PARAMS_CQ_HEAD);
  completionTailAt = heads + load<u32>(PARAMS + PARAMS_CQ_TAIL);
  completions = heads + load<u32>(PARAMS + PARAMS_CQ_CQES);
  assert(completions + <usize>header().completionEntries * COMPLETION_BYTES <= submissions);
  submissionMask = header().submissionEntries - 1;
  completionMask = header().completionEntries - 1;
  submissionTail = observe(submissionTailAt);
  submitted = submissionTail;
  completionHead = observe(completionHeadAt);
  const atFirst = header().buffersProvided;
  providedMax = atFirst == 0 ? providedEntries : min<u32>(atFirst, providedEntries);
  publishBuffers();
}

// ---- Submissions -----------------------------------------------------------------------------------------------------

/** Makes sure that the next `count` entries come in one batch, as a chain of linked ones must. */
export function reserve(count: u32): void {
  if (submissionTail - submitted + count > submissionMask + 1) submit();
}

/** A zeroed submission entry. When the ring is full, what waits in it is submitted first. */
export function nextEntry(): usize {
  reserve(1);
  const entry = submissions + <usize>(submissionTail & submissionMask) * SUBMISSION_BYTES;
  submissionTail++;
  memory.fill(entry, 0, SUBMISSION_BYTES);
  return entry;
}

/**
 * Room for the one message that belongs to the entry last taken: stable until it is submitted, which is all it must be.
 * There are as many places as entries. Each batch begins with the first, so that few of them are ever touched.
 */
export function entryMessage(): usize {
  return messages + <usize>(messageNext++ & submissionMask) * MESSAGE_BYTES;
}

function submit(): void {
  publish(submissionTailAt, submissionTail);
  let refusals = 0;
  while (submitted != submissionTail) {
    const taken = enter(submissionTail - submitted, 0, 0);
    if (taken >= 0) {
      submitted += taken;
      continue;
    }
    assert(taken == -EINTR || taken == -EAGAIN || taken == -EBUSY);
    assert(++refusals < REFUSALS_MAX);
  }
  messageNext = 0;
}

/** One system call: submits all, waits for `minComplete` completions or until the time is over. */
export function submitAndWait(minComplete: u32, minWaitMicroseconds: u32, timeoutMs: u32): void {
  publishBuffers();
  publish(submissionTailAt, submissionTail);
  writeWait(minWaitMicroseconds, timeoutMs);
  const taken = enter(submissionTail - submitted, minComplete, WAIT_FLAGS);
  // Nothing is lost when fewer were taken: the rest stays in the ring and goes with the next call. An error such as
  // ETIME or EINTR speaks of the wait, and then everything had been taken; the ring's own head knows.
  submitted = observe(submissionHead);
  if (submitted == submissionTail) messageNext = 0;
  assert(taken >= 0 || submitted == submissionTail || taken == -EAGAIN || taken == -EBUSY || taken == -EINTR);
}

/** For an engine that writes HEADER_NOW alone: a number with a fraction costs JavaScript garbage, at each turn. */
export function readClock(): void {
  const now: usize = HEADER_OFFSET + HEADER_NOW;
  header().clockMs = <f64>load<i64>(now) * 1000 + <f64>load<i64>(now, 8) / 1000000;
}

function writeWait(minWaitMicroseconds: u32, timeoutMs: u32): void {
  const argument: usize = HEADER_OFFSET + HEADER_ENTER_ARGUMENT;
  const timeout: usize = HEADER_OFFSET + HEADER_TIMEOUT;
  store<u64>(argument, 0, GETEVENTS_SIGMASK);
  store<u32>(argument, 0, GETEVENTS_SIGMASK_SZ);
  store<u32>(argument, minWaitMicroseconds, GETEVENTS_MIN_WAIT_USEC);
  store<u64>(argument, kernelAddress(timeout, 16), GETEVENTS_TS);
  store<u64>(timeout, timeoutMs / 1000);
  store<u64>(timeout, (timeoutMs % 1000) * 1000000, 8);
}

// ---- Completions -----------------------------------------------------------------------------------------------------

/** Hands every completion that is there to `onCompletion` and returns how many those were. */
export function drainCompletions(onCompletion: (userData: u64, result: i32, flags: u32) => void): u32 {
  const tail = observe(completionTailAt);
  const drained = tail - completionHead;
  while (completionHead != tail) {
    const entry = completions + <usize>(completionHead & completionMask) * COMPLETION_BYTES;
    completionHead++;
    onCompletion(load<u64>(entry, CQE_USER_DATA), load<i32>(entry, CQE_RES), load<u32>(entry, CQE_FLAGS));
  }
  publish(completionHeadAt, completionHead);
  return drained;
}

// ---- Provided buffers ------------------------------------------------------------------------------------------------

// The kernel takes provided buffers in the order in which it got them, so a ring that held all of them would walk through
// all their memory. It is given few, and what comes back last is given first: memory that is touched stays about as much
// as is needed. What a burst has touched and nothing has needed since goes back to the system.
//
//   state of a buffer, in its note: 0 spare or provided | 1 held (proxy/buffers.ts) | 2 idle, 3 released: spare, below
//   those that are used

/** The buffer's bytes aren't needed any more. */
export function provideBuffer(buffer: u32): void {
  store<u32>(noteOf(buffer), spareHead);
  spareHead = buffer;
  spareCount++;
}

/** Told of a receive that found none. When that happens again and again, the ring holds twice as many from then on. */
export function noteStarved(): void {
  if (++starved < STARVED_TIMES * providedMax) return;
  starved = 0;
  providedMax = min<u32>(providedMax * 2, providedEntries);
}

/** Due now and then: releases the memory of spare buffers that weren't needed since the last time. */
export function trimBuffers(): void {
  const idle = spareLeast;
  spareLeast = spareCount;
  starved = 0;
  if (idle < IDLE_BUFFERS_MIN) return;
  let buffer = spareHead;
  for (let used = spareCount - idle; used > 0; used--) buffer = load<u32>(noteOf(buffer));
  for (; buffer != NONE; buffer = load<u32>(noteOf(buffer))) {
    if (stateOf(buffer) != STATE_RELEASED) setState(buffer, STATE_IDLE);
  }
  let calls = 0;
  for (buffer = 0; buffer < buffersTouched && calls < RELEASES_MAX; buffer++) {
    if (stateOf(buffer) != STATE_IDLE) continue;
    const first = buffer;
    const last = min<u32>(buffersTouched, first + RELEASE_BUFFERS_MAX);
    for (; buffer < last && stateOf(buffer) == STATE_IDLE; buffer++) setState(buffer, STATE_RELEASED);
    release(bufferAddress(first), <usize>(buffer - first) * header().bufferBytes);
    calls++;
  }
}

function noteOf(buffer: u32): usize {
  return notes + <usize>buffer * BUFFER_NOTE_BYTES;
}

function stateOf(buffer: u32): u32 {
  return load<u32>(noteOf(buffer), BUFFER_NOTE_STATE);
}

function setState(buffer: u32, state: u32): void {
  store<u32>(noteOf(buffer), state, BUFFER_NOTE_STATE);
}

/** The kernel has filled one. */
export function onBufferTaken(): void {
  withKernel--;
}

export function publishBuffers(): void {
  while (withKernel < providedMax) {
    const buffer = takeSpare();
    if (buffer == NONE) break;
    writeProvided(buffer);
    withKernel++;
  }
  if (providedPublished == providedTail) return;
  providedPublished = providedTail;
  publish16(provided + BUF_RING_TAIL, providedTail);
}

/** A buffer that neither the kernel nor anybody else has; NONE when there is none. */
export function takeSpare(): u32 {
  const buffer = spareHead;
  if (buffer == NONE) return buffersTouched < header().bufferCount ? buffersTouched++ : NONE;
  spareHead = load<u32>(noteOf(buffer));
  spareLeast = min<u32>(spareLeast, --spareCount);
  setState(buffer, 0);
  return buffer;
}

function writeProvided(buffer: u32): void {
  const entry = provided + <usize>(providedTail & <u16>(providedEntries - 1)) * PROVIDED_BUFFER_BYTES;
  const bytes = header().bufferBytes;
  store<u64>(entry, addressWithin(header().buffers, buffersEnd, bufferAddress(buffer), bytes), BUF_ADDR);
  store<u32>(entry, bytes, BUF_LEN);
  store<u16>(entry, <u16>buffer, BUF_BID);
  providedTail++;
}

export function bufferNotes(): usize {
  return notes;
}

export function bufferAddress(buffer: u32): usize {
  assert(buffer < header().bufferCount);
  return <usize>header().buffers + <usize>buffer * header().bufferBytes;
}

/** The address of [offset, offset + length) as the kernel knows it. Our own static data below the header is refused. */
export function kernelAddress(offset: usize, length: u32): u64 {
  return addressWithin(HEADER_OFFSET, end, offset, length);
}

/** The same for a piece of a cold line, where the kernel writes. (Receive buffers are checked in writeProvided.) */
export function coldAddressForKernel(offset: usize, length: u32): u64 {
  return addressWithin(header().cold, coldEnd, offset, length);
}

function addressWithin(first: usize, last: usize, offset: usize, length: u32): u64 {
  assert(offset >= first && offset <= last && <usize>length <= last - offset);
  return base + <u64>offset;
}

function pageAfter(offset: usize): usize {
  return (offset + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);
}

function isPowerOfTwo(value: u32): bool {
  return value != 0 && (value & (value - 1)) == 0;
}
