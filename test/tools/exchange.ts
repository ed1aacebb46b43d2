import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { reset } from './reset.ts';

/** A test fails rather than waits for ever. */
export const STILL_MS = 20_000;

export interface Reply {
  bytes: Buffer;
  /** How the other end closed; null: it didn't, since enough of a reply had come. */
  end: 'finish' | 'reset' | null;
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
  let end: Reply['end'] = null;
  socket.setTimeout(STILL_MS, () => socket.destroy(new Error(`nothing has happened for ${STILL_MS} ms`)));
  socket.on('error', () => {
    end = 'reset';
  });
  socket.on('end', () => {
    end = 'finish';
    reset(socket);
  });
  socket.on('data', (bytes: Buffer) => {
    chunks.push(bytes);
    if (socket.bytesRead >= replyBytes) reset(socket);
  });
  await new Promise((resolve) => socket.on('close', resolve));
  return { bytes: Buffer.concat(chunks), end };
}
