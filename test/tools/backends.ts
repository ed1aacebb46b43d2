// Small backends in the test's own process, one behaviour each, closed when the test ends.

import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import type { TestContext } from 'node:test';
import { AF_INET } from '../../assembly/uring/abi.ts';
import { bind, close, decodeSockaddr, encodeSockaddr, getsockname, listen, socket } from '../../src/system/libc.ts';
import { connackPacket, firstPacket, levelOf } from './packets.ts';
import { reset } from './reset.ts';

export interface Backend {
  /** host:port, as the configuration has it. */
  address: string;
  /** Accepted so far. */
  connections: number;
  /** As when its machine goes: every connection is reset, new ones are refused. */
  stop(): Promise<void>;
  /** As when its machine loses its power and another one has its address: connections hang, new ones are refused. */
  mute(): void;
}

/** What a backend does with a connection. Half-open ends are allowed: to close is up to it. */
export type Behaviour = (socket: Socket) => unknown;

/** Accepts every CONNECT, is silent from then on, and closes when its client does. */
export async function hello(socket: Socket): Promise<void> {
  await greet(socket);
  socket.resume();
}

/** Accepts every CONNECT and sends back whatever follows. */
export async function echo(socket: Socket): Promise<void> {
  await greet(socket);
  socket.pipe(socket);
}

async function greet(socket: Socket): Promise<void> {
  socket.on('end', () => socket.end());
  const packet = await firstPacket(socket);
  if (packet !== undefined) socket.write(connackPacket(levelOf(packet)));
}

export async function startBackend(
  context: TestContext,
  behave: Behaviour,
  { host = '127.0.0.1', port = 0 } = {},
): Promise<Backend> {
  const sockets = new Set<Socket>();
  const backend = { address: '', connections: 0, stop: () => stop(server, sockets), mute: () => void server.close() };
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    backend.connections++;
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => {});
    behave(socket);
  });
  context.after(backend.stop);
  await once(server.listen(port, host), 'listening');
  backend.address = formatAddress(server.address() as AddressInfo);
  return backend;
}

async function stop(server: Server, sockets: Set<Socket>): Promise<void> {
  const isListening = server.listening;
  if (isListening) server.close();
  for (const socket of sockets) reset(socket);
  if (isListening) await once(server, 'close');
}

/** A port that is taken but that nobody listens on: connects are refused. `free` lets somebody else have it. */
export function refusingBackend(context: TestContext): { address: string; port: number; free(): void } {
  const fd = socket(AF_INET);
  bind(fd, encodeSockaddr('127.0.0.1', 0));
  const { port } = decodeSockaddr(getsockname(fd));
  let taken = true;
  const free = () => {
    if (taken) close(fd);
    taken = false;
  };
  context.after(free);
  return { address: `127.0.0.1:${port}`, port, free };
}

/** What a dead machine looks like: the queue of this listener is full, so the kernel drops every further SYN. */
export async function hangingBackend(context: TestContext): Promise<{ address: string }> {
  const fd = socket(AF_INET);
  bind(fd, encodeSockaddr('127.0.0.1', 0));
  listen(fd, 0);
  const { port } = decodeSockaddr(getsockname(fd));
  const fillers = Array.from({ length: 3 }, () => connect({ port, host: '127.0.0.1' }).on('error', () => {}));
  context.after(() => {
    for (const filler of fillers) filler.destroy();
    close(fd);
  });
  await once(fillers[0]!, 'connect');
  return { address: `127.0.0.1:${port}` };
}

function formatAddress({ address, port, family }: AddressInfo): string {
  return family === 'IPv6' ? `[${address}]:${port}` : `${address}:${port}`;
}
