// npm run bench:million with few enough sessions for any machine: its phases, its figures, and that nothing of it is left.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { drawMillionPlot } from '../../bench/million/plot.ts';
import { loadMillion, type Run } from '../../bench/million/results.ts';
import { millionTable } from '../../bench/million/table.ts';
import { descendants } from '../../bench/process-usage.ts';
import { probeUring } from '../../src/engine/uring.ts';
import { Program } from '../tools/program.ts';
import { requires } from '../tools/requirements.ts';

const SESSIONS = 15_000;
const DRAIN_RATE = 5000;
/** Of what the kernel's memory had grown by: other programs of the machine come and go meanwhile. */
const KERNEL_LEFT_MAX = 0.5;

test('15,000 sessions are opened, held, drained and closed, and nothing of them is left', async (context) => {
  const probe = probeUring();
  if (!requires(context, probe.ok ? undefined : probe.why)) return;
  const folder = mkdtempSync(join(tmpdir(), 'tidegate-test-'));
  context.after(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, 'million.json');
  const few = ['--connections', String(SESSIONS), '--hold', '20s', '--results', file];
  const program = new Program('bench/million.ts', few);
  context.after(() => program.kill());
  const { code, stdout, stderr } = await program.ended();
  assert.equal(code, 0, `${stdout}${stderr}`);
  context.diagnostic(stdout);

  const results = loadMillion(file);
  assert.deepEqual(results.skipped, []);
  assert.deepEqual(
    results.runs.map(({ name }) => name),
    ['tidegate', 'haproxy', 'nginx'],
  );
  const tidegate = results.runs[0]!;
  assert.equal(tidegate.connections, SESSIONS);
  for (const run of results.runs) assertWhole(run);
  const { moved, othersLost, reconnected, rate } = tidegate.drain!;
  assert.equal(rate, DRAIN_RATE);
  assert(moved > 0 && moved < SESSIONS);
  assert.equal(othersLost, 0);
  assert.equal(reconnected, moved);
  assert.equal(tidegate.admin?.search.searched, SESSIONS);
  assert.equal(tidegate.close.connectionsLeft, 0);
  assert(drawMillionPlot(results).includes('<polyline'));
  assert(millionTable(results).rows.length > 0);
});

test('an interrupted run ends everything that it has started', async (context) => {
  const probe = probeUring();
  if (!requires(context, probe.ok ? undefined : probe.why)) return;
  const program = new Program('bench/million.ts', [
    '--connections',
    '2000',
    '--rivals',
    'off',
    '--results',
    '/dev/null',
  ]);
  context.after(() => program.kill());
  await program.printed('stderr', /Tidegate: ready after/);
  const started = descendants(program.child.pid!);
  assert(started.length >= 2, 'Tidegate and the sink');
  program.child.kill('SIGINT');
  const { code, stderr } = await program.ended();
  assert.equal(code, 1);
  assert.match(stderr, /SIGINT/);
  for (const pid of started) assert.throws(() => process.kill(pid, 0), `process ${pid} still runs`);
});

/** No figure is asked to be good here, but each has to be there. */
function assertWhole({ connections, connect, hold, memory, close, start, points }: Run): void {
  assert(connections > 0);
  assert.equal(connect.failed, 0);
  assert.equal(hold.lost, 0);
  assert(hold.pings > 0 && hold.pingP50Ms! > 0 && hold.pingP99Ms! >= hold.pingP50Ms!);
  assert(hold.pingMaxMs! >= hold.pingP999Ms! && hold.pingP999Ms! >= hold.pingP99Ms!);
  const busy = [connect.cores, hold.cores].flatMap((cores) => Object.values(cores));
  assert(busy.every((cores) => cores > 0));
  assert(start.readyMs > 0 && start.userBytes > 0);
  assert(memory.userBytes > 0 && memory.kernelBytes > 0);
  assert(close.kernelBytesLeft < KERNEL_LEFT_MAX * close.kernelBytesGrown);
  const shown = points.filter(({ open, pingP99Ms }) => open === connections && pingP99Ms !== null);
  assert(shown.length > 0);
}
