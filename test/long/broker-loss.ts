// Three real brokers, 2,000 sessions: one broker dies, hangs, and comes back. Times are printed; what is asserted of them
// is ten times as long as what they are on a machine with nothing else to do.
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseConfig } from '../../src/config.ts';
import { tableOf } from '../../src/pool-table.ts';
import { type Balancer, healthOf, startBalancer, untilHealth } from '../tools/balancer.ts';
import { Device } from '../tools/device.ts';
import { testEveryEngine } from '../tools/engines.ts';
import { type Mosquitto, startMosquitto } from '../tools/mosquitto.ts';
import { inParallel } from '../tools/parallel.ts';
import { PATIENCE_MS } from '../tools/patience.ts';
import { waitFor } from '../tools/wait.ts';

const SESSIONS = 2000;
const FLOWS = 60;
const INTERVAL_MS = 1000;
const TIMEOUT_MS = 500;

interface Scene {
  balancer: Balancer;
  brokers: Mosquitto[];
  devices: Device[];
  /** Addresses of the brokers that the key goes to, best first. */
  order(device: Device): string[];
}

testEveryEngine(
  'survives a broker that is killed, and gives it back its clients by and by',
  async (engine, context) => {
    const scene = await open(engine, context);
    if (scene === undefined) return;
    const { balancer, brokers, devices, order } = scene;
    const victim = brokers[0]!;
    const orphans = devices.filter((device) => order(device)[0] === victim.address);
    const others = devices.filter((device) => !orphans.includes(device));
    const flows = startFlows(others.slice(0, FLOWS));
    await sleep(500);

    const killedMs = performance.now();
    await victim.kill();
    await waitFor('end of every orphan', () => orphans.every(({ isConnected }) => !isConnected));
    const closedMs = orphans.map(({ closedMs }) => closedMs! - killedMs);
    context.diagnostic(`${orphans.length} orphans closed: the last after ${max(closedMs).toFixed(1)} ms`);

    const firstMs = await orphans[0]!.connect();
    const connectMs: number[] = [];
    await inParallel(8, orphans.slice(1), async (orphan) => void connectMs.push(await orphan.connect()));
    context.diagnostic(
      `connected again at the next candidate: the first in ${firstMs.toFixed(1)} ms, then ${quantiles(connectMs)}`,
    );
    assertWhere(scene, orphans, (device) => order(device)[1]!);

    await victim.restart();
    await untilHealth(balancer, victim.address, 'up');
    const shares = await watchReturn(scene, orphans, victim);
    context.diagnostic(`back at the returned broker, by tenths of its slow start: ${shares.map(percent).join(' ')}`);
    assert.ok(shares[0]! < 0.5 && shares.at(-1) === 1, 'it starts slowly, and gets all in the end');

    await flows.stop();
    context.diagnostic(`${flows.sent()} messages of QoS 1 at the other brokers: none lost, none twice, all in order`);
    assert.deepEqual(
      others.filter(({ losses }) => losses > 0),
      [],
    );
  },
);

testEveryEngine('finds a broker that hangs within interval and timeout', async (engine, context) => {
  const scene = await open(engine, context);
  if (scene === undefined) return;
  const { balancer, brokers, devices, order } = scene;
  const victim = brokers[1]!;
  const mine = devices.filter((device) => order(device)[0] === victim.address);
  const others = devices.filter((device) => !mine.includes(device));
  const flows = startFlows(others.slice(0, FLOWS));

  const frozenMs = performance.now();
  victim.freeze();
  context.after(() => victim.thaw());
  await waitFor('health other than up', () => healthOf(balancer, victim.address) !== 'up');
  const foundMs = performance.now() - frozenMs;
  context.diagnostic(`found after ${foundMs.toFixed(0)} ms, of ${INTERVAL_MS} + ${TIMEOUT_MS} allowed`);
  assert.ok(foundMs < INTERVAL_MS + TIMEOUT_MS + PATIENCE_MS);

  // Whoever gives up by itself and comes again is served elsewhere.
  for (const device of mine.slice(0, 100)) {
    device.destroy();
    await device.connect();
  }
  assertWhere(scene, mine.slice(0, 100), (device) => order(device)[1]!);

  victim.thaw();
  await untilHealth(balancer, victim.address, 'up');
  await flows.stop();
  assert.deepEqual(
    others.filter(({ losses }) => losses > 0),
    [],
  );
});

async function open(engine: 'uring' | 'portable', context: TestContext): Promise<Scene | undefined> {
  const brokers: Mosquitto[] = [];
  for (let count = 0; count < 3; count++) {
    const broker = await startMosquitto(context);
    if (broker === undefined) return undefined;
    brokers.push(broker);
  }
  const backends = brokers.map(({ address }) => address);
  const health = { type: 'mqtt', interval: `${INTERVAL_MS}ms`, timeout: `${TIMEOUT_MS}ms`, rise: 2, fall: 2 };
  const balancer = await startBalancer(context, {
    engine,
    backends: backends.map((address) => ({ address })),
    health,
    slowStart: '5s',
    connectionsMax: 4096,
    mayDie: false,
  });
  const config = parseConfig(
    JSON.stringify({ listeners: [{ bind: '127.0.0.1:1' }], pools: { brokers: { backends } } }),
    'order.yaml',
  );
  const table = tableOf(config.pools[0]!);
  const { host, port } = balancer;
  const devices = Array.from({ length: SESSIONS }, (_, index) => {
    return new Device({ host, port, clientId: `device-${index}`, version: index % 2 === 0 ? 4 : 5 });
  });
  context.after(() => {
    for (const device of devices) device.destroy();
  });
  await inParallel(20, devices, async (device) => {
    await device.connect();
    await device.subscribe(`to/${device.options.clientId}`);
  });
  return { balancer, brokers, devices, order: ({ options }) => table.order(options.clientId) };
}

/** Each device sends itself numbers, as fast as they are acknowledged but for a pause, and checks what comes. */
function startFlows(devices: readonly Device[]): { stop(): Promise<void>; sent(): number } {
  let running = true;
  let sent = 0;
  const flows = devices.map(async (device) => {
    const { clientId } = device.options;
    let expected = 0;
    let count = 0;
    device.onMessage = (payload) => {
      assert.equal(payload, `${expected}`, `${clientId} expected message ${expected}`);
      expected += 1;
    };
    while (running) {
      await device.publish(`to/${clientId}`, `${count}`);
      count += 1;
      await sleep(10);
    }
    sent += count;
    await waitFor(`message ${count} of ${clientId}`, () => expected === count);
  });
  const stop = async () => {
    running = false;
    await Promise.all(flows);
  };
  return { stop, sent: () => sent };
}

/** The part of the keys that go to the returned broker, in each tenth of its slow start. */
async function watchReturn({ balancer }: Scene, orphans: readonly Device[], victim: Mosquitto): Promise<number[]> {
  const shares: number[] = [];
  const begunMs = performance.now();
  const sample = orphans.slice(0, 200);
  for (let tenth = 0; tenth < 11; tenth++) {
    await sleep(Math.max(0, begunMs + tenth * 500 - performance.now()));
    const before = activeOf(balancer, victim.address);
    await inParallel(8, sample, async (device) => {
      device.destroy();
      await device.connect();
    });
    await waitFor('end of the replaced connections', () => balancer.tidegate.status().connections === SESSIONS);
    shares.push(activeOf(balancer, victim.address) / sample.length);
    assert.ok(shares.at(-1)! * sample.length >= before, 'no key is sent away again');
  }
  return shares;
}

function activeOf({ tidegate }: Balancer, address: string): number {
  return tidegate.status().backends.find((backend) => backend.address === address)!.active;
}

/** Asks the brokers' own logs. */
function assertWhere({ brokers }: Scene, devices: readonly Device[], expected: (device: Device) => string): void {
  const seen = new Map(brokers.map(({ address, log }) => [address, log().join('\n')]));
  for (const device of devices) {
    const { clientId } = device.options;
    const log = seen.get(expected(device))!;
    assert.match(log, new RegExp(`as ${clientId} \\(`), `${clientId} is at ${expected(device)}`);
  }
}

function max(values: readonly number[]): number {
  return values.reduce((largest, value) => Math.max(largest, value), 0);
}

function quantiles(values: number[]): string {
  const sorted = values.toSorted((one, other) => one - other);
  const at = (part: number) => sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))]!.toFixed(1);
  return `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, the slowest ${at(1)} ms`;
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}
