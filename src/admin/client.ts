// The other end of the admin API, for commands: where it is, and one request.
import { readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { formatAddress, parseAddress } from '../config/address.ts';
import { EXIT_BAD_CONFIGURATION, TidegateError, UsageError } from '../errors.ts';

const DEFAULT_ADDRESS = '127.0.0.1:9883';
const TIMEOUT_MS = 10_000;

/** As the command line has them. */
export interface AdminOptions {
  /** A URL, or an address. */
  admin?: string;
  /** A configuration that says where it is. */
  config?: string;
  tokenFile?: string;
}

export interface AdminTarget {
  /** Without a slash at its end. */
  url: string;
  /** Empty for none. */
  token: string;
}

export async function findAdmin({ admin, config, tokenFile }: AdminOptions): Promise<AdminTarget> {
  const configured = config === undefined ? undefined : await targetOf(config, admin === undefined);
  const url = admin === undefined ? (configured?.url ?? `http://${DEFAULT_ADDRESS}`) : urlOf(admin);
  return { url, token: tokenFile === undefined ? (configured?.token ?? '') : await readToken(tokenFile) };
}

/** The JSON that a GET of `path` answers, with at least these keys. Throws a TidegateError that says what to do. */
export function getJson(target: AdminTarget, path: string, keys: readonly string[]): Promise<unknown> {
  return askJson(target, { method: 'GET', path }, keys);
}

export interface AdminRequest {
  method: 'GET' | 'POST' | 'PATCH' | 'DELETE';
  path: string;
  /** Of a JSON body; nothing for none. */
  body?: object;
  /** How long the answer may take. */
  timeoutMs?: number;
}

/** The same for any request. */
export async function askJson(
  { url, token }: AdminTarget,
  { method, path, body: sent, timeoutMs = TIMEOUT_MS }: AdminRequest,
  keys: readonly string[],
): Promise<unknown> {
  const response = await fetch(url + path, {
    method,
    headers: {
      ...(token === '' ? {} : { authorization: `Bearer ${token}` }),
      ...(method === 'GET' ? {} : { 'content-type': 'application/json' }),
    },
    ...(sent === undefined ? {} : { body: JSON.stringify(sent) }),
    redirect: 'error',
    signal: AbortSignal.timeout(timeoutMs),
  }).catch((error) => {
    throw unreachable(url, error, timeoutMs);
  });
  const body = await response.json().catch(() => undefined);
  if (response.status === 401) throw failed(url, 'expects a token; give --token-file, or the --config that has it');
  if (response.ok && keys.every((key) => key in Object(body))) return body;
  const faults = (body as { faults?: unknown } | undefined)?.faults;
  if (Array.isArray(faults)) throw new TidegateError('BAD_CONFIGURATION', faults.join('\n'), EXIT_BAD_CONFIGURATION);
  const said = (body as { error?: unknown } | undefined)?.error;
  throw failed(url, typeof said === 'string' ? `says ${response.status}: ${said}` : NOT_OURS);
}

const NOT_OURS = "answers, but not as Tidegate's admin API does; is it another program's port?";

function unreachable(url: string, error: Error & { cause?: { code?: string } }, timeoutMs: number): TidegateError {
  if (error.name === 'TimeoutError') return failed(url, `gave no answer within ${timeoutMs / 1000} s`);
  const code = error.cause?.code;
  if (code === undefined) return failed(url, NOT_OURS);
  const advice = 'is Tidegate running there? --config FILE or --admin URL say where it is';
  return new TidegateError(code, `no admin API at ${url} (${code}): ${advice}`);
}

function failed(url: string, what: string): TidegateError {
  return new TidegateError('ADMIN', `the admin API at ${url} ${what}`);
}

/** `needsUrl` is false where the command line names another one, and only the token is wanted. */
async function targetOf(file: string, needsUrl: boolean): Promise<AdminTarget> {
  const { loadConfig } = await import('../config.ts');
  const { admin } = await loadConfig(file);
  if (admin === null) throw new UsageError(`the admin API is off in ${file}`);
  if (needsUrl && admin.bind.port === 0) {
    throw new UsageError(`admin.bind of ${file} takes any port: --admin URL says which one it became`);
  }
  const token = admin.tokenFile === '' ? admin.token : await readToken(admin.tokenFile);
  return { url: `http://${formatAddress({ ...admin.bind, host: reachable(admin.bind.host) })}`, token };
}

/** Whoever listens on all addresses is here too. */
function reachable(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1';
  return isIP(host) === 6 && /^[0:]+$/.test(host) ? '::1' : host;
}

function urlOf(text: string): string {
  const url = parseAddress(text) === null ? text : `http://${text}`;
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) {
    throw new UsageError(`--admin takes a URL such as http://${DEFAULT_ADDRESS}, not ${JSON.stringify(text)}`);
  }
  return url.replace(/\/+$/, '');
}

async function readToken(file: string): Promise<string> {
  const text = await readFile(file, 'utf8').catch(({ code }) => {
    throw new UsageError(`cannot read the token file ${file}: the system says ${code}`);
  });
  return text.trim();
}
