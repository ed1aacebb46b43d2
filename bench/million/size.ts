// How many sessions this machine bears with both ends of each on it, and what follows from their number.
import { readFileSync } from 'node:fs';
import { WORKERS_MAX } from '../../src/config/schema.ts';
import { findCapacity } from '../../src/control/capacity.ts';
import { localPorts } from '../../src/system/local-ports.ts';

const CONNECTIONS_WANTED = 1_000_000;
/** Of one session: four sockets, and what three processes have in their own memory. */
const SESSION_BYTES = 19 << 10;
/** What stays free whatever happens; see watch.ts. */
export const MEMORY_SPARE_BYTES = 1.5 * 2 ** 30;
/** The kernel deals connections out by a hash: of 32 workers the fullest got a tenth more than its share. */
const UNEVEN = 1.15;
/**
 * Of the ports between two addresses so many are used. connect() looks through all even ones first, and through the odd ones
 * when none is left: from then on each takes a millisecond.
 */
const PORTS_USED = 0.4;
/** The hash doesn't deal out evenly to backends, and one of them is drained. */
const BACKENDS_UNEVEN = 1.2;
const BACKENDS_MIN = 3;
const BACKENDS_MAX = 48;
/** While there are backends enough for it, no balancer needs more than one address to connect from. */
const SESSIONS_PER_BACKEND = 9000;
/** As many as the swarm can dial. */
const TARGETS_MAX = 256;
const SOCKETS_PER_SESSION = 4;
const FILES_SPARE = 10_000;
const ROUND = 1000;

export interface Size {
  connections: number;
  /** What does not allow more. */
  limit: string;
}

/** `wanted` is what somebody asked for; without it as many as the machine bears, and a million at most. */
export function findSize(wanted: number | undefined, descriptors: number): Size {
  const bounds = [...machineBounds(), ...descriptorBounds(descriptors)];
  const least = bounds.reduce((one, other) => (other.connections < one.connections ? other : one));
  const most = { ...least, connections: Math.floor(least.connections / ROUND) * ROUND };
  const asked = wanted ?? CONNECTIONS_WANTED;
  if (most.connections >= asked) return { connections: asked, limit: 'as many as were asked for' };
  if (wanted !== undefined) throw new RangeError(`${wanted} connections can't be had: ${most.limit}`);
  return most;
}

function machineBounds(): Size[] {
  const available = availableBytes();
  return [
    {
      connections: Math.floor((available - MEMORY_SPARE_BYTES) / SESSION_BYTES),
      limit: `${gibibytes(available)} of memory are available, and a session with both ends takes about 19 KiB`,
    },
    {
      connections: Math.floor(TARGETS_MAX * portsBetween()),
      limit: `net.ipv4.ip_local_port_range leaves ${localPorts()} ports for each pair of addresses`,
    },
    ...fileBounds(),
  ];
}

/** root may exceed it. */
function fileBounds(): Size[] {
  if (process.getuid?.() === 0) return [];
  const fileMax = Number(readFileSync('/proc/sys/fs/file-max', 'utf8'));
  const connections = Math.floor((fileMax - FILES_SPARE) / SOCKETS_PER_SESSION);
  return [{ connections, limit: `fs.file-max is ${fileMax}, and a session with both ends has four sockets` }];
}

function descriptorBounds(descriptors: number): Size[] {
  const { connectionsMax, limit } = findCapacity('uring', WORKERS_MAX, 'auto', descriptors);
  return [{ connections: Math.floor((WORKERS_MAX * connectionsMax) / UNEVEN), limit }];
}

/** Of Tidegate, so that the fullest of them has room. At least one for each core. */
export function workersFor(connections: number, descriptors: number, cores: number): number {
  const { connectionsMax } = findCapacity('uring', cores, 'auto', descriptors);
  return Math.max(cores, Math.ceil((connections * UNEVEN) / connectionsMax));
}

/** Addresses of the balancer that clients dial. */
export function targetsFor(connections: number): string[] {
  return addresses('127.0.0', Math.ceil(connections / portsBetween()));
}

/** Addresses of the sink. */
export function backendsFor(connections: number): string[] {
  const wanted = Math.ceil(connections / SESSIONS_PER_BACKEND);
  return addresses('127.0.1', Math.min(BACKENDS_MAX, Math.max(BACKENDS_MIN, wanted)));
}

/** Addresses that the balancer connects from; none when it needs no more than the one that it has. */
export function sourcesFor(connections: number): string[] {
  const count = Math.ceil((connections * BACKENDS_UNEVEN) / backendsFor(connections).length / portsBetween());
  return count === 1 ? [] : addresses('127.0.2', count);
}

/** How many connections two addresses have between them at the usual price. */
function portsBetween(): number {
  return localPorts() * PORTS_USED;
}

function addresses(network: string, count: number): string[] {
  return Array.from({ length: count }, (_, index) => `${network}.${index + 1}`);
}

/** Of memory, in bytes, without pushing anybody else out. */
export function availableBytes(): number {
  return Number(/^MemAvailable:\s+(\d+)/m.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1]) * 1024;
}

export function gibibytes(bytes: number): string {
  return `${(bytes / 2 ** 30).toFixed(1)} GiB`;
}
