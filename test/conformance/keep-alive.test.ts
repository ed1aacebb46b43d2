// The idle timeout that follows each client's own keep alive, on every engine.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Gate, testEveryEngine, withGate } from '../tools/gate.ts';
import { type ConnectOptions, connectPacket, firstPacket } from '../tools/packets.ts';
import { sayHello, startServer } from '../tools/servers.ts';

const PINGREQ = Buffer.from([0xc0, 0]);
/** MQTT 5.0: accepted, Server Keep Alive 10 s. */
const CONNACK_WITH_KEEP_ALIVE = Buffer.from([0x20, 6, 0, 0, 3, 0x13, 0, 10]);
/** The tick of the timer wheel, and a machine that is busy. */
const LATE_MS = 1500;

testEveryEngine('closes a client that is silent for longer than its keep alive allows', async (engine, context) => {
  const backend = await startServer(context, sayHello);
  await withGate({ engine, backends: [backend.address] }, async (gate) => {
    const livedMs = await lifeOf(await session(gate, { keepAlive: 1 }));
    assert.ok(livedMs >= 1400 && livedMs < 1500 + LATE_MS, `${livedMs} ms`);
    const [record] = await gate.records(1);
    assert.equal(record?.reason, 'keep_alive_timeout');
    assert.equal(record?.status, 200);
  });
});

testEveryEngine('keeps a client that pings in time, whatever its broker says', async (engine, context) => {
  const backend = await startServer(context, sayHello);
  await withGate({ engine, backends: [backend.address] }, async (gate) => {
    const client = await session(gate, { keepAlive: 1 });
    for (let ping = 0; ping < 5; ping++) {
      await sleep(700);
      client.write(PINGREQ);
    }
    assert.equal(client.readableEnded, false);
    client.destroy();
    const [record] = await gate.records(1);
    assert.match(record!.reason, /^client_(closed|reset)$/);
  });
});

testEveryEngine('closes a silent client although its broker goes on talking to it', async (engine, context) => {
  const backend = await startServer(context, talk);
  await withGate({ engine, backends: [backend.address] }, async (gate) => {
    const livedMs = await lifeOf(await session(gate, { keepAlive: 1 }));
    assert.ok(livedMs < 1500 + LATE_MS, `${livedMs} ms`);
    assert.equal((await gate.records(1))[0]?.reason, 'keep_alive_timeout');
  });
});

testEveryEngine('follows the keep alive that an MQTT 5.0 server names instead', async (engine, context) => {
  const backend = await startServer(context, async (socket) => {
    if ((await firstPacket(socket)) !== undefined) socket.write(CONNACK_WITH_KEEP_ALIVE);
    socket.resume();
  });
  await withGate({ engine, backends: [backend.address] }, async (gate) => {
    const client = await session(gate, { keepAlive: 1, version: 5 });
    await sleep(1500 + LATE_MS);
    assert.equal(client.readableEnded, false);
    client.destroy();
  });
});

testEveryEngine('closes a client without keep alive after idle_timeout, where one is set', async (engine, context) => {
  const backend = await startServer(context, sayHello);
  await withGate({ engine, backends: [backend.address], idleTimeout: '500ms' }, async (gate) => {
    const livedMs = await lifeOf(await session(gate, { keepAlive: 0 }));
    assert.ok(livedMs >= 400 && livedMs < 500 + LATE_MS, `${livedMs} ms`);
    assert.equal((await gate.records(1))[0]?.reason, 'idle_timeout');
  });
});

testEveryEngine('judges nobody by keep alive when it is told not to', async (engine, context) => {
  const backend = await startServer(context, sayHello);
  await withGate({ engine, backends: [backend.address], keepAliveFactor: 0 }, async (gate) => {
    const client = await session(gate, { keepAlive: 1 });
    await sleep(1500 + LATE_MS);
    assert.equal(client.readableEnded, false);
    client.destroy();
  });
});

/** A client that has its CONNACK. */
async function session(gate: Gate, options: ConnectOptions): Promise<Socket> {
  const client = gate.connect();
  client.on('error', () => {});
  client.write(connectPacket(options));
  await once(client, 'data');
  return client;
}

async function lifeOf(client: Socket): Promise<number> {
  const begunMs = performance.now();
  client.resume();
  client.on('end', () => client.end());
  await once(client, 'close');
  return performance.now() - begunMs;
}

async function talk(socket: Socket): Promise<void> {
  await sayHello(socket);
  const timer = setInterval(() => socket.write(Buffer.from([0xd0, 0])), 200);
  socket.on('close', () => clearInterval(timer));
}
