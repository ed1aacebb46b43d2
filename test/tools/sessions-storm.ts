// Clients without a pause, and what becomes of them: some stay and exchange bytes that are compared, some connect, are
// answered and leave, over and over.
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { connackPacket, connectPacket } from './packets.ts';
import { reset } from './reset.ts';

const PIECE_BYTES_MAX = 2048;
/** From connect to the last byte, on a machine that is busy. */
const PATIENCE_MS = 20_000;
const PATTERN = Buffer.from(Array.from({ length: 251 }, (_, index) => index));

export interface StormOptions {
  port: number;
  /** Who stay. */
  sessions: number;
  /** Who come and go, so many at once. */
  visitors: number;
  /** Between two pieces of one session. */
  pauseMs: number;
}

export interface Damage {
  sessions: number;
  visits: number;
  bytes: number;
  /** Connects that failed. */
  refused: number;
  /** Connections that ended, or stood still, when they should not. */
  reset: number;
  /** Answers that were not what was sent. */
  corrupted: number;
  /** The first of them, in words. */
  first: string;
}

export class SessionsStorm {
  readonly damage: Damage = { sessions: 0, visits: 0, bytes: 0, refused: 0, reset: 0, corrupted: 0, first: '' };
  readonly #options: StormOptions;
  #isOver = false;
  #work: Promise<unknown> = Promise.resolve();

  constructor(options: StormOptions) {
    this.#options = options;
  }

  /** Resolves when every session is established. */
  async begin(): Promise<void> {
    const { sessions, visitors } = this.#options;
    const opened: Caller[] = [];
    // A few at a time: it is reloads that are to be tested, not queues.
    for (let first = 0; first < sessions; first += 100) {
      const group = Array.from({ length: Math.min(100, sessions - first) }, (_, index) => this.#open(first + index));
      opened.push(...(await Promise.all(group)));
    }
    this.damage.sessions = opened.length;
    const stay = opened.map((caller) => this.#stay(caller));
    const come = Array.from({ length: visitors }, (_, index) => this.#visit(sessions + index));
    this.#work = Promise.all([...stay, ...come]);
  }

  async end(): Promise<Damage> {
    this.#isOver = true;
    await this.#work;
    return this.damage;
  }

  async #open(index: number): Promise<Caller> {
    const caller = new Caller(this.#options.port, index);
    const answer = await caller.exchange(connectPacket({ clientId: `device-${index}` }), connackPacket(4));
    this.#note(answer);
    return caller;
  }

  async #stay(caller: Caller): Promise<void> {
    const { pauseMs } = this.#options;
    for (let round = caller.index; !this.#isOver && (await this.#echo(caller, round)); round++) {
      await sleep(pauseMs * (0.5 + Math.random()));
    }
    if (caller.failure === undefined) this.#note(await this.#last(caller));
    caller.leave();
  }

  /** Whoever is silent at the end is still there. */
  #last(caller: Caller): Promise<Outcome> {
    return caller.exchange(piece(caller.index, 100), piece(caller.index, 100));
  }

  async #visit(index: number): Promise<void> {
    for (let round = 0; !this.#isOver; round++) {
      const caller = await this.#open(index);
      if (caller.failure === undefined) await this.#echo(caller, round);
      this.damage.visits += 1;
      caller.leave();
    }
  }

  async #echo(caller: Caller, round: number): Promise<boolean> {
    const sent = piece(round, 1 + ((round * 7919) % PIECE_BYTES_MAX));
    this.damage.bytes += sent.length;
    return this.#note(await caller.exchange(sent, sent));
  }

  #note({ what, detail }: Outcome): boolean {
    if (what === 'right') return true;
    this.damage[what] += 1;
    this.damage.first ||= `${what}: ${detail}`;
    return false;
  }
}

interface Outcome {
  what: 'right' | 'refused' | 'reset' | 'corrupted';
  detail: string;
}

function piece(round: number, length: number): Buffer {
  const from = round % PATTERN.length;
  return Buffer.alloc(length, Buffer.concat([PATTERN.subarray(from), PATTERN.subarray(0, from)]));
}

/** One connection. */
class Caller {
  readonly index: number;
  failure: Outcome | undefined;
  readonly #socket: Socket;
  #isConnected = false;
  #expected: Buffer = Buffer.alloc(0);
  #got = 0;
  #settle: ((outcome: Outcome) => void) | undefined;

  constructor(port: number, index: number) {
    this.index = index;
    this.#socket = connect({ port, host: '127.0.0.1', noDelay: true });
    this.#socket.on('connect', () => {
      this.#isConnected = true;
    });
    this.#socket.on('data', (bytes) => this.#onBytes(bytes));
    this.#socket.on('error', (error) => this.#fail(this.#isConnected ? 'reset' : 'refused', String(error)));
    this.#socket.on('close', () => this.#fail('reset', 'closed'));
  }

  async exchange(sent: Uint8Array, expected: Buffer): Promise<Outcome> {
    if (this.failure !== undefined) return this.failure;
    this.#expected = expected;
    this.#got = 0;
    const outcome = new Promise<Outcome>((done) => {
      this.#settle = done;
    });
    this.#socket.write(sent);
    const timer = setTimeout(() => this.#fail('reset', `no answer within ${PATIENCE_MS} ms`), PATIENCE_MS);
    try {
      return await outcome;
    } finally {
      clearTimeout(timer);
    }
  }

  /** By a reset, which leaves no port waiting. */
  leave(): void {
    this.#settle = undefined;
    this.failure ??= { what: 'right', detail: '' };
    reset(this.#socket);
  }

  #onBytes(bytes: Buffer): void {
    const expected = this.#expected.subarray(this.#got, this.#got + bytes.length);
    if (!bytes.equals(expected)) {
      this.#fail('corrupted', `at byte ${this.#got} of ${this.#expected.length}`);
      return;
    }
    this.#got += bytes.length;
    if (this.#got < this.#expected.length) return;
    this.#settle?.({ what: 'right', detail: '' });
    this.#settle = undefined;
  }

  #fail(what: 'refused' | 'reset' | 'corrupted', detail: string): void {
    this.failure ??= { what, detail };
    this.#settle?.(this.failure);
    this.#settle = undefined;
  }
}
