// A real mosquitto that logs everything it notices.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { answers, freePort } from '../../src/demo-brokers.ts';
import { findProgram } from '../../src/find-program.ts';
import { requireProgram } from './requirements.ts';
import { waitFor } from './wait.ts';

export interface Mosquitto {
  port: number;
  address: string;
  /** All that it has logged since it last started, a line each. */
  log(): string[];
  /** Stops it dead, as if it hung: the kernel goes on accepting. */
  freeze(): void;
  thaw(): void;
  kill(): Promise<void>;
  /** After a kill, on the same port. */
  restart(): Promise<void>;
}

export interface MosquittoOptions {
  /** The only ones who may come. */
  user?: { name: string; password: string };
  /** Paths; with a CA clients must show a certificate of it. */
  tls?: { cert: string; key: string; clientCa?: string };
}

/** undefined when the test was skipped and has to return. */
export async function startMosquitto(
  context: TestContext,
  options: MosquittoOptions = {},
): Promise<Mosquitto | undefined> {
  const program = requireProgram(context, 'mosquitto');
  if (program === undefined) return undefined;
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-mosquitto-'));
  const port = await freePort();
  const configPath = join(folder, 'mosquitto.conf');
  await writeFile(configPath, `${configLines(folder, port, options).join('\n')}\n`);
  let child: ChildProcess;
  let logged = '';
  const run = async () => {
    logged = '';
    child = spawn(program, ['-c', configPath], { stdio: ['ignore', 'ignore', 'pipe'] });
    child.stderr!.setEncoding('utf8').on('data', (text) => {
      logged += text;
    });
    await answers(port);
    if (options.tls !== undefined) await waitFor('broker that runs', () => /version .* running/.test(logged));
    else await waitFor('end of the visit that found it running', () => logged.includes('Client <unknown> closed'));
  };
  const kill = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'close');
  };
  context.after(async () => {
    await kill();
    await rm(folder, { recursive: true, force: true });
  });
  await run();
  return {
    port,
    address: `127.0.0.1:${port}`,
    log: () => logged.split('\n').slice(0, -1),
    freeze: () => void child.kill('SIGSTOP'),
    thaw: () => void child.kill('SIGCONT'),
    kill,
    restart: run,
  };
}

function configLines(folder: string, port: number, { user, tls }: MosquittoOptions): string[] {
  const lines = [
    `listener ${port} 127.0.0.1`,
    `user ${userInfo().username}`, // else root's mosquitto becomes another user, who can't read the folder
    'log_dest stderr',
    'log_type all',
    'log_timestamp false',
    'sys_interval 0',
    ...tlsLines(tls),
  ];
  if (user === undefined) return [...lines, 'allow_anonymous true'];
  const file = join(folder, 'passwords');
  const { name, password } = user;
  execFileSync(findProgram('mosquitto_passwd')!, ['-b', '-c', file, name, password], { stdio: 'ignore' });
  return [...lines, 'allow_anonymous false', `password_file ${file}`];
}

function tlsLines(tls: MosquittoOptions['tls']): string[] {
  if (tls === undefined) return [];
  const { cert, key, clientCa } = tls;
  const files = [`certfile ${cert}`, `keyfile ${key}`];
  return clientCa === undefined ? files : [...files, `cafile ${clientCa}`, 'require_certificate true'];
}
