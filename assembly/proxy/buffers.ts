// The receive buffers that the kernel fills, and the lists in which they wait to be sent on. A buffer is always in
// exactly one place: provided to the kernel, or in one direction's list.
//
//   note 16 B for each buffer: u32 next in the list | u32 start | u32 end | u32 state, 1 while the data plane holds it
//   bytes [start, end) are still to be sent
import { BUFFER_NOTE_BYTES, BUFFER_NOTE_STATE, NONE } from '../layout';
import { bufferAddress, bufferNotes, onBufferTaken, provideBuffer, takeSpare } from '../uring/ring';
import { count, Direction, header } from './table';

@unmanaged
export class Note {
  next: u32;
  start: u32;
  end: u32;
  held: u32;
}
if (offsetof<Note>('held') != BUFFER_NOTE_STATE) ERROR('Note.held moved');
if (offsetof<Note>() != BUFFER_NOTE_BYTES) ERROR('Note changed its size');

/** So few bytes are rather copied behind the last buffer's than given a buffer of their own. */
const COPIED_BYTES_MAX: u32 = 512;
/** Buffers that one direction may hold before its source is no longer read; while buffers are short, far fewer. */
export const HELD_MAX: u32 = 16;
const HELD_MAX_WHEN_SHORT: u32 = 2;

export function note(buffer: u32): Note {
  assert(buffer < header().bufferCount);
  return changetype<Note>(bufferNotes() + <usize>buffer * BUFFER_NOTE_BYTES);
}

/** The kernel filled the buffer: from now on it is ours. */
export function takeBuffer(buffer: u32, length: u32): void {
  hold(buffer, length);
  onBufferTaken();
}

/** An empty one for bytes of our own, of those that the kernel hasn't got; NONE when it has got them all. */
export function borrowBuffer(): u32 {
  const buffer = takeSpare();
  if (buffer != NONE) hold(buffer, 0);
  return buffer;
}

function hold(buffer: u32, length: u32): void {
  const filled = note(buffer);
  assert(filled.held == 0 && length <= header().bufferBytes);
  filled.held = 1;
  filled.next = NONE;
  filled.start = 0;
  filled.end = length;
  count().buffersHeld++;
}

export function giveBackBuffer(buffer: u32): void {
  assert(note(buffer).held == 1);
  note(buffer).held = 0;
  count().buffersHeld--;
  provideBuffer(buffer);
}

export function appendBuffer(bytes: Direction, buffer: u32): void {
  if (bytes.tail == NONE) {
    bytes.head = buffer;
  } else {
    if (copyBehind(bytes.tail, buffer)) return;
    note(bytes.tail).next = buffer;
  }
  bytes.tail = buffer;
  bytes.bufferCount++;
}

// A send that is under way has its own end of the tail's bytes, so more of them behind it don't disturb it.
function copyBehind(tail: u32, buffer: u32): bool {
  const length = note(buffer).end;
  const last = note(tail);
  if (length > COPIED_BYTES_MAX || last.end + length > header().bufferBytes) return false;
  memory.copy(bufferAddress(tail) + last.end, bufferAddress(buffer), length);
  last.end += length;
  giveBackBuffer(buffer);
  return true;
}

/** The first `length` bytes were sent. */
export function consume(bytes: Direction, length: u32): void {
  while (length > 0) {
    const first = note(bytes.head);
    const part = min<u32>(length, first.end - first.start);
    assert(part > 0);
    first.start += part;
    length -= part;
    if (first.start == first.end) dropHead(bytes);
  }
}

export function dropAll(bytes: Direction): void {
  while (bytes.head != NONE) dropHead(bytes);
}

function dropHead(bytes: Direction): void {
  const buffer = bytes.head;
  bytes.head = note(buffer).next;
  if (bytes.head == NONE) bytes.tail = NONE;
  bytes.bufferCount--;
  giveBackBuffer(buffer);
}

/** Puts bytes of our own before all that waits: in front of what is left of the first buffer, or in others. */
export function prepend(bytes: Direction, from: usize, length: u32): bool {
  const head = bytes.head;
  if (head != NONE && note(head).start >= length) {
    note(head).start -= length;
    memory.copy(bufferAddress(head) + note(head).start, from, length);
    return true;
  }
  return prependBuffers(bytes, from, length);
}

// From the last part to the first, so that each goes before those that are there. False when there are too few: what was
// put there until then is dropped with the rest.
function prependBuffers(bytes: Direction, from: usize, length: u32): bool {
  const bufferBytes = header().bufferBytes;
  while (length > 0) {
    const buffer = borrowBuffer();
    if (buffer == NONE) return false;
    const part = ((length - 1) % bufferBytes) + 1;
    length -= part;
    memory.copy(bufferAddress(buffer), from + length, part);
    note(buffer).end = part;
    note(buffer).next = bytes.head;
    if (bytes.head == NONE) bytes.tail = buffer;
    bytes.head = buffer;
    bytes.bufferCount++;
  }
  return true;
}

/** Copies what waits, up to `lengthMax` bytes, to one place and returns how much that was. */
export function gather(bytes: Direction, out: usize, lengthMax: u32): u32 {
  let length: u32 = 0;
  for (let buffer = bytes.head; buffer != NONE && length < lengthMax; buffer = note(buffer).next) {
    const part = min<u32>(note(buffer).end - note(buffer).start, lengthMax - length);
    memory.copy(out + length, bufferAddress(buffer) + note(buffer).start, part);
    length += part;
  }
  return length;
}

/** True when the direction holds so much that its source should not be read on. */
export function holdsTooMuch(bytes: Direction): bool {
  if (bytes.bufferCount < HELD_MAX_WHEN_SHORT) return false;
  return bytes.bufferCount >= (buffersShort() ? HELD_MAX_WHEN_SHORT : HELD_MAX);
}

/** True when so much was sent that the source may be read again. */
export function holdsLittle(bytes: Direction): bool {
  return bytes.bufferCount <= (buffersShort() ? 0 : HELD_MAX / 2);
}

export function buffersFree(): u32 {
  return header().bufferCount - <u32>count().buffersHeld;
}

export function buffersShort(): bool {
  return buffersFree() * 4 < header().bufferCount;
}
