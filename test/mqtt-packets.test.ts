// The probe's own MQTT, against the packets of an independent library.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { generate, parser } from 'mqtt-packet';
import { DISCONNECT, encodeConnect, readConnack } from '../src/control/health/mqtt-packets.ts';

const FIELDS = { clientId: 'tidegate-health-a-1-0', username: null, password: null, keepAliveSeconds: 60 };

describe('encodeConnect', () => {
  for (const version of [4, 5] as const) {
    for (const [username, password] of [
      [null, null],
      ['user', null],
      ['prüfer', 'geheim'],
      ['u'.repeat(1024), 'p'.repeat(1024)],
    ] as const) {
      const who = username === null ? 'nobody' : `${username.slice(0, 8)}, ${password?.slice(0, 8)}`;
      it(`writes what an independent library writes: version ${version}, ${who}`, () => {
        const expected = generate({
          cmd: 'connect',
          protocolId: 'MQTT',
          protocolVersion: version,
          clean: true,
          clientId: FIELDS.clientId,
          keepalive: 60,
          ...(username === null ? {} : { username }),
          ...(password === null ? {} : { password: Buffer.from(password) }),
        });
        assert.deepEqual(encodeConnect({ ...FIELDS, version, username, password }), expected);
      });
    }
  }

  it('says goodbye so that both versions understand', () => {
    for (const protocolVersion of [4, 5]) {
      const seen: unknown[] = [];
      const reader = parser({ protocolVersion });
      reader.on('packet', ({ cmd }) => seen.push(cmd));
      reader.parse(DISCONNECT);
      assert.deepEqual(seen, ['disconnect']);
    }
  });
});

describe('readConnack', () => {
  const complete = (code: number) => ({ state: 'complete', code });
  const cases: [about: string, version: 4 | 5, hex: string, expected: object][] = [
    ['accepted', 4, '20020000', complete(0)],
    ['accepted, with a session of before', 4, '20020100', complete(0)],
    ['refused', 4, '20020005', complete(5)],
    ['accepted', 5, '2003000000', complete(0)],
    ['refused with properties', 5, '2006008703220001', complete(0x87)],
    ['refused in version 4 by a server that knows no other', 5, '20020001', complete(1)],
    ['nothing yet', 4, '', { state: 'partial' }],
    ['no length yet', 5, '20', { state: 'partial' }],
    ['a length that goes on', 5, '2080', { state: 'partial' }],
    ['no code yet', 4, '200200', { state: 'partial' }],
    ['the code, though properties are to follow', 5, '20ff010087', complete(0x87)],
    ['another packet', 4, 'd000', { state: 'malformed' }],
    ['another protocol', 4, Buffer.from('HTTP/1.1 400').toString('hex'), { state: 'malformed' }],
    ['too short', 4, '200100', { state: 'malformed' }],
    ['too long for version 4', 4, '2003000000', { state: 'malformed' }],
    ['without properties in version 5', 5, '20020000', { state: 'malformed' }],
    ['a length that never ends', 5, '20ffffffffff', { state: 'malformed' }],
  ];
  for (const [about, version, hex, expected] of cases) {
    it(`reads CONNACK, version ${version}: ${about}`, () => {
      assert.deepEqual(readConnack(Buffer.from(hex, 'hex'), version), expected);
    });
  }
});
