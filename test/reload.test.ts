// What asks for a reload, what it changes beside the connections, and what is set at runtime. What clients notice of
// it is in conformance/reload.test.ts.
import assert from 'node:assert/strict';
import { mkdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { loadConfig, parseConfig } from '../src/config.ts';
import { describeChanges } from '../src/control/config-changes.ts';
import { start } from '../src/index.ts';
import { JSON_TYPE } from './tools/administered.ts';
import { type Asked, ask } from './tools/ask.ts';
import { echo, startBackend } from './tools/backends.ts';
import { connectClient } from './tools/client.ts';
import { type FileSettings, makeFolder, type Reloadable, startReloadable } from './tools/reloadable.ts';
import { waitFor } from './tools/wait.ts';

const listeners = [{ name: 'one', bind: '127.0.0.1:0' }];
const A = '127.0.0.1:1';
const B = '127.0.0.1:2';
const C = '127.0.0.1:3';

const settings = (backends: unknown[], more: object = {}): FileSettings => ({
  listeners,
  admin: { bind: '127.0.0.1:0' },
  pools: { p: { backends } },
  ...more,
});

const startHere = (context: TestContext, file: FileSettings, folder?: string) =>
  startReloadable(context, { engine: 'portable', workers: 1, folder }, file);

interface Api {
  send(method: string, address: string | null, body?: unknown): Promise<Asked>;
  reload(): Promise<Asked>;
}

function apiOf({ tidegate }: Reloadable): Api {
  const send = (method: string, path: string, body: unknown) =>
    ask(tidegate.admin!.port, path, { method, headers: JSON_TYPE, body: JSON.stringify(body) });
  return {
    send: (method, address, body = {}) => {
      const rest = address === null ? '' : `/${encodeURIComponent(address)}`;
      return send(method, `/api/v1/pools/p/backends${rest}`, body);
    },
    reload: () => send('POST', '/api/v1/reload', {}),
  };
}

const weightsOf = ({ tidegate }: Reloadable) => {
  return weights(tidegate);
};

/** Of each backend in the order that the status has them. */
async function weights(tidegate: Reloadable['tidegate']): Promise<Record<string, number>> {
  const { text } = await ask(tidegate.admin!.port, '/api/v1/status');
  const [pool] = JSON.parse(text).pools;
  return Object.fromEntries(
    pool.backends.map((each: { address: string; weight: number }) => [each.address, each.weight]),
  );
}

test('says in words what differs between two configurations', () => {
  const parse = (value: object) => parseConfig(JSON.stringify(value), 'x.yaml');
  const before = {
    workers: 1,
    listeners: [{ name: 'one', bind: '127.0.0.1:1883' }],
    pools: { p: { balance: { secret: 'hidden' }, backends: [A, { address: B, weight: 2 }] } },
  };
  const after = {
    workers: 2,
    shutdown_timeout: '1s',
    listeners: [{ name: 'one', bind: '127.0.0.1:1883', idle_timeout: '3s' }],
    pools: { p: { balance: { secret: 'seen' }, backends: [{ address: B, weight: 3 }, C], connect_timeout: '1s' } },
  };
  assert.deepEqual(describeChanges(parse(before), parse(after)), [
    'workers changed: takes effect at the next start',
    'shutdown_timeout changed',
    'listener one: idle_timeout changed',
    'pool p: balance changed',
    'pool p: connect_timeout changed',
    `pool p: backend ${A} removed`,
    `pool p: backend ${B}: weight changed from 2 to 3`,
    `pool p: backend ${C} added`,
  ]);
  assert.deepEqual(describeChanges(parse(before), parse(before)), []);
});

test('the API reloads, and answers what has changed or every fault', async (context) => {
  const balancer = await startHere(context, settings([A]));
  const { reload } = apiOf(balancer);
  const same = await reload();
  assert.deepEqual([same.status, JSON.parse(same.text)], [200, { changed: [] }]);
  await writeFile(balancer.path, 'listeners: [');
  const bad = await reload();
  assert.equal(bad.status, 422);
  const { error, faults } = JSON.parse(bad.text);
  assert.match(error, /old configuration stays/);
  assert.equal(faults.length, 1);
  assert.match(faults[0], /tidegate\.yaml:1:\d+: not valid YAML/);
  await writeFile(balancer.path, JSON.stringify({ listeners: [{ bind: 'x' }], pools: { p: { backends: [A, 'y'] } } }));
  const { faults: several } = JSON.parse((await reload()).text);
  assert.equal(several.length, 2);
  const events = balancer.tidegate.events().filter(({ event }) => event === 'reload_refused');
  assert.equal(events.length, 3);
  assert.deepEqual(await weightsOf(balancer), { [A]: 1 });
});

test('what was started with a configuration of no file is reloaded with another one only', async (context) => {
  const parse = (backend: string) =>
    parseConfig(
      JSON.stringify({ engine: 'portable', workers: 1, access_log: { path: 'off' }, ...settings([backend]) }),
      'x',
    );
  const tidegate = await start(parse(A));
  context.after(() => tidegate.stop({ now: true }));
  await assert.rejects(tidegate.reload(), /there is no file/);
  assert.deepEqual(await tidegate.reload(parse(B)), [`pool p: backend ${A} removed`, `pool p: backend ${B} added`]);
  await tidegate.stop({ now: true });
  await assert.rejects(tidegate.reload(parse(A)), /Tidegate is stopping/);
});

test('the admin API moves and changes its token, and answers the request for the move itself', async (context) => {
  const token = { bind: '127.0.0.1:0', token: 'first' };
  const balancer = await startHere(context, settings([A], { admin: token }));
  const { port } = balancer.tidegate.admin!;
  const status = async (at: number, given: string) =>
    (await ask(at, '/api/v1/status', { headers: { authorization: `Bearer ${given}` } })).status;
  await balancer.reload(settings([A], { admin: { ...token, token: 'second' } }));
  assert.equal(balancer.tidegate.admin!.port, port);
  assert.deepEqual([await status(port, 'first'), await status(port, 'second')], [401, 200]);
  const path = balancer.path;
  const common = JSON.parse(await readFile(path, 'utf8'));
  await writeFile(path, JSON.stringify({ ...common, admin: { bind: '127.0.0.2:0', token: 'second' } }));
  const answer = await ask(port, '/api/v1/reload', {
    method: 'POST',
    headers: { ...JSON_TYPE, authorization: 'Bearer second' },
    body: '{}',
  });
  assert.deepEqual([answer.status, JSON.parse(answer.text)], [200, { changed: ['admin changed'] }]);
  assert.equal(balancer.tidegate.admin!.host, '127.0.0.2');
  await waitFor('end of the old server', () =>
    status(port, 'second').then(
      () => false,
      () => true,
    ),
  );
  await balancer.reload(settings([A], { admin: 'off' }));
  assert.equal(balancer.tidegate.admin, undefined);
});

test('the access log changes its file and its format without losing a line', async (context) => {
  const backend = await startBackend(context, echo);
  const balancer = await startHere(context, settings([backend.address]));
  const visit = async () => {
    const { socket } = await connectClient(balancer.portOf('one'), { clientId: 'device' });
    socket.destroy();
    await waitFor('empty table', () => balancer.tidegate.status().connections === 0);
  };
  await visit();
  const path = join(balancer.folder, 'other.log');
  await balancer.reload(
    settings([backend.address], { access_log: { path, format: '$listener:$upstream_addr:$mqtt_client_id' } }),
  );
  await visit();
  const written = await waitFor(
    'line in the other file',
    async () => (await readFile(path, 'utf8').catch(() => '')) || undefined,
  );
  const old = await readFile(join(balancer.folder, 'access.log'), 'utf8');
  assert.equal(old.split('\n').length + written.split('\n').length, 4, old + written);
  assert.match(written, new RegExp(`one:${backend.address}:device\n`));
});

test('a backend that comes back is not held for what it did before', async (context) => {
  const balancer = await startHere(context, settings([{ address: A, max_fails: 1, fail_timeout: '1h' }]));
  await connectClient(balancer.portOf('one'));
  const healthOf = () => balancer.tidegate.status().backends[0]!.health;
  await waitFor('suspect', () => healthOf() === 'suspect');
  await balancer.reload(settings([B]));
  await balancer.reload(settings([{ address: A, max_fails: 1, fail_timeout: '1h' }]));
  await sleep(200);
  assert.equal(healthOf(), 'up');
});

test('a weight set at runtime outlives reloads until the file has another one', async (context) => {
  const balancer = await startHere(context, settings([{ address: A, weight: 2 }, B]));
  const { send } = apiOf(balancer);
  const answer = await send('PATCH', A, { weight: 7 });
  assert.deepEqual([answer.status, JSON.parse(answer.text).weight], [200, 7]);
  assert.equal(balancer.messages.at(-1), `pool p: backend ${A}: weight changed from 2 to 7, by an operator`);
  await balancer.reload(settings([{ address: A, weight: 2 }, B, C]));
  assert.deepEqual(await weightsOf(balancer), { [A]: 7, [B]: 1, [C]: 1 });
  await balancer.reload(settings([{ address: A, weight: 3 }, B]));
  assert.deepEqual(await weightsOf(balancer), { [A]: 3, [B]: 1 });
  await balancer.reload(settings([{ address: A, weight: 2 }, B]));
  assert.deepEqual(await weightsOf(balancer), { [A]: 2, [B]: 1 }, 'once overruled it is gone');
  for (const body of [{}, { weight: -1 }, { weight: 1001 }, { weight: '1' }]) {
    assert.equal((await send('PATCH', A, body)).status, 400, JSON.stringify(body));
  }
  assert.equal((await send('PATCH', C, { weight: 1 })).status, 404);
});

test('backends are added and removed at runtime, until the file lists them or does not', async (context) => {
  const balancer = await startHere(context, settings([A, B]));
  const { send } = apiOf(balancer);
  const added = await send('POST', null, { address: C, weight: 4, slow_start: '5s' });
  assert.deepEqual([added.status, JSON.parse(added.text).weight], [201, 4]);
  assert.equal((await send('POST', null, C)).status, 409, 'it is there already');
  assert.equal((await send('POST', null, 'nonsense')).status, 400);
  assert.equal((await send('PATCH', C, { weight: 5 })).status, 200);
  assert.deepEqual(JSON.parse((await send('DELETE', A)).text), { connections: 0 });
  assert.equal((await send('DELETE', A)).status, 404);
  assert.deepEqual(await weightsOf(balancer), { [B]: 1, [C]: 5 });
  await balancer.reload(settings([A, B]));
  assert.deepEqual(await weightsOf(balancer), { [B]: 1, [C]: 5 });
  assert.equal((await send('POST', null, A)).status, 201, 'as the file has it');
  assert.equal((await send('DELETE', A)).status, 200);
  await balancer.reload(settings([B, C]));
  assert.deepEqual(await weightsOf(balancer), { [B]: 1, [C]: 1 });
  await balancer.reload(settings([A, B]));
  assert.deepEqual(await weightsOf(balancer), { [A]: 1, [B]: 1 });
  await send('DELETE', A);
  const last = await send('DELETE', B);
  assert.equal(last.status, 409);
  assert.match(JSON.parse(last.text).error, /would have no backend left/);
});

test('a removed backend keeps its clients, and gets nobody new', async (context) => {
  const [first, second] = [await startBackend(context, echo), await startBackend(context, echo)];
  const pool = { balance: { method: 'round_robin' }, backends: [first.address, second.address] };
  const balancer = await startHere(context, settings([], { pools: { p: pool } }));
  const connect = () => Promise.all(Array.from({ length: 10 }, () => connectClient(balancer.portOf('one'))));
  const before = await connect();
  const { text } = await apiOf(balancer).send('DELETE', first.address);
  assert.deepEqual(JSON.parse(text), { connections: 5 });
  const after = await connect();
  assert.deepEqual([first.connections, second.connections], [5, 15]);
  assert.equal(balancer.tidegate.status().connections, 20);
  for (const { socket } of [...before, ...after]) socket.destroy();
});

test('the state file brings weights, backends and operators’ words over a restart', async (context) => {
  const folder = await makeFolder(context);
  const stateFile = join(folder, 'state.json');
  const file = settings([A, { address: B, weight: 2 }], { state_file: stateFile });
  const one = await startHere(context, file, folder);
  const { send } = apiOf(one);
  await send('PATCH', B, { weight: 9 });
  await send('POST', null, { address: C, fail_timeout: '3s' });
  await send('DELETE', A);
  await send('PATCH', C, { state: 'drain' });
  await one.stop();
  const saved = JSON.parse(await readFile(stateFile, 'utf8'));
  assert.deepEqual(saved.states, { p: { [C]: 'drain' } });

  const two = await startHere(context, file, folder);
  assert.deepEqual(await weightsOf(two), { [B]: 9, [C]: 1 });
  const operators = () => two.tidegate.status().backends.map(({ operator }) => operator);
  assert.deepEqual(operators(), ['up', 'drain']);
  await apiOf(two).send('PATCH', C, { state: 'up' });
  await two.stop();
  assert.deepEqual(JSON.parse(await readFile(stateFile, 'utf8')).states, {});
});

test('a state file that can not be read ends the start, one that can not be written is told', async (context) => {
  const folder = await makeFolder(context);
  const stateFile = join(folder, 'state.json');
  const file = settings([A], { state_file: stateFile });
  for (const text of [
    '{',
    '{}',
    '{"version":1,"overlay":{"p":{"weights":{},"added":["x y"],"removed":[]}},"states":{}}',
  ]) {
    await writeFile(stateFile, text);
    await assert.rejects(
      startHere(context, file, folder),
      /^TidegateError: cannot read the state_file .*: put it right, or remove it/,
    );
  }
  await rm(stateFile);
  await mkdir(stateFile);
  await assert.rejects(startHere(context, file, folder), /the system says EISDIR/);
  await rm(stateFile, { recursive: true });
  const balancer = await startHere(context, file, folder);
  await mkdir(join(stateFile, 'x'), { recursive: true });
  assert.equal((await apiOf(balancer).send('PATCH', A, { weight: 3 })).status, 200);
  assert.deepEqual(await weightsOf(balancer), { [A]: 3 });
  assert.ok(balancer.messages.some((message) => /state_file .* can't be written \((EISDIR|ENOTEMPTY)\)/.test(message)));
});

const untilBackend = (balancer: Reloadable, address: string) =>
  waitFor(`backend ${address}`, () => balancer.tidegate.status().backends[0]!.address === address);

test('a watched file is reloaded when it is written, replaced or removed and made again', async (context) => {
  const watched = { watch: true };
  const balancer = await startHere(context, settings([A], watched));
  const common = JSON.parse(await readFile(balancer.path, 'utf8'));
  const textFor = (backend: string) => JSON.stringify({ ...common, pools: { p: { backends: [backend] } } });
  await writeFile(balancer.path, textFor(B));
  await untilBackend(balancer, B);
  await writeFile(`${balancer.path}~`, textFor(C));
  await rename(`${balancer.path}~`, balancer.path);
  await untilBackend(balancer, C);
  await rm(balancer.path);
  await waitFor('complaint', () => balancer.messages.some((message) => /there is none of this name/.test(message)));
  await writeFile(balancer.path, textFor(A));
  await untilBackend(balancer, A);
  await writeFile(balancer.path, JSON.stringify({ ...common, watch: false }));
  await waitFor('end of watching', () =>
    balancer.messages.some((message) => /watch changed from true to false/.test(message)),
  );
  const count = balancer.messages.length;
  await writeFile(balancer.path, textFor(B));
  await sleep(600);
  assert.equal(balancer.messages.length, count);
});

test('a watched file may be a link into a folder that is exchanged whole, as Kubernetes does it', async (context) => {
  const folder = await makeFolder(context);
  const volume = join(folder, 'volume');
  const textFor = (backend: string) =>
    JSON.stringify({
      engine: 'portable',
      workers: 1,
      access_log: { path: 'off' },
      ...settings([backend]),
      watch: true,
    });
  for (const [version, backend] of [
    ['..1', A],
    ['..2', B],
  ] as const) {
    await mkdir(join(volume, version), { recursive: true });
    await writeFile(join(volume, version, 'tidegate.yaml'), textFor(backend));
  }
  await symlink('..1', join(volume, '..data'));
  const path = join(volume, 'tidegate.yaml');
  await symlink('..data/tidegate.yaml', path);
  const tidegate = await start(await loadConfig(path), { configPath: path });
  context.after(() => tidegate.stop({ now: true }));
  await symlink('..2', join(volume, '..data_tmp'));
  await rename(join(volume, '..data_tmp'), join(volume, '..data'));
  await waitFor('other backend', () => tidegate.status().backends[0]!.address === B);
});
