// Whoever may choose ClientIds and knows the brokers' names can work out who is served by which of them, and send all of
// its devices to one. Under a secret it can't: what was aimed without the key falls anywhere.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createTable, type Table } from '../src/core.ts';
import { hello, startBackend } from './tools/backends.ts';
import { startBalancer } from './tools/balancer.ts';
import { connectClient } from './tools/client.ts';
import { clientIdsOf } from './tools/client-ids.ts';
import { testEveryEngine } from './tools/engines.ts';

const MEMBERS = ['10.0.0.11:1883', '10.0.0.12:1883', '10.0.0.13:1883', '10.0.0.14:1883', '10.0.0.15:1883'];
const IDS = 10_000;

function tableUnder(secret?: string): Table {
  return createTable({ algorithm: 'rendezvous', members: MEMBERS.map((name) => ({ name })), secret });
}

/** As an attacker finds them, with this very program: all of them come to the first member. */
function aimedIds(secret?: string): string[] {
  const table = tableUnder(secret);
  const ids: string[] = [];
  for (let number = 0; ids.length < IDS; number++) {
    const id = `device-${number}`;
    if (table.lookup(id) === MEMBERS[0]) ids.push(id);
  }
  return ids;
}

/** Of each member. */
function countsOf(table: Table, ids: readonly string[]): number[] {
  const counts = new Map(MEMBERS.map((name) => [name, 0]));
  for (const id of ids) {
    const name = table.lookup(id)!;
    counts.set(name, counts.get(name)! + 1);
  }
  return [...counts.values()];
}

/**
 * Chi-square, with four degrees of freedom; it is 40,000 where all meet. The table's rows are no more even than that
 * either.
 */
function assertSpread(table: Table, ids: readonly string[]): void {
  const counts = countsOf(table, ids);
  const expected = ids.length / MEMBERS.length;
  const chiSquare = counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
  assert.ok(chiSquare < 40, `${counts}: ${chiSquare}`);
}

describe('ClientIds that were aimed at one backend', () => {
  const ids = aimedIds();

  test('all meet there without a secret', () => {
    assert.deepEqual(countsOf(tableUnder(), ids), [IDS, 0, 0, 0, 0]);
  });

  test('are spread evenly by a secret that the attacker doesn’t know', () => {
    for (const secret of ['one', 'another', 'x'.repeat(256)]) assertSpread(tableUnder(secret), ids);
  });

  test('are spread by a new secret when the old one is known', () => {
    assertSpread(tableUnder('this year’s'), aimedIds('last year’s'));
  });

  test('go where every instance with the same secret sends them', () => {
    const [one, other] = [tableUnder('shared'), tableUnder('shared')];
    assert.equal(one.digest(), other.digest());
    assert.ok(ids.every((id) => one.lookup(id) === other.lookup(id)));
  });
});

testEveryEngine('a secret keeps aimed clients from meeting at one broker', async (engine, context) => {
  const backends = await Promise.all([1, 2, 3].map(() => startBackend(context, hello)));
  const addresses = backends.map(({ address }) => address);
  const aimed = clientIdsOf(addresses[0]!, addresses, 60);
  const comeTo = async (balance: object): Promise<number[]> => {
    const before = backends.map(({ connections }) => connections);
    const balancer = await startBalancer(context, { engine, backends: addresses, pool: { balance } });
    for (const clientId of aimed) (await connectClient(balancer.port, { clientId })).socket.destroy();
    return backends.map(({ connections }, index) => connections - before[index]!);
  };
  assert.deepEqual(await comeTo({}), [60, 0, 0]);
  // Addresses differ from run to run, and with them the choice: fewer than six of sixty come to one by a chance of one
  // in 10^5.
  const spread = await comeTo({ secret: 'nobody outside knows' });
  assert.ok(
    spread.every((count) => count >= 6),
    String(spread),
  );
});
