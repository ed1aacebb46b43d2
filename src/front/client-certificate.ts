// What is kept of the certificate that a client has shown.
import type { X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import { canonicalAddress } from '../config/address.ts';

/** Of a certificate: what its client may be known by, besides its common name. */
export interface CertificateInfo {
  /** As RFC 2253 has it, the most specific part first: "CN=meter-17,O=Acme". */
  subject: string;
  /** Its subject alternative names: hosts, addresses, URIs and mail addresses. */
  names: readonly string[];
  /** Hex digits, large ones. */
  serial: string;
  /** SHA-256 of all of it, in small hex digits. */
  fingerprint: string;
}

export interface ShownCertificate {
  /** Empty where it has none. */
  cn: string;
  info: CertificateInfo;
}

/** undefined: the client has shown none. */
export function certificateOf(socket: TLSSocket): ShownCertificate | undefined {
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined) return undefined;
  const cn: unknown = socket.getPeerCertificate().subject?.CN;
  return {
    cn: String((Array.isArray(cn) ? cn.at(-1) : cn) ?? ''), // several: the last is the most specific one
    info: {
      subject: subjectOf(certificate),
      names: namesOf(certificate.subjectAltName ?? ''),
      serial: certificate.serialNumber,
      fingerprint: certificate.fingerprint256.replaceAll(':', '').toLowerCase(),
    },
  };
}

/** Node has a line for each part, with their values escaped already, the most general one first. */
function subjectOf({ subject }: X509Certificate): string {
  return subject ? subject.split('\n').reverse().join(',') : '';
}

const NAME = /(?:^|, )(DNS|URI|email|IP Address):("(?:[^"\\]|\\.)*"|[^,]*)/g;

/** "DNS:a.example, IP Address:192.0.2.1, URI:"a value with, or quotes"": a value that could mislead is a JSON string. */
export function namesOf(subjectAltName: string): string[] {
  return [...subjectAltName.matchAll(NAME)].map(([, type, value = '']) => {
    const name = value.startsWith('"') ? String(JSON.parse(value)) : value;
    return type === 'IP Address' ? addressText(name) : name;
  });
}

/** In the short form of RFC 5952, as addresses are written elsewhere. */
function addressText(address: string): string {
  return address.includes(':') ? canonicalAddress({ host: address, port: 0 }).replace(/^\[(.*)\]:0$/, '$1') : address;
}
