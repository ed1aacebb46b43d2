// HTTP as the admin API sees it: a request, an answer, and a server that carries them, WebSockets too. Two exist,
// http-uwebsockets.ts and http-node.ts; what a request may do and what it is answered is decided behind this seam.
import { STATUS_CODES } from 'node:http';
import { z } from 'zod';
import type { Address } from '../config/address.ts';

/** Longer ones are answered with 413. */
export const BODY_BYTES_MAX = 64 << 10;
/** Read and thrown away of one that is too long: a client that still writes would take a closed socket for a failure. */
const BODY_BYTES_DISCARDED_MAX = 1 << 20;
/** For a request's head, for its body, and between two requests; who takes longer is closed. */
export const REQUEST_TIMEOUT_MS = 10_000;

export interface RequestHead {
  /** In capitals. */
  method: string;
  /** As it was sent, still percent-encoded. */
  path: string;
  /** Without the question mark. */
  query: string;
  /** By lower-case name. What was sent several times is joined by ", ", so that no copy is overlooked. */
  headers: ReadonlyMap<string, string>;
}

export interface Answer {
  status: number;
  headers: Record<string, string>;
  body: string | Uint8Array;
}

/** What a server carries requests to. Neither function throws. */
export interface Application {
  /** When the head is there; an answer refuses the request, and its body isn't kept. */
  admit(head: RequestHead): Answer | undefined;
  answer(head: RequestHead, body: Uint8Array): Promise<Answer>;
  live: LiveApplication;
}

/** What a server carries WebSockets to: those that are opened at `path`. None of its functions throws. */
export interface LiveApplication {
  path: string;
  /** An answer refuses the socket. */
  admit(head: RequestHead): Answer | undefined;
  open(head: RequestHead, peer: Peer): Visit;
}

/** One open WebSocket. Whoever has closed or dropped it, or was told that it is closed, calls nothing of it again. */
export interface Peer {
  send(text: string): void;
  /** Handed over by send, and not yet taken by the kernel. */
  bytesWaiting(): number;
  /** With a word to the other side. */
  close(code: number, reason: string): void;
  /** Without one: the other side doesn't read. */
  drop(): void;
}

export interface Visit {
  onMessage(text: string): void;
  /** However it ended, our own doing included. */
  onClose(): void;
}

/** What a client may send over a WebSocket is a token. */
export const MESSAGE_BYTES_MAX = 4 << 10;

export interface HttpServer {
  /** The real one, where 0 was asked for. */
  port: number;
  /** Accepts nobody new and closes every connection. */
  close(): Promise<void>;
}

/** Rejects with an Error whose code is the errno's name. */
export type OpenHttpServer = (address: Address, application: Application) => Promise<HttpServer>;

export function json(value: unknown, status = 200): Answer {
  return { status, headers: { 'content-type': 'application/json' }, body: `${JSON.stringify(value)}\n` };
}

export const failureSchema = z
  .strictObject({ error: z.string().describe('What was expected.') })
  .meta({ id: 'Failure' });

/** An error, as every route has it. */
export function failure(status: number, error: string, headers: Record<string, string> = {}): Answer {
  const answer = json({ error }, status);
  return { ...answer, headers: { ...answer.headers, ...headers } };
}

export function tooLarge(): Answer {
  return failure(413, `a body of at most ${BODY_BYTES_MAX} bytes is expected`);
}

export function statusLine(status: number): string {
  return `${status} ${STATUS_CODES[status] ?? 'Unknown'}`;
}

export function addHeader(headers: Map<string, string>, name: string, value: string): void {
  const key = name.toLowerCase();
  const before = headers.get(key);
  headers.set(key, before === undefined ? value : `${before}, ${value}`);
}

/** Gathers a request's body, up to what a body may be. */
export class Body {
  #chunks: Uint8Array[] = [];
  #bytes = 0;

  /** The chunk is kept: it must be a copy. */
  add(chunk: Uint8Array): void {
    this.#bytes += chunk.length;
    if (this.isTooLarge) this.#chunks = [];
    else this.#chunks.push(chunk);
  }

  get isTooLarge(): boolean {
    return this.#bytes > BODY_BYTES_MAX;
  }

  /** The client won't stop: there is no use in being polite. */
  get isEndless(): boolean {
    return this.#bytes > BODY_BYTES_DISCARDED_MAX;
  }

  bytes(): Uint8Array {
    return Buffer.concat(this.#chunks);
  }
}
