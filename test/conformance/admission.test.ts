// Limits and rates: who is let in at once, who waits, and what whoever is refused is told.
import assert from 'node:assert/strict';
import { describe, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { EngineName } from '../../src/index.ts';
import { type Backend, echo, hello, refusingBackend, startBackend } from '../tools/backends.ts';
import { type Balancer, type BalancerOptions, startBalancer } from '../tools/balancer.ts';
import { type Client, connectClient, nextBytes } from '../tools/client.ts';
import { testEveryEngine } from '../tools/engines.ts';
import { connackPacket, connectPacket, refusalPacket } from '../tools/packets.ts';
import { PATIENCE_MS } from '../tools/patience.ts';
import { waitFor } from '../tools/wait.ts';

const SERVER_UNAVAILABLE = 3;
const QUOTA_EXCEEDED = 0x97;
const RATE_EXCEEDED = 0x9f;

interface Setup {
  balancer: Balancer;
  backends: Backend[];
}

async function setUp(
  context: TestContext,
  engine: EngineName,
  { backendKeys = [{}], ...options }: Partial<BalancerOptions> & { backendKeys?: object[] },
): Promise<Setup> {
  const backends = await Promise.all(backendKeys.map(() => startBackend(context, hello)));
  const configured = backends.map(({ address }, index) => ({ address, max_fails: 0, ...backendKeys[index] }));
  const balancer = await startBalancer(context, { engine, ...options, backends: configured });
  return { balancer, backends };
}

/** All at once, with MQTT 3.1.1 and 5.0 by turns; they stay until the test ends. */
async function connectMany(context: TestContext, { port }: Balancer, count: number): Promise<Client[]> {
  const versions = Array.from({ length: count }, (_, index) => (index % 2 === 0 ? 4 : 5) as 4 | 5);
  const clients = await Promise.all(
    versions.map((version, index) => connectClient(port, { version, clientId: `device-${index}` })),
  );
  context.after(() => leave(clients));
  return clients;
}

function leave(clients: readonly Client[]): void {
  for (const { socket } of clients) socket.destroy();
}

const isAccepted = ({ connack }: Client) => [4, 5].some((version) => connack.equals(connackPacket(version)));

function accepted(clients: readonly Client[]): Client[] {
  return clients.filter(isAccepted);
}

/** Whoever isn't accepted was refused with these codes, for 3.1.1 and 5.0. */
function checkRefusals(clients: readonly Client[], code5: number): void {
  const answers = [refusalPacket(4, SERVER_UNAVAILABLE), refusalPacket(5, code5)];
  for (const client of clients) {
    if (isAccepted(client)) continue;
    assert.ok(
      answers.some((answer) => answer.equals(client.connack)),
      client.connack.toString('hex'),
    );
  }
}

function counters({ tidegate }: Balancer): Record<string, number> {
  return tidegate.status().counters;
}

/** A refusal is counted when its connection has ended. */
async function untilCounted(balancer: Balancer, reason: string, count: number): Promise<void> {
  await waitFor(`${count} refusals for ${reason}`, () => counters(balancer)[reason]! >= count);
  assert.equal(counters(balancer)[reason], count);
}

describe('rates', { concurrency: true }, () => {
  testEveryEngine(
    'a burst of CONNECTs is spread at the rate of its pool, and none is refused',
    async (engine, context) => {
      const pool = { connect_rate: { rate: 100, burst: 10 } };
      const { balancer, backends } = await setUp(context, engine, { pool });
      const beganMs = performance.now();
      const connecting = connectMany(context, balancer, 110);
      await sleep(300);
      // 10 at once and 30 since then; a slow machine has dialled later, never sooner.
      const elapsedMs = performance.now() - beganMs;
      assert.ok(backends[0]!.connections <= 10 + elapsedMs / 10 + 12, `${backends[0]!.connections} in ${elapsedMs} ms`);
      assert.ok(backends[0]!.connections < 110);
      const clients = await connecting;
      assert.equal(accepted(clients).length, 110);
      assert.ok(performance.now() - beganMs > 900, 'a hundred of them at 100 a second');
      assert.equal(backends[0]!.connections, 110);
    },
  );

  testEveryEngine('two workers together keep to the rate', async (engine, context) => {
    const pool = { connect_rate: { rate: 100, burst: 2 } };
    const { balancer, backends } = await setUp(context, engine, { pool, workers: 2 });
    const beganMs = performance.now();
    const clients = await connectMany(context, balancer, 60);
    const elapsedMs = performance.now() - beganMs;
    assert.equal(accepted(clients).length, 60);
    assert.equal(backends[0]!.connections, 60);
    // Fewer of them are in one worker than in the other, which takes the longer.
    assert.ok(elapsedMs > 450, `${elapsedMs} ms`);
  });

  testEveryEngine('what exceeds the queue is refused in the words of its version', async (engine, context) => {
    const pool = { connect_rate: { rate: 1 }, queue: { max: 5, timeout: '14s' } };
    const { balancer, backends } = await setUp(context, engine, { pool });
    const clients = Array.from({ length: 40 }, (_, index) =>
      connectClient(balancer.port, { version: index % 2 === 0 ? 4 : 5, clientId: `device-${index}` }),
    );
    await waitFor('refusals', () => counters(balancer).connect_rate! >= 33);
    // A second or two may have passed meanwhile.
    assert.ok(backends[0]!.connections <= 4, `${backends[0]!.connections} were dialled`);
    await balancer.stop();
    const answers = await Promise.all(clients);
    for (const { socket } of answers) socket.destroy();
    const refused = answers.filter((client) => !isAccepted(client) && client.connack.length > 0);
    assert.ok(refused.length >= 33);
    checkRefusals(refused, RATE_EXCEEDED);
  });

  testEveryEngine('who waits for too long is refused, and nothing was dialled for it', async (engine, context) => {
    const pool = { connect_rate: { rate: 1 }, queue: { timeout: '300ms' } };
    const { balancer, backends } = await setUp(context, engine, { pool });
    const clients = await connectMany(context, balancer, 20);
    checkRefusals(clients, RATE_EXCEEDED);
    const admitted = accepted(clients).length;
    assert.ok(admitted >= 1 && admitted <= 5, `${admitted} were accepted`);
    assert.equal(backends[0]!.connections, admitted);
    const records = await balancer.records(20 - admitted);
    const refused = records.filter(({ reason }) => reason === 'queue_timeout');
    assert.equal(refused.length, 20 - admitted);
    for (const { status, attempts } of refused) assert.deepEqual([status, attempts], [503, 0]);
  });

  testEveryEngine('a hashed client waits for its own backend, while those of others pass', async (engine, context) => {
    const backendKeys = [{ connect_rate: { rate: 1 } }, {}];
    const { balancer, backends } = await setUp(context, engine, { backendKeys, pool: { queue: { timeout: '1s' } } });
    const clients = await connectMany(context, balancer, 60);
    const [slow, free] = backends.map(({ connections }) => connections);
    assert.ok(slow! >= 1 && slow! <= 6, `${slow} came to the slow one`);
    assert.equal(accepted(clients).length, slow! + free!);
    checkRefusals(clients, RATE_EXCEEDED);
    assert.ok(free! < 55, 'nobody was sent to a backend that is not its own');
  });

  testEveryEngine('clients of another method go to a backend that may be dialled', async (engine, context) => {
    const backendKeys = [{ connect_rate: { rate: 1 } }, {}];
    const { balancer, backends } = await setUp(context, engine, { backendKeys, method: 'round_robin' });
    const clients = await connectMany(context, balancer, 60);
    assert.equal(accepted(clients).length, 60);
    assert.ok(backends[0]!.connections <= 6, `${backends[0]!.connections} came to the slow one`);
  });

  testEveryEngine('who leaves the queue is gone from it', async (engine, context) => {
    const pool = { connect_rate: { rate: 2 }, queue: { max: 10, timeout: '14s' } };
    const { balancer } = await setUp(context, engine, { pool });
    const sockets = Array.from({ length: 8 }, (_, index) => {
      const socket = balancer.connect().on('error', () => {});
      socket.write(connectPacket({ clientId: `device-${index}` }));
      return socket;
    });
    await waitFor('a queue', () => balancer.tidegate.status().queued >= 5);
    for (const socket of sockets) socket.destroy();
    await balancer.idle();
    assert.equal(balancer.tidegate.status().queued, 0);
    assert.ok(counters(balancer).client_left_queue! >= 4);
  });

  testEveryEngine('when its backend refuses, a client that waited goes to the next one', async (engine, context) => {
    const refusing = refusingBackend(context);
    const other = await startBackend(context, hello);
    const balancer = await startBalancer(context, {
      engine,
      backends: [{ address: refusing.address, max_fails: 0 }, other.address],
      pool: { connect_rate: { rate: 50, burst: 1 } },
    });
    const clients = await connectMany(context, balancer, 20);
    assert.equal(accepted(clients).length, 20);
    assert.equal(other.connections, 20);
  });
});

describe('max_connections', { concurrency: true }, () => {
  for (const workers of [1, 2]) {
    const title = (what: string) => `${what}, with ${workers} worker${workers === 1 ? '' : 's'}`;

    testEveryEngine(title('a pool has as many clients as it may'), async (engine, context) => {
      const { balancer, backends } = await setUp(context, engine, { workers, pool: { max_connections: 11 } });
      const clients = await connectMany(context, balancer, 40);
      assert.equal(accepted(clients).length, 11);
      assert.equal(backends[0]!.connections, 11);
      checkRefusals(clients, QUOTA_EXCEEDED);
      await untilCounted(balancer, 'pool_connections', 29);
    });

    testEveryEngine(title('a place that is left is taken again'), async (engine, context) => {
      const { balancer } = await setUp(context, engine, { workers, listener: { max_connections: 1 } });
      let early = 0;
      for (let turn = 0; turn < 6; turn++) {
        // Until the main thread has seen that the place is free.
        const first = await waitFor(`place in turn ${turn}`, async () => {
          const client = await connectClient(balancer.port);
          if (isAccepted(client)) return client;
          early += 1;
          leave([client]);
          return undefined;
        });
        const second = await connectClient(balancer.port, { version: 5 });
        assert.deepEqual(second.connack, refusalPacket(5, QUOTA_EXCEEDED));
        leave([first, second]);
        await balancer.idle();
      }
      await untilCounted(balancer, 'listener_connections', 6 + early);
    });

    testEveryEngine(title('a full backend passes its clients on'), async (engine, context) => {
      const backendKeys = [{ max_connections: 3 }, { max_connections: 4 }];
      const { balancer, backends } = await setUp(context, engine, { workers, backendKeys });
      const clients = await connectMany(context, balancer, 20);
      assert.equal(accepted(clients).length, 7);
      assert.deepEqual(
        backends.map(({ connections }) => connections),
        [3, 4],
      );
      checkRefusals(clients, QUOTA_EXCEEDED);
      await untilCounted(balancer, 'backend_connections', 13);
    });
  }
});

/** What it is told when it has connected; nothing, when it was closed without a word. */
async function comeFrom(context: TestContext, balancer: Balancer, address: string): Promise<Buffer> {
  const socket = balancer.connect(address).on('error', () => {});
  context.after(() => socket.destroy());
  socket.write(connectPacket({ version: 5 }));
  return nextBytes(socket);
}

/** Sockets that say nothing; resolves when all are accepted. */
async function holdOpen(context: TestContext, balancer: Balancer, count: number, address = '127.0.0.1') {
  const before = counters(balancer).accepted!;
  const sockets = Array.from({ length: count }, () => {
    const socket = balancer.connect(address).on('error', () => {});
    context.after(() => socket.destroy());
    return socket.resume();
  });
  await waitFor('silent clients', () => counters(balancer).accepted! >= before + count);
  return sockets;
}

const IN = connackPacket(5).toString('hex');

describe('sources', { concurrency: true }, () => {
  testEveryEngine('each source address has its own number', async (engine, context) => {
    const { balancer } = await setUp(context, engine, { listener: { max_connections_per_source: 3 } });
    const results: string[] = [];
    for (const address of ['127.0.0.1', '127.0.0.2', '127.0.0.1', '127.0.0.1', '127.0.0.1', '127.0.0.2']) {
      results.push((await comeFrom(context, balancer, address)).toString('hex'));
    }
    assert.deepEqual(results, [IN, IN, IN, IN, '', IN]);
    await untilCounted(balancer, 'source_connections', 1);
  });

  testEveryEngine('who leaves makes room for another one of its source', async (engine, context) => {
    const { balancer } = await setUp(context, engine, { listener: { max_connections_per_source: 1 } });
    for (let turn = 0; turn < 3; turn++) {
      const client = await connectClient(balancer.port, { version: 5 });
      assert.equal(client.connack.toString('hex'), IN);
      client.socket.destroy();
      await balancer.idle();
    }
  });

  testEveryEngine('who says nothing counts for its source from the accept on', async (engine, context) => {
    const { balancer } = await setUp(context, engine, {
      listener: { max_connections_per_source: 3 },
      connectTimeout: '60s',
    });
    await holdOpen(context, balancer, 3);
    assert.equal((await comeFrom(context, balancer, '127.0.0.1')).length, 0);
    assert.equal((await comeFrom(context, balancer, '127.0.0.2')).toString('hex'), IN);
    const [record] = await balancer.records(1);
    const { reason, status, bytes_from_client: bytes } = record!;
    assert.deepEqual([reason, status, bytes], ['source_connections', 503, 0]);
  });

  testEveryEngine('a prefix makes one source of a network, for every worker', async (engine, context) => {
    const listener = { max_connections_per_source: 4, source_prefix: { ipv4: 24 } };
    const { balancer } = await setUp(context, engine, { listener, workers: 2 });
    const answers = [];
    for (let host = 1; host <= 40; host++) answers.push(await comeFrom(context, balancer, `127.0.7.${host}`));
    const admitted = answers.filter((answer) => answer.length > 0);
    // Each worker has its half.
    assert.ok(admitted.length >= 2 && admitted.length <= 4, `${admitted.length} were let in`);
    assert.equal((await comeFrom(context, balancer, '127.0.8.1')).toString('hex'), IN);
  });

  testEveryEngine('each source connects as fast as it may, others as they like', async (engine, context) => {
    const listener = { connect_rate_per_source: { rate: 1, burst: 3 } };
    const { balancer } = await setUp(context, engine, { listener });
    const beganMs = performance.now();
    const answers = [];
    for (let turn = 0; turn < 12; turn++) answers.push(await comeFrom(context, balancer, '127.0.0.1'));
    const elapsedMs = performance.now() - beganMs;
    const admitted = answers.filter((answer) => answer.length > 0).length;
    assert.ok(admitted >= 3 && admitted <= 4 + elapsedMs / 1000, `${admitted} were let in after ${elapsedMs} ms`);
    await untilCounted(balancer, 'source_rate', 12 - admitted);
    assert.equal((await comeFrom(context, balancer, '127.0.0.2')).toString('hex'), IN);
    const again = await waitFor('a new chance', async () => {
      const answer = await comeFrom(context, balancer, '127.0.0.1');
      return answer.length > 0 ? answer : undefined;
    });
    assert.equal(again.toString('hex'), IN);
  });
});

describe('half-open clients', { concurrency: true }, () => {
  testEveryEngine('the oldest gives way to one that comes', async (engine, context) => {
    const { balancer } = await setUp(context, engine, { listener: { max_half_open: 3 }, connectTimeout: '60s' });
    const ended: number[] = [];
    for (let index = 0; index < 5; index++) {
      const [socket] = await holdOpen(context, balancer, 1);
      socket!.once('close', () => ended.push(index));
      socket!.once('end', () => socket!.destroy());
    }
    await waitFor('two that are closed', () => ended.length >= 2);
    const good = await comeFrom(context, balancer, '127.0.0.1');
    assert.equal(good.toString('hex'), IN);
    assert.deepEqual(ended.slice(0, 2).sort(), [0, 1], 'the two oldest');
    const records = await balancer.records(2);
    assert.ok(records.every(({ reason, status }) => reason === 'half_open' && status === 503));
  });

  testEveryEngine('who has connected is none of them', async (engine, context) => {
    const { balancer } = await setUp(context, engine, { listener: { max_half_open: 2 }, connectTimeout: '60s' });
    const clients: Client[] = [];
    for (let turn = 0; turn < 10; turn++) clients.push(...(await connectMany(context, balancer, 1)));
    assert.equal(accepted(clients).length, 10);
    await holdOpen(context, balancer, 10);
    assert.ok(clients.every(({ socket }) => !socket.destroyed));
    await waitFor('those who give way', () => counters(balancer).half_open! >= 8);
  });

  for (const workers of [1, 2]) {
    testEveryEngine(`silent ones can't take all slots, with ${workers} workers`, async (engine, context) => {
      const { balancer } = await setUp(context, engine, {
        workers,
        connectionsMax: 64 * workers,
        connectTimeout: '60s',
      });
      const silent = Array.from({ length: 400 }, () => {
        const socket = balancer.connect().on('error', () => {});
        context.after(() => socket.destroy());
        return socket.resume();
      });
      await waitFor('a crowd', () => counters(balancer).accepted! === 400);
      const clients: Client[] = [];
      for (let turn = 0; turn < 15; turn++) clients.push(...(await connectMany(context, balancer, 1)));
      assert.equal(accepted(clients).length, 15);
      for (const socket of silent) socket.destroy();
    });
  }
});

testEveryEngine('keeps what a client says while it waits', async (engine, context) => {
  const backend = await startBackend(context, echo);
  const pool = { connect_rate: { rate: 2, burst: 1 } };
  const balancer = await startBalancer(context, { engine, backends: [backend.address], pool });
  const first = await connectClient(balancer.port);
  const socket = balancer.connect().setTimeout(PATIENCE_MS, () => socket.destroy());
  context.after(() => socket.destroy());
  context.after(() => leave([first]));
  socket.write(connectPacket({ clientId: 'second' }));
  await waitFor('a client that waits', () => balancer.tidegate.status().connections === 2);
  for (const word of ['and ', 'so ', 'on']) {
    await sleep(30);
    socket.write(word);
  }
  const wanted = Buffer.concat([connackPacket(4), Buffer.from('and so on')]);
  let heard = Buffer.alloc(0);
  while (heard.length < wanted.length) {
    const bytes = await nextBytes(socket);
    if (bytes.length === 0) break;
    heard = Buffer.concat([heard, bytes]);
  }
  assert.deepEqual(heard, wanted);
});
