// Whose address a WebSocket client has that comes through proxies.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { type TestContext, test } from 'node:test';
import { WebSocket } from 'ws';
import { permittedRanges } from '../src/config/address-ranges.ts';
import { forwardedClient } from '../src/front/forwarded.ts';
import type { EngineName } from '../src/index.ts';
import { echo, startBackend } from './tools/backends.ts';
import { testEveryEngine } from './tools/engines.ts';
import { connackPacket, connectPacket } from './tools/packets.ts';
import { startReloadable } from './tools/reloadable.ts';

const HOST = '127.0.0.1';

test('the client is the last one from the right who is no trusted proxy', () => {
  const trusted = permittedRanges(['10.0.0.0/8', '2001:db8:1::/48'], []);
  const cases: [peer: string, header: string, client: string][] = [
    ['10.0.0.1', '192.0.2.7', '192.0.2.7'],
    ['10.0.0.1', '192.0.2.7, 10.0.0.2', '192.0.2.7'],
    ['10.0.0.1', '203.0.113.9, 192.0.2.7, 10.0.0.2', '192.0.2.7'],
    ['10.0.0.1', '10.6.6.6, 192.0.2.7', '192.0.2.7'],
    ['10.0.0.1', '10.0.0.3, 10.0.0.2', '10.0.0.3'],
    ['192.0.2.1', '203.0.113.9', '192.0.2.1'],
    ['::ffff:10.0.0.1', '192.0.2.7', '192.0.2.7'],
    ['2001:db8:1::1', '2001:db8:2::7', '2001:db8:2::7'],
    ['10.0.0.1', '[2001:db8:2::7]:4711', '2001:db8:2::7'],
    ['10.0.0.1', '192.0.2.7:4711', '192.0.2.7'],
    ['10.0.0.1', '::1', '::1'],
    ['10.0.0.1', '203.0.113.9, nonsense', '10.0.0.1'],
    ['10.0.0.1', '203.0.113.9, unknown, 10.0.0.2', '10.0.0.2'],
    ['10.0.0.1', '192.0.2.0/24', '10.0.0.1'],
    ['10.0.0.1', '', '10.0.0.1'],
    ['10.0.0.1', ',,', '10.0.0.1'],
    ['10.0.0.1', 'fe80::1%eth0', '10.0.0.1'],
  ];
  for (const [peer, header, client] of cases) assert.equal(forwardedClient(peer, header, trusted), client, header);
});

async function setUp(engine: EngineName, context: TestContext, trusted_proxies: string[] | undefined, listener = {}) {
  const heads: string[] = [];
  const backend = await startBackend(context, (socket) => {
    socket.once('data', (bytes: Buffer) => {
      const end = bytes.indexOf('\r\n') + 2;
      heads.push(bytes.subarray(0, end).toString());
      socket.unshift(bytes.subarray(end));
      return echo(socket);
    });
  });
  const listeners = [{ name: 'ws', bind: `${HOST}:0`, websocket: { trusted_proxies }, ...listener }];
  const pools = { brokers: { backends: [backend.address], proxy_protocol: 'v1', health: 'none' } };
  const balancer = await startReloadable(context, { engine }, { listeners, pools });
  const open = (forwarded: string) =>
    new WebSocket(`ws://${HOST}:${balancer.portOf('ws')}/mqtt`, 'mqtt', { headers: { 'x-forwarded-for': forwarded } });
  return { ...balancer, heads, open };
}

testEveryEngine('a client behind a trusted proxy is known by its own address', async (engine, context) => {
  const scene = await setUp(engine, context, ['127.0.0.0/8']);
  for (const forwarded of ['192.0.2.7', '203.0.113.9, 2001:db8::7']) {
    const webSocket = scene.open(forwarded);
    await once(webSocket, 'open');
    webSocket.send(connectPacket({ clientId: 'device' }));
    assert.deepEqual((await once(webSocket, 'message'))[0], connackPacket(4));
    webSocket.close();
  }
  const lines = (await scene.lines(2)).join('\n'); // of two workers: in any order
  assert.match(lines, /^192\.0\.2\.7 .* 200 .* remote_port=0$/m);
  assert.match(lines, /^2001:db8::7 .* 200 .* remote_port=0$/m);
  assert.match(scene.heads[0]!, /^PROXY TCP4 192\.0\.2\.7 127\.0\.0\.1 0 \d+\r\n$/);
});

testEveryEngine('a front may be a trusted proxy, too: its PROXY header comes first', async (engine, context) => {
  const listener = { proxy_protocol: { from: [HOST] }, deny: ['10.0.0.0/8'] };
  const scene = await setUp(engine, context, ['10.0.0.1', HOST], listener);
  const client = connect(scene.portOf('ws'), HOST);
  context.after(() => client.destroy());
  const request = [
    'GET /mqtt HTTP/1.1',
    'Host: tidegate',
    'Upgrade: websocket',
    'Connection: Upgrade',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Protocol: mqtt',
    'X-Forwarded-For: 192.0.2.9',
  ];
  client.write(`PROXY TCP4 10.0.0.1 127.0.0.1 1000 2000\r\n${request.join('\r\n')}\r\n\r\n`);
  assert.match(String((await once(client, 'data'))[0]), /^HTTP\/1\.1 101 /);
  client.destroy();
  assert.match((await scene.lines(1))[0]!, /^192\.0\.2\.9 /);
});

testEveryEngine('from anybody else the header is ignored', async (engine, context) => {
  for (const trusted of [undefined, ['10.0.0.0/8']]) {
    const scene = await setUp(engine, context, trusted);
    const webSocket = scene.open('192.0.2.7');
    await once(webSocket, 'open');
    webSocket.send(connectPacket({ clientId: 'device' }));
    await once(webSocket, 'message');
    webSocket.close();
    assert.match((await scene.lines(1))[0]!, /^127\.0\.0\.1 .* 200 .* remote_port=[1-9]\d*$/);
    await scene.stop();
  }
});

testEveryEngine('whom the proxy names may be denied, and counts for its own source', async (engine, context) => {
  const listener = { deny: ['192.0.2.0/24'], max_connections_per_source: 1 };
  const scene = await setUp(engine, context, ['127.0.0.1'], listener);
  const denied = scene.open('192.0.2.7');
  denied.on('error', () => {});
  await once(denied, 'close');
  assert.match((await scene.lines(1))[0]!, /^192\.0\.2\.7 .* 403 .* reason=address_denied /);
  const come = async (forwarded: string) => {
    const webSocket = scene.open(forwarded);
    await once(webSocket, 'open');
    webSocket.send(connectPacket({ clientId: 'device' }));
    const [answer] = await Promise.race([once(webSocket, 'message'), once(webSocket, 'close')]);
    return Buffer.isBuffer(answer) ? answer.toString('hex') : 'closed';
  };
  // A worker's part of the limit is rounded up: of two workers each takes one.
  const answers = [];
  for (let index = 0; index < 3; index++) answers.push(await come('198.51.100.1'));
  assert.ok(answers.includes('closed'));
  assert.equal(await come('198.51.100.2'), '20020000');
});
