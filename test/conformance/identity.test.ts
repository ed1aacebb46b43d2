// A listener's rules on every engine: who is refused and how, and what the brokers are told instead.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import type { TestContext } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { generate, type IConnectPacket } from 'mqtt-packet';
import { type IdentityDocument, loadIdentityDocuments } from '../documents/identity/load.ts';
import { hello, startBackend } from '../tools/backends.ts';
import { startBalancer } from '../tools/balancer.ts';
import { startAuthority } from '../tools/certificates.ts';
import { testEveryEngine } from '../tools/engines.ts';
import { exchange } from '../tools/exchange.ts';
import { startMosquitto } from '../tools/mosquitto.ts';
import { connackPacket, connectPacket, firstPacket, PINGREQ, refusalPacket } from '../tools/packets.ts';
import { inParallel, range } from '../tools/parallel.ts';
import { startReloadable } from '../tools/reloadable.ts';
import { startScriptBackend } from '../tools/script-backend.ts';
import { waitFor } from '../tools/wait.ts';

const CONNACK = connackPacket(4);
/** Between two pieces, so that they are read one by one. */
const GAP_MS = 2;
const BYTE_BY_BYTE_MAX = 200;
/** Other addresses than this can't be had here. */
const LOOPBACK = '127.0.0.1';

const documents = loadIdentityDocuments().filter(({ from }) => from === LOOPBACK);
const limits = [...new Set(documents.map(({ connectMaxBytes }) => connectMaxBytes))];

testEveryEngine(
  'treats clients as the documents about identity say, whole and byte by byte',
  async (engine, context) => {
    const backend = await startScriptBackend(context);
    for (const connectMaxBytes of limits) {
      const ours = documents.filter((document) => document.connectMaxBytes === connectMaxBytes);
      const listeners = ours.map(({ rules }, index) => ({ name: `listener-${index}`, bind: '127.0.0.1:0', ...rules }));
      const pools = { mirrors: { backends: [backend.mirror] } };
      const balancer = await startReloadable(
        context,
        { engine },
        { listeners, pools, connect_max_bytes: connectMaxBytes },
      );
      await inParallel(ours.length, ours.keys(), async (index) => {
        const document = ours[index]!;
        const port = balancer.portOf(`listener-${index}`);
        await checkDocument(port, document, [document.bytes]);
        const isLong = document.bytes.length > BYTE_BY_BYTE_MAX;
        const cut = [document.bytes.subarray(0, 20), document.bytes.subarray(20)];
        await checkDocument(port, document, isLong ? cut : Array.from(document.bytes, (byte) => Buffer.of(byte)));
      });
      await balancer.stop();
    }
  },
);

async function checkDocument(port: number, { expected, place }: IdentityDocument, pieces: Buffer[]): Promise<void> {
  const client = connect({ port, host: LOOPBACK, allowHalfOpen: true, noDelay: true });
  const gapMs = pieces.length > 1 ? GAP_MS : 0;
  const wanted = expected.is === 'refused' ? expected.answer : expected.bytes;
  const { bytes } = await exchange(client, pieces, { gapMs, replyBytes: wanted.length || undefined });
  assert.equal(bytes.toString('hex'), wanted.toString('hex'), `${place} in ${pieces.length} pieces`);
}

const will = { topic: 'wills/dev', payload: Buffer.from('gone'), qos: 1 as const, retain: false };
const visits: IConnectPacket[] = [
  { cmd: 'connect', protocolId: 'MQIsdp', protocolVersion: 3, clientId: 'dev-3', clean: true, keepalive: 60, will },
  { cmd: 'connect', protocolId: 'MQTT', protocolVersion: 4, clientId: 'dev-4', clean: false, keepalive: 60, will },
  {
    cmd: 'connect',
    protocolId: 'MQTT',
    protocolVersion: 5,
    clientId: 'dev-5',
    clean: false,
    keepalive: 60,
    username: 'somebody',
    password: Buffer.from('wrong'),
    properties: { sessionExpiryInterval: 30, userProperties: { fleet: 'north' } },
    will: { ...will, properties: { willDelayInterval: 0, contentType: 'text/plain' } },
  },
];

testEveryEngine(
  'brings clients to a broker that asks for credentials which they don’t have',
  async (engine, context) => {
    const broker = await startMosquitto(context, { user: { name: 'gateway', password: 'sesame-4711' } });
    if (broker === undefined) return;
    const rewrite = { client_id: 'north:${client_id}', username: 'gateway', password: 'sesame-4711' };
    const balancer = await startBalancer(context, {
      engine,
      backends: [broker.address],
      listener: { identity: { rewrite } },
    });
    const heard = await listenForWills(context, broker.port);
    for (const visit of visits) {
      const client = balancer.connect();
      client.on('error', () => {});
      client.write(Buffer.concat([generate(visit), PINGREQ]));
      const connack = await firstPacket(client);
      assert.equal(connack?.[3], 0, `${visit.protocolVersion}: ${connack?.toString('hex')}`);
      const pingresp = firstPacket(client);
      client.resume();
      assert.deepEqual(await pingresp, Buffer.from([0xd0, 0]), 'what came behind the CONNECT is answered');
      client.destroy();
    }
    const records = await balancer.records(visits.length);
    assert.deepEqual(
      records.map(({ client_id }) => client_id),
      ['north:dev-3', 'north:dev-4', 'north:dev-5'],
    );
    await waitFor('their wills', () => heard().split('wills/devgone').length > visits.length);
    const log = broker.log().join('\n');
    for (const { client_id: clientId } of records) assert.match(log, new RegExp(`as ${clientId} .*u'gateway'`));
    const told = JSON.stringify([balancer.messages, records, balancer.tidegate.status()]);
    assert.doesNotMatch(told, /sesame|wrong/);
  },
);

/** At the broker itself. Returns what it has told so far. */
async function listenForWills(context: TestContext, port: number): Promise<() => string> {
  const listener = connect({ port, host: LOOPBACK });
  context.after(() => listener.destroy());
  let heard = '';
  listener.on('data', (bytes: Buffer) => {
    heard += bytes.toString('latin1');
  });
  const credentials = { username: 'gateway', password: Buffer.from('sesame-4711') };
  listener.write(generate({ cmd: 'connect', clientId: 'listener', clean: true, keepalive: 60, ...credentials }));
  const subscriptions = [{ topic: 'wills/#', qos: 0 as const }];
  listener.write(generate({ cmd: 'subscribe', messageId: 1, subscriptions }));
  await waitFor('SUBACK', () => heard.includes('\x90\x03'));
  return () => heard;
}

testEveryEngine('lets the broker refuse credentials that it doesn’t know', async (engine, context) => {
  const broker = await startMosquitto(context, { user: { name: 'gateway', password: 'sesame' } });
  if (broker === undefined) return;
  const identity = { rewrite: { username: 'gateway', password: 'open' } };
  const balancer = await startBalancer(context, { engine, backends: [broker.address], listener: { identity } });
  const { bytes } = await exchange(balancer.connect(), [connectPacket()]);
  assert.deepEqual(bytes, refusalPacket(4, 5));
});

testEveryEngine('brings a client to the backend of the ClientId that the broker is told', async (engine, context) => {
  const backends = [
    await startBackend(context, hello),
    await startBackend(context, hello),
    await startBackend(context, hello),
  ];
  const listener = { identity: { rewrite: { client_id: '${username}' } } };
  const addresses = backends.map(({ address }) => address);
  const balancer = await startBalancer(context, { engine, backends: addresses, workers: 2, listener });
  const users = Array.from({ length: 12 }, (_, index) => `user-${index}`);
  await inParallel(8, range(120), async (visit) => {
    const options = { clientId: `device-${visit}`, username: users[visit % users.length]! };
    await exchange(balancer.connect(), [connectPacket(options)], { replyBytes: CONNACK.length });
  });
  const records = await balancer.records(120);
  for (const user of users) {
    const own = records.filter(({ client_id }) => client_id === user);
    assert.equal(own.length, 10, user);
    assert.equal(new Set(own.map(({ backend }) => backend)).size, 1, `${user} met more than one backend`);
  }
  assert.ok(new Set(records.map(({ backend }) => backend)).size > 1);
});

testEveryEngine('names clients of 3.1.1 that have no ClientId, each another name', async (engine, context) => {
  const backend = await startScriptBackend(context);
  const listener = { identity: { client_id: { empty: 'assign' } } };
  const balancer = await startBalancer(context, { engine, backends: [backend.mirror], workers: 2, listener });
  const packet = connectPacket({ clientId: '' });
  const named = packet.length + 23;
  await inParallel(10, range(100), async () => {
    await exchange(balancer.connect(), [packet], { replyBytes: named });
  });
  const records = await balancer.records(100);
  for (const { client_id } of records) assert.match(client_id, /^tidegate-[0-9a-f]{14}$/);
  assert.equal(new Set(records.map(({ client_id }) => client_id)).size, 100);
});

testEveryEngine('closes whoever comes from where nobody may, before it has said anything', async (engine, context) => {
  const backend = await startBackend(context, hello);
  const listener = { allow: ['127.0.0.0/16'], deny: ['127.0.0.3'] };
  const balancer = await startBalancer(context, { engine, backends: [backend.address], listener });
  for (const from of ['127.0.0.3', '127.1.0.1']) {
    assert.deepEqual((await exchange(balancer.connect(from), [])).bytes, Buffer.alloc(0));
  }
  const reply = await exchange(balancer.connect('127.0.0.2'), [connectPacket()], { replyBytes: CONNACK.length });
  assert.deepEqual(reply.bytes, CONNACK);
  const records = await balancer.records(3);
  const told = records.map(({ remote_addr, reason, status }) => [remote_addr, reason, status]);
  assert.deepEqual(told.slice(0, 2), [
    ['127.0.0.3', 'address_denied', 403],
    ['127.1.0.1', 'address_denied', 403],
  ]);
  assert.equal(told[2]?.[0], '127.0.0.2');
  assert.equal(balancer.tidegate.status().counters.address_denied, 2);
  assert.equal(backend.connections, 1);
  await balancer.idle();
});

testEveryEngine('knows addresses of IPv6', async (engine, context) => {
  const backend = await startBackend(context, hello);
  const listener = { deny: ['::1'] };
  const balancer = await startBalancer(context, { engine, backends: [backend.address], bind: '[::1]:0', listener });
  assert.deepEqual((await exchange(balancer.connect(), [connectPacket()])).bytes, Buffer.alloc(0));
  assert.equal((await balancer.records(1))[0]?.reason, 'address_denied');
});

testEveryEngine(
  'obeys other rules as soon as they are read, and leaves alone who is there',
  async (engine, context) => {
    const backend = await startBackend(context, hello);
    const settings = (rules: object) => {
      return {
        listeners: [{ name: 'mqtt', bind: '127.0.0.1:0', ...rules }],
        pools: { brokers: { backends: [backend.address] } },
      };
    };
    const balancer = await startReloadable(context, { engine }, settings({}));
    const port = balancer.portOf('mqtt');
    const early = await visit(port);
    assert.deepEqual(early.answer, CONNACK);
    const changes = await balancer.reload(settings({ identity: { client_id: { deny: ['*'] } } }));
    assert.deepEqual(changes, ['listener mqtt: identity changed']);
    assert.deepEqual((await visit(port)).answer, refusalPacket(4, 2));
    await balancer.reload(settings({ deny: ['127.0.0.0/8'] }));
    assert.equal((await visit(port)).answer, undefined);
    await balancer.reload(settings({}));
    assert.deepEqual((await visit(port)).answer, CONNACK);
    assert.equal(early.socket.destroyed || early.socket.readableEnded, false);
  },
);

testEveryEngine(
  'wants clients to call themselves by their certificates, and tells the broker so',
  async (engine, context) => {
    const authority = startAuthority(context);
    if (authority === undefined) return;
    const backend = await startScriptBackend(context);
    const tls = { ...authority.issue('localhost', { hosts: ['localhost'] }), client_ca: authority.ca };
    const identity = {
      client_id: { pattern: ['${tls_client_cn}', '${tls_client_cn}/*'] },
      rewrite: { username: '${tls_client_cn}' },
    };
    const listener = { name: 'tls', bind: `${LOOPBACK}:0`, tls: { ...tls, verify_client: 'request' }, identity };
    const pools = { mirrors: { backends: [backend.mirror] } };
    const balancer = await startReloadable(context, { engine }, { listeners: [listener], pools });
    const device = authority.issue('device-7');
    const come = async (clientId: string, version: 4 | 5, certificate?: typeof device) => {
      const files = certificate && { cert: readFileSync(certificate.cert), key: readFileSync(certificate.key) };
      const ca = readFileSync(authority.ca);
      const client = connectTls({
        host: LOOPBACK,
        port: balancer.portOf('tls'),
        servername: 'localhost',
        ca,
        ...files,
      });
      client.on('error', () => {});
      client.write(connectPacket({ clientId, version }));
      const answer = await firstPacket(client);
      client.destroy();
      return answer?.toString('hex');
    };
    const told = (clientId: string) => connectPacket({ clientId, username: 'device-7' }).toString('hex');
    assert.equal(await come('device-7', 4, device), told('device-7'));
    assert.equal(await come('device-7/valve', 4, device), told('device-7/valve'));
    assert.equal(await come('device-8', 4, device), refusalPacket(4, 5).toString('hex'));
    assert.equal(await come('device-70', 5, device), refusalPacket(5, 0x87).toString('hex'));
    assert.equal(await come('device-7', 4), refusalPacket(4, 5).toString('hex'), 'without a certificate');
  },
);

async function visit(port: number): Promise<{ socket: Socket; answer: Buffer | undefined }> {
  const socket = connect({ port, host: LOOPBACK });
  socket.on('error', () => {});
  socket.write(connectPacket());
  return { socket, answer: await firstPacket(socket) };
}
