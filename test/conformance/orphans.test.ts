// The clients that a dead backend leaves behind: all at once, or at a pace, on every engine.
import assert from 'node:assert/strict';
import { describe, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { EngineName } from '../../src/index.ts';
import { type Backend, hello, startBackend } from '../tools/backends.ts';
import { type Balancer, startBalancer } from '../tools/balancer.ts';
import { type Client, connectClient } from '../tools/client.ts';
import { testEveryEngine } from '../tools/engines.ts';
import { PATIENCE_MS } from '../tools/patience.ts';

const CLIENTS = 40;
const RATE = 20;

interface Fleet {
  balancer: Balancer;
  backend: Backend;
  clients: Client[];
  /** When each of those that were closed was closed, since the backend's death. */
  closedMs: number[];
}

describe('clients that were left behind', { concurrency: 2 }, () => {
  testEveryEngine('are closed one after the other, at the pool’s rate', async (engine, context) => {
    const { balancer, closedMs } = await bereave(engine, context, { rate: RATE });
    const records = await balancer.records(CLIENTS);
    assert.ok(records.every(({ reason }) => /^backend_(closed|reset)$/.test(reason)));
    const expectedMs = ((CLIENTS - 1) / RATE) * 1000;
    const lastMs = Math.max(...closedMs);
    assert.ok(lastMs > expectedMs - 150 && lastMs < expectedMs + PATIENCE_MS, `${lastMs} ms`);
    for (const [index, atMs] of closedMs.sort((a, b) => a - b).entries()) {
      assert.ok(atMs > (index / RATE) * 1000 - 150, `${index + 1} were closed after ${atMs} ms`);
    }
  });

  testEveryEngine('may leave before it is their turn', async (engine, context) => {
    const { balancer, clients } = await bereave(engine, context, { rate: 1 });
    await sleep(100);
    for (const { socket } of clients) socket.end();
    const records = await balancer.records(CLIENTS);
    assert.ok(records.every(({ reason }) => /^(backend|client)_(closed|reset)$/.test(reason)));
    await balancer.idle();
  });

  testEveryEngine('are closed at once where no rate is set', async (engine, context) => {
    const { balancer, closedMs } = await bereave(engine, context, {});
    await balancer.records(CLIENTS);
    assert.ok(Math.max(...closedMs) < PATIENCE_MS, `${Math.max(...closedMs)} ms`);
  });
});

async function bereave(engine: EngineName, context: TestContext, orphans: object): Promise<Fleet> {
  const backend = await startBackend(context, hello);
  const balancer = await startBalancer(context, { engine, backends: [backend.address], orphans });
  const clients = await Promise.all(
    Array.from({ length: CLIENTS }, (_, index) => connectClient(balancer.port, { clientId: `device-${index}` })),
  );
  const closedMs: number[] = [];
  const beganMs = performance.now();
  for (const { socket } of clients) {
    const note = () => closedMs.push(performance.now() - beganMs);
    socket
      .once('end', note)
      .once('error', note)
      .on('end', () => socket.end())
      .resume();
  }
  await backend.stop();
  return { balancer, backend, clients, closedMs };
}
