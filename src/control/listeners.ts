// Listening sockets: one for each listener and worker, opened once and kept by the main thread until the end. A
// connection that waits in a socket's queue outlives the worker that should have accepted it.
import { platform } from 'node:os';
import { AF_INET, AF_INET6, IPPROTO_TCP, TCP_NODELAY } from '../../assembly/uring/abi.ts';
import { formatAddress } from '../config/address.ts';
import type { ListenerConfig } from '../config.ts';
import { BACKLOG } from '../engine/engine.ts';
import { bindError } from '../errors.ts';
import {
  bind,
  close,
  decodeSockaddr,
  dup,
  encodeSockaddr,
  getsockname,
  IPPROTO_IPV6,
  IPV6_V6ONLY,
  listen,
  SO_REUSEADDR,
  SO_REUSEPORT,
  SOL_SOCKET,
  setsockopt,
  socket,
} from '../system/libc.ts';
import { resolveHost } from '../system/resolve-host.ts';

export interface ListenerGroup {
  name: string;
  host: string;
  /** The real one, where 0 was asked for. */
  port: number;
  /** One for each worker, in their order. */
  fds: number[];
}

/** Fails with a TidegateError that names the address and what to do; nothing stays open then. */
export async function openListeners(listeners: readonly ListenerConfig[], workers: number): Promise<ListenerGroup[]> {
  const groups: ListenerGroup[] = [];
  try {
    for (const { name, bind } of listeners) groups.push(await openGroup(name, bind, workers));
    return groups;
  } catch (error) {
    closeListeners(groups);
    throw error;
  }
}

export function closeListeners(groups: readonly ListenerGroup[]): void {
  for (const { fds } of groups) for (const fd of fds.splice(0)) close(fd);
}

async function openGroup(
  name: string,
  { host, port }: ListenerConfig['bind'],
  workers: number,
): Promise<ListenerGroup> {
  const fds: number[] = [];
  try {
    const address = encodeSockaddr(await resolveHost(host), port);
    if (port !== 0) probeAddress(address);
    fds.push(openSocket(address));
    const bound = getsockname(fds[0]!);
    while (fds.length < workers) fds.push(openSibling(fds[0]!, bound));
    return { name, host, port: decodeSockaddr(bound).port, fds };
  } catch (error) {
    for (const fd of fds) close(fd);
    throw bindError((error as NodeJS.ErrnoException).code ?? String(error), formatAddress({ host, port }));
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

/** Only Linux spreads connections over the sockets of a port; elsewhere the workers accept from one. */
function openSibling(first: number, address: Uint8Array): number {
  return platform() === 'linux' ? openSocket(address) : dup(first);
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
