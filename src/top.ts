// `tidegate top`: the status as it goes, on the whole terminal. What it changes of the terminal is put back on every way
// out, a crash included.
import { writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { type AdminTarget, getJson } from './admin/client.ts';
import type { EventsDocument } from './admin/routes/events.ts';
import type { StatusDocument } from './admin/status-document.ts';
import { clipped, type Reading, SORTS, topLines } from './top-text.ts';

const PERIOD_MS = 1000;
const ONCE_EVENTS = 10;
/** The other screen, without a cursor; and back. */
const ENTER = '\x1b[?1049h\x1b[?25l';
const LEAVE = '\x1b[?25h\x1b[?1049l';
const HOME = '\x1b[H';
const CLEAR_LINE = '\x1b[K';
const CLEAR_BELOW = '\x1b[J';
const CTRL_C = '\x03';
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Resolves when somebody has had enough. Throws a TidegateError when there is nothing to show from the start. */
export async function top(target: AdminTarget): Promise<void> {
  const first = await read(target);
  const screen = new Screen(first);
  try {
    while (!screen.ended.aborted) {
      await sleep(PERIOD_MS, undefined, { signal: screen.ended }).catch(() => {});
      if (screen.ended.aborted || screen.isPaused) continue;
      await read(target).then(
        (reading) => screen.show(reading),
        (error: Error) => screen.complain(error.message),
      );
    }
  } finally {
    screen.close();
  }
}

/** For pipes: one screen's text, after the second that rates take. */
export async function topOnce(target: AdminTarget): Promise<string> {
  const before = await read(target);
  await sleep(PERIOD_MS);
  const { status, events } = await read(target);
  const latest = { ...events, events: events.events.slice(-ONCE_EVENTS) };
  const lines = topLines({ now: { status, events: latest }, before, sort: 'configuration', isColoured: false });
  return lines.map((line) => `${line.trimEnd()}\n`).join('');
}

async function read(target: AdminTarget): Promise<Reading> {
  const [status, events] = await Promise.all([
    getJson(target, '/api/v1/status', ['version', 'pools']),
    getJson(target, '/api/v1/events', ['complete_since', 'events']),
  ]);
  return { status: status as StatusDocument, events: events as EventsDocument };
}

class Screen {
  isPaused = false;
  readonly #end = new AbortController();
  /** By a key or a signal. */
  readonly ended = this.#end.signal;
  #now: Reading;
  #before: Reading | undefined;
  #sort = 0;
  #trouble = '';
  readonly #isColoured = process.stdout.hasColors() && (process.env.NO_COLOR ?? '') === '';

  constructor(first: Reading) {
    this.#now = first;
    process.on('exit', this.#restore);
    for (const signal of SIGNALS) process.on(signal, this.#onSignal);
    process.stdout.on('resize', this.#draw);
    process.stdin.on('data', this.#onKeys);
    if (process.stdin.isTTY) process.stdin.setRawMode(true);
    process.stdout.write(ENTER);
    this.#draw();
  }

  show(reading: Reading): void {
    this.#before = this.#now;
    this.#now = reading;
    this.#trouble = '';
    this.#draw();
  }

  complain(trouble: string): void {
    this.#trouble = trouble;
    this.#draw();
  }

  close(): void {
    process.off('exit', this.#restore);
    for (const signal of SIGNALS) process.off(signal, this.#onSignal);
    process.stdout.off('resize', this.#draw);
    process.stdin.off('data', this.#onKeys).pause();
    this.#restore();
  }

  readonly #onSignal = () => this.#end.abort();

  /** At once: at a crash nothing later is written. */
  readonly #restore = () => {
    if (process.stdin.isTTY) process.stdin.setRawMode(false);
    writeSync(process.stdout.fd, LEAVE);
  };

  readonly #onKeys = (keys: Buffer) => {
    for (const key of keys.toString()) {
      if (key === 'q' || key === CTRL_C) return this.#end.abort();
      if (key === 'p' || key === ' ') this.isPaused = !this.isPaused;
      if (key === 's') this.#sort = (this.#sort + 1) % SORTS.length;
    }
    this.#draw();
  };

  readonly #draw = () => {
    const { columns = 80, rows = 24 } = process.stdout;
    const sort = SORTS[this.#sort]!;
    const lines = topLines({ now: this.#now, before: this.#before, sort, isColoured: this.#isColoured });
    const room = Math.max(0, rows - 1);
    const shown = lines.slice(0, room).map((line) => clipped(line, columns));
    const blank = Array.from({ length: room - shown.length }, () => '');
    const text = [...shown, ...blank, clipped(this.#footer(sort), columns)].join(`${CLEAR_LINE}\r\n`);
    process.stdout.write(HOME + text + CLEAR_LINE + CLEAR_BELOW);
  };

  #footer(sort: string): string {
    if (this.#trouble !== '') return this.#trouble;
    return `q quit  p ${this.isPaused ? 'go on (paused)' : 'pause'}  s sort: ${sort}`;
  }
}
