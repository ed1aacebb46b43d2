// Brokers for the demo, on free ports of the loopback interface. They pass their messages on to one another, as the
// members of a cluster do, so that a subscriber hears a publisher wherever the two were routed. Sessions stay where
// they are: each broker knows only those of its own clients.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Aedes } from 'aedes';
import { TidegateError } from './errors.ts';
import { findProgram } from './find-program.ts';

export type BrokerKind = 'mosquitto' | 'aedes';

export interface DemoBrokers {
  kind: BrokerKind;
  /** For people: which program, and what it speaks. */
  description: string;
  /** host:port of each. */
  addresses: string[];
  stop(): Promise<void>;
}

const HOST = '127.0.0.1';
const START_ATTEMPTS = 5;
const START_TIMEOUT_MS = 5000;
const STOP_TIMEOUT_MS = 3000;

/** mosquitto where it is installed, else aedes, which comes with the package. */
export async function startBrokers(count: number, wanted: BrokerKind | 'auto'): Promise<DemoBrokers> {
  const program = wanted === 'aedes' ? undefined : findProgram('mosquitto');
  if (program !== undefined) return startMosquittos(program, count);
  if (wanted === 'mosquitto')
    throw new TidegateError('MISSING_PROGRAM', 'mosquitto is not installed; install it, or leave out --brokers');
  return startAedes(count);
}

// ---- mosquitto -------------------------------------------------------------------------------------------------------

async function startMosquittos(program: string, count: number): Promise<DemoBrokers> {
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-demo-'));
  const processes: ChildProcess[] = [];
  const killAll = () => {
    for (const child of processes) child.kill('SIGKILL');
  };
  process.once('exit', killAll); // whatever goes wrong, no broker outlives the demo
  const stop = async () => {
    await Promise.all(processes.map(stopProcess));
    process.off('exit', killAll);
    await rm(folder, { recursive: true, force: true });
  };
  const ports: number[] = [];
  try {
    while (ports.length < count) {
      const base = join(folder, `broker${ports.length + 1}`);
      ports.push(await startMosquitto(program, base, ports[0], processes));
    }
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    kind: 'mosquitto',
    description: `${program}, which speaks MQTT 3.1, 3.1.1 and 5.0`,
    addresses: ports.map((port) => `${HOST}:${port}`),
    stop,
  };
}

/** Its port, once it answers. The port was free a moment ago; should somebody else get it first, another one is tried. */
async function startMosquitto(
  program: string,
  base: string,
  hub: number | undefined,
  processes: ChildProcess[],
): Promise<number> {
  for (let attempt = 1; ; attempt++) {
    const port = await freePort();
    await writeFile(`${base}.conf`, mosquittoConfig(base, port, hub));
    const child = spawn(program, ['-c', `${base}.conf`], { stdio: ['ignore', 'ignore', 'pipe'] });
    processes.push(child);
    try {
      await Promise.race([answers(port), endsEarly(child, program)]);
      return port;
    } catch (error) {
      child.kill('SIGKILL');
      if (attempt === START_ATTEMPTS) throw error;
    }
  }
}

async function endsEarly(child: ChildProcess, program: string): Promise<never> {
  let complaint = '';
  child.stderr?.setEncoding('utf8').on('data', (text) => {
    complaint = (complaint + text).slice(-2000);
  });
  const [code] = await once(child, 'close');
  throw new TidegateError(
    'BROKER',
    `${program} ended with ${code} at its start: ${complaint.trim().split('\n').at(-1)}`,
  );
}

/** The first broker is the hub, to which the others hold a bridge. */
function mosquittoConfig(base: string, port: number, hub: number | undefined): string {
  const lines = [
    `listener ${port} ${HOST}`,
    'allow_anonymous true',
    'set_tcp_nodelay true',
    'sys_interval 0',
    'persistence true',
    `persistence_file ${base.slice(base.lastIndexOf('/') + 1)}.db`,
    `persistence_location ${base.slice(0, base.lastIndexOf('/') + 1)}`,
    `user ${userInfo().username}`, // else root's mosquitto becomes another user, who can't write there
    'log_dest stderr',
    'log_type error',
    'log_type warning',
  ];
  const bridge = [
    `connection ${base.slice(base.lastIndexOf('/') + 1)}`,
    `address ${HOST}:${hub}`,
    'topic # both 2',
    'bridge_protocol_version mqttv50',
    'cleansession true',
    'restart_timeout 1',
    'notifications false',
  ];
  return `${[...lines, ...(hub === undefined ? [] : bridge)].join('\n')}\n`;
}

async function stopProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  const late = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
  await exited;
  clearTimeout(late);
}

export async function freePort(): Promise<number> {
  const server = await listen(createServer());
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Resolves when somebody listens there. */
export async function answers(port: number): Promise<void> {
  const deadline = performance.now() + START_TIMEOUT_MS;
  while (!(await accepts(port))) {
    if (performance.now() > deadline)
      throw new TidegateError('BROKER', `the broker on ${HOST}:${port} did not start in time`);
    await sleep(20);
  }
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, HOST, () => resolve(socket.destroy() !== undefined));
    socket.on('error', () => resolve(false));
  });
}

// ---- aedes -----------------------------------------------------------------------------------------------------------

async function startAedes(count: number): Promise<DemoBrokers> {
  const { Aedes } = await import('aedes');
  const brokers = await Promise.all(Array.from({ length: count }, () => Aedes.createBroker()));
  for (const broker of brokers) passOn(broker, brokers);
  const servers = await Promise.all(brokers.map((broker) => listen(createServer(broker.handle))));
  return {
    kind: 'aedes',
    description: 'aedes in this process, which speaks MQTT 3.1 and 3.1.1; for 5.0 install mosquitto',
    addresses: servers.map((server) => `${HOST}:${(server.address() as AddressInfo).port}`),
    stop: async () => {
      await Promise.all(brokers.map((broker) => new Promise<void>((resolve) => broker.close(resolve))));
      await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
    },
  };
}

/** What came from another broker has no client, so that nothing is passed on twice. */
function passOn(broker: Aedes, brokers: readonly Aedes[]): void {
  broker.on('publish', ({ topic, payload, qos, retain }, client) => {
    if (client === null) return;
    const copy = { cmd: 'publish' as const, topic, payload, qos, retain, dup: false };
    for (const other of brokers) if (other !== broker) other.publish(copy, () => {});
  });
}

async function listen(server: Server): Promise<Server> {
  server.listen(0, HOST);
  await once(server, 'listening');
  return server;
}
