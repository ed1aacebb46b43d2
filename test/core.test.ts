// The embeddable core: what the module promises to any host, and what the typed wrapper makes of it.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ALGORITHM_KETAMA, ALGORITHM_RENDEZVOUS, CONNECT_BYTES_LIMIT } from '../assembly/layout.ts';
import { createTable, parseConnect, TableError, type TableOptions } from '../src/core.ts';
import { connectPacket } from './tools/packets.ts';
import { Random, testSeed } from './tools/random.ts';
import { RawPool } from './tools/raw-core.ts';

const ALGORITHMS = { rendezvous: ALGORITHM_RENDEZVOUS, ketama: ALGORITHM_KETAMA };

describe('core.wasm', () => {
  it('hashes with SipHash-2-4 as its authors publish it', () => {
    const secret = Uint8Array.from({ length: 16 }, (_, index) => index);
    const pool = new RawPool({ members: [{ name: 'a:1' }], secret });
    const input = (length: number) => String.fromCharCode(...Array(length).keys());
    assert.equal(pool.hashKey(input(0)), 0x726fdb47dd0e0e31n);
    assert.equal(pool.hashKey(input(1)), 0x74f839c593dc67fdn);
    assert.equal(pool.hashKey(input(8)), 0x93f5f5799a932462n);
    assert.equal(pool.hashKey(input(15)), 0xa129ca6149be45e5n);
  });

  it('hashes keys of ketama with CRC-32', () => {
    const pool = new RawPool({ algorithm: ALGORITHM_KETAMA, members: [{ name: 'a:1' }] });
    assert.equal(pool.hashKey('123456789'), 0xcbf43926n);
    assert.equal(pool.hashKey(''), 0n);
  });

  it('gives the same table and the same answers by its ABI as through the wrapper', (context) => {
    const random = new Random(testSeed(context));
    for (const [algorithm, number] of Object.entries(ALGORITHMS)) {
      const members = Array.from({ length: 20 }, (_, index) => ({
        name: `10.0.0.${index}:1883`,
        weight: random.integer(0, 9),
      }));
      const pool = new RawPool({ algorithm: number, members });
      const table = createTable({ algorithm: algorithm as TableOptions['algorithm'], members });
      assert.equal(pool.digest(), table.digest());
      for (let count = 0; count < 2000; count++) {
        const key = `device-${random.word()}`;
        assert.equal(pool.lookup(key), table.index(key));
        assert.equal(pool.choose(pool.hashKey(key)), table.index(key));
      }
    }
  });
});

describe('createTable', () => {
  const members = ['10.0.0.11:1883', '10.0.0.12:1883', '10.0.0.13:1883'].map((name) => ({ name }));

  it('names the member for a key, and the others in the order in which they would be tried', () => {
    for (const algorithm of ['rendezvous', 'ketama'] as const) {
      const table = createTable({ algorithm, members });
      const order = table.order('device');
      assert.equal(order[0], table.lookup('device'));
      assert.equal(members[table.index('device')]?.name, table.lookup('device'));
      assert.deepEqual(
        order.toSorted(),
        members.map(({ name }) => name),
      );
    }
  });

  it('puts backups last and leaves out members without weight', () => {
    for (const algorithm of ['rendezvous', 'ketama'] as const) {
      const more = [{ name: 'backup:1', backup: true }, ...members, { name: 'weightless:1', weight: 0 }];
      const table = createTable({ algorithm, members: more });
      for (let key = 0; key < 100; key++) {
        const order = table.order(`device-${key}`);
        assert.equal(order.length, 4);
        assert.equal(order.at(-1), 'backup:1');
      }
    }
  });

  it('takes a key as text or as its UTF-8 bytes, of any length', () => {
    const table = createTable({ algorithm: 'rendezvous', members });
    for (const key of ['', 'device', 'Gerät 温度 🌊', 'long'.repeat(100_000)]) {
      assert.equal(table.index(key), table.index(Buffer.from(key)));
    }
  });

  it('has no member for any key when none has a weight', () => {
    for (const algorithm of ['rendezvous', 'ketama'] as const) {
      const table = createTable({ algorithm, members: members.map((member) => ({ ...member, weight: 0 })) });
      assert.equal(table.index('device'), -1);
      assert.deepEqual(table.order('device'), []);
      assert.throws(() => table.lookup('device'), isTableError('no_member'));
    }
  });

  it('builds the largest tables', () => {
    const many = (weight: number) =>
      Array.from({ length: 64 }, (_, index) => ({ name: `10.0.0.${index}:1883`, weight }));
    assert.ok(createTable({ algorithm: 'ketama', members: many(100) }).lookup('device'));
    assert.ok(
      createTable({ algorithm: 'rendezvous', members: many(1000).slice(0, 4), rows: 1 << 20 }).lookup('device'),
    );
  });

  it('throws a TypeError for what are no options, and says which', () => {
    const refuses = (options: unknown, message: string) =>
      assert.throws(() => createTable(options as TableOptions), { name: 'TypeError', message });
    const rendezvous = { algorithm: 'rendezvous', members };
    refuses(undefined, 'a table needs { algorithm, members }, not undefined');
    refuses('rendezvous', 'a table needs { algorithm, members }, not "rendezvous"');
    refuses({ members }, 'algorithm must be rendezvous or ketama, not undefined');
    refuses({ ...rendezvous, algorithm: 'toString' }, 'algorithm must be rendezvous or ketama, not "toString"');
    refuses(
      { ...rendezvous, method: 'random' },
      'method must be hash or round_robin or least_conn or random_two, not "random"',
    );
    refuses({ ...rendezvous, secret: 4711 }, 'secret must be a string, not 4711');
    refuses(
      { ...rendezvous, members: { name: 'a:1' } },
      "members must be an array such as [{ name: '10.0.0.11:1883' }], not an object",
    );
    const noMember = "must be an object such as { name: '10.0.0.11:1883' }, not";
    refuses({ ...rendezvous, members: [...members, 'b:1'] }, `members[3] ${noMember} "b:1"`);
    refuses({ ...rendezvous, members: [null] }, `members[0] ${noMember} null`);
    refuses({ ...rendezvous, members: [{ name: 1 }] }, `members[0] ${noMember} an object`);
  });

  it('throws a TypeError for what is no key', () => {
    const table = createTable({ algorithm: 'rendezvous', members });
    for (const [key, found] of [
      [17, '17'],
      [null, 'null'],
      [['a'], 'an array'],
    ]) {
      const message = `a key is a string or a Uint8Array, not ${found}`;
      for (const ask of ['lookup', 'index', 'order'] as const) {
        assert.throws(() => table[ask](key as string), { name: 'TypeError', message });
      }
    }
  });

  it('refuses what cannot be built, with a code', () => {
    const many = (count: number, weight: number) =>
      Array.from({ length: count }, (_, index) => ({ name: `10.0.0.${index}:1883`, weight }));
    const rendezvous = { algorithm: 'rendezvous', members } as const;
    const refusals: [TableError['code'], TableOptions][] = [
      ['member_count', { ...rendezvous, members: [] }],
      ['member_count', { ...rendezvous, members: many(65, 1) }],
      ['member_weight', { ...rendezvous, members: many(1, 1001) }],
      ['member_weight', { ...rendezvous, members: many(1, -1) }],
      ['member_weight', { ...rendezvous, members: many(1, 0.5) }],
      ['member_twice', { ...rendezvous, members: [...members, members[0]!] }],
      ['rows', { ...rendezvous, rows: 1000 }],
      ['rows', { ...rendezvous, rows: 128 }],
      ['rows', { ...rendezvous, rows: 1 << 21 }],
      ['points', { algorithm: 'ketama', members: many(64, 1000) }],
    ];
    for (const [code, options] of refusals) assert.throws(() => createTable(options), isTableError(code));
  });

  function isTableError(code: TableError['code']): (error: unknown) => boolean {
    return (error) => error instanceof TableError && error.code === code;
  }
});

describe('parseConnect', () => {
  it('returns the fields of a complete packet', () => {
    const parsed = parseConnect(connectPacket({ clientId: 'device-1', username: 'fleet' }));
    assert.ok(parsed.state === 'complete');
    assert.equal(parsed.version, 4);
    assert.equal(parsed.clientId, 'device-1');
    assert.equal(parsed.username, 'fleet');
    assert.equal(parsed.password, null);
    assert.equal(parsed.will, null);
    assert.equal(parsed.cleanStart, true);
    assert.equal(parsed.keepAlive, 60);
  });

  it('asks for more until the packet is whole, and leaves what follows it alone', () => {
    const packet = connectPacket({ clientId: 'device-1', version: 5 });
    for (let length = 0; length < packet.length; length++) {
      assert.deepEqual(parseConnect(packet.subarray(0, length)), { state: 'partial' });
    }
    const parsed = parseConnect(Buffer.concat([packet, Buffer.alloc(CONNECT_BYTES_LIMIT)]));
    assert.ok(parsed.state === 'complete');
    assert.equal(parsed.packetBytes, packet.length);
  });

  it('keeps a byte order mark at the start of a ClientId', () => {
    const parsed = parseConnect(connectPacket({ clientId: '\ufeffdevice' }));
    assert.ok(parsed.state === 'complete');
    assert.equal(parsed.clientId, '\ufeffdevice');
  });

  it('reads a will with its payload as a view of the bytes given', () => {
    const bytes = Buffer.from('101500044d515454042e000000016100017400027879', 'hex');
    bytes[1] = bytes.length - 2;
    const parsed = parseConnect(bytes);
    assert.ok(parsed.state === 'complete');
    assert.deepEqual(parsed.will, { topic: 't', payload: bytes.subarray(-2), qos: 1, retain: true, properties: null });
    assert.equal(parsed.will.payload.buffer, bytes.buffer);
  });

  it('refuses a packet with the reason and the answer that its version expects', () => {
    const packet = connectPacket({ clientId: 'device-1', version: 5 });
    packet[9]! |= 1;
    const parsed = parseConnect(packet);
    assert.ok(parsed.state === 'refused');
    assert.equal(parsed.reason, 'reserved_flag');
    assert.equal(parsed.version, 5);
    assert.equal(parsed.offset, 9);
    assert.deepEqual([...parsed.reply], [0x20, 3, 0, 0x81, 0]);
  });

  it('refuses a packet longer than the limit that it was given', () => {
    const parsed = parseConnect(connectPacket({ clientId: 'x'.repeat(200) }), { packetBytesMax: 100 });
    assert.ok(parsed.state === 'refused');
    assert.equal(parsed.reason, 'connect_too_large');
  });

  it('throws a TypeError for what are no bytes', () => {
    for (const [bytes, found] of [
      ['\x10\x0c', '"\\u0010\\f"'],
      [[0x10, 0x0c], 'an array'],
      [{ length: 2 }, 'an object'],
      [new Uint8Array(2).buffer, 'an object'],
      [null, 'null'],
      [undefined, 'undefined'],
    ]) {
      const message = `bytes must be a Uint8Array or a Buffer, not ${found}`;
      assert.throws(() => parseConnect(bytes as Uint8Array), { name: 'TypeError', message });
    }
  });

  it('throws for a limit that is no limit', () => {
    for (const packetBytesMax of [0, -1, 1.5, Number.NaN, CONNECT_BYTES_LIMIT + 1]) {
      assert.throws(() => parseConnect(new Uint8Array(0), { packetBytesMax }), RangeError);
    }
  });
});
