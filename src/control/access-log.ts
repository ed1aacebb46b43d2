// The access log as the rest of the control plane sees it: workers' memories go in, lines come out, on a thread of its
// own (log-thread.ts), so that neither a disk nor a burst is ever felt on the main thread.
import { extname, resolve } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { Worker } from 'node:worker_threads';
import type { ListenerConfig } from '../config.ts';
import { TidegateError } from '../errors.ts';
import { type Logger, silentLogger } from '../logger.ts';
import type { Command, LogThreadStart, Report } from './log-thread.ts';
import { compileFormat, type NamesUpdate } from './record-format.ts';
import type { Backend } from './snapshot.ts';

export interface AccessLogOptions {
  /** "-" standard output, "off" nowhere. */
  path: string;
  /** `text`, `json` or a template. */
  format: string;
  /** Told about lines that can't be written, at most once a minute. */
  log?: Pick<Logger, 'warn' | 'error'>;
}

export interface AccessLog {
  /** From now on the records in this memory are logged. */
  attach(memory: WebAssembly.Memory, workerIndex: number): void;
  /** Resolves when every record of this memory is written and it isn't looked at any more: it may then be reused. */
  detach(memory: WebAssembly.Memory): Promise<void>;
  /** To be called before the snapshot of that epoch is published. */
  names(names: NamesUpdate): void;
  /** Opens the path again, for log rotation. */
  reopen(): void;
  /** To another path, in another format. Throws what startAccessLog does, and then nothing has changed. */
  change(options: Pick<AccessLogOptions, 'path' | 'format'>): Promise<void>;
  /** Lines that could not be written so far. */
  linesDropped(): number;
  /** Writes everything that is in the rings, then ends the thread. The workers must have ended before. */
  close(): Promise<void>;
}

/** Throws a RangeError when the format is wrong, a TidegateError when the path can't be opened. */
export async function startAccessLog(options: AccessLogOptions): Promise<AccessLog> {
  compileFormat(options.format);
  const path = resolvePath(options.path);
  const dropped = new BigUint64Array(new SharedArrayBuffer(8));
  const workerData: LogThreadStart = { path, format: options.format, dropped };
  // From src/ under a Node that strips types, or from dist/: the thread has the extension that this file has. It takes
  // over none of the process's options: some (--input-type) don't allow a thread from a file.
  const threadUrl = new URL(`./log-thread${extname(import.meta.url)}`, import.meta.url);
  const thread = new Worker(threadUrl, { workerData, execArgv: [] });
  await untilReady(thread, path);
  return new ThreadedLog(thread, dropped, options.log ?? silentLogger);
}

function resolvePath(path: string): string {
  return path === '-' || path === 'off' ? path : resolve(path);
}

/** From that epoch on; the listeners in the order of their indexes. */
export function namesOf(
  epoch: number,
  listeners: readonly ListenerConfig[],
  backends: readonly Backend[],
): NamesUpdate {
  return {
    epoch,
    listeners: listeners.map(({ name }) => name),
    backends: backends.map(({ id, pool, config: { address } }) => ({ id, pool, address })),
  };
}

class ThreadedLog implements AccessLog {
  readonly #thread: Worker;
  readonly #dropped: BigUint64Array;
  readonly #log: Pick<Logger, 'warn' | 'error'>;
  readonly #ended: Promise<void>;
  readonly #ids = new Map<WebAssembly.Memory, number>();
  readonly #detaching = new Map<number, () => void>();
  #nextId = 0;
  #named: Omit<NamesUpdate, 'epoch'> | undefined;
  #onChanged: (code: string | null) => void = () => {};

  constructor(thread: Worker, dropped: BigUint64Array, log: Pick<Logger, 'warn' | 'error'>) {
    this.#thread = thread;
    this.#dropped = dropped;
    this.#log = log;
    this.#ended = new Promise((ended) => thread.once('exit', () => ended()));
    thread.once('exit', () => this.#onExit());
    thread.on('message', (report: Report) => this.#onReport(report));
    thread.on('error', (error) => this.#onError(error));
  }

  attach(memory: WebAssembly.Memory, workerIndex: number): void {
    if (this.#ids.has(memory)) throw new Error('this memory is attached already');
    const id = this.#nextId++;
    this.#ids.set(memory, id);
    this.#command({ type: 'attach', id, memory: memory.buffer, worker: workerIndex });
  }

  async detach(memory: WebAssembly.Memory): Promise<void> {
    const id = this.#ids.get(memory);
    if (id === undefined) return;
    const detached = new Promise<void>((done) => this.#detaching.set(id, done));
    this.#command({ type: 'detach', id });
    await Promise.race([detached, this.#ended]);
    this.#ids.delete(memory);
  }

  names(names: NamesUpdate): void {
    const { listeners, backends } = names;
    if (isDeepStrictEqual(this.#named, { listeners, backends })) return;
    this.#named = { listeners, backends };
    this.#command({ type: 'names', names });
  }

  reopen(): void {
    this.#command({ type: 'reopen' });
  }

  async change(options: Pick<AccessLogOptions, 'path' | 'format'>): Promise<void> {
    compileFormat(options.format);
    const path = resolvePath(options.path);
    const changed = new Promise<string | null>((done) => {
      this.#onChanged = done;
    });
    this.#command({ type: 'change', path, format: options.format });
    const code = await Promise.race([changed, this.#ended.then(() => 'ENDED')]);
    if (code !== null) throw openError(code, path);
  }

  linesDropped(): number {
    return Number(Atomics.load(this.#dropped, 0));
  }

  async close(): Promise<void> {
    this.#command({ type: 'close' });
    await this.#ended;
  }

  #command(command: Command): void {
    this.#thread.postMessage(command);
  }

  #onError(error: unknown): void {
    const fields = { event: 'access_log_trouble', error: String(error) } as const;
    this.#log.error(fields, 'the access log has ended, by a fault of ours');
  }

  #onReport(report: Report): void {
    if (report.type === 'warn') {
      this.#log.warn({ event: 'access_log_trouble', linesDropped: this.linesDropped() }, report.text);
    }
    if (report.type === 'changed') this.#onChanged(report.code);
    if (report.type !== 'detached') return;
    this.#detaching.get(report.id)?.();
    this.#detaching.delete(report.id);
  }

  #onExit(): void {
    for (const done of this.#detaching.values()) done();
    this.#detaching.clear();
  }
}

function untilReady(thread: Worker, path: string): Promise<void> {
  return new Promise((ready, fail) => {
    thread.once('error', fail);
    thread.once('message', (report: Report) => {
      thread.off('error', fail);
      if (report.type === 'failed') fail(openError(report.code, path));
      else ready();
    });
  });
}

function openError(code: string, path: string): TidegateError {
  return new TidegateError(
    code,
    `cannot open the access log ${path}: ${OPEN_ADVICE[code] ?? `the system says ${code}`}`,
  );
}

const OPEN_ADVICE: Record<string, string> = {
  ENOENT: 'its folder does not exist; create it or change access_log.path',
  ENOTDIR: 'a part of the path is not a folder; change access_log.path',
  EACCES: 'not permitted; make the folder writable for this user or change access_log.path',
  EROFS: 'the file system is read-only; change access_log.path',
  EISDIR: 'it is a folder; add a file name to access_log.path',
  ENXIO: 'it is a pipe that nobody reads; start its reader first',
  ENOSPC: 'the disk is full; make room or change access_log.path',
};
