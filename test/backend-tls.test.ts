// TLS towards the brokers: real ones that speak it, with certificates that are good and others.
import assert from 'node:assert/strict';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { createServer as createTlsServer } from 'node:tls';
import { connectAsync } from 'mqtt';
import { loadConfig } from '../src/config.ts';
import { echo, startBackend } from './tools/backends.ts';
import { type Authority, type Issue, replace, startAuthority } from './tools/certificates.ts';
import { connectClient, echoes } from './tools/client.ts';
import { testEveryEngine } from './tools/engines.ts';
import { startMosquitto } from './tools/mosquitto.ts';
import { makeFolder, type Reloadable, startReloadable } from './tools/reloadable.ts';
import { waitFor } from './tools/wait.ts';

const HOST = '127.0.0.1';
const OTHER = '127.0.0.2';
const REFUSED = '20020003';
const ACCEPTED = '20020000';
const listeners = [{ name: 'mqtt', bind: `${HOST}:0` }];

interface Broker {
  authority: Authority;
  port: number;
  log(): string[];
}

/** mosquitto with a certificate of an authority of its own. */
async function startBroker(context: TestContext, issue: Issue, asksClients = false): Promise<Broker | undefined> {
  const authority = startAuthority(context);
  if (authority === undefined) return undefined;
  const certificate = authority.issue('broker', issue);
  const tls = { ...certificate, ...(asksClients ? { clientCa: authority.ca } : {}) };
  const broker = await startMosquitto(context, { tls });
  return broker && { authority, port: broker.port, log: broker.log };
}

const connackOf = async ({ portOf }: Reloadable) => (await connectClient(portOf('mqtt'))).connack.toString('hex');

testEveryEngine('clients and probes reach a broker that speaks TLS, which is verified', async (engine, context) => {
  const broker = await startBroker(context, { hosts: ['localhost'] });
  if (broker === undefined) return;
  const backends = [`localhost:${broker.port}`];
  const health = { type: 'mqtt', interval: '200ms', initial: 'down', rise: 1 };
  const tls = { ca: broker.authority.ca };
  const balancer = await startReloadable(
    context,
    { engine },
    { listeners, pools: { brokers: { backends, tls, health } } },
  );
  const { tidegate } = balancer;
  assert.deepEqual(new Set(tidegate.status().workers.map((worker) => worker.engine)), new Set([engine, 'portable']));
  await waitFor('probe that passes', () => tidegate.status().backends[0]!.health === 'up');
  const url = `mqtt://${HOST}:${balancer.portOf('mqtt')}`;
  for (const version of [4, 5] as const) {
    const client = await connectAsync(url, { clientId: `device-${version}`, protocolVersion: version });
    await client.subscribeAsync('echo', { qos: 1 });
    const payload = Buffer.from(Array.from({ length: 300_000 }, (_, index) => (index * 31) & 255));
    const heard = new Promise<Buffer>((resolve) => client.on('message', (_topic, bytes) => resolve(bytes)));
    await client.publishAsync('echo', payload, { qos: 1 });
    assert.ok((await heard).equals(payload));
    await client.endAsync();
  }
  const lines = await balancer.lines(2);
  // Behind a DISCONNECT the one or the other closes first.
  for (const line of lines) assert.match(line, / 200 .* reason=(client|backend)_closed /);
});

testEveryEngine(
  'a broker that can not be verified counts as failing, and the log says why, once',
  async (engine, context) => {
    const strangers = startAuthority(context);
    if (strangers === undefined) return;
    const cases: [issue: Issue, ca: 'own' | 'foreign', fault: string][] = [
      [{ hosts: ['localhost'] }, 'foreign', 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'],
      [{ hosts: ['other.example.net'] }, 'own', 'ERR_TLS_CERT_ALTNAME_INVALID'],
      [{ hosts: ['localhost'], isExpired: true }, 'own', 'CERT_HAS_EXPIRED'],
    ];
    for (const [issue, whose, fault] of cases) {
      const broker = await startBroker(context, issue);
      if (broker === undefined) return;
      const tls = { ca: whose === 'own' ? broker.authority.ca : strangers.ca };
      const pool = { backends: [`localhost:${broker.port}`], tls };
      const balancer = await startReloadable(context, { engine }, { listeners, pools: { brokers: pool } });
      const said = () => balancer.messages.filter((line) => line.includes('TLS failed'));
      assert.equal(await connackOf(balancer), REFUSED);
      assert.equal(await connackOf(balancer), REFUSED);
      await waitFor('line of the log', () => said().length > 0);
      assert.deepEqual(said(), [`backend localhost:${broker.port} of pool brokers: TLS failed: ${fault}`]);
      await waitFor('suspicion', () => balancer.tidegate.status().backends[0]!.health === 'suspect');
      assert.ok(broker.log().every((line) => !line.includes('New client')));
      const health = { type: 'mqtt', interval: '200ms', fall: 1 };
      await balancer.reload({ listeners, pools: { brokers: { ...pool, health } } });
      await waitFor('probe that fails', () => balancer.tidegate.status().backends[0]!.health === 'down');
      assert.equal(balancer.tidegate.status().backends[0]!.probe!.reason, `TLS failed: ${fault}`);
      await balancer.stop();
    }
  },
);

test('with verify: false any broker will do, and the log warns', async (context) => {
  const broker = await startBroker(context, { hosts: ['other.example.net'], isExpired: true });
  if (broker === undefined) return;
  const pool = { backends: [`localhost:${broker.port}`], tls: { verify: false } };
  const balancer = await startReloadable(context, { engine: 'portable' }, { listeners, pools: { brokers: pool } });
  assert.ok(balancer.messages.includes('pool brokers: tls.verify is false: nobody checks who its backends are'));
  assert.equal(await connackOf(balancer), ACCEPTED);
});

test('a broker is asked for, and known, by its server_name, or by the address that it has', async (context) => {
  const broker = await startBroker(context, { hosts: ['mqtt.example.net'], names: [`IP:${HOST}`] });
  if (broker === undefined) return;
  const pool = {
    backends: [`localhost:${broker.port}`],
    tls: { ca: broker.authority.ca, server_name: 'mqtt.example.net' },
  };
  const balancer = await startReloadable(context, { engine: 'portable' }, { listeners, pools: { brokers: pool } });
  assert.equal(await connackOf(balancer), ACCEPTED);
  const { ca } = broker.authority;
  const source_addresses = [OTHER];
  await balancer.reload({ listeners, pools: { brokers: { ...pool, source_addresses } } });
  assert.equal(await connackOf(balancer), ACCEPTED);
  await waitFor('source address', () => broker.log().some((line) => line.includes(`from ${OTHER}`)));
  await balancer.reload({ listeners, pools: { brokers: { backends: [`${HOST}:${broker.port}`], tls: { ca } } } });
  assert.equal(await connackOf(balancer), ACCEPTED);
});

test('a broker that asks for a certificate gets it, also when its files are exchanged', async (context) => {
  const broker = await startBroker(context, { hosts: ['localhost'] }, true);
  const strangers = startAuthority(context);
  if (broker === undefined || strangers === undefined) return;
  const { authority } = broker;
  const own = authority.issue('tidegate');
  const good = { cert: readFileSync(own.cert), key: readFileSync(own.key) };
  const foreign = strangers.issue('tidegate');
  replace(own, foreign);
  const health = { type: 'mqtt', interval: '200ms', rise: 1, fall: 1 };
  const pool = { backends: [`localhost:${broker.port}`], tls: { ca: authority.ca, ...own }, health };
  const balancer = await startReloadable(context, { engine: 'portable' }, { listeners, pools: { brokers: pool } });
  const health_ = () => balancer.tidegate.status().backends[0]!.health;
  await waitFor('refusal', () => health_() === 'down');
  for (const part of ['cert', 'key'] as const) {
    writeFileSync(`${own[part]}.next`, good[part]);
    renameSync(`${own[part]}.next`, own[part]);
  }
  await waitFor('acceptance', () => health_() === 'up');
  assert.equal(await connackOf(balancer), ACCEPTED);
});

testEveryEngine('the PROXY header comes before the handshake, once', async (engine, context) => {
  const authority = startAuthority(context);
  if (authority === undefined) return;
  const { cert, key } = authority.issue('localhost', { hosts: ['localhost'] });
  const heads: string[] = [];
  const tlsServer = createTlsServer({ cert: readFileSync(cert), key: readFileSync(key) }, echo);
  const { createServer } = await import('node:net');
  const server = createServer((socket) => {
    socket
      .on('error', () => {})
      .once('data', (bytes: Buffer) => {
        const end = bytes.indexOf('\r\n') + 2;
        heads.push(bytes.subarray(0, end).toString());
        socket.pause();
        socket.unshift(bytes.subarray(end));
        tlsServer.emit('connection', socket);
      });
  }).listen(0, HOST);
  await new Promise((listening) => server.once('listening', listening));
  context.after(() => server.close());
  const { port } = server.address() as { port: number };
  const pool = { backends: [`localhost:${port}`], tls: { ca: authority.ca }, proxy_protocol: 'v1', health: 'tcp' };
  const balancer = await startReloadable(context, { engine }, { listeners, pools: { brokers: pool } });
  const client = await connectClient(balancer.portOf('mqtt'), { clientId: 'device' });
  assert.ok(await echoes(client));
  const own = `PROXY TCP4 ${HOST} ${HOST} ${client.socket.localPort} ${balancer.portOf('mqtt')}\r\n`;
  await waitFor('header', () => heads.includes(own));
  await waitFor('probe', () => heads.length > 1);
  for (const head of heads) assert.match(head, /^PROXY TCP4 127\.0\.0\.1 127\.0\.0\.1 \d+ \d+\r\n$/);
  client.socket.destroy();
});

testEveryEngine('a pool gets TLS by a reload, and loses it again, and nobody notices', async (engine, context) => {
  const broker = await startBroker(context, { hosts: ['localhost'] });
  const plain = await startMosquitto(context);
  if (broker === undefined || plain === undefined) return;
  const bind = `${HOST}:0`;
  const before = { listeners: [{ name: 'mqtt', bind }], pools: { brokers: { backends: [plain.address] } } };
  const balancer = await startReloadable(context, { engine }, before);
  const old = await connectAsync(`mqtt://${HOST}:${balancer.portOf('mqtt')}`, { clientId: 'old' });
  const pool = { backends: [`localhost:${broker.port}`], tls: { ca: broker.authority.ca } };
  await balancer.reload({ listeners: before.listeners, pools: { brokers: pool } });
  assert.equal(await connackOf(balancer), ACCEPTED);
  await balancer.reload(before);
  assert.equal(await connackOf(balancer), ACCEPTED);
  await old.publishAsync('still', 'here', { qos: 1 });
  await old.endAsync();
});

test('files of a pool that are no good are told at start, with their key and what is wrong', async (context) => {
  const authority = startAuthority(context);
  if (authority === undefined) return;
  const { cert } = authority.issue('one');
  const { key } = authority.issue('two');
  const path = join(await makeFolder(context), 'tidegate.yaml');
  const faultsOf = async (tls: object) => {
    const pools = { brokers: { backends: ['127.0.0.1:1'], tls } };
    writeFileSync(path, JSON.stringify({ listeners, pools }));
    const { message } = await loadConfig(path).then(
      () => assert.fail(),
      (error) => error,
    );
    return message.replace(/^.*?pools\.brokers\.tls\./gm, '');
  };
  assert.match(
    await faultsOf({ ca: '/nowhere.pem' }),
    /^ca: expected a PEM file with a certificate, found .* no such file$/,
  );
  assert.match(await faultsOf({ cert, key }), /^key: .* which doesn't belong to the certificate in \S+$/);
  assert.equal(await faultsOf({ cert }), "key: expected the path of the certificate's key, found nothing");
  assert.match(await faultsOf({ ca: cert, verify: false }), /^ca: expected only with verify: true/);
  assert.match(await faultsOf({ server_name: 'not a host' }), /^server_name: expected a host name/);
});

testEveryEngine(
  'one that refuses, or says nothing in the handshake, is passed over for the next',
  async (engine, context) => {
    const broker = await startBroker(context, { names: [`IP:${HOST}`] });
    if (broker === undefined) return;
    const silent = await startBackend(context, () => {});
    const plain = await startBackend(context, echo);
    const pool = {
      balance: { method: 'round_robin' },
      connect_timeout: '300ms',
      backends: ['127.0.0.1:1', silent.address, plain.address, `${HOST}:${broker.port}`],
      tls: { ca: broker.authority.ca },
      health: 'none',
    };
    const balancer = await startReloadable(context, { engine }, { listeners, pools: { brokers: pool } });
    for (let index = 0; index < 4; index++) assert.equal(await connackOf(balancer), ACCEPTED);
    assert.ok(silent.connections > 0);
    assert.match(balancer.messages.join('\n'), /TLS failed: ERR_SSL_/);
  },
);
