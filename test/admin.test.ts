// The admin API of a real balancer, asked over HTTP. What a server carries is tested on both servers.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { Api } from '../src/admin/api.ts';
import { Guard } from '../src/admin/guard.ts';
import { BODY_BYTES_MAX } from '../src/admin/http.ts';
import { openapiDocument } from '../src/admin/openapi.ts';
import type { AdminContext, Route } from '../src/admin/route.ts';
import { eventsSchema } from '../src/admin/routes/events.ts';
import { routes } from '../src/admin/routes.ts';
import { statusSchema } from '../src/admin/status-document.ts';
import { parseConfig } from '../src/config.ts';
import { start, type TidegateError } from '../src/index.ts';
import { SERVERS, type Server, testEveryServer, whyNoUws } from './tools/admin-servers.ts';
import { JSON_TYPE, metricsOf, startAdministered } from './tools/administered.ts';
import { ask } from './tools/ask.ts';
import { echo, hello, refusingBackend, startBackend } from './tools/backends.ts';
import { untilHealth } from './tools/balancer.ts';
import { connectClient } from './tools/client.ts';
import { testEveryEngine } from './tools/engines.ts';
import { exchange } from './tools/exchange.ts';
import { requireProgram, requires } from './tools/requirements.ts';
import { reset } from './tools/reset.ts';
import { waitFor } from './tools/wait.ts';

const REOPEN = '/api/v1/access-log/reopen';

// ---- What is there ---------------------------------------------------------------------------------------------------

testEveryServer('probes, metrics, status and description are there', async (adminServer, context) => {
  const balancer = await startAdministered(context, { adminServer });
  const seen = async (path: string) => {
    const { status, headers, text } = await balancer.ask(path);
    return [status, headers['content-type'], text.split('\n', 1)[0]];
  };
  assert.deepEqual(await seen('/healthz'), [200, 'text/plain; charset=utf-8', 'ok']);
  assert.deepEqual(await seen('/readyz'), [200, 'text/plain; charset=utf-8', 'ready']);
  assert.deepEqual((await seen('/metrics')).slice(0, 2), [200, 'text/plain; version=0.0.4; charset=utf-8']);
  assert.deepEqual((await seen('/api/v1/status?x=1')).slice(0, 2), [200, 'application/json']);
  assert.deepEqual((await seen('/api/v1/openapi.json')).slice(0, 2), [200, 'application/json']);
});

testEveryServer(
  'what is not there is 404, and a wrong method 405 with the right ones',
  async (adminServer, context) => {
    const balancer = await startAdministered(context, { adminServer });
    for (const path of [
      '/nothing',
      '/api/v1/status/',
      '/api/v1/%',
      '/API/V1/STATUS',
      '//healthz',
      '/healthz/../metrics',
    ]) {
      assert.equal((await balancer.ask(path)).status, 404, path);
    }
    const { status, headers, text } = await balancer.ask('/metrics', { method: 'POST', headers: JSON_TYPE });
    assert.deepEqual([status, headers.allow, Object.keys(JSON.parse(text))], [405, 'GET', ['error']]);
    assert.equal((await balancer.ask('/metrics', { method: 'DELETE', headers: JSON_TYPE })).status, 405);
  },
);

testEveryServer('HEAD is answered as GET, without the body', async (adminServer, context) => {
  const balancer = await startAdministered(context, { adminServer });
  const { status, headers, text } = await balancer.ask('/healthz', { method: 'HEAD' });
  assert.deepEqual([status, headers['content-length'], text], [200, '3', '']);
});

testEveryServer('requests follow one another on one connection', async (adminServer, context) => {
  const balancer = await startAdministered(context, { adminServer });
  const socket = connect(balancer.tidegate.admin!.port, '127.0.0.1');
  const request = (path: string, more = '') => Buffer.from(`GET ${path} HTTP/1.1\r\nhost: localhost\r\n${more}\r\n`);
  const pieces = [
    request('/healthz'),
    request('/nothing'),
    request('/readyz'),
    request('/healthz', 'connection: close\r\n'),
  ];
  const { bytes } = await exchange(socket, [Buffer.concat(pieces.slice(0, 3)), pieces[3]!], { gapMs: 50 });
  assert.deepEqual(bytes.toString().match(/HTTP\/1\.1 \d+/g), [
    'HTTP/1.1 200',
    'HTTP/1.1 404',
    'HTTP/1.1 200',
    'HTTP/1.1 200',
  ]);
});

testEveryEngine('status tells what happened', async (engine, context) => {
  const [first, second] = [await startBackend(context, echo), await startBackend(context, echo)];
  const balancer = await startAdministered(context, { engine, workers: 2, backends: [first.address, second.address] });
  const clients = await Promise.all(
    Array.from({ length: 20 }, (_, index) => connectClient(balancer.port, { clientId: `device-${index}` })),
  );
  const status = statusSchema.parse(await balancer.status());
  assert.deepEqual([status.state, status.ready, status.engine, status.connections], ['running', true, engine, 20]);
  const listener = { name: 'mqtt', address: `127.0.0.1:${balancer.port}`, pool: 'brokers' };
  const unlimited = { max_connections: null, max_connections_per_source: null, max_half_open: null };
  assert.deepEqual(status.listeners, [{ ...listener, engine, tls: null, hook: null, connections: 20, ...unlimited }]);
  assert.deepEqual(
    status.workers.map(({ state, restarts, connections_max }) => [state, restarts, connections_max]),
    [
      ['running', 0, 1024],
      ['running', 0, 1024],
    ],
  );
  const [pool] = status.pools;
  assert.deepEqual(
    [pool?.method, pool?.key, pool?.algorithm, pool?.connections],
    ['hash', 'client_id', 'rendezvous', 20],
  );
  for (const [index, backend] of [first, second].entries()) {
    const { address, state, connections, connects, chosen } = pool!.backends[index]!;
    assert.deepEqual([address, state, connections, connects], [backend.address, 'up', backend.connections, chosen]);
  }
  for (const { socket } of clients) socket.destroy();
  await balancer.idle();
  const after = await balancer.status();
  assert.equal(after.counters.accepted, 20);
  assert.equal(after.counters.closed, 20);
  const ends = Object.values(after.closed_by_reason).reduce((sum, count) => sum + count, 0);
  assert.equal(ends, 20);
});

test('status and metrics say why a backend is in its state, since when, and what the last probe found', async (context) => {
  const alive = await startBackend(context, echo);
  const { address: gone } = refusingBackend(context);
  const balancer = await startAdministered(context, {
    backends: [alive.address, gone],
    health: { type: 'tcp', interval: '50ms', timeout: '500ms', rise: 1, fall: 1 },
  });
  await untilHealth(balancer, gone, 'down');
  await waitFor('probe', async () => (await balancer.status()).pools[0]!.backends[0]!.probe !== null);
  const [up, down] = statusSchema.parse(await balancer.status()).pools[0]!.backends;
  assert.deepEqual([up?.state, up?.share, up?.probe?.verdict], ['up', 1, 'pass']);
  assert.deepEqual([down?.state, down?.share, down?.probe?.verdict], ['down', 0, 'fail']);
  assert.equal(down?.reason, 'connect failed: ECONNREFUSED');
  assert.ok(up!.probe!.duration_seconds < 5 && Date.parse(up!.probe!.at) <= Date.now());
  const agoMs = Date.now() - Date.parse(down!.since);
  assert.ok(agoMs >= 0 && agoMs < 60_000, `${agoMs} ms`);

  const value = await metricsOf(balancer);
  const of = (name: string, address: string, more = '') =>
    value(`tidegate_backend_${name}{pool="brokers",backend="${address}"${more}}`);
  for (const [address, state, isUp, verdict] of [
    [alive.address, 'up', 1, 'pass'],
    [gone, 'down', 0, 'fail'],
  ] as const) {
    assert.deepEqual([of('up', address), of('share', address)], [isUp, isUp]);
    assert.equal(of('state', address, `,state="${state}"`), 1);
    assert.equal(of('judged_state', address, `,state="${state}"`), 1);
    assert.equal(of('operator_state', address, ',state="up"'), 1);
    assert.ok(of('probes_total', address, `,verdict="${verdict}"`) > 0);
    assert.ok(of('probe_duration_seconds', address) < 5);
    assert.ok(Math.abs(of('state_since_timestamp_seconds', address) - Date.now() / 1000) < 60);
  }
});

test('metrics show what an operator has said beside the health', async (context) => {
  const balancer = await startAdministered(context);
  await balancer.setState('127.0.0.1:1', 'drain');
  const value = await metricsOf(balancer);
  const of = (name: string, state: string) =>
    value(`tidegate_backend_${name}{pool="brokers",backend="127.0.0.1:1",state="${state}"}`);
  assert.deepEqual([of('state', 'drain'), of('state', 'up')], [1, 0]);
  assert.deepEqual([of('judged_state', 'drain'), of('judged_state', 'up')], [0, 1]);
  assert.deepEqual(
    [of('operator_state', 'drain'), of('operator_state', 'up'), of('operator_state', 'down')],
    [1, 0, 0],
  );
  assert.equal(value('tidegate_backend_up{pool="brokers",backend="127.0.0.1:1"}'), 0);
});

testEveryEngine('status and metrics count for each source address', async (engine, context) => {
  const backend = await startBackend(context, echo);
  const sourceAddresses = ['127.0.0.11', '127.0.0.12'];
  const balancer = await startAdministered(context, { engine, backends: [backend.address], sourceAddresses });
  const clients = await Promise.all(Array.from({ length: 6 }, () => connectClient(balancer.port)));
  const { sources } = statusSchema.parse(await balancer.status()).pools[0]!.backends[0]!;
  assert.deepEqual(
    sources.map(({ address, connections, exhausted }) => [address, connections, exhausted]),
    sourceAddresses.map((address) => [address, 3, 0]),
  );
  const value = await metricsOf(balancer);
  for (const { address, ports_free } of sources) {
    const labels = `{pool="brokers",backend="${backend.address}",source="${address}"}`;
    const names = ['connections', 'ports_free', 'exhausted_total'];
    assert.deepEqual(
      names.map((name) => value(`tidegate_source_${name}${labels}`)),
      [3, ports_free, 0],
    );
  }
  for (const { socket } of clients) socket.destroy();
});

test('the source that the system chooses is shown as any', async (context) => {
  const balancer = await startAdministered(context);
  const { sources } = (await balancer.status()).pools[0]!.backends[0]!;
  assert.deepEqual(
    sources.map(({ address, connections, exhausted }) => [address, connections, exhausted]),
    [[null, 0, 0]],
  );
  const value = await metricsOf(balancer);
  assert.equal(
    value('tidegate_source_ports_free{pool="brokers",backend="127.0.0.1:1",source="any"}'),
    sources[0]!.ports_free,
  );
});

testEveryEngine('events tell what happened to backends and workers', async (engine, context) => {
  const alive = await startBackend(context, echo);
  const { address: gone } = refusingBackend(context);
  const health = { type: 'tcp', interval: '50ms', timeout: '500ms', rise: 1, fall: 1 };
  const backends = [alive.address, gone];
  const balancer = await startAdministered(context, { engine, backends, health, mayDie: true });
  const eventsNow = async () => eventsSchema.parse(JSON.parse((await balancer.ask('/api/v1/events')).text));
  await untilHealth(balancer, gone, 'down');
  await balancer.setState(alive.address, 'drain');
  await balancer.setState(alive.address, 'drain');
  await balancer.tidegate.supervisor.terminate(0);
  await waitFor('event', async () => (await eventsNow()).events.some(({ event }) => event === 'worker_died'));
  await balancer.ask(REOPEN, { method: 'POST', headers: JSON_TYPE });
  const { complete_since, events } = await eventsNow();
  assert.ok(Date.parse(complete_since) <= Date.parse(events[0]!.at));
  const labels = (address: string) => ({ pool: 'brokers', backend: address });
  const reason = 'connect failed: ECONNREFUSED';
  assert.deepEqual(
    events.map(({ id, level, event }) => [id, level, event]),
    [
      [1, 'info', 'started'],
      [2, 'warn', 'backend_state'],
      [3, 'info', 'backend_operator'],
      [4, 'error', 'worker_died'],
      [5, 'info', 'access_log_reopened'],
    ],
  );
  assert.deepEqual(events[1]?.details, { ...labels(gone), health: 'down', reason });
  assert.equal(events[1]?.message, `backend ${gone} is down: ${reason}`);
  assert.deepEqual(events[2]?.details, { ...labels(alive.address), operator: 'drain' });
  assert.deepEqual([events[3]?.details.worker, events[3]?.details.restarts], [0, 1]);
  assert.deepEqual(balancer.tidegate.events(), events, 'the library has the same');
});

testEveryServer('what cannot be set is refused, and changes nothing', async (adminServer, context) => {
  const balancer = await startAdministered(context, { adminServer, backends: ['127.0.0.1:1', '[::1]:1'] });
  const path = '/api/v1/pools/brokers/backends/127.0.0.1:1';
  const patch = async (path: string, body: string) =>
    (await balancer.ask(path, { method: 'PATCH', headers: JSON_TYPE, body })).status;
  const drain = '{"state":"drain"}';
  for (const other of ['127.0.0.1:2', '127.0.0.1', '', '%5B::2%5D:1']) {
    assert.equal(await patch(`/api/v1/pools/brokers/backends/${other}`, drain), 404, other);
  }
  assert.equal(await patch('/api/v1/pools/others/backends/127.0.0.1:1', drain), 404);
  for (const body of ['', '{}', '{"state":"suspect"}', '{"state":null}', '{"state":"drain","force":true}', '"drain"']) {
    assert.equal(await patch(path, body), 400, body);
  }
  assert.equal((await balancer.ask(path)).status, 405);
  const operators = async () => (await balancer.status()).pools[0]!.backends.map(({ operator }) => operator);
  assert.deepEqual(await operators(), ['up', 'up']);
  assert.equal(await patch('/api/v1/pools/brokers/backends/%5B::1%5D:1', drain), 200);
  assert.equal(await patch('/api/v1/pools/brokers/backends/%5B%3A%3A1%5D%3A1', drain), 200);
  assert.deepEqual(await operators(), ['up', 'drain']);
  const said = balancer.messages.filter((message) => message.includes('operator'));
  assert.deepEqual(said, ['backend [::1]:1 takes nobody new, by an operator'], 'once');
});

// ---- The description -------------------------------------------------------------------------------------------------

interface Described {
  paths: Record<string, Record<string, { responses: Record<string, { content: Record<string, { schema: object }> }> }>>;
}

test('the OpenAPI file is the one that is served, and names every route', async (context) => {
  const balancer = await startAdministered(context);
  const served = JSON.parse((await balancer.ask('/api/v1/openapi.json')).text);
  const file = new URL('../src/admin/openapi.json', import.meta.url);
  assert.deepEqual(JSON.parse(await readFile(file, 'utf8')), served, 'npm run openapi writes it');
  assert.deepEqual(served, JSON.parse(JSON.stringify(openapiDocument(routes))));
  const described = Object.entries((served as Described).paths).flatMap(([path, operations]) =>
    Object.keys(operations).map((method) => `${method.toUpperCase()} ${path}`),
  );
  assert.deepEqual(described.sort(), routes.map(({ method, path }) => `${method} ${path}`).sort());
});

test('answers are as the OpenAPI file describes them, refusals too', async (context) => {
  const backend = await startBackend(context, hello);
  const balancer = await startAdministered(context, { backends: [backend.address] });
  const { paths }: Described = JSON.parse((await balancer.ask('/api/v1/openapi.json')).text);
  const assertDescribed = async (
    method: string,
    path: string,
    headers: Record<string, string> = {},
    asked: { path?: string; body?: string } = {},
  ) => {
    const { status, headers: answered, text } = await balancer.ask(asked.path ?? path, { ...asked, method, headers });
    const response = paths[path]?.[method.toLowerCase()]?.responses[status];
    assert.ok(response, `${method} ${path} ${status}`);
    const type = String(answered['content-type']).split(';', 1)[0]!;
    const schema = z.fromJSONSchema(response.content[type]!.schema as Parameters<typeof z.fromJSONSchema>[0]);
    const { error } = schema.safeParse(type === 'application/json' ? JSON.parse(text) : text);
    assert.equal(error, undefined, `${method} ${path} ${status}: ${error?.message}`);
  };
  const setState = '/api/v1/pools/{pool}/backends/{address}';
  const own = `/api/v1/pools/brokers/backends/${backend.address}`;
  await assertDescribed('PATCH', setState, JSON_TYPE, { path: own, body: '{"state":"down"}' });
  await assertDescribed('PATCH', setState, JSON_TYPE, { body: '{"state":"down"}' });
  for (const { method, path } of routes) {
    await assertDescribed(method, path, method === 'GET' ? {} : JSON_TYPE);
    await assertDescribed(method, path, { host: 'evil.example' });
    if (method !== 'GET') await assertDescribed(method, path);
  }
});

testEveryEngine('status and metrics show limits, and who waits', async (engine, context) => {
  const { address } = await startBackend(context, hello);
  const balancer = await startAdministered(context, {
    engine,
    backends: [{ address, connect_rate: { rate: 1 }, max_connections: 50 }],
    listener: { max_connections: 70, max_connections_per_source: 60 },
    pool: { queue: { timeout: '14s' }, max_connections: 40 },
  });
  const clients = Array.from({ length: 20 }, (_, index) =>
    connectClient(balancer.port, { clientId: `device-${index}` }),
  );
  const status = await waitFor('a queue', async () => {
    const now = statusSchema.parse(await balancer.status());
    return now.listeners[0]!.connections === 20 && now;
  });
  const [listener] = status.listeners;
  assert.deepEqual([listener!.max_connections, listener!.max_connections_per_source], [70, 60]);
  const [pool] = status.pools;
  const [backend] = pool!.backends;
  assert.deepEqual([pool!.max_connections, backend!.max_connections], [40, 50]);
  // One of them may be on its way out of the queue while it is looked at.
  const seen = pool!.queued + backend!.connections;
  assert.ok(Math.abs(seen - 20) <= 1 && Math.abs(backend!.queued - pool!.queued) <= 1, JSON.stringify(pool));
  assert.ok(pool!.queued_total >= 15 && backend!.queued_total >= 15);
  const { text } = await balancer.ask('/metrics');
  assert.match(text, /^tidegate_pool_queued\{pool="brokers"\} 1\d$/m);
  assert.match(text, /^tidegate_backend_queued\{.*\} 1\d$/m);
  assert.match(text, /^tidegate_pool_connections_limit\{pool="brokers"\} 40$/m);
  assert.match(text, /^tidegate_listener_connections\{listener="mqtt"\} 20$/m);
  await balancer.stop();
  for (const { socket } of await Promise.all(clients)) socket.destroy();
});

// ---- Metrics ---------------------------------------------------------------------------------------------------------

test('promtool finds nothing to complain about', async (context) => {
  const promtool = requireProgram(context, 'promtool');
  if (promtool === undefined) return;
  const backend = await startBackend(context, hello);
  const balancer = await startAdministered(context, { backends: [backend.address, '127.0.0.1:1'], health: 'tcp' });
  await waitFor('probe', async () => (await balancer.status()).pools[0]!.backends[0]!.probe !== null);
  const client = await connectClient(balancer.port);
  client.socket.destroy();
  await balancer.records(1);
  const { text } = await balancer.ask('/metrics');
  const { error, output } = await new Promise<{ error: Error | null; output: string }>((done) => {
    const checking = execFile(promtool, ['check', 'metrics'], (error, stdout, stderr) =>
      done({ error, output: stdout + stderr }),
    );
    checking.stdin?.end(text);
  });
  assert.deepEqual([error, output], [null, '']);
});

testEveryEngine('metrics count connections, their reasons, versions, keep alives and ages', async (engine, context) => {
  const backend = await startBackend(context, hello);
  const balancer = await startAdministered(context, { engine, backends: [backend.address] });
  for (const [version, keepAlive] of [
    [3, 10],
    [4, 60],
    [4, 0],
    [5, 600],
  ] as const) {
    (await connectClient(balancer.port, { version, keepAlive })).socket.destroy();
  }
  const stranger = await exchange(balancer.connect(), [Buffer.from('GET / HTTP/1.1\r\n\r\n')]);
  assert.equal(stranger.bytes.length, 0);
  const open = await connectClient(balancer.port);
  await balancer.records(5);
  const value = await metricsOf(balancer);
  assert.equal(value('tidegate_connections'), 1);
  assert.equal(value('tidegate_connections_accepted_total'), 6);
  assert.equal(value('tidegate_connections_closed_total{reason="http_request",side="client",status="400"}'), 1);
  const of = (protocol: string) => value(`tidegate_connections_closed_by_protocol_total{protocol="${protocol}"}`);
  assert.deepEqual(['3.1', '3.1.1', '5.0', 'unknown', 'other'].map(of), [1, 2, 1, 1, 0]);
  const keepAlives = (bound: string) => value(`tidegate_session_keep_alive_seconds_bucket{le="${bound}"}`);
  assert.deepEqual(['0', '10', '30', '60', '300', '600', '+Inf'].map(keepAlives), [1, 2, 2, 3, 3, 4, 4]);
  assert.equal(value('tidegate_session_keep_alive_seconds_sum'), 670);
  assert.equal(value('tidegate_session_duration_seconds_count'), 4);
  const labels = `{pool="brokers",backend="${backend.address}"}`;
  assert.equal(value(`tidegate_backend_connects_total${labels}`), 5);
  assert.equal(value(`tidegate_backend_connections${labels}`), 1);
  if (engine === 'uring') assert.ok(value('tidegate_worker_completions_total') > 0);
  assert.ok(value('tidegate_process_resident_memory_bytes') > 1 << 20);
  assert.ok(value('tidegate_process_open_fds') > 3);
  open.socket.destroy();
});

test('connections are counted also when the access log is off', async (context) => {
  const backend = await startBackend(context, hello);
  const settings = {
    engine: 'portable',
    workers: 1,
    connections_max: 64,
    listeners: [{ name: 'mqtt', bind: '127.0.0.1:0' }],
    pools: { brokers: { backends: [backend.address] } },
    access_log: { path: 'off' },
    admin: { bind: '127.0.0.1:0' },
  };
  const tidegate = await start(parseConfig(JSON.stringify(settings), 'test.yaml'));
  context.after(() => tidegate.stop({ now: true }));
  (await connectClient(tidegate.listeners[0]!.port)).socket.destroy();
  await waitFor('ended connection in the metrics', async () =>
    /^tidegate_session_duration_seconds_count 1$/m.test((await ask(tidegate.admin!.port, '/metrics')).text),
  );
});

test('a blocked main thread shows as delay of its event loop', async (context) => {
  const balancer = await startAdministered(context);
  await sleep(200);
  const untilMs = performance.now() + 300;
  while (performance.now() < untilMs);
  await sleep(100);
  const value = await metricsOf(balancer);
  assert.ok(value('tidegate_event_loop_delay_seconds{quantile="1"}') > 0.15);
  assert.ok(value('tidegate_event_loop_delay_seconds_count') > 2);
  assert.ok(value('tidegate_event_loop_delay_seconds_sum') < 5);
});

// ---- Who may ask -----------------------------------------------------------------------------------------------------

testEveryServer('with a token only the probes answer without it', async (adminServer, context) => {
  const balancer = await startAdministered(context, {
    adminServer,
    admin: { bind: '127.0.0.1:0', token: 'open-sesame' },
  });
  const statusOf = async (path: string, authorization?: string | string[], method = 'GET') =>
    (await balancer.ask(path, { method, headers: authorization === undefined ? {} : { authorization } })).status;
  assert.deepEqual([await statusOf('/healthz'), await statusOf('/readyz')], [200, 200]);
  for (const path of ['/metrics', '/api/v1/status', '/api/v1/openapi.json', '/nothing']) {
    assert.equal(await statusOf(path), 401, path);
  }
  for (const wrong of ['Bearer open-sesam', 'Bearer open-sesame2', 'Basic open-sesame', 'open-sesame', 'Bearer ', '']) {
    assert.equal(await statusOf('/metrics', wrong), 401, wrong);
  }
  assert.equal(await statusOf(REOPEN, undefined, 'POST'), 401);
  assert.equal(await statusOf('/metrics', 'Bearer open-sesame'), 200);
  assert.equal(await statusOf('/metrics', 'bearer open-sesame'), 200);
  const { headers, text } = await balancer.ask('/metrics');
  assert.match(String(headers['www-authenticate']), /^Bearer/);
  assert.doesNotMatch(text, /sesame/);
});

test('the token comes from a file, and a file without one is an error', async (context) => {
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-admin-'));
  context.after(() => rm(folder, { recursive: true }));
  const token_file = join(folder, 'token');
  await writeFile(token_file, 'from-a-file\n');
  const balancer = await startAdministered(context, { admin: { bind: '127.0.0.1:0', token_file } });
  const authorization = 'Bearer from-a-file';
  assert.equal((await balancer.ask('/metrics', { headers: { authorization } })).status, 200);
  await writeFile(token_file, '\n');
  await assert.rejects(
    startAdministered(context, { admin: { bind: '127.0.0.1:0', token_file } }),
    (error: TidegateError) => error.exitCode === 1 && /holds no token/.test(error.message),
  );
});

testEveryServer("names that stand for 127.0.0.1 by an attacker's doing are refused", async (adminServer, context) => {
  const balancer = await startAdministered(context, { adminServer });
  const statusOf = async (host: string) => (await balancer.ask('/api/v1/status', { headers: { host } })).status;
  for (const host of [
    'localhost',
    'LOCALHOST:9883',
    '127.0.0.1',
    '127.0.0.1:80',
    '127.1.2.3:1',
    '[::1]',
    '[::1]:9883',
  ]) {
    assert.equal(await statusOf(host), 200, host);
  }
  for (const host of [
    'evil.example',
    'evil.example:9883',
    '127.0.0.1.evil.example',
    'localhost.evil.example',
    '10.0.0.1',
  ]) {
    assert.equal(await statusOf(host), 403, host);
  }
});

testEveryServer('a second Host does not hide the first', async (adminServer, context) => {
  const balancer = await startAdministered(context, { adminServer });
  for (const hosts of ['host: localhost\r\nhost: evil.example', 'host: evil.example\r\nhost: localhost']) {
    const socket = connect(balancer.tidegate.admin!.port, '127.0.0.1');
    const request = Buffer.from(`GET /api/v1/status HTTP/1.1\r\n${hosts}\r\nconnection: close\r\n\r\n`);
    const { bytes } = await exchange(socket, [request]);
    assert.match(bytes.toString(), /^HTTP\/1\.1 40[03] /);
  }
});

testEveryServer('pages of another origin change nothing, nor does a form', async (adminServer, context) => {
  const balancer = await startAdministered(context, { adminServer });
  const host = `127.0.0.1:${balancer.tidegate.admin!.port}`;
  const statusOf = async (headers: Record<string, string>) =>
    (await balancer.ask(REOPEN, { method: 'POST', headers: { host, ...headers }, body: '{}' })).status;
  const allowed: Record<string, string>[] = [
    JSON_TYPE,
    { 'content-type': 'Application/JSON; charset=utf-8' },
    { ...JSON_TYPE, origin: `http://${host}`, 'sec-fetch-site': 'same-origin' },
    { ...JSON_TYPE, 'sec-fetch-site': 'none' },
    { ...JSON_TYPE, origin: `https://${host}` },
  ];
  for (const headers of allowed) assert.equal(await statusOf(headers), 202, JSON.stringify(headers));
  const foreign: Record<string, string>[] = [
    { origin: 'https://evil.example' },
    { origin: 'null' },
    { origin: 'http://127.0.0.1:1' },
    { 'sec-fetch-site': 'cross-site' },
    { 'sec-fetch-site': 'same-site' },
  ];
  for (const headers of foreign)
    assert.equal(await statusOf({ ...JSON_TYPE, ...headers }), 403, JSON.stringify(headers));
  for (const type of [
    'text/plain',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=application/json',
  ]) {
    assert.equal(await statusOf({ 'content-type': type }), 415, type);
  }
  assert.equal(await statusOf({}), 415);
  const { headers } = await balancer.ask('/api/v1/status', { headers: { origin: 'https://evil.example' } });
  assert.equal(headers['access-control-allow-origin'], undefined);
  assert.equal(balancer.messages.filter((message) => message === 'access log reopened').length, allowed.length);
});

// ---- What is too much ------------------------------------------------------------------------------------------------

testEveryServer('a body that is too long is refused, with a length and without', async (adminServer, context) => {
  const balancer = await startAdministered(context, { adminServer });
  const statusOf = async (bytes: number, headers: Record<string, string> = {}) =>
    (
      await balancer.ask(REOPEN, {
        method: 'POST',
        headers: { ...JSON_TYPE, ...headers },
        body: Buffer.alloc(bytes, 32),
      })
    ).status;
  assert.equal(await statusOf(BODY_BYTES_MAX), 202);
  assert.equal(await statusOf(BODY_BYTES_MAX + 1), 413);
  assert.equal(await statusOf(10 * BODY_BYTES_MAX), 413);
  assert.equal(await statusOf(BODY_BYTES_MAX, { 'transfer-encoding': 'chunked' }), 202);
  assert.equal(await statusOf(10 * BODY_BYTES_MAX, { 'transfer-encoding': 'chunked' }), 413);
  assert.equal((await balancer.ask('/healthz')).status, 200);
});

testEveryServer('a body without end is cut off', async (adminServer, context) => {
  const balancer = await startAdministered(context, { adminServer });
  const socket = connect(balancer.tidegate.admin!.port, '127.0.0.1').on('error', () => {});
  socket.write(
    `POST ${REOPEN} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 99999999999\r\n\r\n`,
  );
  const chunk = Buffer.alloc(64 << 10);
  const more = () => {
    while (!socket.destroyed && socket.write(chunk));
  };
  socket.on('drain', more).resume();
  more();
  await closed(socket);
  assert.ok(socket.bytesWritten < 64 << 20, `${socket.bytesWritten} bytes were taken`);
  assert.equal((await balancer.ask('/healthz')).status, 200);
});

testEveryServer('clients that vanish in the middle of a request leave nothing behind', async (adminServer, context) => {
  const balancer = await startAdministered(context, { adminServer });
  const beginnings = [
    '',
    'GE',
    'GET /metrics HTTP/1.1\r\nhost: localh',
    'GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n',
    `POST ${REOPEN} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{`,
    'not HTTP at all\r\n\r\n',
    'GET http://evil.example/metrics HTTP/1.1\r\nhost: localhost\r\n\r\n',
    'OPTIONS * HTTP/1.1\r\nhost: localhost\r\n\r\n',
  ];
  for (const beginning of beginnings) {
    const socket = connect(balancer.tidegate.admin!.port, '127.0.0.1').on('error', () => {});
    await once(socket, 'connect');
    socket.write(beginning);
    await sleep(20);
    reset(socket);
  }
  assert.equal((await balancer.ask('/healthz')).status, 200);
  assert.deepEqual(
    balancer.messages.filter((message) => message.includes('failed')),
    [],
  );
});

// Both servers at once: each waits ten seconds.
test('whoever takes too long over a request is closed', async (context) => {
  const head = `POST ${REOPEN} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 9\r\n`;
  const slow = async (adminServer: Server) => {
    const { tidegate } = await startAdministered(context, { adminServer });
    const sockets = ['', head, `${head}\r\n{`].map((text) => {
      const socket = connect(tidegate.admin!.port, '127.0.0.1').on('error', () => {});
      socket.resume().write(text);
      return closed(socket);
    });
    await Promise.all(sockets);
  };
  if (requires(context, whyNoUws())) await Promise.all(SERVERS.map(slow));
});

/** However it ended. */
function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.once('close', () => resolve()));
}

// ---- Its life --------------------------------------------------------------------------------------------------------

testEveryServer(
  'readyz says 503 while connections drain, healthz stays 200, and then the port is closed',
  async (adminServer, context) => {
    const backend = await startBackend(context, echo);
    const balancer = await startAdministered(context, { adminServer, backends: [backend.address] });
    const client = await connectClient(balancer.port);
    const { port } = balancer.tidegate.admin!;
    const stopped = balancer.tidegate.stop();
    const { status, text } = await balancer.ask('/readyz');
    assert.deepEqual([status, text], [503, 'stopping\n']);
    assert.equal((await balancer.ask('/healthz')).status, 200);
    const document = await balancer.status();
    assert.deepEqual([document.state, document.ready, document.connections], ['stopping', false, 1]);
    const idle = connect(port, '127.0.0.1').on('error', () => {});
    await once(idle, 'connect');
    client.socket.destroy();
    await Promise.all([stopped, closed(idle.resume())]);
    await assert.rejects(ask(port, '/healthz'), { code: 'ECONNREFUSED' });
  },
);

test('readyz says 503 while a worker is away', async (context) => {
  const balancer = await startAdministered(context, { workers: 2, mayDie: true });
  const seen = new Set<string>();
  const died = balancer.tidegate.supervisor.terminate(1);
  await waitFor('worker that is away', async () => {
    const { status, text } = await balancer.ask('/readyz');
    if (status === 503) seen.add(text);
    return seen.size > 0;
  });
  assert.match([...seen][0]!, /^worker 1 is (waiting|starting)\n$/);
  await died;
  await waitFor('worker that is back', async () => (await balancer.ask('/readyz')).status === 200);
  assert.equal((await balancer.status()).workers[1]?.restarts, 1);
});

testEveryServer(
  'a taken port is an error that says what to do, and leaves nothing behind',
  async (adminServer, context) => {
    const holder = createServer().listen(0, '127.0.0.1');
    await once(holder, 'listening');
    context.after(() => holder.close());
    const { port } = holder.address() as AddressInfo;
    await assert.rejects(
      startAdministered(context, { adminServer, admin: { bind: `127.0.0.1:${port}` } }),
      (error: TidegateError) => {
        assert.equal(error.exitCode, 2);
        assert.match(
          error.message,
          new RegExp(
            `^the admin API: cannot listen on 127\\.0\\.0\\.1:${port}: the port is taken; .* in admin\\.bind, or set admin: off$`,
          ),
        );
        return true;
      },
    );
    const first = await startAdministered(context, { adminServer });
    const taken = { bind: `127.0.0.1:${first.tidegate.admin!.port}` };
    await assert.rejects(startAdministered(context, { adminServer, admin: taken }), { code: 'EADDRINUSE' });
  },
);

testEveryServer(
  'where nobody asked for it, a taken port costs a warning and no start',
  async (adminServer, context) => {
    const first = await startAdministered(context, { adminServer });
    const { host, port } = first.tidegate.admin!;
    const config = parseConfig(
      JSON.stringify({
        engine: 'portable',
        workers: 1,
        connections_max: 64,
        listeners: [{ name: 'mqtt', bind: '127.0.0.1:0' }],
        pools: { brokers: { backends: ['127.0.0.1:1'] } },
        access_log: { path: 'off' },
      }),
      'test.yaml',
    );
    assert.equal(config.admin?.isDefault, true);
    const warnings: string[] = [];
    const log = { info() {}, error() {}, warn: (_fields: object, message: string) => void warnings.push(message) };
    const tidegate = await start(
      { ...config, admin: { ...config.admin!, bind: { host, port } } },
      { log, adminServer },
    );
    context.after(() => tidegate.stop({ now: true }));
    assert.equal(tidegate.admin, undefined);
    assert.match(warnings.join(), /^the admin API: cannot listen on .*; until then there is none$/);
  },
);

// ---- Routes of any kind ----------------------------------------------------------------------------------------------

test('a route is given its decoded parameters, its query and its checked body', async () => {
  const seen: unknown[] = [];
  const route: Route = {
    method: 'PATCH',
    path: '/pools/{pool}/backends/{address}',
    summary: 'a route',
    body: z.strictObject({ weight: z.int() }),
    query: z.strictObject({ dry: z.string() }),
    responses: {},
    answer: (_context, { parameters, query, body }) => {
      seen.push(parameters, query, body);
      return { status: 200, headers: {}, body: '' };
    },
  };
  const api = new Api({
    routes: [route],
    guard: new Guard({ host: '127.0.0.1', token: '' }),
    context: {} as AdminContext,
  });
  const head = {
    method: 'PATCH',
    path: '/pools/b%2Fc/backends/%5B%3A%3A1%5D:1883',
    query: 'dry=1',
    headers: new Map([
      ['host', 'localhost'],
      ['content-type', 'application/json'],
    ]),
  };
  assert.equal(api.admit(head), undefined);
  assert.equal((await api.answer(head, Buffer.from('{"weight":2}'))).status, 200);
  assert.deepEqual(seen, [{ pool: 'b/c', address: '[::1]:1883' }, { dry: '1' }, { weight: 2 }]);
  for (const body of ['', '{', '[]', '{"weight":"2"}', '{"weight":1,"x":1}', '\xff']) {
    const { status, body: text } = await api.answer(head, Buffer.from(body, 'latin1'));
    assert.deepEqual([status, Object.keys(JSON.parse(String(text)))], [400, ['error']], body);
  }
  for (const query of ['', 'dry=1&wet=1', 'dry=1&dry=2', 'wet=1']) {
    assert.equal((await api.answer({ ...head, query }, Buffer.from('{"weight":2}'))).status, 400, query);
  }
  assert.equal(api.admit({ ...head, path: '/pools/b/backends/%E0%A4%A' })?.status, 404);
});
