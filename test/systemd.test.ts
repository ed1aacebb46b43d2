// Tidegate under systemd, which isn't here: what it would be told is read as systemd reads it, sockets are passed as it
// passes them, and the unit files are judged by its own tool.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { AF_INET } from '../assembly/uring/abi.ts';
import { watchWorkers } from '../src/control/liveness.ts';
import type { EngineName } from '../src/engine/engine.ts';
import { ServiceManager } from '../src/service-manager.ts';
import {
  bind,
  close,
  decodeSockaddr,
  encodeSockaddr,
  getsockname,
  listen,
  SO_REUSEPORT,
  SOL_SOCKET,
  setNonBlocking,
  setsockopt,
  socket,
} from '../src/system/libc.ts';
import { echo, startBackend } from './tools/backends.ts';
import { startBalancer } from './tools/balancer.ts';
import { connectClient } from './tools/client.ts';
import { testEveryEngine } from './tools/engines.ts';
import { exitCode, startGenerations } from './tools/generations.ts';
import { openNotifySocket } from './tools/notify-socket.ts';
import { Program } from './tools/program.ts';
import { requireProgram, requires } from './tools/requirements.ts';
import { startStorm } from './tools/storm.ts';
import { waitFor } from './tools/wait.ts';

const linux = process.platform === 'linux' ? undefined : 'systemd is for Linux';
const units = new URL('../deploy/systemd/', import.meta.url);

function settings(engine: EngineName, backend: string, listeners: object[], workers = 2): object {
  return {
    engine,
    workers,
    connections_max: 1024,
    listeners,
    pools: { brokers: { backends: [{ address: backend, max_fails: 0 }] } },
    access_log: { path: 'off' },
    admin: 'off',
    shutdown_timeout: '10s',
  };
}

/** A listening socket as systemd opens it. */
function openSocket(context: TestContext, { shares = false } = {}): { fd: number; port: number } {
  const fd = socket(AF_INET);
  context.after(() => close(fd));
  if (shares) setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, 1);
  bind(fd, encodeSockaddr('127.0.0.1', 0));
  listen(fd, 128);
  setNonBlocking(fd);
  return { fd, port: decodeSockaddr(getsockname(fd)).port };
}

/** Starts the command with sockets, as systemd does: with its own pid in LISTEN_PID. */
function activated(fds: number[], names: string[] = []): (args: string[]) => Program {
  return (args) => {
    return new Program('src/cli.ts', args, {
      fds,
      through: ['sh', '-c', 'LISTEN_PID=$$ exec "$@"', 'sh'],
      env: { LISTEN_FDS: `${fds.length}`, LISTEN_FDNAMES: names.join(':') },
    });
  };
}

testEveryEngine('systemd hears when the service is ready, is another process, and stops', async (engine, context) => {
  const backend = await startBackend(context, echo);
  const manager = openNotifySocket(context, { isAbstract: engine === 'portable' });
  const listeners = [{ name: 'mqtt', bind: '127.0.0.1:0' }];
  const env = { NOTIFY_SOCKET: manager.path, WATCHDOG_USEC: '600000' };
  const service = await startGenerations(context, settings(engine, backend.address, listeners), (args) => {
    return new Program('src/cli.ts', args, { env });
  });
  const { STATUS } = await manager.said('READY', '1');
  assert.equal(STATUS, `serving 127.0.0.1:${await service.port()} by engine ${engine}`);
  await manager.said('WATCHDOG', '1');
  manager.messages.length = 0;
  service.ask('SIGHUP');
  await manager.said('RELOADING', '1');
  await manager.said('READY', '1');
  const session = await connectClient(await service.port());

  manager.messages.length = 0;
  const first = service.pid;
  const second = await service.upgrade();
  await manager.said('READY', '1');
  assert.deepEqual(
    manager.messages.filter((message) => !('WATCHDOG' in message)).map((message) => Object.keys(message)[0]),
    ['MAINPID', 'READY'],
    'the first process has nothing more to say, and the second is heard after it was named',
  );
  await manager.said('MAINPID', `${second}`);
  manager.messages.length = 0;
  await manager.said('WATCHDOG', '1');
  service.ask('SIGTERM');
  const { EXTEND_TIMEOUT_USEC } = await manager.said('STOPPING', '1');
  assert.equal(EXTEND_TIMEOUT_USEC, '25000000', 'shutdown_timeout and something to spare');
  await service.stopped(second);
  process.kill(first, 'SIGTERM');
  session.socket.destroy();
  assert.equal(await exitCode(service), 0);
});

test('a reload is told as systemd wants it, with the time on its clock', async (context) => {
  const manager = openNotifySocket(context);
  const service = new ServiceManager({ NOTIFY_SOCKET: manager.path }, assert.fail);
  const beforeUsec = process.hrtime.bigint() / 1000n;
  service.reloading();
  const { MONOTONIC_USEC } = await manager.said('RELOADING', '1');
  assert.ok(BigInt(MONOTONIC_USEC!) >= beforeUsec && BigInt(MONOTONIC_USEC!) <= process.hrtime.bigint() / 1000n);
});

test('no sign of life is sent for what is not alive, to another process, or without a watchdog', async (context) => {
  const manager = openNotifySocket(context);
  const silent = [
    { env: { WATCHDOG_USEC: '30000' }, isAlive: false },
    { env: { WATCHDOG_USEC: '30000', WATCHDOG_PID: '1' }, isAlive: true },
    { env: {}, isAlive: true },
  ];
  for (const { env, isAlive } of silent) {
    new ServiceManager({ NOTIFY_SOCKET: manager.path, ...env }, assert.fail).ready('', () => isAlive);
  }
  await manager.said('READY');
  await sleep(100);
  assert.ok(manager.messages.every((message) => !('WATCHDOG' in message)));
  const messages: string[] = [];
  const nobody = new ServiceManager({ NOTIFY_SOCKET: '/nonexistent/notify' }, (message) => messages.push(message));
  nobody.ready('', () => true);
  nobody.stopping(0);
  assert.deepEqual(messages, ["the service manager can't be told at /nonexistent/notify: sendto: ENOENT"]);
});

test('a manager that is busy holds nobody up, and hears everything in the end', async (context) => {
  const manager = openNotifySocket(context);
  manager.pause();
  const service = new ServiceManager({ NOTIFY_SOCKET: manager.path, WATCHDOG_USEC: '3000' }, assert.fail);
  const words = Array.from({ length: 50 }, (_, index) => `${index}`);
  for (const word of words) service.ready(word, () => true);
  await sleep(100);
  manager.resume();
  await manager.said('STATUS', '49');
  assert.deepEqual(
    manager.messages.flatMap(({ STATUS }) => STATUS ?? []),
    words,
  );
  await manager.said('WATCHDOG');
  service.handedOver(1);
});

testEveryEngine('workers that turn are alive, and one that hangs is not', async (engine, context) => {
  const { tidegate } = await startBalancer(context, { engine, backends: ['127.0.0.1:1'], workers: 2 });
  const { supervisor } = tidegate;
  const isAlive = watchWorkers(supervisor);
  assert.equal(isAlive(), true);
  // Its clock as it stands at this moment, for ever.
  const hangs = supervisor.lives().map(({ worker, life, memory }) => {
    return worker === 0
      ? { worker, life, memory: { buffer: memory.buffer.slice(0) } as WebAssembly.Memory }
      : { worker, life, memory };
  });
  const isHanging = watchWorkers({ lives: () => hangs, statuses: () => supervisor.statuses() });
  assert.equal(isHanging(), true);
  await sleep(5500);
  assert.equal(isAlive(), true);
  assert.equal(isHanging(), false);
  assert.equal(watchWorkers({ lives: () => [], statuses: () => [] })(), false);
});

testEveryEngine('sockets from systemd are served by every worker, shared or not', async (engine, context) => {
  if (!requires(context, linux)) return;
  const backend = await startBackend(context, echo);
  const [single, shared, stranger] = [openSocket(context), openSocket(context, { shares: true }), openSocket(context)];
  const listeners = [
    { name: 'single', bind: `127.0.0.1:${single.port}` },
    { name: 'shared', bind: '127.0.0.1:0' },
  ];
  const launch = activated([single.fd, shared.fd, stranger.fd], ['unknown', 'shared', 'stranger']);
  const service = await startGenerations(context, settings(engine, backend.address, listeners), launch);
  await service.line(({ msg }) => msg.endsWith(`asks for: closed: 127.0.0.1:${stranger.port}`));
  assert.equal(await service.port('shared'), shared.port, 'a listener on any port takes the socket of its name');
  for (const { port } of [single, shared]) {
    const storm = startStorm(context, port, { width: 8 });
    await waitFor('storm', () => storm.greeted > 200);
    await storm.end();
    assert.deepEqual(storm.failures, {});
  }
  // And they are passed on.
  const storm = startStorm(context, single.port, { width: 4 });
  await service.upgrade();
  await storm.end();
  assert.deepEqual(storm.failures, {});
});

test('sockets that are meant for another process are left alone', async (context) => {
  const { fd, port } = openSocket(context);
  const backend = await startBackend(context, echo);
  const listeners = [{ name: 'mqtt', bind: `127.0.0.1:${port}` }];
  const service = await startGenerations(context, settings('portable', backend.address, listeners), (args) => {
    return new Program('src/cli.ts', args, { fds: [fd], env: { LISTEN_FDS: '1', LISTEN_PID: '1' } });
  });
  assert.equal(await exitCode(service), 2, 'the port is taken');
});

test('a client that comes before the service is served by it, started by systemd-socket-activate', async (context) => {
  const activate = requireProgram(context, 'systemd-socket-activate');
  if (activate === undefined) return;
  const backend = await startBackend(context, echo);
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as AddressInfo;
  probe.close();
  const listeners = [{ name: 'mqtt', bind: `127.0.0.1:${port}` }];
  const service = await startGenerations(context, settings('portable', backend.address, listeners), (args) => {
    return new Program('src/cli.ts', args, { through: [activate, '-l', `127.0.0.1:${port}`, '-E', 'PATH'] });
  });
  await service.program.printed('stderr', /Listening on/);
  const { connack } = await connectClient(port);
  assert.equal(connack[0], 0x20);
});

test('systemd finds no fault in the unit files, and little that the service may do beyond its work', async (context) => {
  const analyze = requireProgram(context, 'systemd-analyze');
  if (analyze === undefined) return;
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-units-'));
  context.after(() => rm(folder, { recursive: true }));
  for (const name of ['tidegate.service', 'tidegate.socket']) {
    const text = await readFile(new URL(name, units), 'utf8');
    // The program must be there for it to be content.
    await writeFile(join(folder, name), text.replace(/^ExecStart=\S+/m, `ExecStart=${process.execPath}`));
  }
  const run = (...args: string[]) => spawnSync(analyze, args, { cwd: folder, encoding: 'utf8' });
  const verified = run('verify', './tidegate.service', './tidegate.socket');
  assert.deepEqual([verified.status, verified.stderr, verified.stdout], [0, '', '']);
  const judged = run('security', '--offline=true', '--threshold=20', './tidegate.service');
  assert.equal(judged.status, 0, judged.stdout);
});
