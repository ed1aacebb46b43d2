// Devices, as backends and balancers see them.
import { connect, type Socket } from 'node:net';
import { type ConnectOptions, connectPacket } from './packets.ts';

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
