// The admin API's life: which server carries it, where it listens, and its end.
import { readFile } from 'node:fs/promises';
import { formatAddress, isLoopback } from '../config/address.ts';
import type { AdminConfig } from '../config.ts';
import type { Balancer } from '../control/balancer.ts';
import { ProcessMonitor } from '../control/process-figures.ts';
import { bindError, EXIT_BAD_CONFIGURATION, TidegateError } from '../errors.ts';
import type { Logger } from '../logger.ts';
import { Api } from './api.ts';
import { Guard } from './guard.ts';
import type { OpenHttpServer } from './http.ts';
import { openNodeServer } from './http-node.ts';
import { openUwsServer } from './http-uwebsockets.ts';
import { routes } from './routes.ts';
import { loadUws } from './uwebsockets.ts';

/** auto: uWebSockets.js where its binary loads. */
export type AdminServerKind = 'auto' | 'uwebsockets' | 'node';

export interface AdminServer {
  host: string;
  /** The real one, where the configuration says 0. */
  port: number;
  /** Empty for none. */
  setToken(token: string): void;
  close(): Promise<void>;
}

/**
 * undefined: off, or its port is taken and nobody asked for it or, where it `mayBeLate`, a predecessor will leave it soon.
 * Throws a TidegateError that says what to do.
 */
export async function startAdmin(
  config: AdminConfig | null,
  balancer: Balancer,
  kind: AdminServerKind = 'auto',
  mayBeLate = false,
): Promise<AdminServer | undefined> {
  if (config === null) return undefined;
  const { host } = config.bind;
  const token = await readToken(config);
  const open = chooseServer(kind, balancer.log);
  const monitor = new ProcessMonitor();
  const guard = new Guard({ host, token });
  const api = new Api({ routes, guard, context: { balancer, monitor } });
  try {
    const server = await open(config.bind, api);
    const close = async () => {
      monitor.stop();
      api.live.close();
      await server.close();
    };
    return { host, port: server.port, setToken: (changed) => guard.setToken(changed), close };
  } catch (error) {
    monitor.stop();
    const failure = adminBindError(error, config);
    if (mayBeLate && failure.code === 'EADDRINUSE') return undefined;
    if (!config.isDefault) throw failure;
    balancer.log.warn({ code: failure.code }, `${failure.message}; until then there is none`);
    return undefined;
  }
}

/** A configuration that was not read from a file comes past its checks. */
export async function readToken({ bind, token, tokenFile }: AdminConfig): Promise<string> {
  const found = tokenFile === '' ? token : (await readTokenFile(tokenFile)).trim();
  const problem = `admin.token_file ${tokenFile} holds no token: one line of visible ASCII characters is expected`;
  if (tokenFile !== '' && !/^[\x21-\x7e]+$/.test(found)) throw tokenError(problem);
  if (found === '' && !isLoopback(bind)) {
    throw tokenError(`admin.bind ${formatAddress(bind)} is not a loopback address: a token is expected beside it`);
  }
  return found;
}

async function readTokenFile(file: string): Promise<string> {
  return readFile(file, 'utf8').catch(({ code }) => {
    throw tokenError(`cannot read admin.token_file ${file}: the system says ${code}`);
  });
}

function tokenError(message: string): TidegateError {
  return new TidegateError('ADMIN_TOKEN', message, EXIT_BAD_CONFIGURATION);
}

function chooseServer(kind: AdminServerKind, log: Logger): OpenHttpServer {
  if (kind === 'node') return openNodeServer;
  try {
    const uws = loadUws();
    return (address, application) => openUwsServer(uws, address, application);
  } catch (error) {
    if (kind === 'uwebsockets') throw error;
    const [why] = String((error as Error).message).split('\n');
    log.info({}, `the admin API is carried by node:http, since uWebSockets.js does not load: ${why}`);
    return openNodeServer;
  }
}

function adminBindError(error: unknown, { bind }: AdminConfig): TidegateError {
  const { code, message } = bindError((error as NodeJS.ErrnoException).code ?? String(error), formatAddress(bind));
  return new TidegateError(code, `the admin API: ${message.replace(/ in bind$/, ' in admin.bind, or set admin: off')}`);
}
