// A thread's ring with a WASM module of the bench upon it: what the data plane's own start does, for other modules.
import { readFileSync } from 'node:fs';
import {
  HEADER_BUFFER_COUNT,
  HEADER_CLOCK_MS,
  HEADER_COMPLETION_ENTRIES,
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
import { addressOf, close, ioUringEnter, MADV_DONTNEED, madvise } from '../src/system/libc.ts';

interface RingExports {
  start(): void;
  placeRings(): void;
  ringSubmissions(): number;
  ringHeads(): number;
  ringProvided(): number;
  startRing(): void;
  /** Returns when it's told to stop. */
  run(): void;
}

export interface WasmRing {
  /** Until it's told to stop; then the ring is closed, and what it holds with it. */
  run(): void;
}

/** `files`: places in the ring's file table. `listenerFds`: sockets that the module accepts from. */
export function openRing(
  memory: WebAssembly.Memory,
  moduleName: 'load.wasm' | 'crowd.wasm',
  files: number,
  listenerFds: readonly number[],
): WasmRing {
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
  const release = (offset: number, bytes: number): void =>
    void madvise(base + BigInt(offset >>> 0), bytes, MADV_DONTNEED);

  const module = new WebAssembly.Module(readFileSync(new URL(`../build/${moduleName}`, import.meta.url)));
  const imports = { env: { memory }, ring: { enter, release } };
  const plane = new WebAssembly.Instance(module, imports).exports as unknown as RingExports;
  clock[0] = performance.now();
  plane.start();
  plane.placeRings();
  const place = {
    parameters: base + BigInt(HEADER_OFFSET + HEADER_RING_PARAMS),
    submissions: base + BigInt(plane.ringSubmissions()),
    heads: base + BigInt(plane.ringHeads()),
    provided: base + BigInt(plane.ringProvided()),
  };
  ring = setUpRing(buffer, place, {
    submissionEntries: words[HEADER_SUBMISSION_ENTRIES / 4]!,
    completionEntries: words[HEADER_COMPLETION_ENTRIES / 4]!,
    provided: providedEntries(words[HEADER_BUFFER_COUNT / 4]!),
    files,
  });
  plane.startRing();
  return {
    run() {
      clock[0] = performance.now();
      plane.run();
      close(ring);
    },
  };
}
