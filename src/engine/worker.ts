// What Piscina runs in a worker thread: one task, as long as the worker lives.
import { threadId } from 'node:worker_threads';
import { HEADER_OFFSET, HEADER_THREAD_ID } from '../../assembly/layout.ts';
import type { WorkerStart } from './engine.ts';

export default async function runEngine(start: WorkerStart): Promise<void> {
  Atomics.store(new Uint32Array(start.memory.buffer), (HEADER_OFFSET + HEADER_THREAD_ID) / 4, threadId);
  // Each worker loads only its own engine: the portable one must not need the C library's io_uring half.
  if (start.engine === 'uring') (await import('./uring.ts')).runUring(start);
  else await (await import('./portable.ts')).runPortable(start);
}
