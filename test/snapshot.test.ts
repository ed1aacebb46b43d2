import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  ALGORITHM_KETAMA,
  ALGORITHM_RENDEZVOUS,
  DRAIN_BYTES,
  DRAIN_ORPHAN_INTERVAL_US,
  DRAIN_PACKETS,
  DRAIN_REFERENCE_BYTES,
  HEADER_EPOCH,
  HEADER_EPOCH_SEEN,
  HEADER_REGION_SNAPSHOTS,
  KEY_CLIENT_ID,
  KEY_USERNAME,
  LISTENER_CONNECT_TIMEOUT_MS,
  LISTENER_ENTRY_BYTES,
  LISTENER_POOL,
  MEMBER_BACKEND,
  MEMBER_BACKUP,
  MEMBER_BYTES,
  MEMBER_SOCKADDR,
  MEMBER_SOCKADDR_BYTES,
  MEMBER_WEIGHT,
  METHOD_HASH,
  METHOD_LEAST_CONN,
  NONE,
  POOL_ALGORITHM,
  POOL_BLOCK_BYTES,
  POOL_CONNECT_TIMEOUT_MS,
  POOL_DRAIN,
  POOL_ENTRY_COUNT,
  POOL_KEY,
  POOL_LIMITS_BYTES,
  POOL_LIMITS_CREWS,
  POOL_MEMBER_COUNT,
  POOL_MEMBERS,
  POOL_METHOD,
  POOL_SOURCE_COUNT,
  POOL_SOURCES,
  ROWS_DEFAULT,
  SNAPSHOT_CONNECT_MAX_BYTES,
  SNAPSHOT_EPOCH,
  SNAPSHOT_HALF_BYTES,
  SNAPSHOT_LISTENER_COUNT,
  SNAPSHOT_LISTENERS,
  SNAPSHOT_POOL_COUNT,
  SNAPSHOT_POOL_LIMITS,
  SNAPSHOT_POOLS,
  SOURCE_ANY,
  SOURCE_BYTES,
  SOURCE_ID,
  SOURCE_IDS_MAX,
  SOURCE_SOCKADDR,
  SOURCE_SOCKADDR_BYTES,
} from '../assembly/layout.ts';
import { parseConfig } from '../src/config.ts';
import { createMemory, defaultSettings } from '../src/control/memory-map.ts';
import { BackendIds, buildSnapshot, mayPublish, publishSnapshot, resolveBackends } from '../src/control/snapshot.ts';
import type { TidegateError } from '../src/errors.ts';
import { headerWords, regionOffset } from '../src/header.ts';
import { decodeSockaddr } from '../src/system/sockaddr.ts';

const TEXT = `
connect_max_bytes: 4096
listeners:
  - { name: a, bind: "127.0.0.1:1883", pool: second, connect_timeout: 3s }
  - { name: b, bind: "127.0.0.1:1884", pool: first }
pools:
  first:
    balance: { method: hash, key: username, algorithm: rendezvous }
    backends: ["127.0.0.1:1", { address: "[::1]:2", weight: 3, backup: true }]
  second:
    balance: { method: least_conn }
    connect_timeout: 700ms
    backends: ["127.0.0.1:1"]
  third:
    balance: { method: hash, key: client_id, algorithm: ketama }
    backends: ["localhost:9", "127.0.0.2:9"]
`;

async function build(text: string, workerCount = 1): Promise<DataView> {
  const config = parseConfig(text, 'test.yaml');
  const bytes = buildSnapshot(config, await resolveBackends(config.pools, new BackendIds()), workerCount);
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

test('listeners find their pools and timeouts', async () => {
  const view = await build(TEXT);
  const word = (offset: number) => view.getUint32(offset, true);
  assert.equal(word(SNAPSHOT_LISTENER_COUNT), 2);
  assert.equal(word(SNAPSHOT_POOL_COUNT), 3);
  assert.equal(word(SNAPSHOT_CONNECT_MAX_BYTES), 4096);
  assert.equal(word(SNAPSHOT_LISTENERS + LISTENER_POOL), 1);
  assert.equal(word(SNAPSHOT_LISTENERS + LISTENER_CONNECT_TIMEOUT_MS), 3000);
  assert.equal(word(SNAPSHOT_LISTENERS + LISTENER_ENTRY_BYTES + LISTENER_POOL), 0);
});

test('a pool that plain and TLS listeners lead to is shared by two engines, where plain ones are carried by uring', async () => {
  const listener = (port: number, more: object = {}) => ({ bind: `127.0.0.1:${port}`, ...more });
  const tls = { cert: 'a', key: 'b' };
  const pools = { both: { backends: ['127.0.0.1:1'] }, one: { backends: ['127.0.0.1:1'] } };
  const listeners = [
    listener(1, { pool: 'both' }),
    listener(2, { pool: 'both', tls }),
    listener(3, { pool: 'one', tls }),
    listener(4, { pool: 'one', tls }),
  ];
  const config = parseConfig(JSON.stringify({ listeners, pools }), 'test.yaml');
  const backends = await resolveBackends(config.pools, new BackendIds());
  for (const [engine, shares] of [
    ['uring', [2, 1]],
    ['portable', [1, 1]],
  ] as const) {
    const view = new DataView(buildSnapshot(config, backends, 2, engine).buffer);
    const crewsOf = (pool: number) =>
      view.getUint32(SNAPSHOT_POOL_LIMITS + pool * POOL_LIMITS_BYTES + POOL_LIMITS_CREWS, true);
    assert.deepEqual([crewsOf(0), crewsOf(1)], shares);
  }
});

test('a pool block says how to choose, and where its members are', async () => {
  const view = await build(TEXT);
  const word = (offset: number) => view.getUint32(offset, true);
  const pools = [0, 1, 2].map((index) => word(SNAPSHOT_POOLS + index * 4)) as [number, number, number];
  const fields = [POOL_METHOD, POOL_KEY, POOL_ALGORITHM, POOL_MEMBER_COUNT, POOL_CONNECT_TIMEOUT_MS];
  const seen = pools.map((pool) => fields.map((field) => word(pool + field)));
  assert.deepEqual(seen, [
    [METHOD_HASH, KEY_USERNAME, ALGORITHM_RENDEZVOUS, 2, 5000],
    [METHOD_LEAST_CONN, KEY_CLIENT_ID, ALGORITHM_RENDEZVOUS, 1, 700],
    [METHOD_HASH, KEY_CLIENT_ID, ALGORITHM_KETAMA, 2, 5000],
  ]);
  assert.deepEqual(
    pools.map((pool) => pool % 16),
    [0, 0, 0],
  );
  assert.equal(word(pools[0] + POOL_ENTRY_COUNT), ROWS_DEFAULT);
  assert.equal(word(pools[1] + POOL_ENTRY_COUNT), 0);
  assert.equal(word(pools[2] + POOL_ENTRY_COUNT), 320);
  assert.ok(pools[1] >= pools[0] + word(pools[0] + POOL_BLOCK_BYTES));
  const member = (pool: number, index: number) => {
    const offset = pool + word(pool + POOL_MEMBERS) + index * MEMBER_BYTES;
    const sockaddr = new Uint8Array(view.buffer, offset + MEMBER_SOCKADDR, word(offset + MEMBER_SOCKADDR_BYTES));
    return [MEMBER_BACKEND, MEMBER_WEIGHT, MEMBER_BACKUP]
      .map((field) => word(offset + field))
      .concat(Object.values(decodeSockaddr(sockaddr)) as never);
  };
  assert.deepEqual(member(pools[0], 0), [0, 1, 0, '127.0.0.1', 1]);
  assert.deepEqual(member(pools[0], 1), [1, 3, 1, '::1', 2]);
  assert.deepEqual(
    member(pools[1], 0),
    [2, 1, 0, '127.0.0.1', 1],
    'the same address in another pool is another backend',
  );
  assert.deepEqual(member(pools[2], 1), [4, 1, 0, '127.0.0.2', 9]);
});

test('a backend keeps its number as long as the process lives', () => {
  const ids = new BackendIds();
  assert.deepEqual(
    [ids.idOf('a', 'x:1'), ids.idOf('b', 'x:1'), ids.idOf('a', 'x:1'), ids.idOf('a', 'y:1')],
    [0, 1, 0, 2],
  );
});

test('a pool block lists the sources behind the table', async () => {
  const sources = ['127.0.0.11', '127.0.0.12'];
  const view = await build(TEXT.replace('connect_timeout: 700ms', `source_addresses: [${sources}]`));
  const word = (offset: number) => view.getUint32(offset, true);
  const [first, second] = [0, 1].map((index) => word(SNAPSHOT_POOLS + index * 4)) as [number, number];
  assert.equal(word(first + POOL_SOURCE_COUNT), 0);
  assert.equal(word(second + POOL_SOURCE_COUNT), 2);
  assert.ok(word(second + POOL_SOURCES) >= word(second + POOL_BLOCK_BYTES));
  for (const [index, host] of sources.entries()) {
    const source = second + word(second + POOL_SOURCES) + index * SOURCE_BYTES;
    const sockaddr = new Uint8Array(view.buffer, source + SOURCE_SOCKADDR, word(source + SOURCE_SOCKADDR_BYTES));
    assert.equal(source % 8, 0);
    assert.equal(word(source + SOURCE_ID), index + 1);
    assert.deepEqual(decodeSockaddr(sockaddr), { host, port: 0 });
  }
});

test('a pool block ends with how clients are moved away; what is said of a second is shared by the workers', async () => {
  const drain = 'drain: { packets: false, server_reference: "other:1883" }';
  const view = await build(TEXT.replace('connect_timeout: 700ms', `${drain}\n    orphans: { rate: 50 }`), 4);
  const block = view.getUint32(SNAPSHOT_POOLS + 4, true);
  const at = block + view.getUint32(block + POOL_DRAIN, true);
  const word = (field: number) => view.getUint32(at + field, true);
  const reference = new Uint8Array(view.buffer, at + DRAIN_BYTES, word(DRAIN_REFERENCE_BYTES));
  assert.equal(Buffer.from(reference).toString(), 'other:1883');
  assert.deepEqual([word(DRAIN_PACKETS), word(DRAIN_ORPHAN_INTERVAL_US)], [0, 80_000]);
});

test('a source keeps its number in its pool, and numbers are never used again', () => {
  const ids = new BackendIds();
  const first = ids.sourceIdOf('a', '10.0.0.1');
  assert.notEqual(first, SOURCE_ANY);
  assert.equal(ids.sourceIdOf('b', '10.0.0.2'), first, 'pools count for themselves');
  assert.equal(ids.sourceIdOf('a', '10.0.0.2'), first + 1);
  assert.equal(ids.sourceIdOf('a', '10.0.0.1'), first);
  for (let index = 3; index < SOURCE_IDS_MAX; index++) ids.sourceIdOf('a', `10.0.0.${index}`);
  assert.throws(() => ids.sourceIdOf('a', '10.0.1.1'), /more than 127 source_addresses of pool a, .*: restart$/);
});

test("a name that can't be resolved is one line that says which", async () => {
  const { pools } = parseConfig(TEXT.replace('localhost:9', 'broker.invalid:9'), 'test.yaml');
  await assert.rejects(resolveBackends(pools, new BackendIds()), (error: TidegateError) => {
    assert.match(error.message, /^cannot resolve backend broker\.invalid:9 of pool third/);
    return error.exitCode === 2;
  });
});

test('a snapshot goes into the half that is not read, and a half is used again only when its reader has left', () => {
  const memory = createMemory(defaultSettings(16, 1), 0, NONE);
  const header = headerWords(memory);
  const half = (epoch: number) => regionOffset(memory, HEADER_REGION_SNAPSHOTS) + (epoch & 1) * SNAPSHOT_HALF_BYTES;
  const first = (epoch: number) => new DataView(memory.buffer).getUint32(half(epoch) + SNAPSHOT_EPOCH, true);
  publishSnapshot(memory, new Uint8Array(64).fill(1), 1);
  assert.equal(header[HEADER_EPOCH / 4], 1);
  assert.equal(mayPublish(memory, 2), false, 'the worker has not seen the first one');
  header[HEADER_EPOCH_SEEN / 4] = 1;
  assert.equal(mayPublish(memory, 2), true);
  publishSnapshot(memory, new Uint8Array(64).fill(2), 2);
  assert.deepEqual([first(1), first(2)], [1, 2]);
  assert.equal(mayPublish(memory, 3), false);
  header[HEADER_EPOCH_SEEN / 4] = 2;
  assert.equal(mayPublish(memory, 3), true);
});
