// What a front door knows of a client, on its way to the data plane and into the access log.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FRONT_BYTES_MAX, REGIONS_OFFSET } from '../assembly/layout.ts';
import { AccessRecord, compileFormat, compileTemplate, type RecordFormat } from '../src/control/record-format.ts';
import { namesOf } from '../src/front/client-certificate.ts';
import { encodeFront } from '../src/front/front-block.ts';
import type { FrontInfo } from '../src/front/front-info.ts';
import { RecordWriter } from './tools/record-writer.ts';

const INFO: FrontInfo = {
  sni: 'mqtt.example.net',
  tls: { version: 'TLSv1.3', cipher: 'TLS_AES_128_GCM_SHA256', clientCn: 'pump "17"\n', isVerified: true },
};

function lineOf(format: RecordFormat, front: Uint8Array | undefined, clientId: string): string {
  const ring = new RecordWriter();
  ring.write({ clientId, front });
  const record = new AccessRecord(ring.memory.buffer, 0);
  record.at = REGIONS_OFFSET;
  const output = { bytes: new Uint8Array(format.lineBytesMax), length: 0 };
  format.writeLine(output, record);
  return Buffer.from(output.bytes.subarray(0, output.length)).toString();
}

test('a line of the log ends with what is known, in every format, and nothing in it can forge a line', () => {
  // ClientIds of every length modulo 8: what follows them is aligned.
  for (let length = 0; length < 9; length++) {
    const clientId = 'x'.repeat(length);
    const text = lineOf(compileFormat('text'), encodeFront(INFO), clientId);
    assert.match(
      text,
      / tls_version=TLSv1.3 tls_cipher=TLS_AES_128_GCM_SHA256 sni=mqtt.example.net client_cn=pump\S+\n$/,
    );
    const json = JSON.parse(lineOf(compileFormat('json'), encodeFront(INFO), clientId));
    assert.deepEqual([json.client_id, json.client_cn, json.sni], [clientId, 'pump "17"\n', 'mqtt.example.net']);
    const template = compileTemplate('$mqtt_client_id $ssl_protocol $ssl_server_name $front_error|');
    const line = lineOf(template, encodeFront({}, 'cert_has_expired'), clientId);
    assert.match(line, /cert_has_expired\|\n$/);
  }
});

test('a line of a client without TLS has nothing of it', () => {
  assert.doesNotMatch(lineOf(compileFormat('text'), undefined, 'pump-17'), /tls|sni|client_cn/);
  assert.equal(JSON.parse(lineOf(compileFormat('json'), undefined, 'pump-17')).tls_version, undefined);
  assert.equal(lineOf(compileTemplate('[$ssl_protocol]'), undefined, 'pump-17'), '[-]\n');
});

test('a name that a certificate only claims is neither hashed nor logged', () => {
  const claimed = { ...INFO, tls: { ...INFO.tls!, isVerified: false } };
  assert.doesNotMatch(lineOf(compileFormat('text'), encodeFront(claimed), 'a'), /client_cn/);
});

test('what a certificate says is in the log, its names with commas between them', () => {
  const certificate = { subject: 'CN=a,O=Ac me', names: ['a.example', 'urn:b'], serial: '0A', fingerprint: 'ab12' };
  const front = encodeFront({ ...INFO, tls: { ...INFO.tls!, clientCn: 'a', certificate } });
  assert.match(
    lineOf(compileFormat('text'), front, 'a'),
    / client_cn=a client_subject=CN=a,O=Ac\\x20me client_san=a.example,urn:b client_serial=0A client_fingerprint=ab12\n$/,
  );
  const template = compileTemplate('$ssl_client_s_dn|$ssl_client_san|$ssl_client_serial|$ssl_client_fingerprint');
  assert.equal(lineOf(template, front, 'a'), 'CN=a,O=Ac me|a.example,urn:b|0A|ab12\n');
});

test('the names of a certificate are read as they are meant, whatever is in them', () => {
  const text = 'DNS:a.example, IP Address:192.0.2.7, IP Address:2001:DB8:0:0:0:0:0:1, URI:urn:x, email:m@b.example';
  assert.deepEqual(namesOf(text), ['a.example', '192.0.2.7', '2001:db8::1', 'urn:x', 'm@b.example']);
  assert.deepEqual(namesOf('URI:"urn:a, DNS:evil.example", DNS:b.example'), ['urn:a, DNS:evil.example', 'b.example']);
  assert.deepEqual(namesOf('DNS:"a\\u0000b", othername:<unsupported>, DirName:CN = x, Registered ID:1.2.3'), ['a\0b']);
  assert.deepEqual(namesOf(''), []);
});

test('names of any length fit into the block', () => {
  for (const length of [40, 64, 129, 255, 511, 512, 999]) {
    const text = 'x'.repeat(length);
    const certificate = { subject: text, names: [text, text], serial: text, fingerprint: text };
    const tls = { version: text, cipher: text, clientCn: text, certificate, isVerified: true };
    assert.ok(encodeFront({ sni: text, tls }, text).length <= FRONT_BYTES_MAX);
  }
});

test('a certificate’s name that is too long is none, since its beginning may be that of another', () => {
  const named = (length: number) => ({ ...INFO, tls: { ...INFO.tls!, clientCn: 'n'.repeat(length) } });
  assert.match(lineOf(compileFormat('text'), encodeFront(named(129)), 'a'), /client_cn=n{129}\n/);
  assert.doesNotMatch(lineOf(compileFormat('text'), encodeFront(named(130)), 'a'), /client_cn/);
});
