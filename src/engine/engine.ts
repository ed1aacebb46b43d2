// The two engines, and which one carries the connections.
import type { MessagePort } from 'node:worker_threads';
import { PROVIDED_ENTRIES_MAX } from '../../assembly/layout.ts';
import type { Config, ListenerConfig } from '../config.ts';
import { TidegateError } from '../errors.ts';

/** Of one proxied connection: the client's and the backend's. */
export const DESCRIPTORS_PER_CONNECTION = 2;
/**
 * Of a listening socket, cut by the kernel to net.core.somaxconn. node:net calls listen() once more on the one that it is
 * given, with 511 when it isn't told: a storm that overflows the queue then waits a second for every SYN lost.
 */
export const BACKLOG = 65535;

/** Entries of the ring of provided buffers; assembly/uring/ring.ts computes the same. */
export function providedEntries(bufferCount: number): number {
  return Math.min(bufferCount, PROVIDED_ENTRIES_MAX);
}

export type EngineName = 'uring' | 'portable';

/** What a worker thread is given; everything else is in its memory, the listening sockets in the snapshot there. */
export interface WorkerStart {
  engine: EngineName;
  index: number;
  memory: WebAssembly.Memory;
  module: WebAssembly.Module;
  /** The core that its thread keeps to. */
  core: number | undefined;
  /** On which the portable engine hears of its front doors, in DoorsUpdate. */
  doors: MessagePort | undefined;
}

/** Which engine accepts the listener's clients: uring carries plain TCP, what needs more has workers beside it. */
export function carrierOf(
  engine: EngineName,
  { tls, webSocket, passThrough, leadsToTls }: Pick<ListenerConfig, 'tls' | 'webSocket' | 'passThrough' | 'leadsToTls'>,
): EngineName {
  return tls === null && webSocket === null && passThrough === null && !leadsToTls ? engine : 'portable';
}

/** Whether rings work here, and if not, what forbids them. */
export type Probe = { ok: true } | { ok: false; code: string; why: string };

export async function probeUring(): Promise<Probe> {
  if (process.platform !== 'linux') {
    return { ok: false, code: 'URING', why: `io_uring is Linux's, and this is ${process.platform}` };
  }
  const uring = await import('./uring.ts');
  return uring.probeUring();
}

/** An engine, and why it is this one. */
export interface EngineChoice {
  engine: EngineName;
  why: string;
}

/** `predecessors` is the engine of the process whose sockets we take over, if there is one. */
export async function chooseEngine(wanted: Config['engine'], predecessors?: EngineName): Promise<EngineChoice> {
  if (predecessors !== undefined) return inheritEngine(wanted, predecessors);
  const asked = 'the configuration asks for it';
  if (wanted === 'portable') return { engine: 'portable', why: asked };
  const probe = await probeUring();
  // How much memory must be locked is known when the real rings are set up: their failure says it, the probe's can't.
  if (probe.ok || probe.code === 'RLIMIT_MEMLOCK') {
    return { engine: 'uring', why: wanted === 'uring' ? asked : 'the kernel allows io_uring' };
  }
  if (wanted === 'auto') return { engine: 'portable', why: probe.why };
  throw new TidegateError('URING', `engine uring can't be had: ${probe.why}; set engine to auto or portable`);
}

/** The two want a socket in different modes, and for a while predecessor and successor accept from the same ones. */
function inheritEngine(wanted: Config['engine'], predecessors: EngineName): EngineChoice {
  if (wanted === 'auto' || wanted === predecessors) return { engine: predecessors, why: 'the predecessor has it' };
  const message = `engine ${wanted} can't take over from engine ${predecessors}: restart to change the engine`;
  throw new TidegateError('ENGINE', message);
}
