// One TCP connection as the kernel holds it for the data plane. No byte is kept: both ends know their streams by
// position, so a socket is a few counts. Its other end is a Peer, somewhere in the simulated world.
//
//   peer ---> arrived ... received ---> data plane        (arrived - received bytes wait in the receive queue)
//   peer <--- read ... copied <--- data plane             (copied - read bytes are on their way or wait at the peer)
import { SOURCE_ANY } from '../../assembly/layout.ts';
import { ECONNRESET, EPIPE } from '../../assembly/uring/abi.ts';
import type { Operation } from './operation.ts';
import { NO_BYTES } from './packets.ts';
import type { Greeting } from './preface.ts';

/** What stands at the other end. The kernel calls these; a peer answers through the socket's methods. */
export interface Peer {
  readonly life: number;
  readonly name: string;
  /** The connection is there. */
  begin(): void;
  /** More bytes can be read. */
  onBytes(): void;
  /** The proxy has taken bytes: there is room to send more. */
  onRoom(): void;
  /** A send to it was answered. */
  onAnswer(): void;
  /** No more bytes will come. */
  onEnd(): void;
  onReset(): void;
  /** Writes what it sends at a position. */
  fill(memory: Uint8Array, offset: number, length: number, position: number): void;
  /** Compares what it is sent at a position with what it must be sent. Throws a Violation. */
  compare(memory: Uint8Array, offset: number, length: number, position: number): void;
}

export class Socket {
  peer: Peer | null = null;
  /** What comes before the peer's stream, and how far it has come and was received: a PROXY header. */
  preface: Uint8Array = NO_BYTES;
  prefaceArrived = 0;
  prefaceReceived = 0;
  /** What the peer is sent before the other side's stream. */
  greeting: Greeting | null = null;
  arrived = 0;
  received = 0;
  /** What the first receive brought. */
  firstReceived = 0;
  /** The peer sends no more. */
  isEnded = false;
  read = 0;
  copied = 0;
  capacity = 65536;
  isConnected = false;
  /** AF_INET or AF_INET6. */
  family = 0;
  /** A bind leaves the port open until the connect. */
  bindsLate = false;
  /** Id of the source it is bound to. */
  source = SOURCE_ANY;
  /** Bytes that sends were answered with: what the data plane knows of `copied`. */
  answered = 0;
  /** We send no more. */
  isShut = false;
  isClosed = false;
  /** Reset by either end. The first operation that meets it learns the error, later ones only that it is over. */
  isReset = false;
  error = 0;
  /** How many buffers had ever been given back when a receive last found none. */
  starvedAt = -1;
  starvedTimes = 0;
  /** Sends in a row that were cancelled with nothing sent. */
  vainSends = 0;
  receive: Operation | null = null;
  send: Operation | null = null;
  connect: Operation | null = null;
  shutdown: Operation | null = null;
  readonly #wake: (operation: Operation) => void;

  constructor(wake: (operation: Operation) => void) {
    this.#wake = wake;
  }

  get isBusy(): boolean {
    return (this.receive ?? this.send ?? this.connect ?? this.shutdown) !== null;
  }

  // ---- What the peer does

  arrive(length: number): void {
    if (this.isClosed) {
      this.#answerWithReset();
      return;
    }
    this.arrived += length;
    this.#wakeReceive();
  }

  arrivePreface(length: number): void {
    if (this.isClosed) {
      this.#answerWithReset();
      return;
    }
    this.prefaceArrived += length;
    this.#wakeReceive();
  }

  arriveEnd(): void {
    this.isEnded = true;
    this.#wakeReceive();
  }

  arriveReset(): void {
    if (this.isReset) return;
    this.isReset = true;
    this.error = ECONNRESET;
    this.#wakeReceive();
    this.#wakeSend();
  }

  /** The peer has read so much more. */
  makeRoom(length: number): void {
    this.read += length;
    this.#wakeSend();
  }

  get readable(): number {
    return this.copied - this.read;
  }

  // ---- What the data plane does

  get receivable(): number {
    return this.prefaceArrived - this.prefaceReceived + this.arrived - this.received;
  }

  /** Writes what is left of the preface, at most `length` bytes, and returns how many those were. */
  receivePreface(memory: Uint8Array, offset: number, length: number): number {
    const part = this.preface.subarray(
      this.prefaceReceived,
      Math.min(this.prefaceArrived, this.prefaceReceived + length),
    );
    memory.set(part, offset);
    this.prefaceReceived += part.length;
    return part.length;
  }

  get isPrefaceRead(): boolean {
    return this.prefaceReceived === this.preface.length;
  }

  get room(): number {
    return this.capacity - this.readable;
  }

  /** The errno that an operation meets, 0 for none. Sending to a socket that is over is a broken pipe. */
  takeError(isSend: boolean): number {
    const { error } = this;
    this.error = 0;
    if (error !== 0) return error;
    return isSend && (this.isReset || this.isShut) ? EPIPE : 0;
  }

  endSending(): void {
    if (this.isShut) return;
    this.isShut = true;
    if (!this.isReset) this.peer?.onEnd();
  }

  /** Bytes that came and weren't read make the kernel say so with a reset. */
  close(): void {
    this.isClosed = true;
    if (!this.isConnected || this.isReset) return;
    if (this.receivable > 0) this.#answerWithReset();
    else this.endSending();
  }

  #answerWithReset(): void {
    if (this.isReset) return;
    this.isReset = true;
    this.peer?.onReset();
  }

  #wakeReceive(): void {
    if (this.receive) this.#wake(this.receive);
  }

  #wakeSend(): void {
    if (this.send) this.#wake(this.send);
  }
}
