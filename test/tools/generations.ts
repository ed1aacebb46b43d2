// `tidegate run` as one service over several processes: each upgrade's successor writes to the same standard error.
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { Program } from './program.ts';
import { waitFor } from './wait.ts';

const UPGRADE_MS = 60_000;

export interface LogLine {
  pid: number;
  msg: string;
  event?: string;
  listeners?: Record<string, string>;
  admin?: string;
  [name: string]: unknown;
}

export class Generations {
  readonly program: Program;
  readonly folder: string;
  readonly configPath: string;
  /** Of the process that serves. */
  pid: number;

  constructor(program: Program, folder: string) {
    this.program = program;
    this.folder = folder;
    this.configPath = join(folder, 'tidegate.yaml');
    this.pid = program.child.pid!;
  }

  lines(pid?: number): LogLine[] {
    const lines = this.program.stderr.split('\n').slice(0, -1);
    const logged = lines.filter((line) => line.startsWith('{')).map((line): LogLine => JSON.parse(line));
    return logged.filter((line) => pid === undefined || line.pid === pid);
  }

  /** Resolves with the first line of that process, by default of any, that fits. */
  line(fits: (line: LogLine) => boolean, pid?: number): Promise<LogLine> {
    return waitFor('line of the log', () => this.lines(pid).find(fits), UPGRADE_MS).catch((error) => {
      throw new Error(`${error.message}:\n${this.program.stderr}`);
    });
  }

  event(event: string, pid?: number): Promise<LogLine> {
    return this.line((line) => line.event === event, pid);
  }

  ready(pid = this.pid): Promise<LogLine> {
    return this.line(({ msg }) => msg === 'ready', pid);
  }

  /** Where the first listener is, or the one of that name. */
  async port(name = 'mqtt'): Promise<number> {
    const { listeners = {} } = await this.ready();
    return Number(listeners[name]?.split(':').at(-1));
  }

  async adminPort(): Promise<number> {
    const { admin = '' } = await this.ready();
    return Number(admin.split(':').at(-1));
  }

  configure(settings: object): Promise<void> {
    return writeFile(this.configPath, JSON.stringify(settings));
  }

  ask(signal: NodeJS.Signals): void {
    process.kill(this.pid, signal);
  }

  /** Resolves when the successor serves alone. */
  async upgrade(): Promise<number> {
    const before = this.pid;
    this.ask('SIGUSR2');
    const { successor } = await this.line(
      ({ event, successor }) => event === 'upgraded' && successor !== undefined,
      before,
    );
    this.pid = successor as number;
    await this.ready();
    return this.pid;
  }

  stopped(pid: number): Promise<LogLine> {
    return this.line(({ msg }) => msg === 'stopped', pid);
  }
}

/** Ends with the test, whichever process it has become. */
export async function startGenerations(
  context: TestContext,
  settings: object,
  launch = (args: string[]) => new Program('src/cli.ts', args),
): Promise<Generations> {
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-upgrade-'));
  context.after(() => rm(folder, { recursive: true, force: true }));
  const configPath = join(folder, 'tidegate.yaml');
  await writeFile(configPath, JSON.stringify(settings));
  const service = new Generations(launch(['run', '--config', configPath]), folder);
  context.after(async () => {
    for (const pid of new Set(service.lines().map((line) => line.pid))) end(pid);
    await service.program.kill();
  });
  return service;
}

/** Those that the service's own log names, so they were started here. */
function end(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended by itself.
  }
}

/** The exit code of the process that was started first; those behind it aren't our children. */
export async function exitCode({ program }: Generations): Promise<number | null> {
  if (program.child.exitCode === null && program.child.signalCode === null) await once(program.child, 'exit');
  return program.child.exitCode;
}
