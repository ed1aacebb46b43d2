// The bench's load, so that a figure never comes from a load that does something else than MQTT.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { generate, type Packet, parser } from 'mqtt-packet';
import { quantiles } from '../bench/latency.ts';
import { MODE_CHURN, MODE_ECHO, MODE_FAN_IN, MODE_FAN_OUT } from '../bench/layout.ts';
import { type Figures, Load, type LoadSettings, Sink } from '../bench/load.ts';
import { pubackPacket, publishPacket } from '../bench/packets.ts';
import { WebSocketLoad } from '../bench/websocket-load.ts';
import { parseConfig } from '../src/config.ts';
import { freePort } from '../src/demo-brokers.ts';
import { probeUring } from '../src/engine/uring.ts';
import { start } from '../src/index.ts';
import { waitFor } from './tools/wait.ts';

const CLIENTS = 20;
const MESSAGES = 200;
/** Messages per second of the open loop. */
const RATE = 1000;
const RUN_MS_MAX = 10_000;

function skipReason(): string | false {
  const probe = probeUring();
  return probe.ok ? false : `the load needs io_uring: ${probe.why}`;
}

function openSink(context: TestContext): { sink: Sink; target: { host: string; port: number } } {
  const sink = new Sink(['127.0.0.1'], 0);
  context.after(() => sink.close());
  return { sink, target: { host: '127.0.0.1', port: sink.ports[0]! } };
}

/** Runs until `enough` says so of the figures, or for as long as a slow machine may take; then stops. */
async function runLoad(
  settings: LoadSettings,
  enough: (figures: Figures) => boolean,
): Promise<{ figures: Figures; buckets: Uint32Array }> {
  const load = new Load(settings);
  try {
    const deadline = performance.now() + RUN_MS_MAX;
    while (!enough(load.figures()) && performance.now() < deadline) await sleep(10);
    return { figures: load.figures(), buckets: load.histogram() };
  } finally {
    await load.stop();
  }
}

const isBusy = ({ open, messages }: Figures): boolean => open === CLIENTS && messages > MESSAGES;

const skip = skipReason();

const shapes: [title: string, settings: Partial<LoadSettings>][] = [
  ['ping-pong', { mode: MODE_ECHO }],
  ['several in flight', { mode: MODE_ECHO, depth: 4 }],
  ['messages larger than a buffer', { mode: MODE_ECHO, messageBytes: 16_384 }],
  ['fan-in', { mode: MODE_FAN_IN, depth: 3 }],
  ['fan-out', { mode: MODE_FAN_OUT, depth: 3 }],
];

for (const [title, shape] of shapes) {
  test(`messages of the load come back from its own sink: ${title}`, { skip }, async (context) => {
    const { sink, target } = openSink(context);
    const { figures } = await runLoad({ mode: 0, clients: CLIENTS, sink, target, ...shape }, isBusy);
    assert.equal(figures.failed, 0);
    assert(isBusy(figures), JSON.stringify(figures));
  });
}

test('an open loop keeps its rate and tells latencies', { skip }, async (context) => {
  const { sink, target } = openSink(context);
  const begunMs = performance.now();
  const settings = { mode: MODE_ECHO, clients: CLIENTS, rate: RATE, sink, target };
  const { figures, buckets } = await runLoad(settings, ({ messages }) => messages > MESSAGES);
  const dueMax = ((performance.now() - begunMs) * RATE) / 1000 + 1;
  assert.equal(figures.failed, 0);
  assert(figures.messages > MESSAGES && figures.messages <= dueMax, `${figures.messages} messages`);
  const counted = buckets.reduce((sum, count) => sum + count, 0);
  assert(counted > 0 && counted <= figures.messages + CLIENTS);
  const found = quantiles(buckets);
  assert(found !== undefined && found.p50Us > 0 && found.p50Us <= found.p99Us && found.p99Us <= found.p999Us);
});

test('the load passes through Tidegate', { skip }, async (context) => {
  const { sink, target } = openSink(context);
  const yaml = `
workers: 1
listeners: [{ name: mqtt, bind: "127.0.0.1:0", pool: brokers }]
pools: { brokers: { backends: ["127.0.0.1:${target.port}"] } }
access_log: { path: "off" }
admin: off
`;
  const tidegate = await start(parseConfig(yaml, 'bench.yaml'));
  context.after(() => tidegate.stop({ now: true }));
  const through = { host: '127.0.0.1', port: tidegate.listeners[0]!.port };
  for (const mode of [MODE_ECHO, MODE_FAN_IN, MODE_FAN_OUT, MODE_CHURN]) {
    const enough = mode === MODE_CHURN ? ({ connected }: Figures) => connected > 2 * CLIENTS : isBusy;
    const { figures } = await runLoad({ mode, clients: CLIENTS, depth: 2, sink, target: through }, enough);
    assert.equal(figures.failed, 0, `mode ${mode}`);
    assert(enough(figures), `mode ${mode}: ${JSON.stringify(figures)}`);
  }
});

for (const tunnels of [false, true]) {
  const through = tunnels ? 'to a broker that speaks it' : 'through Tidegate';
  test(`messages of the WebSocket load come back ${through}`, { skip }, async (context) => {
    const { sink, target } = openSink(context);
    const webSocketPort = await freePort();
    const tidegate = await start(
      parseConfig(
        JSON.stringify({
          workers: 1,
          listeners: [{ name: 'ws', bind: '127.0.0.1:0', websocket: {} }],
          pools: { brokers: { backends: [`127.0.0.1:${target.port}`] } },
          access_log: { path: 'off' },
          admin: 'off',
        }),
        'bench.yaml',
      ),
    );
    context.after(() => tidegate.stop({ now: true }));
    const port = tunnels ? webSocketPort : tidegate.listeners[0]!.port;
    const load = new WebSocketLoad({ port, kind: { tunnels }, sink, webSocketPort }, CLIENTS, 64);
    context.after(() => load.stop());
    await waitFor('clients', () => load.figures().connected === CLIENTS);
    assert.equal(load.figures().messages, 0);
    load.resume();
    await waitFor('messages', () => isBusy(load.figures()));
    assert.equal(load.figures().failed, 0);
  });
}

test('what the clients send is MQTT', { skip }, async (context) => {
  const seen: Packet[] = [];
  const server = createServer((socket) => {
    readPackets(socket, (packet) => {
      seen.push(packet);
      if (packet.cmd === 'connect') socket.write(generate({ cmd: 'connack', returnCode: 0, sessionPresent: false }));
      if (packet.cmd === 'publish') socket.write(generate({ cmd: 'puback', messageId: packet.messageId! }));
    });
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  context.after(() => server.close());
  const port = (server.address() as { port: number }).port;
  const target = { host: '127.0.0.1', port };
  const settings = { mode: MODE_FAN_IN, clients: 2, depth: 3, messageBytes: 200, target };
  const { figures } = await runLoad(settings, ({ messages }) => messages > MESSAGES);
  assert.equal(figures.failed, 0);
  const connects = seen.filter((packet) => packet.cmd === 'connect');
  assert.equal(new Set(connects.map(({ clientId }) => clientId)).size, 2);
  const publishes = seen.filter((packet) => packet.cmd === 'publish');
  assert(publishes.length > MESSAGES);
  assert.deepEqual(new Set(publishes.map(({ messageId }) => messageId)), new Set([1, 2, 3]));
});

test('what the sink sends is MQTT', { skip }, async (context) => {
  const { sink, target } = openSink(context);
  const load = new Load({ mode: MODE_FAN_OUT, clients: 0, depth: 2, guests: 10, sink, target });
  context.after(() => load.stop());
  const socket = connect(target);
  context.after(() => socket.destroy());
  const seen: Packet[] = [];
  const enough = Promise.withResolvers<void>();
  readPackets(socket, (packet) => {
    seen.push(packet);
    if (packet.cmd === 'publish') socket.write(generate({ cmd: 'puback', messageId: packet.messageId! }));
    if (seen.length === 10) enough.resolve();
  });
  socket.write(
    generate({
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: 4,
      clean: true,
      clientId: '0000000001',
      keepalive: 60,
    }),
  );
  await enough.promise;
  assert.equal(seen[0]!.cmd, 'connack');
  assert(seen.slice(1).every((packet) => packet.cmd === 'publish' && packet.qos === 1));
});

test('prepared packets have exactly the length that was asked for', () => {
  for (const bytes of [64, 127, 128, 129, 130, 131, 4000, 16_383, 16_384, 16_387, 16_390]) {
    for (const packetId of [undefined, 513]) {
      const packet = publishPacket(bytes, packetId);
      assert.equal(packet.length, bytes);
      const [read] = parsed(packet);
      assert(read?.cmd === 'publish');
      assert.equal(read.messageId, packetId);
    }
  }
  const [ack] = parsed(pubackPacket(513));
  assert(ack?.cmd === 'puback' && ack.messageId === 513);
});

function parsed(bytes: Buffer): Packet[] {
  const packets: Packet[] = [];
  const reader = parser();
  reader.on('packet', (packet) => packets.push(packet));
  assert.equal(reader.parse(bytes), 0);
  return packets;
}

function readPackets(socket: Socket, onPacket: (packet: Packet) => void): void {
  const reader = parser();
  reader.on('packet', onPacket);
  reader.on('error', (error) => assert.fail(error));
  socket.on('data', (bytes) => reader.parse(bytes));
  socket.on('error', () => {});
}
