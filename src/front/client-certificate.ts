// What is kept of the certificate that a client has shown.
import type { TLSSocket } from 'node:tls';

/** Its common name, empty where the certificate has none; undefined: the client has shown none. */
export function clientCnOf(socket: TLSSocket): string | undefined {
  const { subject, fingerprint256 } = socket.getPeerCertificate();
  if (fingerprint256 === undefined) return undefined;
  const cn: unknown = subject?.CN;
  return String((Array.isArray(cn) ? cn.at(-1) : cn) ?? ''); // several: the last is the most specific one
}
