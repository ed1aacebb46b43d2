// The keys of a listener's `tls`, and what they come to.
import { z } from 'zod';
import type { Path } from './document.ts';
import { duration, integer, listOf, mapping, oneOf, text } from './kinds.ts';

/** For TLS 1.2 and 1.3: nothing without forward secrecy, nothing that doesn't authenticate what it encrypts. */
const CIPHERS_DEFAULT = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
].join(':');
export const PATH_MAX = 4096;
const CERTIFICATES_MAX = 64;
const NAMES_MAX = 100;
const HANDSHAKES_MAX = 1_000_000;
const HOST_PATTERN = /^(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$/;
const HOST_EXPECTED = 'expected a host name such as mqtt.example.net or "*.example.net"';
const PROTOCOL_PATTERN = /^[!-~]{1,255}$/;
const PROTOCOL_EXPECTED = 'expected a protocol name such as mqtt';
const CIPHERS_PATTERN = /^[A-Za-z0-9_:!+@=.-]+$/;

export interface TlsConfig {
  /** The first one is for clients that name no host, or one that nobody has. */
  certificates: CertificateConfig[];
  minVersion: '1.2' | '1.3';
  /** By OpenSSL's names. */
  ciphers: string;
  /** None: it isn't negotiated. */
  alpn: string[];
  /** Path; null: none. */
  clientCa: string | null;
  clientCrl: string | null;
  verifyClient: 'off' | 'request' | 'require';
  handshakeTimeoutMs: number;
  /** At once, in all workers together. */
  handshakesMax: number;
}

export interface CertificateConfig {
  /** Paths. */
  cert: string;
  key: string;
  /** null: none. */
  ocsp: string | null;
  /** null: those in the certificate. */
  names: string[] | null;
  /** Where it stands in the mapping. */
  at: Path;
}

export const certFile = () =>
  text('the path of a PEM file with the certificate, and with those that lead to its CA', PATH_MAX);
export const keyFile = () => text("the path of a PEM file with the certificate's key", PATH_MAX);

const ocspFile = () =>
  text('the path of a DER file with an OCSP response', PATH_MAX)
    .optional()
    .describe(
      'DER file with what its CA says of it (OCSP), for clients that ask; whoever writes the file sees to its age. Default: none.',
    );

const certificate = mapping(
  {
    cert: certFile().describe('PEM file: the certificate, then those that lead to its CA.'),
    key: keyFile().describe('PEM file with its key.'),
    ocsp: ocspFile(),
    names: listOf(
      z.string({ error: HOST_EXPECTED }).regex(HOST_PATTERN, { error: HOST_EXPECTED }),
      'host names',
      NAMES_MAX,
    )
      .optional()
      .describe('Hosts that it is for. Default: those that it names itself.'),
  },
  'a mapping with cert, key and names',
);

export const tls = mapping(
  {
    cert: certFile().optional().describe('PEM file: the certificate, then those that lead to its CA.'),
    key: keyFile().optional().describe('PEM file with its key.'),
    ocsp: ocspFile(),
    certificates: listOf(certificate, 'certificates', CERTIFICATES_MAX)
      .optional()
      .describe(
        'Instead of cert and key, several: the host that a client asks for (SNI) says which one it gets, the first one if none does.',
      ),
    min_version: z
      .literal(['1.2', '1.3', 1.2, 1.3], { error: 'expected 1.2 or 1.3' })
      .default('1.2')
      .describe('Of TLS.'),
    ciphers: text('a list of cipher suites with ":" between them', 4096)
      .regex(CIPHERS_PATTERN, { error: 'expected a list of cipher suites with ":" between them' })
      .default(CIPHERS_DEFAULT)
      .describe("By OpenSSL's names, with ':' between them, best first; those of TLS 1.3 stand in it too."),
    alpn: z
      .array(z.string({ error: PROTOCOL_EXPECTED }).regex(PROTOCOL_PATTERN, { error: PROTOCOL_EXPECTED }), {
        error: 'expected a list of protocol names',
      })
      .max(16, { error: 'expected at most 16 protocol names' })
      .optional()
      .describe(
        'Protocols; a client that names others only is sent away. Empty: whatever it names. Default: mqtt, and with websocket also http/1.1, which browsers name.',
      ),
    verify_client: oneOf(['off', 'request', 'require'])
      .default('off')
      .describe('Whether clients are asked for a certificate. require: one that is good, or the client is sent away.'),
    client_ca: text('the path of a PEM file with CA certificates', PATH_MAX)
      .optional()
      .describe("PEM file with the CAs that sign clients' certificates."),
    client_crl: text('the path of a PEM file with revocation lists', PATH_MAX)
      .optional()
      .describe('PEM file with a revocation list of each of these CAs.'),
    handshake_timeout: duration(1)
      .prefault('5s')
      .describe('From accept to the end of the handshake, within connect_timeout.'),
    handshakes_max: integer(1, HANDSHAKES_MAX)
      .default(2000)
      .describe('Handshakes at once, in all workers together; whoever comes then is closed.'),
  },
  'a mapping with cert and key, or with certificates',
);

export type TlsSettings = z.output<typeof tls>;

/** `protocols`: where it names none itself. */
export function normaliseTls(settings: TlsSettings, protocols: readonly string[]): TlsConfig {
  const { cert, key, ocsp = null, certificates = [] } = settings;
  const single = cert === undefined || key === undefined ? [] : [{ cert, key, ocsp, names: null, at: [] }];
  const several = certificates.map(({ names = null, ocsp = null, ...files }, index) => ({
    ...files,
    ocsp,
    names,
    at: ['certificates', index],
  }));
  return {
    certificates: [...single, ...several],
    minVersion: String(settings.min_version) as TlsConfig['minVersion'],
    ciphers: settings.ciphers,
    alpn: settings.alpn ?? [...protocols],
    clientCa: settings.client_ca ?? null,
    clientCrl: settings.client_crl ?? null,
    verifyClient: settings.verify_client,
    handshakeTimeoutMs: settings.handshake_timeout,
    handshakesMax: settings.handshakes_max,
  };
}
