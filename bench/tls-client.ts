// TLS on the load's side. The load speaks plain MQTT over its rings, and HAProxy on the load's core makes TLS of it: that
// costs the load less than any client in JavaScript, so that it stays faster than what it measures. Handshakes come from
// openssl s_time.
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { findProgram } from '../src/find-program.ts';
import { cpuNs } from './process-usage.ts';
import { INSTALL_RIVALS } from './proxies.ts';

const START_TIMEOUT_MS = 10_000;
/** From a proxy's port to that of its client. */
const PORT_OFFSET = 50;
const CONFIG = join(import.meta.dirname, 'rivals/tls-client.cfg');
/** At once: while one waits for the proxy another one computes. */
const HANDSHAKERS = 4;
const KINDS = {
  full: ['-new', '-tls1_3', '-ciphersuites', 'TLS_AES_128_GCM_SHA256'],
  // It doesn't wait for the tickets of TLS 1.3, so it resumes only older sessions.
  resumed: ['-reuse', '-tls1_2', '-cipher', 'ECDHE-ECDSA-AES128-GCM-SHA256'],
};

const running = new Set<TlsClient>();
process.on('exit', () => {
  for (const client of [...running]) client.stop();
});

/** A process that takes plain connections, and carries them to one proxy over TLS. */
export class TlsClient {
  readonly port: number;
  readonly #child: ChildProcess;
  readonly #folder: string;

  private constructor(port: number, child: ChildProcess, folder: string) {
    this.port = port;
    this.#child = child;
    this.#folder = folder;
  }

  static async start(proxyPort: number): Promise<TlsClient> {
    const program = findProgram('haproxy');
    if (program === undefined)
      throw new Error(`TLS on the load's side is HAProxy's, which isn't there (${INSTALL_RIVALS})`);
    const port = proxyPort + PORT_OFFSET;
    const folder = mkdtempSync(join(tmpdir(), 'tidegate-bench-'));
    const path = join(folder, 'tls-client.cfg');
    const text = readFileSync(CONFIG, 'utf8').replace('@PORT@', String(port)).replace('@PROXY@', String(proxyPort));
    writeFileSync(path, text);
    const child = spawn(program, ['-db', '-f', path], { stdio: 'ignore' });
    const client = new TlsClient(port, child, folder);
    running.add(client);
    for (const deadline = performance.now() + START_TIMEOUT_MS; !(await accepts(port)); await sleep(50)) {
      if (child.exitCode === null && performance.now() < deadline) continue;
      client.stop();
      throw new Error(`HAProxy does not listen on port ${port}`);
    }
    return client;
  }

  get cpuUs(): number {
    return cpuNs(this.#child.pid!) / 1000;
  }

  stop(): void {
    this.#child.kill('SIGKILL');
    rmSync(this.#folder, { recursive: true, force: true });
    running.delete(this);
  }
}

/** What TLS on the load's side has cost, of all clients that run. */
export function tlsClientsUs(): number {
  return [...running].reduce((sum, { cpuUs }) => sum + cpuUs, 0);
}

async function accepts(port: number): Promise<boolean> {
  const socket = connect({ host: '127.0.0.1', port });
  const answer = await Promise.race([
    once(socket, 'connect').then(() => true),
    once(socket, 'close').then(() => false),
  ]).catch(() => false);
  socket.destroy();
  return answer;
}

/** Handshakes as fast as they go, for whole seconds; returns how many there were. */
export async function shakeHands(port: number, kind: 'full' | 'resumed', seconds: number): Promise<number> {
  const program = findProgram('openssl');
  if (program === undefined) throw new Error('handshakes are made by openssl, which is not installed');
  const args = ['s_time', '-connect', `127.0.0.1:${port}`, '-time', String(seconds), ...KINDS[kind]];
  const runs = Array.from({ length: HANDSHAKERS }, () => promisify(execFile)(program, args));
  const outputs = (await Promise.all(runs)).map(({ stdout }) => stdout);
  // A mark for each connection: "r" when its session was resumed, "*" when it was new.
  const marks = outputs.map((output) => /^[r*]+$/m.exec(output)?.[0] ?? '').join('');
  if (marks.includes(kind === 'full' ? 'r' : '*')) throw new Error(`some handshakes were not ${kind}`);
  const counts = outputs.map((output) => /(\d+) connections in \d+ real seconds/.exec(output)?.[1]);
  return counts.reduce((sum, count) => sum + Number(count ?? Number.NaN), 0);
}
