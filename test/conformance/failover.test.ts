// What happens to clients when backends refuse, hang, go and come back.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { echo, hangingBackend, refusingBackend, startBackend } from '../tools/backends.ts';
import { healthOf, startBalancer, untilHealth } from '../tools/balancer.ts';
import { connectClient, echoes, nextBytes } from '../tools/client.ts';
import { clientIdsOf } from '../tools/client-ids.ts';
import { testEveryEngine } from '../tools/engines.ts';
import { connackPacket, connectPacket, refusalPacket } from '../tools/packets.ts';
import { PATIENCE_MS } from '../tools/patience.ts';

const CONNACK = connackPacket(4);
const SERVER_UNAVAILABLE = 3;
const SERVER_UNAVAILABLE_5 = 0x88;

testEveryEngine(
  'a backend that refuses is passed over at once, and its own clients come to the next one',
  async (engine, context) => {
    const refusing = refusingBackend(context);
    const willing = await startBackend(context, echo);
    const backends = [refusing.address, willing.address];
    const balancer = await startBalancer(context, { engine, backends });
    const ids = clientIdsOf(refusing.address, backends, 20);
    const clients = await Promise.all(ids.map((clientId) => connectClient(balancer.port, { clientId })));
    for (const { connack } of clients) assert.deepEqual(connack, CONNACK);
    assert.ok(await echoes(clients[0]!));
    for (const { socket } of clients) socket.destroy();
    for (const { attempts, backend, status } of await balancer.records(20)) {
      assert.deepEqual({ attempts, backend, status }, { attempts: 2, backend: willing.address, status: 200 });
    }
    const [first, second] = balancer.tidegate.status().backends;
    assert.deepEqual([first!.failures, first!.connects, first!.active], [20, 0, 0]);
    assert.deepEqual([second!.failures, second!.connects, second!.active], [0, 20, 0]);
  },
);

testEveryEngine('a backend that hangs is passed over when connect_timeout has passed', async (engine, context) => {
  const hanging = await hangingBackend(context);
  const willing = await startBackend(context, echo);
  const backends = [hanging.address, willing.address];
  const balancer = await startBalancer(context, { engine, backends, dialTimeout: '300ms' });
  const [clientId] = clientIdsOf(hanging.address, backends, 1);
  const client = await connectClient(balancer.port, { clientId });
  assert.deepEqual(client.connack, CONNACK);
  assert.ok(client.tookMs > 250 && client.tookMs < 300 + PATIENCE_MS, `${client.tookMs} ms`);
  client.socket.destroy();
  assert.equal((await balancer.records(1))[0]!.attempts, 2);
});

testEveryEngine(
  'bytes that a client sent behind its CONNECT reach the candidate that takes it, once',
  async (engine, context) => {
    const refusing = refusingBackend(context);
    const willing = await startBackend(context, echo);
    const backends = [refusing.address, willing.address];
    const balancer = await startBalancer(context, { engine, backends });
    const [clientId] = clientIdsOf(refusing.address, backends, 1);
    const client = connect({ port: balancer.port, host: '127.0.0.1' });
    client.write(Buffer.concat([connectPacket({ clientId }), Buffer.from('published early')]));
    let received = Buffer.alloc(0);
    for await (const bytes of client) {
      received = Buffer.concat([received, bytes]);
      if (received.length >= 19) break;
    }
    assert.deepEqual(received, Buffer.concat([CONNACK, Buffer.from('published early')]));
  },
);

for (const [version, code] of [
  [3, SERVER_UNAVAILABLE],
  [4, SERVER_UNAVAILABLE],
  [5, SERVER_UNAVAILABLE_5],
] as const) {
  testEveryEngine(
    `when no candidate is left a version ${version} client is told so, and the log says 502`,
    async (engine, context) => {
      const one = refusingBackend(context);
      const other = refusingBackend(context);
      const balancer = await startBalancer(context, { engine, backends: [one.address, other.address] });
      const client = await connectClient(balancer.port, { clientId: 'device', version });
      assert.deepEqual(client.connack, refusalPacket(version, code));
      assert.equal((await nextBytes(client.socket)).length, 0, 'and then closed');
      const [record] = await balancer.records(1);
      assert.equal(record!.status, 502);
      assert.equal(record!.reason, 'no_backend');
      assert.equal(record!.attempts, 2);
      assert.equal(record!.client_id, 'device');
      assert.equal(balancer.tidegate.status().counters.no_backend, 1);
    },
  );
}

testEveryEngine(
  'when every candidate hangs the client waits for each timeout once, then is refused',
  async (engine, context) => {
    const one = await hangingBackend(context);
    const other = await hangingBackend(context);
    const balancer = await startBalancer(context, {
      engine,
      dialTimeout: '200ms',
      backends: [one.address, other.address],
    });
    const client = await connectClient(balancer.port);
    assert.deepEqual(client.connack, refusalPacket(4, SERVER_UNAVAILABLE));
    assert.ok(client.tookMs > 350 && client.tookMs < 400 + PATIENCE_MS, `${client.tookMs} ms`);
  },
);

testEveryEngine(
  'after max_fails failures a backend is left alone for fail_timeout, then tried again',
  async (engine, context) => {
    const refusing = refusingBackend(context);
    const gone = refusing.address;
    const willing = await startBackend(context, echo);
    const backends = [gone, willing.address];
    const balancer = await startBalancer(context, {
      engine,
      backends: backends.map((address) => ({ address, max_fails: 2, fail_timeout: '1s' })),
    });
    const [first, second, third, fourth, fifth] = clientIdsOf(gone, backends, 5);
    const visit = async (clientId: string | undefined) => {
      const { socket, connack } = await connectClient(balancer.port, { clientId });
      assert.deepEqual(connack, CONNACK);
      socket.destroy();
      await once(socket, 'close');
    };
    await visit(first);
    await sleep(60);
    assert.equal(healthOf(balancer, gone), 'up', 'one failure is not two');
    await visit(second);
    await untilHealth(balancer, gone, 'suspect');
    await visit(third);
    await untilHealth(balancer, gone, 'up');
    await visit(fourth);
    await untilHealth(balancer, gone, 'suspect');
    refusing.free();
    const returned = await startBackend(context, echo, { port: refusing.port });
    await untilHealth(balancer, gone, 'up');
    await visit(fifth);
    assert.equal(returned.connections, 1);
    const byClient = new Map(
      (await balancer.records(5)).map(({ client_id, attempts, backend }) => [client_id, [attempts, backend]]),
    );
    assert.deepEqual(byClient.get(first!), [2, willing.address]);
    assert.deepEqual(byClient.get(second!), [2, willing.address]);
    assert.deepEqual(byClient.get(third!), [1, willing.address], 'a suspect is not dialled while another is left');
    assert.deepEqual(byClient.get(fourth!), [2, willing.address], 'after fail_timeout the next client is the probe');
    assert.deepEqual(byClient.get(fifth!), [1, gone]);
    assert.ok(balancer.messages.some((message) => message.includes(`${gone} is passed over: 2 connects failed`)));
  },
);

testEveryEngine(
  'a suspect is tried all the same when nobody else is left, and cleared when it answers',
  async (engine, context) => {
    const refusing = refusingBackend(context);
    const { address } = refusing;
    const balancer = await startBalancer(context, { engine, backends: [{ address, fail_timeout: '60s' }] });
    const refused = await connectClient(balancer.port);
    assert.deepEqual(refused.connack, refusalPacket(4, SERVER_UNAVAILABLE));
    await untilHealth(balancer, address, 'suspect');
    refusing.free();
    await startBackend(context, echo, { port: refusing.port });
    const served = await connectClient(balancer.port);
    assert.deepEqual(served.connack, CONNACK);
    served.socket.destroy();
    await untilHealth(balancer, address, 'up');
  },
);

testEveryEngine(
  "sessions on healthy backends don't notice that another one goes and comes back",
  async (engine, context) => {
    const healthy = await startBackend(context, echo);
    const failing = await startBackend(context, echo);
    const backends = [healthy.address, failing.address];
    const balancer = await startBalancer(context, {
      engine,
      backends: backends.map((address) => ({ address, fail_timeout: '200ms' })),
    });
    const sessions = await Promise.all(
      clientIdsOf(healthy.address, backends, 5).map((clientId) => connectClient(balancer.port, { clientId })),
    );
    const [orphan] = clientIdsOf(failing.address, backends, 1);
    const lost = await connectClient(balancer.port, { clientId: orphan });
    await failing.stop();
    assert.equal((await nextBytes(lost.socket)).length, 0, 'its own sessions end');
    const moved = await connectClient(balancer.port, { clientId: orphan });
    assert.ok(await echoes(moved), 'its clients are served elsewhere');
    await startBackend(context, echo, { port: Number(failing.address.split(':')[1]) });
    await untilHealth(balancer, failing.address, 'up');
    for (const session of [...sessions, moved]) assert.ok(await echoes(session));
    for (const { socket } of [...sessions, moved]) socket.destroy();
  },
);
