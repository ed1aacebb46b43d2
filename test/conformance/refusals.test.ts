// Clients that don't begin with a CONNECT, or not in time: each is told so in its own words, and forgotten.

import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import type { EngineName } from '../../src/index.ts';
import { refusingBackend } from '../tools/backends.ts';
import { type Balancer, startBalancer } from '../tools/balancer.ts';
import {
  type Beginning,
  CONNECT_MAX_BYTES,
  leavingBeginnings,
  refusedBeginnings,
  waitingBeginnings,
} from '../tools/beginnings.ts';
import { testEveryEngine } from '../tools/engines.ts';
import { exchange } from '../tools/exchange.ts';
import { assertNothingLeaked, assertResident, holdings } from '../tools/leaks.ts';
import { offend } from '../tools/offender.ts';
import { PATIENCE_MS } from '../tools/patience.ts';
import { reset } from '../tools/reset.ts';

const CONNECT_TIMEOUT_MS = 400;
/** Where 200 begin at once on a machine that is busy, the quick ones must not be taken for those that wait. */
const PATIENT_TIMEOUT_MS = 3000;
const OFFENCES = 100_000;

testEveryEngine('gives every bad beginning its answer, its end and its reason', async (engine, context) => {
  const balancer = await startInBadWeather(context, engine);
  const beginnings = [...refusedBeginnings, ...leavingBeginnings, ...waitingBeginnings];
  for (const [index, beginning] of beginnings.entries()) {
    await checkBeginning(balancer, beginning);
    const record = (await balancer.records(index + 1))[index];
    assert.deepEqual([record?.reason, record?.status], [beginning.reason, 400], beginning.name);
    assert.equal(record?.backend, '', beginning.name);
  }
});

testEveryEngine('hears a refused client out, so that it can read its CONNACK', async (engine, context) => {
  const balancer = await startInBadWeather(context, engine);
  const { bytes, answer } = refusedBeginnings.find(({ name }) => name === 'level 9')!;
  const stubborn = Buffer.concat([bytes, Buffer.alloc(500_000, 'and so on ')]);
  assert.deepEqual(await exchange(balancer.connect(), [stubborn]), { bytes: answer, end: 'finish' });
});

testEveryEngine('holds nothing after 100,000 bad beginnings', async (engine, context) => {
  const balancer = await startInBadWeather(context, engine, PATIENT_TIMEOUT_MS);
  await offend(balancer.host, balancer.port, OFFENCES / 5); // the heaps find their size
  await balancer.idle();
  const before = await holdings(balancer);
  const { counters: counted } = balancer.tidegate.status();
  const expected = await offend(balancer.host, balancer.port, OFFENCES);
  await assertNothingLeaked(balancer, before);
  await assertResident(before, context);
  const { counters } = balancer.tidegate.status();
  for (const [reason, count] of Object.entries(expected))
    assert.equal(counters[reason]! - counted[reason]!, count, reason);
});

function startInBadWeather(
  context: TestContext,
  engine: EngineName,
  connectTimeoutMs = CONNECT_TIMEOUT_MS,
): Promise<Balancer> {
  const limits = {
    connectTimeout: `${connectTimeoutMs}ms`,
    connectMaxBytes: CONNECT_MAX_BYTES,
    connectionsMax: 1024,
  };
  return startBalancer(context, { engine, backends: [refusingBackend(context).address], ...limits });
}

async function checkBeginning(balancer: Balancer, { name, bytes, next, answer, end }: Beginning): Promise<void> {
  const began = performance.now();
  const client = balancer.connect();
  const ending = exchange(client, bytes.length === 0 ? [] : [bytes]);
  if (next === 'finish') client.end();
  if (next === 'reset') client.once('connect', () => setImmediate(() => reset(client)));
  const reply = await ending;
  assert.deepEqual(reply, { bytes: answer, end }, name);
  assert.ok(performance.now() - began < CONNECT_TIMEOUT_MS + PATIENCE_MS, `${name} took too long`);
}
