// Every byte arrives, in order and once, whatever the two sides do; and no side can make the balancer hold much of it.
import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { startBackend } from '../tools/backends.ts';
import { type Balancer, startBalancer } from '../tools/balancer.ts';
import { testEveryEngine } from '../tools/engines.ts';
import { assertNothingLeaked, holdings } from '../tools/leaks.ts';
import { connackPacket, connectPacket, firstPacket } from '../tools/packets.ts';
import { inParallel, range } from '../tools/parallel.ts';
import { type Outcome, play, type Script } from '../tools/play.ts';
import { Random, testSeed } from '../tools/random.ts';
import { startScriptBackend } from '../tools/script-backend.ts';

const MEBIBYTE = 2 ** 20;
const GIBIBYTE = 2 ** 30;
const CONNACK = connackPacket(4);
const WHOLE = { intact: true, finished: true, error: null };

testEveryEngine('carries 1 GiB each way through one connection', async (engine, context) => {
  const backend = await startScriptBackend(context);
  const balancer = await startBalancer(context, { engine, backends: [backend.script], connectionsMax: 4096 });
  const life = { clientId: 'big', client: steadily(GIBIBYTE, 1, 2), backend: steadily(GIBIBYTE, 2, 1) };
  const atClient = await live(balancer, life);
  const [atBackend] = await backend.outcomes([life.clientId]);
  assert.deepEqual(atClient, { receivedBytes: GIBIBYTE, ...WHOLE });
  assert.deepEqual(atBackend, { receivedBytes: GIBIBYTE, ...WHOLE });
  const [record] = await balancer.records(1);
  assert.equal(record?.bytes_from_client, GIBIBYTE + connectOf(life).length);
  assert.equal(record?.bytes_to_client, GIBIBYTE + CONNACK.length);
});

testEveryEngine('keeps 10,000 connections whole that pause, half-close and reset', async (engine, context) => {
  const seed = testSeed(context);
  const backend = await startScriptBackend(context);
  const balancer = await startBalancer(context, { engine, backends: [backend.script], connectionsMax: 4096 });
  const lives = Array.from(range(10_000), (index) => randomLife(seed + index));
  const before = await holdings(balancer);
  await inParallel(200, lives, async (life) => {
    checkOutcome(`${life.clientId} at the client`, await live(balancer, life), life.backend, isOrderly(life));
  });
  await balancer.idle();
  const atBackend = await backend.outcomes(lives.map(({ clientId }) => clientId));
  const records = new Map((await balancer.records(lives.length)).map((record) => [record.client_id, record]));
  for (const [index, life] of lives.entries()) {
    checkBackend(life, atBackend[index]!);
    if (isOrderly(life)) checkByteCounts(life, records.get(life.clientId));
  }
  await assertNothingLeaked(balancer, before);
});

for (const reader of ['backend', 'client'] as const) {
  testEveryEngine(`holds little for a ${reader} that stops reading`, async (engine, context) => {
    const accepted: Socket[] = [];
    const server = await startBackend(context, async (socket) => {
      await firstPacket(socket);
      accepted.push(socket);
      socket.write(CONNACK);
    });
    const balancer = await startBalancer(context, { engine, backends: [server.address], connectionsMax: 4096 });
    const open = async (): Promise<{ client: Socket; backend: Socket }> => {
      const client = balancer.connect();
      client.write(connectPacket());
      assert.deepEqual(await firstPacket(client), CONNACK);
      return { client, backend: accepted.pop()! };
    };
    const pairs = [await open(), await open(), await open(), await open()];
    const before = await holdings(balancer);
    const senders = pairs.map(({ client, backend }) => (reader === 'backend' ? client : backend));
    const sent = senders.map((sender) => play(sender, steadily(64 * MEBIBYTE, 1, 2)));
    await standstill(senders);
    const during = await holdings(balancer);
    const grownBytes = during.residentBytes - before.residentBytes;
    const takenBytes = senders.reduce((sum, sender) => sum + taken(sender), 0);
    context.diagnostic(
      `${during.buffers} buffers and ${grownBytes >> 10} KiB more RSS for ${takenBytes >> 10} KiB taken`,
    );
    assert.ok(takenBytes < 128 * MEBIBYTE, `${takenBytes} bytes were taken`);
    assert.ok(grownBytes < 32 * MEBIBYTE, `RSS grew by ${grownBytes} bytes`);
    assert.ok(during.buffers < 128 * pairs.length, `${during.buffers} buffers were held`);

    const { client: other } = await open();
    other.destroy();
    const readers = pairs.map(({ client, backend }) => (reader === 'backend' ? backend : client));
    for (const outcome of await Promise.all(readers.map((socket) => play(socket, steadily(0, 2, 1))))) {
      assert.deepEqual(outcome, { receivedBytes: 64 * MEBIBYTE, ...WHOLE });
    }
    for (const outcome of await Promise.all(sent)) assert.deepEqual(outcome, { receivedBytes: 0, ...WHOLE });
  });
}

/** One connection as both ends play it; the backend's script travels in the CONNECT. */
interface Life {
  clientId: string;
  client: Script;
  backend: Script;
}

function live(balancer: Balancer, life: Life): Promise<Outcome> {
  const socket = balancer.connect();
  socket.write(connectOf(life));
  return play(socket, life.client, CONNACK);
}

function connectOf({ clientId, backend }: Life): Buffer {
  return connectPacket({ clientId, username: JSON.stringify(backend) });
}

function steadily(sendBytes: number, sendSeed: number, receiveSeed: number): Script {
  const pauses = { pauseChance: 0, pauseMsMax: 0 };
  return { seed: 1, sendBytes, sendSeed, receiveSeed, chunkBytesMax: 2 ** 19, ...pauses, ending: 'finish' };
}

function randomLife(seed: number): Life {
  const random = new Random(seed);
  const resets = random.chance(0.2) ? random.pick(['client', 'backend']) : 'nobody';
  const script = (side: string, sendSeed: number, receiveSeed: number): Script => {
    // Most are quick; a few send so much to a reader so slow that every buffer on the way fills.
    const slow = random.chance(0.01);
    const sendBytes = slow ? 2 * MEBIBYTE : random.magnitude(1, 100_000);
    return {
      seed: random.word(),
      sendBytes,
      sendSeed,
      receiveSeed,
      chunkBytesMax: Math.max(Math.ceil(sendBytes / 6), random.magnitude(1, 65_536)),
      pauseChance: slow ? 0.5 : 0.2,
      pauseMsMax: 10,
      ending: side === resets ? 'reset' : 'finish',
    };
  };
  return {
    clientId: `life-${seed}`,
    client: script('client', seed, ~seed >>> 0),
    backend: script('backend', ~seed >>> 0, seed),
  };
}

function isOrderly({ client, backend }: Life): boolean {
  return client.ending === 'finish' && backend.ending === 'finish';
}

/** What arrived is what `other` sent, and all of it if neither side was to reset. */
function checkOutcome(where: string, outcome: Outcome, other: Script, orderly: boolean): void {
  if (orderly) assert.deepEqual(outcome, { receivedBytes: other.sendBytes, ...WHOLE }, where);
  else assert.ok(outcome.intact && outcome.receivedBytes <= other.sendBytes, where);
}

function checkBackend(life: Life, outcome: Outcome | null): void {
  const { clientId, client } = life;
  if (outcome !== null) checkOutcome(`${clientId} at the backend`, outcome, client, isOrderly(life));
  // A client that resets soon enough is never heard of by a backend.
  else assert.equal(client.ending, 'reset', `${clientId} never came to the backend`);
}

function checkByteCounts(life: Life, record: { bytes_from_client: number; bytes_to_client: number } | undefined): void {
  assert.equal(record?.bytes_from_client, connectOf(life).length + life.client.sendBytes, life.clientId);
  assert.equal(record?.bytes_to_client, CONNACK.length + life.backend.sendBytes, life.clientId);
}

/** Until the kernel has taken nothing more from any sender for a while. */
async function standstill(senders: readonly Socket[]): Promise<void> {
  for (let last = -1; ; ) {
    const now = senders.reduce((sum, sender) => sum + taken(sender), 0);
    if (now === last) return;
    last = now;
    await sleep(300);
  }
}

function taken(sender: Socket): number {
  return sender.bytesWritten - sender.writableLength;
}
