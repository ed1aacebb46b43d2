// Listening sockets that somebody else opened and this process was started with, by the convention of sd_listen_fds(3):
// they lie from descriptor 3 on, LISTEN_FDS counts them, LISTEN_FDNAMES names them. Either a service manager passes them
// (socket activation; LISTEN_PID is our pid), or a predecessor that hands over to us. That one can't know our pid before
// we run, so it names itself and its engine in TIDEGATE_PREDECESSOR, and leaves a channel to it behind the last socket.
import type { EngineName } from '../engine/engine.ts';
import {
  close,
  decodeSockaddr,
  getsockname,
  getsockopt,
  SO_ACCEPTCONN,
  SOL_SOCKET,
  setBlocking,
  setCloseOnExec,
} from '../system/libc.ts';

const FIRST_FD = 3;
const VARIABLES = ['LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES', 'LISTEN_PIDFDID', 'TIDEGATE_PREDECESSOR'];

export interface InheritedSocket {
  fd: number;
  /** Empty where nobody gave it one. */
  name: string;
  /** host and port that it listens on; an empty host: it is no listening TCP socket. */
  host: string;
  port: number;
}

export interface Inheritance {
  sockets: readonly InheritedSocket[];
  /** undefined: nobody hands over to us. */
  predecessor?: Predecessor;
}

export interface Predecessor {
  pid: number;
  engine: EngineName;
  channelFd: number;
}

/** What the environment speaks of, taken out of it: it is meant for this process and for none that it starts. */
export function takeInheritance(env: NodeJS.ProcessEnv = process.env): Inheritance {
  const { LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES = '', TIDEGATE_PREDECESSOR } = env;
  for (const name of VARIABLES) delete env[name];
  const count = Number(LISTEN_FDS ?? 0);
  const names = LISTEN_FDNAMES.split(':');
  const [pid, engine] = (TIDEGATE_PREDECESSOR ?? '').split(' ');
  if (Number(pid) === process.ppid && (engine === 'uring' || engine === 'portable')) {
    const sockets = inheritedSockets(count, names.map(decodeURIComponent));
    const channelFd = FIRST_FD + count;
    setCloseOnExec(channelFd);
    return { sockets, predecessor: { pid: process.ppid, engine, channelFd } };
  }
  if (Number(LISTEN_PID) !== process.pid) return { sockets: [] };
  const sockets = inheritedSockets(count, names);
  // A ring's accept doesn't wait on a socket in this mode, and node:net sets it by itself. A predecessor's sockets keep
  // theirs: the mode belongs to the socket, and it still accepts from them.
  for (const { fd } of sockets) setBlocking(fd);
  return { sockets };
}

/** The environment of a successor that is started with these sockets from descriptor 3 on, then the channel. */
export function bequestEnvironment(names: readonly string[], engine: EngineName): Record<string, string> {
  return {
    LISTEN_FDS: `${names.length}`,
    // A name of ours may hold what separates names there.
    LISTEN_FDNAMES: names.map(encodeURIComponent).join(':'),
    TIDEGATE_PREDECESSOR: `${process.pid} ${engine}`,
  };
}

export function closeInherited({ sockets }: Inheritance): void {
  for (const { fd } of sockets) close(fd);
}

function inheritedSockets(count: number, names: readonly string[]): InheritedSocket[] {
  return Array.from({ length: count }, (_, index) => {
    const fd = FIRST_FD + index;
    setCloseOnExec(fd);
    return { fd, name: names[index] ?? '', ...listeningAddress(fd) };
  });
}

function listeningAddress(fd: number): { host: string; port: number } {
  try {
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN) === 1) return decodeSockaddr(getsockname(fd));
  } catch {
    // It is no socket at all.
  }
  return { host: '', port: 0 };
}
