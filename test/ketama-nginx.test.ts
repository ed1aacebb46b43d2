// The promise of `ketama`: moving from nginx moves no client. Asked of nginx itself, with the ClientId taken out of real
// CONNECT packets by njs, as in the configurations that people migrate.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { createTable, type Table } from '../src/core.ts';
import { answers, freePort } from '../src/demo-brokers.ts';
import { connectPacket } from './tools/packets.ts';
import { inParallel } from './tools/parallel.ts';
import { Random, testSeed } from './tools/random.ts';
import { requires } from './tools/requirements.ts';

const NGINX = '/usr/sbin/nginx';
const MODULES = ['ngx_stream_module.so', 'ngx_stream_js_module.so'].map((name) => `/usr/lib/nginx/modules/${name}`);
const CLIENT_IDS = 4000;
const IN_FLIGHT = 32;
const ALPHABETS = ['abcdefghijklmnopqrstuvwxyz0123456789-_:/', 'abc  0123', 'äöüßéñ', '温度計水門', '🌊🚪ab '];

const absent = [NGINX, ...MODULES].filter((file) => !existsSync(file));
const missing =
  absent.length === 0
    ? undefined
    : `${absent.join(', ')} is not installed: apt-get install nginx libnginx-mod-stream libnginx-mod-stream-js`;

interface Pool {
  weights: number[];
  /** Index of a backend that refuses connections. */
  dead?: number;
}

const pools: Record<string, Pool> = {
  equal: { weights: [1, 1, 1, 1, 1] },
  unequal: { weights: [1, 2, 3, 5, 10, 1] },
  failing: { weights: [2, 1, 1, 3], dead: 0 },
};

describe('ketama against nginx', () => {
  const servers: Server[] = [];
  const names: Record<string, string[]> = {};
  let nginx: RunningNginx;

  before(async () => {
    if (missing !== undefined) return;
    for (const [name, pool] of Object.entries(pools)) {
      names[name] = await Promise.all(
        pool.weights.map(async (_, index) => {
          const server = await listenWithName();
          const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
          if (index === pool.dead) await closeServer(server);
          else servers.push(server);
          return address;
        }),
      );
    }
    nginx = await startNginx(names);
  });

  after(async () => {
    await nginx?.stop();
    await Promise.all(servers.map(closeServer));
  });

  it('chooses the same backend for every ClientId, backends of equal weight', async (context) => {
    await compare(context, 'equal', (table, id) => table.lookup(id));
  });

  it('chooses the same backend for every ClientId, backends of unequal weight', async (context) => {
    await compare(context, 'unequal', (table, id) => table.lookup(id));
  });

  it('goes to the same next backend when the first one refuses', async (context) => {
    const dead = names.failing?.[0];
    await compare(context, 'failing', (table, id) => table.order(id).find((name) => name !== dead) as string);
  });

  async function compare(
    context: TestContext,
    pool: string,
    choose: (table: Table, clientId: string) => string,
  ): Promise<void> {
    if (!requires(context, missing)) return;
    const members = (names[pool] as string[]).map((name, index) => ({ name, weight: pools[pool]?.weights[index] }));
    const table = createTable({ algorithm: 'ketama', members });
    const chosen = new Set<string>();
    const clientIds = randomClientIds(new Random(testSeed(context)), CLIENT_IDS);
    await inParallel(IN_FLIGHT, clientIds, async (clientId) => {
      const answer = await askNginx(nginx.ports[pool] as number, clientId);
      assert.equal(choose(table, clientId), answer, `ClientId ${JSON.stringify(clientId)}`);
      chosen.add(answer);
    });
    const alive = members.length - (pools[pool]?.dead === undefined ? 0 : 1);
    assert.equal(chosen.size, alive, 'every backend that is alive had clients');
  }
});

/** A backend that says its own address to whoever connects. */
async function listenWithName(): Promise<Server> {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.resume();
    socket.end(`127.0.0.1:${socket.localPort}`);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

async function closeServer(server: Server): Promise<void> {
  server.close();
  await once(server, 'close');
}

interface RunningNginx {
  ports: Record<string, number>;
  stop(): Promise<void>;
}

async function startNginx(names: Record<string, string[]>): Promise<RunningNginx> {
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-nginx-'));
  const ports: Record<string, number> = {};
  for (const pool of Object.keys(names)) ports[pool] = await freePort();
  const file = join(folder, 'nginx.conf');
  await writeFile(file, configuration(folder, names, ports));

  const child = spawn(NGINX, ['-p', folder, '-c', file, '-e', join(folder, 'start.log')], {
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const ended = once(child, 'exit');
  try {
    for (const port of Object.values(ports)) {
      await Promise.race([answers(port), ended.then(() => assert.fail('nginx ended at once; see its messages above'))]);
    }
  } catch (error) {
    child.kill('SIGTERM');
    throw error;
  }
  return {
    ports,
    async stop() {
      child.kill('SIGTERM');
      await ended;
      await rm(folder, { recursive: true });
    },
  };
}

// max_fails=0: nginx tries a dead backend each time, so that the answer doesn't depend on what failed before.
function configuration(folder: string, names: Record<string, string[]>, ports: Record<string, number>): string {
  const blocks = Object.entries(names).map(([pool, addresses]) => {
    const servers = addresses.map((address, index) => {
      return `server ${address} weight=${pools[pool]?.weights[index]} max_fails=0;`;
    });
    return `
      upstream ${pool} { hash $mqtt_client_id consistent; ${servers.join(' ')} }
      server { listen 127.0.0.1:${ports[pool]}; js_preread client_id.preread; proxy_pass ${pool}; }`;
  });
  return `
    ${MODULES.map((file) => `load_module ${file};`).join('\n')}
    daemon off;
    master_process off;
    pid ${join(folder, 'nginx.pid')};
    error_log ${join(folder, 'error.log')} emerg;
    events { worker_connections 1024; }
    stream {
      js_import client_id from ${fileURLToPath(new URL('../bench/rivals/client-id.js', import.meta.url))};
      js_set $mqtt_client_id client_id.clientId;
      ${blocks.join('\n')}
    }`;
}

/** The name of the backend to which nginx brings this ClientId. */
async function askNginx(port: number, clientId: string): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  socket.write(connectPacket({ clientId }));
  let answer = '';
  for await (const chunk of socket) answer += chunk;
  return answer;
}

/** 1 to 200 bytes each: device names, spaces, and letters of one to four bytes. */
function randomClientIds(random: Random, count: number): Set<string> {
  const ids = new Set<string>();
  while (ids.size < count) {
    const letters = [...random.pick(ALPHABETS)];
    const bytesMax = random.integer(1, 200);
    let id = random.pick(letters);
    for (let next = random.pick(letters); Buffer.byteLength(id + next) <= bytesMax; next = random.pick(letters))
      id += next;
    ids.add(id);
  }
  return ids;
}
