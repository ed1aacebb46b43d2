// Where a connection goes, and what both ends see of each other, on every engine.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { hangingBackend, hello, startBackend } from '../tools/backends.ts';
import { type Balancer, startBalancer } from '../tools/balancer.ts';
import { testEveryEngine } from '../tools/engines.ts';
import { exchange } from '../tools/exchange.ts';
import { connackPacket, connectPacket, firstPacket, PINGREQ } from '../tools/packets.ts';
import { inParallel, range } from '../tools/parallel.ts';
import { reset } from '../tools/reset.ts';
import { startScriptBackend } from '../tools/script-backend.ts';

const CONNACK = connackPacket(4);

testEveryEngine('brings a ClientId back to its backend from every source address', async (engine, context) => {
  const first = await startBackend(context, hello);
  const second = await startBackend(context, hello);
  const third = await startBackend(context, hello);
  const backends = [first.address, second.address, third.address];
  const balancer = await startBalancer(context, { engine, backends, workers: 2 });
  const clientIds = Array.from({ length: 20 }, (_, index) => `device-${index}`);
  const visits = [...range(400)].map((visit) => ({ visit, clientId: clientIds[visit % clientIds.length]! }));
  await inParallel(16, visits, async ({ visit, clientId }) => {
    const { bytes } = await exchange(balancer.connect(`127.0.1.${1 + (visit % 250)}`), [connectPacket({ clientId })], {
      replyBytes: CONNACK.length,
    });
    assert.deepEqual(bytes, CONNACK);
  });
  const records = await balancer.records(visits.length);
  for (const clientId of clientIds) {
    const own = records.filter((record) => record.client_id === clientId);
    assert.equal(own.length, visits.length / clientIds.length);
    assert.equal(new Set(own.map(({ backend }) => backend)).size, 1, `${clientId} met more than one backend`);
  }
  assert.deepEqual(new Set(records.map(({ backend }) => backend)), new Set(backends));
  assert.ok(new Set(records.map(({ remote_addr }) => remote_addr)).size > 200, 'the log shows who came from where');
});

testEveryEngine('serves an IPv6 listener and logs its peers', async (engine, context) => {
  const backend = await startBackend(context, hello);
  const balancer = await startBalancer(context, { engine, backends: [backend.address], bind: '[::1]:0' });
  const client = balancer.connect();
  const reply = exchange(client, [connectPacket({ clientId: 'six' })], { replyBytes: CONNACK.length });
  await once(client, 'connect');
  const { localPort } = client;
  assert.deepEqual((await reply).bytes, CONNACK);
  const [record] = await balancer.records(1);
  assert.equal(record?.remote_addr, '::1');
  assert.equal(record?.remote_port, localPort);
  assert.equal(record?.client_id, 'six');
});

testEveryEngine('dials a backend over IPv6', async (engine, context) => {
  const backend = await startBackend(context, hello, { host: '::1' });
  const balancer = await startBalancer(context, { engine, backends: [backend.address] });
  const { bytes } = await exchange(balancer.connect(), [connectPacket()], { replyBytes: CONNACK.length });
  assert.deepEqual(bytes, CONNACK);
  assert.equal((await balancer.records(1))[0]?.backend, backend.address);
});

testEveryEngine('passes on what follows the CONNECT in the same segment', async (engine, context) => {
  const backend = await startScriptBackend(context);
  const balancer = await startBalancer(context, { engine, backends: [backend.mirror] });
  const bytes = Buffer.concat([connectPacket(), ...Array<Buffer>(1000).fill(PINGREQ)]);
  assert.deepEqual((await exchange(balancer.connect(), [bytes], { replyBytes: bytes.length })).bytes, bytes);
});

testEveryEngine(
  'takes a CONNECT that arrives in segments of one byte, with packets behind it',
  async (engine, context) => {
    const backend = await startScriptBackend(context);
    const balancer = await startBalancer(context, { engine, backends: [backend.mirror] });
    const bytes = Buffer.concat([connectPacket({ clientId: 'slow', username: 'one by one' }), PINGREQ, PINGREQ]);
    const pieces = Array.from(bytes, (byte) => Buffer.from([byte]));
    const reply = await exchange(balancer.connect(), pieces, { gapMs: 2, replyBytes: bytes.length });
    assert.deepEqual(reply.bytes, bytes);
  },
);

testEveryEngine('passes on a backend that talks before it was asked', async (engine, context) => {
  const greeting = Buffer.from('first!');
  const backend = await startBackend(context, async (socket) => {
    socket.write(greeting);
    await hello(socket);
  });
  const balancer = await startBalancer(context, { engine, backends: [backend.address] });
  const expected = Buffer.concat([greeting, CONNACK]);
  const { bytes } = await exchange(balancer.connect(), [connectPacket()], { replyBytes: expected.length });
  assert.deepEqual(bytes, expected);
});

testEveryEngine('forwards a half-close and lets the other direction go on', async (engine, context) => {
  const backend = await startBackend(context, async (socket) => {
    const packet = await firstPacket(socket);
    socket.resume();
    await once(socket, 'end');
    await sleep(50);
    socket.end(packet!);
  });
  const balancer = await startBalancer(context, { engine, backends: [backend.address] });
  const packet = connectPacket();
  const client = balancer.connect();
  client.end(packet);
  const reply = await exchange(client, []);
  assert.deepEqual(reply.bytes, packet);
  const [record] = await balancer.records(1);
  assert.deepEqual([record?.status, record?.reason], [200, 'client_closed']);
  assert.deepEqual([record?.bytes_from_client, record?.bytes_to_client], [packet.length, packet.length]);
});

testEveryEngine('delivers what a backend sent before it closed, and says who closed', async (engine, context) => {
  const farewell = Buffer.alloc(300_000, 'bye ');
  const backend = await startBackend(context, async (socket) => {
    await firstPacket(socket);
    socket.end(farewell);
    socket.resume();
  });
  const balancer = await startBalancer(context, { engine, backends: [backend.address] });
  const client = balancer.connect();
  const reply = await exchange(client, [connectPacket()]);
  assert.ok(reply.bytes.equals(farewell), `${reply.bytes.length} of ${farewell.length} bytes came`);
  assert.equal((await balancer.records(1))[0]?.reason, 'backend_closed');
});

testEveryEngine('delivers what a client sent before it left with bytes unread', async (engine, context) => {
  const publishes = Buffer.alloc(200_000, 'publish ');
  let received = 0;
  const backend = await startBackend(context, async (socket) => {
    await hello(socket);
    socket.on('data', (bytes) => {
      received += bytes.length;
    });
    await sleep(30);
    socket.write('never read');
  });
  const balancer = await startBalancer(context, { engine, backends: [backend.address] });
  const client = balancer.connect();
  client.write(connectPacket());
  await firstPacket(client);
  await sleep(60);
  client.end(publishes, () => client.destroy());
  await balancer.records(1);
  assert.equal(received, publishes.length);
});

testEveryEngine('ends both sides when one is reset, and says which it was', async (engine, context) => {
  let resetBackend = (): void => {};
  const ended: boolean[] = [];
  const backend = await startBackend(context, async (socket) => {
    resetBackend = () => reset(socket);
    socket.on('close', () => ended.push(true));
    await hello(socket);
    socket.resume();
  });
  const balancer = await startBalancer(context, { engine, backends: [backend.address] });
  const leaver = await openClient(balancer);
  reset(leaver);
  assert.equal((await balancer.records(1))[0]?.reason, 'client_reset');
  assert.equal(ended.length, 1);

  const left = await openClient(balancer);
  const closed = new Promise((resolve) => left.on('close', resolve).on('end', () => left.destroy()));
  resetBackend();
  await closed;
  assert.equal((await balancer.records(2))[1]?.reason, 'backend_reset');
  await balancer.idle();
});

testEveryEngine('forgets a client that leaves while its backend is being dialled', async (engine, context) => {
  const silent = await hangingBackend(context);
  const balancer = await startBalancer(context, { engine, backends: [silent.address], dialTimeout: '5s' });
  const client = balancer.connect();
  client.write(connectPacket());
  await dialling(balancer);
  reset(client);
  const [record] = await balancer.records(1);
  assert.deepEqual([record?.reason, record?.attempts], ['client_reset', 1]);
  await balancer.idle();
  assert.equal(balancer.tidegate.status().backends[0]?.active, 0);
});

testEveryEngine('closes a client whose backend resets after it took the CONNECT', async (engine, context) => {
  const takeAndReset = async (socket: Socket) => {
    await firstPacket(socket);
    reset(socket);
  };
  const resetting = [await startBackend(context, takeAndReset), await startBackend(context, takeAndReset)];
  const backends = resetting.map(({ address }) => address);
  const balancer = await startBalancer(context, { engine, backends });
  const reply = await exchange(balancer.connect(), [connectPacket()]);
  assert.deepEqual(reply, { bytes: Buffer.alloc(0), end: 'finish' });
  const [record] = await balancer.records(1);
  assert.deepEqual([record?.status, record?.reason, record?.attempts], [200, 'backend_reset', 1]);
  const reached = resetting.reduce((sum, { connections }) => sum + connections, 0);
  assert.equal(reached, 1, 'a CONNECT that one backend took is not given to another');
});

testEveryEngine(
  'holds no more clients than its table has slots, and serves on when one has left',
  async (engine, context) => {
    const backend = await startBackend(context, hello);
    const balancer = await startBalancer(context, { engine, backends: [backend.address], connectionsMax: 4 });
    // One after the other: of those who are slow in a table that is almost full, the oldest would have to go.
    const served: Socket[] = [];
    for (const _ of range(4)) served.push(await openClient(balancer));
    const surplus = balancer.connect();
    surplus.on('error', () => {});
    surplus.write(connectPacket());
    const answer = await Promise.race([firstPacket(surplus), sleep(100)]);
    assert.equal(answer, undefined, 'a fifth client has been served');
    assert.equal(balancer.tidegate.status().connections, 4);
    surplus.destroy();
    for (const client of served) client.destroy();
    await balancer.idle();
    (await openClient(balancer)).destroy();
  },
);

async function openClient(balancer: Balancer): Promise<Socket> {
  const client = balancer.connect();
  client.on('error', () => {});
  client.write(connectPacket());
  assert.deepEqual(await firstPacket(client), CONNACK);
  return client.resume();
}

/** The balancer has read the CONNECT and chosen. */
async function dialling(balancer: Balancer): Promise<void> {
  while (balancer.tidegate.status().backends[0]?.active !== 1) await sleep(5);
}
