// The thread that a part of the load runs on: a ring of its own, then the WASM loop until it is told to stop.
import { readFileSync } from 'node:fs';
import { workerData } from 'node:worker_threads';
import {
  HEADER_BUFFER_COUNT,
  HEADER_CLOCK_MS,
  HEADER_COMPLETION_ENTRIES,
  HEADER_CONNECTIONS_MAX,
  HEADER_ENTER_ARGUMENT,
  HEADER_LISTENER_FDS,
  HEADER_MEMORY_BASE,
  HEADER_OFFSET,
  HEADER_RING_PARAMS,
  HEADER_SUBMISSION_ENTRIES,
} from '../assembly/layout.ts';
import { GETEVENTS_BYTES, IORING_ENTER_EXT_ARG } from '../assembly/uring/abi.ts';
import { providedEntries } from '../src/engine/engine.ts';
import { setUpRing } from '../src/engine/uring.ts';
import { addressOf, close, ioUringEnter } from '../src/system/libc.ts';

export interface LoadThreadStart {
  memory: WebAssembly.Memory;
  /** Listening sockets of the sink. */
  listenerFds: readonly number[];
}

interface LoadExports {
  start(): number;
  placeRings(): void;
  ringSubmissions(): number;
  ringHeads(): number;
  ringProvided(): number;
  startRing(): void;
  run(): void;
}

const { memory, listenerFds } = workerData as LoadThreadStart;
const { buffer } = memory;
const base = addressOf(buffer);
const words = new Uint32Array(buffer, HEADER_OFFSET);
const clock = new Float64Array(buffer, HEADER_OFFSET + HEADER_CLOCK_MS, 1);
new BigUint64Array(buffer)[(HEADER_OFFSET + HEADER_MEMORY_BASE) / 8] = base;
words.set(listenerFds, HEADER_LISTENER_FDS / 4);

let ring = -1;
const argument = base + BigInt(HEADER_OFFSET + HEADER_ENTER_ARGUMENT);
const enter = (submit: number, minComplete: number, flags: number): number => {
  const timed = flags & IORING_ENTER_EXT_ARG;
  const taken = ioUringEnter(ring, submit, minComplete, flags, timed ? argument : 0, timed ? GETEVENTS_BYTES : 0);
  clock[0] = performance.now();
  return taken;
};

const module = new WebAssembly.Module(readFileSync(new URL('../build/load.wasm', import.meta.url)));
const load = new WebAssembly.Instance(module, { env: { memory }, ring: { enter } }).exports as unknown as LoadExports;
clock[0] = performance.now();
load.start();
load.placeRings();
const place = {
  parameters: base + BigInt(HEADER_OFFSET + HEADER_RING_PARAMS),
  submissions: base + BigInt(load.ringSubmissions()),
  heads: base + BigInt(load.ringHeads()),
  provided: base + BigInt(load.ringProvided()),
};
ring = setUpRing(buffer, place, {
  submissionEntries: words[HEADER_SUBMISSION_ENTRIES / 4]!,
  completionEntries: words[HEADER_COMPLETION_ENTRIES / 4]!,
  provided: providedEntries(words[HEADER_BUFFER_COUNT / 4]!),
  files: words[HEADER_CONNECTIONS_MAX / 4]! * 2,
});
load.startRing();
load.run();
close(ring);
