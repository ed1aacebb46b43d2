// What a front door knows of a client, on its way to the data plane and into the access log.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FRONT_BYTES_MAX, REGIONS_OFFSET } from '../assembly/layout.ts';
import { AccessRecord, compileFormat, compileTemplate, type RecordFormat } from '../src/control/record-format.ts';
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

test('names of any length fit into the block', () => {
  const tls = { version: 'v'.repeat(999), cipher: 'c'.repeat(999), clientCn: 'n'.repeat(999), isVerified: true };
  assert.ok(encodeFront({ sni: 's'.repeat(999), tls }, 'e'.repeat(999)).length <= FRONT_BYTES_MAX);
});

test('a certificate’s name that is too long is none, since its beginning may be that of another', () => {
  const named = (length: number) => ({ ...INFO, tls: { ...INFO.tls!, clientCn: 'n'.repeat(length) } });
  assert.match(lineOf(compileFormat('text'), encodeFront(named(129)), 'a'), /client_cn=n{129}\n/);
  assert.doesNotMatch(lineOf(compileFormat('text'), encodeFront(named(130)), 'a'), /client_cn/);
});
