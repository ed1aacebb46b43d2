import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeSockaddr, encodeSockaddr } from '../src/system/sockaddr.ts';

test('addresses survive the way into a sockaddr and back', () => {
  const addresses = [
    ['127.0.0.1', 1883],
    ['255.0.10.9', 65535],
    ['::', 0],
    ['::1', 1],
    ['fd00::1:2', 8883],
    ['2001:db8::1:0:0:1', 2],
    ['::ffff:1.2.3.4', 3],
    ['fe80::1%7', 4],
    ['1:2:3:4:5:6:7:8', 5],
  ] as const;
  for (const [host, port] of addresses) assert.deepEqual(decodeSockaddr(encodeSockaddr(host, port)), { host, port });
  assert.deepEqual(decodeSockaddr(encodeSockaddr('0:0:0:0:0:ffff:102:304', 6)), { host: '::ffff:1.2.3.4', port: 6 });
  assert.throws(() => encodeSockaddr('broker.example', 1), RangeError);
});
