// How many connections one worker can hold, and which limit says so.
import type { EngineName } from '../engine/engine.ts';
import { getrlimit, RLIMIT_NOFILE, setrlimit } from '../engine/libc.ts';
import { TidegateError } from '../errors.ts';

/** Sockets of one proxied connection: the client's and the backend's. */
const DESCRIPTORS_PER_CONNECTION = 2;
/** Kept free in a ring's table of direct descriptors, for accepts that wait and dials that end late. */
const RING_DESCRIPTORS_SPARE = 64;
/** Kept free in the process, for listeners, logs, files and the runtime's own. */
const PROCESS_DESCRIPTORS_SPARE = 200;
/** The kernel's IORING_MAX_FIXED_FILES: no ring's table is larger, whatever RLIMIT_NOFILE says. */
const RING_DESCRIPTORS_MAX = 1 << 20;

export interface Capacity {
  /** Of one worker. */
  connectionsMax: number;
  /** The limit that bounds it, for the log. */
  limit: string;
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
 * portable engine's sockets all come from the process's own table, so there the workers share the limit.
 */
export function findCapacity(
  engine: EngineName,
  workers: number,
  configured: number | 'auto',
  descriptors: number,
): Capacity {
  const available = engine === 'uring' ? ringCapacity(descriptors) : processCapacity(descriptors, workers);
  if (available.connectionsMax < 1) throw tooFew(engine, workers, 1, descriptors, available);
  if (configured === 'auto') return available;
  if (configured > available.connectionsMax) throw tooFew(engine, workers, configured, descriptors, available);
  return { connectionsMax: configured, limit: 'connections_max' };
}

function ringCapacity(descriptors: number): Capacity {
  const table = Math.min(descriptors, RING_DESCRIPTORS_MAX);
  return {
    connectionsMax: Math.floor((table - RING_DESCRIPTORS_SPARE) / DESCRIPTORS_PER_CONNECTION),
    limit: table === descriptors ? `RLIMIT_NOFILE (${descriptors})` : `io_uring's descriptor table (${table})`,
  };
}

function processCapacity(descriptors: number, workers: number): Capacity {
  // No process can open more than fs.nr_open, which is 2^20 unless somebody raised it.
  const table = Math.min(descriptors, RING_DESCRIPTORS_MAX);
  return {
    connectionsMax: Math.floor((table - PROCESS_DESCRIPTORS_SPARE) / DESCRIPTORS_PER_CONNECTION / workers),
    limit: table === descriptors ? `RLIMIT_NOFILE (${descriptors})` : `${table} descriptors`,
  };
}

function tooFew(
  engine: EngineName,
  workers: number,
  wanted: number,
  descriptors: number,
  available: Capacity,
): TidegateError {
  const needed =
    engine === 'uring'
      ? wanted * DESCRIPTORS_PER_CONNECTION + RING_DESCRIPTORS_SPARE
      : wanted * DESCRIPTORS_PER_CONNECTION * workers + PROCESS_DESCRIPTORS_SPARE;
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
