// The processes that a run starts. They are the first to go when memory runs out, and all are ended by their ids, whatever
// happens: orderly at a run's end, at once when the bench itself ends.
import { type ChildProcess, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { descendants } from '../process-usage.ts';

/** Of all processes the kernel chooses these first. */
const OOM_SCORE_FIRST = '1000';
const LAST_WORDS_BYTES = 4000;
const STOP_TIMEOUT_MS = 30_000;

const running = new Set<Child>();
process.on('exit', () => {
  for (const child of running) child.kill();
});

/** Resolves when nobody runs any more. */
export async function killAll(): Promise<void> {
  const children = [...running];
  for (const child of children) child.kill();
  await Promise.all(children.map(({ ended }) => ended));
}

export class Child<Line = unknown> {
  readonly name: string;
  readonly pid: number;
  /** The latest line of JSON on its standard output. */
  line: Line | undefined;
  /** Resolves when it has ended, to its exit code; null: by a signal. */
  readonly ended: Promise<number | null>;
  #isRunning = true;
  #lastWords = '';
  readonly #process: ChildProcess;

  constructor(name: string, [program, ...args]: readonly string[], onLine: (line: Line) => void = () => {}) {
    this.name = name;
    // Detached: Ctrl-C reaches the bench alone, which then ends them in order.
    this.#process = spawn(program!, args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    this.pid = this.#process.pid ?? 0;
    running.add(this);
    this.ended = new Promise((resolve) => {
      this.#process.on('error', (error) => this.#keep(error.message)).on('close', (code) => resolve(code));
    });
    void this.ended.then(() => {
      this.#isRunning = false;
      running.delete(this);
    });
    this.#process.stderr!.setEncoding('utf8').on('data', (text) => this.#keep(text));
    createInterface(this.#process.stdout!).on('line', (text) => {
      const line = parseLine(text) as Line | undefined;
      if (line === undefined) return this.#keep(`${text}\n`);
      this.line = line;
      onLine(line);
    });
    this.offerFirst();
  }

  get isRunning(): boolean {
    return this.#isRunning;
  }

  /** What it said last that was no JSON. */
  get lastWords(): string {
    return this.#lastWords.trim();
  }

  #keep(text: string): void {
    this.#lastWords = `${this.#lastWords}${text}`.slice(-LAST_WORDS_BYTES);
  }

  /** To the kernel, when memory runs out. To be called again when it has children of its own. */
  offerFirst(): void {
    for (const pid of this.#pids()) {
      try {
        writeFileSync(`/proc/${pid}/oom_score_adj`, OOM_SCORE_FIRST);
      } catch {
        // It has ended.
      }
    }
  }

  signal(signal: NodeJS.Signals): void {
    if (this.#isRunning) this.#process.kill(signal);
  }

  /** Returns its exit code; null: it had to be killed. */
  async stop(waitMs = STOP_TIMEOUT_MS): Promise<number | null> {
    this.signal('SIGTERM');
    const timer = setTimeout(() => this.kill(), waitMs);
    const code = await this.ended;
    clearTimeout(timer);
    return code;
  }

  /** With its children, which would outlive it. */
  kill(): void {
    for (const pid of this.#pids()) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It has ended.
      }
    }
  }

  #pids(): number[] {
    return this.#isRunning && this.pid !== 0 ? [this.pid, ...descendants(this.pid)] : [];
  }
}

function parseLine(text: string): unknown {
  if (!text.startsWith('{')) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
