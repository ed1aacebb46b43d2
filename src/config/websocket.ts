// The keys of a listener's `websocket`, and what they come to.
import { z } from 'zod';
import { cidrList, duration, integer, listOf, mapping, text } from './kinds.ts';

const PATH_PATTERN = /^\/[!"$-&(->@-~]*$/;
const PATH_EXPECTED = 'expected a path such as /mqtt';
const ORIGIN_PATTERN = /^(https?:\/\/[a-z0-9.:[\]-]+|null)$/;
const ORIGIN_EXPECTED = 'expected an origin such as https://example.com';
const ORIGINS_MAX = 100;
const MESSAGE_BYTES_LEAST = 1024;
const MESSAGE_BYTES_MOST = 256 * 1024 * 1024;

export interface WebSocketConfig {
  path: string;
  /** null: all. */
  origins: string[] | null;
  messageBytesMax: number;
  /** 0: never. */
  pingIntervalMs: number;
  /** Addresses, and ranges of them, whose X-Forwarded-For is believed; none: nobody's. */
  trustedProxies: string[];
}

export const websocket = mapping(
  {
    path: text('a path such as /mqtt', 1024)
      .regex(PATH_PATTERN, { error: PATH_EXPECTED })
      .default('/mqtt')
      .describe('Of the request; another one is answered with 404.'),
    origins: listOf(
      z.string({ error: ORIGIN_EXPECTED }).regex(ORIGIN_PATTERN, { error: ORIGIN_EXPECTED }),
      'origins',
      ORIGINS_MAX,
    )
      .optional()
      .describe('Of the pages whose browsers may connect, such as https://example.com. Default: all.'),
    message_bytes_max: integer(MESSAGE_BYTES_LEAST, MESSAGE_BYTES_MOST)
      .default(1024 * 1024)
      .describe('Of one WebSocket message; a longer one ends the connection with code 1009.'),
    ping_interval: duration(0)
      .prefault('30s')
      .describe('How often a client is pinged; who has not said a word by the next ping is given up. 0s: never.'),
    trusted_proxies: cidrList()
      .optional()
      .describe(
        'IP addresses and ranges of proxies that say in X-Forwarded-For who their client is. Default: none, and the header is ignored.',
      ),
  },
  'a mapping with path',
);

export function normaliseWebSocket(settings: z.output<typeof websocket>): WebSocketConfig {
  return {
    path: settings.path,
    origins: settings.origins ?? null,
    messageBytesMax: settings.message_bytes_max,
    pingIntervalMs: settings.ping_interval,
    trustedProxies: settings.trusted_proxies ?? [],
  };
}
