// The thread that one ring of the swarm or of the sink runs on: says that it's ready, waits until all are, then runs.
import { parentPort, workerData } from 'node:worker_threads';
import { HEADER_CONNECTIONS_MAX, HEADER_REGION_SNAPSHOTS } from '../assembly/layout.ts';
import { headerWords, regionOffset } from '../src/header.ts';
import { CROWD_STATE, CROWD_WAIT } from './layout.ts';
import { openRing } from './wasm-ring.ts';

export interface CrowdThreadStart {
  memory: WebAssembly.Memory;
  listenerFds: readonly number[];
}

const { memory, listenerFds } = workerData as CrowdThreadStart;
const state = new Int32Array(memory.buffer, regionOffset(memory, HEADER_REGION_SNAPSHOTS) + CROWD_STATE, 1);
const ring = openRing(memory, 'crowd.wasm', headerWords(memory)[HEADER_CONNECTIONS_MAX / 4]!, listenerFds);
parentPort!.postMessage('ready');
Atomics.wait(state, 0, CROWD_WAIT);
ring.run();
