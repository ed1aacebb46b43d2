// A probe over a TCP connection: connect, say something, hear what decides, say goodbye.
//
// The finding comes as soon as it is known; the connection may take longer, since it is closed by both sides in turn,
// as brokers like it. Whatever is open at the timeout is cut.
import { connect, type Socket } from 'node:net';
import { type BackendTls, secure, tlsFault } from '../../backend-tls.ts';
import type { Address } from '../../config/address.ts';
import { startDeadline } from './deadline.ts';
import { connectFailed, connectionLost, type Finding, failed, GOODBYE_MS, type Probe, timedOut } from './finding.ts';

export const NOTHING = new Uint8Array(0);
const ANSWER_BYTES_MAX = 64 << 10;

export interface Conversation {
  opening: Uint8Array;
  /** undefined: not enough yet. Asked when the connection stands, and again with all that has come, piece by piece. */
  hear(answer: Buffer): Finding | undefined;
  /** Last words to a backend that has passed, or that has to go on without us. */
  farewell: Uint8Array;
  /** What is missing from a backend that closes before it has said enough. */
  awaited: string;
}

/** What goes before the conversation, once the socket is connected. */
export interface Preface {
  introduce(socket: Socket): Uint8Array;
  /** undefined: none. */
  tls: BackendTls | undefined;
}

const NO_PREFACE: Preface = { introduce: () => NOTHING, tls: undefined };

export function startExchange(
  target: Address,
  timeoutMs: number,
  conversation: Conversation,
  preface = NO_PREFACE,
): Probe {
  return new Exchange(target, timeoutMs, conversation, preface);
}

class Exchange implements Probe {
  readonly finding: Promise<Finding>;
  readonly ended: Promise<void>;
  readonly #socket: Socket;
  readonly #conversation: Conversation;
  readonly #timeoutMs: number;
  #answer = Buffer.alloc(0);
  #isConnected = false;
  #isSettled = false;
  #settle: (finding: Finding) => void = () => {};

  constructor({ host, port }: Address, timeoutMs: number, conversation: Conversation, { introduce, tls }: Preface) {
    this.#conversation = conversation;
    this.#timeoutMs = timeoutMs;
    this.finding = new Promise((resolve) => {
      this.#settle = resolve;
    });
    const plain = connect({ host, port, noDelay: true });
    plain.once('connect', () => {
      this.#isConnected = true;
      plain.cork(); // what is said in plain text comes in one segment
      const first = introduce(plain);
      if (first.length > 0) plain.write(first);
      if (tls === undefined) this.#onReady();
      plain.uncork();
    });
    const socket = tls === undefined ? plain : secure(plain, tls);
    this.#socket = socket;
    const deadline = startDeadline(timeoutMs, () => this.#onTimeout());
    this.ended = new Promise((resolve) => socket.once('close', () => resolve(deadline.cancel())));
    if (tls !== undefined) plain.on('error', (error) => this.#onError(error));
    socket.once('secureConnect', () => this.#onReady());
    socket.on('data', (bytes) => this.#onBytes(bytes));
    socket.once('end', () => this.#conclude(failed(`closed the connection without ${conversation.awaited}`)));
    socket.on('error', (error) => this.#onError(error));
  }

  abandon(): void {
    const { opening, farewell } = this.#conversation;
    // A broker that finds its new visitor gone without a word would say so in its log: it gets the whole visit at once.
    this.#conclude(failed('abandoned'), this.#isConnected ? farewell : Buffer.concat([opening, farewell]));
    const goodbye = setTimeout(() => this.#socket.destroy(), GOODBYE_MS);
    this.#socket.once('close', () => clearTimeout(goodbye));
  }

  #onReady(): void {
    if (this.#isSettled) return;
    const { opening } = this.#conversation;
    if (opening.length > 0) this.#socket.write(opening);
    this.#judge();
  }

  #onBytes(bytes: Buffer): void {
    if (this.#isSettled) return;
    this.#answer = Buffer.concat([this.#answer, bytes.subarray(0, ANSWER_BYTES_MAX - this.#answer.length)]);
    this.#judge();
    if (this.#answer.length === ANSWER_BYTES_MAX) {
      this.#conclude(failed(`${this.#conversation.awaited} is not in the first ${ANSWER_BYTES_MAX} bytes`));
    }
  }

  #judge(): void {
    const finding = this.#conversation.hear(this.#answer);
    if (finding !== undefined) this.#conclude(finding);
  }

  #onError(error: NodeJS.ErrnoException): void {
    const fault = tlsFault(error);
    if (fault !== undefined) this.#conclude(failed(`TLS failed: ${fault}`));
    else this.#conclude(this.#isConnected ? connectionLost(error) : connectFailed(error));
  }

  #onTimeout(): void {
    this.#conclude(timedOut(this.#isConnected, this.#timeoutMs));
    this.#socket.destroy();
  }

  #conclude(finding: Finding, farewell = finding.verdict === 'pass' ? this.#conversation.farewell : NOTHING): void {
    if (this.#isSettled) return;
    this.#isSettled = true;
    this.#settle(finding);
    this.#socket.end(farewell);
  }
}
