import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { SNAPSHOT_POOLS } from '../assembly/layout.ts';
import { parseConfig } from '../src/config.ts';
import { BackendIds, buildSnapshot, resolveBackends } from '../src/control/snapshot.ts';
import { start, type TidegateError } from '../src/index.ts';
import { echo, hello, startBackend } from './tools/backends.ts';
import { type Balancer, startBalancer } from './tools/balancer.ts';
import { type Client, connectClient, echoes, nextBytes } from './tools/client.ts';
import { testEveryEngine } from './tools/engines.ts';
import { evictAll } from './tools/evict.ts';
import { connackPacket, connectPacket } from './tools/packets.ts';
import { PATIENCE_MS } from './tools/patience.ts';
import { waitFor } from './tools/wait.ts';

/** DISCONNECT of MQTT 5.0: server shutting down. */
const SHUTTING_DOWN = Buffer.from([0xe0, 2, 0x8b, 0]);

const workerOf = ({ tidegate }: Balancer, index: number) => tidegate.status().workers[index]!;

const untilRunning = (balancer: Balancer, index: number, restarts: number) => {
  return waitFor('running worker', async () => {
    const worker = workerOf(balancer, index);
    return worker.state === 'running' && worker.restarts === restarts ? worker : undefined;
  });
};

const connectMany = (port: number, count: number) => {
  return Promise.all(Array.from({ length: count }, (_, index) => connectClient(port, { clientId: `device-${index}` })));
};

const countEchoing = async (clients: Client[]) => {
  const answers = await Promise.all(clients.map((client) => echoes(client)));
  return answers.filter((answer) => answer).length;
};

const openDescriptors = () => readdir('/proc/self/fd');

testEveryEngine("a killed worker is back, and the others' sessions are untouched", async (engine, context) => {
  const backend = await startBackend(context, echo);
  const balancer = await startBalancer(context, { engine, backends: [backend.address], workers: 3, mayDie: true });
  const clients = await connectMany(balancer.port, 60);
  assert.equal(await countEchoing(clients), 60);
  const before = balancer.tidegate.status();
  const lost = before.workers[1]!.connections;
  assert.ok(lost > 0 && lost < 60, `worker 1 has ${lost} of 60`);

  const killedMs = performance.now();
  await balancer.tidegate.supervisor.terminate(1);
  await untilRunning(balancer, 1, 1);
  const backMs = performance.now() - killedMs;
  context.diagnostic(`back after ${backMs.toFixed()} ms`);

  await waitFor(
    'end of the lost sessions',
    async () => backend.connections === 60 && (await countEchoing(clients)) === 60 - lost,
  );
  const after = balancer.tidegate.status();
  assert.equal(after.connections, 60 - lost);
  assert.deepEqual(
    after.workers.map(({ restarts }) => restarts),
    [0, 1, 0],
  );
  assert.equal(after.counters.worker_died, lost);
  for (const [name, value] of Object.entries(before.counters)) {
    if (name !== 'buffersHeld' && name !== 'arenaUsed') assert.ok(after.counters[name]! >= value, `${name} fell`);
  }
  const records = await balancer.records(lost);
  assert.deepEqual(new Set(records.map(({ reason, status }) => `${reason} ${status}`)), new Set(['worker_died 500']));
  assert.equal(records.length, lost);
  const fresh = await connectMany(balancer.port, 30);
  assert.equal(await countEchoing(fresh), 30);
  assert.ok(workerOf(balancer, 1).connections > 0, 'the new worker serves too');
  for (const { socket } of [...clients, ...fresh]) socket.destroy();
});

testEveryEngine(
  'a dead worker’s connections are in the log wherever in their lives they stood',
  async (engine, context) => {
    const backend = await startBackend(context, hello);
    const balancer = await startBalancer(context, { engine, backends: [backend.address], mayDie: true });
    const [leaving, refused] = [balancer.connect(), balancer.connect()];
    leaving.write(connectPacket());
    assert.deepEqual(await nextBytes(leaving), connackPacket(4));
    const ended = once(leaving, 'end');
    assert.equal(evictAll(balancer), 1);
    refused.write(connectPacket().subarray(0, 10).fill(0xff, 8));
    assert.ok((await nextBytes(refused)).length > 0, 'it is told so, and listened to for a while');
    // Neither of them closes, so both linger.
    leaving.resume();
    await ended;
    await balancer.tidegate.supervisor.terminate(0);
    assert.equal((await balancer.records(2)).length, 2);
    await untilRunning(balancer, 0, 1);
    assert.equal(balancer.tidegate.status().connections, 0);
    for (const socket of [leaving, refused]) socket.destroy();
    await balancer.stop();
  },
);

testEveryEngine(
  'connections that wait in the queue of a dead worker are served by its successor',
  async (engine, context) => {
    const backend = await startBackend(context, echo);
    const balancer = await startBalancer(context, { engine, backends: [backend.address], mayDie: true });
    await balancer.tidegate.supervisor.terminate(0);
    await untilRunning(balancer, 0, 1);
    await balancer.tidegate.supervisor.terminate(0);
    const sockets = Array.from({ length: 20 }, () => connect({ port: balancer.port, host: '127.0.0.1' }));
    await Promise.all(sockets.map((socket) => once(socket, 'connect')));
    assert.equal(workerOf(balancer, 0).state, 'waiting', 'nobody serves');
    for (const socket of sockets) {
      socket.write(connectPacket());
      assert.deepEqual(await nextBytes(socket), connackPacket(4));
    }
    assert.equal(workerOf(balancer, 0).restarts, 2);
    for (const socket of sockets) socket.destroy();
  },
);

testEveryEngine(
  'a worker whose data plane traps is replaced, and takes over what is published then',
  async (engine, context) => {
    const backend = await startBackend(context, echo);
    const balancer = await startBalancer(context, { engine, backends: [backend.address], mayDie: true });
    const { supervisor } = balancer.tidegate;
    const text = { listeners: [{ bind: '127.0.0.1:0' }], pools: { brokers: { backends: [backend.address] } } };
    const config = parseConfig(JSON.stringify(text), 'test.yaml');
    const good = buildSnapshot(config, await resolveBackends(config.pools, new BackendIds()));
    const bad = good.slice();
    new DataView(bad.buffer).setUint32(SNAPSHOT_POOLS, 0xf0000000, true);
    const [survivor] = await connectMany(balancer.port, 1);

    await supervisor.publish(bad);
    assert.ok(await echoes(survivor!), 'open sessions need no snapshot');
    const victim = connect({ port: balancer.port, host: '127.0.0.1' });
    victim.on('error', () => {});
    victim.write(connectPacket());
    assert.equal((await nextBytes(victim)).length, 0);
    await untilRunning(balancer, 0, 1);
    assert.equal((await nextBytes(survivor!.socket)).length, 0);
    assert.equal(balancer.tidegate.status().counters.worker_died, 2);

    await supervisor.publish(good);
    const [client] = await connectMany(balancer.port, 1);
    assert.ok(await echoes(client!));
    client!.socket.destroy();
    assert.ok(balancer.messages.some((message) => /worker 0 died/.test(message)));
  },
);

testEveryEngine('a worker that dies over and over is started with growing pauses', async (engine, context) => {
  const backend = await startBackend(context, echo);
  const balancer = await startBalancer(context, { engine, backends: [backend.address], mayDie: true });
  for (const restarts of [1, 2, 3]) {
    await balancer.tidegate.supervisor.terminate(0);
    await untilRunning(balancer, 0, restarts);
  }
  const pauses = balancer.messages.flatMap((message) => /starts again in (\d+) ms/.exec(message)?.[1] ?? []);
  assert.deepEqual(pauses, ['0', '50', '100']);
  const [client] = await connectMany(balancer.port, 1);
  assert.ok(await echoes(client!));
  client!.socket.destroy();
});

testEveryEngine(
  'stop takes nobody new, lets sessions go on, and ends when the last one has',
  async (engine, context) => {
    const backend = await startBackend(context, echo);
    const options = { engine, backends: [backend.address], workers: 2, shutdownTimeout: '20s' };
    const balancer = await startBalancer(context, options);
    const clients = await connectMany(balancer.port, 10);
    const stopped = balancer.tidegate.stop();
    await waitFor('refusal of newcomers', async () => {
      const socket = connect({ port: balancer.port, host: '127.0.0.1' });
      const refused = await new Promise<boolean>((resolve) =>
        socket.on('error', () => resolve(true)).on('connect', () => resolve(false)),
      );
      socket.destroy();
      return refused;
    });
    assert.equal(await countEchoing(clients), 10);
    let ended = false;
    void stopped.then(() => {
      ended = true;
    });
    await sleep(100);
    assert.equal(ended, false);
    for (const { socket } of clients) socket.end();
    await stopped;
    const { workers, connections, counters } = balancer.tidegate.status();
    assert.deepEqual(
      workers.map(({ state }) => state),
      ['stopped', 'stopped'],
    );
    assert.equal(connections, 0);
    assert.equal(counters.accepted, counters.closed);
    const clientIds = (await balancer.records(0)).map(({ client_id }) => client_id);
    for (const index of clients.keys()) assert.ok(clientIds.includes(`device-${index}`), 'the log is whole');
  },
);

testEveryEngine(
  'stop parts with sessions that outlive shutdown_timeout, and tells who can be told',
  async (engine, context) => {
    const backend = await startBackend(context, echo);
    const balancer = await startBalancer(context, { engine, backends: [backend.address], shutdownTimeout: '300ms' });
    const clients = await connectMany(balancer.port, 3);
    const newer = await connectClient(balancer.port, { clientId: 'newer', version: 5 });
    const beganMs = performance.now();
    await balancer.tidegate.stop();
    const tookMs = performance.now() - beganMs;
    assert.ok(tookMs >= 290 && tookMs < 300 + PATIENCE_MS, `${tookMs} ms`);
    for (const { socket } of clients) assert.equal((await nextBytes(socket)).length, 0);
    assert.deepEqual(await nextBytes(newer.socket), SHUTTING_DOWN);
    assert.equal((await nextBytes(newer.socket)).length, 0);
    assert.deepEqual(
      (await balancer.records(0)).map(({ reason }) => reason),
      ['shutdown', 'shutdown', 'shutdown', 'shutdown'],
    );
  },
);

testEveryEngine('a second stop, with now, ends the waiting of the first', async (engine, context) => {
  const backend = await startBackend(context, echo);
  const balancer = await startBalancer(context, { engine, backends: [backend.address], shutdownTimeout: '60s' });
  await connectMany(balancer.port, 2);
  const first = balancer.tidegate.stop();
  await sleep(50);
  const beganMs = performance.now();
  await Promise.all([balancer.tidegate.stop({ now: true }), first]);
  assert.ok(performance.now() - beganMs < PATIENCE_MS);
});

testEveryEngine(
  'a worker that is killed while another one drains stays dead, and stop still ends',
  async (engine, context) => {
    const backend = await startBackend(context, echo);
    const options = { engine, backends: [backend.address], workers: 2, shutdownTimeout: '60s' };
    const balancer = await startBalancer(context, options);
    const clients = await connectMany(balancer.port, 20);
    const stopped = balancer.tidegate.stop();
    await balancer.tidegate.supervisor.terminate(0);
    for (const { socket } of clients) socket.destroy();
    await stopped;
    assert.equal(workerOf(balancer, 0).restarts, 0);
    assert.equal((await balancer.records(0)).length, 20);
  },
);

testEveryEngine('nothing is left open after stop, nor after a worker was replaced', async (engine, context) => {
  const backend = await startBackend(context, echo);
  const live = async (kill: boolean) => {
    const balancer = await startBalancer(context, { engine, backends: [backend.address], workers: 2, mayDie: true });
    if (kill) {
      await balancer.tidegate.supervisor.terminate(0);
      await untilRunning(balancer, 0, 1);
    }
    const [client] = await connectMany(balancer.port, 1);
    client!.socket.destroy();
    await balancer.tidegate.stop();
  };
  await live(true);
  const before = (await openDescriptors()).length;
  await live(false);
  await live(true);
  await waitFor('return to as few descriptors', async () => (await openDescriptors()).length <= before);
});

testEveryEngine('several balancers run in one process without knowing of each other', async (engine, context) => {
  const backends = [await startBackend(context, echo), await startBackend(context, echo)];
  const balancers = await Promise.all(
    backends.map(({ address }) => startBalancer(context, { engine, backends: [address] })),
  );
  for (const [index, { port }] of balancers.entries()) {
    const [client] = await connectMany(port, 1);
    assert.ok(await echoes(client!));
    assert.deepEqual(
      backends.map(({ connections }) => connections),
      index === 0 ? [1, 0] : [1, 1],
    );
    client!.socket.destroy();
  }
  await balancers[0]!.tidegate.stop({ now: true });
  const [client] = await connectMany(balancers[1]!.port, 1);
  assert.ok(await echoes(client!));
  client!.socket.destroy();
});

testEveryEngine(
  'a process whose balancer has stopped ends by itself, and one that exits at once is not held',
  async (engine) => {
    const run = async (way: string) => {
      const file = join(import.meta.dirname, 'tools/balancer-process.ts');
      const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', file, engine, way], {
        stdio: 'inherit',
      });
      const timer = setTimeout(() => child.kill('SIGKILL'), 10_000);
      const [code] = await once(child, 'exit');
      clearTimeout(timer);
      return code;
    };
    assert.deepEqual(await Promise.all([run('stop'), run('exit')]), [0, 7]);
  },
);

testEveryEngine('a start that fails says why in one line and leaves nothing behind', async (engine, context) => {
  const backend = await startBackend(context, echo);
  const taken = await startBalancer(context, { engine, backends: [backend.address], mayDie: true });
  const before = (await openDescriptors()).length;
  const settings = {
    engine,
    workers: 2,
    listeners: [{ name: 'mqtt', bind: `127.0.0.1:${taken.port}` }],
    pools: { brokers: { backends: [backend.address] } },
    access_log: { path: 'off' },
    admin: 'off',
  };
  const startWith = (change: object) => start(parseConfig(JSON.stringify({ ...settings, ...change }), 'test.yaml'));
  const fails = (pattern: RegExp) => (error: TidegateError) => {
    assert.match(error.message, pattern);
    assert.ok(!error.message.includes('\n'));
    return error.exitCode === 2;
  };
  await assert.rejects(startWith({}), fails(/cannot listen on 127\.0\.0\.1:\d+.*taken/));
  const listeners = [{ name: 'mqtt', bind: '127.0.0.1:0' }];
  await assert.rejects(startWith({ listeners, connections_max: 1_000_000 }), fails(/connections_max|RLIMIT_NOFILE/));
  await assert.rejects(startWith({ listeners, access_log: { path: '/nowhere/at/all.log' } }), fails(/access log/));
  await waitFor('return to as few descriptors', async () => (await openDescriptors()).length <= before);
});

test('what the process is told about engine and capacity stands in one line each', async (context) => {
  const backend = await startBackend(context, echo);
  const balancer = await startBalancer(context, {
    engine: 'portable',
    backends: [backend.address],
    connectionsMax: 256,
  });
  assert.deepEqual(balancer.messages, [
    'engine portable: the configuration asks for it',
    'capacity: 256 connections, 256 in each of 1 workers, bounded by connections_max; for more, raise connections_max',
  ]);
});
