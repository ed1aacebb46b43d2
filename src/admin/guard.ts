// Who may ask: what is checked of every request before anything is done for it. Browsers are the reason for half of it:
// a page from anywhere can make its visitor's browser send requests to 127.0.0.1.
import { createHash, timingSafeEqual } from 'node:crypto';
import { isIP } from 'node:net';
import { isLoopback } from '../config/address.ts';
import { type Answer, failure, type RequestHead } from './http.ts';

export interface GuardOptions {
  /** Where the API listens. */
  host: string;
  /** Empty for none. */
  token: string;
}

export class Guard {
  readonly #isLocal: boolean;
  #tokenDigest: Buffer | undefined;

  constructor({ host, token }: GuardOptions) {
    this.#isLocal = isLoopback({ host });
    this.setToken(token);
  }

  /** Empty for none. It counts from the next request on. */
  setToken(token: string): void {
    this.#tokenDigest = token === '' ? undefined : digest(token);
  }

  /** The refusal, if there is to be one. An open route is for everybody. */
  check(head: RequestHead, isOpen: boolean): Answer | undefined {
    const misdirected = this.#checkHost(head);
    if (misdirected !== undefined) return misdirected;
    if (!isOpen && !this.hasToken(head)) {
      return failure(401, 'a bearer token is expected', { 'www-authenticate': 'Bearer realm="tidegate"' });
    }
    return isRead(head) ? undefined : checkWrite(head);
  }

  /**
   * The refusal of a WebSocket, if there is to be one. No browser asks anybody before it opens one to another origin:
   * Origin alone shows it. The token may come later, as the first message, since pages can't set a header here.
   */
  checkSocket(head: RequestHead): Answer | undefined {
    return this.#checkHost(head) ?? checkOrigin(head);
  }

  hasToken({ headers }: RequestHead): boolean {
    return this.isToken(/^Bearer +(\S+)$/i.exec(headers.get('authorization') ?? '')?.[1] ?? '');
  }

  /** Digests are compared, in a time that depends on neither token. Without a token of ours any is right. */
  isToken(given: string): boolean {
    return this.#tokenDigest === undefined || timingSafeEqual(digest(given), this.#tokenDigest);
  }

  #checkHost({ headers }: RequestHead): Answer | undefined {
    if (!this.#isLocal || namesThisMachine(headers.get('host'))) return undefined;
    return failure(403, 'this API is for this machine only: Host must be localhost or a loopback address');
  }
}

/** DNS rebinding: a name of the attacker's that has just begun to stand for 127.0.0.1 still shows in Host. */
function namesThisMachine(host: string | undefined): boolean {
  if (host === undefined) return true; // no browser: a probe that speaks HTTP/1.0
  const name = host.replace(/:\d*$/, '').toLowerCase();
  if (name === 'localhost') return true;
  const address = name.replace(/^\[(.*)\]$/, '$1');
  return isIP(address) !== 0 && isLoopback({ host: address });
}

function isRead({ method }: RequestHead): boolean {
  return method === 'GET' || method === 'HEAD';
}

/** Forms and scripts of other pages can post, but not as JSON without asking first, which nobody here answers. */
function checkWrite(head: RequestHead): Answer | undefined {
  const foreign = checkOrigin(head);
  if (foreign !== undefined) return foreign;
  const [type = ''] = (head.headers.get('content-type') ?? '').split(';');
  if (type.trim().toLowerCase() === 'application/json') return undefined;
  return failure(415, 'content-type: application/json is expected of requests that change something');
}

function checkOrigin({ headers }: RequestHead): Answer | undefined {
  const origin = headers.get('origin');
  const site = headers.get('sec-fetch-site');
  const isForeign = site !== undefined && site !== 'same-origin' && site !== 'none';
  if (isForeign || (origin !== undefined && hostOf(origin) !== headers.get('host'))) {
    return failure(403, 'neither live sockets nor requests that change something are for pages of another origin');
  }
  return undefined;
}

/** Its scheme may be that of a TLS proxy before us. */
function hostOf(origin: string): string | undefined {
  return URL.canParse(origin) ? new URL(origin).host : undefined;
}

function digest(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}
