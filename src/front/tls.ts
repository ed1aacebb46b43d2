// A TLS front door in a worker: a client's socket goes in, and comes out as a byte stream with what the handshake has
// told. It knows nothing of MQTT.
import { X509Certificate } from 'node:crypto';
import type { Socket } from 'node:net';
import { createSecureContext, createServer, type SecureContext, type Server, type TLSSocket } from 'node:tls';
import {
  REASON_CLIENT_CERTIFICATE,
  REASON_TLS_HANDSHAKE,
  REASON_TLS_HANDSHAKES_MAX,
  REASON_TLS_TIMEOUT,
} from '../../assembly/layout.ts';
import { certificateOf, type ShownCertificate } from './client-certificate.ts';
import type { Door, Welcome } from './door.ts';
import type { CertificateMaterial, TlsDoorSettings } from './door-settings.ts';
import type { FrontInfo } from './front-info.ts';

/** Node's own deadline refuses to be switched off; ours comes first. */
const NODE_TIMEOUT_FACTOR = 2;
const NO_STAPLE = Buffer.alloc(0);

export class TlsDoor<Entrant> implements Door<Entrant> {
  readonly settings: TlsDoorSettings;
  readonly timeoutReason = REASON_TLS_TIMEOUT;
  readonly leftReason = REASON_TLS_HANDSHAKE;
  readonly #welcome: Welcome<Entrant>;
  readonly #server: Server;
  /** Handshakes that aren't done, by the connection's addresses. */
  readonly #entrants = new Map<string, Entrant>();

  constructor(settings: TlsDoorSettings, ticketKeys: Uint8Array, welcome: Welcome<Entrant>) {
    const { certificates, alpn, clientCa, handshakeTimeoutMs } = settings;
    this.settings = settings;
    this.#welcome = welcome;
    this.#server = createServer({
      ...contextOptions(settings, certificates[0]!),
      ALPNProtocols: [...alpn],
      SNICallback: chooseContext(settings),
      requestCert: clientCa !== null,
      // Whether the certificate is good is asked below: node:tls judges it after the handshake, too, without an alert,
      // and whom it sends away can't be told from one that has left.
      rejectUnauthorized: false,
      handshakeTimeout: handshakeTimeoutMs * NODE_TIMEOUT_FACTOR,
      ticketKeys: Buffer.from(ticketKeys),
    });
    const staples = staplesOf(certificates);
    if (staples.size > 0)
      this.#server.on('OCSPRequest', (shown, _issuer, done) => done(null, stapleOf(shown, staples)));
    this.#server.on('secureConnection', (socket) => this.#onSecure(socket));
    this.#server.on('tlsClientError', (error, socket) => this.#onError(error, socket));
  }

  get fullReason(): number | null {
    return this.#entrants.size >= this.settings.handshakesMax ? REASON_TLS_HANDSHAKES_MAX : null;
  }

  get timeoutMs(): number {
    return this.settings.handshakeTimeoutMs;
  }

  enter(socket: Socket, entrant: Entrant): void {
    const key = addressesOf(socket);
    // Whoever ends before it is in has nothing more to hear; it may talk on alone when it is.
    socket.allowHalfOpen = false;
    this.#entrants.set(key, entrant);
    socket.once('close', () => this.#entrants.delete(key));
    this.#server.emit('connection', socket);
  }

  setTicketKeys(keys: Uint8Array): void {
    this.#server.setTicketKeys(Buffer.from(keys));
  }

  #take(socket: TLSSocket): Entrant | undefined {
    const key = addressesOf(socket);
    const entrant = this.#entrants.get(key);
    this.#entrants.delete(key);
    return entrant;
  }

  #onSecure(socket: TLSSocket): void {
    const entrant = this.#take(socket);
    const shown = this.settings.clientCa === null ? undefined : certificateOf(socket);
    // A session that is taken up counts as verified also where nobody has shown a certificate.
    const isVerified = socket.authorized && shown !== undefined;
    if (entrant === undefined) {
      socket.destroy(); // it has been given up
    } else if (this.settings.isCertificateRequired && !isVerified) {
      socket.on('error', () => {}).destroy();
      this.#welcome.onTurnedAway(entrant, REASON_CLIENT_CERTIFICATE, certificateFault(socket, shown));
    } else {
      socket.allowHalfOpen = true;
      const known = { info: infoOf(socket, shown, isVerified), isResumed: socket.isSessionReused() };
      this.#welcome.onEntered(entrant, socket, known);
    }
  }

  #onError(error: NodeJS.ErrnoException, socket: TLSSocket): void {
    const entrant = this.#take(socket);
    if (entrant !== undefined) this.#welcome.onTurnedAway(entrant, REASON_TLS_HANDSHAKE, faultName(error));
  }
}

/** Of one connection: no other one that lives has the same. */
function addressesOf({ remoteAddress, remotePort, localAddress, localPort }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`;
}

/** Contexts differ in the certificate alone: which one is taken is the client's wish, and opens nothing. */
function contextOptions(settings: TlsDoorSettings, { cert, key }: CertificateMaterial) {
  const { minVersion, ciphers, clientCa, clientCrls, sessionContext } = settings;
  return {
    cert,
    key,
    minVersion,
    ciphers,
    honorCipherOrder: true,
    sessionIdContext: sessionContext,
    ...(clientCa === null ? {} : { ca: clientCa }),
    ...(clientCrls.length === 0 ? {} : { crl: [...clientCrls] }),
  };
}

/** By the certificate that they speak of, in DER and hex. */
function staplesOf(certificates: readonly CertificateMaterial[]): Map<string, Buffer> {
  return new Map(
    certificates.flatMap(({ cert, ocsp }) =>
      ocsp === null ? [] : [[new X509Certificate(cert).raw.toString('hex'), Buffer.from(ocsp)]],
    ),
  );
}

function stapleOf(shown: Buffer, staples: ReadonlyMap<string, Buffer>): Buffer {
  return staples.get(shown.toString('hex')) ?? NO_STAPLE;
}

type SniCallback = (name: string, done: (error: Error | null, context?: SecureContext) => void) => void;

/** Of two certificates for one name the first is taken; a name in full goes before one with a star. */
function chooseContext(settings: TlsDoorSettings): SniCallback {
  const contexts = new Map<string, SecureContext>();
  for (const certificate of settings.certificates) {
    const context = createSecureContext(contextOptions(settings, certificate));
    for (const name of certificate.names) if (!contexts.has(name)) contexts.set(name, context);
  }
  return (asked, done) => {
    const name = asked.toLowerCase();
    const context = contexts.get(name) ?? contexts.get(name.replace(/^[^.]*/, '*'));
    done(null, context); // undefined: the first one
  };
}

function infoOf(socket: TLSSocket, shown: ShownCertificate | undefined, isVerified: boolean): FrontInfo {
  // `false` where the client has asked for none.
  const sni = socket.servername as string | false | undefined;
  const { alpnProtocol } = socket;
  return {
    ...(sni ? { sni } : {}),
    ...(alpnProtocol ? { alpn: alpnProtocol } : {}),
    tls: {
      version: socket.getProtocol() ?? '',
      cipher: socket.getCipher().name,
      ...(shown === undefined ? {} : { clientCn: shown.cn, certificate: shown.info }),
      isVerified,
    },
  };
}

/** "cert_has_expired", "cert_revoked" and so on, by OpenSSL's words. */
function certificateFault({ authorizationError }: TLSSocket, shown: ShownCertificate | undefined): string {
  return shown === undefined ? 'no_certificate' : String(authorizationError).toLowerCase();
}

/** "unsupported_protocol" for ERR_SSL_UNSUPPORTED_PROTOCOL. */
function faultName({ code = 'unknown' }: NodeJS.ErrnoException): string {
  return code.replace(/^ERR_(SSL|TLS)_/, '').toLowerCase();
}
