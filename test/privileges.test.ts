// Who the process is once its ports are open: for root only, who alone can become somebody else.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { hello, startBackend } from './tools/backends.ts';
import { nextBytes } from './tools/client.ts';
import { connackPacket, connectPacket } from './tools/packets.ts';
import { Program } from './tools/program.ts';

const USER = 'nobody';
const NOBODY = 65_534;
/** Below 1024, and nobody's in particular. */
const PORT = 987;

/** Workers are started as the user, who has to read the program. */
function whyNot(): string | false {
  if (process.getuid?.() !== 0) return 'only root can become somebody else';
  const read = spawnSync(process.execPath, ['-e', 'require("fs").readFileSync("src/cli.ts")'], {
    uid: NOBODY,
    gid: NOBODY,
    cwd: join(import.meta.dirname, '..'),
  });
  return read.status === 0 ? false : `${USER} can't read this folder`;
}

interface Setup {
  path: string;
  folder: string;
  config: Record<string, unknown>;
}

async function setUp(context: TestContext, settings: object = {}): Promise<Setup> {
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-'));
  context.after(() => rm(folder, { recursive: true, force: true }));
  await chmod(folder, 0o777);
  const { address } = await startBackend(context, hello);
  const config = {
    user: USER,
    workers: 2,
    connections_max: 100,
    admin: 'off',
    access_log: { path: join(folder, 'access.log') },
    listeners: [{ bind: `127.0.0.1:${PORT}` }],
    pools: { brokers: { backends: [address] } },
    ...settings,
  };
  const path = join(folder, 'tidegate.yaml');
  await writeFile(path, JSON.stringify(config));
  return { path, folder, config };
}

function run(context: TestContext, { path }: Setup): Program {
  const program = new Program('src/cli.ts', ['run', '--config', path]);
  context.after(() => program.kill());
  return program;
}

/** The fields `Uid` and `Gid` of every thread: real, effective, saved and file system's. */
async function identitiesOf(pid: number): Promise<Set<string>> {
  const identities = new Set<string>();
  for (const task of await readdir(`/proc/${pid}/task`)) {
    const status = await readFile(`/proc/${pid}/task/${task}/status`, 'utf8').catch(() => '');
    for (const [line] of status.matchAll(/^(?:Uid|Gid|Groups):.*$/gm)) identities.add(line.replace(/\s+/g, ' ').trim());
  }
  return identities;
}

async function connack(port = PORT): Promise<Buffer> {
  const socket = connect(port, '127.0.0.1').on('error', () => {});
  socket.write(connectPacket());
  const bytes = await nextBytes(socket);
  socket.destroy();
  return bytes;
}

describe('dropping privileges', { skip: whyNot() }, () => {
  for (const engine of ['auto', 'portable']) {
    test(`every thread becomes the user, behind a port that only root can bind (${engine})`, async (context) => {
      const setup = await setUp(context, { engine });
      const program = run(context, setup);
      await program.printed('stderr', /"msg":"ready"/);
      const four = `${NOBODY} ${NOBODY} ${NOBODY} ${NOBODY}`;
      const wanted = new Set([`Uid: ${four}`, `Gid: ${four}`, `Groups: ${NOBODY}`]);
      assert.deepEqual(await identitiesOf(program.child.pid!), wanted);
      assert.match(program.stderr, /became user nobody/);
      assert.deepEqual(await connack(), connackPacket(4));
      assert.equal((await stat(join(setup.folder, 'access.log'))).uid, NOBODY);
      program.child.kill('SIGUSR1');
      await program.printed('stderr', /access log reopened/);
      assert.doesNotMatch(program.stderr, /can't be opened again/);
      program.child.kill('SIGTERM');
      assert.equal((await program.ended()).code, 0);
    });
  }

  test('a reload that needs a port below 1024 says what is missing, and the old configuration stays', async (context) => {
    const setup = await setUp(context);
    const program = run(context, setup);
    await program.printed('stderr', /"msg":"ready"/);
    const listeners = [{ bind: `127.0.0.1:${PORT}` }, { bind: `127.0.0.1:${PORT + 1}` }];
    await writeFile(setup.path, JSON.stringify({ ...setup.config, listeners }));
    program.child.kill('SIGHUP');
    const [line] = await program.printed('stderr', /.*reload refused.*/);
    assert.match(
      line,
      /127\.0\.0\.1:988: not permitted.*this process is user nobody and no longer root: a restart opens it/,
    );
    assert.deepEqual(await connack(), connackPacket(4));
  });

  test('a group that is named takes the place of the user’s', async (context) => {
    const program = run(context, await setUp(context, { group: 'daemon', listeners: [{ bind: '127.0.0.1:0' }] }));
    await program.printed('stderr', /"msg":"ready"/);
    const identities = await identitiesOf(program.child.pid!);
    assert.ok(identities.has('Gid: 1 1 1 1'), [...identities].join());
    assert.ok(identities.has(`Uid: ${NOBODY} ${NOBODY} ${NOBODY} ${NOBODY}`));
  });

  test('a user that there is not is a line that says so', async (context) => {
    const program = run(context, await setUp(context, { user: 'nobody-of-that-name' }));
    const { code, stderr } = await program.ended();
    assert.equal(code, 2);
    assert.match(stderr, /there is no user nobody-of-that-name on this machine: create it, or correct the name/);
  });

  test('who is not root is told so', async (context) => {
    const setup = await setUp(context, { user: 'daemon', listeners: [{ bind: '127.0.0.1:0' }] });
    await chmod(setup.path, 0o644);
    const through = ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups'];
    const program = new Program('src/cli.ts', ['run', '--config', setup.path], { through });
    context.after(() => program.kill());
    const { code, stderr } = await program.ended();
    assert.equal(code, 2);
    assert.match(stderr, /only root can become user daemon/);
  });
});
