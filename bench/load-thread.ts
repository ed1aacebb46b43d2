// The thread that a load runs on: a ring of its own, then the WASM loop until it is told to stop.
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
import { addressOf, close, ioUringEnter } from '../src/engine/libc.ts';
import { setUpRing } from '../src/engine/uring.ts';

const { memory, listenerFd } = workerData as { memory: WebAssembly.Memory; listenerFd: number };
const { buffer } = memory;
const base = addressOf(buffer);
const words = new Uint32Array(buffer, HEADER_OFFSET);
const clock = new Float64Array(buffer, HEADER_OFFSET + HEADER_CLOCK_MS, 1);
new BigUint64Array(buffer)[(HEADER_OFFSET + HEADER_MEMORY_BASE) / 8] = base;
words[HEADER_LISTENER_FDS / 4] = listenerFd;
new Uint32Array(buffer, HEADER_OFFSET + 696, 1)[0] = 1;

let ring = -1;
const argument = base + BigInt(HEADER_OFFSET + HEADER_ENTER_ARGUMENT);
const enter = (submit: number, minComplete: number, flags: number): number => {
  const timed = flags & IORING_ENTER_EXT_ARG;
  const taken = ioUringEnter(ring, submit, minComplete, flags, timed ? argument : 0, timed ? GETEVENTS_BYTES : 0);
  clock[0] = performance.now();
  return taken;
};
const module = new WebAssembly.Module(readFileSync(new URL('../build/load.wasm', import.meta.url)));
const plane = new WebAssembly.Instance(module, { env: { memory }, ring: { enter } }).exports as Record<
  string,
  () => number
>;
clock[0] = performance.now();
plane.start!();
plane.placeRings!();
const place = (part: string): bigint => base + BigInt(plane[part]!());
ring = setUpRing(
  buffer,
  {
    parameters: base + BigInt(HEADER_OFFSET + HEADER_RING_PARAMS),
    submissions: place('ringSubmissions'),
    heads: place('ringHeads'),
    provided: place('ringProvided'),
  },
  {
    submissionEntries: words[HEADER_SUBMISSION_ENTRIES / 4]!,
    completionEntries: words[HEADER_COMPLETION_ENTRIES / 4]!,
    bufferCount: words[HEADER_BUFFER_COUNT / 4]!,
    files: words[HEADER_CONNECTIONS_MAX / 4]! * 2,
  },
);
plane.startRing!();
plane.run!();
close(ring);
