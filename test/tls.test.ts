// TLS listeners, as clients that no one here wrote see them: openssl, mosquitto's, MQTT.js. On both engines where who
// carries the listener makes a difference.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect as connectPlain } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { connect, type TLSSocket } from 'node:tls';
import { promisify } from 'node:util';
import { connectAsync } from 'mqtt';
import { loadConfig } from '../src/config.ts';
import type { EngineName } from '../src/index.ts';
import { echo, hello, startBackend } from './tools/backends.ts';
import { type Authority, type Issued, replace, startAuthority } from './tools/certificates.ts';
import { connectClient, echoes, nextBytes } from './tools/client.ts';
import { testEveryEngine } from './tools/engines.ts';
import { startMosquitto } from './tools/mosquitto.ts';
import { connectPacket } from './tools/packets.ts';
import { PATIENCE_MS } from './tools/patience.ts';
import { makeFolder, type Reloadable, startReloadable } from './tools/reloadable.ts';
import { requireProgram } from './tools/requirements.ts';
import { connectOver, handshake } from './tools/s-client.ts';
import { waitFor } from './tools/wait.ts';

const HOST = '127.0.0.1';

interface Scene extends Reloadable {
  authority: Authority;
  server: Issued;
  port: number;
}

interface SceneOptions {
  engine?: EngineName;
  workers?: number;
  /** Further keys of the listener's tls. */
  tls?: (authority: Authority) => object;
  /** Others beside the TLS listener. */
  listeners?: object[];
  backends?: string[];
  pool?: object;
  mayDie?: boolean;
}

async function setUp(context: TestContext, options: SceneOptions = {}): Promise<Scene | undefined> {
  const authority = startAuthority(context);
  if (authority === undefined) return undefined;
  const server = authority.issue('localhost', { hosts: ['localhost'], file: 'server' });
  const backends = options.backends ?? [(await startBackend(context, echo)).address];
  const { engine = 'portable', workers = 2, mayDie } = options;
  const balancer = await startReloadable(
    context,
    { engine, workers, mayDie },
    settingsOf(server, authority, backends, options),
  );
  return { ...balancer, authority, server, port: balancer.portOf('tls') };
}

function settingsOf(
  server: Issued,
  authority: Authority,
  backends: string[],
  { tls, listeners = [], pool }: SceneOptions,
) {
  const listener = { name: 'tls', bind: `${HOST}:0`, tls: { ...server, ...tls?.(authority) } };
  return { listeners: [listener, ...listeners], pools: { brokers: { backends, ...pool } } };
}

/** A device over TLS, that has its CONNACK. */
async function connectTls({ authority, port }: Scene, clientId: string, options: object = {}): Promise<TLSSocket> {
  const socket = connect({ host: HOST, port, ca: readFileSync(authority.ca), servername: 'localhost', ...options });
  socket.on('error', () => {});
  socket.write(connectPacket({ clientId }));
  assert.equal((await nextBytes(socket)).toString('hex'), '20020000');
  return socket;
}

const echoesOver = (socket: TLSSocket, text: string) => echoes({ socket, connack: Buffer.alloc(0), tookMs: 0 }, text);

const caOf = ({ authority }: Scene) => ['-CAfile', authority.ca];

testEveryEngine('the same ClientId comes to the same broker over TCP and over TLS', async (engine, context) => {
  const backends = await Promise.all([1, 2, 3].map(() => startBackend(context, hello)));
  const scene = await setUp(context, {
    engine,
    backends: backends.map(({ address }) => address),
    listeners: [{ name: 'plain', bind: `${HOST}:0` }],
  });
  if (scene === undefined) return;
  for (let index = 0; index < 12; index++) {
    const before = backends.map(({ connections }) => connections);
    const plain = await connectClient(scene.portOf('plain'), { clientId: `device-${index}` });
    const secured = await connectTls(scene, `device-${index}`);
    const gained = backends.map(({ connections }, each) => connections - before[each]!);
    assert.deepEqual(
      gained.filter((count) => count > 0),
      [2],
    );
    plain.socket.destroy();
    secured.destroy();
  }
});

testEveryEngine('bytes pass unchanged over TLS, and both ends may close first', async (engine, context) => {
  const scene = await setUp(context, { engine });
  if (scene === undefined) return;
  const socket = await connectTls(scene, 'device');
  const sent = Buffer.from(Array.from({ length: 400_000 }, (_, index) => (index * 7) % 251));
  const chunks: Buffer[] = [];
  socket.on('data', (chunk) => chunks.push(chunk));
  socket.end(sent);
  await once(socket.resume(), 'end');
  assert.ok(Buffer.concat(chunks).equals(sent));
  const [line] = await scene.lines(1);
  assert.match(line!, / 200 400020 400004 .* reason=client_closed /);
});

testEveryEngine('a TLS worker that dies is replaced, and the others serve on', async (engine, context) => {
  const scene = await setUp(context, { engine, mayDie: true, listeners: [{ name: 'plain', bind: `${HOST}:0` }] });
  if (scene === undefined) return;
  const { tidegate } = scene;
  const workers = tidegate.status().workers.map((worker) => worker.engine);
  assert.deepEqual(workers, engine === 'uring' ? ['uring', 'uring', 'portable', 'portable'] : ['portable', 'portable']);
  const plain = await connectClient(scene.portOf('plain'), { clientId: 'plain' });
  const secured = await Promise.all(Array.from({ length: 8 }, (_, index) => connectTls(scene, `device-${index}`)));
  const victim = workers.length - 1;
  const lost = tidegate.status().workers[victim]!.connections;
  await tidegate.supervisor.terminate(victim);
  await waitFor('worker that is back', () => tidegate.status().workers[victim]!.restarts === 1);
  await waitFor('worker that runs', () => tidegate.status().workers[victim]!.state === 'running');
  const alive = await Promise.all(secured.map((socket, index) => echoesOver(socket, `ping ${index}`)));
  const hasPlain = await echoes(plain);
  assert.equal([...alive, hasPlain].filter((each) => !each).length, lost);
  if (engine === 'uring') assert.ok(hasPlain);
  for (let index = 0; index < 8; index++) await connectTls(scene, `again-${index}`);
  assert.match((await scene.lines(lost)).join('\n'), /reason=worker_died/);
});

testEveryEngine(
  'a reload adds a TLS listener, and removes it again, and nobody else notices',
  async (engine, context) => {
    const authority = startAuthority(context);
    if (authority === undefined) return;
    const server = authority.issue('localhost', { hosts: ['localhost'], file: 'server' });
    const backend = await startBackend(context, echo);
    const plain = { name: 'plain', bind: `${HOST}:0` };
    const pools = { brokers: { backends: [backend.address] } };
    const balancer = await startReloadable(context, { engine }, { listeners: [plain], pools });
    assert.equal(balancer.tidegate.status().workers.length, 2);
    const old = await connectClient(balancer.portOf('plain'), { clientId: 'old' });
    const added = { name: 'tls', bind: `${HOST}:0`, tls: { ...server } };
    assert.deepEqual(await balancer.reload({ listeners: [plain, added], pools }), [
      `listener tls added on ${HOST}:0 to pool brokers`,
    ]);
    const scene = { ...balancer, authority, server, port: balancer.portOf('tls') };
    const secured = await connectTls(scene, 'device');
    assert.ok(await echoes(old));
    await balancer.reload({ listeners: [plain], pools });
    assert.ok(await echoesOver(secured, 'who is there stays'));
    assert.ok(await echoes(old));
    assert.equal((await connectClient(scene.port)).connack.length, 0);
  },
);

testEveryEngine('a listener goes from TCP to TLS and back by a reload, on its port', async (engine, context) => {
  const authority = startAuthority(context);
  if (authority === undefined) return;
  const server = authority.issue('localhost', { hosts: ['localhost'], file: 'server' });
  const backend = await startBackend(context, echo);
  const pools = { brokers: { backends: [backend.address] } };
  const balancer = await startReloadable(
    context,
    { engine },
    { listeners: [{ name: 'one', bind: `${HOST}:0` }], pools },
  );
  const port = balancer.portOf('one');
  const listener = { name: 'one', bind: `${HOST}:${port}` };
  await balancer.reload({ listeners: [listener], pools });
  const scene = { ...balancer, authority, server, port: balancer.portOf('one') };
  const old = await connectClient(scene.port, { clientId: 'old' });
  assert.equal(old.connack.length, 4);
  await balancer.reload({ listeners: [{ ...listener, tls: { ...server } }], pools });
  const secured = await connectTls({ ...scene, port: balancer.portOf('one') }, 'device');
  assert.ok(await echoes(old));
  await balancer.reload({ listeners: [listener], pools });
  assert.ok(await echoesOver(secured, 'who came over TLS stays'));
  assert.equal((await connectClient(balancer.portOf('one'), { clientId: 'new' })).connack.length, 4);
});

test('mosquitto_pub and mosquitto_sub meet over TLS and mutual TLS, through real mosquitto', async (context) => {
  const broker = await startMosquitto(context);
  const subscribe = requireProgram(context, 'mosquitto_sub');
  const publish = requireProgram(context, 'mosquitto_pub');
  if (broker === undefined || subscribe === undefined || publish === undefined) return;
  const scene = await setUp(context, {
    backends: [broker.address],
    tls: ({ ca }) => ({ verify_client: 'request', client_ca: ca }),
  });
  if (scene === undefined) return;
  const device = scene.authority.issue('device-1');
  const common = ['-h', 'localhost', '-p', String(scene.port), '--cafile', scene.authority.ca, '-t', 'a/b', '-q', '1'];
  const mutual = ['--cert', device.cert, '--key', device.key];
  const subscriber = spawn(subscribe, [...common, ...mutual, '-i', 'subscriber', '-C', '1']);
  const ended = once(subscriber, 'close');
  let received = '';
  subscriber.stdout.setEncoding('utf8').on('data', (text) => {
    received += text;
  });
  await waitFor('subscription', () => broker.log().some((line) => line.startsWith('Sending SUBACK')));
  await promisify(execFile)(publish, [...common, '-i', 'publisher', '-m', 'over TLS']);
  await ended;
  assert.equal(received, 'over TLS\n');
  const lines = (await scene.lines(2)).join('\n');
  assert.match(lines, / subscriber .* tls_version=TLSv1.3 tls_cipher=TLS_\S+ sni=localhost client_cn=device-1 /m);
  assert.match(lines, / publisher .* tls_version=TLSv1.3 tls_cipher=TLS_\S+ sni=localhost$/m);
});

test('MQTT.js connects over mutual TLS, and clients of one certificate meet at one broker', async (context) => {
  const backends = await Promise.all([1, 2, 3].map(() => startMosquitto(context)));
  if (backends.includes(undefined)) return;
  const scene = await setUp(context, {
    backends: backends.map((broker) => broker!.address),
    pool: { balance: { key: 'tls_client_cn' } },
    tls: ({ ca }) => ({ verify_client: 'require', client_ca: ca }),
  });
  if (scene === undefined) return;
  const fleets = ['fleet-a', 'fleet-b', 'fleet-c', 'fleet-d'];
  for (const fleet of fleets) {
    const { cert, key } = scene.authority.issue(fleet);
    const files = { ca: readFileSync(scene.authority.ca), cert: readFileSync(cert), key: readFileSync(key) };
    for (const version of [4, 5] as const) {
      const url = `mqtts://localhost:${scene.port}`;
      const client = await connectAsync(url, { ...files, clientId: `${fleet}-${version}`, protocolVersion: version });
      await client.endAsync();
    }
  }
  const lines = await scene.lines(fleets.length * 2);
  const brokersOf = (fleet: string) =>
    new Set(lines.filter((line) => line.includes(` client_cn=${fleet} `)).map((line) => line.split(' ')[7]));
  for (const fleet of fleets) assert.equal(brokersOf(fleet).size, 1);
});

test('clients that ask for one host meet at one broker with key tls_sni', async (context) => {
  const backends = await Promise.all([1, 2, 3].map(() => startBackend(context, hello)));
  const scene = await setUp(context, {
    backends: backends.map(({ address }) => address),
    pool: { balance: { key: 'tls_sni' } },
  });
  if (scene === undefined) return;
  for (let index = 0; index < 6; index++) (await connectTls(scene, `device-${index}`)).destroy();
  assert.deepEqual(
    backends.map(({ connections }) => connections).filter((count) => count > 0),
    [6],
  );
});

test('TLS 1.2 and 1.3 are spoken, and nothing older', async (context) => {
  const scene = await setUp(context);
  if (scene === undefined) return;
  assert.match(
    await handshake(scene.port, ['-tls1_2', ...caOf(scene)]),
    /Protocol *: TLSv1\.2[\s\S]*Verify return code: 0/,
  );
  assert.match(await handshake(scene.port, ['-tls1_3', ...caOf(scene)]), /New, TLSv1\.3[\s\S]*Verify return code: 0/);
  const old = await handshake(scene.port, ['-tls1_1', '-cipher', 'DEFAULT@SECLEVEL=0', ...caOf(scene)]);
  assert.match(old, /New, \(NONE\), Cipher is \(NONE\)/);
  assert.match((await scene.lines(3)).join('\n'), / 400 .* reason=tls_handshake .* front_error=unsupported_protocol$/m);
});

test('min_version and ciphers are heeded', async (context) => {
  const scene = await setUp(context, { tls: () => ({ min_version: '1.3', ciphers: 'TLS_CHACHA20_POLY1305_SHA256' }) });
  if (scene === undefined) return;
  assert.match(await handshake(scene.port, ['-tls1_2', ...caOf(scene)]), /Cipher is \(NONE\)/);
  assert.match(await handshake(scene.port, caOf(scene)), /New, TLSv1\.3, Cipher is TLS_CHACHA20_POLY1305_SHA256/);
});

test('the host that is asked for says which certificate is shown', async (context) => {
  const authority = startAuthority(context);
  if (authority === undefined) return;
  const first = authority.issue('first.example.net', { hosts: ['first.example.net'] });
  const stars = authority.issue('stars', { hosts: ['*.example.net', 'other.example.org'] });
  const named = authority.issue('named', { hosts: ['unused.example.com'] });
  const backend = await startBackend(context, hello);
  const certificates = [{ ...first }, { ...stars }, { ...named, names: ['chosen.example.com'] }];
  const listeners = [{ name: 'tls', bind: `${HOST}:0`, tls: { certificates } }];
  const pools = { brokers: { backends: [backend.address] } };
  const balancer = await startReloadable(context, { engine: 'portable' }, { listeners, pools });
  const shown = async (...host: string[]) =>
    /subject=CN = (\S+)/.exec(await handshake(balancer.portOf('tls'), [...host]))?.[1];
  assert.equal(await shown('-servername', 'first.example.net'), 'first.example.net');
  assert.equal(await shown('-servername', 'any.example.net'), 'stars');
  assert.equal(await shown('-servername', 'OTHER.example.org'), 'stars');
  assert.equal(await shown('-servername', 'a.b.example.net'), 'first.example.net');
  assert.equal(await shown('-servername', 'chosen.example.com'), 'named');
  assert.equal(await shown('-servername', 'unused.example.com'), 'first.example.net');
  assert.equal(await shown('-noservername'), 'first.example.net');
});

test('what the CA says of a certificate is stapled for clients that ask, and of no other certificate', async (context) => {
  const authority = startAuthority(context);
  if (authority === undefined) return;
  const [first, second, third] = ['first', 'second', 'third'].map((name) =>
    authority.issue(name, { hosts: [`${name}.example.net`] }),
  );
  const certificates = [
    { ...first, ocsp: authority.attest(first!) },
    { ...second, ocsp: authority.attest(second!) },
    { ...third },
  ];
  const backend = await startBackend(context, echo);
  const listeners = [{ name: 'tls', bind: `${HOST}:0`, tls: { certificates } }];
  const pools = { brokers: { backends: [backend.address] } };
  const balancer = await startReloadable(context, { engine: 'portable' }, { listeners, pools });
  const stapled = async (name: string, ...args: string[]) => {
    const host = ['-servername', `${name}.example.net`, '-CAfile', authority.ca];
    const output = await handshake(balancer.portOf('tls'), ['-status', ...host, ...args]);
    assert.match(output, /Verify return code: 0/);
    return /OCSP Response Status: successful[\s\S]*Serial Number: (\d+)[\s\S]*Cert Status: (\w+)/
      .exec(output)
      ?.slice(1);
  };
  for (const version of ['-tls1_2', '-tls1_3']) {
    assert.deepEqual(await stapled('first', version), ['01', 'good']);
    assert.deepEqual(await stapled('second', version), ['02', 'good']);
    assert.equal(await stapled('third', version), undefined);
  }
  assert.doesNotMatch(await handshake(balancer.portOf('tls'), []), /OCSP Response Status/);
});

test('ALPN agrees on mqtt, and a client that speaks something else is told', async (context) => {
  const scene = await setUp(context);
  if (scene === undefined) return;
  assert.match(await handshake(scene.port, ['-alpn', 'h2,mqtt', ...caOf(scene)]), /ALPN protocol: mqtt/);
  assert.match(await handshake(scene.port, caOf(scene)), /No ALPN negotiated[\s\S]*Verify return code: 0/);
  assert.match(await handshake(scene.port, ['-alpn', 'h2', ...caOf(scene)]), /Cipher is \(NONE\)/);
});

testEveryEngine('a session that one worker began is resumed by another', async (engine, context) => {
  const scene = await setUp(context, { engine, workers: 3 });
  if (scene === undefined) return;
  const counters = () => scene.tidegate.status().counters;
  for (const version of ['-tls1_2', '-tls1_3']) {
    const file = join(scene.authority.folder, `session${version}`);
    const begun = version === '-tls1_3' ? /New Session Ticket arrived[\s\S]*Verify return code/ : /Verify return code/;
    await handshake(scene.port, [version, '-sess_out', file, ...caOf(scene)], begun);
    const before = counters().tlsResumed!;
    // Twelve connects that all come to one of three workers would be a wonder.
    for (let index = 0; index < 12; index++) {
      const output = await handshake(scene.port, [version, '-sess_in', file, ...caOf(scene)]);
      assert.match(output, /^Reused, TLSv1/m);
    }
    await waitFor('twelve resumptions', () => counters().tlsResumed === before + 12);
  }
});

test('clients with good certificates are served where one is required, and no others', async (context) => {
  const scene = await setUp(context, {
    tls: (authority) => {
      const revoked = authority.issue('revoked');
      return { verify_client: 'require', client_ca: authority.ca, client_crl: authority.revoke(revoked) };
    },
  });
  const strangers = startAuthority(context);
  if (scene === undefined || strangers === undefined) return;
  const { authority, port } = scene;
  const good = authority.issue('good');
  const expired = authority.issue('expired', { isExpired: true });
  const foreign = strangers.issue('foreign');
  const withFiles = ({ cert, key }: Issued) => ['-cert', cert, '-key', key, ...caOf(scene)];
  const inFolder = (name: string) => ({
    cert: join(authority.folder, `${name}.pem`),
    key: join(authority.folder, `${name}.key`),
  });
  for (const version of ['-tls1_2', '-tls1_3']) {
    assert.equal(await connectOver(port, [version, ...withFiles(good)]), '20020000');
    assert.equal(await connectOver(port, [version, ...withFiles(expired)]), '');
    assert.equal(await connectOver(port, [version, ...withFiles(inFolder('revoked'))]), '');
    assert.equal(await connectOver(port, [version, ...withFiles(foreign)]), '');
    assert.equal(await connectOver(port, [version, ...caOf(scene)]), '');
  }
  const lines = (await scene.lines(10)).join('\n');
  for (const fault of ['cert_has_expired', 'cert_revoked', 'no_certificate']) {
    assert.match(lines, new RegExp(` 403 .* reason=client_certificate .* front_error=${fault}$`, 'm'));
  }
  assert.match(lines, / 200 .* client_cn=good /m);
  assert.equal(scene.tidegate.status().counters.client_certificate, 8);
});

test('a certificate is known by all that it says, in the log, in the rules and after a resumption', async (context) => {
  const authority = startAuthority(context);
  const openssl = requireProgram(context, 'openssl');
  if (authority === undefined || openssl === undefined) return;
  const server = authority.issue('localhost', { hosts: ['localhost'], file: 'server' });
  const backend = await startBackend(context, echo);
  const names = ['URI:urn:device:17', 'email:meter@example.net', 'IP:192.0.2.7', 'IP:2001:db8::17'];
  const device = authority.issue('meter', {
    hosts: ['meter.example.net'],
    names,
    subject: '/O=Acme, Inc/OU=ü/CN=meter',
  });
  const tls = { ...server, verify_client: 'require', client_ca: authority.ca };
  const identity = { client_id: { pattern: ['${tls_client_cn}', '${tls_client_san}'] } };
  const listeners = [{ name: 'tls', bind: `${HOST}:0`, tls, identity }];
  const pools = { brokers: { backends: [backend.address] } };
  const balancer = await startReloadable(context, { engine: 'portable' }, { listeners, pools });
  const port = balancer.portOf('tls');
  const said = async (...args: string[]) =>
    (await promisify(execFile)(openssl, ['x509', '-in', device.cert, '-noout', ...args])).stdout
      .trim()
      .replace(/^[^=]*=/, '');
  const args = ['-CAfile', authority.ca, '-cert', device.cert, '-key', device.key];
  const session = join(authority.folder, 'session');
  await handshake(port, ['-tls1_2', ...args, '-sess_out', session]);
  const ids = ['meter', 'meter.example.net', 'urn:device:17', 'meter@example.net', '192.0.2.7', '2001:db8::17'];
  for (const id of ids) {
    assert.equal(await connectOver(port, ['-tls1_3', ...args], id), '20020000', id);
    assert.equal(await connectOver(port, ['-tls1_2', ...args, '-sess_in', session], id), '20020000', id);
  }
  assert.equal(await connectOver(port, args, 'meter.example.org'), '20020005');
  const lines = (await balancer.lines(2 + ids.length * 2)).filter((line) => line.includes(' 200 '));
  const fields = (line: string) => line.slice(line.indexOf(' client_cn=') + 1);
  const fingerprint = (await said('-fingerprint', '-sha256')).replaceAll(':', '').toLowerCase();
  const subject = await said('-subject', '-nameopt', 'RFC2253,utf8,-esc_msb');
  assert.equal(subject, 'CN=meter,OU=ü,O=Acme\\, Inc');
  const expected = [
    'client_cn=meter',
    `client_subject=${subject.replaceAll('\\', '\\x5C').replaceAll(' ', '\\x20')}`,
    'client_san=meter.example.net,urn:device:17,meter@example.net,192.0.2.7,2001:db8::17',
    `client_serial=${await said('-serial')}`,
    `client_fingerprint=${fingerprint}`,
  ].join(' ');
  for (const line of lines) assert.equal(fields(line), expected);
  assert.equal(lines.length, ids.length * 2);
  assert.ok(balancer.tidegate.status().counters.tlsResumed! >= ids.length);
});

test('clients of one serial number, subject, fingerprint or first name meet at one broker', async (context) => {
  const backends = await Promise.all([1, 2, 3].map(() => startBackend(context, hello)));
  const tls = ({ ca }: Authority) => ({ verify_client: 'require', client_ca: ca });
  const addresses = backends.map(({ address }) => address);
  const scene = await setUp(context, { backends: addresses, tls });
  if (scene === undefined) return;
  const { authority } = scene;
  const fleets = Array.from({ length: 4 }, (_, index) =>
    authority.issue(`fleet-${index}`, { hosts: [`${index}.a`, 'b'] }),
  );
  const listeners = [{ name: 'tls', bind: `${HOST}:0`, tls: { ...scene.server, ...tls(authority) } }];
  for (const key of ['subject', 'san', 'serial', 'fingerprint']) {
    await scene.reload({
      listeners,
      pools: { brokers: { backends: addresses, balance: { key: `tls_client_${key}` } } },
    });
    for (const { cert, key: file } of fleets) {
      const before = backends.map(({ connections }) => connections);
      const files = { cert: readFileSync(cert), key: readFileSync(file) };
      for (let index = 0; index < 5; index++) (await connectTls(scene, `device-${index}`, files)).destroy();
      const gained = backends.map(({ connections }, each) => connections - before[each]!);
      assert.deepEqual(
        gained.filter((count) => count > 0),
        [5],
        key,
      );
    }
  }
});

test('whoever is revoked is not let in by a session of before', async (context) => {
  const scene = await setUp(context, {
    workers: 1,
    tls: (authority) => ({ verify_client: 'require', client_ca: authority.ca, client_crl: authority.revoke() }),
  });
  if (scene === undefined) return;
  const { authority, port } = scene;
  const device = authority.issue('device');
  const file = join(authority.folder, 'session');
  const args = ['-tls1_2', '-cert', device.cert, '-key', device.key, ...caOf(scene)];
  await handshake(port, [...args, '-sess_out', file]);
  assert.equal(await connectOver(port, [...args, '-sess_in', file]), '20020000');
  authority.revoke(device);
  await waitFor('new list', () => scene.messages.some((line) => line.startsWith('TLS files read again')));
  await waitFor('closed door', async () => (await connectOver(port, [...args, '-sess_in', file])) === '');
});

testEveryEngine('a certificate is exchanged under 1,000 connections, and none is dropped', async (engine, context) => {
  const scene = await setUp(context, { engine });
  if (scene === undefined) return;
  const sockets: TLSSocket[] = [];
  // Each handshake has its deadline, also on a busy machine.
  while (sockets.length < 1000) {
    const few = Array.from({ length: 25 }, (_, index) => connectTls(scene, `device-${sockets.length + index}`));
    sockets.push(...(await Promise.all(few)));
  }
  const before = sockets[0]!.getPeerCertificate().serialNumber;
  replace(scene.server, scene.authority.issue('localhost', { hosts: ['localhost'], file: 'next' }));
  const after = await waitFor('new certificate', async () => {
    const socket = await connectTls(scene, 'newcomer');
    const { serialNumber } = socket.getPeerCertificate();
    socket.destroy();
    return serialNumber !== before && serialNumber;
  });
  assert.notEqual(after, before);
  const alive = await Promise.all(sockets.map((socket, index) => echoesOver(socket, `ping ${index}`)));
  assert.ok(alive.every(Boolean));
  for (const socket of sockets) socket.destroy();
});

test('files that are no good are refused with one line each, and the old ones stay in use', async (context) => {
  const scene = await setUp(context, { workers: 1 });
  if (scene === undefined) return;
  const refusals = () => scene.messages.filter((line) => line.startsWith('TLS files refused'));
  const stranger = scene.authority.issue('stranger');
  writeFileSync(scene.server.key, readFileSync(stranger.key));
  await waitFor('refusal', () => refusals().length === 1);
  assert.equal(
    refusals()[0],
    `TLS files refused, the old ones stay in use: listener tls: tls.key: expected a PEM file with the certificate's key, ` +
      `found "${scene.server.key}", which doesn't belong to the certificate in ${scene.server.cert}`,
  );
  (await connectTls(scene, 'device')).destroy();
  await assert.rejects(scene.tidegate.reload(), /doesn't belong/);
  (await connectTls(scene, 'device')).destroy();
});

test('files that are no good are told at start, with their key and what is wrong', async (context) => {
  const authority = startAuthority(context);
  if (authority === undefined) return;
  const { cert, key } = authority.issue('localhost');
  const other = authority.issue('other');
  const folder = await makeFolder(context);
  const path = join(folder, 'tidegate.yaml');
  const text = join(folder, 'text.pem');
  writeFileSync(text, 'not PEM\n');
  const faultsOf = async (tls: object) => {
    const listeners = [{ name: 'tls', bind: `${HOST}:0`, tls }];
    writeFileSync(path, JSON.stringify({ listeners, pools: { a: { backends: ['127.0.0.1:1'] } } }));
    const { message, exitCode } = await loadConfig(path).then(
      () => assert.fail(),
      (error) => error,
    );
    assert.equal(exitCode, 1);
    return message.replace(/^.*?listeners\[0\]\.tls\./gm, '');
  };
  const certificate = 'expected a PEM file with a certificate, found';
  assert.equal(
    await faultsOf({ cert: '/nowhere.pem', key: text }),
    `cert: ${certificate} "/nowhere.pem", and there is no such file\n` +
      `key: expected a PEM file with a private key, found "${text}", which holds none`,
  );
  assert.equal(await faultsOf({ cert: text, key }), `cert: ${certificate} "${text}", which holds none`);
  assert.match(await faultsOf({ cert, key: other.key }), /^key: .* which doesn't belong to the certificate in \S+$/);
  assert.match(await faultsOf({ cert, key, ciphers: 'NO-SUCH-CIPHER' }), /^ciphers: expected cipher suites that/);
  assert.match(await faultsOf({ cert, key, ocsp: text }), /^ocsp: expected a DER file .* which holds none$/);
  const verify = { verify_client: 'require', client_ca: text };
  assert.match(await faultsOf({ cert, key, ...verify }), /^client_ca: .* which holds none$/);
});

test('a certificate that has expired is served, with a warning', async (context) => {
  const authority = startAuthority(context);
  if (authority === undefined) return;
  const files = authority.issue('localhost', { isExpired: true });
  const listeners = [{ name: 'tls', bind: `${HOST}:0`, tls: { ...files } }];
  const pools = { brokers: { backends: ['127.0.0.1:1'] } };
  const balancer = await startReloadable(context, { engine: 'portable' }, { listeners, pools });
  assert.match(balancer.messages.join('\n'), /listener tls: the certificate in \S+ has expired at 2020-01-02T/);
  assert.match(await handshake(balancer.portOf('tls'), []), /Verify return code/);
});

test('a handshake that takes too long is cut at its deadline, however it trickles', async (context) => {
  const scene = await setUp(context, { tls: () => ({ handshake_timeout: '500ms' }) });
  if (scene === undefined) return;
  const beganMs = performance.now();
  const socket = connectPlain(scene.port, HOST);
  socket.on('error', () => {});
  const hello = Buffer.from('1603010200010001fc0303', 'hex');
  let sent = 0;
  const trickle = setInterval(() => socket.write(hello.subarray(sent, ++sent)), 100);
  await once(socket.resume(), 'close');
  clearInterval(trickle);
  const tookMs = performance.now() - beganMs;
  assert.ok(tookMs >= 490 && tookMs < 500 + PATIENCE_MS, `${tookMs} ms`);
  assert.match((await scene.lines(1))[0]!, / 400 .* reason=tls_timeout /);
});

test('no more handshakes at once than handshakes_max, and what is refused is counted', async (context) => {
  const scene = await setUp(context, { workers: 1, tls: () => ({ handshakes_max: 2, handshake_timeout: '30s' }) });
  if (scene === undefined) return;
  const { tidegate } = scene;
  const slow = [1, 2].map(() => connectPlain(scene.port, HOST).on('error', () => {}));
  await waitFor('two in the door', () => tidegate.status().connections === 2);
  const third = connectPlain(scene.port, HOST).on('error', () => {});
  await new Promise((closed) => third.once('close', closed));
  assert.equal(tidegate.status().counters.tls_handshakes_max, 1);
  for (const socket of slow) socket.destroy();
  await waitFor('empty door', () => tidegate.status().connections === 0);
  (await connectTls(scene, 'device')).destroy();
});

testEveryEngine(
  'limits count over TCP and TLS together, and can be had whole by one of them',
  async (engine, context) => {
    const scene = await setUp(context, {
      engine,
      pool: { max_connections: 12 },
      listeners: [{ name: 'plain', bind: `${HOST}:0` }],
    });
    if (scene === undefined) return;
    const secured = await Promise.all(Array.from({ length: 12 }, (_, index) => connectTls(scene, `device-${index}`)));
    const plain = () => connectClient(scene.portOf('plain'), { clientId: 'plain' });
    assert.equal((await plain()).connack.toString('hex'), '20020003');
    for (const socket of secured) socket.destroy();
    await waitFor('room', async () => (await plain()).connack.toString('hex') === '20020000');
  },
);

test('MQTT without TLS at a TLS port is refused, and a client that leaves in the handshake is logged', async (context) => {
  const scene = await setUp(context);
  if (scene === undefined) return;
  assert.notEqual((await connectClient(scene.port)).connack.toString('hex'), '20020000');
  const socket = connectPlain(scene.port, HOST).on('error', () => {});
  await once(socket, 'connect');
  socket.end();
  const lines = (await scene.lines(2)).join('\n');
  assert.match(lines, /reason=tls_handshake .* front_error=wrong_version_number$/m);
  assert.equal(lines.match(/reason=tls_handshake/g)?.length, 2);
});
