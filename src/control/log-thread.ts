// The log thread: looks into every worker's ring of access records, makes lines of them and writes them. It is started
// by access-log.ts, which speaks to it in Command and hears from it in Report.
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { LogFile } from './log-file.ts';
import { compileFormat, type NamesUpdate, type RecordFormat } from './record-format.ts';
import { RecordRing } from './record-ring.ts';

export interface LogThreadStart {
  /** "-" standard output, "off" nowhere. */
  path: string;
  format: string;
  /** One u64: lines that could not be written. */
  dropped: BigUint64Array;
}

export type Command =
  | { type: 'attach'; id: number; memory: ArrayBufferLike; worker: number }
  | { type: 'detach'; id: number }
  | { type: 'names'; names: NamesUpdate }
  | { type: 'change'; path: string; format: string }
  | { type: 'reopen' }
  | { type: 'close' };

export type Report =
  | { type: 'ready' }
  | { type: 'failed'; code: string }
  | { type: 'detached'; id: number }
  | { type: 'changed'; code: string | null }
  | { type: 'warn'; text: string };

interface Source {
  id: number;
  ring: RecordRing;
  isDetaching: boolean;
}

const POLL_MS = 100;
/** While nothing comes: still often enough for a ring to hold what 100,000 clients a second leave in it. */
const IDLE_POLL_MS = 250;
const PIPE_POLL_MS = 5;
/** After a turn that found this much there is more to come soon. */
const BUSY_BYTES = 16 << 10;
const BUSY_POLL_MS = 10;
/** A ring that was filled further than this would be full before long: the next turn follows at once. */
const CROWDED = 1 / 4;
/** Closing waits this long at most for a pipe that is read a little at a time. */
const CLOSE_PATIENCE_MS = 5000;

class LogThread {
  readonly #port: MessagePort;
  readonly #dropped: BigUint64Array;
  #format: RecordFormat;
  /** None when the log is off: the rings are emptied all the same. */
  #file: LogFile | undefined;
  /** All that came: another format writes them in another way. */
  readonly #names: NamesUpdate[] = [];
  #wanted: { path: string; format: string } | undefined;
  #sources: Source[] = [];
  #closingMs: number | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(port: MessagePort, { path, format, dropped }: LogThreadStart) {
    this.#port = port;
    this.#format = compileFormat(format);
    this.#dropped = dropped;
    this.#file = this.#open(path, this.#format);
    port.on('message', (command: Command) => this.#onCommand(command));
    this.#report({ type: 'ready' });
    this.#schedule(POLL_MS);
  }

  /**
   * Commands are taken in between looking at the rings and reading them. So whatever stands in a record has its name:
   * the main thread sends the names before it publishes the snapshot that uses them.
   */
  #turn(): void {
    const written = this.#sources.map(({ ring }) => ring.written);
    const isCrowded = this.#sources.some(({ ring }) => ring.fill > CROWDED);
    this.#receiveCommands();
    let bytes = 0;
    for (const [index, end] of written.entries()) bytes += this.#drain(this.#sources[index]!.ring, end);
    this.#file?.flush();
    this.#change();
    this.#forgetDetached();
    if (this.#isFinished()) this.#end();
    else this.#schedule(isCrowded ? 0 : this.#pauseMs(bytes));
  }

  #receiveCommands(): void {
    for (;;) {
      const received = receiveMessageOnPort(this.#port);
      if (received === undefined) return;
      this.#onCommand(received.message);
    }
  }

  #onCommand(command: Command): void {
    switch (command.type) {
      case 'attach':
        this.#attach(command.id, command.memory, command.worker);
        break;
      case 'detach':
        for (const source of this.#sources) if (source.id === command.id) source.isDetaching = true;
        this.#schedule(0);
        break;
      case 'names':
        this.#names.push(command.names);
        this.#format.names.update(command.names);
        break;
      case 'change':
        this.#wanted = { path: command.path, format: command.format };
        this.#schedule(0);
        break;
      case 'reopen':
        this.#file?.reopen();
        break;
      case 'close':
        this.#closingMs ??= performance.now();
        this.#schedule(0);
        break;
    }
  }

  #open(path: string, format: RecordFormat): LogFile | undefined {
    if (path === 'off') return undefined;
    return new LogFile(path, format.lineBytesMax, {
      onComplaint: (text) => this.#report({ type: 'warn', text }),
      onDropped: (lines) => Atomics.add(this.#dropped, 0, BigInt(lines)),
    });
  }

  /**
   * To another file, in another format, or neither when the file can't be opened. At the end of a turn: what was in the
   * rings before has gone the old way.
   */
  #change(): void {
    if (this.#wanted === undefined) return;
    const { path, format: text } = this.#wanted;
    this.#wanted = undefined;
    const format = compileFormat(text);
    for (const names of this.#names) format.names.update(names);
    try {
      const file = this.#open(path, format);
      this.#file?.close();
      this.#file = file;
      this.#format = format;
      this.#report({ type: 'changed', code: null });
    } catch (error) {
      this.#report({ type: 'changed', code: (error as NodeJS.ErrnoException).code ?? String(error) });
    }
  }

  #attach(id: number, memory: ArrayBufferLike, worker: number): void {
    const onCorrupt = (what: string) => this.#report({ type: 'warn', text: `access records were lost: ${what}` });
    this.#sources.push({ id, ring: new RecordRing(memory, worker, onCorrupt), isDetaching: false });
  }

  /** Space is given back with every buffer that fills, so that a worker in a burst doesn't wait for the whole round. */
  #drain(ring: RecordRing, written: number): number {
    const file = this.#file;
    ring.begin();
    let bytes = 0;
    while (file?.isAccepting !== false && ring.next(written)) {
      if (file === undefined) continue;
      this.#format.writeLine(file.output, ring.record);
      if (!file.isFull) continue;
      file.flush();
      bytes += ring.release();
    }
    return bytes + ring.release();
  }

  #forgetDetached(): void {
    const done = this.#sources.filter(({ isDetaching, ring }) => isDetaching && ring.isEmpty);
    if (done.length === 0) return;
    this.#sources = this.#sources.filter((source) => !done.includes(source));
    for (const { id } of done) this.#report({ type: 'detached', id });
  }

  #pauseMs(bytes: number): number {
    const isLeaving = this.#sources.some(({ isDetaching }) => isDetaching) || this.#closingMs !== undefined;
    if (this.#file?.isAccepting === false || isLeaving) return PIPE_POLL_MS;
    if (bytes >= BUSY_BYTES) return BUSY_POLL_MS;
    return bytes > 0 ? POLL_MS : IDLE_POLL_MS;
  }

  #isFinished(): boolean {
    if (this.#closingMs === undefined) return false;
    if (performance.now() - this.#closingMs > CLOSE_PATIENCE_MS) return true;
    const isWritten = this.#file === undefined || this.#file.isWritten || this.#file.isFailing;
    return isWritten && this.#sources.every(({ ring }) => ring.isEmpty);
  }

  /** A command that was taken in during the last turn may have asked for another one. */
  #end(): void {
    clearTimeout(this.#timer);
    this.#port.removeAllListeners('message');
    this.#file?.close();
    this.#port.close();
  }

  #schedule(delayMs: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#turn(), delayMs);
  }

  #report(report: Report): void {
    this.#port.postMessage(report);
  }
}

function start(port: MessagePort): void {
  try {
    new LogThread(port, workerData as LogThreadStart);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    port.postMessage({ type: 'failed', code } satisfies Report);
    port.close();
  }
}

if (parentPort !== null) start(parentPort);
