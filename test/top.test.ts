// `tidegate top`: its screen as text, and its life on a real terminal, which script(1) makes.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import type { StatusDocument } from '../src/admin/status-document.ts';
import { clipped, type Reading, type Sort, topLines } from '../src/top-text.ts';
import { startAdministered } from './tools/administered.ts';
import { hello, refusingBackend, startBackend } from './tools/backends.ts';
import { connectClient } from './tools/client.ts';
import { runProgram } from './tools/program.ts';
import { requireProgram } from './tools/requirements.ts';
import { waitFor } from './tools/wait.ts';

const CLI = 'src/cli.ts';
const HOME = '\x1b[H';

/** Of a balancer with two backends, so many seconds after its start. */
function reading(seconds: number, connects: readonly number[], more: object = {}): Reading {
  const backends = connects.map((count, index) => ({
    address: `10.0.0.${index + 1}:1883`,
    state: index === 0 ? 'up' : 'down',
    reason: 'because',
    share: 1,
    operator: 'up',
    judged: { state: index === 0 ? 'up' : 'down' },
    backup: false,
    weight: 1,
    connections: (index + 1) * 10,
    connects: count,
    ...more,
  }));
  const status = {
    version: '1.2.3',
    engine: 'uring',
    started_at: '2026-01-01T00:00:00.000Z',
    uptime_seconds: seconds,
    ready: true,
    not_ready_because: null,
    connections: 30,
    listeners: [{ name: 'mqtt', address: '0.0.0.0:1883', pool: 'brokers' }],
    workers: [],
    pools: [
      {
        name: 'brokers',
        method: 'hash',
        key: 'client_id',
        algorithm: 'rendezvous',
        connections: 30,
        queued: 4,
        backends,
      },
    ],
    counters: { refused: 2 * seconds, bytes_from_clients: 1500 * seconds, bytes_to_clients: 0 },
  };
  const event = { id: 1, at: '2026-01-01T12:34:56.000Z', level: 'warn', event: 'backend_state', message: 'a\x1b[2Jb' };
  const events = { complete_since: '', events: [event] } as unknown as Reading['events'];
  return { status: status as unknown as StatusDocument, events };
}

const view = (sort: Sort, isColoured = false) => ({
  now: reading(12, [40, 100]),
  before: reading(10, [20, 90]),
  sort,
  isColoured,
});
const backendsOf = (lines: string[]) => lines.flatMap((line) => /^10\.0\.0\.(\d)/.exec(line)?.[1] ?? []);

test('rates are the differences of two readings', () => {
  const lines = topLines(view('configuration'));
  assert.equal(lines[1], '30 connections  15 CONNECT/s  2.0 refused/s  in 1.5 kB/s  out 0 B/s');
  assert.match(lines.join('\n'), /^10\.0\.0\.1:1883 +up +10 +█{8} +10 +1 +because$/m);
  assert.match(lines.join('\n'), /^10\.0\.0\.2:1883 +down +20 +█{16} +5\.0 +1 +because$/m);
  const first = topLines({ ...view('configuration'), before: undefined });
  assert.equal(first[1], '30 connections  - CONNECT/s  - refused/s  in -/s  out -/s');
});

test('backends stand in the order that was asked for', () => {
  assert.deepEqual(backendsOf(topLines(view('configuration'))), ['1', '2']);
  assert.deepEqual(backendsOf(topLines(view('connections'))), ['2', '1']);
  assert.deepEqual(backendsOf(topLines(view('CONNECT/s'))), ['1', '2']);
  assert.deepEqual(backendsOf(topLines(view('state'))), ['2', '1']);
});

test('who waits in the queue of a pool is counted beside its connections', () => {
  const lines = topLines(view('configuration'));
  assert.ok(
    lines.includes('Pool brokers: hash of client_id by rendezvous, 30 connections, 4 waiting'),
    lines.join('\n'),
  );
});

test('a running move has a bar and a time', () => {
  const move = { id: 1, kind: 'drain', rate: 50, state: 'running', moved: 500, left: 1500 };
  const lines = topLines({ ...view('configuration'), now: reading(12, [1], { move }) });
  assert.ok(
    lines.includes('  drain [████            ] 500 of 2000 moved, 50 a second, about 30 s left'),
    lines.join('\n'),
  );
  const ended = topLines({ ...view('configuration'), now: reading(12, [1], { move: { ...move, state: 'done' } }) });
  assert.ok(!ended.join().includes('moved'));
});

test('lines are cut to the width, colours do not count, and nobody else sends any', () => {
  const lines = topLines(view('configuration', true));
  const down = lines.find((line) => line.includes('10.0.0.2'))!;
  assert.ok(down.startsWith('\x1b[31m10.0.0.2:1883') && down.endsWith('\x1b[0m'));
  assert.equal(clipped(down, 4), '\x1b[31m10.0\x1b[0m');
  assert.equal(clipped('█▌plain', 3), '█▌p');
  assert.ok(lines.at(-1)!.endsWith('12:34:56  warn   a?[2Jb'));
});

test('without a terminal it prints once, with rates', async (context) => {
  const backend = await startBackend(context, hello);
  const { port, tidegate } = await startAdministered(context, { backends: [backend.address] });
  const client = await connectClient(port);
  const { code, stdout, stderr } = await runProgram(CLI, ['top', '--admin', `127.0.0.1:${tidegate.admin!.port}`]);
  assert.deepEqual([code, stderr], [0, '']);
  assert.match(stdout, /^Tidegate \S+ {2}engine portable .* ready\n1 connections {2}0 CONNECT\/s/);
  assert.match(stdout, /\nEVENTS\n\d\d:\d\d:\d\d {2}info {3}engine portable/);
  assert.ok(!stdout.includes('\x1b'));
  client.socket.destroy();
});

test('where nothing answers it says so and leaves the terminal alone', async (context) => {
  const terminal = openTerminal(context, refusingBackend(context).address);
  if (terminal === undefined) return;
  assert.equal(await terminal.ended, 2);
  assert.match(terminal.shown(), /no admin API at http:/);
  assert.ok(!terminal.shown().includes('\x1b[?1049h'));
});

for (const [how, end] of [
  ['q', (terminal: Terminal) => terminal.type('q')],
  ['Ctrl-C', (terminal: Terminal) => terminal.type('\x03')],
] as const) {
  test(`it lives on a terminal, obeys keys, and gives it back after ${how}`, async (context) => {
    const { tidegate } = await startAdministered(context);
    const terminal = openTerminal(context, `127.0.0.1:${tidegate.admin!.port}`);
    if (terminal === undefined) return;
    const showing = (text: string) => waitFor(text, () => terminal.shown().includes(text));
    await showing('\x1b[?1049h');
    await showing('sort: configuration');
    terminal.type('s');
    await showing('sort: connections');
    terminal.type('p');
    await showing('go on (paused)');
    const frames = terminal.shown().split(HOME).slice(1);
    const lines = frames.flatMap((frame) => stripVTControlCharacters(frame).replaceAll('\r', '').split('\n'));
    const widest = Math.max(...lines.map((line) => line.length));
    assert.ok(widest <= 70, `${widest} columns`);
    end(terminal);
    assert.equal(await terminal.ended, 0);
    const [, after = ''] = terminal.shown().split('\x1b[?1049l');
    assert.match(after, /(?<!-)icanon.*(?<!-)echo /s, 'lines and echo as before');
    assert.ok(terminal.shown().includes('\x1b[?25h'), 'the cursor is back');
  });
}

interface Terminal {
  shown(): string;
  type(keys: string): void;
  ended: Promise<number>;
}

/** 70 columns wide; afterwards it shows its settings. undefined when the test was skipped and has to return. */
function openTerminal(context: TestContext, admin: string): Terminal | undefined {
  const script = requireProgram(context, 'script');
  if (script === undefined) return undefined;
  const top = `'${process.execPath}' --disable-warning=ExperimentalWarning ${join(import.meta.dirname, '..', CLI)} top`;
  const command = `stty rows 20 cols 70; ${top} --admin ${admin}; code=$?; stty -a; exit $code`;
  const child = spawn(script, ['-qefc', command, '/dev/null'], { env: { ...process.env, TERM: 'xterm' } });
  context.after(() => child.kill('SIGKILL'));
  let shown = '';
  child.stdout.setEncoding('utf8').on('data', (text) => {
    shown += text;
  });
  return {
    shown: () => shown,
    type: (keys) => void child.stdin.write(keys),
    ended: once(child, 'close').then(([code]) => code),
  };
}
