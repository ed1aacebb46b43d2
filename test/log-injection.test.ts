// ClientIds, user names and host names made to write lines of their own into the access log, or to take over the terminal
// of whoever reads it.
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TestContext } from 'node:test';
import { connect as connectTls } from 'node:tls';
import type { EngineName } from '../src/index.ts';
import { hello, startBackend } from './tools/backends.ts';
import { startAuthority } from './tools/certificates.ts';
import { testEveryEngine } from './tools/engines.ts';
import { connectPacket } from './tools/packets.ts';
import { makeFolder, startReloadable } from './tools/reloadable.ts';

const HOST = '127.0.0.1';
const FORGED = '6.6.6.6 [22/Nov/2026:00:00:00 +0000] MQTT/5.0 200 1 1 10.0.0.1:1883 admin reason=client_closed';
const NAMES = [
  `a\n${FORGED}`,
  `a\r\n${FORGED}\r\n`,
  `a\u2028${FORGED}\u2029`,
  `a\u0085${FORGED}`,
  'a reason=backend_lost listener=forged status=200',
  'a","remote_addr":"6.6.6.6","status":200,"x":"',
  'a\\',
  'a\\"',
  'a\t\b\f\v"\'`',
  '\u001b[2J\u001b[31mred\u001b]0;title\u0007',
  '\u009b2J',
  '\u0001\u001f\u007f\u0080\u009f',
  '-',
  '$client_id ${client_id} %s %n {{7*7}}',
  '\u202eleft to right\u2066\u200f\ufeff',
  '<script>alert(1)</script>',
];
/** Control characters and ends of lines of any kind. */
const FORBIDDEN = /[\p{Cc}\u2028\u2029]/u;

for (const format of ['text', 'json', '$remote_addr "$mqtt_client_id" $status']) {
  testEveryEngine(`no name breaks out of its field in the log, format ${format}`, async (engine, context) => {
    const lines = await logOf(engine, context, format);
    assert.equal(lines.length, 2 * NAMES.length, lines.join('\n'));
    for (const line of lines) assert.doesNotMatch(line, FORBIDDEN);
    if (format === 'json') checkJson(lines);
    else if (format === 'text') checkText(lines);
    else for (const line of lines) assert.match(line, /^127\.0\.0\.1 "([^"\\]|\\x[0-9A-F]{2})*" 200$/);
  });
}

/** Each name comes over TCP, and over TLS, where it is the name of the host that is asked for, too. */
async function logOf(engine: EngineName, context: TestContext, format: string): Promise<string[]> {
  const authority = startAuthority(context);
  if (authority === undefined) return [];
  const backend = await startBackend(context, hello);
  const folder = await makeFolder(context);
  const tls = { ...authority.issue('localhost', { hosts: ['localhost'] }), alpn: [] };
  const balancer = await startReloadable(
    context,
    { engine, folder, workers: 1 },
    {
      listeners: [
        { name: 'tcp', bind: `${HOST}:0` },
        { name: 'tls', bind: `${HOST}:0`, tls },
      ],
      pools: { brokers: { backends: [backend.address] } },
      access_log: { path: `${folder}/access.log`, format },
    },
  );
  for (const name of NAMES) {
    await visit(connect({ host: HOST, port: balancer.portOf('tcp') }), name);
    const options = { host: HOST, port: balancer.portOf('tls'), rejectUnauthorized: false, servername: name };
    await visit(connectTls(options), name);
  }
  return balancer.lines(2 * NAMES.length);
}

function visit(stream: Duplex, name: string): Promise<void> {
  stream.on('error', () => {}).write(connectPacket({ clientId: name, username: name }));
  stream.once('data', () => stream.end());
  return new Promise((resolve) => stream.once('close', () => resolve()));
}

function checkJson(lines: readonly string[]): void {
  const records = lines.map((line) => JSON.parse(line));
  const keys = new Set(
    records.map((record) =>
      Object.keys(record)
        .filter((key) => !/^(tls_.*|sni)$/.test(key))
        .join(),
    ),
  );
  assert.equal(keys.size, 1, [...keys].join('\n'));
  for (const { remote_addr, status } of records) assert.deepEqual([remote_addr, status], [HOST, 200]);
  const seen = new Set(records.map(({ client_id }) => client_id));
  assert.deepEqual(
    NAMES.filter((name) => !seen.has(name)),
    [],
  );
}

function checkText(lines: readonly string[]): void {
  for (const line of lines) {
    const [address, , , protocol, status, , , , , ...fields] = line.split(' ');
    assert.deepEqual([address, protocol, status], [HOST, 'MQTT/3.1.1', '200'], line);
    assert.ok(
      fields.every((field) => /^[a-z_]+=[^=]*$/.test(field) || field.startsWith('sni=')),
      line,
    );
    assert.equal(fields.filter((field) => field.startsWith('reason=')).join(), 'reason=client_closed', line);
  }
}
