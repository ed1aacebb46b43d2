// The simulation finds what it is there for: each of these defects, put into the data plane, shows in a few seeds.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import type { Catch } from './defect-hunt.ts';
import { type Defect, defects } from './defects.ts';

const SEEDS_MAX = 400;
const THREADS = 2;

test('the simulation catches each deliberate defect', async (context) => {
  const waiting = [...defects];
  const caught = new Map<Defect, Promise<Catch>>();
  const settle = new Map<Defect, (result: Catch) => void>();
  for (const defect of defects) caught.set(defect, new Promise((resolve) => settle.set(defect, resolve)));
  const threads = Array.from({ length: THREADS }, () => hunt(waiting, settle));
  await Promise.all(
    defects.map((defect) =>
      context.test(defect.name, async (subtest) => {
        const { seeds, message } = await caught.get(defect)!;
        assert.ok(seeds > 0, message);
        subtest.diagnostic(`${seeds} seeds: ${message}`);
      }),
    ),
  );
  await Promise.all(threads);
});

/** One thread that takes defects as long as there are some. */
async function hunt(waiting: Defect[], settle: Map<Defect, (result: Catch) => void>): Promise<void> {
  const worker = new Worker(new URL('./defect-hunt.ts', import.meta.url));
  for (let defect = waiting.shift(); defect; defect = waiting.shift()) {
    worker.postMessage({ defect, seedsMax: SEEDS_MAX });
    const [result] = await once(worker, 'message');
    settle.get(defect)!(result);
  }
  await worker.terminate();
}
