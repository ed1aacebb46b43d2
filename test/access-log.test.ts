import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  createReadStream,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import {
  CLIENT_ID_KEPT_BYTES_MAX,
  REASON_CLIENT_CLOSED,
  REASON_HTTP_REQUEST,
  REASON_NO_BACKEND,
  RECORD_BYTES_TOTAL,
  REGIONS_OFFSET,
} from '../assembly/layout.ts';
import { type AccessLog, startAccessLog } from '../src/control/access-log.ts';
import { AccessRecord, compileFormat, compileTemplate } from '../src/control/record-format.ts';
import { reasons } from '../src/reasons.ts';
import { decodeSockaddr, encodeSockaddr } from '../src/system/sockaddr.ts';
import { Random, testSeed } from './tools/random.ts';
import { type RecordFields, RecordWriter } from './tools/record-writer.ts';
import { waitFor } from './tools/wait.ts';

const folder = mkdtempSync(join(tmpdir(), 'tidegate-access-log-'));
after(() => rmSync(folder, { recursive: true }));

const NAMES = {
  epoch: 1,
  listeners: ['mqtt', 'second'],
  backends: [
    { id: 0, pool: 'brokers', address: '10.0.0.11:1883' },
    { id: 7, pool: 'other pool', address: '[fd00::7]:1883' },
  ],
};

const CLOSED_MS = Date.UTC(2026, 10, 22, 14, 46, 1, 250);

const SAMPLE: RecordFields = {
  openedMs: CLOSED_MS - 12_345,
  closedMs: CLOSED_MS,
  bytesFromClient: 1234,
  bytesToClient: 9_876_543_210,
  backend: 0,
  version: 4,
  keepAlive: 60,
  attempts: 1,
  clientId: 'pump-17',
  peer: { host: '192.0.2.1', port: 40_001 },
  epoch: 1,
};

/** The line of one record, without its newline. */
function lineOf(format: string, fields: RecordFields, names = NAMES): string {
  const writer = new RecordWriter();
  writer.write(fields);
  const compiled = compileFormat(format);
  compiled.names.update(names);
  const output = { bytes: new Uint8Array(compiled.lineBytesMax), length: 0 };
  const record = new AccessRecord(writer.memory.buffer, 3);
  record.at = REGIONS_OFFSET;
  compiled.writeLine(output, record);
  const line = Buffer.from(output.bytes.subarray(0, output.length));
  assert.equal(line.indexOf('\n'), line.length - 1, 'one line, and its newline last');
  return line.toString('utf8', 0, line.length - 1);
}

function clientIdColumn(clientId: string | Uint8Array): string {
  const line = lineOf('text', { ...SAMPLE, clientId });
  const columns = line.split(' ');
  assert.equal(columns.length, 16, line);
  return columns[8]!;
}

function inZone<T>(zone: string, work: () => T): T {
  const before = process.env.TZ;
  process.env.TZ = zone;
  try {
    return work();
  } finally {
    if (before === undefined) delete process.env.TZ;
    else process.env.TZ = before;
  }
}

describe('the text format', () => {
  it('shows a connection in the columns of the contract, then key=value', () => {
    assert.equal(
      inZone('UTC', () => lineOf('text', SAMPLE)),
      '192.0.2.1 [22/Nov/2026:14:46:01 +0000] MQTT/3.1.1 200 1234 9876543210 10.0.0.11:1883 pump-17 ' +
        `reason=${reasons[REASON_CLIENT_CLOSED]!.name} session_time=12.345 listener=mqtt keep_alive=60 attempts=1 ` +
        'pool=brokers remote_port=40001',
    );
  });

  it('shows a dash for a backend, ClientId, protocol and address that never were', () => {
    const line = inZone('UTC', () => lineOf('text', { reason: REASON_HTTP_REQUEST, closedMs: CLOSED_MS }));
    const { name, status } = reasons[REASON_HTTP_REQUEST]!;
    assert.equal(
      line,
      `- [22/Nov/2026:14:46:01 +0000] - ${status} 0 0 - - reason=${name} session_time=0.000 listener=mqtt ` +
        'keep_alive=0 attempts=0 pool=- remote_port=0',
    );
  });

  it('shows the local zone', () => {
    assert.match(
      inZone('America/St_Johns', () => lineOf('text', SAMPLE)),
      /\[22\/Nov\/2026:11:16:01 -0330\]/,
    );
    assert.match(
      inZone('Asia/Kathmandu', () => lineOf('text', SAMPLE)),
      /\[22\/Nov\/2026:20:31:01 \+0545\]/,
    );
  });

  it('names the versions of MQTT, and only those', () => {
    const protocol = (version: number) => lineOf('text', { ...SAMPLE, version }).split(' ')[3];
    assert.deepEqual([0, 3, 4, 5, 6, 255].map(protocol), ['-', 'MQTT/3.1', 'MQTT/3.1.1', 'MQTT/5.0', '-', '-']);
  });

  it('gives every reason its name and its status', () => {
    for (const [reason, known] of reasons.entries()) {
      if (known === undefined) continue;
      const line = lineOf('$status $reason', { ...SAMPLE, reason });
      assert.equal(line, `${known.status} ${known.name}`);
    }
  });

  it('writes numbers of every length', () => {
    for (const bytesToClient of [0, 9, 10, 999_999_999, 1_000_000_000, 2 ** 32, 10 ** 15, Number.MAX_SAFE_INTEGER]) {
      assert.equal(lineOf('$bytes_sent', { ...SAMPLE, bytesToClient }), String(bytesToClient));
    }
  });

  it('writes IPv6 as everybody does, and IPv4 that came over IPv6 as IPv4', () => {
    const address = (host: string) => lineOf('$remote_addr', { ...SAMPLE, peer: { host, port: 1 } });
    assert.equal(address('::ffff:192.0.2.7'), '192.0.2.7');
    for (const host of ['::', '::1', '1::', 'fd00::7', '2001:db8:0:1:1:1:1:1', '1:0:0:2:0:0:0:3', '1:0:0:2:3:0:0:4']) {
      assert.equal(address(host), decodeSockaddr(encodeSockaddr(host, 1)).host);
    }
  });

  it('shows the same IPv6 text as the system for random addresses', (context) => {
    const random = new Random(testSeed(context));
    for (let round = 0; round < 200; round++) {
      const groups = Array.from({ length: 7 }, () => (random.chance(0.5) ? 0 : random.integer(0, 0xffff)));
      const host = ['2001', ...groups.map((group) => group.toString(16))].join(':');
      const shown = lineOf('$remote_addr', { ...SAMPLE, peer: { host, port: 1 } });
      assert.equal(shown, decodeSockaddr(encodeSockaddr(host, 1)).host);
    }
  });

  it('survives clocks that make no sense', () => {
    for (const closedMs of [Number.NaN, Number.POSITIVE_INFINITY, -1, 1e300]) {
      const line = lineOf('$session_time $msec $time_local', { ...SAMPLE, closedMs });
      assert.match(line, /^[\d.]+ 0\.000 01\/Jan\/1970|^[\d.]+ 0\.000 31\/Dec\/1969/);
    }
    assert.equal(lineOf('$session_time', { ...SAMPLE, openedMs: CLOSED_MS + 5000 }), '0.000');
  });
});

describe('a ClientId in the log', () => {
  it('cannot forge a line, a column or a terminal command', () => {
    assert.equal(clientIdColumn('a\r\n127.0.0.1 [x]'), String.raw`a\x0D\x0A127.0.0.1\x20[x]`);
    assert.equal(clientIdColumn('\x1b[2J\x07'), String.raw`\x1B[2J\x07`);
    assert.equal(clientIdColumn('"quoted" \\ \x7f\0'), String.raw`\x22quoted\x22\x20\x5C\x20\x7F\x00`);
    assert.equal(clientIdColumn('\u009b31m'), String.raw`\xC2\x9B31m`);
    assert.equal(clientIdColumn('x\u2028y\u3000z\u202eq'), String.raw`x\xE2\x80\xA8y\xE3\x80\x80z\xE2\x80\xAEq`);
  });

  it('is readable where it is harmless UTF-8', () => {
    assert.equal(clientIdColumn('Gerät-東京-🚰'), 'Gerät-東京-🚰');
  });

  it('has every byte that is no UTF-8 escaped', () => {
    const bytes = Buffer.from([0x61, 0xff, 0xc0, 0x80, 0xed, 0xa0, 0x80, 0xf4, 0x90, 0x80, 0x80, 0xe2, 0x82]);
    assert.equal(clientIdColumn(bytes), String.raw`a\xFF\xC0\x80\xED\xA0\x80\xF4\x90\x80\x80\xE2\x82`);
  });

  it('cannot pass for the absence of one', () => {
    assert.equal(clientIdColumn('-'), String.raw`\x2D`);
    assert.equal(clientIdColumn('--'), '--');
  });

  it('ends with dots where it was too long to be kept, and never inside a character', () => {
    const whole = 'x'.repeat(CLIENT_ID_KEPT_BYTES_MAX);
    assert.equal(clientIdColumn(whole), whole);
    assert.equal(clientIdColumn(`${whole}y`), `${whole}...`);
    const cut = 'x'.repeat(CLIENT_ID_KEPT_BYTES_MAX - 2);
    assert.equal(clientIdColumn(`${cut}🚰🚰`), `${cut}...`);
    const fits = `${'x'.repeat(CLIENT_ID_KEPT_BYTES_MAX - 4)}🚰`;
    assert.equal(clientIdColumn(`${fits}🚰`), `${fits}...`);
    assert.equal(JSON.parse(lineOf('json', { ...SAMPLE, clientId: `${cut}🚰🚰` })).client_id, `${cut}...`);
  });

  it('leaves room for the worst of them', () => {
    const clientId = '\x01'.repeat(CLIENT_ID_KEPT_BYTES_MAX + 1);
    assert.equal(clientIdColumn(clientId), `${String.raw`\x01`.repeat(CLIENT_ID_KEPT_BYTES_MAX)}...`);
    assert.equal(JSON.parse(lineOf('json', { ...SAMPLE, clientId })).client_id, `${clientId.slice(1)}...`);
  });
});

describe('the json format', () => {
  it('is one object with the values of the text format', () => {
    assert.deepEqual(JSON.parse(inZone('UTC', () => lineOf('json', SAMPLE))), {
      time: '2026-11-22T14:46:01+00:00',
      remote_addr: '192.0.2.1',
      remote_port: 40_001,
      protocol: 'MQTT/3.1.1',
      status: 200,
      bytes_from_client: 1234,
      bytes_to_client: 9_876_543_210,
      backend: '10.0.0.11:1883',
      client_id: 'pump-17',
      reason: reasons[REASON_CLIENT_CLOSED]!.name,
      session_time: 12.345,
      listener: 'mqtt',
      pool: 'brokers',
      keep_alive: 60,
      attempts: 1,
    });
  });

  it('has empty strings for what never was', () => {
    const { remote_addr, protocol, backend, client_id, pool } = JSON.parse(lineOf('json', {}));
    assert.deepEqual(
      { remote_addr, protocol, backend, client_id, pool },
      {
        remote_addr: '',
        protocol: '',
        backend: '',
        client_id: '',
        pool: '',
      },
    );
  });

  it('gives every ClientId back exactly', () => {
    const ids = [
      '',
      '-',
      'a "b" \\ \n\r\t\0\x1b\x7f',
      '\u009b\u2028\u2029\u202e\ufeff',
      'Gerät-東京-🚰',
      '\uffff\ue000',
    ];
    for (let point = 1; point < 0xd800; point += 97) ids.push(String.fromCodePoint(point, point + 1));
    for (const clientId of ids) assert.equal(JSON.parse(lineOf('json', { ...SAMPLE, clientId })).client_id, clientId);
  });

  it('holds nothing that a terminal or a reader of lines could act on', () => {
    const line = lineOf('json', { ...SAMPLE, clientId: '\x1b[0m\u009b\u2028\u2029\u0085\u202e\x7f' });
    assert.match(line, /^[\x20-\x7e]*$/);
  });

  it('adds the bytes where the ClientId is not UTF-8', () => {
    const clientId = Buffer.from([0x61, 0xff, 0x62]);
    const { client_id, client_id_hex } = JSON.parse(lineOf('json', { ...SAMPLE, clientId }));
    assert.deepEqual([client_id, client_id_hex], ['a\ufffdb', '61ff62']);
  });
});

describe('a template', () => {
  it("writes NGINX's variables, braces or not", () => {
    const template =
      '$remote_addr:$remote_port [$time_local] $time_iso8601 ${msec} $protocol $status $bytes_sent/${bytes_received} ' +
      '$session_time "$upstream_addr" "$upstream_bytes_sent" "$upstream_bytes_received" "$mqtt_client_id" ' +
      '$mqtt_preread_clientid $connection $pid';
    assert.equal(
      inZone('UTC', () => lineOf(template, { ...SAMPLE, clientId: 'pump 17' })),
      '192.0.2.1:40001 [22/Nov/2026:14:46:01 +0000] 2026-11-22T14:46:01+00:00 1795358761.250 MQTT/3.1.1 200 ' +
        '9876543210/1234 12.345 "10.0.0.11:1883" "1234" "9876543210" "pump 17" pump 17 1 ' +
        `${process.pid}`,
    );
  });

  it('writes our own variables', () => {
    const template = '$listener|$pool|$keep_alive|$attempts|$reason|$worker';
    const line = lineOf(template, { ...SAMPLE, listener: 1, backend: 7, reason: REASON_NO_BACKEND });
    assert.equal(line, `second|other pool|60|1|${reasons[REASON_NO_BACKEND]!.name}|3`);
  });

  it('counts no bytes for a backend that was never reached', () => {
    const template = '$upstream_addr $upstream_bytes_sent $upstream_bytes_received';
    assert.equal(lineOf(template, { ...SAMPLE, reason: REASON_NO_BACKEND }), '10.0.0.11:1883 0 0');
    assert.equal(lineOf(template, { reason: REASON_NO_BACKEND }), '- - -');
  });

  it('escapes for JSON when it says so', () => {
    const line = lineOf('escape=json {"id":"$mqtt_client_id","to":"$upstream_addr"}', { clientId: 'a"\n' });
    assert.deepEqual(JSON.parse(line), { id: 'a"\n', to: '' });
  });

  it('escapes names out of the configuration too', () => {
    const names = { ...NAMES, listeners: ['my "own"\n'] };
    assert.match(lineOf('text', SAMPLE, names), /listener=my\\x20\\x22own\\x22\\x0A /);
  });

  it('with an unknown variable is refused, with the known ones', () => {
    assert.throws(() => compileTemplate('$remote_addr $http_user_agent'), {
      name: 'RangeError',
      message: /^unknown variable \$http_user_agent; known are \$remote_addr .*\$mqtt_client_id .*\$attempts/,
    });
    assert.throws(() => compileTemplate('$remote_addr $'), /unknown variable \$;/);
    assert.throws(() => compileTemplate('$constructor'), /unknown variable \$constructor;/);
  });

  it('that is none is refused', () => {
    assert.throws(() => compileFormat('jsno'), /expected text, json, or a template .* not "jsno"/);
    assert.throws(() => compileFormat('$status\n$reason'), /one line/);
    assert.throws(() => compileFormat('escape=none $status'), /escape=json is expected/);
  });
});

describe('names', () => {
  it('of a listener are those of the epoch in the record', () => {
    const compiled = compileFormat('$listener');
    compiled.names.update({ epoch: 1, listeners: ['first'], backends: [] });
    compiled.names.update({ epoch: 2, listeners: ['first'], backends: [] });
    compiled.names.update({ epoch: 5, listeners: ['other', 'first'], backends: [] });
    const text = (epoch: number, index: number) => Buffer.from(compiled.names.listener(epoch, index)).toString();
    assert.deepEqual(
      [text(1, 0), text(4, 0), text(5, 0), text(9, 1), text(9, 2)],
      ['first', 'first', 'other', 'first', '-'],
    );
  });
});

let files = 0;

function newPath(): string {
  return join(folder, `${files++}.log`);
}

async function withLog(
  options: { path: string; format?: string; warnings?: string[] },
  work: (log: AccessLog) => Promise<void>,
): Promise<AccessLog> {
  const warn = (_fields: object, text: string) => options.warnings?.push(text);
  const error = (fields: object, text: string) => assert.fail(`${text} ${JSON.stringify(fields)}`);
  const log = await startAccessLog({ path: options.path, format: options.format ?? 'text', log: { warn, error } });
  log.names(NAMES);
  try {
    await work(log);
  } finally {
    await log.close();
  }
  return log;
}

function readLines(path: string): string[] {
  const text = readFileSync(path, 'utf8');
  assert.ok(text === '' || text.endsWith('\n'), 'the file ends with a whole line');
  return text === '' ? [] : text.slice(0, -1).split('\n');
}

function idsOf(lines: string[]): string[] {
  return lines.map((line) => line.split(' ')[8]!);
}

function numbered(prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, index) => `${prefix}${index}`);
}

describe('the log thread', () => {
  it('writes the records of several workers, each in order, over many turns of ring and counters', async () => {
    const path = newPath();
    const count = 20_000;
    const writers = [0, 0xffff_f000, 0x7fff_fff8].map((start) => new RecordWriter({ ringBytes: 1 << 15, start }));
    await withLog({ path }, async (log) => {
      for (const [index, writer] of writers.entries()) log.attach(writer.memory, index);
      await Promise.all(
        writers.map((writer, which) =>
          writer.writeAll(count, (index) => ({
            ...SAMPLE,
            clientId: `w${which}-${index}`.padEnd(8 + (index % 90), '_'),
          })),
        ),
      );
    });
    const ids = idsOf(readLines(path)).map((id) => id.replace(/_+$/, ''));
    for (const which of writers.keys()) {
      const mine = ids.filter((id) => id.startsWith(`w${which}-`));
      assert.deepEqual(mine, numbered(`w${which}-`, count));
    }
    assert.equal(ids.length, count * writers.length);
  });

  it('shows a line soon after the record, without being asked', async () => {
    const path = newPath();
    const writer = new RecordWriter();
    await withLog({ path }, async (log) => {
      log.attach(writer.memory, 0);
      writer.write(SAMPLE);
      await waitFor('one line', () => readLines(path).length === 1);
    });
  });

  it('knows a name that was given just before the record that uses it', async () => {
    const path = newPath();
    const writer = new RecordWriter();
    await withLog({ path, format: '$upstream_addr' }, async (log) => {
      log.attach(writer.memory, 0);
      for (let id = 10; id < 600; id++) {
        log.names({ epoch: id, listeners: [], backends: [{ id, pool: 'p', address: `backend-${id}` }] });
        writer.write({ ...SAMPLE, backend: id });
        if (id % 10 === 0) await new Promise((resume) => setTimeout(resume, 1));
      }
    });
    assert.deepEqual(
      readLines(path),
      Array.from({ length: 590 }, (_, index) => `backend-${index + 10}`),
    );
  });

  it('loses no line and cuts none while the file is moved away and opened again', async () => {
    const path = newPath();
    const count = 40_000;
    const writer = new RecordWriter();
    const moved: string[] = [];
    await withLog({ path }, async (log) => {
      log.attach(writer.memory, 0);
      let isWriting = true;
      const rotating = (async () => {
        while (isWriting) {
          const target = `${path}.${moved.length}`;
          renameSync(path, target);
          moved.push(target);
          log.reopen();
          await waitFor('a new file', () => existsSync(path));
        }
      })();
      await writer.writeAll(count, (index) => ({ ...SAMPLE, clientId: `r${index}` }));
      isWriting = false;
      await rotating;
    });
    assert.ok(moved.length > 2, 'it was opened again while lines were written');
    assert.deepEqual(idsOf([...moved, path].flatMap(readLines)), numbered('r', count));
  });

  it('begins a line anew in the new file when the old one took only a part of it', async () => {
    const pipe = openPipe();
    const writer = new RecordWriter({ ringBytes: 1 << 22 });
    await withLog({ path: pipe.path, format: '$mqtt_client_id' }, async (log) => {
      await writer.writeAll(20_000, (index) => ({ clientId: `c${index}` }));
      log.attach(writer.memory, 0);
      await waitFor('a full pipe', () => writer.read > 0);
      renameSync(pipe.path, newPath());
      log.reopen();
    });
    const inPipe = Buffer.alloc(1 << 20);
    const cut = inPipe.toString('utf8', 0, readSync(pipe.fd, inPipe)).split('\n');
    closeSync(pipe.fd);
    assert.notEqual(cut.pop(), '', 'the pipe took a part of a line');
    assert.deepEqual([...cut, ...readLines(pipe.path)], numbered('c', 20_000));
  });

  it('keeps the old file and says so when the path cannot be opened again', async () => {
    const inner = mkdtempSync(join(folder, 'gone-'));
    const path = join(inner, 'access.log');
    const kept = newPath();
    const warnings: string[] = [];
    const writer = new RecordWriter();
    await withLog({ path, warnings }, async (log) => {
      log.attach(writer.memory, 0);
      renameSync(path, kept);
      rmSync(inner, { recursive: true });
      log.reopen();
      await waitFor('a warning', () => warnings.length === 1);
      writer.write(SAMPLE);
    });
    assert.match(warnings[0]!, /can't be opened again \(ENOENT\); the old file is kept/);
    assert.equal(readLines(kept).length, 1);
  });

  it('drains a memory to its end before it forgets it, and takes it again', async () => {
    const path = newPath();
    const writer = new RecordWriter({ ringBytes: 1 << 20 });
    await withLog({ path }, async (log) => {
      for (let round = 1; round <= 3; round++) {
        log.attach(writer.memory, 0);
        for (let index = 0; index < 5000; index++) assert.ok(writer.write(SAMPLE));
        await log.detach(writer.memory);
        assert.equal(writer.read, writer.written);
        assert.equal(readLines(path).length, round * 5000);
      }
      writer.write(SAMPLE);
      await new Promise((resume) => setTimeout(resume, 150));
      assert.equal(readLines(path).length, 15_000, 'a detached memory is not looked at');
    });
  });

  it('begins anew when the counters of a memory were set back for a new worker', async () => {
    const path = newPath();
    const writer = new RecordWriter();
    await withLog({ path }, async (log) => {
      log.attach(writer.memory, 0);
      await writer.writeAll(10, () => SAMPLE);
      await log.detach(writer.memory);
      const fresh = new RecordWriter();
      log.attach(fresh.memory, 0);
      await fresh.writeAll(10, () => SAMPLE);
    });
    assert.equal(readLines(path).length, 20);
  });

  it('reports a corrupt ring once, skips it to what was written and goes on', async () => {
    const path = newPath();
    const warnings: string[] = [];
    const writer = new RecordWriter();
    await withLog({ path, warnings }, async (log) => {
      log.attach(writer.memory, 5);
      for (const bytes of [0x1000, 0, 12, 8]) {
        await waitFor('an empty ring', () => writer.read === writer.written);
        writer.view.setUint32(REGIONS_OFFSET + (writer.written & 0xffff) + RECORD_BYTES_TOTAL, bytes, true);
        writer.publish(104);
      }
      await waitFor('an empty ring', () => writer.read === writer.written);
      writer.write(SAMPLE);
    });
    assert.equal(warnings.length, 1);
    assert.match(warnings[0]!, /access records were lost: a record is longer than what was written \(worker 5/);
    assert.deepEqual(idsOf(readLines(path)), ['pump-17']);
  });

  it('throws everything away when it is off', async () => {
    const writer = new RecordWriter({ ringBytes: 4096 });
    await withLog({ path: 'off' }, async (log) => {
      log.attach(writer.memory, 0);
      await writer.writeAll(300, () => SAMPLE);
      await log.detach(writer.memory);
      assert.equal(writer.read, writer.written);
    });
  });

  it('keeps draining while the disk is full, drops with a count, and tells it once', async () => {
    const path = newPath();
    const kept = newPath();
    symlinkSync('/dev/full', path);
    const warnings: string[] = [];
    const writer = new RecordWriter({ ringBytes: 1 << 20 });
    const count = 40_000;
    const log = await withLog({ path, warnings }, async (log) => {
      log.attach(writer.memory, 0);
      await writer.writeAll(count, (index) => ({ ...SAMPLE, clientId: `f${index}` }));
      await waitFor('an empty ring', () => writer.read === writer.written);
      assert.ok(log.linesDropped() > 0);
      rmSync(path);
      symlinkSync(kept, path);
      log.reopen();
    });
    assert.equal(warnings.length, 1);
    assert.match(warnings[0]!, /can't be written: ENOSPC; up to 4 MiB wait for it/);
    const ids = idsOf(readLines(kept));
    assert.deepEqual(ids.slice(0, 1000), numbered('f', 1000), 'what was kept is the beginning');
    assert.equal(ids.length + log.linesDropped(), count, 'every line is either in the file or counted');
  });

  it('ends though nothing can be written, and counts what it gave up', async () => {
    const path = newPath();
    symlinkSync('/dev/full', path);
    const warnings: string[] = [];
    const writer = new RecordWriter();
    const log = await withLog({ path, warnings }, async (log) => {
      log.attach(writer.memory, 0);
      await writer.writeAll(100, () => SAMPLE);
    });
    assert.equal(log.linesDropped(), 100);
    assert.match(warnings.at(-1)!, /ENOSPC; gave up, lines lost so far: 100/);
  });

  it('refuses to start on a path that cannot be opened, and says what to do', async () => {
    await assert.rejects(startAccessLog({ path: join(folder, 'none', 'a.log'), format: 'text' }), {
      name: 'TidegateError',
      code: 'ENOENT',
      exitCode: 2,
      message: /cannot open the access log .*a\.log: its folder does not exist; create it/,
    });
    await assert.rejects(startAccessLog({ path: folder, format: 'text' }), { code: 'EISDIR' });
    await assert.rejects(startAccessLog({ path: '-', format: '$nothing' }), RangeError);
  });
});

/** Runs a program that logs `count` lines to its standard output and then tells how many were lost. */
function spawnLogging(count: number, stdout: 'pipe' | number) {
  const program = `
    import { startAccessLog } from ${JSON.stringify(new URL('../src/control/access-log.ts', import.meta.url).href)};
    import { RecordWriter } from ${JSON.stringify(new URL('./tools/record-writer.ts', import.meta.url).href)};
    const log = await startAccessLog({ path: '-', format: '$mqtt_client_id' });
    const writer = new RecordWriter({ ringBytes: 1 << 20 });
    log.attach(writer.memory, 0);
    await writer.writeAll(${count}, (index) => ({ clientId: 'p' + index }));
    await log.close();
    console.error(log.linesDropped());`;
  return spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: ['ignore', stdout, 'pipe'] });
}

/** A pipe in the file system; held open for both, so that neither end waits for the other. */
function openPipe(): { path: string; fd: number } {
  const path = newPath();
  execFileSync('mkfifo', [path]);
  return { path, fd: openSync(path, 'r+') };
}

async function collect(stream: NodeJS.ReadableStream, delayMs: number): Promise<string> {
  let text = '';
  for await (const chunk of stream) {
    text += chunk;
    await new Promise((resume) => setTimeout(resume, delayMs));
  }
  return text;
}

describe('standard output', { concurrency: true }, () => {
  const slowCount = 60_000;
  const stalledCount = 60_000;

  it('that is a pipe with a slow reader gets every line', async () => {
    const pipe = openPipe();
    const child = spawnLogging(slowCount, pipe.fd);
    const reader = createReadStream(pipe.path);
    await once(reader, 'open');
    closeSync(pipe.fd);
    const [text, dropped] = await Promise.all([collect(reader, 20), collect(child.stderr!, 0)]);
    assert.equal(dropped.trim(), '0');
    assert.deepEqual(text.trimEnd().split('\n'), numbered('p', slowCount));
  });

  it('that is a socket with a slow reader gets every line', async () => {
    const child = spawnLogging(slowCount, 'pipe');
    const [text, dropped] = await Promise.all([collect(child.stdout!, 20), collect(child.stderr!, 0)]);
    assert.equal(dropped.trim(), '0');
    assert.deepEqual(text.trimEnd().split('\n'), numbered('p', slowCount));
  });

  it('that is a pipe whose reader takes nothing does not keep the process from ending', async () => {
    const pipe = openPipe();
    const child = spawnLogging(stalledCount, pipe.fd);
    const dropped = await collect(child.stderr!, 0);
    closeSync(pipe.fd);
    assert.ok(Number(dropped) > 0, `what was given up is counted: ${dropped}`);
  });

  it('that is a socket whose reader takes nothing does not keep the process from ending', async () => {
    const child = spawnLogging(stalledCount, 'pipe');
    child.stdout!.pause();
    const dropped = await collect(child.stderr!, 0);
    child.stdout!.destroy();
    assert.ok(Number(dropped) > 0, `what was given up is counted: ${dropped}`);
  });
});
