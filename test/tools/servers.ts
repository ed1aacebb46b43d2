// Small backends in the test's own process, one behaviour each, closed when the test ends.
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import type { TestContext } from 'node:test';
import { bind, close, decodeSockaddr, encodeSockaddr, getsockname, listen, socket } from '../../src/engine/libc.ts';
import { AF_INET } from '../../src/engine/sockaddr.ts';
import { connackPacket, firstPacket } from './packets.ts';

export interface TestServer {
  /** host:port, as the configuration has it. */
  address: string;
}

/** A broker that accepts every client, is silent from then on, and closes when its client does. */
export async function sayHello(socket: Socket): Promise<void> {
  socket.on('end', () => socket.end());
  if ((await firstPacket(socket)) !== undefined) socket.write(connackPacket(4));
  socket.resume();
}

/** Half-open ends are allowed: to close is up to `onConnection`. */
export async function startServer(
  context: TestContext,
  onConnection: (socket: Socket) => void,
  host: string = '127.0.0.1',
): Promise<TestServer> {
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => {});
    onConnection(socket);
  });
  await once(server.listen(0, host), 'listening');
  context.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { address: formatAddress(server.address() as AddressInfo) };
}

/** An address where nobody listens. */
export async function refusedAddress(): Promise<string> {
  const server = createServer();
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const address = formatAddress(server.address() as AddressInfo);
  await new Promise((resolve) => server.close(resolve));
  return address;
}

/** What a dead machine looks like: the queue of this listener is full, so the kernel drops every further SYN. */
export async function startUnreachable(context: TestContext): Promise<TestServer> {
  const fd = socket(AF_INET);
  bind(fd, encodeSockaddr('127.0.0.1', 0));
  listen(fd, 0);
  const { host, port } = decodeSockaddr(getsockname(fd));
  const filler = connect({ host, port });
  await once(filler, 'connect');
  context.after(() => {
    filler.destroy();
    close(fd);
  });
  return { address: `${host}:${port}` };
}

function formatAddress({ address, port, family }: AddressInfo): string {
  return family === 'IPv6' ? `[${address}]:${port}` : `${address}:${port}`;
}
