// Listeners that let TLS through to the brokers, by the host that a client asks for.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { type TestContext, test } from 'node:test';
import { connect as connectTls, createServer as createTlsServer, type TLSSocket } from 'node:tls';
import { connectAsync } from 'mqtt';
import { readClientHello } from '../src/front/client-hello.ts';
import type { EngineName } from '../src/index.ts';
import { ask } from './tools/ask.ts';
import { startBackend } from './tools/backends.ts';
import { startAuthority } from './tools/certificates.ts';
import { testEveryEngine } from './tools/engines.ts';
import { startMosquitto } from './tools/mosquitto.ts';
import { connackPacket, connectPacket } from './tools/packets.ts';
import { type Reloadable, startReloadable } from './tools/reloadable.ts';
import { waitFor } from './tools/wait.ts';

const HOST = '127.0.0.1';
const bind = `${HOST}:0`;

/** As a client sends it. */
async function clientHello(servername: string | undefined): Promise<Buffer> {
  const server = createServer().listen(0, HOST);
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  const client = connectTls({ host: HOST, port, ...(servername === undefined ? {} : { servername }) });
  client.on('error', () => {});
  const [socket] = await once(server, 'connection');
  const [hello] = await once(socket, 'data');
  client.destroy();
  server.close();
  return hello;
}

/** The same message in records of at most so many bytes. */
function inRecords(hello: Buffer, bytes: number): Buffer {
  const message = hello.subarray(5);
  const records = Array.from({ length: Math.ceil(message.length / bytes) }, (_, index) => {
    const part = message.subarray(index * bytes, (index + 1) * bytes);
    return Buffer.concat([Buffer.of(22, 3, 1, part.length >> 8, part.length & 255), part]);
  });
  return Buffer.concat(records);
}

test('the host that a client asks for is read from any pieces of its first message', async () => {
  const hello = await clientHello('A.Example.net');
  const whole = { state: 'whole', name: 'a.example.net' };
  for (const bytes of [hello, inRecords(hello, 100), inRecords(hello, 1)]) {
    assert.deepEqual(readClientHello(bytes), whole);
    assert.deepEqual(readClientHello(Buffer.concat([bytes, Buffer.from('more')])), whole);
    for (let length = 0; length < bytes.length; length += bytes.length > 1000 ? 7 : 1) {
      assert.equal(readClientHello(bytes.subarray(0, length)).state, 'partial', `${length} bytes`);
    }
  }
  assert.deepEqual(readClientHello(await clientHello(undefined)), { state: 'whole', name: undefined });
});

test('what is no first message of TLS, or lies about its lengths, is none', async () => {
  const hello = await clientHello('a.example.net');
  const changed = (at: number, byte: number) => {
    const bytes = Buffer.from(hello);
    bytes[at] = byte;
    return bytes;
  };
  const none = [
    connectPacket({ clientId: 'device' }),
    Buffer.from('GET / HTTP/1.1\r\n'),
    Buffer.of(22, 2),
    Buffer.of(22, 3, 1, 0, 0),
    Buffer.of(22, 3, 1, 0x40, 1),
    changed(5, 2),
    changed(6, 1),
    changed(43, 255),
    changed(hello.indexOf('a.example.net') - 1, 255),
    changed(hello.indexOf('a.example.net'), 0),
  ];
  for (const bytes of none) assert.equal(readClientHello(bytes).state, 'none', bytes.subarray(0, 50).toString('hex'));
  // Whatever is in it, it has an end.
  for (let at = 5; at < hello.length; at++) for (const byte of [0, 1, 255]) readClientHello(changed(at, byte));
});

interface Scene extends Reloadable {
  ca: Buffer;
  port: number;
  /** Which server has ended the client's TLS. */
  served: string[];
}

/** Pools "a" and "b" of a TLS server each, which answers CONNECT and echoes. */
async function setUp(engine: EngineName, context: TestContext, listener: object = {}, pool: object = {}) {
  const authority = startAuthority(context);
  if (authority === undefined) return undefined;
  const served: string[] = [];
  const start = async (name: string, hosts: string[]) => {
    const { cert, key } = authority.issue(name, { hosts });
    const onClient = (socket: TLSSocket) => {
      served.push(name);
      socket
        .on('error', () => {})
        .once('data', () => {
          socket.write(connackPacket(4));
          socket.on('data', (bytes) => socket.write(bytes)).on('end', () => socket.end());
        });
    };
    const tls = createTlsServer({ cert: readFileSync(cert), key: readFileSync(key) }, onClient);
    return startBackend(
      context,
      (socket) =>
        void tls.emit(
          'connection',
          socket.on('error', () => {}),
        ),
    );
  };
  const a = await start('a', ['a.example.net']);
  const b = await start('b', ['x.b.example.net', 'y.b.example.net']);
  const routes = { 'A.example.net': 'a', '*.b.example.net': 'b' };
  const listeners = [{ name: 'through', bind, tls_passthrough: routes, ...listener }];
  const pools = { a: { backends: [a.address], ...pool }, b: { backends: [b.address], ...pool } };
  const balancer = await startReloadable(context, { engine }, { listeners, pools, admin: { bind } });
  return { ...balancer, ca: readFileSync(authority.ca), port: balancer.portOf('through'), served, a: a.address };
}

async function come({ port, ca }: Scene, servername: string): Promise<TLSSocket> {
  const socket = connectTls({ host: HOST, port, ca, servername });
  socket.on('error', () => {}).write(connectPacket({ clientId: 'device' }));
  assert.deepEqual((await once(socket, 'data'))[0], connackPacket(4));
  return socket;
}

testEveryEngine('TLS comes to the pool of the host that is asked for, and ends there', async (engine, context) => {
  const scene = await setUp(engine, context);
  if (scene === undefined) return;
  for (const [host, name] of [
    ['a.example.net', 'a'],
    ['x.b.example.net', 'b'],
    ['y.b.example.net', 'b'],
  ] as const) {
    const socket = await come(scene, host);
    assert.equal(scene.served.at(-1), name);
    const sent = Buffer.alloc(300_000, host);
    const received: Buffer[] = [];
    socket.on('data', (bytes: Buffer) => received.push(bytes));
    socket.end(sent);
    await once(socket, 'end');
    assert.ok(Buffer.concat(received).equals(sent));
  }
  const lines = await scene.lines(3);
  for (const line of lines)
    assert.match(line, / - 200 \d{6} \d{6} 127\.0\.0\.1:\d+ - reason=client_closed .* sni=\S+\.example\.net$/);
});

testEveryEngine(
  'who asks for another host, or speaks no TLS, is turned away with an alert',
  async (engine, context) => {
    const scene = await setUp(engine, context, { connect_timeout: '500ms' });
    if (scene === undefined) return;
    const { port } = scene;
    for (const servername of ['c.example.net', 'b.example.net', 'x.y.b.example.net', undefined]) {
      const socket = connectTls({ host: HOST, port, ...(servername === undefined ? {} : { servername }) });
      const [error] = await once(socket, 'error');
      assert.match(error.code, /UNRECOGNIZED_NAME/, servername);
    }
    const plain = connect({ host: HOST, port });
    plain.write(connectPacket({ clientId: 'device' }));
    assert.equal((await once(plain, 'data'))[0].toString('hex'), '1503030002020a');
    plain.destroy();
    const silent = connect({ host: HOST, port });
    silent.write(Buffer.of(22, 3));
    await new Promise((closed) => silent.resume().once('close', closed));
    const lines = (await scene.lines(6)).join('\n');
    assert.equal(lines.match(/ 400 .* reason=tls_handshake .* front_error=unrecognized_name$/gm)?.length, 4);
    assert.equal(lines.match(/ 400 .* reason=tls_handshake .* front_error=no_client_hello$/gm)?.length, 1);
    assert.equal(lines.match(/ 400 .* reason=connect_timeout /gm)?.length, 1);
    assert.deepEqual(scene.served, []);
  },
);

testEveryEngine('a first message that comes byte by byte is passed on whole', async (engine, context) => {
  const scene = await setUp(engine, context, { connect_timeout: '30s' });
  if (scene === undefined) return;
  const server = createServer(async (client) => {
    const socket = connect({ host: HOST, port: scene.port, noDelay: true });
    socket.on('data', (bytes) => client.write(bytes)).on('error', () => {});
    for await (const bytes of client) {
      for (const byte of bytes) {
        socket.write(Buffer.of(byte));
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
  }).listen(0, HOST);
  await once(server, 'listening');
  context.after(() => server.close());
  const socket = await come({ ...scene, port: (server.address() as { port: number }).port }, 'a.example.net');
  socket.write('ping');
  assert.equal((await once(socket, 'data'))[0].toString(), 'ping');
  socket.destroy();
});

testEveryEngine('clients of one host, or of one address, meet at one backend', async (engine, context) => {
  const backends = await Promise.all([1, 2, 3, 4].map(() => startBackend(context, () => {})));
  const addresses = backends.map(({ address }) => address);
  for (const key of ['tls_sni', 'remote_addr', 'client_id']) {
    const balance = { key };
    const listeners = [{ name: 'through', bind, tls_passthrough: { '*': 'all' } }];
    const pools = { all: { backends: addresses, balance }, other: { backends: ['127.0.0.1:1'] } };
    const balancer = await startReloadable(context, { engine }, { listeners, pools });
    const before = backends.map(({ connections }) => connections);
    const gained = () => backends.map(({ connections }, index) => connections - before[index]!);
    const hosts = Array.from({ length: 24 }, (_, index) => `h${index % (key === 'tls_sni' ? 12 : 24)}.example.net`);
    for (const servername of hosts) {
      const total = gained().reduce((sum, count) => sum + count);
      const socket = connectTls({ host: HOST, port: balancer.portOf('through'), servername }).on('error', () => {});
      await waitFor('connection', () => gained().reduce((sum, count) => sum + count) > total);
      socket.destroy();
    }
    if (key === 'tls_sni') assert.ok(gained().every((count) => count % 2 === 0) && gained().filter(Boolean).length > 1);
    else assert.deepEqual(gained().filter(Boolean), [24]);
    await balancer.stop();
  }
});

testEveryEngine('limits and idle_timeout hold for what is passed through', async (engine, context) => {
  const scene = await setUp(engine, context, { idle_timeout: '1s' }, { max_connections: 1 });
  if (scene === undefined) return;
  const first = await come(scene, 'a.example.net');
  const second = connectTls({ host: HOST, port: scene.port, servername: 'a.example.net' });
  await new Promise((closed) => second.on('error', () => {}).once('close', closed));
  (await come(scene, 'x.b.example.net')).destroy();
  await new Promise((closed) => first.resume().once('close', closed));
  const lines = (await scene.lines(3)).join('\n');
  assert.match(lines, /reason=pool_connections /);
  assert.match(lines, /reason=idle_timeout /);
});

testEveryEngine('a drain empties a backend of those whose TLS goes through', async (engine, context) => {
  const scene = await setUp(engine, context);
  if (scene === undefined) return;
  const clients = [await come(scene, 'a.example.net'), await come(scene, 'a.example.net')];
  const said: Buffer[] = [];
  const gone = clients.map((client) =>
    once(
      client.on('data', (bytes) => said.push(bytes)),
      'close',
    ),
  );
  const path = `/api/v1/pools/a/backends/${encodeURIComponent(scene.a)}/drain`;
  const headers = { 'content-type': 'application/json' };
  const { status } = await ask(scene.tidegate.admin!.port, path, { method: 'POST', headers, body: '{"rate":100}' });
  assert.equal(status, 202);
  await Promise.all(gone);
  assert.deepEqual(said, [], 'nothing of ours may stand in what is theirs');
  for (const line of await scene.lines(2)) assert.match(line, /reason=drained /);
});

testEveryEngine('real brokers end the TLS of real clients behind it', async (engine, context) => {
  const authority = startAuthority(context);
  if (authority === undefined) return;
  const issue = (name: string) => ({ ...authority.issue(name, { hosts: [name] }), clientCa: authority.ca });
  const one = await startMosquitto(context, { tls: issue('localhost') });
  if (one === undefined) return;
  const listeners = [{ name: 'through', bind, tls_passthrough: { localhost: 'one' } }];
  const pools = { one: { backends: [one.address] } };
  const balancer = await startReloadable(context, { engine }, { listeners, pools });
  const { cert, key } = authority.issue('device');
  const files = { ca: readFileSync(authority.ca), cert: readFileSync(cert), key: readFileSync(key) };
  const url = `mqtts://localhost:${balancer.portOf('through')}`;
  const ipv4: object = { family: 4 };
  const client = await connectAsync(url, { ...files, clientId: 'device', protocolVersion: 5, ...ipv4 });
  await client.subscribeAsync('echo', { qos: 1 });
  const heard = new Promise<Buffer>((resolve) => client.on('message', (_topic, bytes) => resolve(bytes)));
  await client.publishAsync('echo', 'hello', { qos: 1 });
  assert.equal((await heard).toString(), 'hello');
  await client.endAsync();
  assert.match((await balancer.lines(1))[0]!, / - 200 .* sni=localhost$/);
});

testEveryEngine('a reload changes where a host leads to, for those who come from then on', async (engine, context) => {
  const scene = await setUp(engine, context);
  if (scene === undefined) return;
  const old = await come(scene, 'a.example.net');
  const { backends } = scene.tidegate.status();
  const pools = { b: { backends: [backends[1]!.address] }, a: { backends: [backends[0]!.address] } };
  const tls_passthrough = { 'x.b.example.net': 'b' };
  await scene.reload({ listeners: [{ name: 'through', bind, tls_passthrough }], pools });
  (await come(scene, 'x.b.example.net')).destroy();
  assert.deepEqual(scene.served, ['a', 'b']);
  const refused = connectTls({ host: HOST, port: scene.port, servername: 'a.example.net' });
  assert.match((await once(refused, 'error'))[0].code, /UNRECOGNIZED_NAME/);
  old.write('still here');
  assert.equal((await once(old, 'data'))[0].toString(), 'still here');
  old.destroy();
});
