// What a client begins with, for doors that look at it and leave it to whoever reads the socket next.
import type { Socket } from 'node:net';

/**
 * `look` is given all that has come, again with each piece, until it finds something: anything but undefined. Then the
 * socket is paused, and `seen` may be put back into it. A client that ends before is let go.
 */
export function readOpening<Found>(
  socket: Socket,
  look: (seen: Buffer) => Found | undefined,
  onFound: (found: Found, seen: Buffer) => void,
): void {
  let seen: Buffer = Buffer.alloc(0);
  const onEnd = () => socket.destroy();
  const onData = (bytes: Buffer) => {
    seen = seen.length === 0 ? bytes : Buffer.concat([seen, bytes]);
    const found = look(seen);
    if (found === undefined) return;
    socket.off('data', onData).off('end', onEnd).pause();
    onFound(found, seen);
  };
  socket.on('data', onData).on('end', onEnd).resume();
}
