// The PROXY protocol with programs that have their own idea of it: HAProxy, RabbitMQ and ejabberd are told who a client is,
// HAProxy and nginx tell it.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { generate } from 'mqtt-packet';
import { answers, freePort } from '../src/demo-brokers.ts';
import { type EngineName, probeUring } from '../src/engine/engine.ts';
import { findProgram } from '../src/find-program.ts';
import { hello, startBackend } from './tools/backends.ts';
import { startBalancer, untilHealth } from './tools/balancer.ts';
import { nextBytes } from './tools/client.ts';
import { type Daemon, startDaemon } from './tools/daemon.ts';
import { testEveryEngine } from './tools/engines.ts';
import { connackPacket, connectPacket } from './tools/packets.ts';
import { requireProgram, requires } from './tools/requirements.ts';
import { reset } from './tools/reset.ts';
import { waitFor } from './tools/wait.ts';

const HERE = '127.0.0.1';
/** Where clients come from that come through somebody else. */
const CLIENT = '127.0.0.9';
const NGINX_MODULE = '/usr/lib/nginx/modules/ngx_stream_module.so';
const engines = (await probeUring()).ok ? (['uring', 'portable'] as const) : (['portable'] as const);

/** From another address than anybody else's here. */
async function visit(port: number, connectBytes: Buffer): Promise<{ socket: Socket; answer: Buffer }> {
  const socket = connect({ host: HERE, port, localAddress: CLIENT });
  socket.on('error', () => {});
  socket.write(connectBytes);
  return { socket, answer: await nextBytes(socket) };
}

// ---- Those who are told ----------------------------------------------------------------------------------------------

testEveryEngine('HAProxy is told in both versions who a client is, and its unique id', async (engine, context) => {
  const haproxy = requireProgram(context, 'haproxy');
  if (haproxy === undefined) return;
  const broker = await startBackend(context, hello);
  const port = await freePort();
  const receiver = await startHaproxy(context, haproxy, [
    'frontend f',
    `  bind ${HERE}:${port} accept-proxy`,
    '  log-format "told %ci:%cp %fi:%fp id=%[fc_pp_unique_id]"',
    '  default_backend b',
    'backend b',
    `  server s ${broker.address}`,
  ]);
  for (const version of ['v1', 'v2']) {
    const balancer = await startBalancer(context, {
      engine,
      backends: [`${HERE}:${port}`],
      pool: { proxy_protocol: version },
    });
    const { socket, answer } = await visit(balancer.port, connectPacket());
    assert.deepEqual(answer, connackPacket(4));
    const from = `${CLIENT}:${socket.localPort} ${HERE}:${balancer.port}`;
    socket.end();
    const [, id] = await waitFor(
      'line of HAProxy',
      () => new RegExp(`told ${from} id=(.*)`).exec(receiver.text()) ?? false,
    );
    assert.match(id!, version === 'v1' ? /^-?$/ : /^[0-9a-f]{32}$/);
    await balancer.stop();
  }
});

test('RabbitMQ serves a client and answers probes in both versions, and logs who the client is', async (context) => {
  const program = '/usr/lib/rabbitmq/bin/rabbitmq-server';
  const missing = existsSync(program) ? undefined : 'rabbitmq-server is not installed';
  if (!requires(context, missing)) return;
  const port = await freePort();
  const broker = await startRabbit(context, program, port);
  await eachWay(async (engine, version) => {
    const balancer = await startBalancer(context, {
      engine,
      backends: [`${HERE}:${port}`],
      health: { type: 'mqtt', interval: '200ms', initial: 'down' },
      pool: { proxy_protocol: version },
    });
    await untilHealth(balancer, `${HERE}:${port}`, 'up');
    const { socket, answer } = await visit(balancer.port, connectPacket({ clientId: `${engine}-${version}` }));
    assert.deepEqual(answer, connackPacket(4));
    const line = `${CLIENT}:${socket.localPort} -> ${HERE}:${balancer.port}, client id: ${engine}-${version}`;
    await waitFor('line of RabbitMQ', () => broker.text().includes(line));
    reset(socket);
    await balancer.stop();
  });
});

test('ejabberd serves a client and answers probes of MQTT 5.0 in both versions, and logs who the client is', async (context) => {
  const erl = requireProgram(context, 'erl');
  if (erl === undefined || requireProgram(context, 'ejabberdctl') === undefined) return;
  const port = await freePort();
  const broker = await startEjabberd(context, erl, port);
  await eachWay(async (engine, version) => {
    const balancer = await startBalancer(context, {
      engine,
      backends: [`${HERE}:${port}`],
      health: {
        type: 'mqtt',
        version: '5',
        username: 'probe@localhost',
        password: 'x',
        interval: '200ms',
        initial: 'down',
      },
      pool: { proxy_protocol: version },
    });
    await untilHealth(balancer, `${HERE}:${port}`, 'up');
    const packet = generate({
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: 5,
      clean: true,
      clientId: `${engine}-${version}`,
      keepalive: 60,
      username: 'device@localhost',
      password: Buffer.from('x'),
    });
    const { socket, answer } = await visit(balancer.port, packet);
    assert.deepEqual([...answer.subarray(0, 1), answer[3]], [0x20, 0]);
    const line = `Accepted proxied connection ${CLIENT}:${socket.localPort} -> ${HERE}:${balancer.port}`;
    await waitFor('line of ejabberd', () => broker.text().includes(line));
    reset(socket);
    await balancer.stop();
  });
});

async function eachWay(use: (engine: EngineName, version: 'v1' | 'v2') => Promise<void>): Promise<void> {
  for (const engine of engines) for (const version of ['v1', 'v2'] as const) await use(engine, version);
}

// ---- Those who tell --------------------------------------------------------------------------------------------------

testEveryEngine('HAProxy tells in both versions who a client is, and its checks pass', async (engine, context) => {
  const haproxy = requireProgram(context, 'haproxy');
  if (haproxy === undefined) return;
  const broker = await startBackend(context, hello);
  const ways = ['send-proxy', 'send-proxy-v2', 'send-proxy-v2 proxy-v2-options crc32c,unique-id'];
  for (const way of ways) {
    const balancer = await startBehind(context, engine, broker.address);
    const port = await freePort();
    const front = await startHaproxy(context, haproxy, [
      'frontend f',
      `  bind ${HERE}:${port}`,
      '  unique-id-format %[uuid()]',
      '  default_backend b',
      'backend b',
      `  server s ${HERE}:${balancer.port} source ${HERE} ${way} check inter 200ms`,
    ]);
    await checkTold(balancer, port);
    assert.doesNotMatch(front.text(), /is DOWN/);
    await balancer.stop();
  }
});

testEveryEngine('nginx tells who a client is', async (engine, context) => {
  const nginx = findProgram('nginx');
  const missing =
    nginx !== undefined && existsSync(NGINX_MODULE) ? undefined : `nginx with ${NGINX_MODULE} is not installed`;
  if (!requires(context, missing)) return;
  const broker = await startBackend(context, hello);
  const balancer = await startBehind(context, engine, broker.address);
  const port = await freePort();
  await startDaemon(context, {
    command: nginx!,
    args: (folder) => ['-p', folder, '-c', join(folder, 'nginx.conf'), '-e', join(folder, 'start.log')],
    files: (folder) => ({ 'nginx.conf': nginxConfiguration(folder, port, balancer.port) }),
    isReady: () => isThere(port),
  });
  await checkTold(balancer, port);
});

function startBehind(context: TestContext, engine: EngineName, backend: string) {
  const listener = { proxy_protocol: { from: [HERE] } };
  return startBalancer(context, { engine, backends: [backend], listener });
}

/** A client that comes through that port is known to the balancer by its own address. */
async function checkTold(balancer: Awaited<ReturnType<typeof startBehind>>, port: number): Promise<void> {
  const { socket, answer } = await visit(port, connectPacket({ clientId: 'fronted' }));
  assert.deepEqual(answer, connackPacket(4));
  const from = [CLIENT, socket.localPort];
  socket.end();
  const ours = await waitFor('line of the client', async () => {
    return (await balancer.records(1)).find(({ client_id }) => client_id === 'fronted');
  });
  assert.deepEqual([ours.remote_addr, ours.remote_port], from);
}

// ---- The programs ----------------------------------------------------------------------------------------------------

function startHaproxy(context: TestContext, command: string, lines: readonly string[]): Promise<Daemon> {
  const port = Number(/bind [^:]+:(\d+)/.exec(lines.join('\n'))![1]);
  const head = [
    'global',
    '  log stdout format raw local0',
    'defaults',
    '  mode tcp',
    '  log global',
    '  timeout connect 10s',
    '  timeout client 60s',
    '  timeout server 60s',
  ];
  return startDaemon(context, {
    command,
    args: () => ['-db', '-f', 'haproxy.cfg'],
    files: () => ({ 'haproxy.cfg': `${[...head, ...lines].join('\n')}\n` }),
    isReady: () => isThere(port),
  });
}

/** Erlang's port mapper, which such a node starts for itself, is asked to leave with it. */
async function startRabbit(context: TestContext, command: string, port: number): Promise<Daemon> {
  const mapper = { ERL_EPMD_PORT: String(await freePort()), ERL_EPMD_ADDRESS: HERE };
  const distribution = String(await freePort());
  return startDaemon(context, {
    command,
    args: () => [],
    env: (folder) => ({
      ...mapper,
      HOME: folder,
      RABBITMQ_NODENAME: `tidegate${port}@localhost`,
      RABBITMQ_DIST_PORT: distribution,
      RABBITMQ_CONFIG_FILE: join(folder, 'rabbitmq.conf'),
      RABBITMQ_CONF_ENV_FILE: join(folder, 'none'),
      RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, 'enabled_plugins'),
      RABBITMQ_MNESIA_BASE: join(folder, 'mnesia'),
      RABBITMQ_LOG_BASE: join(folder, 'log'),
      RABBITMQ_PID_FILE: join(folder, 'pid'),
    }),
    files: () => ({
      enabled_plugins: '[rabbitmq_mqtt].',
      'rabbitmq.conf': [
        'listeners.tcp = none',
        `mqtt.listeners.tcp.1 = ${HERE}:${port}`,
        'mqtt.proxy_protocol = true',
        'mqtt.allow_anonymous = true',
        'log.console = true',
        'log.console.level = info',
        'log.file = false',
        '',
      ].join('\n'),
    }),
    isReady: (text) => text.includes('Server startup complete'),
    onEnd: () => execFileSync(findProgram('epmd')!, ['-kill'], { env: { ...process.env, ...mapper }, stdio: 'ignore' }),
  });
}

/** The program alone: the script that Debian starts it with wants to become another user. */
function startEjabberd(context: TestContext, command: string, port: number): Promise<Daemon> {
  return startDaemon(context, {
    command,
    args: (folder) => ['-noinput', '-mnesia', 'dir', `"${join(folder, 'mnesia')}"`, '-s', 'ejabberd'],
    env: (folder) => ({
      HOME: folder,
      ERL_LIBS: '/usr/lib/x86_64-linux-gnu',
      EJABBERD_CONFIG_PATH: join(folder, 'ejabberd.yml'),
      EJABBERD_LOG_PATH: join(folder, 'ejabberd.log'),
    }),
    files: () => ({
      'ejabberd.yml': [
        'hosts: [localhost]',
        'loglevel: info',
        'listen:',
        `  - { port: ${port}, ip: "${HERE}", module: mod_mqtt, use_proxy_protocol: true }`,
        'auth_method: [anonymous]',
        'anonymous_protocol: both',
        'modules: { mod_mqtt: {} }',
        '',
      ].join('\n'),
    }),
    isReady: (text) => text.includes('Start accepting TCP connections'),
  });
}

function nginxConfiguration(folder: string, port: number, balancer: number): string {
  return `
    load_module ${NGINX_MODULE};
    daemon off;
    master_process off;
    pid ${join(folder, 'nginx.pid')};
    error_log ${join(folder, 'error.log')};
    events { worker_connections 64; }
    stream { server { listen ${HERE}:${port}; proxy_pass ${HERE}:${balancer}; proxy_bind ${HERE}; proxy_protocol on; } }`;
}

async function isThere(port: number): Promise<boolean> {
  await answers(port);
  return true;
}
