// The load tools, each against the other and against brokers and clients that others wrote.
import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { connectAsync } from 'mqtt';
import { generate, type Packet, parser } from 'mqtt-packet';
import { freePort } from '../src/demo-brokers.ts';
import { probeUring } from '../src/engine/uring.ts';
import { startSink, startSwarm } from './tools/crowd.ts';
import { startMosquitto } from './tools/mosquitto.ts';
import { connectPacket } from './tools/packets.ts';
import { runProgram } from './tools/program.ts';
import { requireProgram } from './tools/requirements.ts';
import { waitFor } from './tools/wait.ts';

const MANY = 2000;
const SOME = 200;

const probe = probeUring();
const skip = probe.ok ? false : `swarm and sink need io_uring: ${probe.why}`;

const isOpen = (count: number) => (figures: { open?: unknown }) => figures.open === count;

// ---- Each against the other --------------------------------------------------------------------------------------------

test('two thousand sessions are opened, pinged, held and closed, and the report says so', { skip }, async (context) => {
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-swarm-'));
  context.after(() => rm(folder, { recursive: true, force: true }));
  const sink = await startSink(context);
  const load = ['--connections', `${MANY}`, '--rate', '4000', '--keep-alive', '2s', '--hold', '3s'];
  const prefix = join(folder, 'run');
  const report = await startSwarm(context, [...load, '--to', sink.address, '--report', prefix]).report(0);
  assert.equal(report.connected, MANY);
  assert.deepEqual([report.failed, report.lost, report.reasons], [0, 0, {}]);
  // In three seconds everybody's turn comes once, and half of them have a second one; the machine may take its time.
  assert.ok(report.hold.pings > MANY, `${report.hold.pings} pings`);
  assert.ok(report.hold.pingP50Ms! > 0 && report.hold.pingP50Ms! <= report.hold.pingP99Ms!);
  assert.deepEqual(Object.keys(report.phases), ['connect', 'hold', 'close']);

  const written = JSON.parse(await readFile(`${prefix}.json`, 'utf8'));
  assert.equal(written.report.connected, MANY);
  assert.ok(written.samples.some(isOpen(MANY)));
  assert.match(await readFile(`${prefix}.txt`, 'utf8'), /^CONNACKs +2,000$/m);
  assert.match(
    await readFile(`${prefix}.svg`, 'utf8'),
    /^<svg[\s\S]*open connections[\s\S]*PINGREQ to PINGRESP[\s\S]*<\/svg>\n$/,
  );

  const seen = await sink.until('end of all connections', isOpen(0));
  assert.equal(seen.accepted, MANY);
  assert.ok(Number(seen.pings) > MANY);
  // Everybody has said DISCONNECT.
  assert.equal(seen.failed, 0);
  await sink.stop(0);
});

test('a swarm without an end is held until SIGTERM, which closes all of it', { skip }, async (context) => {
  const sink = await startSink(context);
  const swarm = startSwarm(context, ['--connections', `${SOME}`, '--rate', '1000', '--to', sink.address]);
  await swarm.until('open sessions', isOpen(SOME));
  await swarm.until('hold', ({ phase }) => phase === 'hold');
  const report = await swarm.stop(0);
  assert.deepEqual([report.connected, report.failed, report.lost], [SOME, 0, 0]);
  await sink.until('end of all connections', isOpen(0));
  assert.equal(sink.figures().failed, 0);
});

test('a broker that dies is told from one that closes, and who was lost comes back', { skip }, async (context) => {
  const address = `127.0.0.1:${await freePort()}`;
  const first = await startSink(context, ['--listen', address]);
  const load = ['--connections', `${SOME}`, '--rate', '1000', '--to', address, '--reconnect', 'on'];
  const swarm = startSwarm(context, load);
  await swarm.until('open sessions', isOpen(SOME));
  await first.program.kill();
  await swarm.until('lost sessions', ({ lost }) => lost === SOME);
  // Whoever comes now is refused, and waits for twice as long.
  await swarm.until('refused ones', ({ failed }) => Number(failed) > 0);
  await startSink(context, ['--listen', address]);
  await swarm.until('sessions that came back', ({ open, reconnected }) => open === SOME && reconnected === SOME);
  const report = await swarm.stop(1);
  assert.deepEqual([report.lost, report.reconnected, report.connected], [SOME, SOME, 2 * SOME]);
  assert.ok(report.reasons.ECONNREFUSED! > 0);
});

test('a broker that refuses everybody fails everybody, and the exit code tells', { skip }, async (context) => {
  const to = `127.0.0.1:${await freePort()}`;
  const load = ['--connections', '20', '--rate', '1000', '--to', to, '--hold', '0s'];
  const report = await startSwarm(context, load).report(1);
  assert.deepEqual([report.connected, report.failed, report.reasons], [0, 20, { ECONNREFUSED: 20 }]);
});

for (const [mode, received] of [
  ['echo', 1],
  ['fan-out', SOME / 10],
] as const) {
  test(`in mode ${mode} the swarm receives ${received} for each message that it publishes`, {
    skip,
  }, async (context) => {
    const sink = await startSink(context, ['--mode', mode]);
    const clients = SOME / 10;
    const load = ['--connections', `${clients}`, '--rate', '1000', '--to', sink.address, '--version', '5'];
    // Larger than a buffer, so that packets come in parts.
    const messages = ['--publish', '200', '--payload', '9000', '--qos', '2', '--topic', 'a/{n}', '--subscribe', 'a/+'];
    const swarm = startSwarm(context, [...load, ...messages]);
    await swarm.until('messages', (figures) => Number(figures.received) > 100 * received);
    const { messages: counted } = await swarm.stop(0);
    assert.equal(counted.subscribed, clients);
    // What was under way when all were closed is missing.
    assert.ok(counted.received >= 0.8 * received * counted.acknowledged, JSON.stringify(counted));
    assert.ok(counted.received <= received * counted.published, JSON.stringify(counted));
    assert.ok(counted.acknowledged > 100);
  });
}

// ---- The swarm against others ------------------------------------------------------------------------------------------

for (const { version, level, qos, persistent } of [
  { version: '3.1', level: 1, qos: 0, persistent: false },
  { version: '3.1.1', level: 2, qos: 1, persistent: true },
  { version: '5', level: 5, qos: 2, persistent: true },
  { version: '5', level: 5, qos: 1, persistent: false },
]) {
  const session = persistent ? 'persistent' : 'clean';
  test(`real mosquitto serves ${session} sessions of ${version} with QoS ${qos}`, { skip }, async (context) => {
    const broker = await startMosquitto(context);
    if (broker === undefined) return;
    const load = ['--connections', `${SOME}`, '--rate', '1000', '--to', broker.address, '--keep-alive', '5s'];
    const messages = ['--publish', '400', '--qos', `${qos}`, '--subscribe', 'fleet/{n}', '--client-id', 'c-{n}'];
    const kind = ['--version', version, ...(persistent ? ['--persistent'] : [])];
    const swarm = startSwarm(context, [...load, ...messages, ...kind, '--first', '1001']);
    await swarm.until('open sessions', isOpen(SOME));
    await swarm.until('pings and messages', ({ pings, received }) => Number(pings) > 40 && Number(received) > 4 * SOME);
    const report = await swarm.stop(0);
    assert.deepEqual([report.connected, report.failed, report.lost, report.reasons], [SOME, 0, 0, {}]);
    const { published, received, acknowledged, subscribed, withheld } = report.messages;
    assert.deepEqual([subscribed, withheld], [SOME, 0]);
    // Each client hears what it said itself; a few of each were under way when all were closed.
    const arrived = published - 3 * SOME;
    assert.ok(received <= published && received > arrived, JSON.stringify(report.messages));
    assert.ok(qos === 0 ? acknowledged === 0 : acknowledged > arrived, JSON.stringify(report.messages));
    const log = broker.log();
    const came = log.filter((line) => line.startsWith('New client connected'));
    assert.equal(came.length, SOME);
    assert.ok(
      came.every((line) => line.includes(`(p${level}, c${persistent ? 0 : 1}, k5)`)),
      came[0],
    );
    assert.ok(came.some((line) => / as c-1001 /.test(line)) && came.some((line) => / as c-1200 /.test(line)));
    assert.equal(log.filter((line) => /^Client c-\d+ disconnected\.$/.test(line)).length, SOME);
  });
}

test('user name and password are sent, and a refusal is named by its code', { skip }, async (context) => {
  const broker = await startMosquitto(context, { user: { name: 'fleet-1', password: 'secret' } });
  if (broker === undefined) return;
  const load = [
    '--connections',
    '1',
    '--rate',
    '100',
    '--to',
    broker.address,
    '--hold',
    '0s',
    '--username',
    'fleet-{n}',
  ];
  const welcome = await startSwarm(context, [...load, '--password', 'secret']).report(0);
  assert.equal(welcome.connected, 1);
  const refused = await startSwarm(context, [...load, '--password', 'guess', '--version', '5']).report(1);
  assert.deepEqual(refused.reasons, { 'CONNACK 0x87': 1 });
});

test('clients take the brokers in turn, and their own addresses', { skip }, async (context) => {
  const [first, second] = [await listen(context), await listen(context)];
  const to = ['--to', `127.0.0.1:${first.port},127.0.0.1:${second.port}`];
  const from = ['--source-addresses', '127.0.0.5,127.0.0.6'];
  await startSwarm(context, ['--connections', '8', '--rate', '100', '--hold', '0s', ...to, ...from]).report(0);
  const addresses = ['127.0.0.5', '127.0.0.5', '127.0.0.6', '127.0.0.6'];
  assert.deepEqual([first.from.sort(), second.from.sort()], [addresses, addresses]);
});

test('packets may come byte by byte, and all at once', { skip }, async (context) => {
  const written = new Map<Socket, Promise<void>>();
  const trickle = async (socket: Socket, bytes: Buffer): Promise<void> => {
    await written.get(socket);
    for (const byte of bytes) {
      if (!socket.destroyed) socket.write(Buffer.from([byte]));
      await new Promise(setImmediate);
    }
  };
  const { port, seen } = await listen(context, (socket, packet) => {
    written.set(socket, trickle(socket, answersTo(packet)));
  });
  const load = ['--connections', '3', '--rate', '100', '--to', `127.0.0.1:${port}`, '--keep-alive', '1s'];
  const swarm = startSwarm(context, [...load, '--publish', '30', '--qos', '2', '--subscribe', 'a']);
  await swarm.until('messages and pings', ({ received, pings }) => Number(received) > 20 && Number(pings) > 3);
  const report = await swarm.stop(0);
  assert.deepEqual([report.failed, report.lost], [0, 0]);
  assert.ok(report.messages.acknowledged > 20);
  assert.deepEqual(
    new Set(seen),
    new Set(['connect', 'subscribe', 'publish', 'pubrel', 'puback', 'pingreq', 'disconnect']),
  );
});

for (const [what, bytes, reason] of [
  ['something else than MQTT', Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'), 'not MQTT'],
  ['a packet that never ends', Buffer.from([0x20, 0xff, 0xff, 0xff, 0x7f, 1]), 'not MQTT'],
  ['a length of five bytes', Buffer.from([0x20, 0xff, 0xff, 0xff, 0xff, 1]), 'not MQTT'],
  ['nothing', undefined, 'closed by the other side'],
] as const) {
  test(`a broker that answers CONNECT with ${what} is no broker`, { skip }, async (context) => {
    const { port } = await listen(context, (socket) => void (bytes === undefined ? socket.end() : socket.write(bytes)));
    const load = ['--connections', '2', '--rate', '100', '--to', `127.0.0.1:${port}`, '--hold', '0s'];
    const report = await startSwarm(context, load).report(1);
    assert.deepEqual([report.failed, report.reasons], [2, { [reason]: 2 }]);
  });
}

test('a session whose broker falls silent is lost after two pings', { skip }, async (context) => {
  const { port } = await listen(context, (socket, packet) => {
    if (packet.cmd === 'connect') socket.write(generate({ cmd: 'connack', returnCode: 0, sessionPresent: false }));
  });
  const load = ['--connections', '2', '--rate', '100', '--to', `127.0.0.1:${port}`, '--keep-alive', '1s'];
  const swarm = startSwarm(context, load);
  await swarm.until('lost sessions', ({ lost }) => lost === 2);
  const report = await swarm.stop(1);
  assert.deepEqual(report.reasons, { 'no answer to a ping': 2 });
});

// ---- The sink against others -------------------------------------------------------------------------------------------

test('mosquitto_pub and mosquitto_sub meet at the sink, in 3.1, 3.1.1 and 5.0', { skip }, async (context) => {
  const subscribe = requireProgram(context, 'mosquitto_sub');
  const publish = requireProgram(context, 'mosquitto_pub');
  if (subscribe === undefined || publish === undefined) return;
  const sink = await startSink(context, ['--mode', 'fan-out']);
  for (const [index, version] of ['mqttv31', '311', '5'].entries()) {
    const common = ['-h', '127.0.0.1', '-p', `${sink.port}`, '-V', version];
    const lift = ['-i', 'sub', '-t', 'building/+/lift', '-C', '3', '-W', '20', '-v'];
    const subscriber: ChildProcess = spawn(subscribe, [...common, ...lift]);
    const ended = once(subscriber, 'close');
    let output = '';
    subscriber.stdout!.setEncoding('utf8').on('data', (text) => (output += text));
    await sink.until('subscription', ({ subscribes }) => subscribes === index + 1);
    for (const qos of ['0', '1', '2']) {
      const message = ['-t', 'building/7/lift', '-m', `QoS ${qos}`, '-q', qos];
      await promisify(execFile)(publish, [...common, '-i', 'pub', ...message]);
    }
    assert.deepEqual(await ended, [0, null]);
    assert.equal(output, ['0', '1', '2'].map((qos) => `building/7/lift QoS ${qos}\n`).join(''));
  }
  const seen = await sink.until('end of all connections', isOpen(0));
  assert.deepEqual([seen.failed, seen.publishes], [0, 9]);
});

for (const protocolVersion of [4, 5] as const) {
  test(`MQTT.js finds a broker in the sink, version ${protocolVersion}`, { skip }, async (context) => {
    const sink = await startSink(context, ['--mode', 'fan-out']);
    const url = `mqtt://127.0.0.1:${sink.port}`;
    const client = await connectAsync(url, { protocolVersion, clientId: 'client', keepalive: 1, reconnectPeriod: 0 });
    const messages: string[] = [];
    client.on('message', (topic, payload) => messages.push(`${topic} ${payload}`));
    const granted = await client.subscribeAsync({ 'a/#': { qos: 2 }, 'b/c': { qos: 1 }, '+/d': { qos: 0 } });
    assert.deepEqual(
      granted.map(({ qos }) => qos),
      [0, 0, 0],
    );
    const topics = ['a', 'a/b/c', 'b/c', 'b/d', 'b/c/d', 'c', '$SYS/d'];
    for (const [index, topic] of topics.entries())
      await client.publishAsync(topic, 'x', { qos: (index % 3) as 0 | 1 | 2 });
    await client.unsubscribeAsync('a/#');
    await client.publishAsync('a/b', 'unheard');
    await client.publishAsync('b/c', 'last', { qos: 1 });
    await waitFor('the last message', () => messages.includes('b/c last'));
    assert.deepEqual(messages, ['a x', 'a/b/c x', 'b/c x', 'b/d x', 'b/c last']);
    await sink.until('ping', ({ pings }) => Number(pings) > 0);
    await client.endAsync();
    const seen = await sink.until('end of the connection', isOpen(0));
    assert.equal(seen.failed, 0);
  });
}

test('a client of 5.0 without a ClientId is told which one it got', { skip }, async (context) => {
  const sink = await startSink(context);
  const socket = connect(sink.port, '127.0.0.1');
  context.after(() => socket.destroy());
  const names: unknown[] = [];
  readPackets(
    socket,
    (packet) => {
      if (packet.cmd === 'connack') names.push(packet.properties?.assignedClientIdentifier);
    },
    5,
  );
  socket.write(connectPacket({ clientId: '', version: 5 }));
  await waitFor('CONNACK', () => names.length === 1);
  assert.match(String(names[0]), /^[0-9a-f]{16}$/);
});

test('what comes to the sink byte by byte is answered as what comes at once', { skip }, async (context) => {
  const sink = await startSink(context, ['--mode', 'echo']);
  const said = Buffer.concat([
    connectPacket({ clientId: 'slow' }),
    generate({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'a', qos: 0 }] }),
    generate({ cmd: 'publish', topic: 'a', payload: 'x'.repeat(300), qos: 1, messageId: 2, dup: false, retain: false }),
    generate({ cmd: 'unsubscribe', messageId: 3, unsubscriptions: ['a'] }),
    generate({ cmd: 'pingreq' }),
    generate({ cmd: 'disconnect' }),
  ]);
  for (const step of [1, 7, said.length]) {
    const socket = connect({ host: '127.0.0.1', port: sink.port, noDelay: true });
    const answers: string[] = [];
    readPackets(socket, ({ cmd }) => answers.push(cmd));
    for (let at = 0; at < said.length; at += step) {
      socket.write(said.subarray(at, at + step));
      await new Promise(setImmediate);
    }
    await once(socket, 'close');
    assert.deepEqual(answers, ['connack', 'suback', 'puback', 'publish', 'unsuback', 'pingresp']);
  }
});

for (const [what, bytes] of [
  ['another packet before CONNECT', generate({ cmd: 'pingreq' })],
  ['a second CONNECT', Buffer.concat([connectPacket(), connectPacket()])],
  ['a SUBSCRIBE that is cut short', Buffer.concat([connectPacket(), Buffer.from([0x82, 5, 0, 1, 0, 9, 0x61])])],
  ['a PUBLISH whose topic is longer than itself', Buffer.concat([connectPacket(), Buffer.from([0x30, 3, 0, 9, 0x61])])],
  ['a packet longer than it takes', Buffer.concat([connectPacket(), Buffer.from([0x30, 0xff, 0xff, 0xff, 0x7f])])],
] as const) {
  test(`the sink closes the connection after ${what}`, { skip }, async (context) => {
    const sink = await startSink(context);
    const socket = connect(sink.port, '127.0.0.1').resume();
    socket.on('error', () => {});
    socket.write(bytes);
    await once(socket, 'close');
    await sink.until('failure', ({ failed }) => failed === 1);
  });
}

// ---- Commands ----------------------------------------------------------------------------------------------------------

const swarmArgs = ['--connections', '10', '--rate', '10', '--to', '127.0.0.1:1'];
const refusals = [
  ['swarm', [], '--connections is needed; see --help'],
  [
    'swarm',
    ['--connections', 'many'],
    '--connections: expected a whole number from 1 to 10000000, found "many"; see --help',
  ],
  [
    'swarm',
    [...swarmArgs, '--conections', '1'],
    'unknown option --conections, did you mean --connections?; see --help',
  ],
  ['swarm', [...swarmArgs, '--rate', '5'], '--rate is there twice; see --help'],
  ['swarm', [...swarmArgs, '--hold'], '--hold needs a value; see --help'],
  ['swarm', [...swarmArgs, '--persistent=yes'], '--persistent takes no value; see --help'],
  ['swarm', [...swarmArgs, 'now'], 'there is no place for "now"; see --help'],
  ['swarm', [...swarmArgs, '--version', '4'], '--version: expected 3.1, 3.1.1 or 5, found "4"; see --help'],
  ['swarm', [...swarmArgs, '--keep-alive', '24h'], '--keep-alive: MQTT allows 65535s at most'],
  ['swarm', [...swarmArgs, '--source-addresses', '10.0.0'], /^--source-addresses: expected an IP address, /],
  [
    'swarm',
    ['--connections', '1', '--rate', '1', '--to', '10.0.0:1883'],
    /^--to: expected HOST:PORT, .* found "10\.0\.0:1883"/,
  ],
  [
    'swarm',
    ['--connections', '9000000', '--rate', '1', '--to', '[::1]:1', '--rings', '1'],
    /^--rings: 1 hold \d+ connections .*; use \d+$/,
  ],
  [
    'swarm',
    ['--connections', '70000', '--rate', '1', '--to', '[::1]:1'],
    /^--to: these addresses are good for \d+ connections .*: name more, or --source-addresses$/,
  ],
  ['sink', [], '--listen is needed; see --help'],
  [
    'sink',
    ['--listen', '127.0.0.1:0', '--mode', 'loud'],
    '--mode: expected ack, echo or fan-out, found "loud"; see --help',
  ],
  ['sink', ['--listen', '192.0.2.1:1883'], /^--listen: 192\.0\.2\.1:1883: bind: EADDRNOTAVAIL$/],
] as const;

describe('what is wrong on a command line is one line', { concurrency: 4 }, () => {
  for (const [tool, args, message] of refusals) {
    test(`${tool} ${args.join(' ')}`, async () => {
      const { code, stdout, stderr } = await runProgram(`bench/${tool}.ts`, args);
      assert.deepEqual([code, stdout], [2, '']);
      assert.ok(stderr.startsWith(`${tool}: `) && stderr.endsWith('\n'), stderr);
      const line = stderr.slice(tool.length + 2, -1);
      if (typeof message === 'string') assert.equal(line, message);
      else assert.match(line, message);
    });
  }
});

test('both explain themselves', async () => {
  for (const tool of ['swarm', 'sink']) {
    const { code, stdout } = await runProgram(`bench/${tool}.ts`, ['--help']);
    assert.equal(code, 0);
    assert.match(stdout, new RegExp(`^npm run ${tool} -- --`));
  }
});

// ---- A broker of a few lines -------------------------------------------------------------------------------------------

type Answer = (socket: Socket, packet: Packet) => unknown;

const welcome: Answer = (socket, packet) => socket.write(answersTo(packet));

/** Closed with the test. */
async function listen(context: TestContext, answer = welcome) {
  const seen: string[] = [];
  const from: string[] = [];
  const server = createServer((socket) => {
    from.push(socket.remoteAddress!);
    readPackets(socket, (packet) => {
      seen.push(packet.cmd);
      answer(socket, packet);
    });
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  context.after(() => server.close());
  return { port: (server.address() as { port: number }).port, seen, from };
}

function answersTo(packet: Packet): Buffer {
  const messageId = packet.messageId!;
  switch (packet.cmd) {
    case 'connect':
      return generate({ cmd: 'connack', returnCode: 0, sessionPresent: false });
    case 'subscribe':
      return generate({ cmd: 'suback', messageId, granted: [0] });
    case 'publish': {
      const publish = { cmd: 'publish', topic: 'a', qos: 1, messageId, dup: false, retain: false } as const;
      return Buffer.concat([generate({ cmd: 'pubrec', messageId }), generate({ ...publish, payload: 'to you' })]);
    }
    case 'pubrel':
      return generate({ cmd: 'pubcomp', messageId });
    case 'pingreq':
      return generate({ cmd: 'pingresp' });
    default:
      return Buffer.alloc(0);
  }
}

function readPackets(socket: Socket, onPacket: (packet: Packet) => void, protocolVersion = 4): void {
  const reader = parser({ protocolVersion });
  reader.on('packet', onPacket);
  reader.on('error', () => socket.destroy());
  socket.on('data', (bytes) => reader.parse(bytes));
  socket.on('error', () => {});
}
