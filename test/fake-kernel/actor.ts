// A peer with a will of its own: it sends its stream in pieces, reads what comes at its own pace, and ends as its plan
// says. Clients and backends differ only in what they plan and in what they must be sent.
import { Random } from '../tools/random.ts';
import { LastWords } from './last-words.ts';
import type { Life } from './life.ts';
import type { Passable } from './passed.ts';
import type { Peer, Socket } from './socket.ts';
import type { Stream } from './stream.ts';
import type { Timeline } from './timeline.ts';
import type { Trace } from './trace.ts';

/** What a peer does once it has sent everything. */
export type Ending =
  /** Says so at once, and reads on. */
  | 'ends first'
  /** Waits until it has read all that the other side will send, then ends. */
  | 'ends when answered'
  /** Waits for the other side's end. */
  | 'ends second'
  /** Closes without reading on: what still comes is answered with a reset. */
  | 'closes'
  /** Does nothing, whatever the other side does. */
  | 'never ends';

export interface ActorPlan {
  /** Most bytes sent at once, and milliseconds between two such pieces. */
  pieceBytes: number;
  gapMs: number;
  /** Bytes that it sends before it has been answered at least one. */
  unansweredBytes: number;
  readBytes: number;
  readGapMs: number;
  /** Position at which it stops reading, and for how long. */
  stopsReadingAt: number;
  stopsReadingMs: number;
  /** Bytes on their way to it, before they are read. */
  capacity: number;
  ending: Ending;
  /** Goes on sending after the other side has ended. */
  goesOn: boolean;
  /** Milliseconds after its begin, Infinity for never. */
  resetsAtMs: number;
  /** When it stops waiting for anything and ends. */
  patienceMs: number;
}

/** Bytes that wait in the proxy's receive queue before the peer must stop sending. */
const RECEIVE_QUEUE_BYTES = 65536;

export interface Stage {
  timeline: Timeline;
  trace: Trace | null;
}

export abstract class Actor implements Peer {
  abstract readonly name: string;
  socket!: Socket;
  out!: Stream;
  sent = 0;
  isFinished = false;
  isGone = false;
  /** The other side's end has come, after the last byte. */
  sawEnd = false;
  /** What it was sent that the other side had not said. */
  readonly lastWords = new LastWords();
  readonly life: number;
  readonly lived: Life;
  readonly plan: ActorPlan;
  readonly random: Random;
  readonly #timeline: Timeline;
  readonly #trace: Trace | null;
  #isReading = false;
  #isSending = false;
  #endArrived = false;
  #hasPaused = false;

  constructor(stage: Stage, lived: Life, plan: ActorPlan, seed: number) {
    this.#timeline = stage.timeline;
    this.#trace = stage.trace;
    this.lived = lived;
    this.life = lived.index;
    this.plan = plan;
    this.random = new Random(seed);
  }

  /** All bytes that the other side will ever send; undefined while that isn't known. */
  protected abstract expectedBytes(): number | undefined;
  abstract fill(memory: Uint8Array, offset: number, length: number, position: number): void;
  abstract compare(memory: Uint8Array, offset: number, length: number, position: number): void;

  /** What the other side is to be sent. */
  get passed(): Passable {
    return this.out;
  }

  /** Of what it was sent, the bytes that the other side had said. */
  get heard(): number {
    return this.lastWords.at >= 0 ? this.lastWords.at : this.socket.copied;
  }

  begin(): void {
    this.socket.capacity = this.plan.capacity;
    this.socket.isConnected = true;
    if (this.plan.resetsAtMs < Infinity) this.later(this.plan.resetsAtMs, () => this.reset('changes its mind'));
    if (this.plan.patienceMs < Infinity) this.later(this.plan.patienceMs, () => this.finish('loses patience'));
    this.#sendLater(0);
  }

  // ---- Sending

  onRoom(): void {
    this.lived.move();
    this.#sendLater(this.plan.gapMs);
  }

  #sendLater(gapMs: number): void {
    if (this.#isSending || this.isFinished || this.isGone) return;
    this.#isSending = true;
    this.later(gapMs * this.random.fraction(), () => {
      this.#isSending = false;
      this.#sendSome();
    });
  }

  #sendSome(): void {
    if (this.isFinished || this.isGone) return;
    if (this.socket.prefaceArrived < this.socket.preface.length) {
      this.#sendPreface();
      return;
    }
    const left = this.out.total - this.sent;
    if (left === 0) {
      this.#onAllSent();
      return;
    }
    const unanswered = this.socket.read > 0 ? Infinity : this.plan.unansweredBytes - this.sent;
    const room = Math.min(left, unanswered, RECEIVE_QUEUE_BYTES - this.socket.receivable);
    if (room <= 0) return;
    const length = Math.min(
      room,
      this.random.magnitude(Math.max(1, Math.floor(this.plan.pieceBytes / 50)), this.plan.pieceBytes),
    );
    this.sent += length;
    this.#trace?.moved(this.life, `${this.name} sends`, length);
    this.socket.arrive(length);
    this.lived.move();
    this.#sendLater(this.plan.gapMs);
  }

  #sendPreface(): void {
    const { socket, random } = this;
    const left = socket.preface.length - socket.prefaceArrived;
    const length = random.chance(0.5) ? left : random.integer(1, left);
    this.#trace?.moved(this.life, `${this.name} sends of its header`, length);
    socket.arrivePreface(length);
    if (random.chance(0.5)) this.#sendSome();
    else this.#sendLater(this.plan.gapMs);
  }

  #onAllSent(): void {
    const { ending } = this.plan;
    if (ending === 'ends first') this.finish('has sent everything');
    else if (ending === 'closes') this.close();
    else this.endIfDone();
  }

  // ---- Reading

  onBytes(): void {
    this.lived.move();
    if (this.isGone) {
      this.#answerWithReset();
      return;
    }
    this.#readLater();
  }

  onAnswer(): void {
    this.lived.move();
  }

  onEnd(): void {
    this.lived.move();
    this.#tell('is told of the end after byte', this.socket.copied);
    this.#endArrived = true;
    this.lived.checkEnd(this);
    this.#readLater();
  }

  #readLater(): void {
    if (this.#isReading || this.isGone) return;
    this.#isReading = true;
    this.later(this.#readDelay(), () => {
      this.#isReading = false;
      this.#readSome();
    });
  }

  #readDelay(): number {
    if (!this.#hasPaused && this.socket.read >= this.plan.stopsReadingAt) {
      this.#hasPaused = true;
      this.#tell('stops reading at byte', this.socket.read);
      return this.plan.stopsReadingMs;
    }
    return this.plan.readGapMs * this.random.fraction();
  }

  #readSome(): void {
    if (this.isGone) return;
    const length = Math.min(this.socket.readable, this.random.magnitude(1, this.plan.readBytes));
    const isFirst = this.socket.read === 0;
    if (length > 0) this.socket.makeRoom(length);
    this.lived.move();
    if (isFirst && this.plan.unansweredBytes < Infinity) this.#sendLater(this.plan.gapMs);
    if (this.socket.readable > 0) {
      this.#readLater();
      return;
    }
    if (this.#endArrived && !this.sawEnd) {
      this.sawEnd = true;
    }
    this.endIfDone();
  }

  // ---- Ending

  protected endIfDone(): void {
    const isAllSent = this.sent === this.out.total;
    const { ending, goesOn } = this.plan;
    if (this.isGone || ending === 'never ends') return;
    if (this.sawEnd && (isAllSent || !goesOn)) {
      this.close();
      return;
    }
    if (isAllSent && ending === 'ends when answered' && this.socket.read === this.expectedBytes())
      this.finish('was answered');
  }

  /** Sends no more. What it didn't get to send it never will. */
  finish(why: string): void {
    if (this.isFinished || this.isGone) return;
    this.isFinished = true;
    this.#tell(`ends (${why}) after byte`, this.sent);
    this.socket.arriveEnd();
    this.lived.move();
    if (this.sawEnd) this.isGone = true;
  }

  /** Sends no more and reads no more. Unread bytes make that a reset. */
  close(): void {
    if (this.isGone) return;
    if (this.socket.readable > 0) {
      this.reset('closes with unread bytes');
      return;
    }
    this.finish('closes');
    this.isGone = true;
  }

  reset(why: string): void {
    if (this.isGone) return;
    this.isFinished = true;
    this.isGone = true;
    this.#tell(`resets (${why}) after byte`, this.sent);
    this.lived.disturb(`${this.name} ${why}`, this);
    this.socket.arriveReset();
    this.lived.move();
  }

  onReset(): void {
    if (this.isGone) return;
    this.isGone = true;
    this.isFinished = true;
    this.#tell('is reset after byte', this.sent);
    this.lived.onPeerReset(this);
  }

  #answerWithReset(): void {
    if (this.socket.isReset) return;
    this.#tell('is closed and answers with a reset after byte', this.sent);
    this.lived.disturb(`${this.name} was closed`, this);
    this.later(0.05, () => this.socket.arriveReset());
  }

  protected later(delayMs: number, run: () => void): void {
    this.#timeline.after(delayMs, run);
  }

  #tell(text: string, bytes: number): void {
    this.#trace?.deed(this.life, `${this.name} ${text} ${bytes}`);
  }
}
