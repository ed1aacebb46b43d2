// The proxies that are compared: how each is started on its core, and what can be asked of it.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { probeUring } from '../src/engine/uring.ts';
import { findProgram } from '../src/find-program.ts';
import { certificate } from './certificate.ts';
import { Sink } from './load.ts';

export const INSTALL_RIVALS =
  'apt-get install --no-install-recommends haproxy nginx-light libnginx-mod-stream libnginx-mod-stream-js';

export const SINK_HOSTS = ['127.0.0.1', '127.0.0.2', '127.0.0.3'];
const START_TIMEOUT_MS = 10_000;
const STOP_TIMEOUT_MS = 3_000;
const RIVALS = join(import.meta.dirname, 'rivals');
const NGINX_MODULES = '/usr/lib/nginx/modules';

/** What the clients speak to the proxy; the brokers behind it speak plain MQTT, but for rivals' WebSocket. */
export type Door = 'tcp' | 'tls' | 'websocket';

export type ProxyName =
  | 'tidegate'
  | 'portable'
  | 'haproxy'
  | 'nginx'
  | 'haproxy-tcp'
  | 'nginx-tcp'
  | 'plain'
  | 'direct';

export interface ProxyKind {
  name: ProxyName;
  title: string;
  /** Does the same job as Tidegate, so Tidegate is measured against it. */
  rival: boolean;
  doors: readonly Door[];
  /** Carries WebSocket as it is, to brokers that speak it. */
  tunnels?: boolean;
  /** Why it can't run here; undefined when it can. */
  missing(): string | undefined;
  command(place: Place): string[];
  /** Answers questions about its counters, over an IPC channel. */
  counts?: boolean;
}

interface Place {
  door: Door;
  port: number;
  sinkPort: number;
  /** A rendered copy of a file in bench/rivals. */
  render(file: string, values?: Record<string, string>): string;
}

const ALL_DOORS: readonly Door[] = ['tcp', 'tls', 'websocket'];
/** From the port of the plain sink to that of the one that speaks WebSocket. */
const WEBSOCKET_OFFSET = 50;

const node = [process.execPath, '--disable-warning=ExperimentalWarning'];

export const proxyKinds: readonly ProxyKind[] = [
  {
    name: 'tidegate',
    title: 'Tidegate',
    rival: false,
    missing: () => {
      const probe = probeUring();
      return probe.ok ? undefined : probe.why;
    },
    doors: ALL_DOORS,
    command: tidegate('uring'),
    counts: true,
  },
  {
    name: 'portable',
    title: 'Tidegate portable',
    rival: false,
    missing: () => undefined,
    doors: ALL_DOORS,
    command: tidegate('portable'),
    counts: true,
  },
  {
    name: 'haproxy',
    title: 'HAProxy',
    rival: true,
    missing: () => needs('haproxy'),
    doors: ALL_DOORS,
    tunnels: true,
    command: ({ door, render }) => {
      const file = door === 'websocket' ? 'haproxy-websocket.cfg' : 'haproxy-mqtt.cfg';
      const tls = door === 'tls' ? ` ssl crt ${certificate().both} alpn mqtt` : '';
      return [findProgram('haproxy')!, '-db', '-f', render(file, { TLS: tls })];
    },
  },
  {
    name: 'nginx',
    title: 'nginx',
    rival: true,
    missing: () => needs('nginx', 'ngx_stream_module.so', 'ngx_stream_js_module.so'),
    doors: ALL_DOORS,
    tunnels: true,
    command: (place) => nginx(place, place.door === 'websocket' ? 'nginx-websocket.conf' : 'nginx-mqtt.conf'),
  },
  {
    name: 'haproxy-tcp',
    title: 'HAProxy TCP hash',
    rival: false,
    missing: () => needs('haproxy'),
    doors: ['tcp'],
    command: ({ render }) => [findProgram('haproxy')!, '-db', '-f', render('haproxy-tcp.cfg')],
  },
  {
    name: 'nginx-tcp',
    title: 'nginx TCP hash',
    rival: false,
    missing: () => needs('nginx', 'ngx_stream_module.so'),
    doors: ['tcp'],
    command: (place) => nginx(place, 'nginx-tcp.conf'),
  },
  {
    name: 'plain',
    title: 'node:net',
    rival: false,
    missing: () => undefined,
    doors: ['tcp'],
    command: ({ port, sinkPort }) => [...node, script('plain-proxy.ts'), String(port), String(sinkPort)],
  },
];

function nginx({ door, render }: Place, file: string): string[] {
  const config = render(file, door === 'tls' ? { SSL: ' ssl', TLS: nginxTls() } : { SSL: '', TLS: '' });
  return [findProgram('nginx')!, '-p', join(config, '..'), '-c', config, '-g', 'daemon off;', '-e', 'stderr'];
}

/** Its ALPN is not set: the stream module of that age has none. */
function nginxTls(): string {
  const { cert, key } = certificate();
  return ` ssl_certificate ${cert}; ssl_certificate_key ${key}; ssl_protocols TLSv1.2 TLSv1.3;`;
}

function tidegate(engine: string): (place: Place) => string[] {
  return ({ door, render }) => {
    const { cert, key } = door === 'tls' ? certificate() : { cert: '', key: '' };
    const doors = { tcp: '', tls: `, tls: { cert: "${cert}", key: "${key}" }`, websocket: ', websocket: {}' };
    const config = render('tidegate.yaml', { ENGINE: engine, DOOR: doors[door] });
    return [...node, '--expose-gc', script('tidegate.ts'), config];
  };
}

function script(file: string): string {
  return join(import.meta.dirname, file);
}

function needs(program: string, ...modules: string[]): string | undefined {
  const missing = modules.find((module) => !existsSync(join(NGINX_MODULES, module)));
  if (findProgram(program) !== undefined && missing === undefined) return undefined;
  return `${missing ?? program} is not installed (${INSTALL_RIVALS})`;
}

/** Runs a command on one core only, where the machine has several. */
export function pinned(core: number | undefined, command: string[]): string[] {
  return core === undefined ? command : ['taskset', '-c', String(core), ...command];
}

interface Ports {
  port: number;
  sinkPort: number;
}

/** One proxy process that listens and is ready. */
export class ProxyProcess {
  readonly kind: ProxyKind;
  readonly port: number;
  readonly pid: number;
  /** Of its brokers, where they speak WebSocket. */
  readonly webSocketPort: number;
  /** Its brokers: nobody else's, so that loads on several proxies don't answer one another. */
  readonly sink: Sink;
  readonly #child: ChildProcess;
  readonly #folder: string;

  private constructor(kind: ProxyKind, ports: Ports, sink: Sink, child: ChildProcess, folder: string) {
    this.kind = kind;
    this.port = ports.port;
    this.webSocketPort = ports.sinkPort + WEBSOCKET_OFFSET;
    this.sink = sink;
    this.pid = child.pid!;
    this.#child = child;
    this.#folder = folder;
  }

  static async start(kind: ProxyKind, door: Door, ports: Ports, core: number | undefined): Promise<ProxyProcess> {
    const { port, sinkPort } = ports;
    const sink = new Sink(SINK_HOSTS, sinkPort);
    const folder = mkdtempSync(join(tmpdir(), 'tidegate-bench-'));
    copyFileSync(join(RIVALS, 'client-id.js'), join(folder, 'client-id.js'));
    const render = (file: string, values: Record<string, string> = {}): string => {
      const sinks = { SINK: String(sinkPort), WEBSOCKET: String(sinkPort + WEBSOCKET_OFFSET) };
      const all = { ...values, ...sinks, PORT: String(port), NAME: kind.name };
      const text = readFileSync(join(RIVALS, file), 'utf8').replace(/@([A-Z]+)@/g, (_, name) => all[name as 'PORT']);
      writeFileSync(join(folder, file), text);
      return join(folder, file);
    };
    const [program, ...args] = pinned(core, kind.command({ door, port, sinkPort, render }));
    const child = spawn(program!, args, { stdio: ['ignore', 'ignore', 'pipe', kind.counts ? 'ipc' : 'ignore'] });
    const proxy = new ProxyProcess(kind, ports, sink, child, folder);
    running.add(proxy);
    let errors = '';
    child.stderr!.on('data', (text) => (errors = `${errors}${text}`.slice(-2000)));
    const failed = once(child, 'exit').then(([code]) => {
      throw new Error(`${kind.title} ended (${code}) before it was ready:\n${errors}`);
    });
    failed.catch(() => {});
    try {
      await Promise.race([proxy.#ready(), failed]);
    } catch (error) {
      await proxy.stop();
      throw error;
    }
    return proxy;
  }

  async #ready(): Promise<void> {
    for (const deadline = performance.now() + START_TIMEOUT_MS; performance.now() < deadline; await sleep(50)) {
      if (await accepts(this.port)) return;
    }
    throw new Error(`${this.kind.title} does not listen on port ${this.port}`);
  }

  /** Its own counters by name, where it has some. */
  counters(): Promise<Record<string, number> | undefined> {
    return this.#ask('counters');
  }

  /** Lets it collect its garbage, where it has any. */
  async collect(): Promise<void> {
    await this.#ask('collect');
  }

  async #ask(question: 'counters' | 'collect'): Promise<Record<string, number> | undefined> {
    if (!this.kind.counts) return undefined;
    const answered = once(this.#child, 'message');
    this.#child.send(question);
    return (await answered)[0];
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const ended = once(this.#child, 'exit');
      this.#child.kill('SIGTERM');
      const timer = setTimeout(() => this.#child.kill('SIGKILL'), STOP_TIMEOUT_MS);
      await ended;
      clearTimeout(timer);
    }
    this.discard();
  }

  /** Leaves nothing behind; for the bench's own end. */
  discard(): void {
    this.#child.kill('SIGKILL');
    rmSync(this.#folder, { recursive: true, force: true });
    if (running.delete(this)) this.sink.close();
  }
}

const running = new Set<ProxyProcess>();
process.on('exit', () => {
  for (const proxy of [...running]) proxy.discard();
});

function accepts(port: number): Promise<boolean> {
  const socket = connect({ host: '127.0.0.1', port });
  return new Promise((resolve) => {
    socket.on('connect', () => resolve(true)).on('error', () => resolve(false));
  }).then((answer) => {
    socket.destroy();
    return answer as boolean;
  });
}
