// The process that takes over from this one. It is the program as it is on the disk now, with the same arguments; it gets
// the listening sockets, so that they are never closed, and a channel on which it says that it serves and is told when it
// is alone:
//
//   we   start it, and go on          it   starts, serves          ──► "ready"
//   we   leave the admin API's port   ──► "alone"                  it   opens the admin API
//   we   accept nobody any more, and end with the last connection
//
// Until "ready" nothing has changed for us, and whatever goes wrong with it is its own end only.
import { type ChildProcess, spawn } from 'node:child_process';
import type { Duplex } from 'node:stream';
import { bequestEnvironment } from './control/inherited.ts';
import type { EngineName } from './engine/engine.ts';

export const READY = 'ready\n';
export const ALONE = 'alone\n';

const READY_MS = 30_000;

export interface Bequest {
  sockets: readonly { name: string; fd: number }[];
  engine: EngineName;
  /** What is executed, with its arguments; default: what this process was. */
  command?: readonly [string, ...string[]];
  readyMs?: number;
}

export interface Successor {
  pid: number;
  /** Tells it that it is alone. */
  leave(): void;
}

/** Resolves when it serves. Rejects with an Error that says why it doesn't, and then it has ended; so does the signal. */
export async function startSuccessor(bequest: Bequest, signal: AbortSignal): Promise<Successor> {
  const child = spawnSuccessor(bequest);
  const channel = child.stdio.at(-1) as Duplex;
  channel.on('error', () => {}); // its end is noticed by itself
  try {
    await untilReady(child, channel, bequest.readyMs ?? READY_MS, signal);
  } catch (error) {
    child.kill('SIGKILL');
    channel.destroy();
    throw error;
  }
  child.unref();
  return { pid: child.pid!, leave: () => channel.end(ALONE) };
}

function spawnSuccessor({ sockets, engine, command }: Bequest): ChildProcess {
  const [program, ...args] = command ?? [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  // The watchdog's pid is ours, and would keep the successor from its duty.
  const { WATCHDOG_PID: _, ...environment } = process.env;
  const names = sockets.map(({ name }) => name);
  return spawn(program, args, {
    detached: true,
    env: { ...environment, ...bequestEnvironment(names, engine) },
    stdio: ['inherit', 'inherit', 'inherit', ...sockets.map(({ fd }) => fd), 'pipe'],
  });
}

function untilReady(child: ChildProcess, channel: Duplex, readyMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((ready, fail) => {
    const late = setTimeout(() => fail(new Error(`it was not ready within ${readyMs / 1000} s`)), readyMs);
    const settle = (end: () => void) => {
      clearTimeout(late);
      end();
    };
    const onAbort = () => settle(() => fail(new Error('this process was asked to stop')));
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    child.once('error', ({ message }) => settle(() => fail(new Error(`it could not be started: ${message}`))));
    child.once('exit', (code, killedBy) =>
      settle(() => fail(new Error(`it ended with ${killedBy ?? `exit code ${code}`}`))),
    );
    let said = '';
    channel.on('data', (bytes: Buffer) => {
      said += bytes;
      if (said === READY) settle(ready);
    });
  });
}
