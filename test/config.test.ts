import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { canonicalAddress, formatAddress, parseAddress } from '../src/config/address.ts';
import { type Config, loadConfig, parseConfig, schema } from '../src/config.ts';
import { ConfigError } from '../src/errors.ts';
import { nearestName } from '../src/nearest-name.ts';

/** The example of the README, with every key that this version accepts. */
const EXAMPLE = `
workers: auto                 # auto = one per core
engine: auto                  # auto | uring | portable
listeners:
  - name: mqtt
    bind: 0.0.0.0:1883
    pool: brokers
pools:
  brokers:
    balance: { method: hash, key: client_id, algorithm: rendezvous }
    backends:
      - address: 10.0.0.11:1883
        weight: 1
      - 10.0.0.12:1883        # short form
    proxy_protocol: off       # off | v1 | v2
    health: { type: mqtt, interval: 5s, timeout: 2s, rise: 2, fall: 3 }   # mqtt | tcp | http | raw | none
    source_addresses: []
access_log: { path: "-", format: text }
admin: { bind: 127.0.0.1:9883 }
shutdown_timeout: 30s
`;

const LISTENERS = 'listeners: [{ bind: 0.0.0.0:1883 }]\n';
const POOLS = 'pools: { brokers: { backends: [10.0.0.11:1883] } }\n';

/** Every line that refuses the text. */
function faultsOf(text: string): string[] {
  try {
    parseConfig(text, 'test.yaml');
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error));
    return error.message.split('\n');
  }
  return [];
}

function assertFaults(text: string, expected: string[]): void {
  assert.deepEqual(faultsOf(text), expected);
}

/** One pool, whose text begins in line 3. */
function withPool(text: string): string {
  return `${LISTENERS}pools:\n  brokers:\n${text.replace(/^/gm, '    ')}\n`;
}

function poolOf(text: string): Config['pools'][number] {
  const [pool] = parseConfig(withPool(text), 'test.yaml').pools;
  assert.ok(pool);
  return pool;
}

async function withFolder(t: TestContext, files: Record<string, string>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-config-'));
  t.after(() => rm(folder, { recursive: true }));
  await Promise.all(Object.entries(files).map(([name, text]) => writeFile(join(folder, name), text)));
  return folder;
}

/** The faults of a folder, with its own name left out of the lines. */
async function folderFaults(t: TestContext, files: Record<string, string>): Promise<string[]> {
  const folder = await withFolder(t, files);
  const error = await loadConfig(folder).then(
    () => null,
    (reason) => reason,
  );
  return error === null ? [] : error.message.replaceAll(`${folder}/`, '').split('\n');
}

test('reads every key of the example', () => {
  const { pools, ...config } = parseConfig(EXAMPLE, 'tidegate.yaml');
  assert.deepEqual({ ...config, pools: pools.map(({ settings: _, ...pool }) => pool) }, {
    workers: 'auto',
    engine: 'auto',
    cpuAffinity: 'off',
    connectionsMax: 'auto',
    connectMaxBytes: 65536,
    listeners: [
      {
        name: 'mqtt',
        bind: { host: '0.0.0.0', port: 1883 },
        pool: 'brokers',
        connectTimeoutMs: 5000,
        keepAliveFactor: 1.5,
        idleTimeoutMs: 0,
        maxConnections: 0,
        maxConnectionsPerSource: 0,
        connectRatePerSource: { rate: 0, burst: 0 },
        sourcePrefix: { ipv4: 32, ipv6: 64 },
        maxHalfOpen: 0,
        takeOverLoop: { takeOvers: 5, windowMs: 30_000, pauseMs: 1000, pauseMaxMs: 60_000 },
        tls: null,
        webSocket: null,
        isDetecting: false,
        passThrough: null,
        leadsToTls: false,
        proxyProtocolFrom: [],
        allow: [],
        deny: [],
        identity: null,
        hook: null,
      },
    ],
    pools: [
      {
        name: 'brokers',
        balance: { method: 'hash', key: 'client_id', algorithm: 'rendezvous', rows: 65536, secret: '' },
        backends: [backendOf('10.0.0.11'), backendOf('10.0.0.12')],
        connectTimeoutMs: 5000,
        sourceAddresses: [],
        drain: { packets: true, serverReference: '', rate: 50 },
        rebalance: { automatic: false, rate: 50, threshold: 1.1 },
        orphans: { close: 'auto', rate: 0 },
        connectRate: { rate: 0, burst: 0 },
        queue: { max: 10_000, timeoutMs: 10_000 },
        maxConnections: 0,
        proxyProtocol: 'off',
        tls: null,
      },
    ],
    accessLog: { path: '-', format: 'text' },
    admin: { bind: { host: '127.0.0.1', port: 9883 }, token: '', tokenFile: '', isDefault: false },
    shutdownTimeoutMs: 30_000,
    watch: false,
    stateFile: null,
    user: null,
    group: null,
  } satisfies Omit<Config, 'pools'> & { pools: Omit<Config['pools'][number], 'settings'>[] });
});

function backendOf(host: string) {
  return {
    address: `${host}:1883`,
    host,
    port: 1883,
    weight: 1,
    backup: false,
    maxFails: 1,
    failTimeoutMs: 10_000,
    connectRate: { rate: 0, burst: 0 },
    maxConnections: 0,
    health: {
      probe: { type: 'mqtt', version: 4, username: null, password: null },
      intervalMs: 5000,
      timeoutMs: 2000,
      rise: 2,
      fall: 3,
      port: 1883,
      initial: 'up',
      proxyProtocol: 'off',
      isTls: false,
    },
    slowStartMs: 0,
  } as const;
}

test('needs no key but the addresses', () => {
  const config = parseConfig(LISTENERS + POOLS, 'tidegate.yaml');
  const example = parseConfig(EXAMPLE, 'tidegate.yaml');
  assert.deepEqual(config.listeners, [{ ...example.listeners[0], name: '0.0.0.0:1883' }]);
  assert.deepEqual(config.pools[0]?.balance, example.pools[0]?.balance);
  assert.deepEqual(
    { ...config, listeners: [], pools: [] },
    { ...example, listeners: [], pools: [], admin: { ...example.admin, isDefault: true } },
  );
});

test('reads durations and sizes with their units', () => {
  const text = `${POOLS}
connect_max_bytes: 128KiB
shutdown_timeout: 1h
listeners:
  - { bind: "[::]:1883", connect_timeout: 250ms }
  - { bind: 127.0.0.1:0, connect_timeout: 2m }
`;
  const config = parseConfig(text, 'tidegate.yaml');
  assert.equal(config.connectMaxBytes, 131_072);
  assert.equal(config.shutdownTimeoutMs, 3_600_000);
  assert.deepEqual(
    config.listeners.map(({ connectTimeoutMs }) => connectTimeoutMs),
    [250, 120_000],
  );
  assert.deepEqual(
    config.listeners.map(({ bind }) => bind),
    [
      { host: '::', port: 1883 },
      { host: '127.0.0.1', port: 0 },
    ],
  );
  assert.equal(parseConfig(`${LISTENERS}${POOLS}connect_max_bytes: 1000`, 'a').connectMaxBytes, 1000);
});

test('reads every option of a backend', () => {
  const pool = poolOf(`
connect_timeout: 2s
balance: { method: least_conn }
backends:
  - { address: "[2001:db8::1]:1884", weight: 0, backup: true, max_fails: 0, fail_timeout: 1m, slow_start: 30s, max_connections: 9, connect_rate: { rate: 5 } }
  - broker-1.example.net:1883`);
  assert.equal(pool.connectTimeoutMs, 2000);
  assert.equal(pool.balance.method, 'least_conn');
  assert.deepEqual(pool.backends[0], {
    address: '[2001:db8::1]:1884',
    host: '2001:db8::1',
    port: 1884,
    weight: 0,
    backup: true,
    maxFails: 0,
    failTimeoutMs: 60_000,
    health: null,
    slowStartMs: 30_000,
    connectRate: { rate: 5, burst: 1 },
    maxConnections: 9,
  });
  assert.equal(pool.backends[1]?.host, 'broker-1.example.net');
});

test('reads limits of listeners and pools', () => {
  const { listeners, pools } = parseConfig(
    `
listeners: [{ bind: "0.0.0.0:1883", max_connections: 1000, max_connections_per_source: 10, source_prefix: { ipv4: 24 }, connect_rate_per_source: { rate: 5 }, max_half_open: 7, take_over_loop: { take_overs: 9, pause: 2s, pause_max: 1s } }, { bind: "0.0.0.0:1884", take_over_loop: off }]
pools:
  brokers:
    connect_rate: { rate: 500, burst: 50 }
    queue: { max: 0, timeout: 14999ms }
    max_connections: 900
    backends: [a:1]`,
    'test.yaml',
  );
  const [listener] = listeners;
  assert.deepEqual([listener!.maxConnections, listener!.maxConnectionsPerSource, listener!.maxHalfOpen], [1000, 10, 7]);
  assert.deepEqual(listener!.sourcePrefix, { ipv4: 24, ipv6: 64 });
  assert.deepEqual(listener!.connectRatePerSource, { rate: 5, burst: 1 });
  const loop = { takeOvers: 9, windowMs: 30_000, pauseMs: 2000, pauseMaxMs: 2000 };
  assert.deepEqual([listener!.takeOverLoop, listeners[1]!.takeOverLoop], [loop, null]);
  const spread = 'balance: { method: round_robin }\nbackends: [a:1]';
  assert.equal(parseConfig(withPool(spread), 'test.yaml').listeners[0]!.takeOverLoop, null);
  assert.deepEqual(pools[0]!.connectRate, { rate: 500, burst: 50 });
  assert.deepEqual(pools[0]!.queue, { max: 0, timeoutMs: 14_999 });
  assert.equal(pools[0]!.maxConnections, 900);
});

test('a queue timeout stays below the time after which brokers drop a silent socket', () => {
  const rated = 'connect_rate: { rate: 1 }\nbackends: [a:1]';
  for (const timeout of ['15s', '1m', '0s', 'soon']) {
    assert.match(
      faultsOf(withPool(`queue: { timeout: ${timeout} }\n${rated}`)).join(),
      /queue\.timeout: expected a duration above 0 and /,
    );
  }
});

test('a queue without anything to wait for is refused, and so are rates and limits of 0', () => {
  const faults = (text: string) => faultsOf(withPool(text)).join();
  assert.match(
    faults('queue: { max: 5 }\nbackends: [a:1]'),
    /queue: expected only with a connect_rate, here or of a backend/,
  );
  assert.equal(faults('queue: { max: 5 }\nbackends: [{ address: a:1, connect_rate: { rate: 1 } }]'), '');
  assert.match(
    faults('connect_rate: { burst: 5 }\nbackends: [a:1]'),
    /connect_rate\.rate: expected a whole number from 1/,
  );
  assert.match(faults('connect_rate: 5\nbackends: [a:1]'), /connect_rate: expected a mapping with rate and burst/);
  assert.match(faults('max_connections: 0\nbackends: [a:1]'), /max_connections: expected a whole number from 1/);
});

/** The health of the only backend, a:1. */
function healthOf(text: string) {
  return poolOf(`health: ${text}\nbackends: [a:1]`).backends[0]?.health;
}

test('reads who tells of clients and who is told of them', () => {
  const text = `listeners:
  - { bind: 0.0.0.0:1883, proxy_protocol: { from: [10.0.0.5, 10.1.0.0/16, "2001:db8::/32"] } }
pools:
  a: { proxy_protocol: v2, health: mqtt, backends: [x:1, { address: y:1, health_port: 2 }] }
`;
  const { listeners, pools } = parseConfig(text, 'test.yaml');
  assert.deepEqual(listeners[0]!.proxyProtocolFrom, ['10.0.0.5', '10.1.0.0/16', '2001:db8::/32']);
  assert.equal(pools[0]!.proxyProtocol, 'v2');
  // What listens on another port is told nothing.
  assert.deepEqual(
    pools[0]!.backends.map(({ health }) => health!.proxyProtocol),
    ['v2', 'off'],
  );
});

test('says what is wrong with PROXY protocol', () => {
  const text = `listeners:
  - { bind: 0.0.0.0:1, proxy_protocol: { from: [10.0.0.0/33] } }
  - { bind: 0.0.0.0:2, proxy_protocol: { from: [] } }
  - { bind: 0.0.0.0:3, proxy_protocol: v2 }
pools:
  a: { proxy_protocol: v3, backends: [x:1] }
`;
  assertFaults(text, [
    'test.yaml:2:49: listeners[0].proxy_protocol.from[0]: expected an IP address or a range such as 10.0.0.0/8 or "2001:db8::/32", with no bit set behind its prefix, found "10.0.0.0/33"',
    'test.yaml:3:48: listeners[1].proxy_protocol.from: expected a list of 1 to 4096 IP addresses or ranges, found a list of 0',
    'test.yaml:4:40: listeners[2].proxy_protocol: expected a mapping with from, found "v2"',
    'test.yaml:6:24: pools.a.proxy_protocol: expected off, v1 or v2, found "v3"',
  ]);
});

test('reads every option of health', () => {
  assert.equal(healthOf('none'), null);
  assert.equal(healthOf('{ type: none, interval: 1s }'), null);
  assert.deepEqual(healthOf('tcp'), { ...backendOf('a').health, probe: { type: 'tcp' }, port: 1 });
  assert.deepEqual(healthOf('mqtt'), healthOf('{}'));
  assert.deepEqual(
    healthOf(
      '{ interval: 1s, timeout: 500ms, rise: 1, fall: 2, initial: down, port: 7, version: 5, username: u, password: p }',
    ),
    {
      probe: { type: 'mqtt', version: 5, username: 'u', password: 'p' },
      intervalMs: 1000,
      timeoutMs: 500,
      rise: 1,
      fall: 2,
      port: 7,
      initial: 'down',
      proxyProtocol: 'off',
      isTls: false,
    },
  );
  assert.deepEqual(healthOf('{ type: http, port: 18083, path: /status, host: emqx.example.net }')?.probe, {
    type: 'http',
    path: '/status',
    host: 'emqx.example.net',
  });
  assert.deepEqual(healthOf('{ type: raw, send: "c0 00", expect: "D000" }')?.probe, {
    type: 'raw',
    send: Buffer.from([0xc0, 0]),
    expect: Buffer.from([0xd0, 0]),
  });
});

test('gives each backend the port and the slow start of its own, else those of its pool', () => {
  const { backends } = poolOf(`
health: { type: http, port: 8081 }
slow_start: 1m
backends: [a:1, { address: b:1, health_port: 8082, slow_start: 0s }]`);
  assert.deepEqual(
    backends.map(({ health, slowStartMs }) => [health?.port, slowStartMs]),
    [
      [8081, 60_000],
      [8082, 0],
    ],
  );
});

test('refuses a health that could not work, and keys that would do nothing', () => {
  const inPool = (text: string, backend = 'x:1') =>
    faultsOf(withPool(`health: ${text}\nbackends: [${backend}]`)).map((fault) => fault.replace(/^[^ ]+ /, ''));
  const where = 'pools.brokers.health';
  const port = "expected the port of the brokers' HTTP API, here or as the health_port of each backend, found nothing";
  assert.deepEqual(inPool('{ type: http }'), [`${where}.port: ${port}`]);
  assert.deepEqual(inPool('{ type: http }', '{ address: x:1, health_port: 80 }'), []);
  assert.deepEqual(inPool('{ type: raw, send: c000 }'), [
    `${where}.expect: expected what the answer must contain, in hex, found nothing`,
  ]);
  assert.deepEqual(inPool('{ type: raw, expect: 2002 }'), [
    `${where}.expect: expected pairs of hex digits in quotes, such as "20 02 00 00", found 2002`,
  ]);
  assert.deepEqual(inPool('{ password: geheim }'), [
    `${where}.username: expected a username, since there is a password, found nothing`,
  ]);
  assert.deepEqual(inPool('{ username: u, password: 4711 }'), [
    `${where}.password: expected a text of 1 to 1024 characters, found a number`,
  ]);
  assert.deepEqual(inPool('{ type: tcp, path: / }'), [
    `${where}.path: expected only with type: http, found with type: tcp`,
  ]);
  assert.deepEqual(inPool('{ version: 3.1 }'), [`${where}.version: expected 3.1.1 or 5, found 3.1`]);
  assert.deepEqual(inPool('http'), [
    `${where}: expected mqtt, tcp or none, or a mapping with type, interval, timeout, rise and fall, found "http"`,
  ]);
  assert.deepEqual(inPool('none', '{ address: x:1, health_port: 80 }'), [
    'pools.brokers.backends[0].health_port: expected only with probes, found without',
  ]);
});

test('reads every option of a balance', () => {
  const { balance } = poolOf('balance: { key: username, rows: 1048576, secret: s3cret }\nbackends: [a:1]');
  assert.deepEqual(balance, {
    method: 'hash',
    key: 'username',
    algorithm: 'rendezvous',
    rows: 1 << 20,
    secret: 's3cret',
  });
});

test('reports every fault of a file, in the order of the text', () => {
  const text = `workrs: 3
engine: iouring
listeners:
  - name: mqtt
    bind: localhost
    pool: brokers
pools:
  brokers:
    backends:
      - adress: 10.0.0.11:1883
      - { address: 10.0.0.12:1883, weight: 1001 }
`;
  assertFaults(text, [
    'test.yaml:1:1: workrs: unknown key, did you mean workers?',
    'test.yaml:2:9: engine: expected auto, uring or portable, found "iouring"',
    'test.yaml:5:11: listeners[0].bind: expected an IP address and port such as 0.0.0.0:1883 or "[::]:1883", found "localhost"',
    'test.yaml:10:9: pools.brokers.backends[0].address: expected host:port such as 10.0.0.11:1883, broker1.example.net:1883 or "[2001:db8::1]:1883", found nothing',
    'test.yaml:10:9: pools.brokers.backends[0].adress: unknown key, did you mean address?',
    'test.yaml:11:44: pools.brokers.backends[1].weight: expected a whole number from 0 to 1000, found 1001',
  ]);
});

test('a ConfigError carries its first fault for programs', () => {
  assert.throws(
    () => parseConfig(`${LISTENERS}${POOLS}workers: many\n`, 'tidegate.yaml'),
    (error: ConfigError) => {
      const { name, code, exitCode, file, line, column, path } = error;
      assert.deepEqual(
        { name, code, exitCode, file, line, column, path },
        {
          name: 'ConfigError',
          code: 'BAD_CONFIGURATION',
          exitCode: 1,
          file: 'tidegate.yaml',
          line: 3,
          column: 10,
          path: 'workers',
        },
      );
      assert.match(error.expected, /^expected auto or a whole number from 1 to 256, found "many"$/);
      return true;
    },
  );
});

test('lists the known keys when an unknown one is like none of them', () => {
  assertFaults(`${LISTENERS}${POOLS}admin: { port: 1 }\n`, [
    'test.yaml:3:10: admin.port: unknown key; known here are bind, token, token_file',
  ]);
});

test('the admin API is on by default, off when told so, and never open to a network without a token', () => {
  const adminOf = (text: string) => parseConfig(LISTENERS + POOLS + text, 'test.yaml').admin;
  assert.deepEqual(adminOf('admin: off\n'), null);
  assert.deepEqual(adminOf('admin: null\n'), null);
  assert.equal(adminOf('')?.isDefault, true);
  const bind = { host: '127.0.0.1', port: 9883 };
  assert.deepEqual(adminOf('admin: { token: x }\n'), { bind, token: 'x', tokenFile: '', isDefault: false });
  for (const bind of ['127.9.9.9:1', '"[::1]:1"', '"[0:0::1]:1"']) assert.ok(adminOf(`admin: { bind: ${bind} }\n`));
  assert.ok(adminOf('admin: { bind: 0.0.0.0:9883, token_file: package.json }\n'));
  for (const bind of ['0.0.0.0:9883', '192.0.2.1:9883', '[::]:9883', '[::ffff:127.0.0.1]:9883']) {
    assertFaults(`${LISTENERS}${POOLS}admin: { bind: "${bind}" }\n`, [
      `test.yaml:3:16: admin.bind: expected a loopback address such as 127.0.0.1:9883, or a token (or token_file) beside it, found "${bind}"`,
    ]);
  }
});

test('refuses two tokens, a token that no header can carry, and an address that a listener has', () => {
  assertFaults(`${LISTENERS}${POOLS}admin: { token: a, token_file: b }\n`, [
    'test.yaml:3:20: admin.token_file: expected token or token_file, found both',
  ]);
  assertFaults(`${LISTENERS}${POOLS}admin: { token: "not to be shown" }\n`, [
    'test.yaml:3:17: admin.token: expected a text of 1 to 256 visible ASCII characters, found a string',
  ]);
  assertFaults(`${LISTENERS}${POOLS}admin: { bind: 127.0.0.1:1883 }\n`, [
    'test.yaml:3:16: admin.bind: expected an address of its own, found 127.0.0.1:1883, which is taken at test.yaml:1:21',
  ]);
});

test('a YAML error is one line', () => {
  assertFaults('a: b: c\n', ['test.yaml:1:4: not valid YAML: Nested mappings are not allowed in compact mappings']);
  assertFaults('\tworkers: 1\n', ['test.yaml:1:1: not valid YAML: Tabs are not allowed as indentation']);
  assertFaults('a: *b\n', [
    'test.yaml:1:1: not valid YAML: Unresolved alias (the anchor must be set before the alias): b',
  ]);
  assertFaults('pools:\n  b:\n    backends:\n     - x\n    - y\n', [
    'test.yaml:5:1: not valid YAML: A block sequence may not be used as an implicit map key',
  ]);
  assertFaults(`${LISTENERS}${POOLS}---\nworkers: 2\n`, [
    'test.yaml:3:1: expected one YAML document in a file, found a second one',
  ]);
});

test('says that an IPv6 address needs quotes', () => {
  const expected = 'not valid YAML: Unexpected scalar at node end; an IPv6 address needs quotes, as in "[::]:1883"';
  assertFaults(`${POOLS}listeners:\n  - bind: [::]:1883\n`, [`test.yaml:3:15: ${expected}`]);
  assertFaults(withPool('backends:\n  - [2001:db8::1]:1883'), [`test.yaml:5:22: ${expected}`]);
});

test('refuses a key that stands twice', () => {
  const twice = '  a: { backends: [x:1] }\n';
  assertFaults(`${LISTENERS}pools:\n${twice}${twice}`, ['test.yaml:4:3: expected each key once, found "a" again']);
});

test('an expanding alias is refused, not expanded', () => {
  const levels = Array.from({ length: 12 }, (_, i) => `l${i}: &l${i} [${Array(9).fill(i === 0 ? 'x' : `*l${i - 1}`)}]`);
  assertFaults(levels.join('\n'), [
    'test.yaml:1:1: not valid YAML: Excessive alias count indicates a resource exhaustion attack',
  ]);
});

test('reads aliases and points into the anchor for a fault there', () => {
  const shared = 'a: &shared { backends: [x:1], connect_timeout: 1s }\nb: *shared';
  const text = `listeners: [{ bind: 0.0.0.0:1, pool: a }]\npools:\n${shared.replace(/^/gm, '  ')}\n`;
  assert.equal(parseConfig(text, 'a').pools[1]?.connectTimeoutMs, 1000);
  assert.deepEqual(
    faultsOf(text.replace('1s', '1d')).map((line) => line.split(': ')[0]),
    ['test.yaml:3:50', 'test.yaml:3:50'],
  );
});

test('an empty file says what is missing', () => {
  const expected = [
    'test.yaml:1:1: listeners: expected at least one listener, found nothing',
    'test.yaml:1:1: pools: expected at least one pool, found nothing',
  ];
  assertFaults('', expected);
  assertFaults('# nothing yet\n', expected);
});

test('refuses a file that is no mapping, and sections of a wrong type', () => {
  assertFaults('- a\n', ['test.yaml:1:1: expected a mapping of settings, found a list of 1']);
  assertFaults('listeners:\npools: []\naccess_log: stdout\nadmin: 9883\n', [
    'test.yaml:1:11: listeners: expected a list of 1 to 64 listeners, found nothing',
    'test.yaml:2:8: pools: expected a mapping from names to pools, found a list of 0',
    'test.yaml:3:13: access_log: expected a mapping with path and format, found "stdout"',
    'test.yaml:4:8: admin: expected off or a mapping with bind, token and token_file, found 9883',
  ]);
});

test('reads what a WebSocket listener is', () => {
  const listenerOf = (webSocket: string) => `listeners: [{ bind: 0.0.0.0:1, websocket: ${webSocket} }]\n${POOLS}`;
  const read = (webSocket: string) => parseConfig(listenerOf(webSocket), 'a').listeners[0]!.webSocket;
  const defaults = {
    path: '/mqtt',
    origins: null,
    messageBytesMax: 1 << 20,
    pingIntervalMs: 30_000,
    trustedProxies: [],
  };
  assert.deepEqual(read('{}'), defaults);
  const text = '{ path: /a/b, origins: ["https://a.example:8443"], message_bytes_max: 2048, ping_interval: 0s }';
  const said = {
    path: '/a/b',
    origins: ['https://a.example:8443'],
    messageBytesMax: 2048,
    pingIntervalMs: 0,
    trustedProxies: [],
  };
  assert.deepEqual(read(text), said);
  assertFaults(listenerOf('{ path: mqtt, origins: [example.com] }'), [
    'test.yaml:1:51: listeners[0].websocket.path: expected a path such as /mqtt, found "mqtt"',
    'test.yaml:1:67: listeners[0].websocket.origins[0]: expected an origin such as https://example.com, found "example.com"',
  ]);
});

test('refuses to detect where nothing but MQTT is spoken', () => {
  assertFaults(`listeners: [{ bind: 0.0.0.0:1, detect: true }]\n${POOLS}`, [
    'test.yaml:1:32: listeners[0].detect: expected only with tls or websocket, found without',
  ]);
  const text = `listeners: [{ bind: 0.0.0.0:1, detect: true, websocket: {}, tls: { cert: a, key: b } }]\n${POOLS}`;
  const [listener] = parseConfig(text, 'a').listeners;
  assert.deepEqual([listener!.isDetecting, listener!.tls!.alpn], [true, ['mqtt', 'http/1.1']]);
});

test('reads where TLS goes through, and refuses keys that would need to see inside', () => {
  const pools = 'pools: { a: { backends: ["a:1"] }, b: { backends: ["b:1"], tls: {} } }';
  const listenerOf = (keys: string) => `listeners: [{ bind: 0.0.0.0:1, ${keys} }]\n${pools}`;
  const [listener] = parseConfig(listenerOf('tls_passthrough: { A.example.net: a, "*": a }'), 'a').listeners;
  assert.deepEqual(listener!.passThrough, [
    { host: 'a.example.net', pool: 'a' },
    { host: '*', pool: 'a' },
  ]);
  const at = 'test.yaml:1:32: listeners[0]';
  assertFaults(listenerOf('identity: {}, tls_passthrough: { a: a }'), [
    `${at}.identity: expected only without tls_passthrough, found with it`,
  ]);
  assertFaults(listenerOf('tls_passthrough: { a: c }'), [
    'test.yaml:1:54: listeners[0].tls_passthrough.a: expected the name of a pool, found "c"',
  ]);
  assertFaults(listenerOf('tls_passthrough: { a: b }'), [
    'test.yaml:1:54: listeners[0].tls_passthrough.a: expected a pool without tls, since its clients bring their own, found b',
  ]);
  for (const health of ['mqtt', '{ interval: 1s }']) {
    const text = 'listeners: [{ bind: 127.0.0.1:1, tls_passthrough: { a: a } }]';
    assertFaults(`${text}\npools: { a: { backends: [h:1], health: ${health} } }`, [
      "test.yaml:1:56: listeners[0].tls_passthrough.a: expected a pool with health: tcp, or with health.port where its brokers speak plain MQTT, found a, whose probes can't speak TLS",
    ]);
  }
});

test('a group alone would leave root what it is', () => {
  const text = 'listeners: [{ bind: 127.0.0.1:1 }]\npools: { a: { backends: [h:1] } }';
  assertFaults(`group: nogroup\n${text}`, ['test.yaml:1:1: group: expected only with user, found without']);
});

test('reads what a TLS listener is', () => {
  const tlsOf = (tls: string) =>
    parseConfig(`listeners: [{ bind: 0.0.0.0:1, tls: ${tls} }]\n${POOLS}`, 'a').listeners[0]!.tls!;
  const { certificates, minVersion, alpn, verifyClient, handshakeTimeoutMs } = tlsOf('{ cert: a.pem, key: a.key }');
  assert.deepEqual(certificates, [{ cert: 'a.pem', key: 'a.key', ocsp: null, names: null, at: [] }]);
  assert.deepEqual([minVersion, alpn, verifyClient, handshakeTimeoutMs], ['1.2', ['mqtt'], 'off', 5000]);
  const named = tlsOf(
    '{ certificates: [{ cert: a, key: b, names: ["*.a.net"] }, { cert: c, key: d }], min_version: 1.3 }',
  );
  assert.deepEqual(
    named.certificates.map(({ names, at }) => [names, at]),
    [
      [['*.a.net'], ['certificates', 0]],
      [null, ['certificates', 1]],
    ],
  );
  assert.equal(named.minVersion, '1.3');
});

test('refuses TLS keys that miss others, or would do nothing', () => {
  for (const [tls, fault] of [
    ['{ cert: a }', "tls.key: expected the path of the certificate's key, found nothing"],
    ['{}', 'tls.cert: expected the path of a certificate, found nothing'],
    [
      '{ cert: a, key: b, certificates: [{ cert: c, key: d }] }',
      'tls.certificates: expected cert and key, or certificates, found both',
    ],
    [
      '{ cert: a, key: b, verify_client: require }',
      "tls.client_ca: expected the path of the clients' CA certificates, found nothing",
    ],
    [
      '{ cert: a, key: b, client_ca: c }',
      'tls.client_ca: expected only with verify_client: request or require, found without',
    ],
    ['{ cert: a, key: b, client_crl: c }', 'tls.client_crl: expected only with client_ca, found without'],
    ['{ cert: a, key: b, min_version: 1.1 }', 'tls.min_version: expected 1.2 or 1.3, found 1.1'],
  ]) {
    const faults = faultsOf(`listeners: [{ bind: 0.0.0.0:1, tls: ${tls} }]\n${POOLS}`);
    assert.match(faults.join('\n'), new RegExp(`listeners\\[0\\]\\.${fault!.replace(/[.()]/g, '\\$&')}$`));
  }
});

test('reads how clients are moved away', () => {
  const backends = 'backends: [10.0.1.1:1883]';
  const settings = [
    'drain: { rate: 0.5, packets: false, server_reference: "a:1883 b:1883" }',
    'rebalance: { automatic: true, rate: 200, threshold: 1.5 }',
    'orphans: { close: always, rate: 100 }',
  ].join('\n');
  const { drain, rebalance, orphans } = poolOf(`${settings}\n${backends}`);
  assert.deepEqual(drain, { packets: false, serverReference: 'a:1883 b:1883', rate: 0.5 });
  assert.deepEqual(rebalance, { automatic: true, rate: 200, threshold: 1.5 });
  assert.deepEqual(orphans, { close: 'always', rate: 100 });
  for (const [wrong, fault] of [
    ['drain: { rate: 0 }', '20: pools.brokers.drain.rate: expected a number from 0.1 to 1000000, found 0'],
    ['orphans: { rate: -1 }', '22: pools.brokers.orphans.rate: expected a number from 0 to 1000000, found -1'],
    ['orphans: { close: no }', '23: pools.brokers.orphans.close: expected auto, always or never, found "no"'],
    [
      'rebalance: { threshold: 0.9 }',
      '29: pools.brokers.rebalance.threshold: expected a number from 1 to 100, found 0.9',
    ],
  ] as const) {
    assertFaults(withPool(`${wrong}\n${backends}`), [`test.yaml:4:${fault}`]);
  }
  const expected = 'expected host:port, or several with a space between them, of at most 255 characters, found';
  for (const reference of ['', ' a:1', 'ä:1']) {
    assertFaults(withPool(`drain: { server_reference: "${reference}" }\n${backends}`), [
      `test.yaml:4:32: pools.brokers.drain.server_reference: ${expected} "${reference}"`,
    ]);
  }
  const reference = 'r'.repeat(255);
  assert.equal(poolOf(`drain: { server_reference: ${reference} }\n${backends}`).drain.serverReference, reference);
  assert.throws(() => poolOf(`drain: { server_reference: ${reference}r }\n${backends}`), /at most 255 characters/);
});

test('takes source addresses that fit the backends', () => {
  const sources = Array.from({ length: 64 }, (_, index) => `10.0.0.${index + 1}`);
  const { sourceAddresses } = poolOf(`source_addresses: [${sources}]\nbackends: [10.0.1.1:1883, broker.example:1883]`);
  assert.deepEqual(sourceAddresses, sources);
  assert.deepEqual(poolOf('source_addresses: ["fd00::1"]\nbackends: ["[fd00::2]:1"]').sourceAddresses, ['fd00::1']);
});

test('refuses source addresses that are none, stand twice, are too many, or of another family than the backends', () => {
  const expected = 'expected an IP address of this machine, such as 10.0.0.5 or "2001:db8::5", found';
  const path = 'pools.brokers.source_addresses';
  const wrong = withPool(`source_addresses:
  - broker.example
  - 10.0.0.5:1883
  - 0.0.0.0
  - "::"
  - 7
backends: [broker.example:1883]`);
  assertFaults(wrong, [
    `test.yaml:5:9: ${path}[0]: ${expected} "broker.example"`,
    `test.yaml:6:9: ${path}[1]: ${expected} "10.0.0.5:1883"`,
    `test.yaml:7:9: ${path}[2]: ${expected} "0.0.0.0"`,
    `test.yaml:8:9: ${path}[3]: ${expected} "::"`,
    `test.yaml:9:9: ${path}[4]: ${expected} 7`,
  ]);
  const twice = withPool('source_addresses: ["fd00::1", "fd00:0::1"]\nbackends: [broker.example:1883]');
  assertFaults(twice, [
    `test.yaml:4:35: ${path}[1]: expected each address once, found fd00:0::1 also at test.yaml:4:24`,
  ]);
  const many = Array.from({ length: 65 }, (_, index) => `10.0.0.${index}`);
  assertFaults(withPool(`source_addresses: [${many}]\nbackends: [broker.example:1883]`), [
    `test.yaml:4:23: ${path}: expected a list of at most 64 IP addresses, found a list of 65`,
  ]);
  assertFaults(withPool('source_addresses: 10.0.0.5\nbackends: [broker.example:1883]'), [
    `test.yaml:4:23: ${path}: expected a list of at most 64 IP addresses, found "10.0.0.5"`,
  ]);
  const other = withPool('source_addresses: [10.0.0.5, "fd00::1"]\nbackends: [x:1, { address: "10.0.1.1:1883" }]');
  assertFaults(other, [
    `test.yaml:4:34: ${path}[1]: expected an IPv4 address, as backend 10.0.1.1:1883 has, found fd00::1`,
  ]);
  assertFaults(withPool('source_addresses: [10.0.0.5, "fd00::1"]\nbackends: [x:1]'), [
    `test.yaml:4:34: ${path}[1]: expected an IPv4 address, as source address 10.0.0.5 has, found fd00::1`,
  ]);
});

test('an unknown pool is answered with those that exist', () => {
  const text = `listeners:
  - { bind: 0.0.0.0:1, pool: brokes }
  - { bind: 0.0.0.0:2 }
pools: { brokers: { backends: [x:1] }, tests: { backends: [y:1] } }
`;
  assertFaults(text, [
    'test.yaml:2:30: listeners[0].pool: expected the name of a pool (there is brokers, tests), found "brokes", did you mean brokers?',
    'test.yaml:3:5: listeners[1].pool: expected the name of a pool (there is brokers, tests), found nothing',
  ]);
});

test('refuses a listener that takes the name or the address of another', () => {
  const text = `${POOLS}listeners:
  - { name: a, bind: "[::1]:1883" }
  - { name: b, bind: "[0:0::1]:1883" }
  - { name: a, bind: 0.0.0.0:1884 }
  - { name: c, bind: 127.0.0.1:0 }
  - { name: d, bind: 127.0.0.1:0 }
`;
  assertFaults(text, [
    'test.yaml:4:22: listeners[1].bind: expected an address of its own, found [::1]:1883, which is taken at test.yaml:3:22',
    'test.yaml:5:13: listeners[2].name: expected a name of its own, found "a", which is taken at test.yaml:3:13',
  ]);
});

test('refuses an address that another listener takes by listening on all of them', () => {
  const taking = (first: string, second: string) => `${POOLS}listeners:
  - { name: a, bind: "${first}" }
  - { name: b, bind: "${second}" }
`;
  const fault = (found: string) => [
    `test.yaml:4:22: listeners[1].bind: expected an address of its own, found ${found}, which is taken at test.yaml:3:22`,
  ];
  assertFaults(taking('0.0.0.0:1883', '127.0.0.1:1883'), fault('127.0.0.1:1883'));
  assertFaults(taking('127.0.0.1:1883', '0.0.0.0:1883'), fault('0.0.0.0:1883'));
  assertFaults(taking('[::]:1883', '[::1]:1883'), fault('[::1]:1883'));
  assertFaults(taking('[2001:db8::1]:1883', '[0::0]:1883'), fault('[::]:1883'));
  assertFaults(taking('0.0.0.0:1883', '127.0.0.1:1884'), []);
  assertFaults(taking('0.0.0.0:1883', '[::]:1883'), []); // a socket of IPv6 takes no IPv4
  assertFaults(taking('127.0.0.1:1883', '127.0.0.2:1883'), []);
});

test('refuses fewer connections than the accepts that wait and their clients need', () => {
  const withListeners = (count: number, connectionsMax: number) =>
    `${POOLS}connections_max: ${connectionsMax}
listeners: [${Array.from({ length: count }, (_, index) => `{ bind: 127.0.0.1:${1883 + index} }`).join(', ')}]
`;
  assertFaults(withListeners(3, 5), [
    'test.yaml:2:18: connections_max: expected at least 6, 2 for each listener, found 5',
  ]);
  assertFaults(withListeners(3, 6), []);
  assertFaults(withListeners(1, 1), [
    'test.yaml:2:18: connections_max: expected at least 2, 2 for each listener, found 1',
  ]);
});

test('refuses a backend that stands twice in a pool, however it is spelled', () => {
  const text = withPool(`backends:
  - broker1:1883
  - { address: BROKER1:1883, weight: 2 }
  - broker1:1884`);
  assertFaults(text, [
    'test.yaml:6:20: pools.brokers.backends[1].address: expected each backend once in a pool, found broker1:1883 also at test.yaml:5:9',
  ]);
});

test('refuses keys of the balance that would do nothing', () => {
  assertFaults(withPool('balance: { method: round_robin, key: username }\nbackends: [x:1]'), [
    'test.yaml:4:37: pools.brokers.balance.key: expected only with method: hash, found with method: round_robin',
  ]);
  assertFaults(withPool('balance: { algorithm: ketama, rows: 65536, secret: abc }\nbackends: [x:1]'), [
    'test.yaml:4:35: pools.brokers.balance.rows: expected only with algorithm: rendezvous, found with algorithm: ketama',
    'test.yaml:4:48: pools.brokers.balance.secret: expected only with algorithm: rendezvous, found with algorithm: ketama',
  ]);
});

test('never repeats a secret', () => {
  const [fault = ''] = faultsOf(withPool('balance: { secret: 4711 }\nbackends: [x:1]'));
  assert.match(fault, /balance\.secret: expected a text of 1 to 256 characters, found a number$/);
});

test('refuses numbers and units out of their range', () => {
  const inPool = (text: string) => faultsOf(withPool(`${text}\nbackends: [x:1]`)).join();
  assert.match(
    inPool('balance: { rows: 100000 }'),
    /rows: expected a power of two from 65536 to 1048576, found 100000/,
  );
  assert.match(inPool('balance: { rows: 32768 }'), /rows: expected a power of two/);
  assert.match(inPool('connect_timeout: 0s'), /expected a duration above 0 and up to 24h.*found "0s"/);
  assert.match(inPool('connect_timeout: 25h'), /expected a duration above 0 and up to 24h.*found "25h"/);
  assert.match(inPool('connect_timeout: 5'), /expected a duration.*such as 5s, 250ms, 1m or 1h, found 5$/);
  assert.match(inPool('connect_timeout: 1.5s'), /expected a duration/);
  const atTop = (text: string) => faultsOf(`${LISTENERS}${POOLS}${text}\n`).join();
  assert.match(
    atTop('connect_max_bytes: 513KiB'),
    /expected a size from 64 bytes to 512KiB, such as 64KiB, found "513KiB"/,
  );
  assert.match(atTop('connect_max_bytes: 64KB'), /expected a size/);
  assert.match(atTop('connect_max_bytes: 10'), /expected a size/);
  assert.match(atTop('workers: 1.5'), /expected auto or a whole number from 1 to 256, found 1.5/);
  assert.match(atTop('connections_max: 0'), /expected auto or a whole number from 1 to 1048576, found 0/);
  assert.equal(atTop('connect_max_bytes: 512KiB'), '');
  assert.equal(atTop('shutdown_timeout: 0s'), '');
});

test('refuses more listeners, pools or backends than there is room for', () => {
  const numbered = (count: number, item: (index: number) => string) =>
    Array.from({ length: count }, (_, i) => item(i)).join(', ');
  const backends = (count: number) => `[${numbered(count, (i) => `b${i}:1`)}]`;
  const faults = (listeners: number, pools: number, each: number) =>
    faultsOf(`listeners: [${numbered(listeners, (i) => `{ bind: 0.0.0.0:${i + 1}, pool: p0 }`)}]
pools: { ${numbered(pools, (i) => `p${i}: { balance: { method: least_conn }, backends: ${backends(each)} }`)} }
`);
  assert.deepEqual(faults(64, 64, 16), []);
  assert.match(faults(65, 1, 1).join(), /listeners: expected at most 64 listeners, found a list of 65$/);
  assert.match(faults(1, 65, 1).join(), /pools: expected at most 64 pools, found a mapping of 65$/);
  assert.match(faults(1, 1, 65).join(), /p0\.backends: expected at most 64 backends, found a list of 65$/);
  assert.match(faults(1, 1, 0).join(), /p0\.backends: expected a list of 1 to 64 backends, found a list of 0$/);
  assert.match(faults(1, 17, 64).join(), /pools\.p16: expected at most 1024 backends in all pools, found more$/);
});

test('refuses hash tables that have no room', () => {
  const rows = (count: number) =>
    `listeners: [{ bind: 0.0.0.0:1, pool: p0 }]\npools:\n${Array.from(
      { length: count },
      (_, i) => `  p${i}: { balance: { rows: 1048576 }, backends: [x:1] }\n`,
    ).join('')}`;
  assert.deepEqual(faultsOf(rows(3)), []);
  assert.match(
    faultsOf(rows(4)).join(),
    /^test\.yaml:6:3: pools\.p3: expected the hash tables of all pools, and the rules of all listeners, to fit into 16 MiB/,
  );
  const heavy = (weight: number) =>
    withPool(
      `balance: { algorithm: ketama }\nbackends: [${Array.from({ length: 7 }, (_, i) => `{ address: "b${i}:1", weight: ${weight} }`)}]`,
    );
  assert.deepEqual(faultsOf(heavy(936)), []);
  assert.match(
    faultsOf(heavy(937)).join(),
    /backends: expected weights that add up to at most 6553 for algorithm: ketama, found 6559$/,
  );
});

test('checks the access log format as it will be used', () => {
  const format = (text: string) =>
    faultsOf(`${LISTENERS}${POOLS}access_log: { format: ${JSON.stringify(text)} }\n`).join();
  assert.equal(format('json'), '');
  assert.equal(format('$remote_addr $upstream_addr $mqtt_client_id'), '');
  assert.match(
    format('jsno'),
    /access_log\.format: expected text, json, or a template with variables such as \$remote_addr, found "jsno"/,
  );
  assert.match(format('$remote_adr'), /access_log\.format: unknown variable \$remote_adr/);
});

test('refuses names that would not stand in a log', () => {
  const named = (name: string) =>
    faultsOf(`listeners: [{ bind: 0.0.0.0:1 }]\npools: { ${JSON.stringify(name)}: { backends: [x:1] } }\n`);
  assert.deepEqual(named('brokers-2.eu_west'), []);
  assert.match(named('a b').join(), /expected a name of up to 64 letters, digits, "\.", "_" or "-", found "a b"/);
  assert.match(named('__proto__').join(), /expected another name for a pool/);
  assert.match(
    faultsOf(`${POOLS}listeners: [{ name: "", bind: 0.0.0.0:1 }]`).join(),
    /listeners\[0\]\.name: expected a name/,
  );
});

test('reads the *.yaml of a folder as one', async (t) => {
  const folder = await withFolder(t, {
    '10-listeners.yaml': 'workers: 2\nlisteners: [{ name: a, bind: 0.0.0.0:1, pool: p }]\n',
    '20-pools.yaml': 'pools: { p: { backends: [x:1] } }\n',
    '30-more.yaml': 'listeners: [{ name: b, bind: 0.0.0.0:2, pool: q }]\npools: { q: { backends: [y:1] } }\n',
    '.hidden.yaml': 'nonsense: [',
    'notes.txt': 'not yaml at all: [',
  });
  const config = await loadConfig(folder);
  assert.equal(config.workers, 2);
  assert.deepEqual(
    config.listeners.map(({ name, pool }) => `${name} ${pool}`),
    ['a p', 'b q'],
  );
  assert.deepEqual(
    config.pools.map(({ name }) => name),
    ['p', 'q'],
  );
});

test('refuses what two files of a folder both claim', async (t) => {
  const faults = await folderFaults(t, {
    'a.yaml': 'workers: 2\nlisteners: [{ name: a, bind: 0.0.0.0:1 }]\npools: { p: { backends: [x:1] } }\n',
    'b.yaml': 'workers: 2\nlisteners: [{ name: a, bind: 0.0.0.0:1 }]\npools: { p: { backends: [y:1] } }\n',
  });
  assert.deepEqual(faults, [
    'b.yaml:1:1: workers: expected this key in one file only, found it also at a.yaml:1:1',
    'b.yaml:2:21: listeners[0].name: expected a name of its own, found "a", which is taken at a.yaml:2:21',
    'b.yaml:2:30: listeners[0].bind: expected an address of its own, found 0.0.0.0:1, which is taken at a.yaml:2:30',
    'b.yaml:3:10: pools.p: expected a name of its own, found one that is taken at a.yaml:3:10',
  ]);
});

test('names each file of a folder whose YAML is broken', async (t) => {
  const faults = await folderFaults(t, { 'a.yaml': 'a: [', 'b.yaml': LISTENERS + POOLS, 'c.yaml': 'x: 1' });
  assert.equal(faults.length, 2);
  assert.match(faults[0] ?? '', /^a\.yaml:1:\d+: not valid YAML: /);
  assert.match(faults[1] ?? '', /^c\.yaml:1:1: x: unknown key; known here are workers, /);
});

test('says which file or folder it could not read', async (t) => {
  const folder = await withFolder(t, {});
  await assert.rejects(loadConfig(join(folder, 'none.yaml')), {
    message: `${folder}/none.yaml: expected a readable configuration file or folder: there is none of this name`,
  });
  await assert.rejects(loadConfig(folder), {
    message: `${folder}: expected a folder with at least one *.yaml or *.yml file, found none`,
  });
});

test('the JSON Schema describes every key', () => {
  assert.deepEqual(undescribed(schema() as SchemaNode, 'config'), []);
});

interface SchemaNode {
  description?: string;
  properties?: Record<string, SchemaNode>;
  additionalProperties?: SchemaNode | boolean;
  items?: SchemaNode;
  anyOf?: SchemaNode[];
}

function undescribed(node: SchemaNode, path: string): string[] {
  const { properties = {}, additionalProperties, items, anyOf = [] } = node;
  const values = typeof additionalProperties === 'object' ? [additionalProperties] : [];
  return [
    ...Object.entries(properties).flatMap(([key, child]) => [
      ...(child.description === undefined ? [`${path}.${key}`] : []),
      ...undescribed(child, `${path}.${key}`),
    ]),
    ...[...values, ...anyOf, ...(items === undefined ? [] : [items])].flatMap((child) => undescribed(child, path)),
  ];
}

test('the JSON Schema asks for listeners and pools, and in them only for addresses, rates, certificates and modules', () => {
  const text = JSON.stringify(schema());
  assert.deepEqual(
    [...text.matchAll(/"required":(\[[^\]]*\])/g)].map(([, keys]) => keys),
    [
      '["rate"]',
      '["from"]',
      '["cert","key"]',
      '["module"]',
      '["bind"]',
      '["rate"]',
      '["address"]',
      '["rate"]',
      '["backends"]',
      '["listeners","pools"]',
    ],
  );
});

test('tells addresses from mistyped ones', () => {
  const accepted = [
    '10.0.0.1:1883',
    '[::1]:0',
    '[2001:db8::1]:65535',
    '[fe80::1%eth0]:1',
    'localhost:1883',
    'a_b.example.net.:1',
    '1broker:1',
  ];
  const refused = [
    '10.0.0.1',
    '10.0.0.256:1883',
    '10.0.0:1883',
    ':1883',
    '::1:1883',
    '[::1]',
    '[10.0.0.1]:1',
    '[::g]:1',
    'a:65536',
    'a:',
    'a:-1',
    'a:1a',
    'mqtt://a:1883',
    'a/b:1',
    'a b:1',
    '-a:1',
    'a..b:1',
    `${'a'.repeat(64)}:1`,
    '1883',
    '',
    '[fe80::1%]:1',
  ];
  assert.deepEqual(
    accepted.filter((text) => parseAddress(text) === null),
    [],
  );
  assert.deepEqual(
    refused.filter((text) => parseAddress(text) !== null),
    [],
  );
  assert.equal(canonicalAddress({ host: '2001:DB8:0::1', port: 1 }), '[2001:db8::1]:1');
  assert.equal(canonicalAddress({ host: 'FE80:0::1%eth0', port: 1 }), '[fe80::1%eth0]:1');
  assert.equal(formatAddress({ host: '::1', port: 1 }), '[::1]:1');
});

test('guesses a mistyped name only where one is near', () => {
  const known = ['workers', 'engine', 'listeners', 'pools'];
  assert.equal(nearestName('workrs', known), 'workers');
  assert.equal(nearestName('Listener', known), 'listeners');
  assert.equal(nearestName('enigne', known), 'engine');
  assert.equal(nearestName('tls', known), null);
});

test('reads who may come and under which name', () => {
  const { listeners } = parseConfig(
    `
listeners:
  - bind: 0.0.0.0:1883
    allow: [10.0.0.0/8, "fd00::/8"]
    deny: [10.6.6.6]
    identity:
      client_id: { pattern: "\${username}-*", deny: ["*-test"] }
      username: { required: true }
      rewrite: { client_id: "north/\${client_id}", password: "a$b" }
pools: { brokers: { backends: [a:1] } }`,
    'test.yaml',
  );
  const { allow, deny, identity } = listeners[0]!;
  assert.deepEqual([allow, deny], [['10.0.0.0/8', 'fd00::/8'], ['10.6.6.6']]);
  assert.deepEqual(identity, {
    clientId: { patterns: ['${username}-*'], deny: ['*-test'], empty: 'refuse' },
    username: { patterns: [], deny: [], required: true },
    rewrite: { clientId: 'north/${client_id}', username: null, password: 'a$b' },
  });
});

test('reads hooks', () => {
  const withHook = (hook: string) =>
    `listeners: [{ bind: "0.0.0.0:1883", hook: ${hook} }]\npools: { brokers: { backends: [a:1] } }`;
  const hookOf = (text: string) => parseConfig(withHook(text), 'test.yaml').listeners[0]!.hook;
  assert.deepEqual(hookOf('{ module: h.ts }'), { module: 'h.ts', timeoutMs: 1000, onError: 'refuse' });
  assert.deepEqual(hookOf('{ module: h.ts, timeout: 50ms, on_error: accept }'), {
    module: 'h.ts',
    timeoutMs: 50,
    onError: 'accept',
  });
  const faults: [hook: string, expected: RegExp][] = [
    ['h.ts', /hook: expected a mapping with module, timeout and on_error/],
    ['{}', /hook\.module: expected the path of a module/],
    ['{ module: h.ts, timeout: 0s }', /hook\.timeout: expected a duration above 0/],
    ['{ module: h.ts, on_error: ignore }', /hook\.on_error: expected refuse or accept/],
  ];
  for (const [hook, expected] of faults) assert.match(faultsOf(withHook(hook)).join(), expected, hook);
});

test('a hook’s module that isn’t there is a fault of its key', async (context) => {
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-hook-'));
  context.after(() => rm(folder, { recursive: true }));
  const file = join(folder, 'tidegate.yaml');
  const listener = `{ bind: "127.0.0.1:0", hook: { module: ${folder}/none.ts } }`;
  await writeFile(file, `listeners: [${listener}]\npools: { brokers: { backends: [a:1] } }`);
  await assert.rejects(loadConfig(file), /listeners\[0\]\.hook\.module: expected a file that can be read, found/);
});

test('says what is wrong with a rule, and never shows a password', () => {
  const withListener = (rules: string) =>
    `listeners: [{ bind: "0.0.0.0:1883", ${rules} }]\npools: { brokers: { backends: [a:1] } }`;
  const faults: [rules: string, expected: RegExp][] = [
    ['allow: [10.0.0.1/8]', /allow\[0\]: expected an IP address or a range such as .* found "10\.0\.0\.1\/8"/],
    ['deny: []', /deny: expected a list of 1 to 4096/],
    ['deny: 10.0.0.1', /deny: expected a list of 1 to 4096/],
    [
      'identity: { client_id: { pattern: "${name}" } }',
      /expected one of \$\{client_id\}, \$\{username\}, \$\{remote_addr\}/,
    ],
    ['identity: { client_id: { deny: ["${username}"] } }', /deny\[0\]: expected a pattern without fields/],
    ['identity: { client_id: { pattern: "*${username}*" } }', /expected a pattern with no field between two \*/],
    ["identity: { client_id: { pattern: 'a\\b' } }", /expected \*, \? or \\ behind a \\/],
    ['identity: { client_id: { empty: maybe } }', /empty: expected allow, refuse or assign/],
    ['identity: { rewrite: { client_id: "" } }', /client_id: expected a text/],
    ['identity: { rewrite: { password: "${sesame" } }', /password: expected one of/],
    ['identity: { prefix: x }', /unknown key; known here are client_id, username, rewrite/],
  ];
  for (const [rules, expected] of faults) {
    const told = faultsOf(withListener(rules)).join();
    assert.match(told, expected, rules);
    assert.doesNotMatch(told, /sesame/);
  }
});
