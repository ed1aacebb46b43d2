// Where a connection goes, and what both ends see of each other, on every engine.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { startBackend } from '../tools/backend.ts';
import { exchange } from '../tools/exchange.ts';
import { type Gate, testEveryEngine, withGate } from '../tools/gate.ts';
import { connackPacket, connectPacket, firstPacket } from '../tools/packets.ts';
import { inParallel, range } from '../tools/parallel.ts';
import { refusedAddress, sayHello, startServer, startUnreachable } from '../tools/servers.ts';

const CONNACK = connackPacket(4);
const PINGREQ = Buffer.from([0xc0, 0]);

testEveryEngine('brings a ClientId back to its backend from every source address', async (engine, context) => {
  const first = await startServer(context, sayHello);
  const second = await startServer(context, sayHello);
  const third = await startServer(context, sayHello);
  const backends = [first.address, second.address, third.address];
  await withGate({ engine, backends, workers: 2 }, async (gate) => {
    const clientIds = Array.from({ length: 20 }, (_, index) => `device-${index}`);
    const visits = [...range(400)].map((visit) => ({ visit, clientId: clientIds[visit % clientIds.length]! }));
    await inParallel(16, visits, async ({ visit, clientId }) => {
      const { bytes } = await exchange(gate.connect(`127.0.1.${1 + (visit % 250)}`), [connectPacket({ clientId })], {
        replyBytes: CONNACK.length,
      });
      assert.deepEqual(bytes, CONNACK);
    });
    const records = await gate.records(visits.length);
    for (const clientId of clientIds) {
      const own = records.filter((record) => record.client_id === clientId);
      assert.equal(own.length, visits.length / clientIds.length);
      assert.equal(new Set(own.map(({ backend }) => backend)).size, 1, `${clientId} met more than one backend`);
    }
    assert.deepEqual(new Set(records.map(({ backend }) => backend)), new Set(backends));
    assert.ok(new Set(records.map(({ remote_addr }) => remote_addr)).size > 200, 'the log shows who came from where');
  });
});

testEveryEngine('serves an IPv6 listener and logs its peers', async (engine, context) => {
  const backend = await startServer(context, sayHello);
  await withGate({ engine, backends: [backend.address], bind: '[::1]:0' }, async (gate) => {
    const client = gate.connect();
    const reply = exchange(client, [connectPacket({ clientId: 'six' })], { replyBytes: CONNACK.length });
    await once(client, 'connect');
    const { localPort } = client;
    assert.deepEqual((await reply).bytes, CONNACK);
    const [record] = await gate.records(1);
    assert.equal(record?.remote_addr, '::1');
    assert.equal(record?.remote_port, localPort);
    assert.equal(record?.client_id, 'six');
  });
});

testEveryEngine('dials a backend over IPv6', async (engine, context) => {
  const backend = await startServer(context, sayHello, '::1');
  await withGate({ engine, backends: [backend.address] }, async (gate) => {
    const { bytes } = await exchange(gate.connect(), [connectPacket()], { replyBytes: CONNACK.length });
    assert.deepEqual(bytes, CONNACK);
    assert.equal((await gate.records(1))[0]?.backend, backend.address);
  });
});

testEveryEngine('passes on what follows the CONNECT in the same segment', async (engine, context) => {
  const backend = await startBackend(context);
  await withGate({ engine, backends: [backend.mirror] }, async (gate) => {
    const bytes = Buffer.concat([connectPacket(), ...Array<Buffer>(1000).fill(PINGREQ)]);
    assert.deepEqual((await exchange(gate.connect(), [bytes], { replyBytes: bytes.length })).bytes, bytes);
  });
});

testEveryEngine(
  'takes a CONNECT that arrives in segments of one byte, with packets behind it',
  async (engine, context) => {
    const backend = await startBackend(context);
    await withGate({ engine, backends: [backend.mirror] }, async (gate) => {
      const bytes = Buffer.concat([connectPacket({ clientId: 'slow', username: 'one by one' }), PINGREQ, PINGREQ]);
      const pieces = Array.from(bytes, (byte) => Buffer.from([byte]));
      const reply = await exchange(gate.connect(), pieces, { gapMs: 2, replyBytes: bytes.length });
      assert.deepEqual(reply.bytes, bytes);
    });
  },
);

testEveryEngine('passes on a backend that talks before it was asked', async (engine, context) => {
  const greeting = Buffer.from('first!');
  const backend = await startServer(context, async (socket) => {
    socket.write(greeting);
    await sayHello(socket);
  });
  await withGate({ engine, backends: [backend.address] }, async (gate) => {
    const expected = Buffer.concat([greeting, CONNACK]);
    const { bytes } = await exchange(gate.connect(), [connectPacket()], { replyBytes: expected.length });
    assert.deepEqual(bytes, expected);
  });
});

testEveryEngine('forwards a half-close and lets the other direction go on', async (engine, context) => {
  const backend = await startServer(context, async (socket) => {
    const packet = await firstPacket(socket);
    socket.resume();
    await once(socket, 'end');
    await sleep(50);
    socket.end(packet!);
  });
  await withGate({ engine, backends: [backend.address] }, async (gate) => {
    const packet = connectPacket();
    const client = gate.connect();
    client.end(packet);
    const reply = await exchange(client, []);
    assert.deepEqual(reply.bytes, packet);
    const [record] = await gate.records(1);
    assert.deepEqual([record?.status, record?.reason], [200, 'client_closed']);
    assert.deepEqual([record?.bytes_from_client, record?.bytes_to_client], [packet.length, packet.length]);
  });
});

testEveryEngine('delivers what a backend sent before it closed, and says who closed', async (engine, context) => {
  const farewell = Buffer.alloc(300_000, 'bye ');
  const backend = await startServer(context, async (socket) => {
    await firstPacket(socket);
    socket.end(farewell);
    socket.resume();
  });
  await withGate({ engine, backends: [backend.address] }, async (gate) => {
    const client = gate.connect();
    const reply = await exchange(client, [connectPacket()]);
    assert.ok(reply.bytes.equals(farewell), `${reply.bytes.length} of ${farewell.length} bytes came`);
    assert.equal((await gate.records(1))[0]?.reason, 'backend_closed');
  });
});

testEveryEngine('delivers what a client sent before it left with bytes unread', async (engine, context) => {
  const publishes = Buffer.alloc(200_000, 'publish ');
  let received = 0;
  const backend = await startServer(context, async (socket) => {
    await sayHello(socket);
    socket.on('data', (bytes) => {
      received += bytes.length;
    });
    await sleep(30);
    socket.write('never read');
  });
  await withGate({ engine, backends: [backend.address] }, async (gate) => {
    const client = gate.connect();
    client.write(connectPacket());
    await firstPacket(client);
    await sleep(60);
    client.end(publishes, () => client.destroy());
    await gate.records(1);
    assert.equal(received, publishes.length);
  });
});

testEveryEngine('ends both sides when one is reset, and says which it was', async (engine, context) => {
  let resetBackend = (): void => {};
  const ended: boolean[] = [];
  const backend = await startServer(context, async (socket) => {
    resetBackend = () => socket.resetAndDestroy();
    socket.on('close', () => ended.push(true));
    await sayHello(socket);
    socket.resume();
  });
  await withGate({ engine, backends: [backend.address] }, async (gate) => {
    const leaver = await openClient(gate);
    leaver.resetAndDestroy();
    assert.equal((await gate.records(1))[0]?.reason, 'client_reset');
    assert.equal(ended.length, 1);

    const left = await openClient(gate);
    const closed = new Promise((resolve) => left.on('close', resolve).on('end', () => left.destroy()));
    resetBackend();
    await closed;
    assert.equal((await gate.records(2))[1]?.reason, 'backend_reset');
    await gate.idle();
  });
});

testEveryEngine('forgets a client that leaves while its backend is being dialled', async (engine, context) => {
  const silent = await startUnreachable(context);
  await withGate({ engine, backends: [silent.address], dialTimeout: '5s' }, async (gate) => {
    const client = gate.connect();
    client.write(connectPacket());
    await dialling(gate);
    client.resetAndDestroy();
    const [record] = await gate.records(1);
    assert.deepEqual([record?.reason, record?.attempts], ['client_reset', 1]);
    await gate.idle();
    assert.equal(gate.tidegate.status().backends[0]?.active, 0);
  });
});

testEveryEngine('goes on to the next backend when one refuses, resets or does not answer', async (engine, context) => {
  const silent = await startUnreachable(context);
  const willing = await startServer(context, sayHello);
  const backends = [await refusedAddress(), silent.address, willing.address];
  await withGate({ engine, backends, dialTimeout: '150ms' }, async (gate) => {
    const clientIds = [...range(30)].map((index) => `wanderer-${index}`);
    await inParallel(30, clientIds, async (clientId) => {
      const { bytes } = await exchange(gate.connect(), [connectPacket({ clientId })], { replyBytes: CONNACK.length });
      assert.deepEqual(bytes, CONNACK);
    });
    const records = await gate.records(clientIds.length);
    assert.deepEqual([...new Set(records.map(({ backend }) => backend))], [willing.address]);
    assert.deepEqual(new Set(records.map(({ attempts }) => attempts)), new Set([1, 2, 3]));
  });
});

testEveryEngine('tells a client of every version that no backend is left', async (engine) => {
  await withGate({ engine, backends: [await refusedAddress()] }, async (gate) => {
    for (const version of [3, 4, 5] as const) {
      const reply = await exchange(gate.connect(), [connectPacket({ version })]);
      const refusal = version === 5 ? [0x20, 3, 0, 0x88, 0] : [0x20, 2, 0, 3];
      assert.deepEqual([...reply.bytes], refusal);
    }
    for (const record of await gate.records(3)) assert.deepEqual([record.status, record.reason], [502, 'no_backend']);
  });
});

testEveryEngine(
  'holds no more clients than its table has slots, and serves on when one has left',
  async (engine, context) => {
    const backend = await startServer(context, sayHello);
    await withGate({ engine, backends: [backend.address], connectionsMax: 4 }, async (gate) => {
      const served = await Promise.all(Array.from(range(4), () => openClient(gate)));
      const surplus = gate.connect();
      surplus.on('error', () => {});
      surplus.write(connectPacket());
      const answer = await Promise.race([firstPacket(surplus), sleep(100)]);
      assert.equal(answer, undefined, 'a fifth client has been served');
      assert.equal(gate.tidegate.status().connections, 4);
      surplus.destroy();
      for (const client of served) client.destroy();
      await gate.idle();
      (await openClient(gate)).destroy();
    });
  },
);

async function openClient(gate: Gate): Promise<Socket> {
  const client = gate.connect();
  client.on('error', () => {});
  client.write(connectPacket());
  assert.deepEqual(await firstPacket(client), CONNACK);
  return client.resume();
}

/** The gate has read the CONNECT and chosen. */
async function dialling(gate: Gate): Promise<void> {
  while (gate.tidegate.status().backends[0]?.active !== 1) await sleep(5);
}
