// What a listener asks of its clients' names and addresses, and what it makes of them.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { encodeFront } from '../src/front/front-block.ts';
import { type IdentityDocument, loadIdentityDocuments } from './documents/identity/load.ts';
import { Decisions } from './tools/decisions.ts';
import { connectPacket } from './tools/packets.ts';

const documents = loadIdentityDocuments();
const decisions = await Decisions.make();

for (const file of new Set(documents.map((document) => document.file))) {
  describe(file, () => {
    for (const document of documents.filter((one) => one.file === file)) test(document.name, () => replay(document));
  });
}

async function replay({ bytes, from, rules, connectMaxBytes, expected, clientId, place }: IdentityDocument) {
  await decisions.rule(rules, { connectMaxBytes });
  if (!decisions.mayCome(from)) {
    assert.equal(expected.is === 'refused' && expected.reason, 'address_denied', place);
    return;
  }
  const decision = decisions.decide(bytes, from);
  if (decision.is === 'partial') assert.fail(place);
  if (clientId !== undefined) assert.equal(decision.clientId, clientId, place);
  if (decision.is === 'refused') {
    const { is, reason, answer } = decision;
    assert.deepEqual(plain({ is, reason, answer }), plain(expected), place);
  } else {
    assert.deepEqual(plain({ is: decision.is, bytes: decision.bytes }), plain(expected), place);
    assert.equal(decision.isRewritten, !decision.bytes.equals(bytes), place);
  }
}

test('a common name that MQTT can’t carry comes into no packet', async () => {
  await decisions.rule({ identity: { rewrite: { username: '${tls_client_cn}' } } });
  const packet = connectPacket({ clientId: 'device' });
  const tls = { version: 'TLSv1.3', cipher: '', isVerified: true };
  const reasonFor = (clientCn: string) => {
    const decision = decisions.decide(packet, '127.0.0.1', encodeFront({ tls: { ...tls, clientCn } }));
    return decision.is === 'refused' ? decision.reason : decision.is;
  };
  assert.equal(reasonFor('good'), 'taken');
  assert.equal(reasonFor('nothing\0'), 'null_character');
  assert.equal(reasonFor('é'.repeat(64)), 'taken');
  assert.equal(reasonFor('é'.repeat(65)), 'rewrite_field_missing', 'too long for its place');
  assert.equal(reasonFor(''), 'rewrite_field_missing');
});

test('a ClientId may be any of the names of a certificate, and none that is only a part of one', async () => {
  await decisions.rule({
    identity: { client_id: { pattern: ['${tls_client_cn}', '${tls_client_san}/*', '${tls_client_san}'] } },
  });
  const judge = (clientId: string, names: string[], clientCn = 'common', isVerified = true) => {
    const certificate = { subject: 'CN=common', names, serial: '01', fingerprint: 'ab' };
    const tls = { version: 'TLSv1.3', cipher: '', clientCn, certificate, isVerified };
    const decision = decisions.decide(connectPacket({ clientId }), '127.0.0.1', encodeFront({ tls }));
    return decision.is === 'refused' ? decision.reason : decision.is;
  };
  const names = ['a.example.net', 'urn:device:17', 'meter@example.net', '192.0.2.7'];
  for (const name of [...names, 'common']) assert.equal(judge(name, names), 'taken', name);
  assert.equal(judge('urn:device:17/sensor', names), 'taken');
  for (const other of [
    'a.example.ne',
    'example.net',
    'a.example.net,urn:device:17',
    'urn:device:1',
    'x',
    '192.0.2.70',
  ]) {
    assert.equal(judge(other, names), 'identity_mismatch', other);
  }
  assert.equal(
    judge('a.example.net', names, 'common', false),
    'identity_mismatch',
    'of a certificate that is not good',
  );
  assert.equal(judge('a', []), 'identity_mismatch');
  assert.equal(judge('a', ['a,b']), 'identity_mismatch', 'a name with the separator in it is none');
  const long = 'x'.repeat(509);
  assert.equal(judge('ab', [long, 'ab']), 'taken', 'it has just room');
  assert.equal(judge('abc', [long, 'abc', 'z']), 'identity_mismatch', 'it has no room');
  assert.equal(judge('z', [long, 'abc', 'z']), 'taken', 'what follows it may have some');
});

test('what a certificate says can be told to the broker, of several names the first', async () => {
  const client_id = '${tls_client_san} ${tls_client_serial} ${tls_client_fingerprint} ${tls_client_subject}';
  await decisions.rule({ identity: { rewrite: { client_id } } });
  const certificate = { subject: 'CN=a,O=Acme', names: ['first', 'second'], serial: '0A', fingerprint: 'ab12' };
  const tls = { version: 'TLSv1.3', cipher: '', clientCn: 'a', certificate, isVerified: true };
  const decision = decisions.decide(connectPacket({ clientId: 'a' }), '127.0.0.1', encodeFront({ tls }));
  const expected = connectPacket({ clientId: 'first 0A ab12 CN=a,O=Acme' });
  assert.deepEqual(decision.is === 'taken' && decision.bytes, expected);
});

/** Bytes as hex: a difference reads well. */
function plain(value: object): unknown {
  return Object.fromEntries(
    Object.entries(value).map(([key, one]) => [key, one instanceof Buffer ? one.toString('hex') : one]),
  );
}
