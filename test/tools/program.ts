// A program of ours as users start it: a child process, what it prints, and how it ends.
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '../..');
const WAIT_MS = 60_000;

export interface Ended {
  code: number | null;
  stdout: string;
  stderr: string;
}

export class Program {
  readonly child: ChildProcessWithoutNullStreams;
  stdout = '';
  stderr = '';

  /** `fds` are passed from descriptor 3 on; `through` is a command that executes the one behind it. */
  constructor(
    file: string,
    args: readonly string[],
    { node = [] as readonly string[], env = {}, fds = [] as number[], through = [] as readonly string[] } = {},
  ) {
    const options = ['--disable-warning=ExperimentalWarning', ...node];
    const environment = { ...process.env, npm_lifecycle_event: undefined, ...env };
    const [command = '', ...words] = [...through, process.execPath, ...options, join(ROOT, file), ...args];
    const stdio = ['pipe', 'pipe', 'pipe', ...fds] as ['pipe', 'pipe', 'pipe'];
    this.child = spawn(command, words, { env: environment, stdio });
    this.child.stdout.setEncoding('utf8').on('data', (text) => (this.stdout += text));
    this.child.stderr.setEncoding('utf8').on('data', (text) => (this.stderr += text));
  }

  /** Resolves once the pattern has been printed. */
  async printed(stream: 'stdout' | 'stderr', pattern: RegExp): Promise<RegExpExecArray> {
    const deadline = AbortSignal.timeout(WAIT_MS);
    for (;;) {
      const found = pattern.exec(this[stream]);
      if (found !== null) return found;
      const ended = this.child.exitCode !== null || this.child.signalCode !== null;
      if (ended) throw new Error(`ended without printing ${pattern}:\n${this.stdout}${this.stderr}`);
      await Promise.race([
        once(this.child[stream], 'data', { signal: deadline }),
        once(this.child, 'close', { signal: deadline }),
      ]).catch(() => {
        throw new Error(`did not print ${pattern} in time:\n${this.stdout}${this.stderr}`);
      });
    }
  }

  async ended(): Promise<Ended> {
    if (this.child.exitCode === null && this.child.signalCode === null) await once(this.child, 'close');
    return { code: this.child.exitCode, stdout: this.stdout, stderr: this.stderr };
  }

  /** For a test's end: nothing is left running, whatever happened before. */
  async kill(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    this.child.kill('SIGKILL');
    await once(this.child, 'close');
  }
}

/** Runs to the end, with `input` on its standard input. */
export async function runProgram(file: string, args: readonly string[], input = ''): Promise<Ended> {
  const program = new Program(file, args);
  program.child.stdin.end(input);
  return program.ended();
}
