// `npm start`, as a newcomer uses it: its own brokers, real clients, and the access log that it prints.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { type EventEmitter, once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type IClientOptions, MqttClient } from 'mqtt';
import { testEveryEngine } from './tools/engines.ts';
import { Program, runProgram } from './tools/program.ts';
import { requireProgram } from './tools/requirements.ts';
import { waitFor } from './tools/wait.ts';

const RECONNECTS = 100;
const AT_ONCE = 10;
const EVENT_TIMEOUT_MS = 30_000;

// ---- The demo and its clients ----------------------------------------------------------------------------------------

interface Demo {
  program: Program;
  port: number;
  /** Addresses of its brokers. */
  brokers: string[];
  /** Where it puts its temporary files. */
  folder: string;
}

async function startDemo(t: TestContext, ...args: string[]): Promise<Demo> {
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-demo-test-'));
  const program = new Program('src/demo.ts', ['--port', '0', ...args], { env: { TMPDIR: folder } });
  t.after(async () => {
    program.child.kill('SIGTERM');
    await program.ended();
    await rm(folder, { recursive: true });
  });
  const [, port, brokers = ''] = await program.printed(
    'stdout',
    /listens on 127\.0\.0\.1:(\d+), .* before (.*) \(\w+\)\n/,
  );
  return { program, port: Number(port), brokers: brokers.split(', '), folder };
}

/** An MQTT.js client from a source address of one's own; `lastByte` is that of 127.0.0.x. */
async function connectClient(
  demo: Demo,
  clientId: string,
  lastByte: number,
  options: IClientOptions = {},
): Promise<MqttClient> {
  const from = { host: '127.0.0.1', port: demo.port, localAddress: `127.0.0.${lastByte}` };
  const client = new MqttClient(() => connect(from), { clientId, reconnectPeriod: 0, ...options });
  client.on('error', () => {}); // it shows as a missing CONNACK
  await onceOf(client, 'connect');
  return client;
}

/** MQTT.js types its events in a manner of its own, which node:events doesn't know. */
function onceOf(client: MqttClient, event: 'connect' | 'close' | 'message') {
  return once(client as unknown as EventEmitter, event, { signal: AbortSignal.timeout(EVENT_TIMEOUT_MS) });
}

/** The next message; what comes at once, with the CONNACK, is seen when this is asked before anything is awaited. */
async function nextMessage(client: MqttClient): Promise<string> {
  const [topic, payload] = await onceOf(client, 'message');
  return `${topic} ${payload}`;
}

interface LogLine {
  remote: string;
  protocol: string;
  status: string;
  backend: string;
  clientId: string;
}

/** The access log of these ClientIds, once it has that many lines. */
function logLines(demo: Demo, clientIds: readonly string[], count: number): Promise<LogLine[]> {
  return waitFor(`${count} lines of access log`, async () => {
    const lines = demo.program.stdout.split('\n').flatMap((line) => parseLogLine(line) ?? []);
    const wanted = lines.filter(({ clientId }) => clientIds.includes(clientId));
    return wanted.length >= count ? wanted : undefined;
  });
}

function parseLogLine(line: string): LogLine | null {
  const found = /^(\S+) \[[^\]]+\] (\S+) (\d+) \d+ \d+ (\S+) (\S+) reason=/.exec(line);
  if (found === null) return null;
  const [, remote = '', protocol = '', status = '', backend = '', clientId = ''] = found;
  return { remote, protocol, status, backend, clientId };
}

// ---- What is shown with either kind of broker --------------------------------------------------------------------------

async function publishesAndSubscribes(demo: Demo, protocolVersion: 4 | 5): Promise<void> {
  const topic = `demo/v${protocolVersion}`;
  const subscriber = await connectClient(demo, `subscriber-v${protocolVersion}`, 11, { protocolVersion });
  await subscriber.subscribeAsync(topic, { qos: 1 });
  const publisher = await connectClient(demo, `publisher-v${protocolVersion}`, 12, { protocolVersion });
  const received = nextMessage(subscriber);
  await publisher.publishAsync(topic, 'hello', { qos: 1 });
  assert.equal(await received, `${topic} hello`);
  await Promise.all([subscriber.endAsync(), publisher.endAsync()]);
}

/** Each reconnect comes from another address and port, so that nothing but the ClientId can tell who it is. */
async function comesBack(demo: Demo): Promise<void> {
  const clientIds = ['foo', 'bar', 'baz'];
  for (let first = 0; first < RECONNECTS; first += AT_ONCE) {
    const turns = Array.from({ length: AT_ONCE }, (_, index) => 1 + ((first + index) % 254));
    await Promise.all(clientIds.map((clientId) => visitInTurn(demo, clientId, turns)));
  }
  const lines = await logLines(demo, clientIds, RECONNECTS * clientIds.length);
  for (const clientId of clientIds) {
    const own = lines.filter((line) => line.clientId === clientId);
    assert.equal(own.length, RECONNECTS);
    assert.equal(new Set(own.map(({ remote }) => remote)).size, RECONNECTS, `${clientId} came from as many addresses`);
    assert.deepEqual([...new Set(own.map(({ status }) => status))], ['200']);
    const [backend = '', ...others] = new Set(own.map((line) => line.backend));
    assert.deepEqual(others, [], `${clientId} went to one broker`);
    assert.ok(demo.brokers.includes(backend));
  }
}

/** One after another: a broker closes the older of two connections that have the same ClientId. */
async function visitInTurn(demo: Demo, clientId: string, lastBytes: readonly number[]): Promise<void> {
  for (const lastByte of lastBytes) await (await connectClient(demo, clientId, lastByte)).endAsync();
}

testEveryEngine(
  'the demo shows real clients that mosquitto serves them and keeps their sessions',
  async (engine, t) => {
    if (requireProgram(t, 'mosquitto') === undefined) return;
    const demo = await startDemo(t, '--engine', engine, '--brokers', 'mosquitto', '--quiet');

    await t.test('MQTT.js publishes and subscribes, in 3.1.1 and 5.0', async () => {
      await publishesAndSubscribes(demo, 4);
      await publishesAndSubscribes(demo, 5);
    });

    await t.test('mosquitto_pub and mosquitto_sub work, in 3.1, 3.1.1 and 5.0', async (t) => {
      const subscribe = requireProgram(t, 'mosquitto_sub');
      const publish = requireProgram(t, 'mosquitto_pub');
      if (subscribe === undefined || publish === undefined) return;
      for (const version of ['mqttv31', '311', '5']) await mosquittoClients(demo, subscribe, publish, version);
    });

    await t.test(`foo, bar and baz each come back to their own broker over ${RECONNECTS} reconnects`, () =>
      comesBack(demo),
    );

    await t.test('a persistent session is found again, in 3.1.1', () =>
      findsItsSession(demo, 'device-4', { protocolVersion: 4 }),
    );
    await t.test('a persistent session is found again, in 5.0', () =>
      findsItsSession(demo, 'device-5', { protocolVersion: 5, properties: { sessionExpiryInterval: 300 } }),
    );

    await t.test('an end leaves no broker and no file behind', () => leavesNothing(demo));
  },
);

testEveryEngine('the demo shows real clients that aedes serves them where mosquitto is missing', async (engine, t) => {
  const demo = await startDemo(t, '--engine', engine, '--brokers', 'aedes', '--quiet');
  await t.test('MQTT.js publishes and subscribes, in 3.1.1', () => publishesAndSubscribes(demo, 4));
  await t.test(`foo, bar and baz each come back to their own broker over ${RECONNECTS} reconnects`, () =>
    comesBack(demo),
  );
});

// ---- mosquitto only ----------------------------------------------------------------------------------------------------

/** mosquitto_sub does not tell through a pipe when it has subscribed, so the message is sent until one has come. */
async function mosquittoClients(demo: Demo, subscribe: string, publish: string, version: string): Promise<void> {
  const common = ['-h', '127.0.0.1', '-p', String(demo.port), '-V', version, '-t', `demo/${version}`, '-q', '1'];
  const subscriber = spawn(subscribe, [...common, '-i', `sub-${version}`, '-C', '1', '-W', '5']);
  let output = '';
  subscriber.stdout.setEncoding('utf8').on('data', (text) => (output += text));
  const subscriberEnd = once(subscriber, 'close');
  while (subscriber.exitCode === null) {
    const publisher = spawn(publish, [...common, '-i', `pub-${version}`, '-m', 'hello']);
    assert.deepEqual(await once(publisher, 'close'), [0, null]);
  }
  assert.deepEqual(await subscriberEnd, [0, null]);
  assert.equal(output, 'hello\n');
}

/** The message is queued at the broker that holds the session; only who comes back to that one finds it. */
async function findsItsSession(demo: Demo, device: string, options: IClientOptions): Promise<void> {
  const topic = `orders/${device}`;
  const neighbour = await sameBroker(demo, device);
  const before = await connectClient(demo, device, 21, { ...options, clean: false });
  await before.subscribeAsync(topic, { qos: 1 });
  await before.endAsync();

  const publisher = await connectClient(demo, neighbour, 22, { protocolVersion: options.protocolVersion });
  await publisher.publishAsync(topic, 'while you were away', { qos: 1 });
  await publisher.endAsync();

  const from = { host: '127.0.0.1', port: demo.port, localAddress: '127.0.0.23' };
  const after = new MqttClient(() => connect(from), { ...options, clientId: device, clean: false, reconnectPeriod: 0 });
  const message = nextMessage(after);
  const [connack] = await onceOf(after, 'connect');
  assert.equal(connack.sessionPresent, true);
  assert.equal(await message, `${topic} while you were away`);
  await after.endAsync();

  const lines = await logLines(demo, [device, neighbour], 3);
  assert.deepEqual(lines.map(({ remote }) => remote).sort(), ['127.0.0.21', '127.0.0.22', '127.0.0.23']);
  assert.equal(new Set(lines.map(({ backend }) => backend)).size, 1);
}

/** Another ClientId that `route` sends to the same broker. */
async function sameBroker(demo: Demo, device: string): Promise<string> {
  const config = join(demo.folder, 'route.yaml');
  await writeFile(
    config,
    `listeners: [{ bind: 127.0.0.1:0 }]\npools: { brokers: { backends: [${demo.brokers.join(', ')}] } }\n`,
  );
  const keys = [device, ...Array.from({ length: 50 }, (_, index) => `neighbour-${index}-of-${device}`)];
  const { stdout } = await runProgram(
    'src/cli.ts',
    ['route', '--config', config, '--pool', 'brokers'],
    keys.join('\n'),
  );
  await rm(config);
  const [own, ...others] = stdout
    .trimEnd()
    .split('\n')
    .map((line) => line.split('\t') as [string, string]);
  const neighbour = others.find(([, backend]) => backend === own?.[1]);
  assert.ok(neighbour, 'one of fifty shares the broker');
  return neighbour[0];
}

async function leavesNothing({ program, folder }: Demo): Promise<void> {
  const { pid } = program.child;
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '');
  const brokers = children
    .split(' ')
    .filter((child) => child !== '')
    .map(Number);
  if (process.platform === 'linux') assert.equal(brokers.length, 3);
  assert.equal((await readdir(folder)).length, 1);
  program.child.kill('SIGINT');
  await sleep(5);
  program.child.kill('SIGINT'); // npm passes a Ctrl-C on that the terminal has sent already
  const { code, stderr } = await program.ended();
  // The admin API's default port is one for the whole machine: that another program has it is said, and does no harm.
  const complaints = stderr.replace(/^tidegate: the admin API: cannot listen on 127\.0\.0\.1:9883: .*\n/m, '');
  assert.deepEqual([code, complaints], [0, '']);
  assert.deepEqual(await readdir(folder), []);
  for (const broker of brokers) assert.throws(() => process.kill(broker, 0), { code: 'ESRCH' });
}

// ---- What it says ------------------------------------------------------------------------------------------------------

test('the demo tells a newcomer what to type, with the port that it listens on', async (t) => {
  const { program, port } = await startDemo(t, '--brokers', 'aedes', '--engine', 'portable');
  await program.printed('stdout', /The access log follows/);
  for (const command of ['mosquitto_sub', 'mosquitto_pub', 'npx mqtt sub', 'npx mqtt pub']) {
    assert.match(program.stdout, new RegExp(`^  ${command} -h 127\\.0\\.0\\.1 -p ${port} -i \\w+ -t \\S+`, 'm'));
  }
  assert.match(program.stdout, /aedes in this process, which speaks MQTT 3\.1 and 3\.1\.1; for 5\.0 install mosquitto/);
});

test('the demo goes on when its reader leaves', async (t) => {
  const { program, port } = await startDemo(t, '--brokers', 'aedes', '--engine', 'portable', '--quiet');
  program.child.stdout.destroy();
  const demo = { program, port, brokers: [], folder: '' };
  for (const lastByte of [31, 32, 33]) await (await connectClient(demo, 'reader', lastByte)).endAsync();
});

test('a taken port is one line that names it and shows how to choose another', async (t) => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  assert.deepEqual(await runProgram('src/demo.ts', ['--port', String(port)]), {
    code: 2,
    stdout: '',
    stderr: `tidegate: port ${port} is taken; choose another one: npm start -- --port 2883\n`,
  });
});

test('the demo refuses options that it does not have', async () => {
  const refused = async (...args: string[]) => {
    const { code, stderr } = await runProgram('src/demo.ts', args);
    assert.equal(code, 1);
    return stderr;
  };
  assert.equal(await refused('--port', 'x'), 'tidegate: --port x is no port (0 to 65535)\n');
  assert.equal(await refused('--engine', 'x'), 'tidegate: --engine x is not one of auto, uring, portable\n');
  assert.match(
    await refused('--prt', '1'),
    /^tidegate: Unknown option '--prt'; npm start -- --help shows the options\n$/,
  );
});
