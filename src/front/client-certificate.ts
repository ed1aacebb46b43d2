// What is kept of the certificate that a client has shown.
import type { TLSSocket } from 'node:tls';

export interface ClientCertificate {
  /** Empty where the certificate has none. */
  cn: string;
  /** As in "DNS:device-1.example.net". */
  alternativeNames: readonly string[];
  /** In hex. */
  serial: string;
  /** SHA-256, in hex with colons. */
  fingerprint: string;
}

/** undefined: it has shown none. */
export function clientCertificateOf(socket: TLSSocket): ClientCertificate | undefined {
  const { subject, subjectaltname, serialNumber, fingerprint256 } = socket.getPeerCertificate();
  if (fingerprint256 === undefined) return undefined;
  const cn: unknown = subject?.CN;
  return {
    cn: String((Array.isArray(cn) ? cn.at(-1) : cn) ?? ''), // several: the last is the most specific one
    alternativeNames: splitNames(subjectaltname ?? ''),
    serial: serialNumber,
    fingerprint: fingerprint256,
  };
}

/** OpenSSL's list; a name that holds what separates them stands in quotes, as JSON has it. */
export function splitNames(text: string): string[] {
  return Array.from(text.matchAll(/([A-Za-z ]+):("(?:[^"\\]|\\.)*"|[^,]*)(?:, |$)/g), ([, kind, name]) => {
    return `${kind}:${name!.startsWith('"') ? JSON.parse(name!) : name}`;
  });
}
