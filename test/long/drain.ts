// Three real brokers, 2,000 sessions at one of them: it is drained at 200 a second under traffic, and a rebalance brings
// everybody back. Each device parses what it gets, and notices a packet that was cut off.
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import type { MoveDocument } from '../../src/admin/move-document.ts';
import { type Administered, startAdministered } from '../tools/administered.ts';
import { clientIdsOf } from '../tools/client-ids.ts';
import { Device } from '../tools/device.ts';
import { testEveryEngine } from '../tools/engines.ts';
import { type Mosquitto, startMosquitto } from '../tools/mosquitto.ts';
import { inParallel } from '../tools/parallel.ts';
import { waitFor } from '../tools/wait.ts';

const SESSIONS = 2000;
const OTHERS = 200;
const TALKERS = 200;
const RATE = 200;
const REBALANCE_RATE = 400;
const PAYLOAD_BYTES_MAX = 30_000;
const SHUTTING_DOWN = 0x8b;
const USE_ANOTHER_SERVER = 0x9c;

for (const reference of [undefined, 'b.example:1883']) {
  const told = reference === undefined ? 'to come again' : 'where to go';
  testEveryEngine(`a drain and a rebalance keep their pace and cut no packet; clients are told ${told}`, (engine, t) =>
    drainAndRebalance(engine, t, reference),
  );
}

async function drainAndRebalance(
  engine: 'uring' | 'portable',
  context: TestContext,
  reference: string | undefined,
): Promise<void> {
  // Before the balancer stops: whoever it closes would come again.
  const leave: (() => void)[] = [];
  context.after(() => {
    for (const one of leave) one();
  });
  const brokers = await startBrokers(context);
  if (brokers === undefined) return;
  const addresses = brokers.map(({ address }) => address);
  const balancer = await startAdministered(context, {
    engine,
    backends: addresses,
    connectionsMax: 4096,
    pool: { drain: reference === undefined ? {} : { server_reference: reference } },
  });
  const victim = addresses[0]!;
  const mine = devicesOf(balancer, clientIdsOf(victim, addresses, SESSIONS));
  const others = devicesOf(balancer, [
    ...clientIdsOf(addresses[1]!, addresses, OTHERS),
    ...clientIdsOf(addresses[2]!, addresses, OTHERS),
  ]);
  leave.push(() => {
    for (const device of [...mine, ...others]) {
      device.onLoss = () => {};
      device.destroy();
    }
  });
  await inParallel(16, [...mine, ...others], async (device) => void (await device.connect()));
  assert.equal(activeAt(balancer, victim), SESSIONS);
  const { closedMs, untilBack } = followMoves(mine);
  const talk = await startTalk(mine.slice(0, TALKERS));
  leave.push(talk.stop);

  const drainedMs = await run(balancer, `/backends/${encodeURIComponent(victim)}/drain`, RATE);
  assert.equal(closedMs.length, SESSIONS);
  report(context, `drain at ${RATE}/s`, closedMs, drainedMs, talk.sent());
  assertPace(closedMs, RATE);
  await untilBack();
  assert.equal(activeAt(balancer, victim), 0, 'none returns');
  for (const { farewells, options } of mine) {
    const code = reference === undefined ? SHUTTING_DOWN : USE_ANOTHER_SERVER;
    assert.deepEqual(farewells, options.version === 5 ? [{ code, serverReference: reference }] : []);
  }

  await balancer.setState(victim, 'up');
  closedMs.length = 0;
  const movedMs = await run(balancer, '/rebalance', REBALANCE_RATE);
  await untilBack();
  report(context, `rebalance at ${REBALANCE_RATE}/s`, closedMs, movedMs, talk.sent());
  assert.equal(closedMs.length, SESSIONS);
  assert.equal(activeAt(balancer, victim), SESSIONS, 'exactly the owners are back');
  assert.ok(mine.every(({ losses }) => losses === 2));
  assert.ok(
    others.every(({ losses }) => losses === 0),
    'no other connection moved',
  );
}

async function startBrokers(context: TestContext): Promise<Mosquitto[] | undefined> {
  const brokers: Mosquitto[] = [];
  for (let count = 0; count < 3; count++) {
    const broker = await startMosquitto(context);
    if (broker === undefined) return undefined;
    brokers.push(broker);
  }
  return brokers;
}

/** Every other one speaks MQTT 5.0. */
function devicesOf({ port }: Administered, clientIds: readonly string[]): Device[] {
  return clientIds.map((clientId, index) => {
    return new Device({ host: '127.0.0.1', port, clientId, version: index % 2 === 0 ? 5 : 4 });
  });
}

/** Whoever is moved comes again. `closedMs`: the times at which they were closed. */
function followMoves(devices: readonly Device[]): { closedMs: number[]; untilBack(): Promise<boolean> } {
  const closedMs: number[] = [];
  let away = 0;
  for (const device of devices) {
    device.onLoss = () => {
      closedMs.push(device.closedMs!);
      away += 1;
      void device.connect().then(() => {
        away -= 1;
      });
    };
  }
  return { closedMs, untilBack: () => waitFor('everybody', () => away === 0, 20_000) };
}

/** Messages of many lengths to themselves: most moves find a packet under way. Who was moved goes on where it came to. */
async function startTalk(talkers: readonly Device[]): Promise<{ sent(): number; stop(): void }> {
  await inParallel(16, talkers, (device) => device.subscribe(`talk/${device.options.clientId}`));
  let sent = 0;
  const timer = setInterval(() => {
    const device = talkers[sent % talkers.length]!;
    sent += 1;
    const payload = 'x'.repeat(1 + Math.floor(Math.random() * PAYLOAD_BYTES_MAX));
    if (device.isConnected) void device.publish(`talk/${device.options.clientId}`, payload);
  }, 2);
  return { sent: () => sent, stop: () => clearInterval(timer) };
}

/** Returns how long the move took. */
async function run(balancer: Administered, path: string, rate: number): Promise<number> {
  const beganMs = performance.now();
  const { status, text } = await balancer.send('POST', `/api/v1/pools/brokers${path}`, { rate });
  assert.equal(status, 202, text);
  const { id }: MoveDocument = JSON.parse(text);
  const ended = await waitFor(
    'end of the move',
    async () => {
      const moves: MoveDocument[] = JSON.parse((await balancer.ask('/api/v1/moves')).text).moves;
      return moves.find((move) => move.id === id && move.state !== 'running');
    },
    60_000,
  );
  assert.deepEqual([ended.state, ended.moved], ['done', SESSIONS]);
  return performance.now() - beganMs;
}

function assertPace(closedMs: readonly number[], rate: number): void {
  const seconds = (Math.max(...closedMs) - Math.min(...closedMs)) / 1000;
  const found = closedMs.length / seconds;
  assert.ok(Math.abs(found - rate) <= rate * 0.1, `${found.toFixed(1)}/s instead of ${rate}/s`);
}

function report(context: TestContext, what: string, closedMs: readonly number[], tookMs: number, sent: number): void {
  const first = Math.min(...closedMs);
  const bySecond: number[] = [];
  for (const ms of closedMs) {
    const second = Math.floor((ms - first) / 1000);
    bySecond[second] = (bySecond[second] ?? 0) + 1;
  }
  const took = `${(tookMs / 1000).toFixed(2)} s`;
  context.diagnostic(
    `${what}: ${closedMs.length} in ${took}, by second ${bySecond.join(' ')}; ${sent} messages so far`,
  );
}

function activeAt({ tidegate }: Administered, address: string): number {
  return tidegate.status().backends.find((backend) => backend.address === address)!.active;
}
