// The kernel's half of io_uring, as far as the data plane uses it, over virtual time: entries are taken in order, begin
// at once or a little later, and are answered when the world lets them. As with DEFER_TASKRUN, nothing but the taking of
// entries happens outside of a call that waits. What the data plane must not do is thrown as a Violation on the spot.
import {
  HEADER_CLOCK_MS,
  HEADER_CONNECTIONS_MAX,
  HEADER_ENTER_ARGUMENT,
  HEADER_OFFSET,
} from '../../assembly/layout.ts';
import {
  EAGAIN,
  EBUSY,
  ECANCELED,
  EINTR,
  ETIME,
  GETEVENTS_MIN_WAIT_USEC,
  GETEVENTS_TS,
  IORING_CQE_BUFFER_SHIFT,
  IORING_CQE_F_BUFFER,
  IORING_CQE_F_MORE,
  IORING_ENTER_EXT_ARG,
  IORING_ENTER_GETEVENTS,
  IOSQE_CQE_SKIP_SUCCESS,
  IOSQE_IO_LINK,
} from '../../assembly/uring/abi.ts';
import { ProvidedBuffers } from './buffers.ts';
import { KernelMemory } from './memory.ts';
import type { Operation } from './operation.ts';
import { handlers } from './operations.ts';
import {
  clientPlace,
  generationOf,
  HELD_MAX,
  isAwaited,
  PHASE_ACCEPTING,
  PHASE_FREE,
  PHASE_OPEN,
  PlaneView,
  receivePlace,
} from './plane-view.ts';
import { type RingPlaces, Rings } from './rings.ts';
import { type Peer, Socket } from './socket.ts';
import type { Timeline } from './timeline.ts';
import type { Trace } from './trace.ts';
import type { Troublemaker } from './trouble.ts';
import { Violation } from './violation.ts';

/** How many answers the kernel prepares in one call when it is not asked for more. */
const WORK_AT_ONCE_MAX = 20;

export interface Arrival {
  peer: Peer;
  socket: Socket;
  sockaddr: Uint8Array;
}

/** A listening socket: clients that connected, and accepts that wait for one. */
export interface Listener {
  backlog: Arrival[];
  accepts: Operation[];
}

/** What the kernel asks of the world. */
export interface World {
  /** A connection to a backend begins; `socket.peer` is set when somebody is there. */
  dial(socket: Socket, sockaddr: Uint8Array, client: Socket | null): { result: number; delayMs: number };
  /** A chain of socket and connect begins. */
  onDial(slot: number): void;
  /** A port is looked for, from one source to one backend. */
  onPortWanted(slot: number, sockaddr: Uint8Array, source: number): void;
  /** None was left. */
  onOutOfPorts(slot: number, sockaddr: Uint8Array, source: number): void;
  onAccepted(arrival: Arrival, slot: number): void;
  /** How many buffers the CONNECT of the client in a place may fill. */
  headBuffers(place: number): number;
  onClockJump(milliseconds: number): void;
}

export interface KernelParts {
  memory: WebAssembly.Memory;
  base: number;
  places: RingPlaces & { provided: number };
  timeline: Timeline;
  trouble: Troublemaker;
  trace: Trace | null;
}

export class Kernel {
  readonly memory: KernelMemory;
  readonly rings: Rings;
  readonly buffers: ProvidedBuffers;
  readonly plane: PlaneView;
  readonly timeline: Timeline;
  readonly trouble: Troublemaker;
  readonly trace: Trace | null;
  /** The table of direct descriptors. */
  readonly files: (Socket | null)[];
  readonly listeners = new Map<number, Listener>();
  /** Operations that began and weren't answered for the last time. */
  readonly inFlight = new Map<number, Operation>();
  world!: World;
  /** What the data plane's own counter should say. */
  acceptErrors = 0;
  wakeCount = 0;
  wakeRead: Operation | null = null;
  readonly #clock: Float64Array;
  /** For each slot, answers that it waits for and hasn't read. */
  readonly #awaited: Int32Array;
  /** The generation of each slot's life before. */
  readonly #generations: Int32Array;
  #read = 0;
  #slotToCheck = 0;

  constructor({ memory, base, places, timeline, trouble, trace }: KernelParts) {
    this.memory = new KernelMemory(memory, base);
    this.timeline = timeline;
    this.trouble = trouble;
    this.trace = trace;
    this.rings = new Rings(this.memory, places);
    this.plane = new PlaneView(memory);
    const slots = this.memory.header(HEADER_CONNECTIONS_MAX);
    this.buffers = new ProvidedBuffers(this.memory, places.provided, slots * 2);
    this.files = new Array<Socket | null>(slots * 2).fill(null);
    this.#awaited = new Int32Array(slots);
    this.#generations = new Int32Array(slots).fill(-1);
    this.#clock = new Float64Array(memory.buffer, HEADER_OFFSET + HEADER_CLOCK_MS, 1);
  }

  // ---- The system call

  enter(submit: number, minComplete: number, flags: number): number {
    const result = this.#enter(submit, minComplete, flags);
    this.#clock[0] = this.timeline.now;
    return result;
  }

  #enter(submit: number, minComplete: number, flags: number): number {
    this.#noticeReadAnswers();
    this.buffers.observe();
    if (submit > 0 && this.trouble.makes('enter refused')) return -this.trouble.pick([EAGAIN, EBUSY]);
    const wanted = Math.min(submit, this.rings.submissionsWaiting);
    const taken = this.#submit(this.#entriesToTake(wanted));
    if (taken < wanted || !(flags & IORING_ENTER_GETEVENTS)) return taken;
    if (flags & IORING_ENTER_EXT_ARG) this.#checkNextSlot();
    const waited = this.#wait(minComplete, this.#readWait(flags));
    if (taken > 0 || this.rings.completionsWaiting > 0) return taken;
    return waited;
  }

  /** Sometimes fewer than there are: a request couldn't be allocated. A chain is taken whole. */
  #entriesToTake(waiting: number): number {
    if (waiting < 2 || !this.trouble.makes('fewer entries taken')) return waiting;
    let count = this.trouble.integer(1, waiting - 1);
    while (count < waiting && this.rings.peekFlags(count - 1) & IOSQE_IO_LINK) count++;
    return count;
  }

  #submit(count: number): number {
    let head: Operation | null = null;
    let last: Operation | null = null;
    for (let taken = 0; taken < count; taken++) {
      const operation = this.rings.take();
      this.#prepare(operation);
      if (last) last.link = operation;
      else head = operation;
      last = operation.flags & IOSQE_IO_LINK ? operation : null;
      if (!last) this.#issue(head!);
    }
    if (last) this.#issue(head!);
    return count;
  }

  // Addresses are read now, and may be written over when the call has returned.
  #prepare(operation: Operation): void {
    operation.isSilent = (operation.flags & IOSQE_CQE_SKIP_SUCCESS) !== 0;
    const handler = handlers[operation.opcode];
    if (!handler) throw new Violation(`opcode ${operation.opcode}, which this kernel doesn't know`, operation);
    handler.prepare?.(this, operation);
    if (isAwaited(operation.low) && !(operation.flags & IOSQE_IO_LINK)) this.#awaited[operation.slot]!++;
    this.trace?.entry(operation);
  }

  #issue(operation: Operation): void {
    const { key, slot } = operation;
    if (this.inFlight.has(key) && isAwaited(operation.low)) {
      throw new Violation('two operations of one identity are in flight', { slot });
    }
    this.inFlight.set(key, operation);
    handlers[operation.opcode]!.issue(this, operation);
  }

  // ---- Operations

  /** Looks at the operation again, now or a little later. */
  wake(operation: Operation): void {
    if (operation.isScheduled || operation.isDone) return;
    operation.isScheduled = true;
    this.timeline.after(this.trouble.delayMs(), () => this.step(operation));
  }

  step(operation: Operation): void {
    operation.isScheduled = false;
    if (operation.isDone) return;
    handlers[operation.opcode]!.step!(this, operation);
  }

  /** As the kernel does it: at once when it can, else when it gets round to it. */
  stepOrWake(operation: Operation): void {
    if (this.trouble.makes('late answers')) this.wake(operation);
    else this.step(operation);
  }

  /** The last answer. A chain goes on with its next link, or is over. */
  complete(operation: Operation, result: number, flags = 0): void {
    operation.isDone = true;
    if (this.inFlight.get(operation.key) === operation) this.inFlight.delete(operation.key);
    handlers[operation.opcode]!.release?.(this, operation);
    if (result < 0 || !operation.isSilent) this.answer(operation, result, flags);
    const { link } = operation;
    if (!link) return;
    if (result < 0) this.#cancelLinks(link, operation.isSilent);
    else this.timeline.after(this.trouble.delayMs(), () => this.#issue(link));
  }

  // A link that was to be silent and failed has answered for the whole chain; else every link answers.
  #cancelLinks(first: Operation, areSilent: boolean): void {
    for (let link: Operation | null = first; link; link = link.link) {
      link.isDone = true;
      if (!areSilent) this.answer(link, -ECANCELED);
    }
  }

  answer(operation: Operation, result: number, flags = 0): void {
    const { low, slot } = operation;
    if (isAwaited(low)) this.#checkIdentity(low, slot);
    const completion = { low, slot, result, flags };
    this.trace?.answer(completion);
    this.rings.post(completion);
  }

  // ---- The world outside

  /** A client connects. It waits in the backlog until it is accepted. */
  connect(fd: number, arrival: Arrival): void {
    const { backlog, accepts } = this.listeners.get(fd)!;
    backlog.push(arrival);
    const idle = accepts.find(({ isScheduled }) => !isScheduled);
    if (idle) this.wake(idle);
  }

  /** Somebody writes to the eventfd. */
  writeEventfd(): void {
    this.wakeCount++;
    if (this.wakeRead) this.wake(this.wakeRead);
  }

  // ---- Files

  fileAt(operation: Operation): Socket | null {
    operation.place = operation.fd;
    if (operation.fd >= this.files.length) throw new Violation(`place ${operation.fd} of the file table`, operation);
    return this.files[operation.fd]!;
  }

  newSocket(): Socket {
    return new Socket((operation) => this.wake(operation));
  }

  /** What stood in the place is closed. */
  install(operation: Operation, socket: Socket): void {
    const place = operation.fileIndex - 1;
    if (!(place >= 0 && place < this.files.length)) throw new Violation(`file index ${operation.fileIndex}`, operation);
    operation.place = place;
    this.#closeFile(place);
    this.files[place] = socket;
  }

  /** False when nothing stands there. */
  closePlace(place: number): boolean {
    if (!this.files[place]) return false;
    this.#closeFile(place);
    this.files[place] = null;
    return true;
  }

  #closeFile(place: number): void {
    const file = this.files[place];
    if (!file) return;
    if (file.isBusy)
      throw new Violation('a file is closed while an operation on it is in flight', { slot: place >>> 1 });
    file.close();
  }

  // ---- Waiting

  #readWait(flags: number): { minWaitMs: number; timeoutMs: number } {
    if (!(flags & IORING_ENTER_EXT_ARG)) return { minWaitMs: 0, timeoutMs: Infinity };
    const argument = HEADER_OFFSET + HEADER_ENTER_ARGUMENT;
    const minWaitMs = this.memory.word(argument + GETEVENTS_MIN_WAIT_USEC) / 1000;
    const address = this.memory.long(argument + GETEVENTS_TS);
    if (address === 0) return { minWaitMs, timeoutMs: Infinity };
    const timeout = this.memory.offsetOf(address, 16, 'the timeout of a wait');
    return { minWaitMs, timeoutMs: this.memory.long(timeout) * 1000 + this.memory.long(timeout + 8) / 1e6 };
  }

  #wait(minComplete: number, { minWaitMs, timeoutMs }: { minWaitMs: number; timeoutMs: number }): number {
    const { timeline, trouble, rings } = this;
    const deadline = timeline.now + timeoutMs;
    const minDeadline = minWaitMs > 0 ? timeline.now + minWaitMs : Infinity;
    if (trouble.makes('clock jumps')) this.#jump();
    const workMax = trouble.makes('few answers at once') ? Math.max(WORK_AT_ONCE_MAX, minComplete) : Infinity;
    let work = 0;
    rings.flushOverflow();
    for (;;) {
      const enough = Math.min(minComplete, rings.completionEntries);
      if (rings.completionsWaiting >= enough || work >= workMax) break;
      if (rings.completionsWaiting > 0 && timeline.next > minDeadline) {
        timeline.now = Math.max(timeline.now, minDeadline);
        return 0;
      }
      if (timeline.next > deadline) {
        timeline.now = Math.max(timeline.now, deadline);
        return -ETIME;
      }
      if (trouble.makes('wait interrupted')) return -EINTR;
      timeline.step();
      work++;
      rings.flushOverflow();
    }
    // The data plane isn't back at once, and more happens meanwhile.
    const back = timeline.now + trouble.magnitude(0.002, 0.2);
    while (timeline.next <= back && work++ < workMax) timeline.step();
    timeline.now = Math.max(timeline.now, back);
    return 0;
  }

  /** What the data plane takes for the present: a jump of the clock is news to it at its next turn. */
  get planeNow(): number {
    return this.#clock[0]!;
  }

  #jump(): void {
    const milliseconds = this.trouble.magnitude(50, 300_000);
    this.trace?.event(`the clock jumps by ${milliseconds} ms`);
    this.timeline.now += milliseconds;
    this.world.onClockJump(milliseconds);
  }

  // ---- What must hold at every call

  #checkIdentity(low: number, slot: number): void {
    if (
      slot < this.#awaited.length &&
      this.plane.generation(slot) === generationOf(low) &&
      this.plane.phase(slot) !== PHASE_FREE
    )
      return;
    throw new Violation('an operation is answered whose slot was given away', { slot });
  }

  #noticeReadAnswers(): void {
    const head = this.rings.completionHead;
    for (; this.#read !== head; this.#read = (this.#read + 1) >>> 0) {
      const { low, slot, flags } = this.rings.completionAt(this.#read);
      if (isAwaited(low) && !(flags & IORING_CQE_F_MORE)) this.#awaited[slot]!--;
      if (flags & IORING_CQE_F_BUFFER)
        this.buffers.onHandedOut(flags >>> IORING_CQE_BUFFER_SHIFT, receivePlace(low, slot));
    }
  }

  /** Without another generation, a late answer to the life before would be taken for one to this. */
  beginLife({ slot, low }: Operation): void {
    if (this.#generations[slot] === generationOf(low))
      throw new Violation('two lives of a slot have one generation', { slot });
    this.#generations[slot] = generationOf(low);
  }

  /** One slot at each call: all are looked at again and again, at the price of one. */
  #checkNextSlot(): void {
    this.#slotToCheck = (this.#slotToCheck + 1) % this.#awaited.length;
    this.checkSlot(this.#slotToCheck);
  }

  checkSlot(slot: number): void {
    const awaited = bitCount(this.plane.awaited(slot));
    if (awaited !== this.#awaited[slot]) {
      throw new Violation(`slot ${slot} waits for ${awaited} answers, the kernel owes it ${this.#awaited[slot]}`, {
        slot,
      });
    }
    if (awaited === 0 && this.plane.phase(slot) === PHASE_ACCEPTING)
      throw new Violation('a slot waits for no accept', { slot });
    const place = clientPlace(slot);
    if (this.plane.phase(slot) === PHASE_OPEN) this.#checkBackpressure(place);
    if (this.plane.phase(slot) !== PHASE_FREE) return;
    if (this.files[place] || this.files[place + 1])
      throw new Violation(`a file is left in the free slot ${slot}`, { slot });
  }

  /** Whoever reads on though nobody takes the bytes would end up with every buffer. A long CONNECT is let through. */
  #checkBackpressure(place: number): void {
    if (this.buffers.sparesAreUnseen) return;
    for (const side of [place, place + 1]) {
      const receive = this.files[side]?.receive;
      if (!receive || receive.isCancelled || this.buffers.heldFrom(side) <= HELD_MAX + this.world.headBuffers(place))
        continue;
      throw new Violation(`a side is read on though ${this.buffers.heldFrom(side)} buffers of it are held`, receive);
    }
  }

  checkEverySlot(): void {
    for (let slot = 0; slot < this.#awaited.length; slot++) this.checkSlot(slot);
  }
}

function bitCount(bits: number): number {
  let count = 0;
  for (let rest = bits; rest !== 0; rest &= rest - 1) count++;
  return count;
}
