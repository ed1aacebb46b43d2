// Begins badly, many thousand times: `node offender.ts HOST PORT COUNT`. A process of its own, so that descriptors and
// memory of the test's process are only the balancer's.

import { fork } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { type Beginning, leavingBeginnings, refusedBeginnings, waitingBeginnings } from './beginnings.ts';
import { inParallel, range } from './parallel.ts';
import { reset } from './reset.ts';

/** Returns how often each reason must have been given for it. */
export async function offend(host: string, port: number, count: number): Promise<Record<string, number>> {
  const child = fork(import.meta.filename, [host, String(port), String(count)]);
  const [code] = await once(child, 'exit');
  if (code !== 0) throw new Error(`the offender ended with ${code}`);
  const reasons: Record<string, number> = {};
  for (const offence of range(count)) {
    const { reason } = beginningOf(offence);
    reasons[reason] = (reasons[reason] ?? 0) + 1;
  }
  return reasons;
}

/** In every so many, one that waits: they take their time, and all the while their slot. */
const WAITING_EVERY = 200;
const AT_ONCE = 200;
/** Source addresses, so that no pair of address and port has to be used again soon. */
const ADDRESSES = 200;
const quick = [...refusedBeginnings, ...leavingBeginnings];

function beginningOf(offence: number): Beginning {
  if (offence % WAITING_EVERY === 0) return waitingBeginnings[(offence / WAITING_EVERY) % waitingBeginnings.length]!;
  return quick[offence % quick.length]!;
}

function begin(host: string, port: number, offence: number): Promise<void> {
  const { bytes, next, answer } = beginningOf(offence);
  const localAddress = `127.0.2.${1 + (offence % ADDRESSES)}`;
  const socket = connect({ host, port, localAddress, noDelay: true, allowHalfOpen: true });
  return new Promise((resolve) => {
    socket.on('connect', () => {
      if (bytes.length > 0) socket.write(bytes);
      if (next === 'reset') reset(socket);
      else if (next === 'finish') socket.end();
    });
    socket.on('error', () => {});
    // As clients do, it leaves once it has read that it was refused. A reset leaves no port behind that has to wait.
    socket.on('data', () => {
      if (socket.bytesRead >= answer.length) reset(socket);
    });
    socket.on('end', () => reset(socket));
    socket.on('close', () => resolve());
  });
}

if (process.argv[1] === import.meta.filename) {
  const [host, port, count] = process.argv.slice(2) as [string, string, string];
  await inParallel(AT_ONCE, range(Number(count)), (offence) => begin(host, Number(port), offence));
}
