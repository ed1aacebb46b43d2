// The listeners of the main thread, which come and go while the worker runs, and their sockets in the kernel.
import {
  HEADER_ACCEPTING,
  HEADER_CONNECTIONS_MAX,
  HEADER_LISTENER_ACTIVE,
  HEADER_LISTENER_FDS,
  HEADER_SLOTS_END,
  NONE,
} from '../../assembly/layout.ts';
import { headerWords } from '../../src/header.ts';
import type { Random } from '../tools/random.ts';
import type { Arrival, Kernel } from './kernel.ts';
import { Violation } from './violation.ts';
import type { World } from './world.ts';

const FD_FIRST = 40;
export const LISTENERS_MAX = 3;
/** How often the main thread looks whether a removed one was left. */
const POLL_MS = 5;
/** A worker that is asleep may look up this late, and then empties the queue for half a second. */
const LEFT_WITHIN_MS = 4000;
/** The data plane gives a queue up that isn't empty after half a second. */
const EMPTIED_WITHIN_MS = 400;

export interface ListenersParts {
  world: World;
  kernel: Kernel;
  memory: WebAssembly.Memory;
  count: number;
}

interface Removed {
  index: number;
  fd: number;
  atMs: number;
  /** What the clock had jumped until then. */
  jumpedMs: number;
  /** Who waited in its queue then. */
  waiting: readonly Arrival[];
}

export class Listeners {
  /** By index, NONE for one that was removed. */
  readonly fds: number[] = [];
  readonly #parts: ListenersParts;
  readonly #header: Uint32Array;
  readonly #removed: Removed[] = [];
  #nextFd = FD_FIRST;

  constructor(parts: ListenersParts) {
    this.#parts = parts;
    this.#header = headerWords(parts.memory);
    for (let index = 0; index < parts.count; index++) this.#open(index);
  }

  /** Of a socket that isn't closed: its listener's, which may have been removed. */
  indexOf(fd: number): number {
    return this.#removed.find((removed) => removed.fd === fd)?.index ?? this.fds.indexOf(fd);
  }

  /** To be published at once. Returns what was done. */
  change(random: Random): string {
    const open = this.fds.flatMap((fd, index) => (fd === NONE ? [] : [index]));
    if (open.length > 1 && random.chance(0.5)) return this.#remove(random.pick(open));
    const free = this.fds.findIndex((fd, index) => fd === NONE && this.#isForgotten(index));
    if (free !== -1 && random.chance(0.7)) return this.#open(free);
    if (this.fds.length < LISTENERS_MAX) return this.#open(this.fds.length);
    return open.length > 1 ? this.#remove(random.pick(open)) : 'leaves its listeners alone';
  }

  /** The data plane may not go on accepting where it no longer should. */
  checkLeft(): void {
    const { world } = this.#parts;
    for (const { index, atMs } of this.#removed) {
      if (world.isDraining || world.now - world.jumpedMs - atMs <= LEFT_WITHIN_MS) continue;
      throw new Violation(`listener ${index} was removed and is not left`);
    }
  }

  #open(index: number): string {
    const fd = this.#nextFd++;
    this.fds[index] = fd;
    this.#parts.kernel.listeners.set(fd, { backlog: [], accepts: [] });
    return `opens listener ${index}, socket ${fd}`;
  }

  #remove(index: number): string {
    const { world, kernel } = this.#parts;
    const fd = this.fds[index]!;
    this.fds[index] = NONE;
    const waiting = [...kernel.listeners.get(fd)!.backlog];
    const removed = { index, fd, atMs: world.now - world.jumpedMs, jumpedMs: world.jumpedMs, waiting };
    this.#removed.push(removed);
    this.#closeWhenLeft(removed);
    return `removes listener ${index}, socket ${fd}`;
  }

  #closeWhenLeft(removed: Removed): void {
    const { world, kernel } = this.#parts;
    kernel.timeline.after(POLL_MS, () => {
      if (world.isDraining) return;
      if (this.#isLeft(removed.index)) this.#close(removed);
      else this.#closeWhenLeft(removed);
    });
  }

  /** Whoever is in its queue is reset. */
  #close(removed: Removed): void {
    const { kernel, world } = this.#parts;
    const { backlog, accepts } = kernel.listeners.get(removed.fd)!;
    if (accepts.length > 0) throw new Violation('a listener is said to be left, and an accept waits on it');
    if (backlog.some((arrival) => removed.waiting.includes(arrival)) && this.#hadRoom(removed)) {
      throw new Violation('who waited in the queue of a removed listener was not served');
    }
    kernel.listeners.delete(removed.fd);
    this.#removed.splice(this.#removed.indexOf(removed), 1);
    for (const { peer } of backlog) {
      const life = world.lives[peer.life]!;
      kernel.trace?.deed(life.index, 'is turned away');
      life.isTurnedAway = true;
      life.client.onReset();
    }
  }

  /** A slot that was never used was always there for whoever waited. */
  #hadRoom({ atMs, jumpedMs }: Removed): boolean {
    const { world } = this.#parts;
    const hadTime = jumpedMs === world.jumpedMs && world.now - jumpedMs - atMs < EMPTIED_WITHIN_MS;
    return hadTime && this.#header[HEADER_SLOTS_END / 4]! < this.#header[HEADER_CONNECTIONS_MAX / 4]!;
  }

  #isLeft(index: number): boolean {
    const isOpen = this.#header[HEADER_LISTENER_FDS / 4 + index] !== NONE;
    return !isOpen && this.#header[HEADER_ACCEPTING / 4 + index] === 0;
  }

  /** Its index may be another's. */
  #isForgotten(index: number): boolean {
    const isClosed = !this.#removed.some((removed) => removed.index === index);
    return isClosed && this.#isLeft(index) && this.#header[HEADER_LISTENER_ACTIVE / 4 + index] === 0;
  }
}
