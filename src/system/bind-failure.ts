// Why an address can't be listened on, for a library that only says that it couldn't.
import { isIP } from 'node:net';
import { AF_INET, AF_INET6 } from '../../assembly/uring/abi.ts';
import { bind, close, encodeSockaddr, listen, SO_REUSEADDR, SOL_SOCKET, setsockopt, socket } from './libc.ts';

/** Tries it once more, and returns the system's error. */
export function bindFailure(address: { host: string; port: number }): Error {
  const taken = Object.assign(new Error('the port was taken a moment ago'), { code: 'EADDRINUSE' });
  return bindFault(address) ?? taken;
}

/** null when it can be listened on. */
export function bindFault({ host, port }: { host: string; port: number }): NodeJS.ErrnoException | null {
  let fd = -1;
  try {
    fd = socket(isIP(host) === 6 ? AF_INET6 : AF_INET);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    bind(fd, encodeSockaddr(host, port));
    listen(fd, 1);
    return null;
  } catch (error) {
    return error as NodeJS.ErrnoException;
  } finally {
    if (fd >= 0) close(fd);
  }
}
