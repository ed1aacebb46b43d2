// Reloads as clients notice them: not at all.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { echo, hangingBackend, startBackend } from '../tools/backends.ts';
import { type Client, connectClient, echoes, nextBytes } from '../tools/client.ts';
import { testEveryEngine } from '../tools/engines.ts';
import { connackPacket, connectPacket, refusalPacket } from '../tools/packets.ts';
import { settingsOfRound } from '../tools/reload-rounds.ts';
import { type FileSettings, startReloadable } from '../tools/reloadable.ts';
import { SessionsStorm } from '../tools/sessions-storm.ts';
import { waitFor } from '../tools/wait.ts';

const CONNACK = connackPacket(4);
const ANY_PORT = '127.0.0.1:0';

const listener = (name: string, pool: string, bind = ANY_PORT) => ({ name, bind, pool });

async function clientsOf(port: number, count: number): Promise<Client[]> {
  const clients = await Promise.all(Array.from({ length: count }, () => connectClient(port)));
  for (const { connack } of clients) assert.deepEqual(connack, CONNACK);
  return clients;
}

async function allEcho(clients: readonly Client[]): Promise<void> {
  for (const client of clients) assert.ok(await echoes(client), 'a session was lost');
}

const end = (clients: readonly Client[]) => {
  for (const { socket } of clients) socket.destroy();
};

/** Nobody listens on that port. */
async function isClosed(port: number): Promise<boolean> {
  const socket = connect({ port, host: '127.0.0.1' });
  const refused = await Promise.race([
    once(socket, 'connect').then(() => false),
    once(socket, 'error').then(() => true),
  ]).catch(() => true);
  socket.destroy();
  return refused;
}

testEveryEngine(
  'sessions outlive the listener, the pool and the backend that they came through, and new ones are where the file says',
  async (engine, context) => {
    const [first, second] = [await startBackend(context, echo), await startBackend(context, echo)];
    const before: FileSettings = {
      listeners: [listener('one', 'a'), listener('two', 'a')],
      pools: { a: { backends: [first.address] } },
    };
    const balancer = await startReloadable(context, { engine }, before);
    const [portOne, portTwo] = [balancer.portOf('one'), balancer.portOf('two')];
    const old = [...(await clientsOf(portOne, 20)), ...(await clientsOf(portTwo, 20))];

    const changed = await balancer.reload({
      listeners: [listener('one', 'b'), listener('three', 'b')],
      pools: { b: { backends: [second.address] } },
    });
    assert.deepEqual(changed, [
      'listener two removed',
      'listener one: pool changed from a to b',
      'listener three added on 127.0.0.1:0 to pool b',
      'pool a removed',
      'pool b added with 1 backend',
    ]);
    assert.equal(balancer.portOf('one'), portOne);
    assert.ok(await isClosed(portTwo));
    const fresh = [...(await clientsOf(portOne, 10)), ...(await clientsOf(balancer.portOf('three'), 10))];
    assert.deepEqual([first.connections, second.connections], [40, 20]);
    await allEcho([...old, ...fresh]);

    await balancer.reload(before);
    const again = await clientsOf(balancer.portOf('two'), 10);
    assert.deepEqual([first.connections, second.connections], [50, 20]);
    await allEcho([...old, ...fresh, ...again]);
    end([...old, ...fresh, ...again]);
    const lines = await balancer.lines(70);
    const countOf = (name: string, backend: string) =>
      lines.filter((line) => line.includes(` listener=${name} `) && line.includes(` ${backend} `)).length;
    assert.deepEqual(
      [
        countOf('one', first.address),
        countOf('two', first.address),
        countOf('one', second.address),
        countOf('three', second.address),
      ],
      [20, 30, 10, 10],
    );
  },
);

testEveryEngine('a listener that is renamed keeps its socket, and says its new name', async (engine, context) => {
  const backend = await startBackend(context, echo);
  const pools = { a: { backends: [backend.address] } };
  const balancer = await startReloadable(context, { engine }, { listeners: [listener('free', 'a')], pools });
  const bind = `127.0.0.1:${balancer.portOf('free')}`;
  // With its port written down it is another listener, on a port that is ours already.
  await balancer.reload({ listeners: [listener('one', 'a', bind)], pools });
  const clients = await clientsOf(balancer.portOf('one'), 5);
  const changed = await balancer.reload({ listeners: [listener('two', 'a', bind)], pools });
  assert.deepEqual(changed, ['listener one: is called two now']);
  await allEcho(clients);
  end(clients);
  const lines = await balancer.lines(5);
  assert.ok(lines.every((line) => line.includes(' listener=two ')));
});

testEveryEngine('clients in the queue of a removed listener are served', async (engine, context) => {
  const backend = await startBackend(context, echo);
  const pools = { a: { backends: [backend.address] } };
  const both = { listeners: [listener('one', 'a'), listener('two', 'a')], pools };
  const balancer = await startReloadable(context, { engine, workers: 1 }, both);
  for (let round = 0; round < 5; round++) {
    const target = balancer.portOf('two');
    const sockets = Array.from({ length: 200 }, () => connect({ port: target, host: '127.0.0.1', noDelay: true }));
    for (const socket of sockets) socket.on('error', () => {}).write(connectPacket());
    await Promise.all(sockets.map((socket) => once(socket, 'connect')));
    await balancer.reload({ listeners: [listener('one', 'a')], pools });
    for (const socket of sockets) {
      assert.deepEqual(await nextBytes(socket), CONNACK);
      socket.destroy();
    }
    await balancer.reload(both);
  }
});

testEveryEngine(
  'a client that is being dialled for goes on in the pool that its listener has now',
  async (engine, context) => {
    const hanging = await hangingBackend(context);
    const backend = await startBackend(context, echo);
    const pools = { a: { connect_timeout: '6s', backends: [hanging.address] } };
    const settings = { listeners: [listener('one', 'a')], pools };
    const balancer = await startReloadable(context, { engine }, settings);
    const waiting = connectClient(balancer.portOf('one'));
    await waitFor('dial', () => balancer.tidegate.status().backends[0]!.active === 1);
    // With the next one the last byte of the epoch is what it was: the dial belongs to another snapshot all the same.
    for (let epoch = 1; epoch < 256; epoch++) await balancer.reload(settings);
    await balancer.reload({ listeners: [listener('one', 'b')], pools: { b: { backends: [backend.address] } } });
    const client = await waiting;
    assert.deepEqual(client.connack, CONNACK);
    assert.ok(await echoes(client));
    end([client]);
  },
);

testEveryEngine(
  'a client of a removed listener whose pool has gone too is refused in words',
  async (engine, context) => {
    const backend = await startBackend(context, echo);
    const pools = { a: { backends: [backend.address] }, b: { backends: [backend.address] } };
    const balancer = await startReloadable(
      context,
      { engine },
      { listeners: [listener('one', 'a'), listener('two', 'b')], pools },
    );
    const socket = connect({ port: balancer.portOf('two'), host: '127.0.0.1' });
    await waitFor('accepted client', () => balancer.tidegate.status().connections === 1);
    await balancer.reload({ listeners: [listener('one', 'a')], pools: { a: pools.a } });
    socket.write(connectPacket());
    assert.deepEqual(await nextBytes(socket), refusalPacket(4, 3));
    socket.destroy();
  },
);

testEveryEngine('who waits for a pool that is removed is refused in words', async (engine, context) => {
  const backend = await startBackend(context, echo);
  const slow = { backends: [backend.address], connect_rate: { rate: 1 }, queue: { timeout: '10s' } };
  const pools = { a: { backends: [backend.address] }, b: slow };
  const balancer = await startReloadable(
    context,
    { engine, workers: 1 },
    { listeners: [listener('one', 'a'), listener('two', 'b')], pools },
  );
  const [first] = await clientsOf(balancer.portOf('two'), 1);
  const sockets = [4, 5].map((version) => {
    const socket = connect({ port: balancer.portOf('two'), host: '127.0.0.1' });
    socket.write(connectPacket({ version: version as 4 | 5, clientId: `waits-${version}` }));
    return socket;
  });
  await waitFor('two clients in the queue', () => balancer.tidegate.status().queued === 2);
  const answers = Promise.all(sockets.map((socket) => nextBytes(socket)));
  await balancer.reload({ listeners: [listener('one', 'a')], pools: { a: pools.a } });
  assert.deepEqual(await answers, [refusalPacket(4, 3), refusalPacket(5, 0x88)]);
  assert.equal(balancer.tidegate.status().queued, 0);
  await allEcho([first!]);
  end([first!]);
  for (const socket of sockets) socket.destroy();
});

testEveryEngine('who waits when its rate is lifted waits no longer', async (engine, context) => {
  const backend = await startBackend(context, echo);
  const listeners = [listener('one', 'a')];
  const slow = { backends: [backend.address], connect_rate: { rate: 1 }, queue: { timeout: '14s' } };
  const balancer = await startReloadable(context, { engine, workers: 1 }, { listeners, pools: { a: slow } });
  const clients = clientsOf(balancer.portOf('one'), 12);
  await waitFor('a queue', () => balancer.tidegate.status().queued >= 8);
  const changed = await balancer.reload({ listeners, pools: { a: { backends: [backend.address] } } });
  assert.deepEqual(changed, ['pool a: connect_rate changed', 'pool a: queue changed']);
  await waitFor('an empty queue', () => balancer.tidegate.status().queued === 0, 1000);
  await allEcho(await clients);
  end(await clients);
});

testEveryEngine('a limit that is raised lets in as many more', async (engine, context) => {
  const backend = await startBackend(context, echo);
  const pools = { a: { backends: [backend.address] } };
  const limited = (most: number) => [{ ...listener('one', 'a'), max_connections: most }];
  const balancer = await startReloadable(context, { engine }, { listeners: limited(2), pools });
  const port = balancer.portOf('one');
  const clients = await clientsOf(port, 2);
  const refused = await connectClient(port);
  assert.deepEqual(refused.connack, refusalPacket(4, 3));
  await balancer.reload({ listeners: limited(4), pools });
  clients.push(...(await clientsOf(port, 2)));
  const late = await connectClient(port);
  assert.deepEqual(late.connack, refusalPacket(4, 3));
  await allEcho(clients);
  end([...clients, refused, late]);
});

testEveryEngine('a worker that dies after a reload begins with what is in force', async (engine, context) => {
  const [first, second] = [await startBackend(context, echo), await startBackend(context, echo)];
  const pools = { a: { backends: [first.address] } };
  const balancer = await startReloadable(
    context,
    { engine, workers: 1, mayDie: true },
    { listeners: [listener('one', 'a'), listener('gone', 'a')], pools },
  );
  await balancer.reload({
    listeners: [listener('one', 'b'), listener('new', 'b')],
    pools: { b: { backends: [second.address] } },
  });
  await balancer.tidegate.supervisor.terminate(0);
  await waitFor('worker that is back', () => {
    const [worker] = balancer.tidegate.status().workers;
    return worker!.restarts === 1 && worker!.state === 'running';
  });
  const clients = [...(await clientsOf(balancer.portOf('one'), 3)), ...(await clientsOf(balancer.portOf('new'), 3))];
  assert.deepEqual([first.connections, second.connections], [0, 6]);
  await allEcho(clients);
  end(clients);
});

testEveryEngine('what can not be had is refused whole, and nothing changes', async (engine, context) => {
  const backend = await startBackend(context, echo);
  const settings = { listeners: [listener('one', 'a')], pools: { a: { backends: [backend.address] } } };
  const balancer = await startReloadable(context, { engine }, settings);
  const clients = await clientsOf(balancer.portOf('one'), 5);
  const holder = createServer().listen(0, '127.0.0.1');
  await once(holder, 'listening');
  context.after(() => holder.close());
  const { port } = holder.address() as { port: number };
  const other = await startBackend(context, echo);
  const refused = async (faulty: FileSettings, pattern: RegExp) => {
    await assert.rejects(balancer.reload(faulty), pattern);
    const said = balancer.messages.at(-1)!;
    assert.match(said, /^reload refused, the old configuration stays: /);
    assert.match(said, pattern);
    assert.deepEqual(
      balancer.tidegate.listeners.map(({ name }) => name),
      ['one'],
    );
    assert.deepEqual(
      balancer.tidegate.status().backends.map(({ address }) => address),
      [backend.address],
    );
  };
  const taken = { listeners: [listener('two', 'b'), listener('three', 'b', `127.0.0.1:${port}`)] };
  await refused(
    { ...taken, pools: { b: { backends: [other.address] } } },
    /cannot listen on 127\.0\.0\.1:\d+: the port is taken/,
  );
  const unknown = { b: { backends: ['nowhere.invalid:1883'] } };
  await refused({ listeners: [listener('one', 'b')], pools: unknown }, /cannot resolve backend nowhere\.invalid:1883/);
  await refused(
    { listeners: [listener('one', 'b')], pools: settings.pools },
    /listeners\[0\]\.pool: expected the name of a pool/,
  );
  await refused({ ...settings, access_log: { path: balancer.folder } }, /cannot open the access log .* it is a folder/);
  await refused({ ...settings, admin: { bind: `127.0.0.1:${port}` } }, /the admin API: cannot listen/);
  assert.deepEqual(await balancer.reload(settings), []);
  assert.equal(balancer.messages.at(-1), 'configuration reloaded: nothing changed');
  const fresh = await clientsOf(balancer.portOf('one'), 5);
  await allEcho([...clients, ...fresh]);
  end([...clients, ...fresh]);
});

const ROUNDS = 100;

testEveryEngine('a hundred reloads in a storm of connects cost no client anything', async (engine, context) => {
  const backends = [
    await startBackend(context, echo),
    await startBackend(context, echo),
    await startBackend(context, echo),
  ];
  const addresses = backends.map(({ address }) => address);
  const main = { name: 'main', bind: ANY_PORT, pool: 'brokers' };
  const balancer = await startReloadable(
    context,
    { engine },
    { listeners: [main], pools: { brokers: { backends: addresses } } },
  );
  const port = balancer.portOf('main');
  const storm = new SessionsStorm({ port, sessions: 50, visitors: 10, pauseMs: 20 });
  await storm.begin();
  for (let round = 0; round < ROUNDS; round++) await balancer.reload(settingsOfRound(round, addresses, port));
  const { sessions, visits, refused, reset, corrupted, first } = await storm.end();
  assert.deepEqual([refused, reset, corrupted], [0, 0, 0], first);
  assert.equal(sessions, 50);
  assert.ok(visits > 50, `only ${visits} connects came into the reloads`);
});
