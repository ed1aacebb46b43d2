// The live socket: whoever looks on is told the status once a second and each event as it comes, over a WebSocket. One
// timer serves all; it runs only while somebody listens.
import type { Event } from '../control/events.ts';
import { type Answer, failure, type LiveApplication, type Peer, type RequestHead, type Visit } from './http.ts';

export const LIVE_PATH = '/api/v1/live';
/** At once; further ones are answered with 503. */
export const VISITORS_MAX = 64;
/** Of what waits to be sent to one visitor: who has more before it reads too slowly, or no more. */
export const WAITING_BYTES_MAX = 1 << 20;
const PERIOD_MS = 1000;
/** For the message with the token. */
const TOKEN_TIMEOUT_MS = 10_000;

/** Why we end a socket, by the WebSocket protocol's numbers and, from 4000 on, our own. */
const GOING_AWAY = 1001;
const UNEXPECTED = 1008;
const TOKEN_EXPECTED = 4401;

export interface LiveOptions {
  /** Of the head of a request to open one. */
  admit(head: RequestHead): Answer | undefined;
  /** Whether the request's own header, or a token given afterwards, is enough; without a token of ours anything is. */
  isAuthorised(head: RequestHead): boolean;
  isToken(token: string): boolean;
  status(): object;
  /** Tells of each event, until the function that it returns is called. */
  listen(hear: (event: Event) => void): () => void;
}

interface Visitor {
  peer: Peer;
  /** By performance.now. */
  openedMs: number;
  isAuthorised: boolean;
}

export class Live implements LiveApplication {
  readonly path = LIVE_PATH;
  readonly #options: LiveOptions;
  readonly #visitors = new Set<Visitor>();
  #stopServing: (() => void) | undefined;
  #isClosed = false;

  constructor(options: LiveOptions) {
    this.#options = options;
  }

  admit(head: RequestHead): Answer | undefined {
    const refusal = this.#options.admit(head);
    if (refusal !== undefined) return refusal;
    if (this.#isClosed || this.#visitors.size >= VISITORS_MAX) {
      return failure(503, `at most ${VISITORS_MAX} live sockets are served at once`);
    }
    return undefined;
  }

  open(head: RequestHead, peer: Peer): Visit {
    const isAuthorised = this.#options.isAuthorised(head);
    const visitor = { peer, openedMs: performance.now(), isAuthorised };
    this.#visitors.add(visitor);
    this.#stopServing ??= this.#serve();
    if (isAuthorised) this.#greet(visitor);
    return { onMessage: (text) => this.#onMessage(visitor, text), onClose: () => this.#forget(visitor) };
  }

  close(): void {
    this.#isClosed = true;
    for (const visitor of [...this.#visitors]) this.#dismiss(visitor, GOING_AWAY, 'Tidegate stops');
  }

  /** What is done only while somebody listens; the answer ends it. */
  #serve(): () => void {
    const timer = setInterval(() => this.#onTick(), PERIOD_MS);
    const stopListening = this.#options.listen((event) => this.#onEvent(event));
    return () => {
      clearInterval(timer);
      stopListening();
    };
  }

  /** Beside a token there is nothing to say; pings are the carrier's. */
  #onMessage(visitor: Visitor, text: string): void {
    if (!this.#visitors.has(visitor)) return; // it was dismissed, and had this under way
    if (visitor.isAuthorised) {
      if (tokenIn(text) === undefined) this.#dismiss(visitor, UNEXPECTED, 'nothing is expected from this side');
      return; // a page that has a token says it, whether it is wanted or not
    }
    visitor.isAuthorised = this.#options.isToken(tokenIn(text) ?? '');
    if (visitor.isAuthorised) this.#greet(visitor);
    else this.#dismiss(visitor, TOKEN_EXPECTED, TOKEN_WANTED);
  }

  #onTick(): void {
    const lateMs = performance.now() - TOKEN_TIMEOUT_MS;
    for (const visitor of [...this.#visitors]) {
      if (!visitor.isAuthorised && visitor.openedMs < lateMs) this.#dismiss(visitor, TOKEN_EXPECTED, TOKEN_WANTED);
    }
    this.#tellAll(() => this.#statusText());
  }

  #onEvent(event: Event): void {
    this.#tellAll(() => JSON.stringify({ type: 'event', event }));
  }

  /** At once, so that a page isn't empty for a second. */
  #greet(visitor: Visitor): void {
    this.#tell(visitor, this.#statusText());
  }

  #statusText(): string {
    return JSON.stringify({ type: 'status', at_ms: Date.now(), status: this.#options.status() });
  }

  /** The text is made once, and not at all where nobody may hear it. */
  #tellAll(textOf: () => string): void {
    const listeners = [...this.#visitors].filter(({ isAuthorised }) => isAuthorised);
    if (listeners.length === 0) return;
    const text = textOf();
    for (const visitor of listeners) this.#tell(visitor, text);
  }

  #tell(visitor: Visitor, text: string): void {
    const { peer } = visitor;
    if (peer.bytesWaiting() <= WAITING_BYTES_MAX) peer.send(text);
    else {
      this.#forget(visitor);
      peer.drop();
    }
  }

  #dismiss(visitor: Visitor, code: number, reason: string): void {
    this.#forget(visitor);
    visitor.peer.close(code, reason);
  }

  #forget(visitor: Visitor): void {
    this.#visitors.delete(visitor);
    if (this.#visitors.size > 0) return;
    this.#stopServing?.();
    this.#stopServing = undefined;
  }
}

const TOKEN_WANTED = 'a first message {"token": "..."} with the right one is expected';

function tokenIn(text: string): string | undefined {
  try {
    const { token } = Object(JSON.parse(text));
    return typeof token === 'string' ? token : undefined;
  } catch {
    return undefined;
  }
}
