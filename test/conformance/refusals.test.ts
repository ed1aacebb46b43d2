// Clients that don't begin with a CONNECT, or not in time: each is told so in its own words, and forgotten.
import assert from 'node:assert/strict';
import {
  type Beginning,
  CONNECT_MAX_BYTES,
  leavingBeginnings,
  refusedBeginnings,
  waitingBeginnings,
} from '../tools/beginnings.ts';
import { exchange } from '../tools/exchange.ts';
import { type Gate, testEveryEngine, withGate } from '../tools/gate.ts';
import { assertNothingLeaked, assertResident, holdings } from '../tools/leaks.ts';
import { offend } from '../tools/offender.ts';
import { refusedAddress } from '../tools/servers.ts';

const CONNECT_TIMEOUT_MS = 400;
const OFFENCES = 100_000;

testEveryEngine('gives every bad beginning its answer, its end and its reason', async (engine) => {
  await withBadWeather(engine, async (gate) => {
    const beginnings = [...refusedBeginnings, ...leavingBeginnings, ...waitingBeginnings];
    for (const [index, beginning] of beginnings.entries()) {
      await checkBeginning(gate, beginning);
      const record = (await gate.records(index + 1))[index];
      assert.deepEqual([record?.reason, record?.status], [beginning.reason, 400], beginning.name);
      assert.equal(record?.backend, '', beginning.name);
    }
  });
});

testEveryEngine('hears a refused client out, so that it can read its CONNACK', async (engine) => {
  await withBadWeather(engine, async (gate) => {
    const { bytes, answer } = refusedBeginnings.find(({ name }) => name === 'level 9')!;
    const stubborn = Buffer.concat([bytes, Buffer.alloc(500_000, 'and so on ')]);
    assert.deepEqual(await exchange(gate.connect(), [stubborn]), { bytes: answer, end: 'finish' });
  });
});

testEveryEngine('holds nothing after 100,000 bad beginnings', async (engine, context) => {
  await withBadWeather(engine, async (gate) => {
    await offend(gate.host, gate.port, OFFENCES / 5); // the heaps find their size
    await gate.idle();
    const before = await holdings(gate);
    const { counters: counted } = gate.tidegate.status();
    const expected = await offend(gate.host, gate.port, OFFENCES);
    await assertNothingLeaked(gate, before);
    await assertResident(before, context);
    const { counters } = gate.tidegate.status();
    for (const [reason, count] of Object.entries(expected))
      assert.equal(counters[reason]! - counted[reason]!, count, reason);
  });
});

async function withBadWeather(engine: Gate['tidegate']['engine'], use: (gate: Gate) => Promise<void>): Promise<void> {
  const limits = {
    connectTimeout: `${CONNECT_TIMEOUT_MS}ms`,
    connectMaxBytes: CONNECT_MAX_BYTES,
    connectionsMax: 1024,
  };
  await withGate({ engine, backends: [await refusedAddress()], ...limits }, use);
}

async function checkBeginning(gate: Gate, { name, bytes, next, answer }: Beginning): Promise<void> {
  const began = performance.now();
  const client = gate.connect();
  const ending = exchange(client, bytes.length === 0 ? [] : [bytes]);
  if (next === 'finish') client.end();
  if (next === 'reset') client.once('connect', () => setImmediate(() => client.resetAndDestroy()));
  const reply = await ending;
  assert.deepEqual(reply.bytes, answer, name);
  assert.ok(performance.now() - began < CONNECT_TIMEOUT_MS + 1000, `${name} took too long`);
}
