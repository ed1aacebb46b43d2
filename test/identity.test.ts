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

/** Bytes as hex: a difference reads well. */
function plain(value: object): unknown {
  return Object.fromEntries(
    Object.entries(value).map(([key, one]) => [key, one instanceof Buffer ? one.toString('hex') : one]),
  );
}
