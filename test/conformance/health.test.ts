// What probes mean to clients: where new ones come to while a broker is silent, gone, leaving or back again.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';
import { echo, hello, refusingBackend, startBackend } from '../tools/backends.ts';
import { type Balancer, startBalancer, untilHealth } from '../tools/balancer.ts';
import { type Client, connectClient, echoes, nextBytes } from '../tools/client.ts';
import { clientIdsOf } from '../tools/client-ids.ts';
import { testEveryEngine } from '../tools/engines.ts';
import { startMosquitto } from '../tools/mosquitto.ts';
import { connackPacket, PINGREQ, refusalPacket } from '../tools/packets.ts';
import { PATIENCE_MS } from '../tools/patience.ts';
import { waitFor } from '../tools/wait.ts';

const CONNACK = connackPacket(4);
const PINGRESP = Buffer.from([0xd0, 0]);
const SERVER_UNAVAILABLE = 3;

/** Clients of these ClientIds; each has to be accepted. */
async function connectAll({ port }: Balancer, clientIds: readonly string[]): Promise<Client[]> {
  const clients = await Promise.all(clientIds.map((clientId) => connectClient(port, { clientId })));
  for (const { connack } of clients) assert.deepEqual(connack, CONNACK);
  return clients;
}

/** Is its session with a broker alive? */
async function answersPing({ socket }: Client): Promise<boolean> {
  socket.write(PINGREQ);
  return (await nextBytes(socket)).equals(PINGRESP);
}

const close = (clients: readonly Client[]) => {
  for (const { socket } of clients) socket.destroy();
};
const activeOf = ({ tidegate }: Balancer) => tidegate.status().backends.map(({ active }) => active);
const statusOf = ({ tidegate }: Balancer, address: string) => {
  return tidegate.status().backends.find((backend) => backend.address === address)!;
};

/** A broker's HTTP API: what it answers can be set. */
async function startApi(context: TestContext): Promise<{ port: number; status: number }> {
  const api = { port: 0, status: 200 };
  const server = createServer((_request, response) => response.writeHead(api.status).end());
  await once(server.listen(0, '127.0.0.1'), 'listening');
  context.after(() => server.close());
  api.port = (server.address() as AddressInfo).port;
  return api;
}

testEveryEngine(
  'clients of a broker that is killed come to their next candidate at once, and home again when it is back',
  async (engine, context) => {
    const brokers = [await startMosquitto(context), await startMosquitto(context)];
    const [killed, other] = brokers;
    if (killed === undefined || other === undefined) return;
    const backends = [killed.address, other.address];
    const balancer = await startBalancer(context, {
      engine,
      backends: backends.map((address) => ({ address })),
      health: { interval: '500ms', timeout: '500ms' },
    });
    // A ClientId that comes again would end its own earlier session.
    const own = clientIdsOf(killed.address, backends, 50);
    const others = await connectAll(balancer, clientIdsOf(other.address, backends, 10));
    const orphans = await connectAll(balancer, own.slice(0, 5));
    await waitFor('probe', () => statusOf(balancer, killed.address).probe?.verdict === 'pass');
    await killed.kill();
    for (const { socket } of orphans) assert.equal((await nextBytes(socket)).length, 0);
    const moved = await connectAll(balancer, own.slice(0, 20));
    const slowestMs = Math.max(...moved.map(({ tookMs }) => tookMs));
    context.diagnostic(`the slowest of 20 was accepted elsewhere after ${slowestMs.toFixed(1)} ms`);
    await untilHealth(balancer, killed.address, 'down');
    assert.equal(statusOf(balancer, killed.address).reason, 'connect failed: ECONNREFUSED');
    assert.deepEqual(activeOf(balancer), [0, 30]);
    const { failures } = statusOf(balancer, killed.address);
    close(await connectAll(balancer, own.slice(20, 30)));
    assert.equal(statusOf(balancer, killed.address).failures, failures, 'who is down is not dialled');
    await killed.restart();
    await untilHealth(balancer, killed.address, 'up');
    const home = await connectAll(balancer, own.slice(30));
    assert.equal(activeOf(balancer)[0], 20);
    for (const client of [...others, ...moved, ...home]) assert.ok(await answersPing(client));
    close([...others, ...moved, ...home]);
  },
);

testEveryEngine(
  'a broker that is stopped dead gets no new clients within interval and timeout, and has them again later',
  async (engine, context) => {
    const stopped = await startMosquitto(context);
    const other = await startMosquitto(context);
    if (stopped === undefined || other === undefined) return;
    const backends = [stopped.address, other.address];
    const balancer = await startBalancer(context, {
      engine,
      backends,
      health: { interval: '1s', timeout: '500ms' },
    });
    const [first, ...own] = clientIdsOf(stopped.address, backends, 11);
    const [before] = await connectAll(balancer, [first!]);
    await waitFor('probe', () => statusOf(balancer, stopped.address).probe?.verdict === 'pass');
    stopped.freeze();
    const beganMs = performance.now();
    await untilHealth(balancer, stopped.address, 'suspect');
    const foundMs = performance.now() - beganMs;
    context.diagnostic(`found after ${foundMs.toFixed()} ms`);
    assert.ok(foundMs < 1500 + PATIENCE_MS, `${foundMs} ms`);
    close(await connectAll(balancer, own));
    await untilHealth(balancer, stopped.address, 'down');
    assert.equal(statusOf(balancer, stopped.address).reason, 'no answer within 500 ms');
    close(await connectAll(balancer, own));
    stopped.thaw();
    await untilHealth(balancer, stopped.address, 'up');
    assert.ok(await answersPing(before!), 'who was there all the time still is');
    const home = await connectAll(balancer, own);
    assert.equal(activeOf(balancer)[0], 11);
    close([before!, ...home]);
  },
);

testEveryEngine(
  'a broker whose API says 503 gets nobody new and loses nobody; with 500 it is down all the same',
  async (engine, context) => {
    const leaving = await startBackend(context, echo);
    const staying = await startBackend(context, echo);
    const apis = [await startApi(context), await startApi(context)];
    const backends = [leaving.address, staying.address];
    const balancer = await startBalancer(context, {
      engine,
      backends: backends.map((address, index) => ({ address, health_port: apis[index]!.port })),
      health: { type: 'http', path: '/status', interval: '100ms' },
    });
    const own = clientIdsOf(leaving.address, backends, 10);
    const before = await connectAll(balancer, own);
    apis[0]!.status = 503;
    await untilHealth(balancer, leaving.address, 'drain');
    const after = await connectAll(balancer, own);
    assert.deepEqual(activeOf(balancer), [10, 10]);
    apis[0]!.status = 500;
    await untilHealth(balancer, leaving.address, 'down');
    for (const client of [...before, ...after]) assert.ok(await echoes(client));
    apis[0]!.status = 200;
    await untilHealth(balancer, leaving.address, 'up');
    const again = await connectAll(balancer, own);
    assert.deepEqual(activeOf(balancer), [20, 10]);
    close([...before, ...after, ...again]);
  },
);

testEveryEngine('a pool whose brokers are all down refuses in words', async (engine, context) => {
  const refusing = refusingBackend(context);
  const balancer = await startBalancer(context, {
    engine,
    backends: [refusing.address],
    health: { interval: '50ms' },
  });
  await untilHealth(balancer, refusing.address, 'down');
  const client = await connectClient(balancer.port);
  assert.deepEqual(client.connack, refusalPacket(4, SERVER_UNAVAILABLE));
  client.socket.destroy();
  assert.equal((await balancer.records(1))[0]!.attempts, 0, 'without a dial');
});

testEveryEngine(
  'a broker held for down at start takes nobody before its probes have passed',
  async (engine, context) => {
    const backend = await startBackend(context, echo);
    const api = await startApi(context);
    api.status = 500;
    const balancer = await startBalancer(context, {
      engine,
      backends: [backend.address],
      health: { type: 'http', port: api.port, interval: '50ms', initial: 'down' },
    });
    const early = await connectClient(balancer.port);
    assert.deepEqual(early.connack, refusalPacket(4, SERVER_UNAVAILABLE));
    api.status = 200;
    await untilHealth(balancer, backend.address, 'up');
    close(await connectAll(balancer, ['device']));
  },
);

testEveryEngine(
  'a broker that is back gets its own clients by and by, and theirs stay served',
  async (engine, context) => {
    const [returning, other] = [await startBackend(context, hello), await startBackend(context, hello)];
    const backends = [returning.address, other.address];
    const api = await startApi(context);
    const steady = await startApi(context);
    const balancer = await startBalancer(context, {
      engine,
      backends: backends.map((address, index) => ({ address, health_port: [api, steady][index]!.port })),
      health: { type: 'http', interval: '50ms' },
      slowStart: '4s',
    });
    const own = clientIdsOf(returning.address, backends, 200);
    /** How many of its own clients come home now. */
    const arrivals = async () => {
      const before = returning.connections;
      close(await connectAll(balancer, own));
      return returning.connections - before;
    };
    assert.equal(await arrivals(), 200, 'nothing is slow at the start');
    api.status = 500;
    await untilHealth(balancer, returning.address, 'down');
    api.status = 200;
    await untilHealth(balancer, returning.address, 'up');
    const found: { share: number; arrived: number }[] = [];
    while (statusOf(balancer, returning.address).share < 1) {
      const from = statusOf(balancer, returning.address).share;
      const arrived = await arrivals();
      found.push({ share: (from + statusOf(balancer, returning.address).share) / 2, arrived });
    }
    context.diagnostic(found.map(({ share, arrived }) => `${arrived} at ${share.toFixed(2)}`).join(', '));
    assert.ok(found[0]!.arrived < 100, 'few at first');
    for (const { share, arrived } of found) assert.ok(Math.abs(arrived / 200 - share) < 0.25);
    await waitFor('the whole share', async () => (await arrivals()) === 200);
  },
);
