// The idle timeout that follows each client's own keep alive, on every engine.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { describe } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { hello, startBackend } from '../tools/backends.ts';
import { type Balancer, startBalancer } from '../tools/balancer.ts';
import { testEveryEngine } from '../tools/engines.ts';
import { type ConnectOptions, connackPacket, connectPacket, firstPacket, PINGREQ } from '../tools/packets.ts';
import { PATIENCE_MS } from '../tools/patience.ts';
import { waitFor } from '../tools/wait.ts';

/** MQTT 5.0: accepted, Server Keep Alive 10 s. */
const CONNACK_WITH_KEEP_ALIVE = Buffer.from([0x20, 6, 0, 0, 3, 0x13, 0, 10]);
const FLOOD = Buffer.alloc(1 << 20, PINGREQ);
const lastWordsMs = new WeakMap<Socket, number>();
/** By when, after its time, a client would have been closed: the tick of the timer wheel, and a little more. */
const LATE_MS = 1500;

describe('the idle timeout', { concurrency: true }, () => {
  testEveryEngine('closes a client that is silent for longer than its keep alive allows', async (engine, context) => {
    const backend = await startBackend(context, hello);
    const balancer = await startBalancer(context, { engine, backends: [backend.address] });
    const livedMs = await lifeOf(await session(balancer, { keepAlive: 1 }));
    assert.ok(livedMs >= 1500 && livedMs < 1500 + PATIENCE_MS, `${livedMs} ms`);
    const [record] = await balancer.records(1);
    assert.equal(record?.reason, 'keep_alive_timeout');
    assert.equal(record?.status, 200);
  });

  testEveryEngine('keeps a client that pings in time, whatever its backend says', async (engine, context) => {
    const backend = await startBackend(context, hello);
    const balancer = await startBalancer(context, { engine, backends: [backend.address] });
    const client = await session(balancer, { keepAlive: 2 });
    for (let ping = 0; ping < 6; ping++) {
      await sleep(700);
      client.write(PINGREQ);
    }
    assertOpen(client);
    client.destroy();
    const [record] = await balancer.records(1);
    assert.match(record!.reason, /^client_(closed|reset)$/);
  });

  testEveryEngine('closes a silent client although its backend goes on talking to it', async (engine, context) => {
    const backend = await startBackend(context, talk);
    const balancer = await startBalancer(context, { engine, backends: [backend.address] });
    const livedMs = await lifeOf(await session(balancer, { keepAlive: 1 }));
    assert.ok(livedMs < 1500 + PATIENCE_MS, `${livedMs} ms`);
    assert.equal((await balancer.records(1))[0]?.reason, 'keep_alive_timeout');
  });

  testEveryEngine(
    'does not judge a client that it does not read, and begins anew when it does',
    async (engine, context) => {
      let reader: Socket | undefined;
      const backend = await startBackend(context, async (socket) => {
        await firstPacket(socket); // and reads no more
        socket.write(connackPacket(4));
        reader = socket;
      });
      const balancer = await startBalancer(context, { engine, backends: [backend.address] });
      const client = await session(balancer, { keepAlive: 1 });
      let sentBytes = 0;
      const flood = setInterval(() => {
        if (client.writableNeedDrain) return;
        client.write(FLOOD);
        sentBytes += FLOOD.length;
      }, 10);
      context.after(() => clearInterval(flood));
      await waitFor('a client that is not read', () => client.writableNeedDrain && sentBytes > FLOOD.length);
      await sleep(1500 + LATE_MS);
      assert.equal(client.readyState, 'open');
      clearInterval(flood);

      let receivedBytes = 0;
      reader!.on('data', (bytes) => (receivedBytes += bytes.length)).resume();
      await waitFor('everything that it sent', () => receivedBytes === sentBytes);
      const livedMs = await lifeOf(client, performance.now());
      assert.ok(livedMs < 1500 + PATIENCE_MS, `${livedMs} ms`);
      assert.equal((await balancer.records(1))[0]?.reason, 'keep_alive_timeout');
    },
  );

  testEveryEngine('follows the keep alive that an MQTT 5.0 server names instead', async (engine, context) => {
    const backend = await startBackend(context, async (socket) => {
      if ((await firstPacket(socket)) !== undefined) socket.write(CONNACK_WITH_KEEP_ALIVE);
      socket.resume();
    });
    const balancer = await startBalancer(context, { engine, backends: [backend.address] });
    const client = await session(balancer, { keepAlive: 1, version: 5 });
    await sleep(1500 + LATE_MS);
    assertOpen(client);
    client.destroy();
  });

  testEveryEngine(
    'closes a client without keep alive after idle_timeout, where one is set',
    async (engine, context) => {
      const backend = await startBackend(context, hello);
      const balancer = await startBalancer(context, { engine, backends: [backend.address], idleTimeout: '500ms' });
      const livedMs = await lifeOf(await session(balancer, { keepAlive: 0 }));
      assert.ok(livedMs >= 500 && livedMs < 500 + PATIENCE_MS, `${livedMs} ms`);
      assert.equal((await balancer.records(1))[0]?.reason, 'idle_timeout');
    },
  );

  testEveryEngine('judges nobody by keep alive when it is told not to', async (engine, context) => {
    const backend = await startBackend(context, hello);
    const balancer = await startBalancer(context, { engine, backends: [backend.address], keepAliveFactor: 0 });
    const client = await session(balancer, { keepAlive: 1 });
    await sleep(1500 + LATE_MS);
    assertOpen(client);
    client.destroy();
  });
});

/** A client that has its CONNACK. */
/** Neither ended nor reset. */
function assertOpen(client: Socket): void {
  assert.deepEqual([client.readableEnded, client.destroyed], [false, false]);
}

async function session(balancer: Balancer, options: ConnectOptions): Promise<Socket> {
  const client = balancer.connect();
  client.on('error', () => {});
  lastWordsMs.set(client, performance.now());
  client.write(connectPacket(options));
  await once(client, 'data');
  return client;
}

/** Milliseconds to its end, from its CONNECT on: a process on a busy machine may see the CONNACK late. */
async function lifeOf(client: Socket, sinceMs = lastWordsMs.get(client)!): Promise<number> {
  client.resume();
  client.on('end', () => client.end());
  await once(client, 'close');
  return performance.now() - sinceMs;
}

async function talk(socket: Socket): Promise<void> {
  await hello(socket);
  const timer = setInterval(() => socket.write(Buffer.from([0xd0, 0])), 200);
  socket.on('close', () => clearInterval(timer));
}
