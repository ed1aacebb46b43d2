// The judge over real probes: how often it asks, what it tells whom, and that it leaves nothing behind.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { HEALTH_DOWN, HEALTH_SUSPECT, HEALTH_UP } from '../assembly/layout.ts';
import { type HealthChange, Judge } from '../src/control/health/judge.ts';
import { type Backend, BackendIds } from '../src/control/snapshot.ts';
import { refusingBackend, startBackend } from './tools/backends.ts';
import { startMosquitto } from './tools/mosquitto.ts';
import { PATIENCE_MS } from './tools/patience.ts';
import { backendsOf, type PoolOptions } from './tools/probed.ts';
import { waitFor } from './tools/wait.ts';

interface Court {
  judge: Judge;
  backends: readonly Backend[];
  /** By backend id: failed connects that the workers shall have counted. */
  failures: number[];
  /** By backend id: what the workers were told last. */
  words: number[];
  /** Every change as "address: from > state, reason". */
  changes: string[];
  last: HealthChange[];
  stateOf(index: number): string;
}

async function startCourt(
  context: TestContext,
  addresses: readonly (string | object)[],
  pool: PoolOptions,
  ids = new BackendIds(),
): Promise<Court> {
  const backends = await backendsOf(addresses, pool, ids);
  const failures = backends.map(() => 0);
  const words: number[] = [];
  const changes: string[] = [];
  const last: HealthChange[] = [];
  const judge = new Judge({
    backends,
    countsOf: ({ id }) => ({ connects: 0, failures: failures[id] ?? 0 }),
    tlsOf: () => undefined,
    setHealth: ({ id }, word) => {
      words[id] = word;
    },
    onChange: [
      ({ backend, from, state, reason }) =>
        void changes.push(`${backend.config.address}: ${from} > ${state}, ${reason}`),
      (change) => void last.push(change),
    ],
  });
  context.after(() => judge.stop());
  judge.start();
  const stateOf = (index: number) => judge.standingOf(backends[index]!).state;
  return { judge, backends, failures, words, changes, last, stateOf };
}

const untilState = (court: Court, state: string, index = 0) => {
  return waitFor(`backend that is ${state}`, () => court.stateOf(index) === state);
};
const untilProbed = ({ judge, backends }: Court, index = 0) => {
  return waitFor('probe', () => judge.standingOf(backends[index]!).lastProbe !== null);
};

test("hundreds of probes leave nothing but clean connects and disconnects in a broker's log", async (context) => {
  const broker = await startMosquitto(context);
  if (broker === undefined) return;
  const before = broker.log().length;
  const ids = new BackendIds();
  const every = { interval: '5ms', timeout: '2s' };
  const courts = [
    await startCourt(context, [broker.address], { health: { ...every, version: '3.1.1' } }, ids),
    await startCourt(
      context,
      [{ address: broker.address.replace('127.0.0.1', 'localhost') }],
      {
        health: { ...every, version: 5 },
      },
      ids,
    ),
  ];
  const count = (pattern: RegExp) => broker.log().filter((line) => pattern.test(line)).length;
  await waitFor('400 probes', () => count(/^Received DISCONNECT/) >= 400, 60_000);
  await Promise.all(courts.map(({ judge }) => judge.stop()));
  await waitFor('goodbye of the last one', () => count(/^New client/) === count(/ disconnected\.$/));
  const id = String.raw`tidegate-health-[\w-]+-${process.pid}-[01]`;
  const clean = [
    /^New connection from 127\.0\.0\.1:\d+ on port \d+\.$/,
    new RegExp(`^New client connected from 127\\.0\\.0\\.1:\\d+ as ${id} \\(p[25], c1, k60\\)\\.$`),
    /^No will message specified\.$/,
    new RegExp(`^Sending CONNACK to ${id} \\(0, 0\\)$`),
    new RegExp(`^Received DISCONNECT from ${id}$`),
    new RegExp(`^Client ${id} disconnected\\.$`),
  ];
  const lines = broker.log().slice(before);
  assert.deepEqual(
    lines.filter((line) => !clean.some((pattern) => pattern.test(line))),
    [],
  );
  for (const pattern of clean.slice(1)) assert.equal(count(pattern), count(clean[1]!), String(pattern));
  context.diagnostic(`${count(clean[1]!)} probes, ${lines.length} lines`);
  for (const court of courts) assert.deepEqual(court.changes, []);
});

test('a broker that falls silent is found within interval and timeout, then down, then back after rise', async (context) => {
  const broker = await startMosquitto(context);
  if (broker === undefined) return;
  const court = await startCourt(context, [broker.address], { health: { interval: '1s', timeout: '500ms' } });
  await untilProbed(court);
  broker.freeze();
  const beganMs = performance.now();
  await untilState(court, 'suspect');
  const foundMs = performance.now() - beganMs;
  context.diagnostic(`found after ${foundMs.toFixed()} ms`);
  assert.ok(foundMs < 1500 + PATIENCE_MS, `${foundMs} ms`);
  assert.equal(court.words[0], HEALTH_SUSPECT);
  await untilState(court, 'down');
  assert.equal(court.words[0], HEALTH_DOWN);
  broker.thaw();
  await untilState(court, 'up');
  assert.equal(court.words[0], HEALTH_UP);
  assert.deepEqual(court.changes, [
    `${broker.address}: up > suspect, no answer within 500 ms`,
    `${broker.address}: suspect > down, no answer within 500 ms`,
    `${broker.address}: down > up, CONNECT accepted`,
  ]);
});

test('a broker that is killed is known to be gone, and one that refuses is not', async (context) => {
  const broker = await startMosquitto(context);
  if (broker === undefined) return;
  const refused = await startMosquitto(context, { user: { name: 'probe', password: 'right' } });
  const court = await startCourt(context, [broker.address, refused!.address], {
    health: { interval: '200ms', fall: 2 },
  });
  await untilProbed(court);
  await broker.kill();
  await untilState(court, 'down', 0);
  await untilState(court, 'down', 1);
  const [killed] = court.last.filter(({ state, backend }) => state === 'down' && backend.id === 0);
  const [unwilling] = court.last.filter(({ state, backend }) => state === 'down' && backend.id === 1);
  assert.deepEqual([killed!.reason, killed!.isGone], ['connect failed: ECONNREFUSED', true]);
  assert.deepEqual([unwilling!.reason, unwilling!.isGone], ['CONNECT refused with code 5 (not authorised)', false]);
  assert.ok(Math.abs(killed!.atMs - Date.now()) < 60_000);
  await broker.restart();
  await untilState(court, 'up', 0);
});

test('what is gone behind another port says nothing of the broker', async (context) => {
  const court = await startCourt(context, ['127.0.0.1:1'], {
    health: { type: 'tcp', interval: '100ms', port: refusingBackend(context).port },
  });
  await untilState(court, 'down');
  assert.deepEqual(
    court.last.map(({ isGone }) => isGone),
    [false, false],
  );
});

test('a failed connect of a client asks the probe at once, which clears the backend or takes it down', async (context) => {
  const answering = await startBackend(context, (socket) => socket.on('end', () => socket.end()).resume());
  const refusing = refusingBackend(context);
  const court = await startCourt(context, [answering.address, { address: refusing.address, max_fails: 3 }], {
    health: { type: 'tcp', interval: '1h' },
  });
  await untilProbed(court, 0);
  await untilState(court, 'down', 1);
  const before = answering.connections;
  court.failures[0] = 1;
  await waitFor('probe', () => answering.connections > before, 1000);
  assert.equal(court.stateOf(0), 'suspect', 'one probe that passes is not enough');
  await untilState(court, 'up', 0);
  assert.deepEqual(
    court.changes.filter((change) => change.startsWith(answering.address)),
    [`${answering.address}: up > suspect, a connect failed`, `${answering.address}: suspect > up, connected`],
  );
  const after = answering.connections;
  await sleep(1500);
  assert.equal(answering.connections, after, 'and then waits for its interval again');
});

test('probes come at their interval or a little earlier, not in step, and not after stop', async (context) => {
  const times: number[][] = [[], []];
  const backends = await Promise.all(
    times.map((list) =>
      startBackend(context, (socket) => {
        list.push(performance.now());
        socket.on('end', () => socket.end()).resume();
      }),
    ),
  );
  const court = await startCourt(
    context,
    backends.map(({ address }) => address),
    { health: { type: 'tcp', interval: '100ms' } },
  );
  await waitFor('20 probes', () => times.every((list) => list.length > 20));
  await court.judge.stop();
  const counts = backends.map(({ connections }) => connections);
  for (const list of times) {
    const gaps = list.slice(1).map((time, index) => time - list[index]!);
    const mean = (list.at(-1)! - list[0]!) / gaps.length;
    assert.ok(mean > 78 && mean < 1000, `${mean} ms`);
    assert.ok(Math.max(...gaps) - Math.min(...gaps) > 4, 'each gap is of its own length');
  }
  await sleep(300);
  assert.deepEqual(
    backends.map(({ connections }) => connections),
    counts,
  );
});

test('the next probe waits until the connection of the last one is closed', async (context) => {
  const times: number[] = [];
  const backend = await startBackend(context, (socket) => {
    times.push(performance.now());
    socket.resume();
  });
  const court = await startCourt(context, [backend.address], {
    health: { type: 'tcp', interval: '20ms', timeout: '150ms' },
  });
  await waitFor('5 probes', () => times.length >= 5);
  assert.equal(court.stateOf(0), 'up');
  assert.ok(times[4]! - times[0]! > 4 * 140, 'who never closes is cut');
});

test('a judge ends soon, whatever its probes wait for', async (context) => {
  const backend = await startBackend(context, () => {});
  const court = await startCourt(context, [backend.address], { health: { interval: '1ms', timeout: '1m' } });
  await waitFor('probe', () => backend.connections === 1);
  const beganMs = performance.now();
  await court.judge.stop();
  assert.ok(performance.now() - beganMs < PATIENCE_MS);
  assert.deepEqual(court.changes, []);
});

test('other backends take the place of others; who stays keeps its standing under other settings', async (context) => {
  const ids = new BackendIds();
  const gone = refusingBackend(context);
  const answering = await startBackend(context, (socket) => socket.on('end', () => socket.end()).resume());
  const health = { type: 'tcp', interval: '50ms' };
  const court = await startCourt(context, [gone.address, '127.0.0.1:1'], { health }, ids);
  await untilState(court, 'down', 0);
  const next = await backendsOf([gone.address, answering.address], { health: { ...health, rise: 1 } }, ids);
  court.judge.setBackends(next);
  assert.equal(court.judge.standingOf(next[0]!).state, 'down');
  await waitFor('probe of the new one', () => court.judge.standingOf(next[1]!).lastProbe?.verdict === 'pass');
  gone.free();
  await startBackend(context, (socket) => socket.on('end', () => socket.end()).resume(), { port: gone.port });
  await waitFor('return', () => court.judge.standingOf(next[0]!).state === 'up');
  const changes = court.changes.length;
  court.judge.setBackends(await backendsOf([gone.address, answering.address], { health: 'none' }, ids));
  await sleep(100); // a probe may have been on its way
  const probed = answering.connections;
  await sleep(300);
  assert.equal(answering.connections, probed, 'nobody is probed any more');
  assert.equal(court.changes.length, changes);
});

test('a backend held for down is so for the workers before anything is probed', async (context) => {
  const backend = await startBackend(context, (socket) => socket.on('end', () => socket.end()).resume());
  const court = await startCourt(context, [backend.address], {
    health: { type: 'tcp', interval: '50ms', initial: 'down' },
  });
  assert.equal(court.words[0], HEALTH_DOWN);
  await untilState(court, 'up');
  assert.equal(court.words[0], HEALTH_UP);
});
