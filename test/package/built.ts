// What gets published, as `npm run build` made it: the command, the library and the embeddable core. Not part of
// `npm test`, which needs no build; `npm run ci` runs it.
import assert from 'node:assert/strict';
import { execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createConnection, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { connackPacket, connectPacket } from '../tools/packets.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const cli = join(root, 'dist/src/cli.js');
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

const connect = connectPacket({ clientId: 'built' });
const connack = connackPacket(4);

const HOOK = `export const onConnect: OnConnect = ({ clientId }) => ({ action: 'accept', key: clientId });`;

test('every file that package.json points to is there', () => {
  const targets = [
    manifest.bin.tidegate,
    ...Object.values(manifest.exports).flatMap((entry) => Object.values(Object(entry))),
  ];
  const paths = targets
    .filter((path) => typeof path === 'string' && path.length > 1)
    .concat(manifest.exports['./core.wasm']);
  for (const path of paths) assert.ok(existsSync(join(root, path)), path);
});

test('the built command says its version', () => {
  assert.match(execFileSync(process.execPath, [cli, 'version'], { encoding: 'utf8' }), new RegExp(manifest.version));
});

test('a Node that is too old is told so in one line', async (t) => {
  const old = (process.env.PATH ?? '')
    .split(':')
    .map((folder) => join(folder, 'node'))
    .find((path) => existsSync(path) && major(path) < 22);
  if (old === undefined) return t.skip('no Node older than 22 on the PATH');
  const failed = await promisify(execFile)(old, [cli, 'version']).then(
    () => null,
    (error) => error,
  );
  assert.equal(failed?.code, 2);
  assert.match(failed.stderr, /^tidegate: needs Node 22\.18 or newer.*\n$/);
});

test('the core is imported by its published name', async () => {
  const name = 'tidegate/core';
  const { createTable, parseConnect } = await import(name);
  assert.equal(parseConnect(connect).state, 'complete');
  const table = createTable({ algorithm: 'rendezvous', members: [{ name: 'a:1883' }, { name: 'b:1883' }] });
  assert.match(table.lookup('built'), /^[ab]:1883$/);
});

for (const engine of ['uring', 'portable']) {
  test(`the built command carries a client to its backend, through a hook in TypeScript, and the page with it (${engine})`, async () => {
    const folder = mkdtempSync(join(tmpdir(), 'tidegate-built-'));
    const backend = createServer((socket) => socket.once('data', () => socket.end(connack))).listen(0, '127.0.0.1');
    await once(backend, 'listening');
    const config = join(folder, 'tidegate.yaml');
    const hook = join(folder, 'hook.ts');
    writeFileSync(hook, `import type { OnConnect } from 'tidegate';\n${HOOK}`);
    const { port } = backend.address() as { port: number };
    writeFileSync(
      config,
      `engine: ${engine}\nworkers: 1\nlisteners: [{ name: mqtt, bind: "127.0.0.1:0", hook: { module: "${hook}" } }]\n` +
        `pools: { brokers: { backends: ["127.0.0.1:${port}"] } }\naccess_log: { path: "off" }\nadmin: { bind: "127.0.0.1:0" }\n`,
    );
    const child = spawn(process.execPath, [cli, 'run', '--config', config], { stdio: ['ignore', 'ignore', 'pipe'] });
    try {
      const { address, admin } = await readyAddresses(child.stderr);
      for (const path of ['/', '/page/page.js', '/page/uplot.js', '/page/style.css']) {
        assert.equal((await fetch(`http://${admin}${path}`)).status, 200, path);
      }
      const client = createConnection({ host: '127.0.0.1', port: Number(address.split(':')[1]) });
      client.write(connect);
      const [answer] = await once(client, 'data');
      assert.deepEqual(answer, connack);
      client.destroy();
      child.kill('SIGTERM');
      assert.deepEqual(await once(child, 'exit'), [0, null]);
    } finally {
      child.kill('SIGKILL');
      backend.close();
      rmSync(folder, { recursive: true });
    }
  });
}

function major(node: string): number {
  return Number(execFileSync(node, ['--version'], { encoding: 'utf8' }).slice(1).split('.')[0]);
}

async function readyAddresses(stderr: NodeJS.ReadableStream): Promise<{ address: string; admin: string }> {
  let text = '';
  for await (const part of stderr) {
    text += part;
    const [, address, admin] = /"listeners":\{"mqtt":"([^"]+)"\},"admin":"([^"]+)"/.exec(text) ?? [];
    if (address !== undefined && admin !== undefined) return { address, admin };
  }
  throw new Error(`it ended before it was ready: ${text}`);
}
