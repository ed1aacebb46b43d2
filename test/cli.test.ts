import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { schema } from '../src/config.ts';
import { createTable } from '../src/core.ts';
import { version } from '../src/version.ts';
import { connectPacket } from './tools/packets.ts';
import { type Ended, Program, runProgram } from './tools/program.ts';
import { waitFor } from './tools/wait.ts';

const CLI = 'src/cli.ts';
const CONFIG = `
workers: 1
listeners: [{ name: mqtt, bind: 127.0.0.1:0, pool: brokers }]
pools:
  brokers: { backends: [10.0.0.11:1883, { address: 10.0.0.12:1883, weight: 2 }, 10.0.0.13:1883] }
  ring: { balance: { algorithm: ketama }, backends: [10.0.0.11:1883, 10.0.0.12:1883] }
  places: { balance: { key: remote_addr }, backends: [10.0.0.11:1883, 10.0.0.12:1883] }
  spread: { balance: { method: least_conn }, backends: [10.0.0.11:1883] }
  closed: { backends: [{ address: 10.0.0.11:1883, weight: 0 }] }
access_log: { path: "off" }
shutdown_timeout: 10s
admin: { bind: 127.0.0.1:0 }
`;

let folder = '';
let config = '';

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidegate-cli-'));
  config = join(folder, 'tidegate.yaml');
  await writeFile(config, CONFIG);
});
after(() => rm(folder, { recursive: true }));

function tidegate(...args: string[]): Promise<Ended> {
  return runProgram(CLI, args);
}

async function assertRefused(args: string[], stderr: string): Promise<void> {
  assert.deepEqual(await tidegate(...args), { code: 1, stdout: '', stderr: `tidegate: ${stderr}\n` });
}

// Most of the time a process only starts: several do at once.
describe('the commands', { concurrency: 4 }, () => {
  test('version prints the version of the package', async () => {
    const { version: expected } = JSON.parse(await readFile(new URL('../package.json', import.meta.url), 'utf8'));
    assert.deepEqual(await tidegate('version'), { code: 0, stdout: `tidegate ${expected}\n`, stderr: '' });
    assert.equal(version(), expected);
  });

  test('--help lists the commands, and each explains itself', async () => {
    const { code, stdout } = await tidegate('--help');
    assert.equal(code, 0);
    const assertHelp = async (command: string) => {
      assert.match(stdout, new RegExp(`^  ${command} +\\w`, 'm'));
      const help = await tidegate(command, '--help');
      assert.deepEqual([help.code, help.stderr], [0, '']);
      assert.match(help.stdout, new RegExp(`^Usage: tidegate ${command}`));
    };
    await Promise.all(
      [
        'run',
        'check',
        'doctor',
        'route',
        'status',
        'events',
        'reload',
        'connections',
        'drain',
        'rebalance',
        'set',
        'top',
        'schema',
        'version',
      ].map(assertHelp),
    );
  });

  test('a wrong command line is answered by one line and a hint', async () => {
    await Promise.all([
      assertRefused([], 'no command given; see tidegate --help'),
      assertRefused(['chek'], 'unknown command chek, did you mean check?; see tidegate --help'),
      assertRefused(['toString'], 'unknown command toString; see tidegate --help'),
      assertRefused(['--verbose'], 'unknown option --verbose; see tidegate --help'),
      assertRefused(['check', '--cfg', 'x'], "unknown option '--cfg'; see tidegate check --help"),
      assertRefused(['check'], 'check needs --config; see tidegate check --help'),
      assertRefused(
        ['check', '--config', config, '--config', config],
        'check takes --config once, not twice; see tidegate check --help',
      ),
      assertRefused(
        ['run', `--config=${config}`, '--config', config],
        'run takes --config once, not twice; see tidegate run --help',
      ),
      assertRefused(['check', '--config', config, 'more'], 'check takes no "more"; see tidegate check --help'),
      assertRefused(['route', '--config', config], 'route needs --pool; see tidegate route --help'),
    ]);
  });

  test('check sums up a valid configuration', async () => {
    const { code, stdout, stderr } = await tidegate('check', '--config', config);
    assert.deepEqual([code, stderr], [0, '']);
    assert.deepEqual(stdout.split('\n'), [
      `${config}: valid`,
      'listener mqtt: 127.0.0.1:0 to pool brokers',
      'pool brokers: hash of client_id by rendezvous, 3 backends',
      'pool ring: hash of client_id by ketama, 2 backends',
      'pool places: hash of remote_addr by rendezvous, 2 backends',
      'pool spread: least_conn, 1 backend',
      'pool closed: hash of client_id by rendezvous, 1 backend',
      '',
    ]);
  });

  test('check and run refuse a bad configuration with a line for each fault and exit code 1', async () => {
    const bad = join(folder, 'bad.yaml');
    await writeFile(bad, 'wokers: 2\nlisteners: [{ bind: 0.0.0.0:1 }]\npools: { a: { backends: [x] } }\n');
    const stderr = `${bad}:1:1: wokers: unknown key, did you mean workers?
${bad}:3:26: pools.a.backends[0]: expected host:port such as 10.0.0.11:1883, broker1.example.net:1883 or "[2001:db8::1]:1883", found "x"
`;
    assert.deepEqual(await tidegate('check', '--config', bad), { code: 1, stdout: '', stderr });
    assert.deepEqual(await tidegate('run', '--config', bad), { code: 1, stdout: '', stderr });
  });

  test('route shows the backend that the table chooses', async () => {
    const table = createTable({
      algorithm: 'rendezvous',
      members: [
        { name: '10.0.0.11:1883', weight: 1 },
        { name: '10.0.0.12:1883', weight: 2 },
        { name: '10.0.0.13:1883', weight: 1 },
      ],
    });
    const keys = ['foo', 'bar', 'baz', 'mit Leerzeichen', 'größe'];
    const { code, stdout } = await tidegate('route', '--config', config, '--pool', 'brokers', ...keys);
    assert.equal(code, 0);
    assert.equal(stdout, keys.map((key) => `${key}\t${table.lookup(key)}\n`).join(''));
  });

  test('route streams keys from standard input, one a line', async () => {
    const keys = Array.from({ length: 20_000 }, (_, index) => `device-${index}`);
    const args = ['route', '--config', config, '--pool', 'ring'];
    const { code, stdout } = await runProgram(CLI, args, keys.join('\n'));
    const lines = stdout.trimEnd().split('\n');
    assert.equal(code, 0);
    assert.deepEqual(
      lines.map((line) => line.split('\t')[0]),
      keys,
    );
    assert.deepEqual([...new Set(lines.map((line) => line.split('\t')[1]))].sort(), [
      '10.0.0.11:1883',
      '10.0.0.12:1883',
    ]);
    const odd = await runProgram(CLI, args, 'a\u2028b\r\n\r\n-x\r\n');
    assert.deepEqual(
      odd.stdout.split('\n').map((line) => line.split('\t')[0]),
      ['a\u2028b', '', '-x', ''],
    );
    assert.match(odd.stdout, /^\t-$/m);
  });

  test('route answers while standard input is still open, and ends quietly when its reader leaves', async (t) => {
    const program = new Program(CLI, ['route', '--config', config, '--pool', 'brokers']);
    t.after(() => program.kill());
    program.child.stdin.write('first\n');
    await program.printed('stdout', /^first\t10\.0\.0\.1\d:1883\n/);
    program.child.stdout.destroy();
    program.child.stdin.on('error', () => {});
    program.child.stdin.end('more\n'.repeat(100_000));
    const { code, stderr } = await program.ended();
    assert.deepEqual([code, stderr], [0, '']);
  });

  test('route takes addresses where the pool hashes remote_addr', async () => {
    const args = ['route', '--config', config, '--pool', 'places'];
    const { code, stdout } = await tidegate(...args, '127.0.0.1', '::1', '0:0::1');
    assert.equal(code, 0);
    const [, ipv6, same] = stdout.split('\n').map((line) => line.split('\t')[1]);
    assert.equal(ipv6, same);
    await assertRefused([...args, 'foo'], 'this pool hashes remote_addr, and "foo" is no IP address');
  });

  test('route refuses a pool that ties no key to a backend', async () => {
    const args = ['route', '--config', config, '--pool'];
    await assertRefused(
      [...args, 'none', 'x'],
      'there is no pool none; choose one of brokers, ring, places, spread, closed',
    );
    await assertRefused(
      [...args, 'spread', 'x'],
      'pool spread balances by least_conn: only method hash ties a key to a backend',
    );
    await assertRefused(
      [...args, 'closed', 'x'],
      'pool closed has no backend with a weight above 0: no key is routed anywhere',
    );
  });

  test('schema prints the JSON Schema', async () => {
    const { code, stdout } = await tidegate('schema');
    assert.equal(code, 0);
    assert.deepEqual(JSON.parse(stdout), schema());
  });

  test('a Node that is too old is refused in one line', async () => {
    const fake =
      'data:text/javascript,Object.defineProperty(process,"versions",{value:{...process.versions,node:"22.17.9"}})';
    const program = new Program(CLI, ['version'], { node: ['--import', fake] });
    const { code, stdout, stderr } = await program.ended();
    assert.deepEqual([code, stdout], [2, '']);
    assert.match(stderr, /^tidegate: needs Node 22\.18 or newer, this is v[\d.]+ \(.+\); install a newer Node\n$/);
  });

  test('the Node that is asked for is the one that package.json names', async () => {
    const { engines } = JSON.parse(await readFile(new URL('../package.json', import.meta.url), 'utf8'));
    const entry = await readFile(new URL('../src/cli.ts', import.meta.url), 'utf8');
    const [major, minor] = ['MAJOR', 'MINOR'].map((part) => new RegExp(`NODE_${part} = (\\d+)`).exec(entry)?.[1]);
    assert.equal(engines.node, `>=${major}.${minor}`);
    assert.doesNotMatch(entry, /^import /m, 'an old Node would link it before it can say a word');
  });
});

// ---- run -------------------------------------------------------------------------------------------------------------

async function running(t: TestContext, { file = config, env = {} } = {}): Promise<Program> {
  const program = new Program(CLI, ['run', '--config', file], { env });
  t.after(() => program.kill());
  await program.printed('stderr', /"msg":"ready"/);
  return program;
}

function portOf(program: Program): number {
  return Number(/"mqtt":"127\.0\.0\.1:(\d+)"/.exec(program.stderr)?.[1]);
}

async function listening(t: TestContext): Promise<Server> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  return server;
}

/** A balancer with one client whose CONNECT has reached the backend. */
async function runningWithClient(t: TestContext, env = {}): Promise<{ program: Program; client: Socket }> {
  const backend = await listening(t);
  const { port } = backend.address() as AddressInfo;
  const file = join(folder, `client-${port}.yaml`);
  await writeFile(
    file,
    CONFIG.replace('10.0.0.11:1883', `127.0.0.1:${port}`).replace(/, \{ address: 10\.0\.0\.12.*/, '] }'),
  );
  const program = await running(t, { file, env });
  const client = connect(portOf(program), '127.0.0.1').on('error', () => {});
  t.after(() => client.destroy());
  client.write(connectPacket({ clientId: 'foo' }));
  const [socket] = (await once(backend, 'connection')) as [Socket];
  t.after(() => socket.destroy());
  await once(
    socket.on('error', () => {}),
    'data',
  );
  return { program, client };
}

function messages(stderr: string): string[] {
  return stderr
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line).msg);
}

describe('run', { concurrency: 4 }, () => {
  test('run logs JSON lines with its addresses, and leaves with 0 on SIGTERM', async (t) => {
    const program = await running(t);
    const { listeners, admin } = JSON.parse(program.stderr.split('\n').find((line) => line.includes('"ready"')) ?? '');
    for (const address of [listeners.mqtt, admin]) assert.match(address, /^127\.0\.0\.1:[1-9]\d*$/);
    program.child.kill('SIGTERM');
    const { code, stderr, stdout } = await program.ended();
    assert.deepEqual([code, stdout], [0, '']);
    assert.equal(messages(stderr).at(-1), 'stopped');
  });

  test('status shows a running balancer, to people and to programs', async (t) => {
    const { program, client } = await runningWithClient(t);
    const { admin } = JSON.parse(program.stderr.split('\n').find((line) => line.includes('"ready"')) ?? '');
    const { code, stdout, stderr } = await tidegate('status', '--admin', admin);
    assert.deepEqual([code, stderr], [0, '']);
    assert.match(stdout, /^Tidegate \S+, engine \w+, up \d+ s, running, ready, 1 connections\n/);
    assert.match(stdout, /^mqtt +127\.0\.0\.1:\d+ +brokers +\w+ +-$/m);
    assert.match(
      stdout,
      /^Pool brokers: hash of client_id by rendezvous\nBACKEND .*\n127\.0\.0\.1:\d+ +up +\d+ s +1 +1 +1 +0 +- +held for up at start$/m,
    );
    assert.match(stdout, /^CONNECTS OF POOL .*\nbrokers +0 +1 +0 +0$/m);
    assert.match(stdout, /^127\.0\.0\.1:\d+ +- +[\d.]+, [\d.]+ ms +- +\d+ +0$/m, 'a backend that is silent so far');
    const json = await tidegate('status', '--admin', `http://${admin}/`, '--json');
    assert.equal(JSON.parse(json.stdout).connections, 1);
    client.destroy();
  });

  test('connections shows who is there, to people and to programs', async (t) => {
    const { program, client } = await runningWithClient(t);
    const { admin } = JSON.parse(program.stderr.split('\n').find((line) => line.includes('"ready"')) ?? '');
    const { code, stdout, stderr } = await tidegate('connections', '--admin', admin, '--client-id', 'fo');
    assert.deepEqual([code, stderr], [0, '']);
    assert.match(
      stdout,
      /^CLIENT +STATE .*\nfoo +open +127\.0\.0\.1:\d+ +MQTT\/3\.1\.1 +127\.0\.0\.1:\d+ .*\n1 of 1 con/,
    );
    const none = await tidegate('connections', '--admin', admin, '--address', '10.9.9.9');
    assert.equal(none.stdout, '0 of 1 connections match\n');
    const json = await tidegate('connections', '--admin', admin, '--pool', 'brokers', '--json');
    assert.equal(JSON.parse(json.stdout).connections[0].client_id, 'foo');
    const nowhere = await tidegate('connections', '--admin', admin, '--pool', 'broker');
    assert.deepEqual([nowhere.code, nowhere.stdout], [2, '']);
    assert.match(nowhere.stderr, /says 404: there is no such pool or backend/);
    client.destroy();
  });

  test('drain, rebalance and set move clients, and say how it went', async (t) => {
    const { program } = await runningWithClient(t);
    const { admin } = JSON.parse(program.stderr.split('\n').find((line) => line.includes('"ready"')) ?? '');
    const backend = JSON.parse((await tidegate('status', '--admin', admin, '--json')).stdout).pools[0].backends[0]
      .address;
    const place = ['--pool', 'brokers', '--backend', backend, '--admin', admin];
    const first = await tidegate('drain', ...place, '--rate', '200');
    assert.deepEqual([first.code, first.stderr], [0, '']);
    assert.equal(first.stdout, `Drain of ${backend} in pool brokers, 200/s: 0 moved, 1 left\n`);
    assert.match(
      (await tidegate('status', '--admin', admin)).stdout,
      /^drain +brokers +127\.0\.0\.1:\d+ +200\/s +0 +1$/m,
    );
    const waiting = tidegate('drain', ...place, '--wait');
    const isSecond = async () => (await tidegate('status', '--admin', admin)).stdout.includes(' 50/s ');
    await waitFor('second drain', isSecond);
    const up = await tidegate('set', ...place, '--state', 'up');
    assert.equal(up.stdout, `${backend}: up, held for up at start\n`);
    const { code, stdout, stderr } = await waiting;
    assert.match(stdout, /^Drain of .*: 0 moved, 1 left\n/);
    assert.deepEqual([code, stderr.includes('has stopped after 0: the backend was set to up')], [2, true]);
    const rebalance = await tidegate('rebalance', '--pool', 'brokers', '--admin', admin, '--wait');
    assert.match(rebalance.stdout, /Rebalance of pool brokers is done: 0 moved in 0 s\n$/);
    const wrong = await tidegate('set', ...place, '--state', 'off');
    assert.deepEqual([wrong.code, wrong.stdout], [2, '']);
    assert.equal((await tidegate('drain', ...place, '--rate', '0')).code, 1);
  });

  test('events shows what happened, to people and to programs', async (t) => {
    const program = await running(t);
    const { admin } = JSON.parse(program.stderr.split('\n').find((line) => line.includes('"ready"')) ?? '');
    const { code, stdout, stderr } = await tidegate('events', '--admin', admin);
    assert.deepEqual([code, stderr], [0, '']);
    assert.match(stdout, /^TIME +LEVEL +WHAT\n\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ +info +engine \w+: .*\n$/);
    program.child.kill('SIGUSR1');
    await waitFor('event', async () => (await tidegate('events', '--admin', admin)).stdout.includes('log reopened'));
    const json = await tidegate('events', '--admin', admin, '--json');
    assert.deepEqual(
      JSON.parse(json.stdout).events.map(({ event }: { event: string }) => event),
      ['started', 'access_log_reopened'],
    );
  });

  test('reload prints what has changed, or every fault, and SIGHUP does the same', async (t) => {
    const file = join(folder, 'reloaded.yaml');
    await writeFile(file, CONFIG);
    const program = await running(t, { file });
    const { admin } = JSON.parse(program.stderr.split('\n').find((line) => line.includes('"ready"')) ?? '');
    const reload = () => tidegate('reload', '--admin', admin);
    assert.deepEqual(await reload(), { code: 0, stdout: 'nothing changed\n', stderr: '' });
    await writeFile(file, CONFIG.replace('10.0.0.13:1883]', '10.0.0.14:1883]').replace('10s', '11s'));
    const changed = [
      'shutdown_timeout changed',
      'pool brokers: backend 10.0.0.13:1883 removed',
      'pool brokers: backend 10.0.0.14:1883 added',
    ];
    assert.deepEqual(await reload(), { code: 0, stdout: `${changed.join('\n')}\n`, stderr: '' });
    const json = await tidegate('reload', '--admin', admin, '--json');
    assert.deepEqual(JSON.parse(json.stdout), { changed: [] });
    await writeFile(file, CONFIG.replace('least_conn', 'most_conn'));
    const { code, stdout, stderr } = await reload();
    assert.deepEqual([code, stdout], [1, '']);
    assert.match(stderr, /^\S+reloaded\.yaml:8:\d+: pools\.spread\.balance\.method: expected .*\n$/);
    program.child.kill('SIGHUP');
    await program.printed('stderr', /"event":"reload_refused"(?:.*\n)+.*"event":"reload_refused"/);
    await writeFile(file, CONFIG);
    program.child.kill('SIGHUP');
    await program.printed('stderr', /backend 10\.0\.0\.13:1883 added/);
    program.child.kill('SIGTERM');
    assert.equal((await program.ended()).code, 0);
  });

  test('status finds address and token in the configuration', async (t) => {
    const tokenFile = join(folder, 'token');
    await writeFile(tokenFile, 'open-sesame\n');
    const server = await listening(t);
    const { port } = server.address() as AddressInfo;
    server.close();
    const file = join(folder, 'token.yaml');
    await writeFile(file, CONFIG.replace(/^admin:.*/m, `admin: { bind: 0.0.0.0:${port}, token_file: ${tokenFile} }`));
    await running(t, { file });
    assert.equal((await tidegate('status', '--config', file)).code, 0);
    assert.equal((await tidegate('status', '--admin', `127.0.0.1:${port}`, '--token-file', tokenFile)).code, 0);
    const { code, stdout, stderr } = await tidegate('status', '--admin', `127.0.0.1:${port}`);
    assert.deepEqual([code, stdout], [2, '']);
    assert.match(stderr, /^tidegate: the admin API at \S+ expects a token; .*\n$/);
  });

  test('status says in one line why nothing answers', async (t) => {
    const strange = createHttpServer((_request, response) => response.end('{"a":1}')).listen(0, '127.0.0.1');
    await once(strange, 'listening');
    t.after(() => strange.close());
    const addressOf = (server: Server) => `127.0.0.1:${(server.address() as AddressInfo).port}`;
    const gone = await listening(t);
    const goneAddress = addressOf(gone);
    gone.close();
    for (const [address, why] of [
      [goneAddress, /^tidegate: no admin API at \S+ \(ECONNREFUSED\): is Tidegate running there\?.*\n$/],
      [addressOf(strange), /^tidegate: the admin API at \S+ answers, but not as Tidegate's.*\n$/],
    ] as const) {
      const { code, stdout, stderr } = await tidegate('status', '--admin', address);
      assert.deepEqual([code, stdout], [2, '']);
      assert.match(stderr, why);
    }
    await assertRefused(
      ['status', '--config', config],
      `admin.bind of ${config} takes any port: --admin URL says which one it became`,
    );
    await assertRefused(
      ['status', '--admin', 'ftp://x'],
      '--admin takes a URL such as http://127.0.0.1:9883, not "ftp://x"',
    );
  });

  test('run survives SIGHUP and SIGUSR1, and says what it did', async (t) => {
    const program = await running(t);
    for (const [signal, answer] of [
      ['SIGHUP', /configuration reloaded: nothing changed/],
      ['SIGUSR1', /access log reopened/],
    ] as const) {
      program.child.kill(signal);
      await program.printed('stderr', answer);
    }
    program.child.kill('SIGINT');
    assert.equal((await program.ended()).code, 0);
  });

  test('run ends with 2 and one line that says what to do when a source address is not its own', async () => {
    const file = join(folder, 'source.yaml');
    await writeFile(file, CONFIG.replace('ring: {', 'ring: { source_addresses: [192.0.2.1],'));
    const { code, stderr } = await tidegate('run', '--config', file);
    const plain = stderr.split('\n').filter((line) => !line.startsWith('{') && line !== '');
    assert.deepEqual([code, plain.length], [2, 1]);
    assert.match(
      plain[0] ?? '',
      /^tidegate: cannot connect from 192\.0\.2\.1 \(source_addresses of pool ring\): this mach/,
    );
  });

  test('run ends with 2 and one line when a hook can’t be loaded', async () => {
    const module = join(folder, 'broken-hook.ts');
    await writeFile(module, 'export const onConect = (): object => ({ action: "accept" });');
    const file = join(folder, 'hooked.yaml');
    await writeFile(file, CONFIG.replace('pool: brokers }', `pool: brokers, hook: { module: ${module} } }`));
    const { code, stderr } = await tidegate('run', '--config', file);
    const plain = stderr.split('\n').filter((line) => !line.startsWith('{') && line !== '');
    assert.deepEqual(
      [code, plain],
      [2, [`tidegate: a hook can't be loaded: listener mqtt: ${module}: TypeError: it exports no function onConnect`]],
    );
  });

  test('run ends with 2 and one line that says what to do when its port is taken', async (t) => {
    const { port } = (await listening(t)).address() as AddressInfo;
    const taken = join(folder, 'taken.yaml');
    await writeFile(taken, CONFIG.replace('127.0.0.1:0', `127.0.0.1:${port}`));
    const { code, stderr } = await tidegate('run', '--config', taken);
    assert.equal(code, 2);
    const plain = stderr.split('\n').filter((line) => !line.startsWith('{') && line !== '');
    assert.equal(plain.length, 1);
    assert.match(
      plain[0] ?? '',
      new RegExp(`^tidegate: cannot listen on 127\\.0\\.0\\.1:${port}: the port is taken; `),
    );
  });

  test('run goes on without whoever read its output', async (t) => {
    const program = await running(t);
    program.child.stdout.destroy();
    program.child.stderr.destroy();
    program.child.kill('SIGHUP');
    program.child.kill('SIGTERM');
    assert.equal((await program.ended()).code, 0);
  });

  test('run lets connections end by themselves after the first signal, and cuts them at the second', async (t) => {
    const { program, client } = await runningWithClient(t);
    program.child.kill('SIGTERM');
    await program.printed('stderr', /"msg":"stopping: /);
    await sleep(300);
    assert.equal(program.child.exitCode, null);
    program.child.kill('SIGTERM');
    await once(client, 'close');
    const { code, stderr } = await program.ended();
    assert.equal(code, 0);
    assert.ok(messages(stderr).includes('asked again to stop: closing every connection'));
  });

  test('run leaves as soon as the last client has', async (t) => {
    const { program, client } = await runningWithClient(t);
    program.child.kill('SIGINT');
    await program.printed('stderr', /"msg":"stopping: /);
    client.destroy();
    assert.equal((await program.ended()).code, 0);
  });

  test('under npm the echo of a signal is not taken for a second one', async (t) => {
    const { program } = await runningWithClient(t, { npm_lifecycle_event: 'tidegate' });
    program.child.kill('SIGINT');
    program.child.kill('SIGINT');
    await program.printed('stderr', /"msg":"stopping: /);
    await sleep(300);
    assert.equal(program.child.exitCode, null);
    program.child.kill('SIGINT');
    assert.equal((await program.ended()).code, 0);
  });
});
