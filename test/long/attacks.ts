// Attacks on Tidegate with two real brokers behind it and 200 good clients: nothing crashes, nothing grows beyond what
// the configuration allows, and the good clients are served all the while. How fast they are is printed, before and
// during.
import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { AttackOptions, Tally } from '../tools/attacks.ts';
import { startBackend } from '../tools/backends.ts';
import { CONNECT_MAX_BYTES } from '../tools/beginnings.ts';
import { startAuthority } from '../tools/certificates.ts';
import { clientIdsOf } from '../tools/client-ids.ts';
import { testEveryEngine } from '../tools/engines.ts';
import { offend } from '../tools/offender.ts';
import { connackPacket, firstPacket } from '../tools/packets.ts';
import { answerOf, askProcess, startProcess } from '../tools/process-channel.ts';
import { startSiege } from '../tools/siege.ts';
import { waitFor } from '../tools/wait.ts';

const KIB = 1 << 10;
const MIB = 1 << 20;
/** What a socket takes in a JavaScript heap, with its streams. */
const SOCKET_BYTES = 12 * KIB;
/** The same with a TLS engine, or with HTTP's and WebSocket's objects. */
const TLS_SOCKET_BYTES = 100 * KIB;
/** What waits in streams for who doesn't read, each way. */
const STREAM_BYTES = 128 * KIB;

/** In so many processes; ended after some seconds. */
async function attack(context: TestContext, seconds: number, ...processes: AttackOptions[]): Promise<Tally> {
  const children = processes.map((options) => startProcess(context, './attackers.ts', options));
  for (const answer of await Promise.all(children.map((child) => answerOf(child)))) assert.equal(answer, 'stands');
  await sleep(seconds * 1000);
  const total: Tally = {};
  for (const tally of await Promise.all(children.map((child) => askProcess<Tally>(child, 'end')))) {
    for (const [name, count] of Object.entries(tally)) total[name] = (total[name] ?? 0) + count;
  }
  context.diagnostic(`attackers: ${JSON.stringify(total)}`);
  return total;
}

testEveryEngine('10,000 clients who send a byte of their CONNECT a second', async (engine, context) => {
  // The portable engine's sockets are the process's own: 20,000 descriptors are 9,900 connections.
  const connectionsMax = engine === 'uring' ? 5400 : 4900;
  const listeners = [{ name: 'mqtt', kind: 'tcp' as const, settings: { connect_timeout: '20s' } }];
  const siege = await startSiege(context, { engine, connectionsMax, listeners });
  if (siege === undefined) return;
  const half: AttackOptions = { name: 'slowConnect', port: siege.portOf('mqtt'), count: 5000 };
  await siege.withstand(
    async () => {
      const { opened } = await attack(context, 15, half, half);
      assert.ok(opened! > 9000, `${opened} attackers`);
    },
    2 * connectionsMax * SOCKET_BYTES,
  );
});

testEveryEngine('100 clients who never read what floods them', async (engine, context) => {
  const flooding = await startBackend(context, flood);
  const siege = await startSiege(context, {
    engine,
    listeners: [
      { name: 'mqtt', kind: 'tcp' },
      { name: 'flood', kind: 'tcp', isForGood: false, settings: { pool: 'flood' } },
    ],
    pools: { flood: { backends: [flooding.address] } },
  });
  if (siege === undefined) return;
  const count = 100;
  const port = siege.portOf('flood');
  await siege.withstand(
    async () => void (await attack(context, 12, { name: 'slowReader', port, count })),
    count * (2 * STREAM_BYTES + SOCKET_BYTES),
  );
});

const CHUNK = Buffer.alloc(64 * KIB, 'flood');

async function flood(socket: Socket): Promise<void> {
  if ((await firstPacket(socket)) === undefined) return;
  socket.write(connackPacket(4));
  socket.resume().on('end', () => socket.end());
  const go = () => {
    while (socket.writable && socket.write(CHUNK));
  };
  socket.on('drain', go);
  go();
}

testEveryEngine('100,000 connections that begin badly', async (engine, context) => {
  const settings = { connect_max_bytes: CONNECT_MAX_BYTES };
  const siege = await startSiege(context, { engine, settings });
  if (siege === undefined) return;
  await siege.withstand(async () => {
    const expected = await offend('127.0.0.1', siege.portOf('mqtt'), 100_000);
    // Who leaves by himself is done before it is seen here.
    for (const [reason, count] of Object.entries(expected)) {
      await waitFor(`${count} that ended with ${reason}`, async () => (await siege.ended(reason)) >= count);
    }
    context.diagnostic(JSON.stringify(expected));
  }, 0);
});

testEveryEngine('lengths that promise 256 MB, and CONNECTs of 64 KiB that never end', async (engine, context) => {
  const siege = await startSiege(context, { engine });
  if (siege === undefined) return;
  const port = siege.portOf('mqtt');
  const large = 1000;
  await siege.withstand(
    async () => {
      await attack(
        context,
        3,
        { name: 'largeConnect', port, count: large },
        { name: 'hugeLengths', port, count: 2000 },
      );
    },
    large * (2 * 64 * KIB + SOCKET_BYTES),
  );
});

testEveryEngine('PROXY headers from anybody, and lies from a front', async (engine, context) => {
  const front = '127.9.0.1';
  const siege = await startSiege(context, {
    engine,
    listeners: [
      { name: 'mqtt', kind: 'tcp' },
      { name: 'fronted', kind: 'tcp', isForGood: false, settings: { proxy_protocol: { from: [front] } } },
    ],
  });
  if (siege === undefined) return;
  const port = siege.portOf('fronted');
  await siege.withstand(async () => {
    const spoofing: AttackOptions = { name: 'proxySpoofing', port, count: 10_000 };
    const { visits, ...outcomes } = await attack(context, 0, spoofing, { ...spoofing, count: 11_000, from: front });
    assert.equal(visits, 21_000);
    assert.deepEqual(outcomes, { answered: 0, closed: 21_000, forgotten: 0 });
    assert.deepEqual([await siege.ended('proxy_source'), await siege.ended('proxy_header')], [10_000, 11_000]);
    const logs = siege.brokers.flatMap(({ log }) => log());
    assert.ok(!logs.some((line) => line.includes('spoofed') || line.includes('without-header')));
  }, 0);
});

for (const secret of [undefined, 'nobody knows']) {
  const outcome = secret === undefined ? 'all come to it' : 'are spread, where the hash has a secret';
  testEveryEngine(`1,000 ClientIds chosen for one broker: they ${outcome}`, async (engine, context) => {
    const pool = secret === undefined ? {} : { balance: { secret } };
    const siege = await startSiege(context, { engine, pool });
    if (siege === undefined) return;
    const addresses = siege.brokers.map(({ address }) => address);
    const clientIds = clientIdsOf(addresses[0]!, addresses, 1000);
    const port = siege.portOf('mqtt');
    await siege.withstand(
      async () => void (await attack(context, 4, { name: 'chosenClientIds', port, count: 1000, clientIds })),
      1000 * 2 * SOCKET_BYTES,
    );
    const [aimedAt = 0, other = 0] = siege.brokers.map((broker) => {
      return broker.log().filter((line) => / as device-\d+ /.test(line)).length;
    });
    context.diagnostic(`${aimedAt} came to the broker that was aimed at, ${other} to the other`);
    assert.equal(aimedAt + other, 1000);
    assert.ok(secret === undefined ? other === 0 : aimedAt < 600 && other < 600);
  });
}

test('3,000 TLS handshakes that stop half way', async (context) => {
  const authority = startAuthority(context);
  if (authority === undefined) return;
  const handshakesMax = 1000;
  const tls = { ...authority.issue('localhost', { hosts: ['localhost'] }), handshakes_max: handshakesMax };
  const siege = await startSiege(context, {
    engine: 'portable',
    ca: authority.ca,
    listeners: [
      { name: 'mqtt', kind: 'tcp' },
      { name: 'mqtts', kind: 'tls', settings: { tls } },
    ],
  });
  if (siege === undefined) return;
  const port = siege.portOf('mqtts');
  await siege.withstand(
    async () => void (await attack(context, 15, { name: 'slowHandshake', port, count: 3000 })),
    handshakesMax * TLS_SOCKET_BYTES,
  );
  for (const reason of ['tls_timeout', 'tls_handshakes_max']) assert.ok((await siege.ended(reason)) > 0, reason);
});

const doorsOfWebSocket = [
  { name: 'mqtt', kind: 'tcp' as const },
  { name: 'ws', kind: 'websocket' as const, settings: { websocket: { message_bytes_max: MIB } } },
];

const LIARS_AT_ONCE = 100;

test('15,000 WebSocket clients whose frames lie', async (context) => {
  const siege = await startSiege(context, { engine: 'portable', listeners: doorsOfWebSocket });
  if (siege === undefined) return;
  await siege.withstand(async () => {
    const tally = await attack(context, 0, { name: 'webSocketLies', port: siege.portOf('ws'), count: 15_000 });
    assert.deepEqual(tally, { right: 15_000 });
  }, LIARS_AT_ONCE * MIB);
});

test('90 WebSocket clients whose messages never end, or who never read the answers to their pings', async (context) => {
  const siege = await startSiege(context, { engine: 'portable', listeners: doorsOfWebSocket });
  if (siege === undefined) return;
  const count = 90;
  await siege.withstand(
    async () => void (await attack(context, 10, { name: 'webSocketHoarding', port: siege.portOf('ws'), count })),
    count * (MIB + SOCKET_BYTES),
  );
});
