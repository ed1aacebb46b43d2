// Listening sockets: one for each listener and worker, opened once and kept by the main thread until the
// listener is removed. A connection that waits in a socket's queue outlives the worker that should have accepted it, and a
// socket that was inherited brings its queue along. So none of those is closed as long as its listener is wanted: where
// there are more of them than workers, there will be as many workers.

import { fstatSync } from 'node:fs';
import { platform } from 'node:os';
import { NONE } from '../../assembly/layout.ts';
import { AF_INET, AF_INET6, IPPROTO_TCP, TCP_NODELAY } from '../../assembly/uring/abi.ts';
import { type Address, canonicalAddress, formatAddress } from '../config/address.ts';
import type { ListenerConfig } from '../config.ts';
import { BACKLOG, carrierOf, type EngineName } from '../engine/engine.ts';
import { bindError, TidegateError } from '../errors.ts';
import {
  bind,
  close,
  decodeSockaddr,
  dup,
  encodeSockaddr,
  getsockname,
  getsockopt,
  IPPROTO_IPV6,
  IPV6_V6ONLY,
  isBlocking,
  listen,
  SO_REUSEADDR,
  SO_REUSEPORT,
  SOL_SOCKET,
  setsockopt,
  socket,
} from '../system/libc.ts';
import { resolveHost } from '../system/resolve-host.ts';
import type { InheritedSocket } from './inherited.ts';

export interface ListenerGroup {
  name: string;
  /** What the workers know it by, once it is in force. */
  index: number;
  host: string;
  /** The real one, where 0 was asked for. */
  port: number;
  /** One for each worker, in their order. */
  fds: number[];
}

/**
 * Inherited sockets are copied: whoever passed them closes them in the end. `isOurs` says that a socket of this process may
 * be what has the port already, when that is no fault. Fails with a TidegateError that names the address and what to do;
 * nothing stays open then.
 */
export async function openListeners(
  listeners: readonly ListenerConfig[],
  workers: number,
  inherited: readonly InheritedSocket[] = [],
  isOurs: (bind: Address) => boolean = () => false,
): Promise<ListenerGroup[]> {
  const groups: ListenerGroup[] = [];
  try {
    for (const listener of listeners) {
      const sockets = await socketsOf(listener, inherited);
      groups.push(await openGroup(listener, workers, sockets, isOurs(listener.bind)));
    }
    return groups;
  } catch (error) {
    closeListeners(groups);
    throw error;
  }
}

export function closeListeners(groups: readonly ListenerGroup[]): void {
  // From the last one on: the kernel puts the last of those that share a port where one has gone, and others may be behind these.
  for (const { fds } of groups) for (const fd of fds.splice(0).reverse()) close(fd);
}

/** The workers that it takes to serve every inherited socket which a listener asks for. */
export async function workersNeeded(
  listeners: readonly ListenerConfig[],
  inherited: readonly InheritedSocket[],
): Promise<number> {
  const counts = listeners.map(async (listener) => (await socketsOf(listener, inherited)).length);
  return Math.max(1, ...(await Promise.all(counts)));
}

/** Those that no listener asks for. */
export async function strangers(
  listeners: readonly ListenerConfig[],
  inherited: readonly InheritedSocket[],
): Promise<InheritedSocket[]> {
  const known = await Promise.all(listeners.map((listener) => socketsOf(listener, inherited)));
  return inherited.filter((socket) => !known.flat().includes(socket));
}

/**
 * A predecessor goes on accepting from its sockets for a while, and the engines want them in different modes: a listener
 * that goes from one engine to the other is no matter for an upgrade. Fails with a TidegateError that says what is.
 */
export async function checkHandedOver(
  listeners: readonly ListenerConfig[],
  inherited: readonly InheritedSocket[],
  engine: EngineName,
): Promise<void> {
  if (engine !== 'uring') return; // all listeners are the portable engine's
  for (const listener of listeners) {
    const [socket] = await socketsOf(listener, inherited);
    if (socket === undefined || isBlocking(socket.fd) === (carrierOf(engine, listener) === 'uring')) continue;
    const message = `listener ${listener.name} goes to the other engine (it gets tls, websocket or a pool with tls, or loses it), which an upgrade can't do: reload before it`;
    throw new TidegateError('UPGRADE', message);
  }
}

/** Whether several workers accept from one socket, so that nothing can choose between them. */
export function isShared({ fds }: Pick<ListenerGroup, 'fds'>): boolean {
  return new Set(fds.map((fd) => fstatSync(fd).ino)).size < fds.length;
}

/** By address; a listener that takes any port takes those on its host that bear its name. */
async function socketsOf(
  { name, bind }: ListenerConfig,
  inherited: readonly InheritedSocket[],
): Promise<InheritedSocket[]> {
  if (inherited.length === 0) return [];
  const host = await resolveHost(bind.host).catch(() => bind.host);
  const wanted = canonicalAddress({ host, port: bind.port });
  return inherited.filter((socket) => {
    if (socket.host === '') return false;
    if (bind.port !== 0) return canonicalAddress(socket) === wanted;
    return socket.name === name && canonicalAddress({ host: socket.host, port: 0 }) === wanted;
  });
}

async function openGroup(
  { name, bind: { host, port } }: ListenerConfig,
  workers: number,
  inherited: readonly InheritedSocket[],
  isOurs: boolean,
): Promise<ListenerGroup> {
  const fds: number[] = [];
  try {
    const address = encodeSockaddr(await resolveHost(host), port);
    if (port !== 0 && inherited.length === 0 && !isOurs) probeAddress(address);
    for (const { fd } of inherited) fds.push(adopt(fd));
    if (fds.length === 0) fds.push(openSocket(address));
    const bound = getsockname(fds[0]!);
    while (fds.length < workers) fds.push(openSibling(fds[0]!, bound, inherited.length > 0));
    return { name, index: NONE, host, port: decodeSockaddr(bound).port, fds };
  } catch (error) {
    for (const fd of fds) close(fd);
    throw bindError((error as NodeJS.ErrnoException).code ?? String(error), formatAddress({ host, port }));
  }
}

/** A copy of a socket that somebody else opened, as one of ours would be. */
function adopt(inherited: number): number {
  const fd = dup(inherited);
  try {
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    listen(fd, BACKLOG);
    return fd;
  } catch (error) {
    close(fd);
    throw error;
  }
}

/**
 * SO_REUSEPORT lets another process of the same user, say a second Tidegate, bind the same port without a word, and
 * the two would share its clients. A socket without it is refused whenever anybody listens there.
 */
function probeAddress(address: Uint8Array): void {
  const fd = createSocket(address);
  try {
    bind(fd, address);
  } finally {
    close(fd);
  }
}

/**
 * Only Linux spreads connections over the sockets of a port; elsewhere the workers accept from one. So they do where the
 * first one is inherited and its port can't be shared, as service managers open it, or only by a user that we aren't.
 */
function openSibling(first: number, address: Uint8Array, isInherited: boolean): number {
  if (platform() !== 'linux' || getsockopt(first, SOL_SOCKET, SO_REUSEPORT) === 0) return dup(first);
  try {
    return openSocket(address);
  } catch (error) {
    if (isInherited) return dup(first);
    throw error;
  }
}

function openSocket(address: Uint8Array): number {
  const fd = createSocket(address);
  try {
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    // Accepted sockets inherit it, which spares one call for each client.
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    bind(fd, address);
    listen(fd, BACKLOG);
    return fd;
  } catch (error) {
    close(fd);
    throw error;
  }
}

/** IPv6 sockets take IPv6 only, so that [::]:1883 and 0.0.0.0:1883 can stand side by side and peers look like one thing. */
function createSocket(address: Uint8Array): number {
  const family = address[0] === AF_INET6 ? AF_INET6 : AF_INET;
  const fd = socket(family);
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  if (family === AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
  return fd;
}
