// Clients that take room and give nothing back: they never read what comes for them, or never finish their CONNECT. Who
// behaves is served all the while.
import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { describe } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { STALL_WHEN_SHORT_MS } from '../../assembly/layout.ts';
import { startBackend } from '../tools/backends.ts';
import { type Balancer, startBalancer } from '../tools/balancer.ts';
import { testEveryEngine } from '../tools/engines.ts';
import { connackPacket, connectPacket, firstPacket, PINGREQ } from '../tools/packets.ts';
import { PATIENCE_MS } from '../tools/patience.ts';
import { waitFor } from '../tools/wait.ts';

/** So small a table has 256 buffers of 4 KiB. */
const LIMITS = { connectionsMax: 64, connectTimeout: '30s' };
const BUFFERS = 256;
/** Each would hold 16 buffers if it could: three times as many as there are. */
const HOARDERS = 52;
const NEWCOMERS = 20;
/**
 * Hoarders that hold every buffer are given up after so long, and newcomers wait until then. What a send had got rid of
 * is seen when it is asked to end, and makes its client's time begin anew: once.
 */
const RELIEF_MS = 2 * (STALL_WHEN_SHORT_MS + 1000) + PATIENCE_MS;
const CONNACK = connackPacket(4);
const CHUNK = Buffer.alloc(65_536, 'flood');
let floodedBytes = 0;

describe('a table full of hoarders', { concurrency: true }, () => {
  testEveryEngine('serves newcomers while others ping but never read', async (engine, context) => {
    const backend = await startBackend(context, floodHoarders);
    const balancer = await startBalancer(context, { engine, ...LIMITS, backends: [backend.address] });
    const hoarders = await Promise.all(Array.from({ length: HOARDERS }, (_, index) => openHoarder(balancer, index)));
    const pings = setInterval(() => ping(hoarders), 500);
    context.after(() => clearInterval(pings));
    context.after(() => destroy(hoarders));
    await untilNothingMoves();
    await serveNewcomers(balancer);
    if (engine === 'uring') await checkRelief(balancer);
    await serveNewcomers(balancer);
  });

  testEveryEngine('serves newcomers while others keep 60 KB of a CONNECT open', async (engine, context) => {
    const backend = await startBackend(context, floodHoarders);
    const balancer = await startBalancer(context, { engine, ...LIMITS, backends: [backend.address] });
    const whole = connectPacket({ clientId: 'partial', username: 'x'.repeat(62_000) });
    const partial = whole.subarray(0, 60_000);
    const hoarders = Array.from({ length: HOARDERS }, () => balancer.connect().on('error', () => {}));
    context.after(() => destroy(hoarders));
    for (const hoarder of hoarders) hoarder.resume().write(partial);
    await waitFor('partial CONNECTs', async () => {
      const { accepted, buffers_short: refused } = balancer.tidegate.status().counters;
      return accepted === HOARDERS && (engine === 'portable' || refused! > 0);
    });
    await serveNewcomers(balancer);
    const refused = balancer.tidegate.status().counters.buffers_short!;
    assert.ok(engine === 'uring' ? refused < HOARDERS : refused === 0, `${refused} of ${HOARDERS} were refused`);
  });
});

/** Those that hold buffers and take nothing are closed until there are enough again, and nobody else is. */
async function checkRelief(balancer: Balancer): Promise<void> {
  assert.ok(balancer.tidegate.status().counters.buffersStarved! > 0, 'every buffer was needed');
  const stalled = await waitFor(
    'relief',
    async () => {
      const { client_stalled: stalled, buffersHeld } = balancer.tidegate.status().counters;
      return stalled! > 0 && buffersHeld! <= (BUFFERS * 3) / 4 ? stalled : undefined;
    },
    RELIEF_MS,
  );
  const records = await balancer.records(NEWCOMERS + stalled!);
  const ends = records.filter(({ client_id }) => client_id !== 'newcomer').map(({ reason }) => reason);
  assert.deepEqual([...new Set(ends)], ['client_stalled']);
}

async function openHoarder(balancer: Balancer, index: number): Promise<Socket> {
  const client = balancer.connect();
  client.on('error', () => {});
  client.write(connectPacket({ clientId: `hoarder-${index}` }));
  assert.deepEqual(await firstPacket(client), CONNACK);
  return client;
}

function ping(clients: readonly Socket[]): void {
  for (const client of clients) if (client.writable) client.write(PINGREQ);
}

function destroy(clients: readonly Socket[]): void {
  for (const client of clients) client.destroy();
}

async function serveNewcomers(balancer: Balancer): Promise<void> {
  for (let newcomer = 0; newcomer < NEWCOMERS; newcomer++) {
    const beganMs = performance.now();
    const client = balancer.connect();
    client.on('error', () => {});
    client.write(connectPacket({ clientId: 'newcomer' }));
    assert.deepEqual(await firstPacket(client), CONNACK);
    const tookMs = performance.now() - beganMs;
    assert.ok(tookMs < RELIEF_MS, `${tookMs} ms`);
    client.destroy();
  }
}

async function untilNothingMoves(): Promise<void> {
  for (let last = -1; last !== floodedBytes; await sleep(300)) last = floodedBytes;
}

async function floodHoarders(socket: Socket): Promise<void> {
  const packet = await firstPacket(socket);
  if (packet === undefined) return;
  socket.write(CONNACK);
  socket.resume();
  socket.on('end', () => socket.end());
  if (packet.includes('hoarder')) flood(socket);
}

function flood(socket: Socket): void {
  floodedBytes += CHUNK.length;
  while (socket.writable && socket.write(CHUNK)) floodedBytes += CHUNK.length;
  socket.once('drain', () => flood(socket));
}
