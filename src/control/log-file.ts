// Where lines go: one descriptor, opened with O_APPEND, written to in whole buffers. Nothing that happens to a disk or
// to the reader of a pipe may stop the balancer, or take more memory than BACKLOG_BYTES_MAX.
import { closeSync, constants, fstatSync, openSync, writeSync } from 'node:fs';
import { setNonBlocking } from '../system/libc.ts';
import type { Output } from './log-text.ts';

const BUFFER_BYTES = 64 << 10;
/** Lines kept while they can't be written; what comes after them is dropped, and counted. */
const BACKLOG_BYTES_MAX = 4 << 20;
/** A pipe whose reader takes nothing for this long counts as failing. Until then its records wait in the rings. */
const PIPE_PATIENCE_MS = 2000;
const COMPLAINT_INTERVAL_MS = 60_000;
const STDOUT = 1;
const NEWLINE = 0x0a;
const FILE_MODE = 0o640;

/** PIPE_BUF: what is written to a pipe at once and isn't longer, no other writer's bytes come between. */
const PIPE_WRITE_BYTES_MAX = 4096;

/** O_NONBLOCK means nothing to a file, but a thread that sits in a pipe's write can't be ended. */
const APPEND = constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NONBLOCK;

export interface LogFileEvents {
  /** One line for the operator. */
  onComplaint(text: string): void;
  onDropped(lines: number): void;
}

export class LogFile {
  /** Whole lines are written here; `flush` as soon as `isFull`. */
  readonly output: Output;
  readonly #path: string;
  readonly #events: LogFileEvents;
  /** Standard output may be shared with a process that takes over from this one. */
  readonly #isShared: boolean;
  #fd: number;
  /** Whole lines each, oldest first; of the first one `#sent` bytes are in the file. */
  #backlog: Uint8Array[] = [];
  #backlogBytes = 0;
  #sent = 0;
  #stuck: { code: string; sinceMs: number } | undefined;
  #dropped = 0;
  #complainedMs = Number.NEGATIVE_INFINITY;

  /** `path` "-" is standard output. Throws what open(2) says. */
  constructor(path: string, lineBytesMax: number, events: LogFileEvents) {
    this.#path = path;
    this.#events = events;
    this.#isShared = path === '-';
    this.#fd = path === '-' ? openStdout() : openSync(path, APPEND, FILE_MODE);
    this.output = { bytes: new Uint8Array(BUFFER_BYTES + lineBytesMax), length: 0 };
  }

  get isFull(): boolean {
    return this.output.length >= BUFFER_BYTES;
  }

  /** False while a pipe's reader is only slow: the records are then better kept in the rings. */
  get isAccepting(): boolean {
    return this.#backlog.length === 0 || this.isFailing;
  }

  get isFailing(): boolean {
    if (this.#stuck === undefined) return false;
    return this.#stuck.code !== 'EAGAIN' || performance.now() - this.#stuck.sinceMs > PIPE_PATIENCE_MS;
  }

  get isWritten(): boolean {
    return this.#backlog.length === 0 && this.output.length === 0;
  }

  /** Empties `output`: into the file, else into the backlog, else into nothing. */
  flush(): void {
    const { output } = this;
    this.#writeBacklog();
    const sent = this.#backlog.length === 0 ? this.#write(output.bytes, 0, output.length) : 0;
    if (sent < output.length) this.#keep(output.bytes.slice(0, output.length), sent);
    output.length = 0;
    if (this.isFailing) this.#complain();
  }

  /** For whoever has moved the file away. A line begun in the old file ends there; if it can't, it begins anew. */
  reopen(): void {
    if (this.#path === '-') return;
    this.flush();
    let fd: number;
    try {
      fd = openSync(this.#path, APPEND, FILE_MODE);
    } catch (error) {
      this.#events.onComplaint(
        `access log ${this.#path} can't be opened again (${codeOf(error)}); the old file is kept`,
      );
      return;
    }
    closeSync(this.#fd);
    this.#fd = fd;
    this.#rewindToLine();
    this.#stuck = undefined;
    this.flush();
  }

  /** Gives up what can't be written. */
  close(): void {
    this.flush();
    for (const chunk of this.#backlog) this.#drop(chunk);
    this.#backlog = [];
    if (this.#stuck !== undefined) this.#events.onComplaint(this.#state('gave up'));
    if (this.#fd !== STDOUT) closeSync(this.#fd);
  }

  #writeBacklog(): void {
    while (this.#backlog.length > 0) {
      const chunk = this.#backlog[0]!;
      this.#sent = this.#write(chunk, this.#sent, chunk.length);
      if (this.#sent < chunk.length) return;
      this.#backlog.shift();
      this.#backlogBytes -= chunk.length;
      this.#sent = 0;
    }
  }

  /** Returns how far it came: a write may take a part, into a pipe that is nearly full or the last free block. */
  #write(bytes: Uint8Array, from: number, to: number): number {
    let sent = from;
    try {
      while (sent < to) {
        sent += writeSync(this.#fd, bytes, sent, (this.#isShared ? endOfLines(bytes, sent, to) : to) - sent);
        this.#stuck = undefined;
      }
    } catch (error) {
      this.#onWriteError(codeOf(error));
    }
    return sent;
  }

  #onWriteError(code: string): void {
    if (this.#stuck?.code === code) return;
    this.#stuck = { code, sinceMs: performance.now() };
  }

  /** A chunk that is partly in the file stays whatever the limit says: its rest is owed to the file. */
  #keep(chunk: Uint8Array, sent: number): void {
    if (sent === 0 && this.#backlogBytes + chunk.length > BACKLOG_BYTES_MAX) {
      this.#drop(chunk);
      return;
    }
    if (this.#backlog.length === 0) this.#sent = sent;
    this.#backlog.push(chunk);
    this.#backlogBytes += chunk.length;
  }

  #drop(chunk: Uint8Array): void {
    let lines = 0;
    for (let at = chunk.indexOf(NEWLINE); at !== -1; at = chunk.indexOf(NEWLINE, at + 1)) lines++;
    this.#dropped += lines;
    this.#events.onDropped(lines);
  }

  #rewindToLine(): void {
    const chunk = this.#backlog[0];
    if (chunk === undefined || this.#sent === 0) return;
    this.#sent = chunk.lastIndexOf(NEWLINE, this.#sent - 1) + 1;
  }

  #complain(): void {
    if (performance.now() - this.#complainedMs < COMPLAINT_INTERVAL_MS) return;
    this.#complainedMs = performance.now();
    this.#events.onComplaint(this.#state(`up to ${BACKLOG_BYTES_MAX >> 20} MiB wait for it`));
  }

  #state(what: string): string {
    const { code } = this.#stuck!;
    const why = code === 'EAGAIN' ? 'its reader takes nothing' : code;
    return `access log ${this.#path} can't be written: ${why}; ${what}, lines lost so far: ${this.#dropped}`;
  }
}

/** As far as whole lines go that a pipe takes in one piece; one that is longer goes alone. */
function endOfLines(bytes: Uint8Array, from: number, to: number): number {
  if (to - from <= PIPE_WRITE_BYTES_MAX) return to;
  const end = bytes.lastIndexOf(NEWLINE, from + PIPE_WRITE_BYTES_MAX - 1) + 1;
  if (end > from) return end;
  const next = bytes.indexOf(NEWLINE, from) + 1;
  return next > from && next < to ? next : to;
}

/**
 * Standard output that doesn't block. What can be opened a second time is, so that O_NONBLOCK is ours alone: the flag
 * belongs to what was opened, which other processes may share. A socket can't be, there the flag is set; a file never
 * blocks, and must not be opened twice, or two file offsets would write over each other.
 */
function openStdout(): number {
  try {
    const status = fstatSync(STDOUT);
    if (status.isSocket()) setNonBlocking(STDOUT);
    if (status.isFIFO() || status.isCharacterDevice()) {
      return openSync(`/proc/self/fd/${STDOUT}`, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
    }
  } catch {
    // Not Linux, or not ours to open: then it is written to as it is.
  }
  return STDOUT;
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? String(error);
}
