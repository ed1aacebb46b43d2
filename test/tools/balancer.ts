// Tidegate in this process before brokers of this process, for tests of what happens when either of them fails. All of
// it ends with the test whose context is given.
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFile, rm } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { parseConfig } from '../../src/config.ts';
import { bind, close, decodeSockaddr, encodeSockaddr, getsockname, listen, socket } from '../../src/engine/libc.ts';
import { AF_INET } from '../../src/engine/sockaddr.ts';
import { type EngineName, type Logger, start, type Tidegate } from '../../src/index.ts';
import { type ConnectOptions, connackPacket, connectPacket, firstPacket } from './packets.ts';

export interface Balancer {
  tidegate: Tidegate;
  port: number;
  /** What the operational log said so far. */
  messages: string[];
  accessLog(): Promise<Record<string, unknown>[]>;
}

/** `settings` are the configuration's own keys; the listener is given one port of its own, 127.0.0.1. */
export async function startBalancer(
  context: TestContext,
  engine: EngineName,
  pool: object,
  settings: object = {},
): Promise<Balancer> {
  const path = join(tmpdir(), `tidegate-${process.pid}-${randomBytes(4).toString('hex')}.log`);
  const config = {
    engine,
    workers: 1,
    connections_max: 256,
    listeners: [{ name: 'mqtt', bind: '127.0.0.1:0' }],
    pools: { brokers: pool },
    access_log: { path, format: 'json' },
    ...settings,
  };
  const messages: string[] = [];
  const note = (_fields: object, message: string) => void messages.push(message);
  const log: Logger = { info: note, warn: note, error: note };
  const tidegate = await start(parseConfig(JSON.stringify(config), 'test.yaml'), { log });
  context.after(async () => {
    await tidegate.stop({ now: true });
    await rm(path, { force: true });
  });
  return {
    tidegate,
    port: tidegate.listeners[0]!.port,
    messages,
    accessLog: async () =>
      (await readFile(path, 'utf8'))
        .split('\n')
        .slice(0, -1)
        .map((line) => JSON.parse(line)),
  };
}

export interface Broker {
  /** host:port */
  address: string;
  /** Accepted so far. */
  connections: number;
  /** As when its machine goes: every connection is reset, new ones are refused. */
  stop(): Promise<void>;
}

/** Accepts every CONNECT and sends back whatever follows. */
export async function startBroker(context: TestContext, port = 0): Promise<Broker> {
  const sockets = new Set<Socket>();
  const broker = { address: '', connections: 0, stop: () => stop(server, sockets) };
  context.after(broker.stop);
  const server = createServer({ noDelay: true }, (socket) => {
    broker.connections++;
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
    void greet(socket);
  });
  await once(server.listen({ port, host: '127.0.0.1' }), 'listening');
  broker.address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return broker;
}

async function greet(socket: Socket): Promise<void> {
  const packet = await firstPacket(socket);
  if (packet === undefined) return;
  // The protocol's name begins at 4 and has its length before it; the level follows.
  socket.write(connackPacket(packet[4 + packet[3]!]!));
  socket.pipe(socket);
}

async function stop(server: Server, sockets: Set<Socket>): Promise<void> {
  if (!server.listening) return;
  server.close();
  for (const socket of sockets) socket.resetAndDestroy();
  await once(server, 'close');
}

/** A port that is taken but that nobody listens on: connects are refused. `free` lets somebody else have it. */
export function refusingBackend(context: TestContext): { address: string; free(): void } {
  const fd = socket(AF_INET);
  bind(fd, encodeSockaddr('127.0.0.1', 0));
  const { port } = decodeSockaddr(getsockname(fd));
  let taken = true;
  const free = () => {
    if (taken) close(fd);
    taken = false;
  };
  context.after(free);
  return { address: `127.0.0.1:${port}`, free };
}

/** Listens with a queue that is full: connects neither succeed nor fail. */
export async function hangingBackend(context: TestContext): Promise<{ address: string }> {
  const fd = socket(AF_INET);
  bind(fd, encodeSockaddr('127.0.0.1', 0));
  listen(fd, 0);
  const { port } = decodeSockaddr(getsockname(fd));
  const fillers = Array.from({ length: 3 }, () => connect({ port, host: '127.0.0.1' }).on('error', () => {}));
  await once(fillers[0]!, 'connect');
  context.after(() => {
    for (const filler of fillers) filler.destroy();
    close(fd);
  });
  return { address: `127.0.0.1:${port}` };
}

export interface Client {
  socket: Socket;
  /** What came first: the CONNACK, or nothing when the connection was closed without a word. */
  connack: Buffer;
  /** From connect to that. */
  tookMs: number;
}

/** Connects as a device. Nothing is read afterwards until somebody listens. */
export async function connectClient(port: number, options: ConnectOptions = {}): Promise<Client> {
  const beganMs = performance.now();
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  socket.on('error', () => {});
  socket.write(connectPacket(options));
  const connack = await nextBytes(socket);
  return { socket, connack, tookMs: performance.now() - beganMs };
}

/** Sends and waits for the same to come back; false when the connection ends instead. */
export async function echoes({ socket }: Client, text = 'ping'): Promise<boolean> {
  if (!socket.destroyed) socket.write(text);
  return (await nextBytes(socket)).toString() === text;
}

/** Empty when the connection ends instead. */
export function nextBytes(socket: Socket): Promise<Buffer> {
  return new Promise((resolve) => {
    if (socket.destroyed || socket.readableEnded) return resolve(Buffer.alloc(0));
    const settle = (bytes: Buffer = Buffer.alloc(0)) => {
      socket.pause();
      socket.off('data', settle).off('end', onEnd).off('close', onEnd);
      resolve(bytes);
    };
    const onEnd = () => settle();
    socket.on('data', settle).on('end', onEnd).on('close', onEnd).resume();
  });
}
