// The front doors of all listeners, and TLS towards the backends, on the main thread: their files are read here, again
// whenever they change and at each reload, and what the workers need is made of them. Nothing that is wrong in a file
// reaches a worker: the old doors stay.
import { createHash, randomBytes } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type { BackendTls, BackendTlsSettings } from '../backend-tls.ts';
import type { PoolTlsConfig } from '../config/backend-tls.ts';
import type { TlsConfig } from '../config/tls.ts';
import type { ListenerConfig, PoolConfig } from '../config.ts';
import { EXIT_BAD_CONFIGURATION, TidegateError } from '../errors.ts';
import { type LoadedCertificate, readPoolTls, readTls, type TlsFiles } from '../front/certificates.ts';
import type { DoorSettings, DoorsUpdate, TlsDoorSettings } from '../front/door-settings.ts';
import { TlsDoor } from '../front/tls.ts';
import type { Logger } from '../logger.ts';
import { watchConfig } from './config-watch.ts';
import type { Backend } from './snapshot.ts';

/** What TLS wants: a name, a key to sign with and one to encrypt with. */
const TICKET_KEYS_BYTES = 48;
const TICKET_KEYS_MS = 3_600_000;
/** A day in which somebody may still do something. */
const EXPIRY_WARNING_MS = 7 * 24 * 3_600_000;
/** OpenSSL's bound for a session's context. */
const SESSION_CONTEXT_LENGTH = 32;

/** Whose files these are. */
export interface Parties {
  /** By index; null: it was removed. */
  listeners: readonly (ListenerConfig | null)[];
  pools: readonly PoolConfig[];
  backends: readonly Backend[];
}

/** Of the listeners by index, read and found good. */
export interface StagedDoors {
  doors: readonly (DoorSettings | null)[];
  certificates: readonly ListenerCertificate[];
  /** By id, those that speak TLS. */
  backends: ReadonlyMap<number, BackendTls>;
  /** What workers must not resume sessions over: who may come has changed. */
  trust: string;
  paths: readonly string[];
}

/** One that is in use. */
export interface ListenerCertificate {
  listener: string;
  names: readonly string[];
  path: string;
  notAfterMs: number;
}

export interface Hands {
  /** Tells the workers that live. */
  publish(update: DoorsUpdate): void;
  /** A file may have changed: refresh() is due, when nothing else changes. */
  onChange(): void;
}

export class FrontDoors {
  readonly #workerCount: number;
  readonly #log: Logger;
  /** From start on. */
  #hands: Hands | undefined;
  #staged: StagedDoors = { doors: [], certificates: [], backends: new Map(), trust: '', paths: [] };
  #parties: Parties = { listeners: [], pools: [], backends: [] };
  #ticketKeys: Uint8Array = randomBytes(TICKET_KEYS_BYTES);
  #rotation: NodeJS.Timeout | undefined;
  #watches: (() => void)[] = [];

  /** `workerCount` is of the workers that share a listener. */
  constructor(workerCount: number, log: Logger) {
    this.#workerCount = workerCount;
    this.#log = log;
  }

  get update(): DoorsUpdate {
    const { doors, backends } = this.#staged;
    return { doors, ticketKeys: this.#ticketKeys, backends };
  }

  /** undefined: the backend wants none. */
  backendTls({ id }: Backend): BackendTls | undefined {
    return this.#staged.backends.get(id);
  }

  get certificates(): readonly ListenerCertificate[] {
    return this.#staged.certificates;
  }

  /** Fails with a TidegateError that has a line for each fault. */
  prepare({ listeners, pools, backends }: Parties): StagedDoors {
    const read = listeners.map((listener) => (listener?.tls ? { listener, files: readTls(listener.tls) } : null));
    const towards = pools.flatMap((pool) => (pool.tls ? [{ pool, tls: pool.tls, files: readPoolTls(pool.tls) }] : []));
    const faults = [
      ...read.flatMap((each) => (each === null ? [] : faultLines(`listener ${each.listener.name}`, each.files))),
      ...towards.flatMap(({ pool, files }) => faultLines(`pool ${pool.name}`, files)),
    ];
    if (faults.length > 0) throw new TidegateError('TLS_FILES', faults.join('\n'), EXIT_BAD_CONFIGURATION);
    const doors = listeners.map((listener, index) => {
      const files = read[index]?.files;
      const tls = listener === null || files === undefined ? null : settingsOf(listener, files, this.#workerCount);
      if (tls !== null) tryOut(tls, listener!);
      const webSocket = listener?.webSocket ?? null;
      const isDetecting = listener?.isDetecting ?? false;
      const passThrough = listener?.passThrough ? { routes: routesOf(listener.passThrough, backends) } : null;
      const isPlain = tls === null && webSocket === null && passThrough === null;
      return isPlain ? null : { tls, webSocket, isDetecting, passThrough };
    });
    return {
      doors,
      certificates: read.flatMap((each) => (each === null ? [] : certificatesOf(each.listener, each.files))),
      backends: new Map(towards.flatMap(({ pool, tls, files }) => backendsOf(pool, tls, files.settings, backends))),
      trust: JSON.stringify(read.map((each) => each && [each.files.clientCa, each.files.clientCrls])),
      paths: [
        ...new Set([
          ...listeners.flatMap((listener) => (listener?.tls ? pathsOf(listener.tls) : [])),
          ...towards.flatMap(({ tls: { ca, cert, key } }) => [ca, cert, key].filter((path) => path !== null)),
        ]),
      ],
    };
  }

  /** `update` has them from here on. */
  adopt(parties: Parties, staged: StagedDoors): void {
    const isTrustNew = staged.trust !== this.#staged.trust;
    const arePathsNew = !isDeepStrictEqual(staged.paths, this.#staged.paths);
    this.#parties = parties;
    this.#staged = staged;
    // A session that is resumed is not verified anew.
    if (isTrustNew) this.#ticketKeys = randomBytes(TICKET_KEYS_BYTES);
    if (arePathsNew) this.#watch();
    for (const certificate of staged.certificates) warnOfExpiry(certificate, this.#log);
    for (const { name, tls } of parties.pools) if (tls?.isVerified === false) this.#warnOfTrust(name);
  }

  start(hands: Hands): void {
    this.#hands = hands;
    this.#rotation = setInterval(() => this.#rotate(), TICKET_KEYS_MS).unref();
    this.#watch();
  }

  stop(): void {
    this.#hands = undefined;
    clearInterval(this.#rotation);
    for (const stop of this.#watches.splice(0)) stop();
  }

  /** Reads the files again. What is wrong with them is in the log, and then nothing has changed. */
  refresh(): void {
    this.#watch(); // a link may lead elsewhere now
    try {
      const staged = this.prepare(this.#parties);
      const { doors, backends } = this.#staged;
      if (isDeepStrictEqual([staged.doors, staged.backends], [doors, backends])) return;
      this.adopt(this.#parties, staged);
      this.#hands?.publish(this.update);
      const text = [...listText(staged.certificates), ...poolText(this.#parties)].join('; ');
      this.#log.info({ event: 'certificates_reloaded' }, `TLS files read again: ${text}`);
    } catch (error) {
      if (!(error instanceof TidegateError)) throw error;
      for (const fault of error.message.split('\n')) {
        this.#log.error(
          { event: 'certificates_refused', fault },
          `TLS files refused, the old ones stay in use: ${fault}`,
        );
      }
    }
  }

  #warnOfTrust(pool: string): void {
    const text = `pool ${pool}: tls.verify is false: nobody checks who its backends are`;
    this.#log.warn({ event: 'backends_unverified', pool }, text);
  }

  #rotate(): void {
    this.#ticketKeys = randomBytes(TICKET_KEYS_BYTES);
    this.#hands?.publish(this.update);
  }

  #watch(): void {
    const hands = this.#hands;
    if (hands === undefined) return;
    const before = this.#watches.splice(0);
    this.#watches = this.#staged.paths.map((path) =>
      watchConfig(path, hands.onChange, (error) =>
        this.#log.error({ error: String(error) }, `changes of ${path} may go unnoticed: SIGHUP reads it again, too`),
      ),
    );
    for (const stop of before) stop();
  }
}

/** As a worker will make it, who could only die of what it can't use. */
function tryOut(settings: TlsDoorSettings, { name }: ListenerConfig): void {
  try {
    new TlsDoor(settings, randomBytes(TICKET_KEYS_BYTES), {
      onEntered() {},
      onDetected() {},
      onRouted() {},
      onTurnedAway() {},
    });
  } catch (error) {
    const message = `listener ${name}: its TLS files can't be used together: ${(error as Error).message}`;
    throw new TidegateError('TLS_FILES', message, EXIT_BAD_CONFIGURATION);
  }
}

function faultLines(whose: string, { faults }: Pick<TlsFiles, 'faults'>): string[] {
  return faults.map(({ at, text }) => `${whose}: tls.${at.join('.')}: ${text}`);
}

function backendsOf(
  { name: pool }: PoolConfig,
  { serverName }: PoolTlsConfig,
  settings: BackendTlsSettings,
  backends: readonly Backend[],
): [id: number, BackendTls][] {
  return backends.flatMap((backend) =>
    backend.pool === pool ? [[backend.id, { settings, name: serverName ?? backend.config.host }]] : [],
  );
}

function settingsOf({ name, tls }: ListenerConfig, files: TlsFiles, workerCount: number): TlsDoorSettings {
  const { minVersion, ciphers, alpn, verifyClient, handshakeTimeoutMs, handshakesMax } = tls!;
  return {
    certificates: files.certificates.map(({ cert, key, ocsp, names }) => ({ cert, key, ocsp, names })),
    minVersion: `TLSv${minVersion}`,
    ciphers,
    alpn,
    clientCa: files.clientCa,
    clientCrls: files.clientCrls,
    isCertificateRequired: verifyClient === 'require',
    handshakeTimeoutMs,
    handshakesMax: Math.ceil(handshakesMax / workerCount),
    sessionContext: createHash('sha256').update(name).digest('hex').slice(0, SESSION_CONTEXT_LENGTH),
  };
}

/** The id of a pool without backends is known to nobody: its clients are turned away. */
function routesOf(routes: NonNullable<ListenerConfig['passThrough']>, backends: readonly Backend[]) {
  return routes.flatMap(({ host, pool }) => {
    const backend = backends.find((each) => each.pool === pool);
    return backend === undefined ? [] : [{ host, pool: backend.poolId }];
  });
}

function certificatesOf({ name }: ListenerConfig, { certificates }: TlsFiles): ListenerCertificate[] {
  return certificates.map(({ names, path, notAfterMs }: LoadedCertificate) => {
    return { listener: name, names, path, notAfterMs };
  });
}

function pathsOf({ certificates, clientCa, clientCrl }: TlsConfig): string[] {
  return [...certificates.flatMap(({ cert, key, ocsp }) => [cert, key, ocsp]), clientCa, clientCrl].filter(
    (path) => path !== null,
  );
}

function warnOfExpiry({ listener, path, notAfterMs }: ListenerCertificate, log: Logger): void {
  const leftMs = notAfterMs - Date.now();
  if (leftMs > EXPIRY_WARNING_MS) return;
  const when = new Date(notAfterMs).toISOString();
  const text = leftMs > 0 ? `expires at ${when}` : `has expired at ${when}`;
  log.warn({ event: 'certificate_expiry', listener, path }, `listener ${listener}: the certificate in ${path} ${text}`);
}

function listText(certificates: readonly ListenerCertificate[]): string[] {
  return certificates.map(({ listener, path }) => `listener ${listener} has the certificate in ${path}`);
}

function poolText({ pools }: Parties): string[] {
  return pools.flatMap(({ name, tls }) => (tls === null ? [] : [`pool ${name} trusts ${tls.ca ?? "Node.js's CAs"}`]));
}
