// A reset that can't leave the process hanging: node:net forgets a socket that is reset while its FIN is on the way, but
// keeps its handle, and a process that ends waits for that for ever.
import type { Socket } from 'node:net';

export function reset(socket: Socket): void {
  if (socket.writableEnded) socket.destroy();
  else socket.resetAndDestroy();
}
