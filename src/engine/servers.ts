// The portable engine's listening servers, which follow the snapshot: those that are new are opened, removed ones closed
// when nobody waits in their queues any more. A server owns its descriptor, and closes it with itself.
import { createServer, type Server, type Socket } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import {
  HEADER_EPOCH_SEEN,
  HEADER_LISTENER_FDS,
  HEADER_REGION_SNAPSHOTS,
  LISTENER_ENTRY_BYTES,
  LISTENER_FD,
  NONE,
  SNAPSHOT_HALF_BYTES,
  SNAPSHOT_LISTENER_COUNT,
  SNAPSHOT_LISTENERS,
} from '../../assembly/layout.ts';
import { headerWords, regionOffset } from '../header.ts';
import { BACKLOG } from './engine.ts';

/** How long the queue of a removed listener is emptied: whoever goes on connecting to it can't keep it open. */
const LEAVE_MS = 500;

export interface ServersOptions {
  memory: WebAssembly.Memory;
  /** Before new listeners are opened: what goes with them is to be learned now. */
  onFollow(): void;
  /** A client has come to the listener of that index. */
  onClient(listener: number, socket: Socket): void;
  onAcceptError(): void;
}

interface Listening {
  server: Server;
  accepted: number;
}

export class Servers {
  readonly #options: ServersOptions;
  readonly #header: Uint32Array;
  readonly #words: Uint32Array;
  readonly #snapshots: number;
  /** By index of the listener; those that are being left are here no more. */
  readonly #listening = new Map<number, Listening>();
  #followedEpoch = 0;
  #isOpen = false;

  constructor(options: ServersOptions) {
    const { memory } = options;
    this.#options = options;
    this.#header = headerWords(memory);
    this.#words = new Uint32Array(memory.buffer);
    this.#snapshots = regionOffset(memory, HEADER_REGION_SNAPSHOTS);
  }

  /** Accepts clients from now on. Resolves when every listener of the snapshot in force listens. */
  open(): Promise<void> {
    this.#isOpen = true;
    return this.follow();
  }

  /** Once they are open: opens and closes what the snapshot in force says. Resolves when the new ones listen. */
  async follow(): Promise<void> {
    const epoch = this.#header[HEADER_EPOCH_SEEN / 4]!;
    if (!this.#isOpen || epoch === this.#followedEpoch) return;
    this.#followedEpoch = epoch;
    this.#options.onFollow();
    const opening: Promise<void>[] = [];
    for (const [listener, fd] of this.#listenerFds(epoch).entries()) {
      const known = this.#listening.get(listener);
      if (known === undefined && fd !== NONE) opening.push(this.#open(listener, fd));
      if (known !== undefined && fd === NONE) void this.#leave(listener, known);
    }
    await Promise.all(opening);
  }

  /** Accepts nobody any more. */
  close(): void {
    this.#isOpen = false;
    for (const { server } of this.#listening.values()) server.close();
  }

  #listenerFds(epoch: number): number[] {
    const half = this.#snapshots + (epoch & 1) * SNAPSHOT_HALF_BYTES;
    const count = this.#words[(half + SNAPSHOT_LISTENER_COUNT) / 4]!;
    const first = half + SNAPSHOT_LISTENERS + LISTENER_FD;
    return Array.from({ length: count }, (_, index) => this.#words[(first + index * LISTENER_ENTRY_BYTES) / 4]!);
  }

  #open(listener: number, fd: number): Promise<void> {
    const { onClient, onAcceptError } = this.#options;
    this.#tell(listener, fd);
    // Accepted sockets inherit TCP_NODELAY from the listening one.
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      listening.accepted += 1;
      onClient(listener, socket);
    });
    const listening: Listening = { server, accepted: 0 };
    this.#listening.set(listener, listening);
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      // As an option beside fd the backlog is ignored.
      server.listen({ fd }, BACKLOG, () => {
        server.off('error', reject);
        server.on('error', onAcceptError);
        resolve();
      });
    });
  }

  /** Closing a socket resets who waits in its queue: so it is closed when a turn of the event loop found nobody there. */
  async #leave(listener: number, listening: Listening): Promise<void> {
    this.#listening.delete(listener);
    const endMs = performance.now() + LEAVE_MS;
    let seen: number;
    do {
      seen = listening.accepted;
      await nextTurn();
      await nextTurn();
    } while (listening.accepted > seen && performance.now() < endMs && this.#isOpen);
    listening.server.close();
    this.#tell(listener, NONE);
  }

  /** The main thread closes its own descriptor of a removed listener when this one is gone. */
  #tell(listener: number, fd: number): void {
    Atomics.store(this.#header, HEADER_LISTENER_FDS / 4 + listener, fd);
  }
}
