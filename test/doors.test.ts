// What holds for all front doors of a listener together, whichever they are.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect as connectTls } from 'node:tls';
import { echo, startBackend } from './tools/backends.ts';
import { startAuthority } from './tools/certificates.ts';
import { testEveryEngine } from './tools/engines.ts';
import { startReloadable } from './tools/reloadable.ts';

const HOST = '127.0.0.1';
const bind = `${HOST}:0`;
const REQUEST =
  'GET /mqtt HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n' +
  'sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\nsec-websocket-protocol: mqtt\r\n\r\n';

testEveryEngine(
  'one deadline holds from accept to the CONNECT, however many doors there are',
  async (engine, context) => {
    const authority = startAuthority(context);
    if (authority === undefined) return;
    const certificate = authority.issue('localhost', { hosts: ['localhost'], file: 'server' });
    const backend = await startBackend(context, echo);
    const connect_timeout = '1s';
    const proxy_protocol = { from: [HOST] };
    const tls = { ...certificate, alpn: [] };
    const listeners = [{ name: 'wss', bind, connect_timeout, proxy_protocol, tls, websocket: {} }];
    const pools = { brokers: { backends: [backend.address] } };
    const balancer = await startReloadable(context, { engine }, { listeners, pools });
    const header = 'PROXY TCP4 192.0.2.7 192.0.2.1 4711 1883\r\n';
    // Each step comes well within a second of the one before it, the last one well behind the first second.
    const socket = connect({ host: HOST, port: balancer.portOf('wss') });
    await once(socket, 'connect');
    await sleep(600);
    socket.write(header);
    const stream = connectTls({ socket, ca: readFileSync(authority.ca), servername: 'localhost' });
    stream.on('error', () => {});
    let answer = '';
    stream.on('data', (bytes) => {
      answer += bytes;
    });
    const closed = once(stream, 'close');
    stream.once('secureConnect', async () => {
      await sleep(800);
      stream.write(REQUEST);
    });
    await closed;
    assert.equal(answer, '');
    const [line] = await balancer.lines(1);
    assert.match(line!, /^192\.0\.2\.7 .* 400 .* reason=connect_timeout /);
    assert.equal(backend.connections, 0);
  },
);
