import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  BACKEND_COUNTERS_BYTES,
  BACKEND_COUNTERS_EXHAUSTED,
  NONE,
  SOURCE_COUNTERS_ACTIVE,
  SOURCE_COUNTERS_BYTES,
  SOURCE_COUNTERS_EXHAUSTED,
  SOURCE_IDS_MAX,
} from '../assembly/layout.ts';
import { parseConfig } from '../src/config.ts';
import { Totals, WorkerCounters } from '../src/control/counters.ts';
import { createMemory, defaultSettings } from '../src/control/memory-map.ts';
import { BackendIds, resolveBackends } from '../src/control/snapshot.ts';
import { sourceStatuses } from '../src/control/sources.ts';
import { localPorts } from '../src/system/local-ports.ts';

/** A worker that has counted so much for one backend and source. */
function workerWith(backend: number, source: number, { active = 0, exhausted = 0 }): WorkerCounters {
  const counters = new WorkerCounters(createMemory(defaultSettings(16, 1), 0, NONE));
  const { buffer, byteOffset } = counters.sources;
  const view = new DataView(buffer, byteOffset + (backend * SOURCE_IDS_MAX + source) * SOURCE_COUNTERS_BYTES);
  view.setUint32(SOURCE_COUNTERS_ACTIVE, active, true);
  view.setBigUint64(SOURCE_COUNTERS_EXHAUSTED, BigInt(exhausted), true);
  counters.backends[(backend * BACKEND_COUNTERS_BYTES + BACKEND_COUNTERS_EXHAUSTED) / 8] = BigInt(exhausted);
  return counters;
}

test('what a dead worker counted stays, what it had open does not', () => {
  const totals = new Totals();
  const [first, second] = [5, 7].map((exhausted) => workerWith(3, 2, { active: 10, exhausted }));
  totals.add(first!);
  totals.add(second!);
  assert.deepEqual([totals.activeFrom(3, 2), totals.exhaustionsFrom(3, 2), totals.exhaustionsOf(3)], [20, 12, 12]);
  totals.retire(first!);
  totals.retire(second!);
  assert.deepEqual([totals.activeFrom(3, 2), totals.exhaustionsFrom(3, 2), totals.exhaustionsOf(3)], [0, 12, 12]);
  assert.equal(totals.exhaustionsFrom(3, 1), 0);
});

test('pools with the same source and backend share the ports between them', async () => {
  const { pools } = parseConfig(
    `listeners: [{ bind: 127.0.0.1:0, pool: a }]
pools:
  a: { source_addresses: [127.0.0.11, 127.0.0.12], backends: [127.0.0.1:1] }
  b: { source_addresses: [127.0.0.12], backends: [127.0.0.1:1] }
`,
    'test.yaml',
  );
  const backends = await resolveBackends(pools, new BackendIds());
  const totals = new Totals();
  for (const { id, sources } of backends) totals.add(workerWith(id, sources.at(-1)!.id, { active: 10 }));
  const ports = localPorts();
  assert.deepEqual(sourceStatuses(backends, totals), [
    [
      { address: '127.0.0.11', active: 0, free: ports, exhausted: 0 },
      { address: '127.0.0.12', active: 10, free: ports - 20, exhausted: 0 },
    ],
    [{ address: '127.0.0.12', active: 10, free: ports - 20, exhausted: 0 }],
  ]);
});
