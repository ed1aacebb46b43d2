// Workers that keep to a core of their own, and clients that come to the worker on the core that their packets reach.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { parseConfig } from '../../src/config.ts';
import { start, type TidegateError } from '../../src/index.ts';
import { allowedCores } from '../../src/system/cores.ts';
import { startBalancer } from '../tools/balancer.ts';
import { testEveryEngine } from '../tools/engines.ts';
import { requires } from '../tools/requirements.ts';
import { waitFor } from '../tools/wait.ts';

const CLIENTS = 20;
const cores = process.platform === 'linux' ? allowedCores() : [];
const oneCore = cores.length < 2 ? 'one core only' : undefined;

testEveryEngine('pinned workers keep to a core each', async (engine, context) => {
  if (!requires(context, oneCore)) return;
  const before = coresOfThreads();
  const options = { engine, backends: ['127.0.0.1:1'], workers: cores.length, cpuAffinity: 'pin' } as const;
  await startBalancer(context, options);
  const after = coresOfThreads();
  for (const core of cores) assert.equal(countOf(after, `${core}`) - countOf(before, `${core}`), 1, `core ${core}`);
});

testEveryEngine('a steered client comes to the worker on the core that its packets reach', async (engine, context) => {
  if (!requires(context, oneCore)) return;
  const options = { engine, backends: ['127.0.0.1:1'], workers: cores.length, cpuAffinity: 'steer' } as const;
  const { tidegate, host, port } = await startBalancer(context, options);
  // On the loopback device that is the core which sends them.
  for (const [worker, core] of cores.entries()) {
    const script = `for (let i = 0; i < ${CLIENTS}; i++) require('net').connect(${port}, '${host}').on('error', () => {})`;
    const clients = spawn('taskset', ['-c', `${core}`, process.execPath, '-e', script], { stdio: 'ignore' });
    context.after(() => clients.kill('SIGKILL'));
    const connections = () => tidegate.status().workers.map((each) => each.connections);
    await waitFor(`${CLIENTS} clients of core ${core}`, () => connections()[worker]! >= CLIENTS);
    assert.deepEqual(
      connections(),
      cores.map((_, index) => (index <= worker ? CLIENTS : 0)),
    );
  }
});

test('more pinned workers than cores are refused with what to do', async (context) => {
  if (!requires(context, cores.length === 0 ? 'cores can be chosen on Linux only' : undefined)) return;
  const config = parseConfig(
    JSON.stringify({
      workers: cores.length + 1,
      cpu_affinity: 'pin',
      listeners: [{ bind: '127.0.0.1:0' }],
      pools: { brokers: { backends: ['127.0.0.1:1'] } },
    }),
    'cores.yaml',
  );
  await assert.rejects(start(config), (error: TidegateError) => {
    assert.match(error.message, /needs a core for each of \d+ workers, .*: set workers to auto/);
    return error.code === 'CPU_AFFINITY';
  });
});

/** Of each thread of this process, the cores that it may run on. */
function coresOfThreads(): string[] {
  return readdirSync('/proc/self/task').flatMap((thread) => {
    try {
      return /^Cpus_allowed_list:\s+(\S+)/m.exec(readFileSync(`/proc/self/task/${thread}/status`, 'utf8'))?.[1] ?? [];
    } catch {
      return []; // it has ended meanwhile
    }
  });
}

function countOf(all: readonly string[], wanted: string): number {
  return all.filter((one) => one === wanted).length;
}
