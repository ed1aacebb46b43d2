// What happens when the ports between a source and a backend run out: provoked for real, with eight of them.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { Socket } from 'node:net';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { SOURCE_REST_MS } from '../../assembly/layout.ts';
import { boundSocket, encodeSockaddr } from '../../src/system/libc.ts';
import { type Backend, echo, startBackend } from '../tools/backends.ts';
import { type Balancer, type BalancerOptions, startBalancer } from '../tools/balancer.ts';
import { nextBytes } from '../tools/client.ts';
import { testEveryEngine } from '../tools/engines.ts';
import { testWithFewPorts } from '../tools/namespace.ts';
import { type ConnectOptions, connackPacket, connectPacket, refusalPacket } from '../tools/packets.ts';
import { reset } from '../tools/reset.ts';
import { waitFor } from '../tools/wait.ts';

const RANGE = '40000 40007';
const PORTS = 8;
/** Outside of the range: a listener in it would take its port from everybody. */
const BALANCER_PORT = 20000;
const BACKEND_PORT_FIRST = 20001;
const [ONE, OTHER] = ['127.0.0.11', '127.0.0.12'] as const;
const SERVER_UNAVAILABLE = 3;
const QUOTA_EXCEEDED = 0x97;
const ACCEPTED = connackPacket(4);

let addresses = 0;
let backendPorts = BACKEND_PORT_FIRST;

/** From an address of its own, so that clients don't share the few ports. */
async function connectClient(options: ConnectOptions = {}): Promise<{ socket: Socket; connack: Buffer }> {
  addresses++;
  const socket = connectFrom(`127.0.${100 + (addresses >> 8)}.${addresses & 255}`, BALANCER_PORT);
  socket.write(connectPacket(options));
  return { socket, connack: await nextBytes(socket) };
}

function connectFrom(source: string, port: number): Socket {
  const socket = new Socket({ fd: boundSocket(encodeSockaddr(source, 0)) });
  socket.on('error', () => {});
  return socket.connect({ host: '127.0.0.1', port });
}

/** Takes every port between a source and a backend. */
async function takePorts(context: TestContext, source: string, { address }: Backend): Promise<void> {
  const port = portOf(address);
  const sockets = Array.from({ length: PORTS }, () => connectFrom(source, port));
  context.after(() => {
    for (const socket of sockets) reset(socket);
  });
  await Promise.all(sockets.map((socket) => once(socket, 'connect')));
}

async function connectMany(context: TestContext, count: number): Promise<void> {
  for (let index = 0; index < count; index++) {
    const { socket, connack } = await connectClient();
    context.after(() => reset(socket));
    assert.deepEqual(connack, ACCEPTED, `client ${index}`);
  }
}

function portOf(address: string): number {
  return Number(address.split(':')[1]);
}

/** Each time on other ports: to those of the test before, some connections may still linger in TIME_WAIT. */
async function start(context: TestContext, options: Omit<BalancerOptions, 'backends'>, backendCount = 1) {
  const backends: Backend[] = [];
  for (let index = 0; index < backendCount; index++) {
    backends.push(await startBackend(context, echo, { port: backendPorts++ }));
  }
  const balancer = await startBalancer(context, {
    bind: `127.0.0.1:${BALANCER_PORT}`,
    method: 'round_robin',
    backends: backends.map(({ address }) => ({ address, max_fails: 1 })),
    ...options,
  });
  return { balancer, backends };
}

const announcements = ({ messages }: Balancer) => messages.filter((message) => message.startsWith('ports exhausted'));

function assertBlameless(balancer: Balancer): void {
  for (const { health, failures } of balancer.tidegate.status().backends) {
    assert.deepEqual([health, failures], ['up', 0], 'it is no fault of the backend’s');
  }
}

testWithFewPorts(import.meta.filename, RANGE, () => {
  testEveryEngine('a source has as many ports for each backend as the system has', async (engine, context) => {
    const { balancer } = await start(context, { engine, sourceAddresses: [ONE] }, 2);
    await connectMany(context, 2 * PORTS);
    const { backends } = balancer.tidegate.status();
    assert.deepEqual(
      backends.map(({ sources }) => sources),
      [0, 1].map(() => [{ address: ONE, active: PORTS, free: 0, exhausted: 0 }]),
    );
  });

  testEveryEngine('with no port left a client is told so, and so is the log', async (engine, context) => {
    const { balancer, backends } = await start(context, { engine, sourceAddresses: [ONE, OTHER] });
    await connectMany(context, 2 * PORTS);
    const [three, five] = [await connectClient({ version: 4 }), await connectClient({ version: 5 })];
    assert.deepEqual(three.connack, refusalPacket(4, SERVER_UNAVAILABLE));
    assert.deepEqual(five.connack, refusalPacket(5, QUOTA_EXCEEDED));
    for (const record of await balancer.records(2)) {
      assert.deepEqual([record.reason, record.status, record.backend], ['ports_exhausted', 503, '']);
    }
    assertBlameless(balancer);
    const { counters, backends: statuses } = balancer.tidegate.status();
    assert.equal(counters.ports_exhausted, 2);
    for (const { active, free, exhausted } of statuses[0]!.sources) {
      assert.deepEqual([active, free, exhausted > 0], [PORTS, 0, true]);
    }
    await waitFor('line of the log for each source', () => announcements(balancer).length === 2);
    assert.equal(
      announcements(balancer)[0],
      `ports exhausted: pool brokers has none left from ${ONE} to backend ${backends[0]!.address} ` +
        '(8 connections open, 8 ports in net.ipv4.ip_local_port_range); ' +
        'add source_addresses to the pool or widen the range; new clients go to the next backend, or are refused',
    );
    await backends[0]!.stop(); // which resets the connections and frees their ports
    await startBackend(context, echo, { port: portOf(backends[0]!.address) });
    await sleep(SOURCE_REST_MS + 200);
    await connectMany(context, PORTS);
    assert.equal(announcements(balancer).length, 2, 'said once');
  });

  testEveryEngine('a source with no port left is replaced by another', async (engine, context) => {
    const { balancer, backends } = await start(context, { engine, sourceAddresses: [ONE, OTHER] });
    await takePorts(context, ONE, backends[0]!);
    await connectMany(context, PORTS);
    assertBlameless(balancer);
    const [one, other] = balancer.tidegate.status().backends[0]!.sources;
    assert.deepEqual([one!.active, other!.active, other!.exhausted], [0, PORTS, 0]);
    assert.ok(one!.exhausted > 0);
    await waitFor('line of the log', () => announcements(balancer).length === 1);
    assert.match(
      announcements(balancer)[0]!,
      /from 127\.0\.0\.11 .*; most are held by others .*; its other source is still used$/,
    );
  });

  testEveryEngine('with no source left the next candidate has the client', async (engine, context) => {
    const { balancer, backends } = await start(context, { engine, sourceAddresses: [ONE, OTHER] }, 2);
    for (const source of [ONE, OTHER]) await takePorts(context, source, backends[0]!);
    await connectMany(context, PORTS);
    assertBlameless(balancer);
    assert.equal(backends[1]!.connections, PORTS);
  });

  testEveryEngine('a source that the machine loses is replaced, and the log says which', async (engine, context) => {
    const lost = '10.99.0.1';
    const setAddress = (action: 'add' | 'delete') => execFileSync('ip', ['address', action, `${lost}/32`, 'dev', 'lo']);
    setAddress('add');
    const { balancer } = await start(context, { engine, sourceAddresses: [lost, OTHER] });
    setAddress('delete');
    await connectMany(context, PORTS);
    assertBlameless(balancer);
    const message = await waitFor('line of the log', () => balancer.messages.find((each) => each.includes(lost)));
    assert.match(
      message,
      /^cannot connect from 10\.99\.0\.1 \(source_addresses of pool brokers\): this machine has no/,
    );
  });

  testEveryEngine('without source_addresses the ports are watched too', async (engine, context) => {
    const { balancer } = await start(context, { engine });
    await connectMany(context, PORTS);
    const { connack } = await connectClient({ version: 5 });
    assert.deepEqual(connack, refusalPacket(5, QUOTA_EXCEEDED));
    assertBlameless(balancer);
    assert.deepEqual(balancer.tidegate.status().backends[0]!.sources, [
      { address: null, active: PORTS, free: 0, exhausted: 1 },
    ]);
    await waitFor('line of the log', () => announcements(balancer).length === 1);
    assert.match(announcements(balancer)[0]!, /has none left from the address that the system chooses to backend/);
  });
});
