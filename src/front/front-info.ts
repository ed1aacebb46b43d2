// What a front door knows about a client, for hash keys, PROXY headers, logs and rules.

import type { CertificateInfo } from './client-certificate.ts';

export interface FrontInfo {
  /** The host that the client asked for in its handshake. */
  sni?: string;
  alpn?: string;
  tls?: {
    /** TLSv1.2 and the like. */
    version: string;
    /** By OpenSSL's name. */
    cipher: string;
    /** Of the certificate that it has shown, whoever signed that. */
    clientCn?: string;
    certificate?: CertificateInfo;
    /** Its certificate is good. */
    isVerified: boolean;
  };
}
