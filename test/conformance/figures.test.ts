// What is counted of MQTT while it happens: CONNECTs, answers, latencies, bytes.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { statusSchema } from '../../src/admin/status-document.ts';
import { type Administered, metricsOf, startAdministered } from '../tools/administered.ts';
import { type Behaviour, echo, hello, refusingBackend, startBackend } from '../tools/backends.ts';
import { connectClient, echoes } from '../tools/client.ts';
import { testEveryEngine } from '../tools/engines.ts';
import { exchange } from '../tools/exchange.ts';
import { connackPacket, connectPacket, firstPacket, levelOf, refusalPacket } from '../tools/packets.ts';
import { waitFor } from '../tools/wait.ts';

const NOT_AUTHORISED = 5;
const NOT_AUTHORISED_5 = 0x87;

/** Accepts device-0, refuses everybody else in the words of their version, after some time. */
const strict =
  (afterMs: number): Behaviour =>
  async (socket) => {
    const packet = await firstPacket(socket);
    if (packet === undefined) return;
    await sleep(afterMs);
    const level = levelOf(packet);
    const accepted = packet.includes('device-0');
    const code = level === 5 ? NOT_AUTHORISED_5 : NOT_AUTHORISED;
    socket.write(accepted ? connackPacket(level) : refusalPacket(level, code));
    if (!accepted) socket.end();
    socket.on('end', () => socket.end()).resume();
  };

const firstBackend = async (balancer: Administered) =>
  statusSchema.parse(await balancer.status()).pools[0]!.backends[0]!;

testEveryEngine('CONNECTs and their Keep Alives are counted when they come', async (engine, context) => {
  const backend = await startBackend(context, hello);
  const balancer = await startAdministered(context, { engine, backends: [backend.address] });
  const asked = [
    [3, 10],
    [4, 60],
    [4, 61],
    [5, 0],
  ] as const;
  const clients = await Promise.all(
    asked.map(([version, keepAlive]) => connectClient(balancer.port, { version, keepAlive })),
  );
  const unspoken = connectPacket();
  unspoken[unspoken.indexOf('MQTT') + 4] = 6;
  await exchange(balancer.connect(), [unspoken]);
  await exchange(balancer.connect(), [Buffer.from('GET / HTTP/1.1\r\n\r\n')]);
  const status = await balancer.status();
  const expected = { '3.1': 1, '3.1.1': 2, '5.0': 1, other: 1 };
  assert.deepEqual(status.connects_by_protocol, expected);
  assert.deepEqual(status.pools[0]!.connects_by_protocol, expected);
  const value = await metricsOf(balancer);
  for (const [protocol, count] of Object.entries(expected)) {
    assert.equal(value(`tidegate_connects_total{pool="brokers",protocol="${protocol}"}`), count);
  }
  const bounds = ['0', '10', '30', '60', '120', '+Inf'];
  assert.deepEqual(
    bounds.map((bound) => value(`tidegate_keep_alive_seconds_bucket{le="${bound}"}`)),
    [1, 2, 2, 3, 4, 4],
  );
  assert.equal(value('tidegate_keep_alive_seconds_sum'), 131);
  for (const { socket } of clients) socket.destroy();
});

testEveryEngine('answers of backends are counted by their code, and timed', async (engine, context) => {
  const answerMs = 60;
  const backend = await startBackend(context, strict(answerMs));
  const balancer = await startAdministered(context, { engine, backends: [backend.address] });
  assert.equal((await firstBackend(balancer)).connack_seconds, null);
  const clients = await Promise.all(
    ([3, 4, 5, 5] as const).map((version, index) =>
      connectClient(balancer.port, { version, clientId: `device-${index}` }),
    ),
  );
  const { connack, connect_seconds, connack_seconds } = await firstBackend(balancer);
  assert.deepEqual(connack, { 0: 1, [NOT_AUTHORISED]: 1, [NOT_AUTHORISED_5]: 2, other: 0 });
  assert.ok(connect_seconds!.p50 > 0 && connect_seconds!.p99 < 5, JSON.stringify(connect_seconds));
  assert.ok(connack_seconds!.p50 > (answerMs / 1000) * 0.8, JSON.stringify(connack_seconds));
  assert.ok(connack_seconds!.p50 <= connack_seconds!.p90 && connack_seconds!.p90 <= connack_seconds!.p99);
  const value = await metricsOf(balancer);
  const labels = `pool="brokers",backend="${backend.address}"`;
  assert.equal(value(`tidegate_backend_connacks_total{${labels},code="135"}`), 2);
  assert.equal(value(`tidegate_backend_connect_duration_seconds_count{${labels}}`), 4);
  assert.equal(value(`tidegate_backend_connack_duration_seconds_count{${labels}}`), 4);
  assert.equal(value(`tidegate_backend_connack_duration_seconds_bucket{${labels},le="0.032768"}`), 0);
  assert.ok(value(`tidegate_backend_connack_duration_seconds_sum{${labels}}`) >= (4 * answerMs * 0.95) / 1000);
  for (const { socket } of clients) socket.destroy();
});

testEveryEngine('an answer that is no CONNACK is counted as other', async (engine, context) => {
  const backend = await startBackend(context, (socket) => socket.once('data', () => socket.write('SSH-2.0-')));
  const balancer = await startAdministered(context, { engine, backends: [backend.address] });
  const { socket } = await connectClient(balancer.port);
  const { connack, connack_seconds } = await firstBackend(balancer);
  assert.deepEqual([connack, connack_seconds], [{ 0: 0, other: 1 }, null]);
  socket.destroy();
});

testEveryEngine('a backend that refuses connects is not timed', async (engine, context) => {
  const { address } = refusingBackend(context);
  const balancer = await startAdministered(context, { engine, backends: [address] });
  (await connectClient(balancer.port)).socket.destroy();
  const { connect_failures, connect_seconds } = await firstBackend(balancer);
  assert.deepEqual([connect_failures, connect_seconds], [1, null]);
});

testEveryEngine('bytes are counted while a session lives, and exact at its end', async (engine, context) => {
  const backend = await startBackend(context, echo);
  const balancer = await startAdministered(context, { engine, backends: [backend.address] });
  const connect = connectPacket();
  const client = await connectClient(balancer.port);
  const ping = 'x'.repeat(1000);
  for (let round = 0; round < 3; round++) assert.ok(await echoes(client, ping));
  const expected = [connect.length + 3 * ping.length, client.connack.length + 3 * ping.length];
  const counted = async () => {
    const { counters, pools } = await balancer.status();
    const { bytes_to_backend, bytes_from_backend } = pools[0]!.backends[0]!;
    assert.deepEqual([bytes_to_backend, bytes_from_backend], [counters.bytes_from_clients, counters.bytes_to_clients]);
    return [counters.bytes_from_clients, counters.bytes_to_clients];
  };
  await waitFor('bytes', async () => String(await counted()) === String(expected));
  client.socket.end();
  await once(client.socket.resume(), 'close');
  await balancer.idle();
  assert.deepEqual(await counted(), expected);
});

testEveryEngine('what a worker had counted stays when it dies', async (engine, context) => {
  const backend = await startBackend(context, echo);
  const balancer = await startAdministered(context, { engine, backends: [backend.address], mayDie: true });
  const client = await connectClient(balancer.port, { version: 5 });
  assert.ok(await echoes(client));
  // A send is counted when it is answered, which can be after the client has read it.
  const sent = client.connack.length + 'ping'.length;
  await waitFor('bytes', async () => (await firstBackend(balancer)).bytes_from_backend === sent);
  const before = await firstBackend(balancer);
  await balancer.tidegate.supervisor.terminate(0);
  await waitFor('worker', async () => (await balancer.status()).workers[0]!.restarts === 1);
  const after = await firstBackend(balancer);
  assert.deepEqual([after.connack, after.connack_seconds], [before.connack, before.connack_seconds]);
  assert.deepEqual(
    [after.bytes_to_backend, after.bytes_from_backend],
    [before.bytes_to_backend, before.bytes_from_backend],
  );
  const value = await metricsOf(balancer);
  assert.equal(value('tidegate_session_duration_seconds_count'), 1);
  assert.equal(value('tidegate_connects_total{pool="brokers",protocol="5.0"}'), 1);
});
