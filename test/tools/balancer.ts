// Tidegate itself, started in this process on a free port, with its access log in a file that is read back. It ends with
// the test whose context is given.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFile, rm } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { AdminServerKind } from '../../src/admin/server.ts';
import { parseConfig } from '../../src/config.ts';
import { type EngineName, type Logger, start, type Tidegate } from '../../src/index.ts';
import { waitFor } from './wait.ts';

export interface BackendOptions {
  address: string;
  max_fails?: number;
  fail_timeout?: string;
  health_port?: number;
  connect_rate?: { rate: number; burst?: number };
  max_connections?: number;
}

export interface BalancerOptions {
  engine: EngineName;
  /** host:port each, or as in the configuration. */
  backends: readonly (string | BackendOptions)[];
  /** As in the configuration. */
  health?: string | object;
  slowStart?: string;
  bind?: string;
  workers?: number;
  cpuAffinity?: 'off' | 'pin' | 'steer';
  /** Durations as in the configuration: "500ms". */
  connectTimeout?: string;
  dialTimeout?: string;
  keepAliveFactor?: number;
  idleTimeout?: string;
  shutdownTimeout?: string;
  connectMaxBytes?: number;
  connectionsMax?: number;
  method?: 'hash' | 'round_robin' | 'least_conn' | 'random_two';
  /** Further settings of the pool, as in the configuration. */
  pool?: object;
  sourceAddresses?: readonly string[];
  /** As in the configuration. */
  drain?: object;
  orphans?: object;
  /** Further settings of the listener, as in the configuration. */
  listener?: object;
  /** As in the configuration; off by default. */
  admin?: 'off' | { bind?: string; token?: string; token_file?: string };
  adminServer?: AdminServerKind;
  /** Workers die on purpose; else it is a failure when one has. */
  mayDie?: boolean;
}

export interface Balancer {
  readonly tidegate: Tidegate;
  readonly host: string;
  readonly port: number;
  /** What the operational log said so far. */
  readonly messages: readonly string[];
  /** A client's socket, half-open ends allowed, from the given source address. */
  connect(localAddress?: string): Socket;
  /** The access log, once it has that many lines. */
  records(count: number): Promise<LogRecord[]>;
  /** Waits until the last connection has left its slot. */
  idle(): Promise<void>;
  /** At once, and for tests that need another one soon. */
  stop(): Promise<void>;
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

export async function startBalancer(context: TestContext, options: BalancerOptions): Promise<Balancer> {
  const path = join(tmpdir(), `tidegate-${process.pid}-${randomBytes(4).toString('hex')}.log`);
  const config = parseConfig(JSON.stringify(settings(options, path)), 'balancer.yaml');
  // Documents may ask for less than a configuration can.
  const { connectMaxBytes = config.connectMaxBytes } = options;
  const messages: string[] = [];
  const note = (_fields: object, message: string) => void messages.push(message);
  const log: Logger = { info: note, warn: note, error: note };
  const tidegate = await start({ ...config, connectMaxBytes }, { log, adminServer: options.adminServer });
  const stop = async () => {
    const deaths = tidegate.status().workers.filter(({ restarts }) => restarts > 0);
    await tidegate.stop({ now: true });
    await rm(path, { force: true });
    if (options.mayDie !== true) assert.deepEqual(deaths, [], messages.join('\n'));
  };
  context.after(stop);
  const { host, port } = tidegate.listeners[0]!;
  return {
    tidegate,
    host,
    port,
    messages,
    connect: (localAddress) => connect({ host, port, localAddress, allowHalfOpen: true, noDelay: true }),
    records: (count) => waitFor(`${count} lines in the access log`, () => readRecords(path, count)),
    idle: () => waitFor('an empty connection table', () => tidegate.status().connections === 0).then(() => {}),
    stop,
  };
}

export function healthOf({ tidegate }: Balancer, address: string): string | undefined {
  return tidegate.status().backends.find((backend) => backend.address === address)?.health;
}

export function untilHealth(balancer: Balancer, address: string, health: string): Promise<boolean> {
  return waitFor(`${health} backend`, () => healthOf(balancer, address) === health);
}

/** The configuration file's own words; JSON is YAML. */
function settings(options: BalancerOptions, path: string): object {
  const { engine, backends, bind = '127.0.0.1:0', workers = 1, connectionsMax = 1024 } = options;
  return {
    engine,
    workers,
    cpu_affinity: options.cpuAffinity ?? 'off',
    connections_max: connectionsMax,
    listeners: [
      {
        name: 'mqtt',
        bind,
        connect_timeout: options.connectTimeout ?? '10s',
        keep_alive_factor: options.keepAliveFactor ?? 1.5,
        idle_timeout: options.idleTimeout ?? '0s',
        // Many tests' clients have one name, and stay beside each other.
        take_over_loop: 'off',
        ...options.listener,
      },
    ],
    // One backend's failures are often the test's subject: being passed over must not be.
    pools: {
      brokers: {
        balance: { method: options.method ?? 'hash' },
        connect_timeout: options.dialTimeout ?? '5s',
        source_addresses: options.sourceAddresses ?? [],
        drain: options.drain ?? {},
        orphans: options.orphans ?? {},
        health: options.health ?? 'none',
        slow_start: options.slowStart ?? '0s',
        backends: backends.map((one) => (typeof one === 'string' ? { address: one, max_fails: 0 } : one)),
        ...options.pool,
      },
    },
    access_log: { path, format: 'json' },
    admin: options.admin ?? 'off',
    shutdown_timeout: options.shutdownTimeout ?? '30s',
  };
}

async function readRecords(path: string, count: number): Promise<LogRecord[] | undefined> {
  const lines = (await readFile(path, 'utf8').catch(() => '')).split('\n').slice(0, -1);
  return lines.length < count ? undefined : lines.map((line) => JSON.parse(line));
}
