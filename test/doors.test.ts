// What holds for all front doors of a listener together, whichever they are.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect as connectTls } from 'node:tls';
import { WebSocket } from 'ws';
import type { EngineName } from '../src/index.ts';
import { echo, startBackend } from './tools/backends.ts';
import { startAuthority } from './tools/certificates.ts';
import { nextBytes } from './tools/client.ts';
import { testEveryEngine } from './tools/engines.ts';
import { connackPacket, connectPacket } from './tools/packets.ts';
import { startReloadable } from './tools/reloadable.ts';
import { waitFor } from './tools/wait.ts';

const HOST = '127.0.0.1';
const bind = `${HOST}:0`;
const REQUEST =
  'GET /mqtt HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n' +
  'sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\nsec-websocket-protocol: mqtt\r\n\r\n';

testEveryEngine(
  'one deadline holds from accept to the CONNECT, however many doors there are',
  async (engine, context) => {
    const authority = startAuthority(context);
    if (authority === undefined) return;
    const certificate = authority.issue('localhost', { hosts: ['localhost'], file: 'server' });
    const backend = await startBackend(context, echo);
    const connect_timeout = '1s';
    const proxy_protocol = { from: [HOST] };
    const tls = { ...certificate, alpn: [] };
    const listeners = [{ name: 'wss', bind, connect_timeout, proxy_protocol, tls, websocket: {} }];
    const pools = { brokers: { backends: [backend.address] } };
    const balancer = await startReloadable(context, { engine }, { listeners, pools });
    const header = 'PROXY TCP4 192.0.2.7 192.0.2.1 4711 1883\r\n';
    // Each step comes well within a second of the one before it, the last one well behind the first second.
    const socket = connect({ host: HOST, port: balancer.portOf('wss') });
    await once(socket, 'connect');
    await sleep(600);
    socket.write(header);
    const stream = connectTls({ socket, ca: readFileSync(authority.ca), servername: 'localhost' });
    stream.on('error', () => {});
    let answer = '';
    stream.on('data', (bytes) => {
      answer += bytes;
    });
    const closed = once(stream, 'close');
    stream.once('secureConnect', async () => {
      await sleep(800);
      stream.write(REQUEST);
    });
    await closed;
    assert.equal(answer, '');
    const [line] = await balancer.lines(1);
    assert.match(line!, /^192\.0\.2\.7 .* 400 .* reason=connect_timeout /);
    assert.equal(backend.connections, 0);
  },
);

/** A listener for everybody, and what comes to the backend through it. */
async function setUpForAll(engine: EngineName, context: TestContext, listener: object = {}) {
  const authority = startAuthority(context);
  if (authority === undefined) return undefined;
  const tls = authority.issue('localhost', { hosts: ['localhost'], file: 'server' });
  const backend = await startBackend(context, echo);
  const listeners = [{ name: 'all', bind, detect: true, tls, websocket: {}, ...listener }];
  const pools = { brokers: { backends: [backend.address] } };
  const balancer = await startReloadable(context, { engine }, { listeners, pools });
  return { ...balancer, backend, ca: readFileSync(authority.ca), port: balancer.portOf('all') };
}

/** Between a client and a port: each byte by itself. */
async function startDripping(context: TestContext, port: number): Promise<number> {
  const server = createServer((client) => {
    const socket = connect({ host: HOST, port, noDelay: true });
    client.on('data', async (bytes) => {
      client.pause();
      for (const byte of bytes) {
        socket.write(Buffer.of(byte));
        await new Promise((resolve) => setImmediate(resolve));
      }
      client.resume();
    });
    socket.on('data', (bytes) => client.write(bytes));
    client.on('error', () => {}).on('close', () => socket.destroy());
    socket.on('error', () => {}).on('close', () => client.destroy());
  }).listen(0, HOST);
  await once(server, 'listening');
  context.after(() => server.close());
  return (server.address() as AddressInfo).port;
}

testEveryEngine(
  'a client that sends byte by byte comes through each door of one port, whole',
  async (engine, context) => {
    const scene = await setUpForAll(engine, context, { connect_timeout: '30s' });
    if (scene === undefined) return;
    const port = await startDripping(context, scene.port);
    const bytes = Buffer.concat([connectPacket({ clientId: 'device' }), Buffer.from('and more')]);
    const expected = Buffer.concat([connackPacket(4), Buffer.from('and more')]);
    const secure = () => connectTls({ host: HOST, port, ca: scene.ca, servername: 'localhost' });
    for (const open of [() => connect({ host: HOST, port }), secure]) {
      const socket = open();
      const answer: Buffer[] = [];
      socket.on('data', (more: Buffer) => answer.push(more));
      socket.write(bytes);
      await waitFor('answer', () => Buffer.concat(answer).equals(expected));
      socket.destroy();
      const stream = open();
      const webSocket = new WebSocket('ws://localhost/mqtt', 'mqtt', { createConnection: () => stream });
      const received: Buffer[] = [];
      webSocket.on('message', (message: Buffer) => received.push(message));
      await once(webSocket, 'open');
      webSocket.send(bytes);
      await waitFor('answer', () => Buffer.concat(received).equals(expected));
      webSocket.close();
    }
    const lines = await scene.lines(4);
    for (const line of lines) assert.match(line, new RegExp(` 200 ${bytes.length} ${expected.length} `));
    assert.equal(lines.filter((line) => line.includes('tls_version=')).length, 2);
  },
);

testEveryEngine(
  'what is neither MQTT nor TLS nor WebSocket is closed at one port for all, with a reason',
  async (engine, context) => {
    const scene = await setUpForAll(engine, context, { connect_timeout: '500ms' });
    if (scene === undefined) return;
    const beginnings: [hex: string, reason: string][] = [
      ['c000', 'connect_expected'],
      [Buffer.from('POST / HTTP/1.1\r\n\r\n').toString('hex'), 'http_request'],
      [Buffer.from('SSH-2.0-x\r\n').toString('hex'), 'not_mqtt'],
      [Buffer.from('GET / HTTP/1.1\r\n\r\n').toString('hex'), 'websocket_refused'],
      ['16030100050500000100', 'tls_handshake'],
      ['1600', 'fixed_header_flags'],
      ['', 'connect_timeout'],
      [Buffer.from('GE').toString('hex'), 'connect_timeout'],
      ['16', 'connect_timeout'],
    ];
    for (const [index, [hex, reason]] of beginnings.entries()) {
      const socket = connect({ host: HOST, port: scene.port });
      socket.on('error', () => {});
      if (hex !== '') socket.write(Buffer.from(hex, 'hex'));
      await new Promise((closed) => socket.resume().once('close', closed));
      assert.match((await scene.lines(index + 1)).at(-1)!, new RegExp(` reason=${reason} `), hex);
    }
    const leaving = connect({ host: HOST, port: scene.port });
    leaving.end(Buffer.from('G'));
    assert.match((await scene.lines(beginnings.length + 1)).at(-1)!, / reason=client_left_early /);
    assert.equal(scene.backend.connections, 0);
  },
);

testEveryEngine('plain MQTT and TLS can share a port without WebSocket', async (engine, context) => {
  const scene = await setUpForAll(engine, context, { websocket: undefined });
  if (scene === undefined) return;
  const packet = connectPacket({ clientId: 'device' });
  const secure = connectTls({ host: HOST, port: scene.port, ca: scene.ca, servername: 'localhost' });
  for (const socket of [connect({ host: HOST, port: scene.port }), secure]) {
    socket.write(packet);
    assert.ok((await nextBytes(socket)).equals(connackPacket(4)));
    socket.destroy();
  }
  const inner = connectTls({ host: HOST, port: scene.port, ca: scene.ca, servername: 'localhost' });
  inner.on('error', () => {}).write(REQUEST);
  await new Promise((closed) => inner.resume().once('close', closed));
  // Of two workers: in any order.
  assert.match((await scene.lines(3)).join('\n'), / reason=http_request /);
});
