// A listener's hook on every engine: what it is told, what its decisions come to, and what becomes of clients when it
// fails.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { generate, type IConnectPacket } from 'mqtt-packet';
import { parseConnect } from '../../src/core.ts';
import { TidegateError } from '../../src/errors.ts';
import type { EngineName } from '../../src/index.ts';
import { metricsOf, startAdministered } from '../tools/administered.ts';
import { echo, startBackend } from '../tools/backends.ts';
import { startAuthority } from '../tools/certificates.ts';
import { connectClient, echoes } from '../tools/client.ts';
import { testEveryEngine } from '../tools/engines.ts';
import { exchange } from '../tools/exchange.ts';
import { connackPacket, connectPacket, firstPacket, PINGREQ, refusalPacket } from '../tools/packets.ts';
import { inParallel, range } from '../tools/parallel.ts';
import { PATIENCE_MS } from '../tools/patience.ts';
import { makeFolder, type Reloadable, startReloadable } from '../tools/reloadable.ts';
import { startScriptBackend } from '../tools/script-backend.ts';
import { waitFor } from '../tools/wait.ts';

const CONNACK = connackPacket(4);
const HOST = '127.0.0.1';
const bind = `${HOST}:0`;
/** For a decision that doesn't come; where one is awaited, it has all the time it needs. */
const SHORT = { timeout: '300ms' };
const LONG = { timeout: '20s' };

/** Decides by the first part of a ClientId. The parameter's type would be an error to a Node that strips none. */
const MODULE = `
const answers: Record<string, (info: any) => unknown> = {
  keep: () => ({ action: 'accept' }),
  tell: (info) => ({ action: 'accept', username: JSON.stringify({ ...info, password: info.password && Buffer.from(info.password).toString() }) }),
  late: async () => new Promise((done) => setTimeout(done, 20, { action: 'accept' })),
  north: () => ({ action: 'accept', pool: 'north' }),
  key: () => ({ action: 'accept', key: 'all of them' }),
  rename: (info) => ({ action: 'accept', clientId: info.clientId.replace('rename-', 'n:'), username: 'u', password: Buffer.of(0, 255) }),
  code: (info) => ({ action: 'refuse', code: Number(info.clientId.slice(5)) }),
  refuse: () => ({ action: 'refuse' }),
  throw: () => { throw new Error('no such table'); },
  nothing: () => undefined,
  typo: () => ({ action: 'accept', clientID: 'x' }),
  nowhere: () => ({ action: 'accept', pool: 'nowhere' }),
  long: () => ({ action: 'accept', username: 'u'.repeat(65_000), clientId: 'c'.repeat(65_000) }),
  never: () => new Promise(() => {}),
  loop: () => { for (;;); },
  die: () => { setTimeout(() => { throw new Error('later'); }); return new Promise(() => {}); },
  exit: () => process.exit(1),
  large: (info) => ({ action: 'accept', username: info.clientId.padEnd(50_000, 'u') }),
};

export function onConnect(info: any): any {
  return answers[info.clientId.split('-')[0]]!(info);
}
`;

const numbers = (count: number) => [...range(count)];

interface Scene extends Reloadable {
  modulePath: string;
  client(listener?: string): Socket;
}

interface SceneOptions {
  pools: Record<string, object>;
  hook?: object;
  listener?: object;
}

async function setUp(engine: EngineName, context: TestContext, options: SceneOptions): Promise<Scene> {
  const folder = await makeFolder(context);
  const modulePath = join(folder, 'hook.ts');
  await writeFile(modulePath, MODULE);
  const hook = { module: modulePath, ...LONG, ...options.hook };
  const listeners = [
    { name: 'hooked', bind, pool: 'south', hook, ...options.listener },
    { name: 'plain', bind, pool: 'south' },
  ];
  const balancer = await startReloadable(context, { engine, folder }, { listeners, pools: options.pools });
  const client = (listener = 'hooked') =>
    connect({ port: balancer.portOf(listener), host: HOST, allowHalfOpen: true, noDelay: true });
  return { ...balancer, modulePath, client };
}

/** What the broker was told of a client that says this. */
async function passedOn(socket: Socket, pieces: Buffer[], bytes: number): Promise<Buffer> {
  return (await exchange(socket, pieces, { replyBytes: bytes })).bytes;
}

async function answerTo(socket: Socket, options: Parameters<typeof connectPacket>[0]): Promise<string> {
  const { bytes } = await exchange(socket, [connectPacket(options)], { replyBytes: 4 });
  return bytes.toString('hex');
}

testEveryEngine('a client that the hook accepts comes to its broker byte by byte', async (engine, context) => {
  const backend = await startScriptBackend(context);
  const scene = await setUp(engine, context, { pools: { south: { backends: [backend.mirror] } } });
  for (const clientId of ['keep-1', 'late-1']) {
    for (const version of [3, 4, 5] as const) {
      const said = Buffer.concat([connectPacket({ clientId, version, username: 'me' }), PINGREQ, PINGREQ]);
      const pieces = [said.subarray(0, 9), said.subarray(9, -3), said.subarray(-3)];
      assert.deepEqual(await passedOn(scene.client(), pieces, said.length), said, `${clientId} ${version}`);
    }
  }
});

testEveryEngine('the hook is told who the client is, behind what the rules have rewritten', async (engine, context) => {
  const backend = await startScriptBackend(context);
  const identity = { rewrite: { client_id: 'tell-${client_id}', username: 'gateway' } };
  const scene = await setUp(engine, context, {
    pools: { south: { backends: [backend.mirror] } },
    listener: { identity },
  });
  const visit: IConnectPacket = {
    cmd: 'connect',
    protocolId: 'MQTT',
    protocolVersion: 5,
    clientId: 'dev',
    clean: false,
    keepalive: 77,
    username: 'somebody',
    password: Buffer.from('sesame'),
    properties: { sessionExpiryInterval: 30 },
    will: { topic: 'wills/dev', payload: Buffer.from('gone'), qos: 1, retain: true },
  };
  const socket = scene.client();
  socket.write(generate(visit));
  const parsed = parseConnect((await firstPacket(socket))!);
  assert.ok(parsed.state === 'complete');
  assert.equal(parsed.clientId, 'tell-dev');
  assert.deepEqual(JSON.parse(parsed.username!), {
    listener: 'hooked',
    remoteAddress: HOST,
    remotePort: socket.localPort,
    version: '5.0',
    clientId: 'tell-dev',
    username: 'gateway',
    password: 'sesame',
    cleanStart: false,
    keepAlive: 77,
    will: { topic: 'wills/dev', qos: 1, retain: true },
    tls: null,
  });
  socket.destroy();
});

testEveryEngine('what the hook rewrites is what a client of that name would have said', async (engine, context) => {
  const backend = await startScriptBackend(context);
  const scene = await setUp(engine, context, { pools: { south: { backends: [backend.mirror] } } });
  const will = { topic: 'wills/dev', payload: Buffer.from('gone'), qos: 2 as const, retain: false };
  for (const version of [3, 4, 5] as const) {
    const common: IConnectPacket = {
      cmd: 'connect',
      protocolId: version === 3 ? 'MQIsdp' : 'MQTT',
      protocolVersion: version,
      clientId: 'rename-dev',
      clean: true,
      keepalive: 60,
      will: version === 5 ? { ...will, properties: { willDelayInterval: 3 } } : will,
      ...(version === 5 ? { properties: { userProperties: { fleet: 'north' } } } : {}),
    };
    const said = Buffer.concat([generate(common), PINGREQ]);
    const credentials = { clientId: 'n:dev', username: 'u', password: Buffer.of(0, 255) };
    const wanted = Buffer.concat([generate({ ...common, ...credentials }), PINGREQ]);
    assert.deepEqual(await passedOn(scene.client(), [said], wanted.length), wanted, `version ${version}`);
  }
  const lines = await scene.lines(3);
  assert.ok(
    lines.every((line) => / n:dev /.test(line)),
    lines.join('\n'),
  );
});

testEveryEngine('the hook chooses the pool and the key', async (engine, context) => {
  const backends = await Promise.all(numbers(6).map(() => startBackend(context, echo)));
  const [south, north] = [backends.slice(0, 3), backends.slice(3)];
  const scene = await setUp(engine, context, {
    pools: {
      south: { backends: south.map(({ address }) => address) },
      north: { backends: north.map(({ address }) => address) },
    },
  });
  const port = scene.portOf('hooked');
  const countOf = (members: typeof backends) => members.reduce((sum, { connections }) => sum + connections, 0);
  const visit = async (clientId: string) => {
    const client = await connectClient(port, { clientId });
    assert.deepEqual(client.connack, CONNACK, clientId);
    assert.ok(await echoes(client));
    client.socket.destroy();
  };
  for (const index of range(12)) await visit(`north-${index}`);
  assert.deepEqual([countOf(south), countOf(north)], [0, 12]);
  assert.ok(
    north.every(({ connections }) => connections > 0),
    'its ClientId is hashed there',
  );
  for (const index of range(12)) await visit(`key-${index}`);
  assert.deepEqual(south.map(({ connections }) => connections).sort(), [0, 0, 12]);
});

testEveryEngine('a refusal says what the hook has said, in the client’s version', async (engine, context) => {
  const backend = await startBackend(context, echo);
  const scene = await setUp(engine, context, { pools: { south: { backends: [backend.address] } } });
  const codes: [clientId: string, code5: number, code3: number][] = [
    ['refuse-1', 0x87, 5],
    ['code-133', 0x85, 2],
    ['code-134', 0x86, 4],
    ['code-138', 0x8a, 5],
    ['code-132', 0x84, 1],
    ['code-151', 0x97, 3],
    ['code-159', 0x9f, 3],
  ];
  for (const [clientId, code5, code3] of codes) {
    for (const version of [3, 4, 5] as const) {
      const { bytes, end } = await exchange(scene.client(), [connectPacket({ clientId, version }), PINGREQ]);
      const code = version === 5 ? code5 : code3;
      assert.equal(bytes.toString('hex'), refusalPacket(version, code).toString('hex'), `${clientId} ${version}`);
      assert.equal(end, 'finish');
    }
  }
  assert.equal(backend.connections, 0);
  const lines = await scene.lines(codes.length * 3);
  assert.ok(
    lines.every((line) => / 403 .* reason=hook_refused /.test(line)),
    lines.join('\n'),
  );
});

const FAILURES = ['throw', 'nothing', 'typo', 'nowhere', 'code-1', 'long', 'never'];
const reasonOf = (failure: string) => (failure === 'never' ? 'hook_timeout' : 'hook_failed');

testEveryEngine('a hook that fails lets nobody pass, in one line of the log', async (engine, context) => {
  const backend = await startBackend(context, echo);
  const scene = await setUp(engine, context, {
    pools: { south: { backends: [backend.address] } },
    hook: { timeout: '2s' },
  });
  for (const failure of FAILURES) {
    assert.equal(await answerTo(scene.client(), { clientId: failure }), refusalPacket(4, 3).toString('hex'), failure);
    const { bytes } = await exchange(scene.client(), [connectPacket({ clientId: failure, version: 5 })]);
    assert.deepEqual(bytes, refusalPacket(5, 0x88), failure);
  }
  assert.equal(backend.connections, 0);
  const lines = await scene.lines(2 * FAILURES.length);
  for (const [index, failure] of FAILURES.entries()) {
    assert.match(lines[2 * index]!, new RegExp(` 500 .* reason=${reasonOf(failure)} `));
  }
  const said = scene.messages.filter((message) => message.includes('onConnect'));
  assert.equal(said[0], 'onConnect of listener hooked has failed: Error: no such table');
  assert.ok(said.length < FAILURES.length, said.join('\n'));
});

testEveryEngine('with on_error: accept it lets everybody pass, as if it weren’t there', async (engine, context) => {
  const backend = await startScriptBackend(context);
  const scene = await setUp(engine, context, {
    pools: { south: { backends: [backend.mirror] } },
    hook: { on_error: 'accept', ...SHORT },
  });
  for (const failure of FAILURES) {
    const said = Buffer.concat([connectPacket({ clientId: failure, username: 'me' }), PINGREQ]);
    assert.deepEqual(await passedOn(scene.client(), [said], said.length), said, failure);
  }
});

testEveryEngine('a hook that never comes back stops nobody’s messages, and is begun anew', async (engine, context) => {
  const backend = await startBackend(context, echo);
  const pools = { south: { backends: [backend.address] } };
  const scene = await setUp(engine, context, { pools, hook: SHORT });
  // A machine that is busy with other things may take longer for a decision than this hook has.
  const accepted = () =>
    waitFor('a decision', async () => {
      const client = await connectClient(scene.portOf('hooked'), { clientId: 'keep-1' });
      if (!client.connack.equals(CONNACK)) client.socket.destroy();
      return client.connack.equals(CONNACK) && client;
    });
  const old = await accepted();
  const asked = () => scene.tidegate.status().counters.hookAsked ?? 0;
  const before = asked();
  const stuck = answerTo(scene.client(), { clientId: 'loop-1' });
  await waitFor('it to be asked', () => asked() > before);
  const behind = answerTo(scene.client(), { clientId: 'keep-2' });
  for (const _ of range(20)) assert.ok(await echoes(old));
  const other = await connectClient(scene.portOf('plain'), { clientId: 'keep-3' });
  assert.deepEqual(other.connack, CONNACK);
  assert.ok(await echoes(other));
  const unavailable = refusalPacket(4, 3).toString('hex');
  assert.deepEqual([await stuck, await behind], [unavailable, unavailable]);
  const late = await accepted();
  assert.ok(await echoes(old));
  for (const { socket } of [old, other, late]) socket.destroy();
  assert.ok(scene.messages.some((message) => message.includes('starts again')));
});

testEveryEngine('a thread that ends takes nobody with it but whom it was asked about', async (engine, context) => {
  const backend = await startBackend(context, echo);
  const scene = await setUp(engine, context, {
    pools: { south: { backends: [backend.address] } },
  });
  const old = await connectClient(scene.portOf('hooked'), { clientId: 'keep-1' });
  for (const clientId of ['die', 'exit']) {
    assert.equal(await answerTo(scene.client(), { clientId }), refusalPacket(4, 3).toString('hex'));
    await waitFor('another thread', async () => {
      return (await answerTo(scene.client(), { clientId: 'keep-2' })) === CONNACK.toString('hex');
    });
  }
  assert.ok(await echoes(old));
  old.socket.destroy();
  const said = scene.messages.filter((message) => message.includes('starts again'));
  assert.match(said[0]!, /1 clients? .*: it has failed: Error: later/);
  assert.match(said[1]!, /: it has ended/);
});

testEveryEngine('large decisions go through the ring again and again', async (engine, context) => {
  const backend = await startScriptBackend(context);
  const scene = await setUp(engine, context, {
    pools: { south: { backends: [backend.mirror] } },
  });
  await inParallel(8, range(80), async (index) => {
    const clientId = `large-${index}`;
    const wanted = connectPacket({ clientId, username: clientId.padEnd(50_000, 'u') });
    const passed = await passedOn(scene.client(), [connectPacket({ clientId })], wanted.length);
    assert.ok(passed.equals(wanted), clientId);
  });
});

testEveryEngine('a client may leave while its hook is asked', async (engine, context) => {
  const backend = await startBackend(context, echo);
  const scene = await setUp(engine, context, {
    pools: { south: { backends: [backend.address] } },
  });
  const asked = () => scene.tidegate.status().counters.hookAsked ?? 0;
  const leaving = [scene.client(), scene.client()] as const;
  for (const socket of leaving) socket.on('error', () => {}).write(connectPacket({ clientId: 'never' }));
  await waitFor('both asked', () => asked() === 2);
  leaving[0].resetAndDestroy();
  leaving[1].end().resume();
  const lines = await scene.lines(2);
  assert.ok(
    lines.every((line) => line.includes(' reason=client_left_hook ')),
    lines.join('\n'),
  );
  assert.equal(backend.connections, 0);
  const late = scene.client();
  late.on('error', () => {}).write(connectPacket({ clientId: 'late' }));
  late.resetAndDestroy();
  assert.equal(await answerTo(scene.client(), { clientId: 'keep-1' }), CONNACK.toString('hex'));
});

testEveryEngine('hundreds may wait for their hook at once', async (engine, context) => {
  const backend = await startBackend(context, echo);
  const scene = await setUp(engine, context, {
    pools: { south: { backends: [backend.address] } },
  });
  const ids = numbers(400).map((index) => `${index % 3 === 0 ? 'late' : 'keep'}-${index}`);
  const answers: string[] = [];
  await inParallel(200, ids, async (clientId) => {
    answers.push(await answerTo(scene.client(), { clientId }));
  });
  assert.deepEqual([...new Set(answers)], [CONNACK.toString('hex')]);
  assert.equal(backend.connections, ids.length);
});

testEveryEngine('a reload reads the module again, or keeps the one there was', async (engine, context) => {
  const backend = await startBackend(context, echo);
  const scene = await setUp(engine, context, { pools: { south: { backends: [backend.address] } } });
  const settings = (changes: object = {}) => ({
    listeners: [{ name: 'hooked', bind, pool: 'south', hook: { module: scene.modulePath, ...changes } }],
    pools: { south: { backends: [backend.address] } },
  });
  await writeFile(scene.modulePath, `export const onConnect = () => ({ action: 'refuse', code: 0x86 });`);
  const plain = { name: 'plain', bind, pool: 'south' };
  assert.equal(await answerTo(scene.client(), { clientId: 'keep-1' }), CONNACK.toString('hex'), 'not yet');
  const { listeners, pools } = settings(LONG);
  assert.deepEqual(await scene.reload({ listeners: [...listeners, plain], pools }), ['hooks read again']);
  const refusal = refusalPacket(4, 4).toString('hex');
  assert.equal(await answerTo(scene.client(), { clientId: 'keep-1' }), refusal);
  for (const broken of ['export const onConnect = ;', 'export const other = 1;', `throw new Error('no database');`]) {
    await writeFile(scene.modulePath, broken);
    await assert.rejects(scene.reload(settings()), (error) => error instanceof TidegateError && error.code === 'HOOK');
    assert.equal(await answerTo(scene.client(), { clientId: 'keep-1' }), refusal);
  }
  const said = scene.messages.at(-1)!;
  assert.match(
    said,
    /^reload refused, the old configuration stays: a hook can't be loaded: listener \S+: \S+hook\.ts: Error: no database/,
  );
  await scene.reload({ listeners: [{ name: 'hooked', bind, pool: 'south' }], pools });
  assert.equal(await answerTo(scene.client(), { clientId: 'keep-1' }), CONNACK.toString('hex'), 'there is none');
});

testEveryEngine('who is being asked about is served to the end when a reload comes', async (engine, context) => {
  const backend = await startBackend(context, echo);
  const scene = await setUp(engine, context, { pools: { south: { backends: [backend.address] } } });
  const begun = performance.now();
  const waiting = numbers(20).map((index) => answerTo(scene.client(), { clientId: `late-${index}` }));
  await waitFor('them to be asked', () => (scene.tidegate.status().counters.hookAsked ?? 0) >= 20);
  await scene.tidegate.reload();
  for (const answer of await Promise.all(waiting)) assert.equal(answer, CONNACK.toString('hex'));
  assert.ok(performance.now() - begun < PATIENCE_MS);
});

testEveryEngine('a weight that is set doesn’t read modules again', async (engine, context) => {
  const backend = await startBackend(context, echo);
  const hook = { module: join(await makeFolder(context), 'hook.js') };
  await writeFile(hook.module, `export const onConnect = () => ({ action: 'refuse', code: 0x86 });`);
  const balancer = await startAdministered(context, { engine, backends: [backend.address], listener: { hook } });
  await writeFile(hook.module, 'no module at all');
  const place = `/api/v1/pools/brokers/backends/${encodeURIComponent(backend.address)}`;
  assert.equal((await balancer.send('PATCH', place, { weight: 5 })).status, 200);
  assert.equal(await answerTo(balancer.connect(), { clientId: 'dev' }), refusalPacket(4, 4).toString('hex'));
  await balancer.idle();
  const { hooks, listeners } = await balancer.status();
  assert.deepEqual(hooks, { asked: 1, refused: 1, errors: 0, timeouts: 0, busy: 0, in_flight: 0, restarts: 0 });
  assert.equal(listeners[0]!.hook, hook.module);
  const metric = await metricsOf(balancer);
  assert.equal(metric('tidegate_hook_asked_total'), 1);
  assert.equal(metric('tidegate_hook_duration_seconds_count'), 1);
});

testEveryEngine('behind TLS the hook is told of the handshake', async (engine, context) => {
  const authority = startAuthority(context);
  if (authority === undefined) return;
  const backend = await startScriptBackend(context);
  const tls = {
    ...authority.issue('localhost', { hosts: ['localhost'] }),
    verify_client: 'require',
    client_ca: authority.ca,
  };
  const scene = await setUp(engine, context, { pools: { south: { backends: [backend.mirror] } }, listener: { tls } });
  const { cert, key } = authority.issue('meter-7');
  const socket = connectTls({
    port: scene.portOf('hooked'),
    host: HOST,
    servername: 'localhost',
    ca: readFileSync(authority.ca),
    cert: readFileSync(cert),
    key: readFileSync(key),
  });
  socket.write(connectPacket({ clientId: 'tell-1', username: 'me' }));
  const parsed = parseConnect((await firstPacket(socket))!);
  socket.destroy();
  assert.ok(parsed.state === 'complete');
  const { version, serverName, clientCommonName } = JSON.parse(parsed.username!).tls;
  assert.deepEqual([version, serverName, clientCommonName], ['TLSv1.3', 'localhost', 'meter-7']);
});
