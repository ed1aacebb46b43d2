// The keys of a pool's `tls`, and what they come to.
import { z } from 'zod';
import { mapping, text } from './kinds.ts';
import { certFile, keyFile, PATH_MAX } from './tls.ts';

const SERVER_NAME_PATTERN = /^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$/;
const SERVER_NAME_EXPECTED = 'expected a host name such as mqtt.example.net';

export interface PoolTlsConfig {
  /** Paths; null: none. */
  ca: string | null;
  cert: string | null;
  key: string | null;
  /** null: the host in each backend's address. */
  serverName: string | null;
  isVerified: boolean;
  minVersion: '1.2' | '1.3';
}

export const poolTls = mapping(
  {
    ca: text('the path of a PEM file with CA certificates', PATH_MAX)
      .optional()
      .describe("PEM file with the CAs that sign the brokers' certificates. Default: those that Node.js trusts."),
    cert: certFile().optional().describe('PEM file with what is shown to a broker that asks for a certificate.'),
    key: keyFile().optional().describe('PEM file with its key.'),
    server_name: z
      .string({ error: SERVER_NAME_EXPECTED })
      .regex(SERVER_NAME_PATTERN, { error: SERVER_NAME_EXPECTED })
      .optional()
      .describe(
        "What brokers are asked for (SNI), and what their certificates must name. Default: the host in each backend's address.",
      ),
    verify: z
      .boolean({ error: 'expected true or false' })
      .default(true)
      .describe('false: whatever certificate a broker has. Anybody on the way can then be the broker.'),
    min_version: z
      .literal(['1.2', '1.3', 1.2, 1.3], { error: 'expected 1.2 or 1.3' })
      .default('1.2')
      .describe('Of TLS.'),
  },
  'a mapping with ca, cert, key, server_name and verify',
);

export function normalisePoolTls(settings: z.output<typeof poolTls>): PoolTlsConfig {
  return {
    ca: settings.ca ?? null,
    cert: settings.cert ?? null,
    key: settings.key ?? null,
    serverName: settings.server_name ?? null,
    isVerified: settings.verify,
    minVersion: String(settings.min_version) as PoolTlsConfig['minVersion'],
  };
}
