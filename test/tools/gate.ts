// Tidegate itself, started in this process on a free port, with its access log in a file that is read back.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFile, rm } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseConfig } from '../../src/config.ts';
import { type EngineName, probeUring } from '../../src/engine/engine.ts';
import { type Logger, start, type Tidegate } from '../../src/index.ts';

const uring = await probeUring();
const whyNot: Record<EngineName, string | undefined> = { uring: uring.ok ? undefined : uring.why, portable: undefined };

export interface GateOptions {
  engine: EngineName;
  /** host:port each. */
  backends: readonly string[];
  bind?: string;
  workers?: number;
  /** Durations as in the configuration: "500ms". */
  connectTimeout?: string;
  dialTimeout?: string;
  keepAliveFactor?: number;
  idleTimeout?: string;
  connectMaxBytes?: number;
  connectionsMax?: number;
}

export interface Gate {
  readonly tidegate: Tidegate;
  readonly host: string;
  readonly port: number;
  /** A client's socket, half-open ends allowed, from the given source address. */
  connect(localAddress?: string): Socket;
  /** The access log, once it has that many lines. */
  records(count: number): Promise<LogRecord[]>;
  /** Waits until the last connection has left its slot. */
  idle(): Promise<void>;
}

export interface LogRecord {
  remote_addr: string;
  remote_port: number;
  protocol: string;
  status: number;
  bytes_from_client: number;
  bytes_to_client: number;
  backend: string;
  client_id: string;
  reason: string;
  attempts: number;
}

const WAIT_MS = 10_000;
const POLL_MS = 20;

/** Registers the test once for each engine. One that can't run here is skipped, which CI takes for a failure. */
export function testEveryEngine(name: string, body: (engine: EngineName, context: TestContext) => Promise<void>): void {
  for (const engine of ['uring', 'portable'] as const) {
    const why = whyNot[engine];
    const skip = why !== undefined && process.env.CI !== 'true' ? `${engine} can't run here: ${why}` : false;
    test(`${name} (${engine})`, { skip }, async (context) => {
      if (why !== undefined) throw new Error(`${engine} can't run here: ${why}`);
      await body(engine, context);
    });
  }
}

export async function withGate(options: GateOptions, use: (gate: Gate) => Promise<void>): Promise<void> {
  const log = join(tmpdir(), `tidegate-${process.pid}-${randomBytes(4).toString('hex')}.log`);
  const config = parseConfig(JSON.stringify(settings(options, log)), 'gate.yaml');
  // Documents may ask for less than a configuration can.
  const { connectMaxBytes = config.connectMaxBytes } = options;
  let tidegate: Tidegate | undefined;
  try {
    tidegate = await start({ ...config, connectMaxBytes }, { log: onlyFailures });
    await use(createGate(tidegate, log));
    for (const { index, restarts } of tidegate.status().workers) assert.equal(restarts, 0, `worker ${index} has died`);
  } finally {
    await tidegate?.stop({ now: true });
    await rm(log, { force: true });
  }
}

/** The configuration file's own words; JSON is YAML. */
function settings(options: GateOptions, log: string): object {
  const { engine, backends, bind = '127.0.0.1:0', workers = 1, connectionsMax = 4096 } = options;
  return {
    engine,
    workers,
    connections_max: connectionsMax,
    listeners: [
      {
        name: 'mqtt',
        bind,
        connect_timeout: options.connectTimeout ?? '10s',
        keep_alive_factor: options.keepAliveFactor ?? 1.5,
        idle_timeout: options.idleTimeout ?? '0s',
      },
    ],
    // One backend's failures are often the test's subject: being passed over must not be.
    pools: {
      brokers: {
        connect_timeout: options.dialTimeout ?? '5s',
        backends: backends.map((address) => ({ address, max_fails: 0 })),
      },
    },
    access_log: { path: log, format: 'json' },
  };
}

const onlyFailures: Logger = { info() {}, warn() {}, error: console.error };

function createGate(tidegate: Tidegate, log: string): Gate {
  const { host, port } = tidegate.listeners[0]!;
  return {
    tidegate,
    host,
    port,
    connect: (localAddress) => connect({ host, port, localAddress, allowHalfOpen: true, noDelay: true }),
    records: (count) => waitFor(`${count} lines in the access log`, () => readRecords(log, count)),
    idle: async () => {
      await waitFor('an empty connection table', async () => tidegate.status().connections === 0 || undefined);
    },
  };
}

async function readRecords(log: string, count: number): Promise<LogRecord[] | undefined> {
  const lines = (await readFile(log, 'utf8').catch(() => '')).split('\n').slice(0, -1);
  return lines.length < count ? undefined : lines.map((line) => JSON.parse(line));
}

export async function waitFor<Value>(what: string, look: () => Promise<Value | undefined>): Promise<Value> {
  for (let waited = 0; waited < WAIT_MS; waited += POLL_MS) {
    const found = await look();
    if (found !== undefined) return found;
    await sleep(POLL_MS);
  }
  throw new Error(`still no ${what} after ${WAIT_MS / 1000} s`);
}
