// Which addresses backends are dialled from.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import type { TestContext } from 'node:test';
import { TidegateError } from '../../src/index.ts';
import { echo, hello, startBackend } from '../tools/backends.ts';
import { startBalancer } from '../tools/balancer.ts';
import { connectClient, echoes } from '../tools/client.ts';
import { testEveryEngine } from '../tools/engines.ts';
import { connackPacket } from '../tools/packets.ts';
import { requires } from '../tools/requirements.ts';

const SOURCES = ['127.0.0.11', '127.0.0.12', '127.0.0.13', '127.0.0.14'];
const NOT_OURS = '192.0.2.1'; // set aside for documents

/** A backend that notes where its connections come from. */
async function startWitness(context: TestContext) {
  const origins: string[] = [];
  const note = (socket: Socket) => {
    origins.push(socket.remoteAddress ?? '');
    return hello(socket);
  };
  const backend = await startBackend(context, note);
  return { ...backend, countFrom: (source: string) => origins.filter((origin) => origin === source).length };
}

testEveryEngine('connections are spread evenly over the sources, for each backend', async (engine, context) => {
  const backends = [await startWitness(context), await startWitness(context)];
  const balancer = await startBalancer(context, {
    engine,
    backends: backends.map(({ address }) => address),
    method: 'round_robin',
    sourceAddresses: SOURCES,
  });
  const clients = await Promise.all(Array.from({ length: 80 }, () => connectClient(balancer.port)));
  for (const { countFrom } of backends) assert.deepEqual(SOURCES.map(countFrom), [10, 10, 10, 10]);
  for (const { sources } of balancer.tidegate.status().backends) {
    assert.deepEqual(
      sources.map(({ address, active, exhausted }) => [address, active, exhausted]),
      SOURCES.map((source) => [source, 10, 0]),
    );
    assert.equal(new Set(sources.map(({ active, free }) => active + free)).size, 1, 'each has as many ports');
    assert.ok(sources[0]!.free > 100);
  }
  for (const { socket } of clients) socket.destroy();
  await balancer.idle();
  for (const { sources } of balancer.tidegate.status().backends) {
    assert.deepEqual(new Set(sources.map(({ active }) => active)), new Set([0]));
  }
});

testEveryEngine('each worker takes the sources in turn', async (engine, context) => {
  const backend = await startWitness(context);
  const balancer = await startBalancer(context, {
    engine,
    workers: 2,
    backends: [backend.address],
    sourceAddresses: SOURCES,
  });
  const clients = await Promise.all(Array.from({ length: 200 }, () => connectClient(balancer.port)));
  const counts = SOURCES.map(backend.countFrom);
  assert.ok(Math.max(...counts) - Math.min(...counts) <= 2, `${counts}`);
  for (const { socket } of clients) socket.destroy();
});

testEveryEngine('bytes pass as ever, and the log names the backend', async (engine, context) => {
  const backend = await startBackend(context, echo);
  const balancer = await startBalancer(context, { engine, backends: [backend.address], sourceAddresses: SOURCES });
  const client = await connectClient(balancer.port);
  assert.deepEqual(client.connack, connackPacket(4));
  assert.ok(await echoes(client, 'x'.repeat(1000)));
  client.socket.destroy();
  const [record] = await balancer.records(1);
  assert.deepEqual([record!.backend, record!.attempts, record!.status], [backend.address, 1, 200]);
});

testEveryEngine('IPv6 backends are dialled from IPv6 sources', async (engine, context) => {
  const probe = createServer();
  const error = await new Promise<Error | undefined>((resolve) => {
    probe.once('error', resolve).listen(0, '::1', () => resolve(undefined));
  });
  if (!requires(context, error && 'this machine has no IPv6')) return;
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, 'close');
  const backend = await startBackend(context, echo, { host: '::1', port });
  const balancer = await startBalancer(context, { engine, backends: [backend.address], sourceAddresses: ['::1'] });
  const client = await connectClient(balancer.port);
  assert.deepEqual(client.connack, connackPacket(4));
  assert.equal(balancer.tidegate.status().backends[0]!.sources[0]!.active, 1);
  client.socket.destroy();
});

testEveryEngine('a backend that is a name is looked up in the family of the sources', async (engine, context) => {
  const backend = await startBackend(context, echo);
  const { port } = new URL(`tcp://${backend.address}`);
  const backends = [`localhost:${port}`];
  const balancer = await startBalancer(context, { engine, backends, sourceAddresses: ['127.0.0.11'] });
  const client = await connectClient(balancer.port);
  assert.deepEqual(client.connack, connackPacket(4));
  client.socket.destroy();
});

testEveryEngine('a source that this machine has not ends the start, and says so', async (engine, context) => {
  const sourceAddresses = ['127.0.0.11', NOT_OURS];
  const failure = await startBalancer(context, { engine, backends: ['127.0.0.1:1'], sourceAddresses }).catch(
    (error) => error,
  );
  assert.ok(failure instanceof TidegateError);
  assert.deepEqual([failure.code, failure.exitCode], ['EADDRNOTAVAIL', 2]);
  assert.equal(
    failure.message,
    `cannot connect from ${NOT_OURS} (source_addresses of pool brokers): this machine has no such address; ` +
      'add it (ip address add) or choose one that `ip address` shows',
  );
});
