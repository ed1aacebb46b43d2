// How many connections one worker can hold, and which limit says so.
import { DESCRIPTORS_PER_CONNECTION, type EngineName } from '../engine/engine.ts';
import { TidegateError } from '../errors.ts';
import { getrlimit, RLIMIT_MEMLOCK, RLIMIT_NOFILE, setrlimit } from '../system/libc.ts';
import { lockedBytes, type MemorySettings } from './memory-map.ts';

/** Kept free in a ring's table of direct descriptors, for accepts that wait and dials that end late. */
const RING_DESCRIPTORS_SPARE = 64;
/** Kept free in the process, for listeners, logs, files and the runtime's own. */
const PROCESS_DESCRIPTORS_SPARE = 200;
/** The kernel's IORING_MAX_FIXED_FILES: no ring's table is larger, whatever RLIMIT_NOFILE says. */
const RING_DESCRIPTORS_MAX = 1 << 20;
/** What the advice names when nobody said how many connections there shall be. */
const CONNECTIONS_ADVISED = 1000;
/** The event loops of Node have small rings of their own. */
const LOCKED_BYTES_SPARE = 512 << 10;

export interface Capacity {
  /** Of one worker. */
  connectionsMax: number;
  /** The limit that bounds it, for the log. */
  limit: string;
  /** What to do about that limit when there is more to hold. */
  remedy: string;
}

/** The soft limit becomes the hard one. Where the system has a lower one of its own (macOS), things stay as they are. */
export function raiseDescriptorLimit(): number {
  const { soft, hard } = getrlimit(RLIMIT_NOFILE);
  if (soft >= hard) return soft;
  try {
    setrlimit(RLIMIT_NOFILE, { soft: hard, hard });
    return hard;
  } catch {
    return soft;
  }
}

/**
 * `configured` is connections_max of one worker. A ring's table holds up to RLIMIT_NOFILE descriptors *per ring*; the
 * portable engine's sockets all come from the process's own table, so there the workers share the limit. Fewer than
 * `connectionsMin` are a TidegateError.
 */
export function findCapacity(
  engine: EngineName,
  workers: number,
  configured: number | 'auto',
  descriptors: number,
  connectionsMin = 1,
): Capacity {
  const available = engine === 'uring' ? ringCapacity(descriptors) : processCapacity(descriptors, workers);
  if (available.connectionsMax < connectionsMin && configured === 'auto') {
    throw tooFewToStart(engine, workers, connectionsMin, descriptors);
  }
  if (configured === 'auto') return available;
  if (configured > available.connectionsMax) throw tooFew(engine, workers, configured, descriptors, available);
  return { connectionsMax: configured, limit: 'connections_max', remedy: 'raise connections_max' };
}

function ringCapacity(descriptors: number): Capacity {
  const table = Math.min(descriptors, RING_DESCRIPTORS_MAX);
  const connectionsMax = Math.floor((table - RING_DESCRIPTORS_SPARE) / DESCRIPTORS_PER_CONNECTION);
  return table === descriptors
    ? boundByLimit(connectionsMax, descriptors, ' or add workers, each of which has a ring with as many')
    : { connectionsMax, limit: `io_uring's descriptor table (${table})`, remedy: 'add workers' };
}

function processCapacity(descriptors: number, workers: number): Capacity {
  // No process can open more than fs.nr_open, which is 2^20 unless somebody raised it.
  const table = Math.min(descriptors, RING_DESCRIPTORS_MAX);
  const connectionsMax = Math.floor((table - PROCESS_DESCRIPTORS_SPARE) / DESCRIPTORS_PER_CONNECTION / workers);
  return table === descriptors
    ? boundByLimit(connectionsMax, descriptors)
    : { connectionsMax, limit: `${table} descriptors`, remedy: 'add another instance' };
}

function boundByLimit(connectionsMax: number, descriptors: number, otherwise = ''): Capacity {
  const remedy = `raise RLIMIT_NOFILE (ulimit -n, or LimitNOFILE= in the systemd unit)${otherwise}`;
  return { connectionsMax, limit: `RLIMIT_NOFILE (${descriptors})`, remedy };
}

function tooFewToStart(engine: EngineName, workers: number, least: number, descriptors: number): TidegateError {
  const needed = descriptorsFor(engine, workers, least);
  const advised = descriptorsFor(engine, workers, CONNECTIONS_ADVISED);
  return new TidegateError(
    'RLIMIT_NOFILE',
    `RLIMIT_NOFILE is ${descriptors}, too few even for a start, which needs ${needed} descriptors: raise it, for ` +
      `${CONNECTIONS_ADVISED} connections per worker to ${advised} (ulimit -n ${advised}, or LimitNOFILE=${advised} ` +
      'in the systemd unit)',
  );
}

function tooFew(
  engine: EngineName,
  workers: number,
  wanted: number,
  descriptors: number,
  available: Capacity,
): TidegateError {
  const needed = descriptorsFor(engine, workers, wanted);
  const instead = Math.max(available.connectionsMax, 0);
  if (needed > RING_DESCRIPTORS_MAX) {
    const message = `connections_max ${wanted} can't be had: ${available.limit} allows ${instead} per worker; lower it`;
    return new TidegateError('CONNECTIONS_MAX', message);
  }
  return new TidegateError(
    'RLIMIT_NOFILE',
    `${wanted} connections per worker need ${needed} descriptors, but RLIMIT_NOFILE is ${descriptors}: ` +
      `raise it (ulimit -n ${needed}, or LimitNOFILE=${needed} in the systemd unit)` +
      (instead > 0 ? `, or set connections_max to ${instead} at most` : ''),
  );
}

function descriptorsFor(engine: EngineName, workers: number, connections: number): number {
  return engine === 'uring'
    ? connections * DESCRIPTORS_PER_CONNECTION + RING_DESCRIPTORS_SPARE
    : connections * DESCRIPTORS_PER_CONNECTION * workers + PROCESS_DESCRIPTORS_SPARE;
}

/** What to do when the workers' rings don't fit into RLIMIT_MEMLOCK. */
export function memlockError(settings: MemorySettings, workers: number, cause: unknown): TidegateError {
  const needed = Math.ceil((lockedBytes(settings) * workers + LOCKED_BYTES_SPARE) / 1024);
  const allowed = Math.floor(getrlimit(RLIMIT_MEMLOCK).soft / 1024);
  const message =
    `the rings need ${needed} KiB of locked memory, but RLIMIT_MEMLOCK is ${allowed} KiB: raise it ` +
    `(ulimit -l ${needed}, or LimitMEMLOCK=${needed}K in the systemd unit) or give the process CAP_IPC_LOCK`;
  return new TidegateError('RLIMIT_MEMLOCK', message, undefined, { cause });
}
