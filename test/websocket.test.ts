// The WebSocket front door alone: what comes in as messages goes out as a stream, and the other way round.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { WebSocket } from 'ws';
import type { WebSocketDoorSettings } from '../src/front/door-settings.ts';
import { WebSocketDoor } from '../src/front/websocket.ts';
import { ask } from './tools/ask.ts';
import { waitFor } from './tools/wait.ts';

const SETTINGS: WebSocketDoorSettings = {
  path: '/mqtt',
  origins: null,
  messageBytesMax: 1 << 20,
  trustedProxies: [],
  pingIntervalMs: 0,
};

interface House {
  port: number;
  streams: Socket[];
  turnedAway: string[];
  sockets: Socket[];
}

async function open(context: TestContext, settings: Partial<WebSocketDoorSettings> = {}): Promise<House> {
  const house: House = { port: 0, streams: [], turnedAway: [], sockets: [] };
  const door = new WebSocketDoor<Socket>(
    { ...SETTINGS, ...settings },
    {
      onEntered: (_entrant, stream) => void house.streams.push(stream.on('error', () => {})),
      onDetected: () => assert.fail(),
      onRouted: () => assert.fail(),
      onTurnedAway: (_entrant, _reason, error) => void house.turnedAway.push(error),
    },
  );
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    house.sockets.push(socket);
    socket.on('error', () => {});
    door.enter(socket, socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  house.port = (server.address() as { port: number }).port;
  context.after(() => {
    door.close();
    server.close();
    for (const socket of house.sockets) socket.destroy();
  });
  return house;
}

function visit(context: TestContext, { port }: House, path = '/mqtt', options: object = {}, protocols = ['mqtt']) {
  const visitor = new WebSocket(`ws://127.0.0.1:${port}${path}`, protocols, options);
  visitor.on('error', () => {});
  context.after(() => visitor.terminate());
  return visitor;
}

async function enter(context: TestContext, house: House, options: object = {}) {
  const visitor = visit(context, house, '/mqtt', options);
  await once(visitor, 'open');
  const stream = await waitFor('stream', () => house.streams.at(-1));
  return { visitor, stream };
}

async function statusOf(visitor: WebSocket): Promise<number> {
  const [, { statusCode }] = await once(visitor, 'unexpected-response');
  return statusCode;
}

test('bytes come out as they were sent, however they were cut into messages and frames', async (context) => {
  const { visitor, stream } = await enter(context, await open(context));
  assert.equal(visitor.protocol, 'mqtt');
  const sent = Buffer.from(Array.from({ length: 1000 }, (_, index) => index & 255));
  const cuts = [0, 1, 3, 3, 303, 400];
  for (const [index, cut] of cuts.slice(1).entries()) visitor.send(sent.subarray(cuts[index], cut));
  visitor.send(sent.subarray(400, 410), { fin: false });
  visitor.send(sent.subarray(410), { fin: true });
  const received: Buffer[] = [];
  for await (const bytes of stream) {
    received.push(bytes);
    if (Buffer.concat(received).length === sent.length) break;
  }
  assert.deepEqual(Buffer.concat(received), sent);
});

test('messages that come together are passed on together, and long ones in parts', async (context) => {
  const { visitor, stream } = await enter(context, await open(context));
  const lengths: number[] = [];
  stream.on('data', (bytes) => lengths.push(bytes.length));
  const total = () => lengths.reduce((sum, length) => sum + length, 0);
  visitor.pause();
  for (let index = 0; index < 2000; index++) visitor.send(Buffer.of(index & 255));
  await waitFor('2,000 bytes', () => total() === 2000);
  assert.ok(lengths.length < 500, `${lengths.length} parts`);
  lengths.length = 0;
  visitor.send(Buffer.alloc(1 << 20));
  await waitFor('a whole message', () => total() === 1 << 20);
  assert.ok(Math.max(...lengths) <= 1 << 16, `${Math.max(...lengths)} bytes at once`);
});

test('what is written goes out in binary messages, and an end as a normal close', async (context) => {
  const { visitor, stream } = await enter(context, await open(context));
  const received: Buffer[] = [];
  visitor.on('message', (data: Buffer, isBinary) => {
    assert.ok(isBinary);
    received.push(data);
  });
  stream.write('one ');
  stream.write('two ');
  const closed = once(stream.resume(), 'close');
  stream.end('three');
  const [code] = await once(visitor, 'close');
  assert.equal(code, 1000);
  assert.equal(Buffer.concat(received).toString(), 'one two three');
  assert.equal(stream.bytesWritten, 13);
  await closed;
});

test("the visitor's close is the end of the stream, and its reset, too", async (context) => {
  const house = await open(context);
  for (const leave of ['close', 'terminate'] as const) {
    const { visitor, stream } = await enter(context, house);
    const ended = Promise.all([once(stream, 'end'), once(stream, 'close')]);
    stream.resume();
    visitor[leave]();
    await ended;
    house.streams.length = 0;
  }
});

test('a stream that is not read holds back its visitor, and one that is not taken its writer', async (context) => {
  const { visitor, stream } = await enter(context, await open(context));
  const message = Buffer.alloc(64 * 1024);
  for (let index = 0; index < 400; index++) visitor.send(message);
  await waitFor('full buffers', () => visitor.bufferedAmount > 1 << 20);
  assert.ok(stream.readableLength <= 4 * message.length, `${stream.readableLength} bytes wait`);
  let received = 0;
  stream.on('data', (bytes) => {
    received += bytes.length;
  });
  await waitFor('all of it', () => received === 400 * message.length);

  visitor.pause();
  let written = 0;
  while (stream.write(message)) written += message.length;
  assert.ok(stream.writableNeedDrain && written <= message.length);
  let isHeldBack = false;
  for (let index = 0; index < 400 && !isHeldBack; index++) {
    const drained = once(stream, 'drain').then(() => true);
    isHeldBack = !(await Promise.race([drained, new Promise((resolve) => setTimeout(resolve, 500, false))]));
    if (!isHeldBack) while (stream.write(message));
  }
  assert.ok(isHeldBack);
});

test('text is refused, and a message that is too long, with all that follows', async (context) => {
  const house = await open(context, { messageBytesMax: 1000 });
  for (const [message, expected] of [
    ['text', 1003],
    [Buffer.alloc(1001), 1009],
  ] as const) {
    const { visitor, stream } = await enter(context, house);
    const passed: Buffer[] = [];
    stream.on('data', (bytes) => passed.push(bytes));
    visitor.send(message);
    visitor.send(Buffer.alloc(200));
    const [code] = await once(visitor, 'close');
    assert.equal(code, expected);
    assert.deepEqual(passed, [], 'nor does anything behind it pass');
    house.streams.length = 0;
  }
});

test('a message in more pieces than it could be worth is refused', async (context) => {
  const { visitor, stream } = await enter(context, await open(context, { messageBytesMax: 1 << 20 }));
  stream.resume();
  const closed = once(visitor, 'close');
  for (let index = 0; index < 5000; index++) visitor.send(Buffer.of(index & 255), { fin: false });
  assert.equal((await closed)[0], 1008);
});

test('whoever asks for answers and never takes them is given up', async (context) => {
  const house = await open(context);
  const { visitor, stream } = await enter(context, house);
  stream.resume();
  visitor.pause();
  const ends = once(house.sockets[0]!, 'close');
  const pings = setInterval(() => {
    for (let count = 0; count < 2000 && visitor.bufferedAmount < 1 << 20; count++) visitor.ping(Buffer.alloc(125));
  }, 5);
  context.after(() => clearInterval(pings));
  await ends;
});

test('another path, another protocol, a foreign origin and plain HTTP are turned away', async (context) => {
  const house = await open(context, { origins: ['https://example.com'] });
  assert.equal(await statusOf(visit(context, house, '/other')), 404);
  assert.equal(await statusOf(visit(context, house, '/mqtt', {}, ['chat'])), 400);
  assert.equal(await statusOf(visit(context, house, '/mqtt', { origin: 'https://example.org' })), 403);
  assert.equal((await ask(house.port, '/mqtt')).status, 426);
  assert.deepEqual(house.turnedAway, ['404_path', '400_sub_protocol', '403_origin', '426_not_websocket']);
  await enter(context, house, { origin: 'https://example.com' });
  const query = visit(context, house, '/mqtt?token=1', {}, ['mqttv3.1', 'mqtt']);
  await once(query, 'open');
});

test('whoever answers no ping is given up, and nobody else', async (context) => {
  const house = await open(context, { pingIntervalMs: 100 });
  const silent = await enter(context, house, { autoPong: false });
  const { visitor, stream } = await enter(context, house);
  silent.stream.resume();
  await once(silent.stream, 'close');
  assert.equal(visitor.readyState, WebSocket.OPEN);
  assert.ok(!stream.destroyed);
});
