// Whether somebody is told that a table is full, and not every half second.
import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { describe, test } from 'node:test';
import { FullnessWatch } from '../src/control/fullness.ts';
import { hello, startBackend } from './tools/backends.ts';
import { type Balancer, startBalancer } from './tools/balancer.ts';
import { testEveryEngine } from './tools/engines.ts';
import { connectPacket, firstPacket } from './tools/packets.ts';
import { waitFor } from './tools/wait.ts';

const MINUTE_MS = 60_000;
const ROOM = { isFull: false, turnedAway: 0 };
const FULL = { isFull: true, turnedAway: 0 };

describe('the watch over a full table', () => {
  test('speaks when the table becomes full, and not while it stays so', () => {
    const watch = new FullnessWatch();
    assert.equal(watch.observe(0, ROOM), false);
    assert.equal(watch.observe(500, FULL), true);
    assert.equal(watch.observe(1000, FULL), false);
    assert.equal(watch.observe(10 * MINUTE_MS, FULL), false);
  });

  test('speaks of a table that was full between two looks, as those who were sent away show', () => {
    const watch = new FullnessWatch();
    assert.equal(watch.observe(0, ROOM), false);
    assert.equal(watch.observe(500, { isFull: false, turnedAway: 3 }), true);
  });

  test('speaks of a table that is full and not full by turns once a minute', () => {
    const watch = new FullnessWatch();
    const spokenMs: number[] = [];
    for (let nowMs = 0; nowMs <= 2 * MINUTE_MS; nowMs += 500) {
      if (watch.observe(nowMs, nowMs % 1000 === 0 ? FULL : ROOM)) spokenMs.push(nowMs);
    }
    assert.deepEqual(spokenMs, [0, MINUTE_MS, 2 * MINUTE_MS]);
  });

  test('does not take a worker that began anew, and counts from 0, for one that is full', () => {
    const watch = new FullnessWatch();
    assert.equal(watch.observe(0, { isFull: false, turnedAway: 100 }), true);
    assert.equal(watch.observe(2 * MINUTE_MS, ROOM), false);
    assert.equal(watch.observe(3 * MINUTE_MS, ROOM), false);
    assert.equal(watch.observe(4 * MINUTE_MS, { isFull: false, turnedAway: 1 }), true);
  });
});

testEveryEngine('a full table is named in the log, with its bound and what happens now', async (engine, context) => {
  const backend = await startBackend(context, hello);
  const balancer = await startBalancer(context, { engine, backends: [backend.address], connectionsMax: 4 });
  // The uring engine keeps a place for the accept that waits until a client takes it.
  const clients = await Promise.all([open(balancer), open(balancer), open(balancer), open(balancer)]);
  context.after(() => {
    for (const client of clients) client.destroy();
  });
  const line = await waitFor('line about it', () => balancer.messages.find((message) => message.startsWith('full: ')));
  assert.match(line, /^full: 4 of 4 connections in worker 0, bounded by connections_max; raise connections_max; \w/);
});

async function open(balancer: Balancer): Promise<Socket> {
  const client = balancer.connect();
  client.on('error', () => {});
  client.write(connectPacket());
  await firstPacket(client);
  return client;
}
