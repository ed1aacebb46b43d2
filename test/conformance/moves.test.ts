// Clients that are moved: drains, maintenance, rebalances and orphans, with real connections.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type MoveDocument, moveSchema } from '../../src/admin/move-document.ts';
import { movesSchema } from '../../src/admin/routes/moves.ts';
import { statusSchema } from '../../src/admin/status-document.ts';
import type { EngineName } from '../../src/index.ts';
import { type Administered, startAdministered } from '../tools/administered.ts';
import { type Backend, echo, startBackend } from '../tools/backends.ts';
import type { BalancerOptions } from '../tools/balancer.ts';
import { type Client, connectClient, echoes } from '../tools/client.ts';
import { clientIdsOf } from '../tools/client-ids.ts';
import { testEveryEngine } from '../tools/engines.ts';
import { PATIENCE_MS } from '../tools/patience.ts';
import { waitFor } from '../tools/wait.ts';

const SHUTTING_DOWN = Buffer.from([0xe0, 2, 0x8b, 0]);
const ADMINISTRATIVE_ACTION = Buffer.from([0xe0, 2, 0x98, 0]);
const BACKENDS = '/api/v1/pools/brokers/backends';

/** A device: what it has heard since its CONNACK, and when it was closed. */
interface Device extends Client {
  clientId: string;
  version: 4 | 5;
  heard: Buffer[];
  closedAtMs: number | undefined;
}

async function connectDevice(port: number, clientId: string, version: 4 | 5): Promise<Device> {
  const client = await connectClient(port, { clientId, version });
  assert.ok(client.connack.length > 0, 'refused without a word');
  const device: Device = { ...client, clientId, version, heard: [], closedAtMs: undefined };
  client.socket.on('data', (bytes: Buffer) => device.heard.push(bytes)).resume();
  client.socket.on('close', () => {
    device.closedAtMs = performance.now();
  });
  return device;
}

/** Every other one speaks MQTT 5.0. */
function connectDevices({ port }: Administered, clientIds: readonly string[]): Promise<Device[]> {
  return Promise.all(clientIds.map((clientId, index) => connectDevice(port, clientId, index % 2 === 0 ? 5 : 4)));
}

const close = (devices: readonly Device[]) => {
  for (const { socket } of devices) socket.destroy();
};
const isClosed = ({ closedAtMs }: Device) => closedAtMs !== undefined;

interface Scene {
  balancer: Administered;
  backends: Backend[];
  addresses: string[];
}

async function stage(
  context: Parameters<typeof startBackend>[0],
  engine: EngineName,
  count: number,
  options: Partial<BalancerOptions> = {},
): Promise<Scene> {
  const backends: Backend[] = [];
  for (let index = 0; index < count; index++) backends.push(await startBackend(context, echo));
  const addresses = backends.map(({ address }) => address);
  const balancer = await startAdministered(context, { engine, workers: 2, backends: addresses, ...options });
  return { balancer, backends, addresses };
}

async function begin(balancer: Administered, path: string, body?: object): Promise<MoveDocument> {
  const { status, text } = await balancer.send('POST', path, body);
  assert.equal(status, 202, text);
  return moveSchema.parse(JSON.parse(text));
}

async function moveOf(balancer: Administered, id: number): Promise<MoveDocument> {
  const { moves } = movesSchema.parse(JSON.parse((await balancer.ask('/api/v1/moves')).text));
  return moves.find((move) => move.id === id)!;
}

const untilEnded = (balancer: Administered, id: number) =>
  waitFor('end of the move', async () => {
    const move = await moveOf(balancer, id);
    return move.state !== 'running' && move;
  });

const drainPath = (address: string) => `${BACKENDS}/${encodeURIComponent(address)}/drain`;

testEveryEngine('a drain empties a backend at its pace, and nobody comes back to it', async (engine, context) => {
  const { balancer, backends, addresses } = await stage(context, engine, 3);
  const own = clientIdsOf(addresses[0]!, addresses, 100);
  const devices = await connectDevices(balancer, own);
  const others = await connectDevices(balancer, clientIdsOf(addresses[1]!, addresses, 20));
  assert.deepEqual([backends[0]!.connections, backends[1]!.connections], [100, 20]);
  const beganMs = performance.now();
  const move = await begin(balancer, drainPath(addresses[0]!), { rate: 50 });
  assert.deepEqual([move.kind, move.pool, move.backend, move.rate], ['drain', 'brokers', addresses[0], 50]);
  assert.deepEqual([move.state, move.left, move.ended_at], ['running', 100, null]);
  const [document] = statusSchema.parse(await balancer.status()).pools[0]!.backends;
  assert.deepEqual([document?.state, document?.operator, document?.move?.id], ['drain', 'drain', move.id]);
  await waitFor('half of them', () => devices.filter(isClosed).length >= 50);
  const half = await moveOf(balancer, move.id);
  assert.ok(half.moved >= 45 && half.moved < 100 && half.left <= 55, JSON.stringify(half));

  const ended = await untilEnded(balancer, move.id);
  assert.deepEqual([ended.state, ended.moved, ended.left, ended.reason], ['done', 100, 0, '']);
  const lastMs = Math.max(...devices.map(({ closedAtMs = Number.NaN }) => closedAtMs));
  assert.ok(lastMs - beganMs > 1800 && lastMs - beganMs < 2000 + PATIENCE_MS, `${lastMs - beganMs} ms`);
  for (const { heard, version } of devices) {
    assert.deepEqual(Buffer.concat(heard), version === 5 ? SHUTTING_DOWN : Buffer.alloc(0));
  }
  assert.ok(!others.some(isClosed), 'the others notice nothing');
  const again = await connectDevices(balancer, own);
  assert.equal(backends[0]!.connections, 100, 'none returns');
  const records = await balancer.records(100);
  assert.deepEqual(new Set(records.map(({ reason }) => reason)), new Set(['drained']));
  assert.equal((await balancer.status()).pools[0]!.backends[0]!.move, null);
  close([...again, ...others]);
});

testEveryEngine('clients are sent to the server that drain.server_reference names', async (engine, context) => {
  const pool = { drain: { server_reference: 'b.example:1883', rate: 1000 } };
  const { balancer, addresses } = await stage(context, engine, 2, { pool });
  const devices = await connectDevices(balancer, clientIdsOf(addresses[0]!, addresses, 10));
  const move = await begin(balancer, drainPath(addresses[0]!));
  assert.equal(move.rate, 1000);
  await untilEnded(balancer, move.id);
  await waitFor('closed clients', () => devices.every(isClosed));
  const reference = Buffer.from('b.example:1883');
  const properties = Buffer.concat([Buffer.from([0x1c, 0, reference.length]), reference]);
  const expected = Buffer.concat([Buffer.from([0xe0, 2 + properties.length, 0x9c, properties.length]), properties]);
  for (const { heard, version } of devices) {
    assert.deepEqual(Buffer.concat(heard), version === 5 ? expected : Buffer.alloc(0));
  }
});

testEveryEngine('a drain stops when its backend is set up again, and when it is told to', async (engine, context) => {
  const { balancer, addresses } = await stage(context, engine, 2);
  const devices = await connectDevices(balancer, clientIdsOf(addresses[0]!, addresses, 40));
  const first = await begin(balancer, drainPath(addresses[0]!), { rate: 20 });
  await waitFor('moved client', () => devices.some(isClosed));
  await balancer.setState(addresses[0]!, 'up');
  const stopped = await untilEnded(balancer, first.id);
  assert.deepEqual([stopped.state, stopped.reason], ['stopped', 'the backend was set to up']);
  const second = await begin(balancer, drainPath(addresses[0]!), { rate: 1 });
  const third = await begin(balancer, drainPath(addresses[0]!), { rate: 2 });
  assert.equal((await moveOf(balancer, second.id)).reason, 'another one took its place');
  const { status, text } = await balancer.send('DELETE', `/api/v1/moves/${third.id}`);
  assert.deepEqual(
    [status, JSON.parse(text).state, JSON.parse(text).reason],
    [200, 'stopped', 'stopped by an operator'],
  );
  assert.equal((await balancer.send('DELETE', `/api/v1/moves/${third.id}`)).status, 404);
  const closed = devices.filter(isClosed).length;
  await sleep(300);
  assert.ok(devices.filter(isClosed).length <= closed + 1 && closed < 30, `${closed} of 40`);
  const names = balancer.tidegate.events().map(({ event }) => event);
  assert.deepEqual(
    names.filter((name) => name.startsWith('move_')),
    ['move_started', 'move_stopped', 'move_started', 'move_stopped', 'move_started', 'move_stopped'],
  );
  close(devices);
});

testEveryEngine('maintenance ends with a backend that is down until it is set up', async (engine, context) => {
  const { balancer, backends, addresses } = await stage(context, engine, 2, {
    pool: { drain: { rate: 500 } },
    slowStart: '10m',
  });
  const own = clientIdsOf(addresses[0]!, addresses, 20);
  const devices = await connectDevices(balancer, own);
  const { status, text } = await balancer.setState(addresses[0]!, 'maintenance');
  const { state, operator, move } = JSON.parse(text);
  assert.deepEqual([status, state, operator, move.kind], [200, 'drain', 'maintenance', 'maintenance']);
  await waitFor('empty backend', async () => {
    const [document] = (await balancer.status()).pools[0]!.backends;
    return document?.state === 'down' && document.operator === 'maintenance' && document.reason === 'in maintenance';
  });
  assert.ok(devices.every(isClosed));
  assert.equal((await moveOf(balancer, move.id)).state, 'done');
  const away = await connectDevices(balancer, own);
  assert.equal(backends[0]!.connections, 20);
  const back = JSON.parse((await balancer.setState(addresses[0]!, 'up')).text);
  assert.equal(back.state, 'up');
  assert.ok(back.share < 0.1, 'it starts slowly');
  close(away);
});

testEveryEngine('a rebalance moves exactly those who belong elsewhere', async (engine, context) => {
  const { balancer, backends, addresses } = await stage(context, engine, 3);
  await balancer.setState(addresses[0]!, 'drain');
  const own = clientIdsOf(addresses[0]!, addresses, 60);
  const astray = await connectDevices(balancer, own);
  const nameless = await connectDevices(balancer, Array<string>(6).fill(''));
  const settled = await connectDevices(balancer, [
    ...clientIdsOf(addresses[1]!, addresses, 30),
    ...clientIdsOf(addresses[2]!, addresses, 30),
  ]);
  assert.equal(backends[0]!.connections, 0);
  await balancer.setState(addresses[0]!, 'up');
  const newcomers = await connectDevices(balancer, clientIdsOf(addresses[0]!, addresses, 80).slice(60));
  const move = await begin(balancer, '/api/v1/pools/brokers/rebalance', { rate: 100 });
  assert.deepEqual([move.kind, move.backend], ['rebalance', null]);
  const ended = await untilEnded(balancer, move.id);
  assert.deepEqual([ended.state, ended.moved, ended.left], ['done', 60, 0]);
  await waitFor('closed clients', () => astray.every(isClosed));
  assert.ok(![...settled, ...newcomers, ...nameless].some(isClosed), 'no other connection moved');
  const home = await connectDevices(balancer, own);
  assert.equal(backends[0]!.connections, 80);
  for (const { heard, version } of astray) {
    assert.deepEqual(Buffer.concat(heard), version === 5 ? SHUTTING_DOWN : Buffer.alloc(0));
  }
  const again = await untilEnded(balancer, (await begin(balancer, '/api/v1/pools/brokers/rebalance')).id);
  assert.deepEqual([again.state, again.moved], ['done', 0]);
  close([...settled, ...newcomers, ...nameless, ...home]);
});

testEveryEngine(
  'a rebalance by numbers takes the excess, and no more while those who were moved are away',
  async (engine, context) => {
    const { balancer, addresses } = await stage(context, engine, 2, { method: 'least_conn', workers: 1 });
    await balancer.setState(addresses[0]!, 'drain');
    const ids = Array.from({ length: 60 }, (_, index) => `device-${index}`);
    const devices = await connectDevices(balancer, ids);
    await balancer.setState(addresses[0]!, 'up');
    const move = await begin(balancer, '/api/v1/pools/brokers/rebalance', { rate: 200 });
    const ended = await untilEnded(balancer, move.id);
    assert.deepEqual([ended.state, ended.moved], ['done', 60 - 33]);
    await waitFor('closed clients', () => devices.filter(isClosed).length === 27);
    const back = await connectDevices(balancer, ids.slice(0, 27));
    const again = await untilEnded(balancer, (await begin(balancer, '/api/v1/pools/brokers/rebalance')).id);
    assert.deepEqual([again.state, again.moved], ['done', 0]);
    close([...devices, ...back]);
  },
);

testEveryEngine('a rebalance stops when a backend is not healthy any more', async (engine, context) => {
  const { balancer, addresses } = await stage(context, engine, 2);
  await balancer.setState(addresses[0]!, 'drain');
  const devices = await connectDevices(balancer, clientIdsOf(addresses[0]!, addresses, 20));
  await balancer.setState(addresses[0]!, 'up');
  const move = await begin(balancer, '/api/v1/pools/brokers/rebalance', { rate: 5 });
  await balancer.setState(addresses[0]!, 'down');
  const ended = await untilEnded(balancer, move.id);
  assert.deepEqual([ended.state, ended.reason], ['stopped', `backend ${addresses[0]} is not up any more`]);
  assert.ok(devices.filter(isClosed).length < 10);
  close(devices);
});

testEveryEngine('a pool rebalances itself when a backend is back with its whole share', async (engine, context) => {
  const pool = { rebalance: { automatic: true, rate: 500 } };
  const { balancer, backends, addresses } = await stage(context, engine, 2, { pool, slowStart: '1500ms' });
  await balancer.setState(addresses[0]!, 'down');
  await sleep(1200); // it is seen to be away
  const own = clientIdsOf(addresses[0]!, addresses, 20);
  const devices = await connectDevices(balancer, own);
  await balancer.setState(addresses[0]!, 'up');
  await sleep(1000);
  assert.ok(!devices.some(isClosed), 'not during its slow start');
  await waitFor('closed clients', () => devices.every(isClosed));
  const home = await connectDevices(balancer, own);
  assert.equal(backends[0]!.connections, 20);
  const { moves } = movesSchema.parse(JSON.parse((await balancer.ask('/api/v1/moves')).text));
  assert.deepEqual(
    moves.map(({ kind, rate }) => [kind, rate]),
    [['rebalance', 500]],
  );
  close(home);
});

testEveryEngine('one client can be ended, and is told so', async (engine, context) => {
  const { balancer, addresses } = await stage(context, engine, 2);
  const [five, four, other] = await connectDevices(balancer, ['five', 'four', 'other']);
  for (const device of [five!, four!]) {
    const { text } = await balancer.ask(`/api/v1/connections?client_id=${device.clientId}`);
    const [found] = JSON.parse(text).connections;
    const path = `/api/v1/connections/${found.id}`;
    assert.deepEqual((await balancer.send('DELETE', path)).status, 202);
    await waitFor('end', () => isClosed(device));
    await waitFor('end of its slot', async () => (await balancer.send('DELETE', path)).status === 404);
  }
  assert.deepEqual(Buffer.concat(five!.heard), ADMINISTRATIVE_ACTION);
  assert.deepEqual(Buffer.concat(four!.heard), Buffer.alloc(0));
  assert.ok(addresses.length === 2 && !isClosed(other!));
  const records = await balancer.records(2);
  assert.deepEqual(
    records.map(({ reason }) => reason),
    ['kicked', 'kicked'],
  );
  close([other!]);
});

testEveryEngine('a client that has not said who it is can be ended too', async (engine, context) => {
  const { balancer } = await stage(context, engine, 1);
  const socket = balancer.connect().on('error', () => {});
  socket.on('end', () => socket.destroy());
  const closed = new Promise((resolve) => socket.on('close', resolve).resume());
  socket.write(Buffer.from([0x10]));
  const found = await waitFor('connection', async () => {
    return JSON.parse((await balancer.ask('/api/v1/connections')).text).connections[0];
  });
  assert.equal((await balancer.send('DELETE', `/api/v1/connections/${found.id}`)).status, 202);
  await closed;
  assert.equal((await balancer.records(1))[0]?.reason, 'kicked');
});

for (const [closeWhen, isExpected] of [
  ['auto', true],
  ['always', true],
  ['never', false],
] as const) {
  testEveryEngine(
    `orphans of a backend that is gone are ${isExpected ? 'closed' : 'left alone'} with close: ${closeWhen}`,
    async (engine, context) => {
      const gone = await startBackend(context, echo);
      const other = await startBackend(context, echo);
      const addresses = [gone.address, other.address];
      const balancer = await startAdministered(context, {
        engine,
        workers: 2,
        backends: addresses,
        health: { type: 'tcp', interval: '100ms', timeout: '500ms', rise: 1, fall: 2 },
        pool: { orphans: { close: closeWhen } },
      });
      const devices = await connectDevices(balancer, clientIdsOf(gone.address, addresses, 40));
      const others = await connectDevices(balancer, clientIdsOf(other.address, addresses, 10));
      gone.mute();
      const verdict = () => balancer.messages.some((message) => message.startsWith(`backend ${gone.address} is down`));
      await waitFor('verdict', verdict);
      const verdictMs = performance.now();
      if (isExpected) {
        await waitFor('closed orphans', () => devices.every(isClosed));
        const lastMs = Math.max(...devices.map(({ closedAtMs }) => closedAtMs!));
        context.diagnostic(`the last one was closed ${(lastMs - verdictMs).toFixed(0)} ms after the verdict was seen`);
        for (const { heard, version } of devices) {
          assert.deepEqual(Buffer.concat(heard), version === 5 ? SHUTTING_DOWN : Buffer.alloc(0));
        }
        assert.deepEqual(new Set((await balancer.records(40)).map(({ reason }) => reason)), new Set(['backend_down']));
      } else {
        await sleep(500);
        assert.ok(!devices.some(isClosed));
      }
      assert.ok(
        !others.some(isClosed) && (await Promise.all(others.slice(0, 2).map((one) => echoes(one)))).length === 2,
      );
      close([...devices, ...others]);
    },
  );
}

test('a body that asks for what can not be is refused', async (context) => {
  const { balancer, addresses } = await stage(context, 'portable', 1);
  for (const body of [{ rate: 0 }, { rate: -1 }, { rate: '5' }, { rate: 1e9 }, { pace: 5 }, { maintenance: 1 }]) {
    assert.equal((await balancer.send('POST', drainPath(addresses[0]!), body)).status, 400, JSON.stringify(body));
  }
  assert.equal((await balancer.send('POST', drainPath('127.0.0.1:9'))).status, 404);
  assert.equal((await balancer.send('POST', '/api/v1/pools/others/rebalance')).status, 404);
  assert.equal((await balancer.send('DELETE', '/api/v1/moves/1')).status, 404);
  assert.equal((await balancer.status()).pools[0]!.backends[0]!.operator, 'up');
});
