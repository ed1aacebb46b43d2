// A process with clients that do no harm: each sends itself a message, waits for it, and rests. Says "stands" when all
// are connected; asked anything, it tells how long the messages took since it was asked before.
import { readFileSync } from 'node:fs';
import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect as connectTls } from 'node:tls';
import { createWebSocketStream, WebSocket } from 'ws';
import { Device } from './device.ts';
import { inParallel } from './parallel.ts';

export interface GoodClientsOptions {
  /** One for each group of clients. */
  doors: { kind: 'tcp' | 'tls' | 'websocket'; port: number }[];
  /** Path of the CA of the TLS doors. */
  ca?: string;
  clientsPerDoor: number;
  pauseMs: number;
}

export interface Latencies {
  messages: number;
  p50Ms: number;
  p99Ms: number;
  slowestMs: number;
  /** Clients that were disconnected, ever. */
  losses: number;
  /** The longest that somebody waits now. */
  waitingMs: number;
}

const HOST = '127.0.0.1';
const options: GoodClientsOptions = JSON.parse(process.argv[2]!);
const ca = options.ca === undefined ? undefined : readFileSync(options.ca);
let taken: number[] = [];
const waiting = new Map<Device, number>();

process.on('disconnect', () => process.exit());
const devices = options.doors.flatMap(({ kind, port }, door) =>
  Array.from({ length: options.clientsPerDoor }, (_, index) => {
    const open = kind === 'tcp' ? undefined : kind === 'tls' ? () => openTls(port) : () => openWebSocket(port);
    const clientId = `good-${door}-${index}`;
    return new Device({ host: HOST, port, clientId, ...(open === undefined ? {} : { open }) });
  }),
);
await inParallel(16, devices, async (device) => {
  await device.connect();
  await device.subscribe(`to/${device.options.clientId}`);
});
for (const device of devices) void pingPong(device);
process.send!('stands');
process.on('message', () => {
  process.send!(latencies());
  taken = [];
});

function openTls(port: number): Duplex {
  const socket = connectTls({ host: HOST, port, ca, servername: 'localhost', ALPNProtocols: ['mqtt'] });
  return socket.setNoDelay();
}

function openWebSocket(port: number): Duplex {
  return createWebSocketStream(new WebSocket(`ws://${HOST}:${port}/mqtt`, ['mqtt']));
}

async function pingPong(device: Device): Promise<void> {
  await sleep(Math.random() * options.pauseMs);
  let arrived = () => {};
  device.onMessage = () => arrived();
  for (let count = 0; ; count++) {
    const beganMs = performance.now();
    waiting.set(device, beganMs);
    const isThere = new Promise<void>((resolve) => {
      arrived = resolve;
    });
    void device.publish(`to/${device.options.clientId}`, `${count}`);
    await isThere;
    taken.push(performance.now() - beganMs);
    waiting.delete(device);
    await sleep(options.pauseMs);
  }
}

function latencies(): Latencies {
  const sorted = taken.toSorted((one, other) => one - other);
  const at = (part: number) => sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? 0;
  const nowMs = performance.now();
  return {
    messages: sorted.length,
    p50Ms: at(0.5),
    p99Ms: at(0.99),
    slowestMs: at(1),
    losses: devices.reduce((sum, { losses }) => sum + losses, 0),
    waitingMs: [...waiting.values()].reduce((longest, beganMs) => Math.max(longest, nowMs - beganMs), 0),
  };
}
