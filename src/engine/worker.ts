// What Piscina runs in a worker thread: one task, as long as the worker lives.
import { threadId } from 'node:worker_threads';
import { HEADER_THREAD_ID } from '../../assembly/layout.ts';
import { headerWords } from '../header.ts';
import { keepToCore } from '../system/cores.ts';
import type { WorkerStart } from './engine.ts';

export default async function runEngine(start: WorkerStart): Promise<void> {
  Atomics.store(headerWords(start.memory), HEADER_THREAD_ID / 4, threadId);
  try {
    pin(start.core);
    await run(start);
  } catch (error) {
    await endThread(error);
  }
}

function pin(core: number | undefined): void {
  if (core === undefined) return;
  try {
    keepToCore(core);
  } catch {
    // It was taken from this process since the start: a worker on any core is better than none.
  }
}

/** Each thread loads only its own engine. */
async function run(start: WorkerStart): Promise<void> {
  if (start.engine === 'uring') (await import('./uring.ts')).runUring(start);
  else await (await import('./portable.ts')).runPortable(start);
}

/**
 * A thread whose engine failed is not used again: servers and sockets that the engine left open would go on serving on
 * a memory that is buried. They end with the thread.
 */
function endThread(error: unknown): Promise<never> {
  setImmediate(() => {
    throw error;
  });
  return new Promise(() => {});
}
