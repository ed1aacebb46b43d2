// Which connections exist, as the admin API tells it while they live.
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { type ConnectionsDocument, connectionsSchema } from '../../src/admin/routes/connections.ts';
import { type Administered, JSON_TYPE, startAdministered } from '../tools/administered.ts';
import { echo, startBackend } from '../tools/backends.ts';
import { connectClient, echoes } from '../tools/client.ts';
import { testEveryEngine } from '../tools/engines.ts';
import { connectPacket } from '../tools/packets.ts';
import { PATIENCE_MS } from '../tools/patience.ts';
import { waitFor } from '../tools/wait.ts';

const PATH = '/api/v1/connections';

async function connectionsOf(balancer: Administered, query = ''): Promise<ConnectionsDocument> {
  const { status, text } = await balancer.ask(`${PATH}${query}`);
  assert.equal(status, 200, text);
  return connectionsSchema.parse(JSON.parse(text));
}

testEveryEngine('who is connected can be seen and searched for', async (engine, context) => {
  const [first, second] = [await startBackend(context, echo), await startBackend(context, echo)];
  const backends = [first.address, second.address];
  const balancer = await startAdministered(context, { engine, workers: 2, backends });
  const began = Date.now();
  const long = `a ClientId of more than one chunk: ${'x'.repeat(200)}`;
  const clients = await Promise.all(
    Array.from({ length: 20 }, (_, index) =>
      connectClient(balancer.port, {
        clientId: index === 0 ? long : `device-${index}`,
        version: index % 2 === 0 ? 5 : 4,
      }),
    ),
  );
  const { matched, searched, connections } = await connectionsOf(balancer);
  assert.deepEqual([matched, searched, connections.length], [20, 20, 20]);
  for (const address of backends) {
    const { matched } = await connectionsOf(balancer, `?backend=${encodeURIComponent(address)}`);
    assert.equal(matched, connections.filter(({ backend }) => backend === address).length);
  }
  assert.equal((await connectionsOf(balancer, '?client_id=device-1')).matched, 11);
  assert.equal((await connectionsOf(balancer, '?client_id=device-1&limit=3')).connections.length, 3);
  assert.equal((await connectionsOf(balancer, '?pool=brokers&address=127.0.0.1')).matched, 20);
  assert.equal((await connectionsOf(balancer, '?address=127.0.0.2')).matched, 0);

  const talker = clients[0]!;
  await sleep(200);
  assert.ok(await echoes(talker, 'x'.repeat(1000)));
  // What the client has heard already is counted when the worker hears that it was sent.
  const found = await waitFor('bytes that are counted', async () => {
    const prefix = encodeURIComponent(long.slice(0, 100));
    const [one] = (await connectionsOf(balancer, `?client_id=${prefix}`)).connections;
    return one!.bytes_to_client >= 1000 && one;
  });
  const { client_id, pool, listener, remote_addr, remote_port, protocol, state, keep_alive } = found!;
  assert.deepEqual(
    [client_id, pool, listener, remote_addr, protocol, state, keep_alive],
    [long, 'brokers', 'mqtt', '127.0.0.1', 'MQTT/5.0', 'open', 60],
  );
  assert.equal(remote_port, talker.socket.localPort);
  assert.ok(backends.includes(found!.backend!));
  assert.ok(Math.abs(Date.parse(found!.opened_at) - began) < PATIENCE_MS, found!.opened_at);
  assert.ok(found!.idle_seconds < 60, `${found!.idle_seconds} s`);
  assert.ok(found!.bytes_from_client > 1200, JSON.stringify(found));
  for (const { socket } of clients) socket.destroy();
  await balancer.idle();
  assert.equal((await connectionsOf(balancer)).searched, 0);
});

testEveryEngine('a client that has not said who it is is seen too', async (engine, context) => {
  const backend = await startBackend(context, echo);
  const balancer = await startAdministered(context, { engine, backends: [backend.address] });
  const socket = balancer.connect().on('error', () => {});
  socket.write(connectPacket().subarray(0, 5));
  await sleep(100);
  const { matched, connections } = await connectionsOf(balancer, '?pool=brokers');
  assert.equal(matched, 1);
  const { state, backend: chosen, client_id, protocol } = connections[0]!;
  assert.deepEqual([state, chosen, client_id, protocol], ['reading', null, '', null]);
  socket.destroy();
});

testEveryEngine('what can not be asked for is refused', async (engine, context) => {
  const balancer = await startAdministered(context, { engine });
  for (const [query, status] of [
    ['?limit=0', 400],
    ['?limit=1001', 400],
    ['?limit=x', 400],
    ['?limit=1&limit=2', 400],
    ['?address=localhost', 400],
    ['?name=x', 400],
    ['?pool=others', 404],
    ['?backend=127.0.0.1:2', 404],
  ] as const) {
    assert.equal((await balancer.ask(`${PATH}${query}`)).status, status, query);
  }
  for (const id of ['0.0.0.0', '7.0.0.0', 'x', '0.0.999999999.0', '0.0.0']) {
    const { status } = await balancer.ask(`${PATH}/${id}`, { method: 'DELETE', headers: JSON_TYPE });
    assert.equal(status, 404, id);
  }
});
