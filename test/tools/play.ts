// One end of a connection, sending and receiving after a script. Client and backend play the same way, so both
// directions meet the same chunk sizes, pauses and endings.

import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { CHUNK_BYTES_MAX, contentAt, isContent } from './content.ts';
import { STILL_MS } from './exchange.ts';
import { Random } from './random.ts';
import { reset } from './reset.ts';

export interface Script {
  /** Of its pauses and chunk sizes. */
  seed: number;
  sendBytes: number;
  sendSeed: number;
  receiveSeed: number;
  chunkBytesMax: number;
  /** After a write, or after a read. */
  pauseChance: number;
  pauseMsMax: number;
  /** What follows the last byte sent: FIN, while the other direction goes on, or a reset. */
  ending: 'finish' | 'reset';
}

export interface Outcome {
  receivedBytes: number;
  /** Every byte was the expected one. */
  intact: boolean;
  /** The other end's FIN came. */
  finished: boolean;
  /** errno of an abnormal end. */
  error: string | null;
}

/** Resolves when the socket is closed. It must allow half-open ends; `head` is what comes before the script's bytes. */
export async function play(socket: Socket, script: Script, head: Buffer = Buffer.alloc(0)): Promise<Outcome> {
  const outcome = receive(socket, script, head);
  await send(socket, script);
  return outcome;
}

function receive(socket: Socket, script: Script, head: Buffer): Promise<Outcome> {
  const { receiveSeed, pauseChance, pauseMsMax } = script;
  const random = new Random(script.seed);
  let headBytes = 0;
  const outcome: Outcome = { receivedBytes: 0, intact: true, finished: false, error: null };
  return new Promise((resolve) => {
    socket.on('data', (chunk: Buffer) => {
      const ofHead = Math.min(head.length - headBytes, chunk.length);
      outcome.intact &&= chunk.subarray(0, ofHead).equals(head.subarray(headBytes, headBytes + ofHead));
      headBytes += ofHead;
      const bytes = chunk.subarray(ofHead);
      outcome.intact &&= isContent(receiveSeed, outcome.receivedBytes, bytes);
      outcome.receivedBytes += bytes.length;
      if (!random.chance(pauseChance)) return;
      socket.pause();
      setTimeout(() => socket.resume(), random.integer(0, pauseMsMax));
    });
    socket.on('end', () => {
      outcome.finished = true;
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      outcome.error = error.code ?? error.message;
    });
    socket.on('close', () => resolve(outcome));
    socket.setTimeout(STILL_MS, () => socket.destroy(new Error(`nothing has happened for ${STILL_MS} ms`)));
    socket.resume();
  });
}

async function send(socket: Socket, script: Script): Promise<void> {
  const random = new Random(script.seed + 1);
  const chunkBytesMax = Math.min(script.chunkBytesMax, CHUNK_BYTES_MAX);
  let sent = 0;
  while (sent < script.sendBytes && socket.writable) {
    const length = Math.min(random.integer(1, chunkBytesMax), script.sendBytes - sent);
    const flowing = socket.write(contentAt(script.sendSeed, sent, length));
    sent += length;
    if (!flowing) await drained(socket);
    if (random.chance(script.pauseChance)) await sleep(random.integer(0, script.pauseMsMax));
  }
  if (script.ending === 'reset') reset(socket);
  else socket.end();
}

function drained(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      socket.off('drain', done);
      socket.off('close', done);
      resolve();
    };
    socket.on('drain', done);
    socket.on('close', done);
  });
}
