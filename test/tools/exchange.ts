import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

export interface Reply {
  bytes: Buffer;
  /** The other end closed or reset; false: `replyBytes` had come, and this end reset. */
  ended: boolean;
}

export interface ExchangeOptions {
  /** Between two pieces: long enough for each to arrive alone. */
  gapMs?: number;
  /** Enough of a reply. The socket is reset then, which leaves no port waiting. */
  replyBytes?: number;
}

/** Sends the pieces one after another and collects the reply. */
export async function exchange(
  socket: Socket,
  pieces: Iterable<Buffer>,
  { gapMs = 0, replyBytes = Number.POSITIVE_INFINITY }: ExchangeOptions = {},
): Promise<Reply> {
  const reply = collect(socket, replyBytes);
  for (const piece of pieces) {
    if (socket.destroyed) break;
    socket.write(piece);
    if (gapMs > 0) await sleep(gapMs);
    else await new Promise((resolve) => setImmediate(resolve));
  }
  return reply;
}

async function collect(socket: Socket, replyBytes: number): Promise<Reply> {
  const chunks: Buffer[] = [];
  let received = 0;
  let ended = false;
  socket.on('error', () => {
    ended = true;
  });
  socket.on('end', () => {
    ended = true;
    socket.resetAndDestroy();
  });
  socket.on('data', (bytes: Buffer) => {
    chunks.push(bytes);
    received += bytes.length;
    if (received >= replyBytes) socket.resetAndDestroy();
  });
  await new Promise((resolve) => socket.on('close', resolve));
  return { bytes: Buffer.concat(chunks), ended };
}
