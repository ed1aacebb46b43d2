// 20 upgrades in a row under a connect storm, and 20 more with one client at a time: nobody is refused, reset or forgotten.
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { echo, startBackend } from '../tools/backends.ts';
import { connectClient, echoes } from '../tools/client.ts';
import { testEveryEngine } from '../tools/engines.ts';
import { exitCode, startGenerations } from '../tools/generations.ts';
import { startStorm } from '../tools/storm.ts';

const UPGRADES = 20;
const SESSIONS = 500;

testEveryEngine('20 upgrades under a connect storm lose nobody', async (engine, context) => {
  const backend = await startBackend(context, echo);
  const service = await startGenerations(context, {
    engine,
    workers: 2,
    connections_max: 4096,
    listeners: [{ name: 'mqtt', bind: '127.0.0.1:0' }],
    pools: { brokers: { backends: [{ address: backend.address, max_fails: 0 }] } },
    access_log: { path: 'off' },
    admin: { bind: '127.0.0.1:0' },
    shutdown_timeout: '600s',
  });
  const port = await service.port();
  const first = service.pid;
  const sessions = [];
  for (let index = 0; index < SESSIONS; index++)
    sessions.push(await connectClient(port, { clientId: `session-${index}`, keepAlive: 0 }));
  // A crowd, and single ones: who comes alone waits for ever if it is overlooked.
  const storm = startStorm(context, port, { width: 16 });
  for (let upgrade = 0; upgrade < UPGRADES; upgrade++) {
    await service.upgrade();
    await sleep(200);
  }
  await storm.end();
  context.diagnostic(`${storm.greeted} clients, the slowest took ${Math.round(storm.slowestMs)} ms`);
  assert.deepEqual(storm.failures, {});
  const lone = startStorm(context, port, { width: 1 });
  for (let upgrade = 0; upgrade < UPGRADES; upgrade++) await service.upgrade();
  await lone.end();
  context.diagnostic(`${lone.greeted} single clients, the slowest took ${Math.round(lone.slowestMs)} ms`);
  assert.deepEqual(lone.failures, {});
  const alive = await Promise.all(sessions.map((session) => echoes(session)));
  assert.equal(alive.filter(Boolean).length, SESSIONS, 'sessions of the first process');
  for (const { socket } of sessions) socket.destroy();
  assert.equal(await exitCode(service), 0);
  assert.notEqual(service.pid, first);
});
