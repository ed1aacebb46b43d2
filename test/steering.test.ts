// Newcomers are left to workers that have room, and nobody waits at one that is full.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Steering } from '../src/control/steering.ts';
import { freePort } from '../src/demo-brokers.ts';
import { hello, startBackend } from './tools/backends.ts';
import { startBalancer } from './tools/balancer.ts';
import { nextBytes } from './tools/client.ts';
import { testEveryEngine } from './tools/engines.ts';
import { connectPacket } from './tools/packets.ts';

const skip = process.platform === 'linux' ? false : 'sockets are steered on Linux only';
const WORKERS = 4;
const EACH = 400;
/** Nine of ten places, which by the kernel's hash would be more than some worker has. */
const CLIENTS = 1440;
const BATCH = 40;
/** Longer than between two looks. */
const PAUSE_MS = 120;

test('sockets whose worker is nearly full leave newcomers to those with room', { skip }, async (context) => {
  const port = await freePort();
  const accepted = [0, 0, 0];
  const fds: number[] = [];
  for (const ring of accepted.keys()) {
    const server = createServer((socket) => {
      accepted[ring]!++;
      socket.destroy();
    });
    await once(server.listen({ port, host: '127.0.0.1', reusePort: true }), 'listening');
    context.after(() => server.close());
    fds.push((server as unknown as { _handle: { fd: number } })._handle.fd);
  }
  const come = async (count: number): Promise<number[]> => {
    const before = [...accepted];
    await Promise.all(Array.from({ length: count }, () => once(connect(port, '127.0.0.1').resume(), 'close')));
    return accepted.map((now, ring) => now - before[ring]!);
  };
  const steering = new Steering(100);
  const groups = [{ fds }];
  steering.update(groups, [10, 60, 20]);
  assert.ok(
    (await come(60)).every((count) => count > 0),
    'nobody is spared while all have room',
  );
  steering.update(groups, [50, 95, 50]);
  const [first, second, third] = await come(60);
  assert.deepEqual([second, first! + third!], [0, 60]);
  assert.ok(first! > 0 && third! > 0);
  steering.update(groups, [95, 95, 50]);
  assert.deepEqual(await come(60), [0, 0, 60]);
  steering.update(groups, [50, 50, 50]);
  assert.ok(
    (await come(60)).every((count) => count > 0),
    'all have room again',
  );
});

testEveryEngine('a table that is nine tenths full takes whoever comes', async (engine, context) => {
  if (process.platform !== 'linux') return context.skip('sockets are steered on Linux only');
  const { address } = await startBackend(context, hello);
  const balancer = await startBalancer(context, {
    engine,
    workers: WORKERS,
    connectionsMax: EACH,
    backends: [address],
  });
  for (let clients = 0; clients < CLIENTS; clients += BATCH) {
    const batch = Array.from({ length: BATCH }, () => {
      const socket = balancer.connect();
      context.after(() => socket.destroy());
      socket.write(connectPacket());
      return nextBytes(socket);
    });
    await Promise.all(batch);
    await sleep(PAUSE_MS);
  }
  const held = balancer.tidegate.status().workers.map(({ connections }) => connections);
  assert.equal(
    held.reduce((sum, count) => sum + count),
    CLIENTS,
    held.join(),
  );
});

test('sockets that are closed are left alone, and whoever else put a program there doesn’t keep it', {
  skip,
}, async (context) => {
  const port = await freePort();
  const accepted = [0, 0];
  const fds: number[] = [];
  for (const worker of accepted.keys()) {
    const server = createServer((socket) => {
      accepted[worker]!++;
      socket.destroy();
    });
    await once(server.listen({ port, host: '127.0.0.1', reusePort: true }), 'listening');
    context.after(() => server.close());
    fds.push((server as unknown as { _handle: { fd: number } })._handle.fd);
  }
  new Steering(100).update([{ fds }, { fds: [] }], [95, 10]);
  const successor = new Steering(100, true);
  successor.update([{ fds }], [10, 10]);
  for (let count = 0; count < 60; count++) await once(connect(port, '127.0.0.1').resume(), 'close');
  assert.ok(accepted[0]! > 0 && accepted[1]! > 0, accepted.join());
});
