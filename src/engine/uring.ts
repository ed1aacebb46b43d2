// The uring engine's host: sets a ring up inside the worker's memory, then lets the data plane run on it. From then on
// this thread does nothing but the one system call per turn that the data plane asks for.
import { readFileSync } from 'node:fs';
import { release } from 'node:os';
import { getSystemErrorName } from 'node:util';
import {
  HEADER_BUFFER_COUNT,
  HEADER_CLOCK_MS,
  HEADER_COMPLETION_ENTRIES,
  HEADER_CONNECTIONS_MAX,
  HEADER_ENTER_ARGUMENT,
  HEADER_MEMORY_BASE,
  HEADER_NOW,
  HEADER_OFFSET,
  HEADER_RECEIVE_LIMIT,
  HEADER_RING_FD,
  HEADER_RING_PARAMS,
  HEADER_SUBMISSION_ENTRIES,
  HEADER_WALL_MS,
  NONE,
  PAGE_BYTES,
} from '../../assembly/layout.ts';
import * as abi from '../../assembly/uring/abi.ts';
import {
  BUF_REG_BYTES,
  BUF_REG_RING_ADDR,
  BUF_REG_RING_ENTRIES,
  GETEVENTS_BYTES,
  IORING_ENTER_EXT_ARG,
  IORING_FEAT_MIN_TIMEOUT,
  IORING_REGISTER_ENABLE_RINGS,
  IORING_REGISTER_FILES2,
  IORING_REGISTER_PBUF_RING,
  IORING_REGISTER_RESTRICTIONS,
  IORING_RESTRICTION_SQE_FLAGS_ALLOWED,
  IORING_RESTRICTION_SQE_OP,
  IORING_RSRC_REGISTER_SPARSE,
  IORING_SETUP_CQSIZE,
  IORING_SETUP_DEFER_TASKRUN,
  IORING_SETUP_NO_MMAP,
  IORING_SETUP_NO_SQARRAY,
  IORING_SETUP_R_DISABLED,
  IORING_SETUP_SINGLE_ISSUER,
  IORING_SETUP_SUBMIT_ALL,
  PARAMS_CQ_ENTRIES,
  PARAMS_CQ_USER_ADDR,
  PARAMS_FEATURES,
  PARAMS_FLAGS,
  PARAMS_SQ_USER_ADDR,
  RESTRICTION_BYTES,
  RESTRICTION_OPCODE,
  RESTRICTION_VALUE,
  RSRC_REGISTER_BYTES,
  RSRC_REGISTER_FLAGS,
  RSRC_REGISTER_NR,
} from '../../assembly/uring/abi.ts';
import { type DataPlane, type DataPlaneImports, startDataPlane } from '../data-plane.ts';
import { TidegateError } from '../errors.ts';
import { headerClocks, headerWords } from '../header.ts';
import {
  addressOf,
  close,
  ioUringEnter,
  ioUringRegister,
  ioUringSetup,
  MADV_DONTNEED,
  madvise,
  pageBytes,
  readMonotonicClock,
} from '../system/libc.ts';
import { DESCRIPTORS_PER_CONNECTION, type Probe, providedEntries, type WorkerStart } from './engine.ts';

// The rings lie in memory that we bring (NO_MMAP); one thread submits and reaps (SINGLE_ISSUER), and the kernel does
// its share of the work inside our call instead of interrupting us (DEFER_TASKRUN); the completion ring has its own,
// larger size; a bad entry fails alone (SUBMIT_ALL); the order of entries is that of the ring (NO_SQARRAY); and it is
// set up idle (R_DISABLED), so that it can be restricted first.
const SETUP_FLAGS =
  IORING_SETUP_CQSIZE |
  IORING_SETUP_NO_MMAP |
  IORING_SETUP_NO_SQARRAY |
  IORING_SETUP_R_DISABLED |
  IORING_SETUP_SINGLE_ISSUER |
  IORING_SETUP_DEFER_TASKRUN |
  IORING_SETUP_SUBMIT_ALL;

/** As much as a direction may hold anyway. Older kernels refuse an entry that names a limit. */
const RECEIVE_LIMIT_BYTES = 65536;

/** Where the kernel finds its rings; addresses in the process. */
export interface RingPlace {
  parameters: bigint;
  submissions: bigint;
  heads: bigint;
  provided: bigint;
}

/** Blocks this thread until the worker is stopped, or drained and empty. */
export function runUring({ memory, module }: WorkerStart): void {
  const header = headerWords(memory);
  const base = describeMemory(memory);
  const parts: EnterParts = { ring: -1, readClock: () => {} };
  const plane = startDataPlane(memory, module, {
    enter: makeEnter(base, parts),
    release: (offset, bytes) => void madvise(base + BigInt(offset! >>> 0), bytes!, MADV_DONTNEED),
  });
  parts.readClock = plane.readClock;
  plane.placeRings();
  const ring = setUpRing(memory.buffer, placeOf(plane, base), sizesOf(header));
  parts.ring = ring;
  header[HEADER_RING_FD / 4] = ring;
  try {
    plane.startRing();
    plane.run();
  } finally {
    // Whoever takes the word closes the ring: when this thread is killed instead, the main thread does.
    if (Atomics.compareExchange(header, HEADER_RING_FD / 4, ring, NONE) === ring) close(ring);
  }
}

/** Writes what only this process and this thread know into the header; returns the memory's address. */
function describeMemory(memory: WebAssembly.Memory): bigint {
  const base = addressOf(memory.buffer);
  new BigUint64Array(memory.buffer, HEADER_OFFSET)[HEADER_MEMORY_BASE / 8] = base;
  startMonotonicClock(memory, base);
  const header = headerWords(memory);
  header[HEADER_RECEIVE_LIMIT / 4] = isKernelFrom(6, 18) ? RECEIVE_LIMIT_BYTES : 0;
  return base;
}

/** The data plane's time is the system's monotonic clock, which the portable engine can't read without a call to C. */
function startMonotonicClock(memory: WebAssembly.Memory, base: bigint): void {
  readMonotonicClock(base + BigInt(HEADER_OFFSET + HEADER_NOW));
  const [seconds, nanoseconds] = new BigInt64Array(memory.buffer, HEADER_OFFSET + HEADER_NOW, 2);
  const clockMs = Number(seconds) * 1000 + Number(nanoseconds) / 1e6;
  const clocks = headerClocks(memory);
  clocks[HEADER_CLOCK_MS / 8] = clockMs;
  clocks[HEADER_WALL_MS / 8] = performance.timeOrigin + performance.now() - clockMs;
}

function isKernelFrom(major: number, minor: number): boolean {
  const [ours = 0, ourMinor = 0] = release().split('.').map(Number.parseFloat);
  return ours > major || (ours === major && ourMinor >= minor);
}

/** What a turn's system call needs, once it is there. */
interface EnterParts {
  ring: number;
  readClock(): void;
}

/**
 * The one system call of a turn; the clock is read behind it, since that is where the time passes. Nothing here makes
 * garbage: a worker's turns would otherwise fill two megabytes of young generation before V8 looks at them.
 */
function makeEnter(base: bigint, parts: EnterParts): DataPlaneImports['enter'] {
  const argument = base + BigInt(HEADER_OFFSET + HEADER_ENTER_ARGUMENT);
  const now = base + BigInt(HEADER_OFFSET + HEADER_NOW);
  return (submit, minComplete, flags) => {
    const taken =
      flags & IORING_ENTER_EXT_ARG
        ? ioUringEnter(parts.ring, submit, minComplete, flags, argument, GETEVENTS_BYTES)
        : ioUringEnter(parts.ring, submit, minComplete, flags, 0, 0);
    readMonotonicClock(now);
    parts.readClock();
    return taken;
  };
}

function placeOf(plane: DataPlane, base: bigint): RingPlace {
  return {
    parameters: base + BigInt(HEADER_OFFSET + HEADER_RING_PARAMS),
    submissions: base + BigInt(plane.ringSubmissions()),
    heads: base + BigInt(plane.ringHeads()),
    provided: base + BigInt(plane.ringProvided()),
  };
}

function sizesOf(header: Uint32Array): RingSizes {
  return {
    submissionEntries: header[HEADER_SUBMISSION_ENTRIES / 4]!,
    completionEntries: header[HEADER_COMPLETION_ENTRIES / 4]!,
    provided: providedEntries(header[HEADER_BUFFER_COUNT / 4]!),
    files: header[HEADER_CONNECTIONS_MAX / 4]! * DESCRIPTORS_PER_CONNECTION,
  };
}

export interface RingSizes {
  submissionEntries: number;
  completionEntries: number;
  /** Of the ring of provided buffers. */
  provided: number;
  /** Places for direct descriptors. */
  files: number;
}

/** A ring with its file table and its provided buffers registered; the offset of `place` in `buffer` is zeroed memory. */
export function setUpRing(buffer: ArrayBufferLike, place: RingPlace, sizes: RingSizes): number {
  const base = addressOf(buffer);
  const view = new DataView(buffer);
  const at = Number(place.parameters - base);
  view.setUint32(at + PARAMS_FLAGS, SETUP_FLAGS, true);
  view.setUint32(at + PARAMS_CQ_ENTRIES, sizes.completionEntries, true);
  view.setBigUint64(at + PARAMS_SQ_USER_ADDR, place.submissions, true);
  view.setBigUint64(at + PARAMS_CQ_USER_ADDR, place.heads, true);
  const ring = done('io_uring_setup', ioUringSetup(sizes.submissionEntries, place.parameters));
  try {
    registerFiles(ring, sizes.files);
    registerBuffers(ring, place.provided, sizes.provided);
    registerRestrictions(ring);
    // Who enables it is the one who submits from then on.
    done('io_uring_register (enable)', ioUringRegister(ring, IORING_REGISTER_ENABLE_RINGS, 0n, 0));
  } catch (error) {
    close(ring);
    throw error;
  }
  return ring;
}

function registerFiles(ring: number, count: number): void {
  const request = new DataView(new ArrayBuffer(RSRC_REGISTER_BYTES));
  request.setUint32(RSRC_REGISTER_NR, count, true);
  request.setUint32(RSRC_REGISTER_FLAGS, IORING_RSRC_REGISTER_SPARSE, true);
  const address = addressOf(request.buffer);
  done('io_uring_register (files)', ioUringRegister(ring, IORING_REGISTER_FILES2, address, RSRC_REGISTER_BYTES));
}

function registerBuffers(ring: number, provided: bigint, count: number): void {
  const request = new DataView(new ArrayBuffer(BUF_REG_BYTES));
  request.setBigUint64(BUF_REG_RING_ADDR, provided, true);
  request.setUint32(BUF_REG_RING_ENTRIES, count, true);
  done('io_uring_register (buffers)', ioUringRegister(ring, IORING_REGISTER_PBUF_RING, addressOf(request.buffer), 1));
}

// The entries lie in memory that everything in this worker can write. Whoever came to write one of its own could have the
// kernel open files or start what else a ring can do; so this one does what the data plane needs and answers EACCES to
// the rest, to every further registration too. It can't be undone.
function registerRestrictions(ring: number): void {
  const named = (prefix: string) =>
    Object.entries(abi).flatMap(([name, value]) => (name.startsWith(prefix) ? value : []));
  const flags = named('IOSQE_').reduce((all, flag) => all | flag, 0);
  const restrictions = [
    ...named('IORING_OP_').map((operation) => ({ opcode: IORING_RESTRICTION_SQE_OP, value: operation })),
    { opcode: IORING_RESTRICTION_SQE_FLAGS_ALLOWED, value: flags },
  ];
  const request = new DataView(new ArrayBuffer(restrictions.length * RESTRICTION_BYTES));
  for (const [index, { opcode, value }] of restrictions.entries()) {
    request.setUint16(index * RESTRICTION_BYTES + RESTRICTION_OPCODE, opcode, true);
    request.setUint8(index * RESTRICTION_BYTES + RESTRICTION_VALUE, value);
  }
  const call = 'io_uring_register (restrictions)';
  done(call, ioUringRegister(ring, IORING_REGISTER_RESTRICTIONS, addressOf(request.buffer), restrictions.length));
}

/** What to do about the errors that a machine's settings cause. */
const remedies: Record<string, string> = {
  ENOSYS: 'this kernel has no io_uring',
  EPERM: 'io_uring is forbidden here: by sysctl kernel.io_uring_disabled, or by a container seccomp profile',
  EACCES: 'io_uring is forbidden here: by a security module or a container seccomp profile',
  ENOMEM: 'the rings do not fit into RLIMIT_MEMLOCK: raise it (ulimit -l, LimitMEMLOCK=infinity) or grant CAP_IPC_LOCK',
  EMFILE: 'the file table does not fit into RLIMIT_NOFILE: raise it (ulimit -n) or lower connections_max',
  // Up to 6.12 a direct descriptor that was closed stays open for as long as any operation is pending that began before.
  EINVAL: 'this kernel is too old: Linux 6.13 or newer is needed',
};

function done(call: string, result: number): number {
  if (result >= 0) return result;
  const code = getSystemErrorName(result);
  throw new TidegateError(
    code === 'ENOMEM' ? 'RLIMIT_MEMLOCK' : 'URING',
    `${call}: ${code}: ${remedies[code] ?? 'unexpected'}`,
  );
}

/** Sets a small ring up and takes it down again. */
export function probeUring(): Probe {
  if (!isKernelFrom(6, 13)) return { ok: false, code: 'URING', why: remedies.EINVAL! };
  // Rings and buffers are placed by pages of this size, and released by them.
  if (pageBytes() !== PAGE_BYTES) {
    return {
      ok: false,
      code: 'URING',
      why: `a page of memory has ${pageBytes()} bytes here, and uring needs ${PAGE_BYTES}`,
    };
  }
  const disabled = readSysctl('/proc/sys/kernel/io_uring_disabled');
  if (disabled === '2') return { ok: false, code: 'URING', why: 'sysctl kernel.io_uring_disabled is 2: set it to 0' };
  try {
    const { buffer } = new WebAssembly.Memory({ initial: 4, maximum: 4, shared: true });
    const base = addressOf(buffer);
    const place = {
      parameters: base,
      submissions: base + BigInt(PAGE_BYTES),
      heads: base + BigInt(2 * PAGE_BYTES),
      provided: base + BigInt(8 * PAGE_BYTES),
    };
    const ring = setUpRing(buffer, place, { submissionEntries: 8, completionEntries: 16, provided: 16, files: 8 });
    close(ring);
    const features = new DataView(buffer).getUint32(PARAMS_FEATURES, true);
    if (features & IORING_FEAT_MIN_TIMEOUT) return { ok: true };
    return { ok: false, code: 'URING', why: remedies.EINVAL! };
  } catch (error) {
    const { code, message } = error as TidegateError;
    return { ok: false, code, why: message };
  }
}

function readSysctl(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return '';
  }
}
