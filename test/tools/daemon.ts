// A server from the system's packages, with a folder of its own that goes with it, and all that it prints.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { waitFor } from './wait.ts';

/** Erlang's brokers take a quarter of a minute on a machine that does other things too. */
const START_MS = 120_000;

export interface Daemon {
  folder: string;
  /** What it has printed. */
  text(): string;
}

export interface DaemonOptions {
  command: string;
  args: (folder: string) => readonly string[];
  env?: (folder: string) => Record<string, string>;
  /** By name, in its folder. */
  files: (folder: string) => Record<string, string>;
  /** What it prints, or any other sign, when it serves. */
  isReady: (text: string) => boolean | Promise<boolean>;
  /** When it has ended, before its folder is removed. */
  onEnd?: (folder: string) => unknown;
}

export async function startDaemon(context: TestContext, options: DaemonOptions): Promise<Daemon> {
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-daemon-'));
  for (const [name, content] of Object.entries(options.files(folder))) await writeFile(join(folder, name), content);
  // Scripts have children of their own: all of them are one group, and end together.
  const child = spawn(options.command, options.args(folder), {
    cwd: folder,
    env: { ...process.env, ...options.env?.(folder) },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  let text = '';
  const note = (more: string) => {
    text += more;
  };
  child.stdout.setEncoding('utf8').on('data', note);
  child.stderr.setEncoding('utf8').on('data', note);
  context.after(async () => {
    await end(child);
    await options.onEnd?.(folder);
    await rm(folder, { recursive: true, force: true });
  });
  const hasEnded = () => child.exitCode !== null || child.signalCode !== null;
  await waitFor(`start of ${options.command}`, () => hasEnded() || options.isReady(text), START_MS);
  if (hasEnded()) throw new Error(`${options.command} ended at once:\n${text}`);
  return { folder, text: () => text };
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const closed = once(child, 'close');
  process.kill(-child.pid!, 'SIGKILL');
  await closed;
}
