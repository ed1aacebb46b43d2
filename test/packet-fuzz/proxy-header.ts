// PROXY headers, good ones and damaged ones, read by the data plane as by the reference; what the data plane writes, both
// read back.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Address } from '../../src/config/address.ts';
import { encodeProxyHeader, type ParsedProxyHeader, parseProxyHeader } from '../../src/core.ts';
import { textOf } from '../tools/address-text.ts';
import { binaryHeader, SIGNATURE, textHeader, tlv } from '../tools/proxy-headers.ts';
import { beginning, damaged, type Variant, variant } from './damage.ts';
import { readReference } from './proxy-header-reference.ts';
import { Tally, type Target } from './target.ts';

const VARIANTS_MAX = 16;
const tally = new Tally();

interface Ends {
  source: Address;
  destination: Address;
}

const ipv4 = fc.tuple(fc.nat(255), fc.nat(255), fc.nat(255), fc.nat(255)).map((bytes) => bytes.join('.'));
const ipv6 = fc
  .array(fc.oneof(fc.constant(0), fc.nat(0xffff)), { minLength: 8, maxLength: 8 })
  .map((groups) => textOf(groups.map((group) => group.toString(16)).join(':')))
  .filter((host) => !host.includes('.') && host !== '::'); // IPv4 in IPv6 is written as IPv4
const port = fc.nat(65535);
const ends: fc.Arbitrary<Ends> = fc
  .tuple(fc.oneof(fc.tuple(ipv4, ipv4), fc.tuple(ipv6, ipv6)), port, port)
  .map(([[from, to], fromPort, toPort]) => ({
    source: { host: from, port: fromPort },
    destination: { host: to, port: toPort },
  }));
const tlvs = fc.array(
  fc.tuple(fc.integer({ min: 0x20, max: 255 }), fc.uint8Array({ maxLength: 60 })) as fc.Arbitrary<[number, Uint8Array]>,
  { maxLength: 4 },
);

const property = fc.property(
  ends,
  tlvs,
  fc.boolean(),
  fc.array(variant, { minLength: 1, maxLength: VARIANTS_MAX, size: 'max' }),
  fc.uint8Array({ maxLength: 150 }),
  checkHeaders,
);

export const proxyHeader: Target = { name: 'proxy-header', property, runs: 250, tally };

function checkHeaders(
  ends: Ends,
  tlvs: [number, Uint8Array][],
  checksum: boolean,
  variants: Variant[],
  rest: Uint8Array,
) {
  const extra = Buffer.concat(tlvs.map(([type, value]) => tlv(type, value)));
  const good = [
    textHeader(ends.source, ends.destination),
    binaryHeader({ ...ends, tlvs, checksum }),
    Buffer.from(encodeProxyHeader({ version: 'v1', ...ends })),
    Buffer.from(encodeProxyHeader({ version: 'v2', ...ends, tlvs: extra })),
  ];
  for (const header of good) {
    const found = check(Buffer.concat([header, rest]), variants[0]!.cut);
    assert.deepEqual(found, { state: 'complete', headerBytes: header.length, ...ends }, header.toString('hex'));
  }
  for (const [index, { damages, cut }] of variants.entries()) {
    check(Buffer.concat([damaged(good[index % good.length]!, damages), rest]), cut);
  }
  for (const [index, start] of [SIGNATURE, 'PROXY ', 'PROXY TCP4 ', 'PROXY TCP6 '].entries()) {
    check(Buffer.concat([Buffer.from(start), rest]), variants[0]!.cut + index);
  }
}

function check(bytes: Buffer, cut: number): ParsedProxyHeader {
  const found = read(bytes);
  tally.count(found.state);
  assert.deepEqual(found, readReference(bytes), bytes.toString('hex'));
  const piece = beginning(bytes, cut);
  assert.deepEqual(read(piece), readReference(piece), piece.toString('hex'));
  return found;
}

function read(bytes: Buffer): ParsedProxyHeader {
  const found = parseProxyHeader(bytes);
  if (found.state !== 'complete' || found.source === null) return found;
  return { ...found, source: plain(found.source), destination: plain(found.destination!) };
}

/** The system writes ::1:0 as ::0.1.0.0, an "IPv4-compatible" address, which RFC 4291 gave up and RFC 5952 knows not. */
function plain({ host, port }: Address): Address {
  const text = textOf(host);
  if (text !== host && !host.startsWith('::ffff:')) tally.differ('IPv4-compatible addresses, written with dots');
  return { host: text, port };
}
