// PROXY headers, read and written by the data plane: as "The PROXY protocol, versions 1 & 2" has them, as other programs
// send them, and whatever else may come. Against a second reader they are fuzzed in packet-fuzz/.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { isIPv4, isIPv6 } from 'node:net';
import { describe, it, test } from 'node:test';
import fc from 'fast-check';
import {
  PARSE_COMPLETE,
  PARSE_PARTIAL,
  PROXY_HEADER_BYTES_MAX,
  PROXY_HEADER_BYTES_TOTAL,
  PROXY_HEADER_STRUCT_BYTES,
} from '../assembly/layout.ts';
import type { Address } from '../src/config/address.ts';
import { encodeProxyHeader, parseProxyHeader } from '../src/core.ts';
import { encodeTlvs } from '../src/front/proxy-tlvs.ts';
import { decodeSockaddr, encodeSockaddr } from '../src/system/sockaddr.ts';
import { binaryHeader, crc32c, readHeader, SIGNATURE, textHeader, tlv, UNIQUE_ID } from './tools/proxy-headers.ts';
import { testSeed } from './tools/random.ts';

const RUNS = 3000;

const ipv4 = fc.tuple(fc.nat(255), fc.nat(255), fc.nat(255), fc.nat(255)).map((bytes) => bytes.join('.'));
const ipv6 = fc
  .array(fc.oneof(fc.constant(0), fc.nat(0xffff)), { minLength: 8, maxLength: 8 })
  .map((groups) => canonical(groups.map((group) => group.toString(16)).join(':')))
  .filter((host) => !host.includes('.') && host !== '::'); // IPv4 in IPv6 is written as IPv4
const port = fc.nat(65535);
const addresses = fc.oneof(fc.tuple(ipv4, ipv4), fc.tuple(ipv6, ipv6)).chain(([from, to]) =>
  fc.tuple(port, port).map(([fromPort, toPort]) => ({
    source: { host: from, port: fromPort },
    destination: { host: to, port: toPort },
  })),
);
const tlvs = fc
  .array(fc.tuple(fc.integer({ min: 0x20, max: 255 }), fc.uint8Array({ maxLength: 100 })), { maxLength: 5 })
  .map((list) => Buffer.concat(list.map(([type, value]) => tlv(type, value))));

function canonical(host: string): string {
  return decodeSockaddr(encodeSockaddr(host, 0)).host;
}

describe('a header', () => {
  it('is what an independent reader takes, with its TLVs and their checksum', (context) => {
    const property = fc.property(addresses, fc.uint8Array({ maxLength: 100 }), (ends, value) => {
      for (const version of ['v1', 'v2'] as const) {
        const bytes = encodeProxyHeader({ version, ...ends, tlvs: tlv(UNIQUE_ID, value) });
        const { source, destination, tlvs, bytes: length } = readHeader(Buffer.from(bytes));
        assert.deepEqual({ source, destination, length }, { ...ends, length: bytes.length });
        if (version === 'v2') assert.deepEqual(tlvs.get(UNIQUE_ID), Buffer.from(value));
        if (version === 'v1') assert.ok(bytes.length <= 107);
      }
    });
    fc.assert(property, { seed: testSeed(context), numRuns: RUNS });
  });

  it('with any byte of its checksummed bytes changed is refused, or waits for more', (context) => {
    const property = fc.property(
      addresses,
      tlvs,
      fc.nat(),
      fc.integer({ min: 1, max: 255 }),
      (ends, extra, at, flip) => {
        const header = binaryHeader({ ...ends, tlvs: [[0x30, extra]], checksum: true });
        const place = at % header.length;
        const state = parseProxyHeader(header.with(place, header[place]! ^ flip)).state;
        // LOCAL and an unspecified family have nothing that is looked at; a longer header has more to come; and a checksum
        // that isn't found, by its type or for the length of what stands before it, is none.
        const tlvAt = 16 + (isIPv4(ends.source.host) ? 12 : 36);
        const isHead = place < 16 || (place >= tlvAt && place < tlvAt + 3) || place === header.length - 7;
        if (!isHead) assert.equal(state, 'refused');
      },
    );
    fc.assert(property, { seed: testSeed(context), numRuns: RUNS });
  });

  it('has one family: IPv4 in IPv6 is IPv4, and so is a listener on "::"', () => {
    const told = (source: string, destination: string) => {
      const ends = { source: { host: source, port: 1 }, destination: { host: destination, port: 2 } };
      const texts = (['v1', 'v2'] as const).map((version) => {
        const { source, destination } = readHeader(Buffer.from(encodeProxyHeader({ version, ...ends })));
        return `${source.host} ${destination.host}`;
      });
      assert.equal(texts[0], texts[1]);
      return texts[0];
    };
    assert.equal(told('::ffff:192.0.2.1', '::ffff:192.0.2.2'), '192.0.2.1 192.0.2.2');
    assert.equal(told('::ffff:192.0.2.1', '::'), '192.0.2.1 0.0.0.0');
    assert.equal(told('192.0.2.1', '2001:db8::1'), '::ffff:192.0.2.1 2001:db8::1');
    assert.equal(told('2001:db8::1', '192.0.2.1'), '2001:db8::1 ::ffff:192.0.2.1');
  });
});

// ---- As other programs send them -------------------------------------------------------------------------------------

describe('what other programs send', () => {
  const ends = { source: { host: '127.0.0.9', port: 40000 }, destination: { host: '127.0.0.1', port: 21883 } };
  const cases: [name: string, bytes: Buffer, source: Address | null][] = [
    ['HAProxy 2.6, send-proxy', Buffer.from('PROXY TCP4 127.0.0.9 127.0.0.1 40000 21883\r\n'), ends.source],
    [
      'HAProxy 2.6, send-proxy-v2',
      Buffer.concat([SIGNATURE, Buffer.from('2111000c7f0000097f0000019c40557b', 'hex')]),
      ends.source,
    ],
    ['HAProxy 2.6, a check', Buffer.concat([SIGNATURE, Buffer.from('20000000', 'hex')]), null],
    ['the longest line of version 1', Buffer.from(`PROXY UNKNOWN ${'f'.repeat(91)}\r\n`), null],
    ['UNKNOWN alone', Buffer.from('PROXY UNKNOWN\r\n'), null],
  ];
  for (const [name, bytes, source] of cases) {
    it(`reads that of ${name}`, () => {
      const found = parseProxyHeader(bytes);
      assert.ok(found.state === 'complete');
      assert.deepEqual([found.source, found.headerBytes], [source, bytes.length]);
    });
  }
});

test('refuses what no standard allows', () => {
  const lines = [
    'PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n',
    'PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n',
    'PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n',
    'PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n',
    'PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n',
    'PROXY TCP4 1.2.3.4 1.2.3.4 -1 2\r\n',
    'PROXY TCP4 1.2.3.04 1.2.3.4 1 2\r\n',
    'PROXY TCP4 1.2.3.4 ::1 1 2\r\n',
    'PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n',
    'PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n',
    'PROXY UNKNOWNS\r\n',
    'PROXY  UNKNOWN\r\n',
    'PROXY \r\n',
    'proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n',
    `PROXY UNKNOWN ${'f'.repeat(92)}\r\n`,
  ];
  for (const line of lines) assert.equal(parseProxyHeader(Buffer.from(line)).state, 'refused', line);
  assert.equal(
    parseProxyHeader(Buffer.concat([SIGNATURE, Buffer.from('2111ffff', 'hex')])).state,
    'refused',
    'too long',
  );
  assert.equal(
    parseProxyHeader(Buffer.concat([SIGNATURE, Buffer.from('2131ffff', 'hex')])).state,
    'refused',
    'a unix socket',
  );
});

test('takes for addresses what the system takes for them', (context) => {
  const pieces = fc.constantFrom(
    '0',
    '1',
    'a',
    'F',
    '::',
    ':',
    '.',
    '255',
    '256',
    'ffff',
    '12345',
    'g',
    '01',
    '1.2.3.4',
  );
  const text = fc.array(pieces, { minLength: 1, maxLength: 12 }).map((parts) => parts.join(''));
  const property = fc.property(fc.oneof(text, ipv6, ipv4), (host) => {
    if (host.length > 60) return;
    for (const [family, isAddress, other] of [
      ['TCP4', isIPv4(host), '1.2.3.4'],
      ['TCP6', isIPv6(host), '::1'],
    ] as const) {
      const found = parseProxyHeader(Buffer.from(`PROXY ${family} ${host} ${other} 1 2\r\n`));
      assert.equal(found.state, isAddress ? 'complete' : 'refused', `${family} ${host}`);
      if (found.state === 'complete') assert.equal(found.source!.host, canonical(host));
    }
  });
  fc.assert(property, { seed: testSeed(context), numRuns: RUNS * 3 });
});

// ---- Whatever else comes ---------------------------------------------------------------------------------------------

test('never reads beyond what came, nor takes more for a header', (context) => {
  const memory = new WebAssembly.Memory({ initial: 1 });
  const module = new WebAssembly.Module(readFileSync(new URL('../build/core.wasm', import.meta.url)));
  const core = new WebAssembly.Instance(module, { env: { memory } }).exports as {
    heap_base(): number;
    parse_proxy_header(bytes: number, length: number, out: number): number;
  };
  const room = new Uint8Array(memory.buffer);
  const found = new DataView(memory.buffer, core.heap_base(), PROXY_HEADER_STRUCT_BYTES);
  // At the memory's very end: a byte more, and the module traps.
  const parse = (bytes: Uint8Array) => {
    const at = room.length - bytes.length;
    room.set(bytes, at);
    const state = core.parse_proxy_header(at, bytes.length, found.byteOffset);
    const headerBytes = found.getUint32(PROXY_HEADER_BYTES_TOTAL, true);
    if (state === PARSE_COMPLETE) assert.ok(headerBytes > 0 && headerBytes <= bytes.length);
    else assert.equal(headerBytes, 0);
    if (state === PARSE_PARTIAL) assert.ok(bytes.length < PROXY_HEADER_BYTES_MAX);
  };
  const whole = fc.oneof(
    fc
      .tuple(addresses, tlvs, fc.boolean())
      .map(([ends, extra, checksum]) => binaryHeader({ ...ends, tlvs: [[0x30, extra]], checksum })),
    addresses.map(({ source, destination }) => textHeader(source, destination)),
    fc.uint8Array({ maxLength: 300 }),
    fc
      .tuple(fc.nat(3), fc.uint8Array({ maxLength: 40 }))
      .map(([kind, rest]) =>
        Buffer.concat([
          [SIGNATURE, Buffer.from('PROXY '), Buffer.from('PROXY TCP6 '), Buffer.from('PROXY TCP4 ')][kind]!,
          rest,
        ]),
      ),
  );
  const changes = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 });
  const property = fc.property(whole, changes, fc.nat(), (bytes, changed, cut) => {
    const mutant = Uint8Array.from(bytes);
    if (mutant.length > 0) for (const [at, byte] of changed) mutant[at % mutant.length] = byte;
    parse(mutant.subarray(0, cut % (mutant.length + 1)));
    parse(mutant);
  });
  fc.assert(property, { seed: testSeed(context), numRuns: RUNS * 10 });
});

// ---- TLVs ------------------------------------------------------------------------------------------------------------

test('writes what a front door knows as TLVs', () => {
  const tls = { version: 'TLSv1.3', cipher: 'TLS_AES_256_GCM_SHA384', clientCn: 'meter-17', isVerified: true };
  const bytes = encodeTlvs({ sni: 'mqtt.example', alpn: 'mqtt', tls });
  const expected = [
    tlv(1, Buffer.from('mqtt')),
    tlv(2, Buffer.from('mqtt.example')),
    tlv(
      0x20,
      Buffer.concat([
        Buffer.of(3, 0, 0, 0, 0),
        tlv(0x21, Buffer.from('TLSv1.3')),
        tlv(0x23, Buffer.from('TLS_AES_256_GCM_SHA384')),
        tlv(0x22, Buffer.from('meter-17')),
      ]),
    ),
  ];
  assert.deepEqual(Buffer.from(bytes), Buffer.concat(expected));
  assert.equal(encodeTlvs({}).length, 0);
  const unknown = encodeTlvs({ tls: { version: 'TLSv1.2', cipher: 'x', isVerified: false } });
  assert.deepEqual([...unknown.subarray(3, 8)], [1, 0, 0, 0, 1]);
});

test('has TLVs fit into a header, however long the names are', () => {
  const long = 'n'.repeat(70_000);
  const info = { sni: long, alpn: long, tls: { version: long, cipher: long, clientCn: long, isVerified: true } };
  const ends = { source: { host: '::1', port: 1 }, destination: { host: '::1', port: 2 } };
  const header = encodeProxyHeader({ version: 'v2', ...ends, tlvs: encodeTlvs(info) });
  assert.equal(parseProxyHeader(header).state, 'complete');
  assert.throws(() => encodeProxyHeader({ version: 'v2', ...ends, tlvs: new Uint8Array(5000) }), RangeError);
});

test('sums as RFC 3720 does', () => {
  assert.equal(crc32c(Buffer.from('123456789')), 0xe3069283);
  assert.equal(crc32c(Buffer.alloc(32)), 0x8a9136aa);
});
