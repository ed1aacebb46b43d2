// The thread that a part of the load runs on: a ring of its own, then the WASM loop until it is told to stop.
import { workerData } from 'node:worker_threads';
import { HEADER_CONNECTIONS_MAX } from '../assembly/layout.ts';
import { headerWords } from '../src/header.ts';
import { openRing } from './wasm-ring.ts';

export interface LoadThreadStart {
  memory: WebAssembly.Memory;
  /** Listening sockets of the sink. */
  listenerFds: readonly number[];
}

const { memory, listenerFds } = workerData as LoadThreadStart;
openRing(memory, 'load.wasm', headerWords(memory)[HEADER_CONNECTIONS_MAX / 4]! * 2, listenerFds).run();
