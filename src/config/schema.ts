// The configuration's shape, one file's worth: every key, its type, its default and what it means. The same
// declaration validates and is printed as the JSON Schema. What holds between keys is in checks.ts.
import { isIP } from 'node:net';
import { z } from 'zod';
import {
  CONNECT_BYTES_LIMIT,
  LISTENERS_MAX,
  MEMBERS_MAX,
  PATTERNS_MAX,
  POOLS_MAX,
  ROWS_DEFAULT,
  ROWS_MAX,
  SERVER_REFERENCE_BYTES_MAX,
  SOURCES_MAX,
  TEMPLATE_BYTES_MAX,
  WEIGHT_MAX,
} from '../../assembly/layout.ts';
import { compileFormat, FORMAT_EXPECTED } from '../control/record-format.ts';
import { ADDRESS_PATTERN, type Address, IP_ADDRESS_PATTERN, isWildcard, parseAddress } from './address.ts';
import { poolTls } from './backend-tls.ts';
import { cidrList, duration, integer, listOf, mapping, oneOf, text } from './kinds.ts';
import { FIELD_NAMES, isField, patternTokens, templateTokens } from './text-tokens.ts';
import { tls } from './tls.ts';
import { websocket } from './websocket.ts';

const BYTES: Record<string, number> = { '': 1, KiB: 1 << 10, MiB: 1 << 20 };
const SIZE_PATTERN = /^(\d{1,9})(KiB|MiB)?$/;
const NAME_PATTERN = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const NAME_EXPECTED = 'expected a name of up to 64 letters, digits, ".", "_" or "-"';
/** Of a user or a group. */
const ACCOUNT_PATTERN = /^[A-Za-z_][A-Za-z0-9_.-]*$/;
const ROUTE_PATTERN = /^(\*|(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*)$/;
const ROUTE_EXPECTED = 'expected a host name such as mqtt.example.net, "*.example.net" or "*"';
const SECRET_BYTES_MAX = 256;
/** What a header carries as it stands. */
const TOKEN_PATTERN = /^[\x21-\x7e]{1,256}$/;
const TOKEN_EXPECTED = 'expected a text of 1 to 256 visible ASCII characters';
const ADMIN_WHAT = 'off or a mapping with bind, token and token_file';
export const ADMIN_BIND_DEFAULT = '127.0.0.1:9883';
export const WORKERS_MAX = 256;
/** What may be hashed. */
export const KEY_NAMES = [
  'client_id',
  'username',
  'remote_addr',
  'tls_sni',
  'tls_client_cn',
  'tls_client_subject',
  'tls_client_san',
  'tls_client_serial',
  'tls_client_fingerprint',
] as const;
const KEEP_ALIVE_FACTOR_MAX = 100;
const KEEP_ALIVE_FACTOR_EXPECTED = `expected 0 or a number from 1 to ${KEEP_ALIVE_FACTOR_MAX}`;
const SOURCES_EXPECTED = `expected a list of at most ${SOURCES_MAX} IP addresses`;
const CONNECTIONS_MAX = 1 << 20;
/** Of one listener; each connection is compared with them. */
export const RATE_MIN = 0.1;
export const RATE_MAX = 1_000_000;
const THRESHOLD_MAX = 100;
const THRESHOLD_EXPECTED = `expected a number from 1 to ${THRESHOLD_MAX}`;
const COUNT_MAX = 1_000_000;
/** Of all workers together. */
const LIMIT_MAX = 1_000_000_000;
/** EMQX drops a socket that has sent nothing for so long. Clients that wait are dialled before, or not at all. */
const QUEUE_TIMEOUT_LIMIT_MS = 15_000;
const QUEUE_TIMEOUT_EXPECTED = 'expected a duration above 0 and below 15s, such as 10s';
const PORT_MAX = 65_535;
const HEX_PATTERN = /^[0-9A-Fa-f]{2}(?:\s*[0-9A-Fa-f]{2})*$/;
const HEX_DIGITS_MAX = 8192;
const HTTP_PATH_PATTERN = /^\/[!-~]*$/;
/** One server, or several in the order of preference, as 4.11 of MQTT 5.0 suggests. */
const SERVER_REFERENCE_PATTERN = /^[!-~]+( [!-~]+)*$/;
const HTTP_HOST_PATTERN = /^[!-~]+$/;

// ---- Kinds of value --------------------------------------------------------------------------------------------------

/** In a second. */
function rate(min: number) {
  const error = `expected a number from ${min} to ${RATE_MAX}`;
  return z.number({ error }).min(min, { error }).max(RATE_MAX, { error });
}

function autoOrInteger(min: number, max: number) {
  const error = `expected auto or a whole number from ${min} to ${max}`;
  return z.union([z.literal('auto'), integer(min, max, error)], { error });
}

function name() {
  return z.string({ error: NAME_EXPECTED }).regex(NAME_PATTERN, { error: NAME_EXPECTED });
}

/** Bytes. */
function size(min: number, max: number) {
  const error = `expected a size from ${min} bytes to ${max / 1024}KiB, such as 64KiB`;
  return z
    .union([integer(min, max, error), z.string().regex(SIZE_PATTERN, { error })], { error })
    .transform((value) => sizeBytes(String(value)))
    .pipe(z.number().min(min, { error }).max(max, { error }));
}

function address(error: string, pattern: RegExp, accepts: (address: Address) => boolean) {
  return z
    .string({ error })
    .regex(pattern, { error })
    .refine((value) => acceptsAddress(value, accepts), { error });
}

function acceptsAddress(value: string, accepts: (address: Address) => boolean): boolean {
  const parsed = parseAddress(value);
  return parsed !== null && accepts(parsed);
}

function bindAddress() {
  const error = 'expected an IP address and port such as 0.0.0.0:1883 or "[::]:1883"';
  return address(error, IP_ADDRESS_PATTERN, ({ host }) => isIP(host) !== 0);
}

function backendAddress() {
  const error = 'expected host:port such as 10.0.0.11:1883, broker1.example.net:1883 or "[2001:db8::1]:1883"';
  return address(error, ADDRESS_PATTERN, ({ port }) => port !== 0);
}

/** Without a port: the kernel chooses that for each connection. */
function sourceAddress() {
  const error = 'expected an IP address of this machine, such as 10.0.0.5 or "2001:db8::5"';
  return z.string({ error }).refine((value) => isIP(value) !== 0 && !isWildcard(value), { error });
}

function pattern(check: (value: string) => void = () => {}) {
  return compiled('a pattern such as meter-*', (value) => {
    patternTokens(value);
    check(value);
  });
}

function patternList(one: ReturnType<typeof pattern>) {
  return listOf(one, 'patterns', PATTERNS_MAX);
}

function template() {
  return compiled('a text', templateTokens).optional();
}

/** A text that a compiler takes, or whose RangeError says why it doesn't. */
function compiled(what: string, compile: (value: string) => unknown) {
  return text(what, TEMPLATE_BYTES_MAX).superRefine((value, context) => {
    try {
      compile(value);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      context.addIssue({ code: 'custom', message: error.message });
    }
  });
}

/** A list of what clients may not be called: what a client says of itself can't be in it. */
function refuseFields(value: string): void {
  if (patternTokens(value).some(isField)) throw new RangeError('expected a pattern without fields');
}

/** Digits alone would be a number in YAML, of which leading zeros are lost: hence the quotes. */
function hex() {
  const error = 'expected pairs of hex digits in quotes, such as "20 02 00 00"';
  return z
    .string({ error })
    .max(HEX_DIGITS_MAX, { error: `expected at most ${HEX_DIGITS_MAX} characters` })
    .regex(HEX_PATTERN, { error });
}

function matching(pattern: RegExp, what: string, lengthMax: number) {
  return text(what, lengthMax).regex(pattern, { error: `expected ${what}` });
}

function sizeBytes(value: string): number {
  const [, count, unit = ''] = SIZE_PATTERN.exec(value) ?? [];
  return Number(count) * (BYTES[unit] ?? Number.NaN);
}

function formatProblem(value: string): string | null {
  try {
    compileFormat(value);
    return null;
  } catch (error) {
    if (error instanceof RangeError) return error.message.startsWith(FORMAT_EXPECTED) ? FORMAT_EXPECTED : error.message;
    throw error;
  }
}

function powersOfTwo(min: number, max: number): number[] {
  return min > max ? [] : [min, ...powersOfTwo(min * 2, max)];
}

// ---- The keys --------------------------------------------------------------------------------------------------------

const balance = mapping(
  {
    method: oneOf(['hash', 'round_robin', 'least_conn', 'random_two'])
      .default('hash')
      .describe('How a backend is chosen. hash brings a client back to the same backend every time.'),
    key: oneOf(KEY_NAMES)
      .default('client_id')
      .describe(
        'What is hashed. tls_sni: the host that a client of a TLS listener asks for, tls_client_cn, tls_client_subject, tls_client_san, tls_client_serial, tls_client_fingerprint: what its certificate says, of several names the first. A client whose key is empty is spread by weighted round robin. For method hash only.',
      ),
    algorithm: oneOf(['rendezvous', 'ketama'])
      .default('rendezvous')
      .describe(
        'rendezvous moves no client that need not move. ketama chooses as NGINX does with "hash ... consistent". For method hash only.',
      ),
    rows: z
      .literal(powersOfTwo(ROWS_DEFAULT, ROWS_MAX), {
        error: `expected a power of two from ${ROWS_DEFAULT} to ${ROWS_MAX}`,
      })
      .default(ROWS_DEFAULT)
      .describe('Rows of the rendezvous table: more rows spread clients more evenly. For algorithm rendezvous only.'),
    secret: text(`a text of 1 to ${SECRET_BYTES_MAX} characters`, SECRET_BYTES_MAX)
      .optional()
      .describe(
        'Keys the hash, so that nobody can choose ClientIds that all meet one backend. The same on every instance. For algorithm rendezvous only. Default: none.',
      ),
  },
  'a mapping with method, key and algorithm',
);

const rateOf = (rate: string, burst: string) =>
  mapping(
    {
      rate: integer(1, RATE_MAX).describe(`${rate}, by all workers together.`),
      burst: integer(1, RATE_MAX)
        .default(1)
        .describe(`How many may ${burst} at once after a time without any; at least one for each worker.`),
    },
    'a mapping with rate and burst',
  );
const connectRate = rateOf('CONNECTs a second that are dialled', 'be dialled');
const connectRatePerSource = rateOf('Connections a second of one source', 'come');

const sourcePrefix = mapping(
  {
    ipv4: integer(1, 32).default(32).describe('Leading bits of an IPv4 address that make a source.'),
    ipv6: integer(1, 64).default(64).describe('The same of an IPv6 address.'),
  },
  'a mapping with ipv4 and ipv6',
);

const TAKE_OVER_LOOP_WHAT = 'off, or a mapping with take_overs, window, pause and pause_max';

export const takeOverLoop = mapping(
  {
    take_overs: integer(2, COUNT_MAX).default(5).describe('So many of one ClientId within the window are a loop.'),
    window: duration(1).prefault('30s').describe('The time in which they are counted.'),
    pause: duration(1)
      .prefault('1s')
      .describe('For so long its CONNECTs are refused after a take-over in a loop, and twice as long after the next.'),
    pause_max: duration(1).prefault('60s').describe('No pause is longer.'),
  },
  TAKE_OVER_LOOP_WHAT,
);

const queue = mapping(
  {
    max: integer(0, COUNT_MAX)
      .default(10_000)
      .describe('How many may wait; whoever comes then is refused. 0: nobody waits.'),
    timeout: duration(1)
      .refine((timeoutMs) => timeoutMs < QUEUE_TIMEOUT_LIMIT_MS, { error: QUEUE_TIMEOUT_EXPECTED })
      .prefault('10s')
      .describe('Who has waited for so long is refused. Below 15s.'),
  },
  'a mapping with max and timeout',
);

function maxConnections(description: string) {
  return integer(1, LIMIT_MAX).optional().describe(`${description} Default: no limit.`);
}

const backend = mapping(
  {
    address: backendAddress().describe('host:port. This text is what is hashed and logged.'),
    weight: integer(0, WEIGHT_MAX)
      .default(1)
      .describe('Share of the clients beside the other backends; 0 takes nobody.'),
    backup: z
      .boolean({ error: 'expected true or false' })
      .default(false)
      .describe('Takes clients only while no other backend can.'),
    max_fails: integer(0, COUNT_MAX)
      .default(1)
      .describe('Failed connects within fail_timeout after which the backend is passed over; 0 never.'),
    fail_timeout: duration(1)
      .prefault('10s')
      .describe('The time in which max_fails are counted, and for which the backend is then passed over.'),
    slow_start: duration(0)
      .optional()
      .describe("Instead of the pool's: from the backend's return until it gets its whole share of the clients again."),
    health_port: integer(1, PORT_MAX).optional().describe("Instead of the pool's health.port."),
    connect_rate: connectRate
      .optional()
      .describe('How fast clients are brought to this backend; those beyond wait in the queue of the pool.'),
    max_connections: maxConnections('Connections to this backend; its clients go to their next candidate then.'),
  },
  'host:port, or a mapping with address',
);

const shortBackend = backendAddress().transform((address) => backend.parse({ address }));

/** As it stands in a pool's list. */
export const backendSettings = z.union([shortBackend, backend]).describe('A backend: host:port alone, or a mapping.');

const health = mapping(
  {
    type: oneOf(['mqtt', 'tcp', 'http', 'raw', 'none'])
      .default('mqtt')
      .describe(
        'What a probe speaks. mqtt: CONNECT, CONNACK, DISCONNECT. tcp: connects. http: GET, 200 is up, 503 drain. raw: send, then expect. none: no probes.',
      ),
    interval: duration(1).prefault('5s').describe('From one probe to the next, or up to a fifth less.'),
    timeout: duration(1).prefault('2s').describe('A probe that takes longer has failed.'),
    rise: integer(1, COUNT_MAX).default(2).describe('Probes in a row that must pass before a backend is up again.'),
    fall: integer(1, COUNT_MAX)
      .default(3)
      .describe('Probes in a row that must fail before a backend is down. From the first one on it is passed over.'),
    port: integer(1, PORT_MAX).optional().describe("Where probes connect. Default: the backend's own port."),
    initial: oneOf(['up', 'down'])
      .default('up')
      .describe('What a backend is held for at start: down takes nobody before rise probes have passed.'),
    version: z
      .literal(['3.1.1', '5', 5], { error: 'expected 3.1.1 or 5' })
      .default('3.1.1')
      .describe('Of MQTT. For type mqtt only.'),
    username: text('a text of 1 to 1024 characters', 1024)
      .optional()
      .describe('What the probe connects with. Default: none. For type mqtt only.'),
    password: text('a text of 1 to 1024 characters', 1024).optional().describe('Beside the username, if there is one.'),
    path: matching(HTTP_PATH_PATTERN, 'a path such as /status', 1024)
      .default('/')
      .describe('What is asked for. For type http only.'),
    host: matching(HTTP_HOST_PATTERN, 'a host name', 255)
      .optional()
      .describe('The Host header. Default: the address that is probed. For type http only.'),
    send: hex().optional().describe('Bytes that the probe begins with, in hex. For type raw only.'),
    expect: hex()
      .optional()
      .describe('Bytes, in hex, that the answer must contain within its first 64 KiB. For type raw only.'),
  },
  'mqtt, tcp or none, or a mapping with type, interval, timeout, rise and fall',
);

const shortHealth = z
  .enum(['mqtt', 'tcp', 'none'], {
    error: 'expected mqtt, tcp or none, or a mapping with type, interval, timeout, rise and fall',
  })
  .transform((type) => health.parse({ type }));

const drain = mapping(
  {
    rate: rate(RATE_MIN)
      .default(50)
      .describe('Connections that are moved in a second, when a command names no other rate.'),
    packets: z
      .boolean({ error: 'expected true or false' })
      .default(true)
      .describe(
        'Follows where packets begin and end, so that none is cut when a client is moved to another backend. Without it clients are closed wherever their bytes stand.',
      ),
    server_reference: matching(
      SERVER_REFERENCE_PATTERN,
      `host:port, or several with a space between them, of at most ${SERVER_REFERENCE_BYTES_MAX} characters`,
      SERVER_REFERENCE_BYTES_MAX,
    )
      .optional()
      .describe(
        'Where clients of MQTT 5.0 are sent that are moved away: their DISCONNECT says "use another server" and names it. Default: "server shutting down", which a client answers by connecting again.',
      ),
  },
  'a mapping with rate, packets and server_reference',
);

const rebalance = mapping(
  {
    automatic: z
      .boolean({ error: 'expected true or false' })
      .default(false)
      .describe('A rebalance begins by itself when a backend has come, or come back, and has its whole share again.'),
    rate: rate(RATE_MIN)
      .default(50)
      .describe('Connections that are moved in a second, when a command names no other rate.'),
    threshold: z
      .number({ error: THRESHOLD_EXPECTED })
      .min(1, { error: THRESHOLD_EXPECTED })
      .max(THRESHOLD_MAX, { error: THRESHOLD_EXPECTED })
      .default(1.1)
      .describe(
        'So many times its share a backend may have before connections are taken from it. Not for method hash.',
      ),
  },
  'a mapping with automatic, rate and threshold',
);

const orphans = mapping(
  {
    close: oneOf(['auto', 'always', 'never'])
      .default('auto')
      .describe(
        'What happens to the clients of a backend that is down. auto: they are closed when its process or host is gone, as far as a probe can tell. always, never: whatever the reason.',
      ),
    rate: rate(0)
      .default(0)
      .describe('Connections that are closed in a second, so that not all of them come back at once; 0: all at once.'),
  },
  'a mapping with close and rate',
);

const pool = mapping(
  {
    balance: balance.prefault({}).describe('How a backend is chosen for a client.'),
    backends: listOf(backendSettings, 'backends', MEMBERS_MAX).describe('The brokers of this pool.'),
    connect_timeout: duration(1)
      .prefault('5s')
      .describe('For one connect to a backend; then the next candidate is tried.'),
    proxy_protocol: oneOf(['off', 'v1', 'v2'])
      .default('off')
      .describe(
        'The version of the PROXY protocol in which backends are told who their client is, before its CONNECT. Its probes say who they are themselves. off: they are not told.',
      ),
    tls: poolTls.optional().describe('TLS towards the brokers, for the probes too. Default: none.'),
    health: z
      .union([shortHealth, health])
      .prefault('none')
      .describe('How the backends are probed. Without it they are judged by the connects of clients alone.'),
    slow_start: duration(0)
      .prefault('0s')
      .describe("From a backend's return until it gets its whole share of the clients again; 0s at once."),
    drain: drain.prefault({}).describe('How clients are moved away from a backend.'),
    rebalance: rebalance.prefault({}).describe('How clients are moved to the backends that they belong to.'),
    orphans: orphans.prefault({}).describe('What happens to the clients of a backend that is down.'),
    source_addresses: z
      .array(sourceAddress(), { error: SOURCES_EXPECTED })
      .max(SOURCES_MAX, { error: SOURCES_EXPECTED })
      .default([])
      .describe(
        'IP addresses of this machine that connections to the backends are made from, by turns: each has about 28,000 ports for each backend. Empty: the system chooses one.',
      ),
    connect_rate: connectRate
      .optional()
      .describe('How fast clients are brought to the backends of this pool; those beyond wait in its queue.'),
    queue: queue.prefault({}).describe('Where clients wait for their connect_rate.'),
    max_connections: maxConnections('Clients of this pool; further ones are refused.'),
  },
  'a mapping with backends',
);

const proxyProtocol = mapping(
  {
    from: cidrList().describe(
      'Where the fronts connect from: IP addresses, or ranges such as 10.0.0.0/8. Nobody else can connect to this listener.',
    ),
  },
  'a mapping with from',
);

const patterns = z.union([pattern().transform((one) => [one]), patternList(pattern())]).optional();

const denied = patternList(pattern(refuseFields)).optional();

const identity = mapping(
  {
    client_id: mapping(
      {
        pattern: patterns.describe(
          `What ClientIds must look like: a pattern, or a list of which one must match. * stands for any characters, ? for one, \\ before either takes it literally; ${FIELD_NAMES} for what the client says, or where it comes from. Default: anything.`,
        ),
        deny: denied.describe('Patterns of ClientIds that are refused, whatever else they match.'),
        empty: oneOf(['allow', 'refuse', 'assign'])
          .optional()
          .describe(
            'A client that lets the broker name it. allow: the broker does. assign: Tidegate does, tidegate- and 14 hex digits; in MQTT 5.0 still the broker, which tells the client. Default: allow, or refuse where there is a pattern.',
          ),
      },
      'a mapping with pattern, deny and empty',
    )
      .optional()
      .describe('What its clients may be called.'),
    username: mapping(
      {
        pattern: patterns.describe('The same for user names. One that is missing is an empty one. Default: anything.'),
        deny: denied.describe('Patterns of user names that are refused.'),
        required: z
          .boolean({ error: 'expected true or false' })
          .default(false)
          .describe('A client without user name is refused.'),
      },
      'a mapping with pattern, deny and required',
    )
      .optional()
      .describe('What its user name may be.'),
    rewrite: mapping(
      {
        client_id: template().describe(
          `What the broker is told instead of the ClientId: a text, in which ${FIELD_NAMES} stand for what the client says, or where it comes from. It is hashed and logged, too.`,
        ),
        username: template().describe('The same for the user name.'),
        password: template().describe('The same for the password. Passwords of clients are no field.'),
      },
      'a mapping with client_id, username and password',
    )
      .optional()
      .describe('What the brokers are told instead, in the CONNECT of each client.'),
  },
  'a mapping with client_id, username and rewrite',
);

const hook = mapping(
  {
    module: text('the path of a module', 4096).describe(
      'A TypeScript or JavaScript module that exports onConnect, which is called for each CONNECT that the rules let pass, and says whether the client may come, to which pool, and under which name. It is read again when the configuration is.',
    ),
    timeout: duration(1).prefault('1s').describe('For one decision.'),
    on_error: oneOf(['refuse', 'accept'])
      .default('refuse')
      .describe(
        'A client for which there is no decision, since onConnect has failed, is too slow or has too much to do. accept: as if there were no hook.',
      ),
  },
  'a mapping with module, timeout and on_error',
);
const passThrough = z
  .record(z.string().regex(ROUTE_PATTERN), name(), {
    error: ({ code }) => (code === 'invalid_key' ? ROUTE_EXPECTED : 'expected a mapping from hosts to pools'),
  })
  .refine((routes) => Object.keys(routes).length > 0, { error: 'expected a mapping from at least one host to a pool' });

const listener = mapping(
  {
    name: name().optional().describe('Shown in logs. Default: the bind address.'),
    bind: bindAddress().describe('IP address and port to listen on, an IPv6 address in brackets. Port 0: a free one.'),
    pool: name().optional().describe('The pool that serves its clients. Default: the only pool.'),
    connect_timeout: duration(1)
      .prefault('5s')
      .describe(
        'From accept to a complete CONNECT packet, through PROXY header, TLS and WebSocket; then the client is closed.',
      ),
    keep_alive_factor: z
      .number({ error: KEEP_ALIVE_FACTOR_EXPECTED })
      .refine((factor) => factor === 0 || (factor >= 1 && factor <= KEEP_ALIVE_FACTOR_MAX), {
        error: KEEP_ALIVE_FACTOR_EXPECTED,
      })
      .default(1.5)
      .describe('A client that is silent for so many times its Keep Alive is closed; 0 never.'),
    idle_timeout: duration(0).prefault('0s').describe('The same time for a client without Keep Alive; 0s never.'),
    max_connections: maxConnections('Clients of this listener; further ones are refused.'),
    max_connections_per_source: maxConnections(
      'The same for each source: an IPv4 address, or a /64 of IPv6, or what source_prefix says.',
    ),
    connect_rate_per_source: connectRatePerSource
      .optional()
      .describe('How fast each source may connect; what exceeds it is closed at once. Default: as fast as it likes.'),
    source_prefix: sourcePrefix
      .prefault({})
      .describe('What of an address makes a source, for max_connections_per_source and connect_rate_per_source.'),
    max_half_open: autoOrInteger(1, LIMIT_MAX)
      .default('auto')
      .describe(
        'Clients of this listener at once whose CONNECT is not complete; for one more the oldest of them is closed. auto: as long as a worker has more than a sixteenth of its connections_max free, there may be any number, and always where it is less than 64.',
      ),
    proxy_protocol: proxyProtocol
      .optional()
      .describe(
        'Clients come through a front, which says in a PROXY header, version 1 or 2, who they are. Default: they come by themselves.',
      ),
    take_over_loop: z
      .union([z.literal('off', { error: `expected ${TAKE_OVER_LOOP_WHAT}` }), takeOverLoop])
      .optional()
      .describe(
        'Clients of one ClientId that throw each other out at their broker again and again: they are logged, counted and slowed. off: they are not looked for. Default: they are where the pool hashes ClientIds, so that all of one come to one broker.',
      ),
    tls: tls.optional().describe('TLS towards clients. Default: none.'),
    websocket: websocket.optional().describe('MQTT over WebSocket, with tls inside TLS. Default: none.'),
    detect: z
      .boolean({ error: 'expected true or false' })
      .default(false)
      .describe(
        'One port for all: the first bytes of a client say whether it speaks TLS, WebSocket or plain MQTT. With tls or websocket, or both.',
      ),
    tls_passthrough: passThrough
      .optional()
      .describe(
        'Instead of tls and pool: TLS goes through to the backends, to a pool by the host that a client asks for (SNI). "*." before a domain stands for one label, "*" for everybody else.',
      ),
    allow: cidrList()
      .optional()
      .describe('IP addresses and ranges of them whose clients alone are let in. Default: everybody.'),
    deny: cidrList()
      .optional()
      .describe('Those whose clients are closed as soon as they come, also when allow has them.'),
    identity: identity
      .optional()
      .describe('What clients may call themselves, and what brokers are told instead. Default: what they like.'),
    hook: hook.optional().describe('A function of your own that decides on each client. Default: none.'),
  },
  'a mapping with bind and pool',
);

const accessLog = mapping(
  {
    path: text('a file path, "-" for standard output or "off"', 4096)
      .default('-')
      .describe('A file, "-" for standard output, "off" for none.'),
    format: text('text, json or a template', 4096)
      .superRefine((value, context) => {
        const message = formatProblem(value);
        if (message !== null) context.addIssue({ code: 'custom', message });
      })
      .default('text')
      .describe("text, json, or a template with NGINX's variable names such as $remote_addr and $upstream_addr."),
  },
  'a mapping with path and format',
);

const adminMapping = mapping(
  {
    bind: bindAddress()
      .default(ADMIN_BIND_DEFAULT)
      .describe('IP address and port of the admin API. One that is not a loopback address needs a token.'),
    token: z
      .string({ error: TOKEN_EXPECTED })
      .regex(TOKEN_PATTERN, { error: TOKEN_EXPECTED })
      .optional()
      .describe('What callers must send as "Authorization: Bearer TOKEN". Default: none.'),
    token_file: text('a file path', 4096).optional().describe('A file that holds the token instead, read at start.'),
  },
  ADMIN_WHAT,
);

const admin = z
  .union([z.literal(['off', null], { error: `expected ${ADMIN_WHAT}` }), adminMapping])
  .describe(`The admin API: off, or where it listens. Default: ${ADMIN_BIND_DEFAULT}, unless that port is taken.`);

export const configSchema = mapping(
  {
    workers: autoOrInteger(1, WORKERS_MAX).default('auto').describe('Worker threads. auto: one for each core.'),
    engine: oneOf(['auto', 'uring', 'portable'])
      .default('auto')
      .describe('What moves the bytes. auto: uring where a probe at start shows that io_uring works, else portable.'),
    cpu_affinity: oneOf(['off', 'pin', 'steer'])
      .default('off')
      .describe(
        'pin: each worker keeps to a core of its own. steer: and is handed the clients whose packets that core receives; for network cards with a queue for each core.',
      ),
    connections_max: autoOrInteger(1, CONNECTIONS_MAX)
      .default('auto')
      .describe('Client connections that one worker holds at once. auto: as many as the descriptor limit lets it.'),
    connect_max_bytes: size(64, CONNECT_BYTES_LIMIT).prefault('64KiB').describe('A longer CONNECT packet is refused.'),
    listeners: listOf(listener, 'listeners', LISTENERS_MAX).optional().describe('Where clients connect.'),
    pools: z
      .record(name(), pool, {
        error: ({ code }) => (code === 'invalid_key' ? NAME_EXPECTED : 'expected a mapping from names to pools'),
      })
      .refine((pools) => Object.keys(pools).length <= POOLS_MAX, { error: `expected at most ${POOLS_MAX} pools` })
      .optional()
      .describe('The brokers, by name of the pool.'),
    access_log: accessLog.prefault({}).describe('One line for each connection, at its end.'),
    admin: admin.optional(),
    user: matching(ACCOUNT_PATTERN, 'the name of a user', 32)
      .optional()
      .describe(
        'Whom the process becomes, for good, when its ports and files are open. It has to be started as root. Default: it stays who it is.',
      ),
    group: matching(ACCOUNT_PATTERN, 'the name of a group', 32)
      .optional()
      .describe("Its group from then on. Default: the user's own groups."),
    shutdown_timeout: duration(0).prefault('30s').describe('How long connections may go on after SIGTERM or SIGINT.'),
    watch: z
      .boolean({ error: 'expected true or false' })
      .default(false)
      .describe('Read the configuration again as soon as its file, or a file of its folder, changes.'),
    state_file: text('a file path', 4096)
      .optional()
      .describe(
        'Where weights, backends and states that are set through the admin API are kept, so that they outlive the process. Default: nowhere.',
      ),
  },
  'a mapping of settings',
).describe('Configuration of Tidegate, an MQTT load balancer');

export type TakeOverLoopSettings = z.output<typeof takeOverLoop>;
export type Settings = z.output<typeof configSchema>;
export type PoolSettings = z.output<typeof pool>;
export type BackendSettings = PoolSettings['backends'][number];
export type HealthSettings = PoolSettings['health'];
export type ListenerSettings = z.output<typeof listener>;

/** Of a whole configuration: the files of a folder need listeners and pools only together. */
export function jsonSchema(): object {
  return { ...z.toJSONSchema(configSchema, { io: 'input' }), required: ['listeners', 'pools'] };
}
