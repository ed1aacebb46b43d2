// A process that was kept from its CPU, here by SIGSTOP, finds deadlines that have passed and bytes that came before
// them. It must not blame its clients for its own delay.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { EngineName } from '../../src/index.ts';
import { hello, startBackend } from '../tools/backends.ts';
import { testEveryEngine } from '../tools/engines.ts';
import { connackPacket, connectPacket, firstPacket, PINGREQ } from '../tools/packets.ts';
import { Program } from '../tools/program.ts';
import { waitFor } from '../tools/wait.ts';

const CONNACK = connackPacket(4);

testEveryEngine('a CONNECT that came while the process was stopped is in time', async (engine, context) => {
  const { program, port } = await running(context, engine);
  const client = dial(context, port);
  await once(client, 'connect');
  await sleep(200); // until it is accepted
  await stop(program);
  client.write(connectPacket());
  await sleep(1500);
  program.child.kill('SIGCONT');
  assert.deepEqual(await firstPacket(client), CONNACK);
});

testEveryEngine('a PINGREQ that came while the process was stopped is in time', async (engine, context) => {
  const { program, port } = await running(context, engine);
  const client = dial(context, port);
  client.write(connectPacket({ keepAlive: 2 }));
  assert.deepEqual(await firstPacket(client), CONNACK);
  await sleep(500);
  await stop(program);
  client.write(PINGREQ);
  await sleep(4000);
  program.child.kill('SIGCONT');
  client.resume();
  await sleep(500);
  // A reset would destroy it without an end.
  assert.deepEqual([client.readableEnded, client.destroyed], [false, false]);
});

async function running(context: TestContext, engine: EngineName): Promise<{ program: Program; port: number }> {
  const backend = await startBackend(context, hello);
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-stopped-'));
  context.after(() => rm(folder, { recursive: true }));
  const file = join(folder, 'tidegate.yaml');
  const settings = {
    engine,
    workers: 1,
    connections_max: 64,
    listeners: [{ name: 'mqtt', bind: '127.0.0.1:0', connect_timeout: '1s' }],
    pools: { brokers: { backends: [backend.address] } },
    access_log: { path: 'off' },
  };
  await writeFile(file, JSON.stringify(settings)); // JSON is YAML
  const program = new Program('src/cli.ts', ['run', '--config', file]);
  context.after(() => program.kill());
  await program.printed('stderr', /"msg":"ready"/);
  return { program, port: Number(/"mqtt":"127\.0\.0\.1:(\d+)"/.exec(program.stderr)?.[1]) };
}

/** Resolves when none of its threads runs any more: what is sent from then on is not heard before SIGCONT. */
async function stop({ child }: Program): Promise<void> {
  child.kill('SIGSTOP');
  const tasks = `/proc/${child.pid}/task`;
  const isStopped = (task: string) => / T /.test(readFileSync(`${tasks}/${task}/stat`, 'utf8'));
  await waitFor('a stopped process', () => readdirSync(tasks).every(isStopped));
}

function dial(context: TestContext, port: number): Socket {
  const client = connect({ port, host: '127.0.0.1', noDelay: true, allowHalfOpen: true });
  client.on('error', () => {});
  context.after(() => client.destroy());
  return client;
}
