// The reader of connection tables, over memories that the data plane itself has filled.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import {
  CLIENT_ID_INLINE_BYTES,
  CLIENT_ID_KEPT_BYTES_MAX,
  NONE,
  PHASE_OPEN,
  PHASE_READING,
  REASON_CLIENT_CLOSED,
} from '../assembly/layout.ts';
import {
  type Connection,
  type ConnectionQuery,
  ConnectionTable,
  formatConnectionId,
  parseConnectionId,
  searchConnections,
} from '../src/control/connections.ts';
import { compileDataPlane } from '../src/data-plane.ts';
import { addressBytes, encodeSockaddr } from '../src/system/sockaddr.ts';
import { churnedId, SLOTS } from './tools/churn-thread.ts';
import { FilledTable } from './tools/filled-table.ts';
import { PATIENCE_MS } from './tools/patience.ts';

const ADDRESSES = ['127.0.0.1:1', '127.0.0.1:2', '127.0.0.1:3'];
const ANY: ConnectionQuery = {
  clientIdPrefix: new Uint8Array(0),
  backends: null,
  listeners: new Set(),
  address: null,
  limit: 100,
};

const prefixed = (text: string) => ({ ...ANY, clientIdPrefix: Buffer.from(text) });
const idsOf = (connections: readonly Connection[]) => connections.map(({ clientId }) => clientId);

function read(table: FilledTable, slot: number): Connection | undefined {
  const reader = new ConnectionTable(table);
  return reader.read(slot, reader.generationOf(slot));
}

test('a connection is read as the data plane keeps it', async () => {
  const table = await FilledTable.make({ backends: ADDRESSES }, 8);
  table.setAgo(5000);
  const slot = table.open({ clientId: 'device-1', address: '10.1.2.3', version: 5 });
  table.plane.connectionMoved(slot, 0, 7);
  const connection = read(table, slot)!;
  assert.deepEqual(
    [connection.clientId, connection.peer, connection.version, connection.phase, connection.keepAlive],
    ['device-1', { host: '10.1.2.3', port: 1000 }, 5, PHASE_OPEN, 60],
  );
  assert.deepEqual([connection.listener, connection.bytesToClient], [0, 7]);
  assert.ok(connection.bytesFromClient > 20 && connection.backend < 3);
  assert.ok(connection.idleMs >= 4900 && connection.idleMs < 4900 + PATIENCE_MS, `${connection.idleMs} ms`);
  const agoMs = Date.now() - connection.openedMs;
  assert.ok(agoMs >= 4900 && agoMs < 4900 + PATIENCE_MS, `${agoMs} ms`);
});

test('bytes of the client end its silence', async () => {
  const table = await FilledTable.make({ backends: ADDRESSES }, 8);
  table.setAgo(60_000);
  const slot = table.open({ clientId: 'device-1' });
  assert.ok(read(table, slot)!.idleMs > 59_000);
  table.setAgo(0);
  table.plane.connectionMoved(slot, 0, 100);
  assert.ok(read(table, slot)!.idleMs > 59_000, 'those of the backend do not');
  table.plane.connectionMoved(slot, 2, 0);
  assert.ok(read(table, slot)!.idleMs < PATIENCE_MS);
});

test('ClientIds of every length are read, and found by each of their beginnings', async () => {
  const table = await FilledTable.make({ backends: ADDRESSES }, 64);
  const lengths = [1, CLIENT_ID_INLINE_BYTES, CLIENT_ID_INLINE_BYTES + 1, 60, 61, 120, 121, CLIENT_ID_KEPT_BYTES_MAX];
  for (const length of lengths) {
    const clientId = Array.from({ length }, (_, index) => String.fromCharCode(97 + ((index * 7 + length) % 26))).join(
      '',
    );
    const slot = table.open({ clientId });
    assert.equal(read(table, slot)?.clientId, clientId);
    for (const part of [1, 15, 16, 17, 59, 60, 61, 120, 121, length].filter((part) => part <= length)) {
      const { connections } = await searchConnections([table], prefixed(clientId.slice(0, part)));
      assert.ok(idsOf(connections).includes(clientId), `${part} of ${length}`);
      const other = await searchConnections([table], prefixed(`${clientId.slice(0, part - 1)}!`));
      assert.deepEqual(idsOf(other.connections), []);
    }
    assert.equal((await searchConnections([table], prefixed(`${clientId}x`))).matched, 0);
  }
});

test('what was cut off of a long ClientId can not be searched for', async () => {
  const table = await FilledTable.make({ backends: ADDRESSES }, 64);
  const clientId = 'x'.repeat(CLIENT_ID_KEPT_BYTES_MAX + 10);
  const slot = table.open({ clientId });
  assert.equal(read(table, slot)?.clientId, clientId.slice(0, CLIENT_ID_KEPT_BYTES_MAX));
  assert.equal((await searchConnections([table], prefixed(clientId))).matched, 0);
});

test('a search counts all, shows as many as asked for, and joins what it is asked', async () => {
  const tables = [await FilledTable.make({ backends: ADDRESSES }, 256, 0)];
  tables.push(await FilledTable.make({ backends: ADDRESSES }, 256, 1));
  for (const [index, table] of tables.entries()) {
    for (let device = 0; device < 100; device++) {
      table.open({ clientId: `device-${index}-${device}`, address: device % 2 === 0 ? '10.0.0.1' : 'fd00::1' });
    }
    table.accept('10.0.0.9');
  }
  const all = await searchConnections(tables, { ...ANY, limit: 30 });
  assert.deepEqual([all.matched, all.searched, all.connections.length], [202, 202, 30]);
  assert.equal((await searchConnections(tables, prefixed('device-1-'))).matched, 100);
  assert.equal((await searchConnections(tables, prefixed('device-1-9'))).matched, 11);
  for (const host of ['10.0.0.1', 'fd00::1']) {
    const address = addressBytes(encodeSockaddr(host, 0));
    const { matched, connections } = await searchConnections(tables, { ...prefixed('device-0'), address });
    assert.equal(matched, 50);
    assert.ok(connections.every(({ peer, worker }) => peer.host === host && worker === 0));
  }
  let sum = 0;
  for (const { id } of tables[0]!.backends) {
    const { matched, connections } = await searchConnections(tables, { ...ANY, backends: new Set([id]) });
    assert.ok(connections.every(({ backend }) => backend === id));
    sum += matched;
  }
  assert.equal(sum, 200, 'those who have said nothing yet have no backend');
  const pool = { ...ANY, backends: new Set([0, 1, 2]) };
  assert.equal((await searchConnections(tables, { ...pool, listeners: new Set([0]) })).matched, 202);
  assert.equal((await searchConnections(tables, pool)).matched, 200);
  const waiting = await searchConnections(tables, { ...ANY, address: addressBytes(encodeSockaddr('10.0.0.9', 0)) });
  assert.deepEqual(
    waiting.connections.map(({ phase, backend, clientId }) => [phase, backend, clientId]),
    [
      [PHASE_READING, NONE, ''],
      [PHASE_READING, NONE, ''],
    ],
  );
});

test('a connection that has ended is not found, and its number is no other one', async () => {
  const table = await FilledTable.make({ backends: ADDRESSES }, 8);
  const slot = table.open({ clientId: 'first' });
  const first = read(table, slot)!;
  const id = formatConnectionId(first);
  assert.deepEqual(parseConnectionId(id), { worker: 0, life: 0, slot, generation: first.generation });
  table.plane.connectionClose(slot, REASON_CLIENT_CLOSED);
  const reader = new ConnectionTable(table);
  assert.equal(reader.read(slot, first.generation), undefined);
  assert.equal((await searchConnections([table], ANY)).searched, 0);
  assert.equal(table.open({ clientId: 'second' }), slot);
  assert.equal(reader.read(slot, first.generation), undefined);
  assert.equal(read(table, slot)?.clientId, 'second');
});

test('what is no number of a connection is none', () => {
  for (const text of [
    '',
    '0',
    '0.0.0',
    '0.0.0.0.0',
    '-1.0.0.0',
    '0.0.0.x',
    ' 0.0.0.0',
    '0.0.0.99999999999',
    '1e3.0.0.0',
  ]) {
    assert.equal(parseConnectionId(text), undefined, text);
  }
});

test('rows that change while they are read are whole, or left out', async (context) => {
  const table = await FilledTable.make({ backends: ADDRESSES }, SLOTS);
  const thread = new Worker(new URL('./tools/churn-thread.ts', import.meta.url), {
    workerData: { memory: table.memory, module: compileDataPlane() },
    execArgv: ['--disable-warning=ExperimentalWarning'],
  });
  context.after(() => thread.terminate());
  await once(thread, 'message');
  let seen = 0;
  const endMs = performance.now() + 2000;
  while (performance.now() < endMs) {
    const { connections } = await searchConnections([table], { ...ANY, limit: SLOTS });
    for (const { clientId, peer } of connections) {
      if (clientId === '') continue; // its CONNECT isn't read yet, its address perhaps not written
      seen += 1;
      assert.equal(clientId, churnedId(peer.port));
    }
  }
  assert.ok(seen > 100, `${seen} rows`);
});

test('a search among 100,000 connections looks at each', async (context) => {
  const count = 100_000;
  const table = await FilledTable.make({ backends: ADDRESSES }, count);
  for (let device = 0; device < count; device++) table.open({ clientId: `fleet/vehicle-${device}/telemetry` });
  for (const query of [ANY, prefixed('fleet/vehicle-99999/'), { ...ANY, backends: new Set([1]) }, prefixed('nobody')]) {
    const beganMs = performance.now();
    const { searched, matched } = await searchConnections([table], query);
    const tookMs = performance.now() - beganMs;
    assert.equal(searched, count);
    context.diagnostic(`${matched} of ${count} in ${tookMs.toFixed(1)} ms`);
  }
});
