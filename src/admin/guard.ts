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
  readonly #tokenDigest: Buffer | undefined;

  constructor({ host, token }: GuardOptions) {
    this.#isLocal = isLoopback({ host });
    this.#tokenDigest = token === '' ? undefined : digest(token);
  }

  /** The refusal, if there is to be one. An open route is for everybody. */
  check(head: RequestHead, isOpen: boolean): Answer | undefined {
    if (this.#isLocal && !namesThisMachine(head.headers.get('host'))) {
      return failure(403, 'this API is for this machine only: Host must be localhost or a loopback address');
    }
    if (!isOpen && !this.#isAuthorised(head.headers.get('authorization'))) {
      return failure(401, 'a bearer token is expected', { 'www-authenticate': 'Bearer realm="tidegate"' });
    }
    return isRead(head) ? undefined : checkWrite(head);
  }

  /** Digests are compared, in a time that depends on neither token. */
  #isAuthorised(authorization = ''): boolean {
    if (this.#tokenDigest === undefined) return true;
    const given = /^Bearer +(\S+)$/i.exec(authorization)?.[1] ?? '';
    return timingSafeEqual(digest(given), this.#tokenDigest);
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
function checkWrite({ headers }: RequestHead): Answer | undefined {
  const origin = headers.get('origin');
  const site = headers.get('sec-fetch-site');
  const isForeign = site !== undefined && site !== 'same-origin' && site !== 'none';
  if (isForeign || (origin !== undefined && hostOf(origin) !== headers.get('host'))) {
    return failure(403, 'requests that change something are not taken from pages of another origin');
  }
  const [type = ''] = (headers.get('content-type') ?? '').split(';');
  if (type.trim().toLowerCase() === 'application/json') return undefined;
  return failure(415, 'content-type: application/json is expected of requests that change something');
}

/** Its scheme may be that of a TLS proxy before us. */
function hostOf(origin: string): string | undefined {
  return URL.canParse(origin) ? new URL(origin).host : undefined;
}

function digest(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}
