// One client, whatever door it comes through: TCP, TLS, WebSocket, WebSocket over TLS, to real brokers, by clients that no
// one here wrote, a browser among them.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { connect } from 'node:net';
import type { TestContext } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { connectAsync, type IClientOptions, type MqttClient, connect as openMqtt } from 'mqtt';
import { WebSocket } from 'ws';
import type { EngineName } from '../src/index.ts';
import { echo, startBackend } from './tools/backends.ts';
import { startAuthority } from './tools/certificates.ts';
import { startChromium, visit } from './tools/chromium.ts';
import { testEveryEngine } from './tools/engines.ts';
import { type Mosquitto, startMosquitto } from './tools/mosquitto.ts';
import { connackPacket, connectPacket } from './tools/packets.ts';
import { type Reloadable, startReloadable } from './tools/reloadable.ts';
import { waitFor } from './tools/wait.ts';

const HOST = '127.0.0.1';
const bind = `${HOST}:0`;

interface Scene extends Reloadable {
  brokers: Mosquitto[];
  urls: string[];
  ca: Buffer;
}

async function setUp(engine: EngineName, context: TestContext): Promise<Scene | undefined> {
  const authority = startAuthority(context);
  const brokers = [await startMosquitto(context), await startMosquitto(context), await startMosquitto(context)];
  if (authority === undefined || brokers.some((broker) => broker === undefined)) return undefined;
  const tls = authority.issue('localhost', { hosts: ['localhost'], file: 'server' });
  const balancer = await startReloadable(
    context,
    { engine },
    {
      listeners: [
        { name: 'tcp', bind },
        { name: 'tls', bind, tls },
        { name: 'ws', bind, websocket: {} },
        { name: 'wss', bind, tls, websocket: {} },
        { name: 'all', bind, detect: true, tls, websocket: {} },
      ],
      pools: { brokers: { backends: brokers.map((broker) => broker!.address), health: { type: 'none' } } },
    },
  );
  const { portOf } = balancer;
  const urls = [
    `mqtt://localhost:${portOf('tcp')}`,
    `mqtts://localhost:${portOf('tls')}`,
    `ws://localhost:${portOf('ws')}/mqtt`,
    `wss://localhost:${portOf('wss')}/mqtt`,
    `mqtt://localhost:${portOf('all')}`,
    `mqtts://localhost:${portOf('all')}`,
    `ws://localhost:${portOf('all')}/mqtt`,
    `wss://localhost:${portOf('all')}/mqtt`,
  ];
  return { ...balancer, brokers: brokers.map((broker) => broker!), urls, ca: readFileSync(authority.ca) };
}

/** Its session stays. */
function optionsOf({ ca }: Scene, clientId: string, protocolVersion: 4 | 5): IClientOptions {
  const properties = protocolVersion === 5 ? { properties: { sessionExpiryInterval: 300 } } : {};
  // The certificate names a host that may have an IPv6 address, too.
  const ipv4: object = { family: 4 };
  return { ca, clientId, protocolVersion, clean: false, reconnectPeriod: 0, ...properties, ...ipv4 };
}

function join(scene: Scene, url: string, clientId: string, version: 4 | 5): Promise<MqttClient> {
  return connectAsync(url, optionsOf(scene, clientId, version));
}

/** The broker that has taken the client's connection, by the access log: a line each, in the order in which they end. */
const backendOf = (line: string) => line.match(/\d "?(127\.0\.0\.1:\d+)/)?.[1];

testEveryEngine(
  'the same ClientId finds its broker and its session through all four doors, and through one for all',
  async (engine, context) => {
    const scene = await setUp(engine, context);
    if (scene === undefined) return;
    let ended = 0;
    for (const version of [4, 5] as const) {
      const clientId = `device-${version}`;
      const first = await join(scene, scene.urls[0]!, clientId, version);
      await first.subscribeAsync(`to/${clientId}`, { qos: 1 });
      await first.endAsync();
      const own = backendOf((await scene.lines(++ended)).at(-1)!);
      for (const url of scene.urls) {
        const publisher = await connectAsync(`mqtt://${own}`, { reconnectPeriod: 0 });
        await publisher.publishAsync(`to/${clientId}`, `through ${url}`, { qos: 1 });
        await publisher.endAsync();
        const { mqtt, messages } = await connectWithMessages(scene, url, clientId, version);
        await waitFor(`message through ${url}`, () => messages.includes(`through ${url}`));
        await mqtt.endAsync();
        assert.equal(backendOf((await scene.lines(++ended)).at(-1)!), own, url);
      }
    }
  },
);

/** What waits in the session comes as soon as it is there: before anybody could ask for it. */
async function connectWithMessages(scene: Scene, url: string, clientId: string, version: 4 | 5) {
  const messages: string[] = [];
  const mqtt = openMqtt(url, optionsOf(scene, clientId, version));
  mqtt.on('message', (_topic, payload) => messages.push(payload.toString()));
  await new Promise((resolve, reject) => mqtt.once('connect', resolve).once('error', reject));
  return { mqtt, messages };
}

testEveryEngine('large messages pass through all doors unchanged', async (engine, context) => {
  const scene = await setUp(engine, context);
  if (scene === undefined) return;
  const payload = Buffer.from(Array.from({ length: 300_000 }, (_, index) => (index * 31) & 255));
  for (const url of scene.urls) {
    const client = await join(scene, url, 'talker', 4);
    await client.subscribeAsync('echo', { qos: 1 });
    const received: Buffer[] = [];
    client.on('message', (_topic, bytes) => received.push(bytes));
    for (let index = 0; index < 3; index++) await client.publishAsync('echo', payload, { qos: 1 });
    await waitFor(`messages through ${url}`, () => received.length === 3);
    for (const bytes of received) assert.ok(bytes.equals(payload));
    await client.endAsync();
  }
});

testEveryEngine(
  'a CONNECT that comes in pieces and with others in one message is one CONNECT',
  async (engine, context) => {
    const backend = await startBackend(context, echo);
    const balancer = await startReloadable(
      context,
      { engine },
      {
        listeners: [{ name: 'ws', bind, websocket: { path: '/broker' } }],
        pools: { brokers: { backends: [backend.address] } },
      },
    );
    const webSocket = new WebSocket(`ws://${HOST}:${balancer.portOf('ws')}/broker`, 'mqtt');
    const received: Buffer[] = [];
    webSocket.on('message', (bytes: Buffer) => received.push(bytes));
    await once(webSocket, 'open');
    const bytes = Buffer.concat([connectPacket({ clientId: 'device' }), Buffer.from('and more')]);
    for (const byte of bytes.subarray(0, 10)) webSocket.send(Buffer.of(byte));
    webSocket.send(bytes.subarray(10));
    const expected = Buffer.concat([connackPacket(4), Buffer.from('and more')]);
    await waitFor('answer', () => Buffer.concat(received).length === expected.length);
    assert.deepEqual(Buffer.concat(received), expected);
    webSocket.close();
    const [line] = await balancer.lines(1);
    assert.match(line!, /reason=client_closed/);
  },
);

testEveryEngine(
  'who speaks something else to a WebSocket door is turned away, logged and counted',
  async (engine, context) => {
    const backend = await startBackend(context, echo);
    const balancer = await startReloadable(
      context,
      { engine },
      {
        listeners: [{ name: 'ws', bind, connect_timeout: '500ms', websocket: { origins: ['https://example.com'] } }],
        pools: { brokers: { backends: [backend.address] } },
      },
    );
    const port = balancer.portOf('ws');
    const foreign = new WebSocket(`ws://${HOST}:${port}/mqtt`, 'mqtt', { origin: 'https://example.org' });
    foreign.on('error', () => {});
    const [, { statusCode }] = await once(foreign, 'unexpected-response');
    assert.equal(statusCode, 403);
    foreign.terminate();
    const mqtt = connect({ host: HOST, port });
    mqtt.write(connectPacket({ clientId: 'device' }));
    const [answer] = await once(mqtt, 'data');
    assert.match(answer.toString(), /^HTTP\/1\.1 400 /);
    mqtt.destroy();
    const silent = connect({ host: HOST, port });
    await once(silent.resume(), 'close');
    const lines = await balancer.lines(3);
    assert.deepEqual(lines.map((line) => line.match(/reason=(\w+)/)?.[1]).sort(), [
      'connect_timeout',
      'websocket_refused',
      'websocket_refused',
    ]);
    assert.equal(backend.connections, 0);
  },
);

testEveryEngine('a page in a browser speaks MQTT through Tidegate', async (engine, context) => {
  const scene = await setUp(engine, context);
  if (scene === undefined) return;
  const browser = await startChromium(context);
  if (browser === undefined) return;
  const script = readFileSync(new URL('../node_modules/mqtt/dist/mqtt.min.js', import.meta.url));
  const server = createServer((request, response) => {
    const isScript = request.url === '/mqtt.js';
    response.writeHead(200, { 'content-type': isScript ? 'text/javascript' : 'text/html' });
    response.end(isScript ? script : '<!doctype html><link rel=icon href="data:,"><script src="/mqtt.js"></script>');
  }).listen(0, HOST);
  await once(server, 'listening');
  context.after(() => server.close());
  const { page } = await visit(browser, `http://${HOST}:${(server.address() as { port: number }).port}/`);
  const texts = await page.evaluate(
    async (urls) => {
      const { mqtt } = globalThis as unknown as { mqtt: typeof import('mqtt') };
      const texts: unknown[] = [];
      for (const url of urls) {
        const client = await mqtt.connectAsync(url, { clientId: 'browser', protocolVersion: 5, reconnectPeriod: 0 });
        await client.subscribeAsync('to/browser', { qos: 1 });
        const heard = new Promise((resolve) => client.on('message', (_topic, payload) => resolve(payload.toString())));
        await client.publishAsync('to/browser', 'hello', { qos: 1 });
        texts.push(await heard);
        await client.endAsync();
      }
      return texts;
    },
    [scene.urls[2]!.replace('localhost', HOST), scene.urls[6]!.replace('localhost', HOST)],
  );
  assert.deepEqual(texts, ['hello', 'hello']);
  for (const line of await scene.lines(2)) assert.match(line, /MQTT\/5\.0 200 .* browser/);
});

testEveryEngine('a front may stand before every door, and say whose connection it is', async (engine, context) => {
  const authority = startAuthority(context);
  if (authority === undefined) return;
  const certificate = authority.issue('localhost', { hosts: ['localhost'], file: 'server' });
  const tls = { ...certificate, alpn: [] };
  const backend = await startBackend(context, echo);
  const fronted = { bind, proxy_protocol: { from: ['127.0.0.1'] } };
  const listeners = [
    { name: 'tcp', ...fronted },
    { name: 'tls', ...fronted, tls },
    { name: 'ws', ...fronted, websocket: {} },
    { name: 'wss', ...fronted, tls, websocket: {} },
    ...['tcp', 'tls', 'ws', 'wss'].map((name) => ({
      name: `all-${name}`,
      ...fronted,
      detect: true,
      tls,
      websocket: {},
    })),
  ];
  const pools = { brokers: { backends: [backend.address] } };
  const balancer = await startReloadable(context, { engine }, { listeners, pools });
  const ca = readFileSync(authority.ca);
  const header = Buffer.from('PROXY TCP4 192.0.2.7 192.0.2.1 4711 1883\r\n');
  const packet = connectPacket({ clientId: 'device' });
  let ended = 0;
  for (const { name } of listeners) {
    for (const isTogether of [true, false]) {
      const socket = connect({ host: HOST, port: balancer.portOf(name), noDelay: true });
      await once(socket, 'connect');
      // With what follows in one segment, or alone.
      if (isTogether) socket.cork();
      socket.write(header);
      if (!isTogether) await new Promise((resolve) => setTimeout(resolve, 100));
      const [door] = name.split('-').slice(-1);
      const isTls = door === 'tls' || door === 'wss';
      const stream = isTls ? connectTls({ socket, ca, servername: 'localhost' }) : socket;
      if (door!.startsWith('ws')) {
        const webSocket = new WebSocket('ws://localhost/mqtt', 'mqtt', { createConnection: () => stream });
        webSocket.on('open', () => webSocket.send(packet));
        socket.uncork();
        assert.deepEqual((await once(webSocket, 'message'))[0], connackPacket(4));
        webSocket.close();
      } else {
        stream.write(packet);
        socket.uncork();
        assert.deepEqual((await once(stream, 'data'))[0], connackPacket(4));
        stream.end();
      }
      ended += 1;
      const line = (await balancer.lines(ended)).at(-1)!;
      assert.match(line, /^192\.0\.2\.7 .* remote_port=4711/, name);
    }
  }
});

testEveryEngine('a browser that goes while its broker talks leaves no session behind', async (engine, context) => {
  const talking: NodeJS.Timeout[] = [];
  context.after(() => talking.forEach(clearInterval));
  let isClosed = false;
  const backend = await startBackend(context, (socket) => {
    socket.once('data', () => {
      socket.write(connackPacket(4));
      talking.push(setInterval(() => socket.write(Buffer.alloc(1000, 0xd0)), 5));
    });
    socket
      .on('error', () => {})
      .on('close', () => {
        isClosed = true;
      });
  });
  const settings = {
    listeners: [{ name: 'ws', bind, websocket: { message_bytes_max: 4 << 20 } }],
    pools: { brokers: { backends: [backend.address], health: { type: 'none' } } },
  };
  const balancer = await startReloadable(context, { engine }, settings);
  const ways: Record<string, (webSocket: WebSocket) => void> = {
    closes: (webSocket) => webSocket.close(),
    vanishes: (webSocket) => webSocket.terminate(),
    'speaks text': (webSocket) => webSocket.send('text'),
    'says too much': (webSocket) => webSocket.send(Buffer.alloc((4 << 20) + 1)),
  };
  for (const [how, leave] of Object.entries(ways)) {
    isClosed = false;
    const webSocket = new WebSocket(`ws://${HOST}:${balancer.portOf('ws')}/mqtt`, 'mqtt');
    webSocket.on('error', () => {});
    await once(webSocket, 'open');
    webSocket.send(connectPacket({ clientId: 'device', keepAlive: 0 }));
    await once(webSocket, 'message');
    leave(webSocket);
    await waitFor(`end of the session of one who ${how}`, () => isClosed);
    await waitFor('free slot', () => balancer.tidegate.status().connections === 0);
  }
});

testEveryEngine('a message as long as a listener allows passes, with the CONNECT in it', async (engine, context) => {
  const backend = await startBackend(context, echo);
  const settings = {
    listeners: [{ name: 'ws', bind, websocket: { message_bytes_max: 8 << 20 } }],
    pools: { brokers: { backends: [backend.address], health: { type: 'none' } } },
  };
  const balancer = await startReloadable(context, { engine }, settings);
  const webSocket = new WebSocket(`ws://${HOST}:${balancer.portOf('ws')}/mqtt`, 'mqtt');
  let received = 0;
  webSocket.on('message', (bytes: Buffer) => {
    received += bytes.length;
  });
  await once(webSocket, 'open');
  const body = Buffer.alloc(6 << 20, 0xc0);
  webSocket.send(Buffer.concat([connectPacket({ clientId: 'device' }), body]));
  await waitFor('all of it', () => received === connackPacket(4).length + body.length);
  webSocket.close();
  await balancer.lines(1);
});
