// Tidegate in a process of its own under attack, with real brokers behind it and good clients who are served all the
// while. Where there are several cores it has one for itself, so that it is measured, and not who shares a core with its
// attackers.
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { StatusDocument } from '../../src/admin/status-document.ts';
import { freePort } from '../../src/demo-brokers.ts';
import { findProgram } from '../../src/find-program.ts';
import type { EngineName } from '../../src/index.ts';
import { ask } from './ask.ts';
import type { GoodClientsOptions, Latencies } from './good-clients.ts';
import { type Mosquitto, startMosquitto } from './mosquitto.ts';
import { answerOf, askProcess, startProcess } from './process-channel.ts';
import { Program } from './program.ts';

const WORKERS = 2;
const GOOD_CLIENTS = 200;
const PAUSE_MS = 200;
const QUIET_MS = 6000;
const SAMPLE_MS = 200;
/** For what was allocated to become garbage, and garbage to be collected. */
const SETTLE_MS = 3000;
/** Tells service from starvation; how fast it is on which machine is printed. */
const SERVED_MS = 5000;
/** A JavaScript heap's young generation and garbage in each of three threads, OpenSSL's, and an allocator's slack. */
const SLACK_BYTES = 160 << 20;

export interface SiegeOptions {
  engine: EngineName;
  /** Further settings of the listener "mqtt", or others beside it, with the doors that good clients come through. */
  listeners?: { name: string; kind: 'tcp' | 'tls' | 'websocket'; isForGood?: boolean; settings?: object }[];
  /** Of one worker. */
  connectionsMax?: number;
  /** Further settings of the configuration. */
  settings?: object;
  pool?: object;
  /** Further pools, by name. */
  pools?: Record<string, object>;
  ca?: string;
}

export interface Siege {
  brokers: Mosquitto[];
  portOf(listener: string): number;
  status(): Promise<StatusDocument>;
  /** Connections that ended for this reason. */
  ended(reason: string): Promise<number>;
  /** Of the whole process, now. */
  residentBytes(): number;
  /**
   * Measures good clients and memory before and during the attack, and afterwards; prints both. `heldBytesMax`: what the
   * configuration lets attackers make Tidegate hold.
   */
  withstand(attack: () => Promise<void>, heldBytesMax: number): Promise<void>;
}

/** undefined when the test was skipped and has to return. */
export async function startSiege(context: TestContext, options: SiegeOptions): Promise<Siege | undefined> {
  const brokers = [await startMosquitto(context), await startMosquitto(context)].filter((one) => one !== undefined);
  if (brokers.length < 2) return undefined;
  const { listeners = [{ name: 'mqtt', kind: 'tcp' }] } = options;
  const ports = new Map<string, number>();
  for (const { name } of listeners) ports.set(name, await freePort());
  const adminPort = await freePort();
  const program = await startTidegate(context, options, brokers, ports, adminPort);
  const doors = listeners.filter(({ isForGood = true }) => isForGood);
  const good = await startGoodClients(context, {
    doors: doors.map(({ name, kind }) => ({ kind, port: ports.get(name)! })),
    clientsPerDoor: Math.ceil(GOOD_CLIENTS / doors.length),
    pauseMs: PAUSE_MS,
    ...(options.ca === undefined ? {} : { ca: options.ca }),
  });
  const siege: Siege = {
    brokers,
    portOf: (listener) => ports.get(listener)!,
    status: async () => JSON.parse((await ask(adminPort, '/api/v1/status')).text),
    ended: async (reason) => countOf((await ask(adminPort, '/metrics')).text, reason),
    residentBytes: () => residentBytes(program),
    withstand: (attack, heldBytesMax) => withstand(context, siege, program, good, attack, heldBytesMax),
  };
  return siege;
}

async function startTidegate(
  context: TestContext,
  { engine, listeners, connectionsMax = 2048, settings, pool, pools }: SiegeOptions,
  brokers: Mosquitto[],
  ports: Map<string, number>,
  adminPort: number,
): Promise<Program> {
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-siege-'));
  context.after(() => rm(folder, { recursive: true, force: true }));
  const config = {
    engine,
    workers: WORKERS,
    connections_max: connectionsMax,
    listeners: [...ports].map(([name, port]) => ({
      name,
      bind: `127.0.0.1:${port}`,
      pool: 'brokers',
      ...listeners?.find((one) => one.name === name)?.settings,
    })),
    pools: { brokers: { backends: brokers.map(({ address }) => address), ...pool }, ...pools },
    access_log: { path: join(folder, 'access.log'), format: 'json' },
    admin: { bind: `127.0.0.1:${adminPort}` },
    ...settings,
  };
  const path = join(folder, 'tidegate.json');
  await writeFile(path, JSON.stringify(config));
  const program = new Program('src/cli.ts', ['run', '--config', path], { through: onCore(0) });
  context.after(() => program.kill());
  await program.printed('stderr', /ready|listen/i);
  return program;
}

/** A command that keeps the one behind it on a core; empty where there is but one. */
function onCore(core: number): string[] {
  const program = findProgram('taskset');
  return program === undefined || availableParallelism() < 2 ? [] : [program, '-c', String(core)];
}

async function startGoodClients(context: TestContext, options: GoodClientsOptions): Promise<ChildProcess> {
  const good = startProcess(context, './good-clients.ts', options);
  assert.equal(await answerOf(good), 'stands');
  return good;
}

/** 0 for a reason that has no sample yet. */
function countOf(metrics: string, reason: string): number {
  const lines = metrics.split('\n').filter((line) => line.startsWith('tidegate_connections_closed_total{'));
  const found = lines.find((line) => line.includes(`reason="${reason}"`));
  return Number(found?.split(' ').at(-1) ?? 0);
}

function residentBytes({ child }: Program): number {
  const status = readFileSync(`/proc/${child.pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+)/m.exec(status)![1]) << 10;
}

async function withstand(
  context: TestContext,
  siege: Siege,
  program: Program,
  good: ChildProcess,
  attack: () => Promise<void>,
  heldBytesMax: number,
): Promise<void> {
  await askProcess(good, 'begin');
  await sleep(QUIET_MS);
  const quiet = await askProcess<Latencies>(good, 'quiet');
  const before = residentBytes(program);
  let peak = before;
  const sampling = setInterval(() => {
    peak = Math.max(peak, residentBytes(program));
  }, SAMPLE_MS);
  await attack().finally(() => clearInterval(sampling));
  const during = await askProcess<Latencies>(good, 'during');
  await sleep(SETTLE_MS);
  const after = residentBytes(program);
  const { losses, waitingMs } = await askProcess<Latencies>(good, 'after');
  report(context, quiet, during, [before, peak, after], heldBytesMax);
  assert.deepEqual([quiet.losses, losses], [0, 0], 'good clients were disconnected');
  assert.ok(waitingMs < SERVED_MS && during.p99Ms < SERVED_MS, `good clients waited for ${during.p99Ms} ms`);
  assert.ok(peak - before < heldBytesMax + SLACK_BYTES, `${(peak - before) >> 20} MiB more`);
  assert.equal(program.child.exitCode, null);
  const { workers } = await siege.status();
  assert.deepEqual([...new Set(workers.map(({ restarts }) => restarts))], [0], program.stderr);
}

function report(
  context: TestContext,
  quiet: Latencies,
  during: Latencies,
  residentBytes: [before: number, peak: number, after: number],
  heldBytesMax: number,
): void {
  const [before, peak, after] = residentBytes.map((bytes) => bytes >> 20);
  const latencies = ({ messages, p50Ms, p99Ms, slowestMs }: Latencies) =>
    `${p50Ms.toFixed(1)} | ${p99Ms.toFixed(1)} | ${slowestMs.toFixed(0)} | ${messages}`;
  context.diagnostic('p50 ms, p99, slowest, messages: quiet, during | RSS MiB before, peak, after | allowed more');
  context.diagnostic(
    `${latencies(quiet)} || ${latencies(during)} || ${before} | ${peak} | ${after} | ${(heldBytesMax + SLACK_BYTES) >> 20}`,
  );
}
