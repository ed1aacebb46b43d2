import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { EngineName } from '../src/engine/engine.ts';
import { startSuccessor } from '../src/successor.ts';
import { ask } from './tools/ask.ts';
import { echo, startBackend } from './tools/backends.ts';
import { startAuthority } from './tools/certificates.ts';
import { connectClient, echoes } from './tools/client.ts';
import { testEveryEngine } from './tools/engines.ts';
import { exitCode, type Generations, startGenerations } from './tools/generations.ts';
import { PATIENCE_MS } from './tools/patience.ts';
import { connectOver } from './tools/s-client.ts';
import { startStorm } from './tools/storm.ts';
import { waitFor } from './tools/wait.ts';

interface Settings {
  engine?: EngineName;
  workers?: number;
  listeners?: object[];
  backends: string[];
  shutdownTimeout?: string;
  accessLog?: string;
  admin?: string;
}

function settings({ engine = 'portable', backends, ...rest }: Settings): object {
  return {
    engine,
    workers: rest.workers ?? 2,
    connections_max: 2048,
    listeners: rest.listeners ?? [{ name: 'mqtt', bind: '127.0.0.1:0', pool: 'brokers' }],
    pools: { brokers: { backends: backends.map((address) => ({ address, max_fails: 0 })) } },
    access_log: { path: rest.accessLog ?? 'off', format: 'json' },
    admin: { bind: rest.admin ?? '127.0.0.1:0' },
    shutdown_timeout: rest.shutdownTimeout ?? '30s',
  };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

async function startService(context: TestContext, more: Omit<Settings, 'backends'> = {}) {
  const backend = await startBackend(context, echo);
  const all = { ...more, backends: [backend.address] };
  const service = await startGenerations(context, settings(all));
  await service.ready();
  return { service, all };
}

const countOf = (service: Generations, event: string) => service.lines().filter((line) => line.event === event).length;

testEveryEngine(
  'an upgrade under a stream of clients refuses, resets and forgets none of them, and its sessions live on',
  async (engine, context) => {
    const admin = `127.0.0.1:${await freePort()}`;
    const { service } = await startService(context, { engine, admin });
    const port = await service.port();
    const first = service.pid;
    const sessions = await Promise.all(
      Array.from({ length: 20 }, (_, index) => connectClient(port, { clientId: `${index}` })),
    );
    const storm = startStorm(context, port, { width: 8 });
    await waitFor('storm', () => storm.greeted > 100);
    const second = await service.upgrade();
    const { greeted } = storm;
    await waitFor('storm behind the upgrade', () => storm.greeted > greeted + 100);
    await storm.end();
    assert.deepEqual(storm.failures, {});
    assert.notEqual(second, first);
    // The sessions are still the first process's.
    for (const session of sessions) assert.equal(await echoes(session), true);
    // The storm's last client may still be on its way out.
    await waitFor('none of them in the second', async () => {
      const { text } = await ask(await service.adminPort(), '/api/v1/status');
      return JSON.parse(text).connections === 0;
    });
    assert.equal(await service.adminPort(), Number(admin.split(':')[1]));
    const { text } = await ask(await service.adminPort(), '/api/v1/events');
    assert.deepEqual(
      JSON.parse(text).events.map(({ event }: { event: string }) => event),
      ['started', 'upgraded'],
    );
    for (const { socket } of sessions) socket.destroy();
    assert.equal(await exitCode(service), 0);
  },
);

testEveryEngine('a lone client that comes amid the hand-over is not forgotten', async (engine, context) => {
  const { service } = await startService(context, { engine, workers: 1 });
  const storm = startStorm(context, await service.port(), { width: 1 });
  for (let upgrade = 0; upgrade < 2; upgrade++) {
    await service.upgrade();
    await sleep(50);
  }
  await storm.end();
  assert.deepEqual(storm.failures, {});
  assert.ok(storm.slowestMs < PATIENCE_MS, `${storm.slowestMs} ms`);
});

testEveryEngine(
  'who stays with the old process is closed little by little, by shutdown_timeout',
  async (engine, context) => {
    const { service } = await startService(context, { engine, workers: 1, shutdownTimeout: '6s' });
    const port = await service.port();
    const sessions = await Promise.all(
      Array.from({ length: 50 }, (_, index) => connectClient(port, { clientId: `${index}` })),
    );
    const endsMs: number[] = [];
    await service.upgrade();
    const beganMs = performance.now();
    for (const { socket } of sessions) socket.resume().on('close', () => endsMs.push(performance.now() - beganMs));
    await sleep(1500);
    assert.deepEqual(endsMs, [], 'nobody is closed in the first half of the time');
    assert.equal(await exitCode(service), 0);
    await waitFor('end of every session', () => endsMs.length === sessions.length);
    assert.ok(endsMs.at(-1)! < 6000 + PATIENCE_MS, `${endsMs.at(-1)} ms`);
    const spreadMs = endsMs[44]! - endsMs[4]!;
    assert.ok(spreadMs > 500, `four fifths of them were closed within ${spreadMs} ms`);
  },
);

test('the access log has a whole line for each connection of both processes, in a file and in a pipe', async (context) => {
  const backend = await startBackend(context, echo);
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-lines-'));
  context.after(() => rm(folder, { recursive: true }));
  const path = join(folder, 'access.log');
  const linesOf = {
    [path]: async () => readFile(path, 'utf8'),
    '-': async ({ program }: Generations) => program.stdout,
  };
  for (const [accessLog, read] of Object.entries(linesOf)) {
    const service = await startGenerations(context, settings({ backends: [backend.address], accessLog }));
    const storm = startStorm(context, await service.port(), { width: 8 });
    const first = service.pid;
    await waitFor('storm', () => storm.greeted > 200);
    await service.upgrade();
    await waitFor('storm', () => storm.greeted > 600);
    await storm.end();
    await service.stopped(first);
    const lines = await waitFor('every line', async () => {
      const found = (await read(service)).split('\n').slice(0, -1);
      return found.length >= storm.greeted ? found : undefined;
    });
    const ids = lines.map((line) => JSON.parse(line).client_id);
    assert.equal(new Set(ids).size, storm.greeted);
  }
});

test('a successor that cannot start leaves everything as it is, and a better one succeeds', async (context) => {
  const { service, all } = await startService(context);
  const session = await connectClient(await service.port());
  await service.configure({ listeners: [] });
  service.ask('SIGUSR2');
  const { error } = await service.event('upgrade_failed');
  assert.match(`${error}`, /^it ended with exit code 1$/);
  assert.equal(await echoes(session), true);
  const { connack } = await connectClient(await service.port());
  assert.equal(connack[0], 0x20);
  assert.equal((await ask(await service.adminPort(), '/readyz')).status, 200);
  await service.configure(settings(all));
  await service.upgrade();
  assert.equal(countOf(service, 'upgrade_failed'), 1);
});

test('a successor that never gets ready is ended', async () => {
  const bequest = {
    sockets: [],
    engine: 'portable' as const,
    command: [process.execPath, '-e', 'setInterval(() => {}, 1000)'] as [string, ...string[]],
    readyMs: 300,
  };
  const { signal } = new AbortController();
  await assert.rejects(startSuccessor(bequest, signal), { message: 'it was not ready within 0.3 s' });
  const nothing = { ...bequest, command: ['/nonexistent/tidegate'] as [string] };
  await assert.rejects(startSuccessor(nothing, signal), /^Error: it could not be started: /);
});

test('a second SIGUSR2 is refused while a successor starts, and SIGTERM ends both', async (context) => {
  const { service } = await startService(context);
  service.ask('SIGUSR2');
  await service.event('upgrading');
  service.ask('SIGUSR2');
  await service.line(({ msg }) => msg === 'SIGUSR2: an upgrade is under way already');
  service.ask('SIGTERM');
  const { error } = await service.event('upgrade_failed');
  assert.equal(error, 'this process was asked to stop');
  assert.equal(await exitCode(service), 0);
  // Nobody holds its standard error any more: the successor has ended too.
  await service.program.ended();
  assert.equal(countOf(service, 'upgraded'), 0);
});

test('listeners may come and go with an upgrade, workers come but stay', async (context) => {
  const [kept, left, new_] = await Promise.all([freePort(), freePort(), freePort()]);
  const listener = (name: string, port: number) => ({ name, bind: `127.0.0.1:${port}`, pool: 'brokers' });
  const { service, all } = await startService(context, {
    workers: 2,
    listeners: [listener('kept', kept), listener('left', left)],
  });
  const workersOf = async () =>
    JSON.parse((await ask(await service.adminPort(), '/api/v1/status')).text).workers.length;
  const listeners = [listener('kept', kept), listener('new', new_)];
  await service.configure(settings({ ...all, listeners, workers: 1 }));
  const second = await service.upgrade();
  await service.line(
    ({ msg }) => msg.endsWith(`no listener of the configuration asks for: closed: 127.0.0.1:${left}`),
    second,
  );
  await service.line(({ msg }) => msg.startsWith('2 workers rather than 1'), second);
  assert.equal(await workersOf(), 2);
  for (const port of [kept, new_]) assert.equal((await connectClient(port)).connack[0], 0x20);
  await service.stopped(service.lines()[0]!.pid);
  assert.equal((await connectClient(left)).connack.length, 0);
  await service.configure(settings({ ...all, listeners, workers: 3 }));
  await service.upgrade();
  assert.equal(await workersOf(), 3);
  const storm = startStorm(context, kept, { width: 8 });
  await waitFor('storm', () => storm.greeted > 100);
  await storm.end();
  assert.deepEqual(storm.failures, {});
});

test('an upgrade to another engine is refused', async (context) => {
  const { service, all } = await startService(context, { engine: 'portable' });
  await service.configure(settings({ ...all, engine: 'uring' }));
  service.ask('SIGUSR2');
  await service.event('upgrade_failed');
  assert.match(service.program.stderr, /^tidegate: engine uring can't take over from engine portable: restart to/m);
});

testEveryEngine(
  'a TLS listener is handed over, and one that would change its engine is not',
  async (engine, context) => {
    const authority = startAuthority(context);
    if (authority === undefined) return;
    const tls = { ...authority.issue('localhost', { hosts: ['localhost'] }) };
    const bind = `127.0.0.1:${await freePort()}`;
    const plain = { name: 'plain', bind: '127.0.0.1:0' };
    const { service, all } = await startService(context, { engine, listeners: [plain, { name: 'tls', bind, tls }] });
    const port = Number(bind.split(':')[1]);
    const args = ['-tls1_3', '-CAfile', authority.ca];
    assert.equal(await connectOver(port, args), '20020000');
    await service.upgrade();
    for (let index = 0; index < 4; index++) assert.equal(await connectOver(port, args), '20020000');
    if (engine === 'portable') return;
    await service.configure(settings({ ...all, listeners: [plain, { name: 'tls', bind }] }));
    service.ask('SIGUSR2');
    await service.event('upgrade_failed');
    assert.match(service.program.stderr, /listener tls goes to the other engine/);
    assert.equal(await connectOver(port, args), '20020000');
  },
);
