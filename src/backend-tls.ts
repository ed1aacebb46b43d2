// TLS towards a backend: for the connections of clients in a worker, and for probes on the main thread.
import { isIP, type Socket } from 'node:net';
import { connect, createSecureContext, type SecureContext, type TLSSocket } from 'node:tls';

/** Of a pool. */
export interface BackendTlsSettings {
  /** PEM; null: the authorities that Node.js trusts. */
  ca: string | null;
  /** What the backends see as ours; null: nothing. */
  cert: string | null;
  key: string | null;
  isVerified: boolean;
  minVersion: 'TLSv1.2' | 'TLSv1.3';
}

/** Of one backend. */
export interface BackendTls {
  /** The same object for all backends of a pool. */
  settings: BackendTlsSettings;
  /** What it is asked for by (SNI) and what its certificate must name: a host or an IP address. */
  name: string;
}

/** `socket` may still be connecting; what is written to it when it is connected comes before the handshake. */
export function secure(socket: Socket, { settings, name }: BackendTls): TLSSocket {
  return connect({
    socket,
    secureContext: contextOf(settings),
    rejectUnauthorized: settings.isVerified,
    host: name,
    // An address is no name that could be asked for (RFC 6066, section 3).
    ...(isIP(name) !== 0 ? {} : { servername: name }),
  });
}

/** "CERT_HAS_EXPIRED", "ERR_TLS_CERT_ALTNAME_INVALID" and so on; undefined: TLS isn't to blame. */
export function tlsFault({ code = '' }: NodeJS.ErrnoException): string | undefined {
  const isSystems = code !== 'EPROTO' && /^(E[A-Z0-9]+|ERR_(STREAM|SOCKET)_\w+|)$/.test(code);
  return isSystems ? undefined : code;
}

/** One for all connections with the same settings, as long as somebody has these. */
const contexts = new WeakMap<BackendTlsSettings, SecureContext>();

function contextOf(settings: BackendTlsSettings): SecureContext {
  const known = contexts.get(settings);
  if (known !== undefined) return known;
  const context = createContext(settings);
  contexts.set(settings, context);
  return context;
}

/** Throws where OpenSSL can't use them. */
function createContext({ ca, cert, key, minVersion }: BackendTlsSettings): SecureContext {
  return createSecureContext({
    minVersion,
    ...(ca === null ? {} : { ca }),
    ...(cert === null || key === null ? {} : { cert, key }),
  });
}
