// The balancers that carry the sessions: Tidegate, HAProxy and nginx, each with a configuration made for the number.
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { findProgram } from '../../src/find-program.ts';
import { proxyKinds } from '../proxies.ts';
import { Child } from './children.ts';
import { workersFor } from './size.ts';

export type BalancerName = 'tidegate' | 'haproxy' | 'nginx';

/** What a balancer has to carry, and where. */
export interface Job {
  connections: number;
  /** RLIMIT_NOFILE. */
  descriptors: number;
  port: number;
  adminPort: number;
  /** host:port of each. */
  backends: readonly string[];
  /** Addresses to connect from; none: the system's choice. */
  sources: readonly string[];
  /** For its files; removed when the bench ends. */
  folder: string;
}

export interface BalancerKind {
  name: BalancerName;
  title: string;
  /** How many connections its own architecture allows, and why; undefined: no bound but memory. */
  bound(descriptors: number): { connections: number; why: string } | undefined;
  /** Why it can't run here. */
  missing(): string | undefined;
  /** Writes its configuration; returns the command, and in words what its threads or processes are. */
  prepare(job: Job): { command: string[]; workers: string };
}

const RIVALS = join(import.meta.dirname, '../rivals');
/** As it is installed. Straight from the sources each thread would have a compiler of its own, of 13 MB. */
const CLI = join(import.meta.dirname, '../../dist/src/cli.js');
const COLLECT = join(import.meta.dirname, 'collect.js');
const COLLECT_MS = 1000;
const START_TIMEOUT_MS = 120_000;
const POLL_MS = 10;
/** For listeners, logs, event loops. */
const HAPROXY_DESCRIPTORS = 100;
/** nginx needs some in each worker, and its workers are not evenly full. */
const NGINX_FILLED = 0.86;

const missing = (name: string): string | undefined => proxyKinds.find((kind) => kind.name === name)!.missing();

export const tidegate: BalancerKind = {
  name: 'tidegate',
  title: 'Tidegate',
  bound: () => undefined,
  missing: () => missing('tidegate'),
  prepare(job) {
    const workers = workersFor(job.connections, job.descriptors, availableParallelism());
    const config = {
      workers,
      engine: 'uring',
      listeners: [{ name: 'mqtt', bind: `0.0.0.0:${job.port}`, pool: POOL }],
      pools: {
        [POOL]: {
          balance: { method: 'hash', key: 'client_id' },
          health: 'none',
          backends: job.backends,
          source_addresses: job.sources,
        },
      },
      admin: { bind: `127.0.0.1:${job.adminPort}` },
      access_log: { path: 'off' },
    };
    const file = join(job.folder, 'tidegate.yaml');
    writeFileSync(file, JSON.stringify(config, undefined, 2));
    const command = [process.execPath, '--expose-gc', '--import', COLLECT, CLI, 'run', '--config', file];
    return { command, workers: `1 process, ${workers} workers` };
  },
};
export const POOL = 'brokers';

export const rivals: readonly BalancerKind[] = [
  {
    name: 'haproxy',
    title: 'HAProxy',
    bound: (descriptors) => ({
      connections: Math.floor((descriptors - HAPROXY_DESCRIPTORS) / 2),
      why: `one process, of which RLIMIT_NOFILE is ${descriptors}, and a connection takes two`,
    }),
    missing: () => missing('haproxy'),
    prepare(job) {
      const servers = job.backends.map((address, index) => `  server broker${index + 1} ${address}`);
      const config = render(job, 'haproxy-million.cfg', { SERVERS: servers.join('\n') });
      return { command: [findProgram('haproxy')!, '-db', '-f', config], workers: '1 process' };
    },
  },
  {
    name: 'nginx',
    title: 'nginx',
    bound: () => undefined,
    missing: () => missing('nginx'),
    prepare(job) {
      const each = Math.floor((job.descriptors / 2) * NGINX_FILLED);
      const workers = Math.max(availableParallelism(), Math.ceil(job.connections / each));
      const servers = job.backends.map((address) => `    server ${address};`);
      copyFileSync(join(RIVALS, 'client-id.js'), join(job.folder, 'client-id.js'));
      const config = render(job, 'nginx-million.conf', { SERVERS: servers.join('\n'), WORKERS: String(workers) });
      const command = [findProgram('nginx')!, '-p', job.folder, '-c', config, '-g', 'daemon off;', '-e', 'stderr'];
      return { command, workers: `${workers} processes` };
    },
  },
];

function render(job: Job, file: string, values: Record<string, string>): string {
  const all: Record<string, string> = {
    ...values,
    PORT: String(job.port),
    CONNECTIONS: String(job.connections),
    DESCRIPTORS: String(job.descriptors),
  };
  const path = join(job.folder, file);
  const template = readFileSync(join(RIVALS, file), 'utf8');
  writeFileSync(
    path,
    template.replace(/@([A-Z]+)@/g, (_, name: string) => all[name] ?? ''),
  );
  return path;
}

export interface Balancer {
  child: Child;
  workers: string;
  /** From its start until it serves. */
  readyMs: number;
  /** Lets it collect its garbage, where it has any. */
  collect(): Promise<void>;
}

const folders: string[] = [];
process.on('exit', () => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

/** Resolves when it serves. */
export async function startBalancer(
  kind: BalancerKind,
  job: Omit<Job, 'folder'>,
  signal: AbortSignal,
): Promise<Balancer> {
  const folder = mkdtempSync(join(tmpdir(), 'tidegate-million-'));
  folders.push(folder);
  const { command, workers } = kind.prepare({ ...job, folder });
  const beganMs = performance.now();
  const child = new Child(kind.title, command);
  const isReady = kind.name === 'tidegate' ? () => answers(job.adminPort) : () => accepts(job.port);
  for (const deadline = beganMs + START_TIMEOUT_MS; !(await isReady()); await sleep(POLL_MS, undefined, { signal })) {
    if (!child.isRunning) throw new Error(`${kind.title} ended before it was ready:\n${child.lastWords}`);
    if (performance.now() > deadline) throw new Error(`${kind.title} is not ready after ${START_TIMEOUT_MS / 1000} s`);
  }
  const readyMs = performance.now() - beganMs;
  child.offerFirst();
  const collect = async (): Promise<void> => {
    if (kind !== tidegate) return;
    child.signal('SIGURG');
    await sleep(COLLECT_MS, undefined, { signal });
  };
  return { child, workers, readyMs, collect };
}

async function answers(adminPort: number): Promise<boolean> {
  try {
    return (await fetch(`http://127.0.0.1:${adminPort}/readyz`)).ok;
  } catch {
    return false;
  }
}

function accepts(port: number): Promise<boolean> {
  const socket = connect({ host: '127.0.0.1', port });
  return new Promise<boolean>((resolve) => {
    socket.on('connect', () => resolve(true)).on('error', () => resolve(false));
  }).finally(() => socket.destroy());
}
