// One probe at a time, against what it may meet: real brokers, real servers, and those that do as they shouldn't.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Finding } from '../src/control/health/finding.ts';
import { startProbe } from '../src/control/health/probe.ts';
import { hangingBackend, refusingBackend, startBackend } from './tools/backends.ts';
import { startMosquitto } from './tools/mosquitto.ts';
import { connackPacket, firstPacket, levelOf, refusalPacket } from './tools/packets.ts';
import { PATIENCE_MS } from './tools/patience.ts';
import { backendsOf } from './tools/probed.ts';
import { reset } from './tools/reset.ts';
import { waitFor } from './tools/wait.ts';

const TIMEOUT_MS = 300;
const GONE: Finding = { verdict: 'fail', reason: 'connect failed: ECONNREFUSED', isGone: true };
const SILENT: Finding = { verdict: 'fail', reason: `no answer within ${TIMEOUT_MS} ms`, isGone: false };
const pass = (reason: string): Finding => ({ verdict: 'pass', reason, isGone: false });
const drain = (reason: string): Finding => ({ verdict: 'drain', reason, isGone: false });
const fail = (reason: string): Finding => ({ verdict: 'fail', reason, isGone: false });

/** What a probe with these settings finds there; fails when it isn't over by its timeout. */
async function find(address: string, health: object): Promise<Finding> {
  const [backend] = await backendsOf([address], { health: { timeout: `${TIMEOUT_MS}ms`, ...health } });
  const probe = startProbe(backend!, backend!.config.health!, undefined);
  const late = setTimeout(() => assert.fail('the probe outlives its timeout'), TIMEOUT_MS + 1000);
  const finding = await probe.finding;
  await probe.ended;
  clearTimeout(late);
  return finding;
}

describe('an mqtt probe', () => {
  for (const version of ['3.1.1', 5] as const) {
    it(`passes a broker that accepts it, in version ${version}`, async (context) => {
      const broker = await startMosquitto(context);
      if (broker !== undefined) assert.deepEqual(await find(broker.address, { version }), pass('CONNECT accepted'));
    });

    it(`tells a broker with another password what it was refused with, in version ${version}`, async (context) => {
      const broker = await startMosquitto(context, { user: { name: 'probe', password: 'right' } });
      if (broker === undefined) return;
      const refused = `CONNECT refused with code ${version === 5 ? '0x87' : '5'} (not authorised)`;
      assert.deepEqual(await find(broker.address, { version }), fail(refused));
      assert.deepEqual(await find(broker.address, { version, username: 'probe', password: 'wrong' }), fail(refused));
      const right = { version, username: 'probe', password: 'right' };
      assert.deepEqual(await find(broker.address, right), pass('CONNECT accepted'));
    });
  }

  it('finds a broker that is stopped dead, though the kernel accepts for it', async (context) => {
    const broker = await startMosquitto(context);
    if (broker === undefined) return;
    broker.freeze();
    assert.deepEqual(await find(broker.address, {}), SILENT);
    assert.deepEqual(await find(broker.address, { type: 'tcp' }), pass('connected'), 'which tcp does not');
    broker.thaw();
    assert.deepEqual(await find(broker.address, {}), pass('CONNECT accepted'));
    await broker.kill();
    assert.deepEqual(await find(broker.address, {}), GONE);
  });

  const answers: [about: string, version: 4 | 5, answer: Buffer, expected: Finding][] = [
    ['unavailable', 4, refusalPacket(4, 3), fail('CONNECT refused with code 3 (server unavailable)')],
    ['an unknown code', 4, refusalPacket(4, 99), fail('CONNECT refused with code 99')],
    ['busy', 5, refusalPacket(5, 0x89), fail('CONNECT refused with code 0x89 (server busy)')],
    ['use another server', 5, refusalPacket(5, 0x9c), drain('CONNECT refused with code 0x9c (use another server)')],
    ['server moved', 5, refusalPacket(5, 0x9d), drain('CONNECT refused with code 0x9d (server moved)')],
    [
      'a version that it does not know',
      5,
      refusalPacket(4, 1),
      fail('CONNECT refused with code 1 (unacceptable protocol version)'),
    ],
    [
      'no MQTT',
      4,
      Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'),
      fail('answered CONNECT with something else than CONNACK'),
    ],
  ];
  for (const [about, version, answer, expected] of answers) {
    it(`understands the answer: ${about}`, async (context) => {
      const backend = await startBackend(context, async (socket) => {
        await firstPacket(socket);
        for (const byte of answer) {
          socket.write(Buffer.from([byte]));
          await sleep(2);
        }
        socket.end();
      });
      assert.deepEqual(await find(backend.address, { version: version === 5 ? 5 : '3.1.1' }), expected);
    });
  }

  it('fails where the connection is closed or reset instead', async (context) => {
    const closing = await startBackend(context, (socket) => socket.end());
    assert.deepEqual(await find(closing.address, {}), fail('closed the connection without CONNACK'));
    const resetting = await startBackend(context, async (socket) => {
      await firstPacket(socket);
      reset(socket);
    });
    assert.deepEqual(await find(resetting.address, {}), fail('connection lost: ECONNRESET'));
  });

  it('cuts a broker that accepts but never closes, at its timeout', async (context) => {
    const backend = await startBackend(context, async (socket) => {
      const packet = await firstPacket(socket);
      socket.write(connackPacket(levelOf(packet!)));
    });
    const beganMs = performance.now();
    assert.deepEqual(await find(backend.address, {}), pass('CONNECT accepted'));
    assert.ok(performance.now() - beganMs >= TIMEOUT_MS - 1);
  });

  it('is not fooled by a pause of its own process', async (context) => {
    const backend = await startBackend(context, async (socket) => {
      const packet = await firstPacket(socket);
      socket.end(connackPacket(levelOf(packet!)));
      // The answer is in the kernel; nobody here reads it before the timeout is over.
      const untilMs = performance.now() + TIMEOUT_MS + 50;
      while (performance.now() < untilMs);
    });
    assert.deepEqual(await find(backend.address, {}), pass('CONNECT accepted'));
  });

  it('says goodbye when it is abandoned half way', async (context) => {
    const said: Buffer[] = [];
    const backend = await startBackend(context, (socket) => {
      socket.on('data', (bytes) => said.push(bytes)).on('end', () => socket.end());
    });
    const [target] = await backendsOf([backend.address], { health: 'mqtt' });
    const probe = startProbe(target!, target!.config.health!, undefined);
    await waitFor('CONNECT', () => said.length > 0);
    probe.abandon();
    await probe.ended;
    assert.deepEqual(Buffer.concat(said).subarray(-2), Buffer.from([0xe0, 0]));
  });

  it('ends soon when it is abandoned, whatever the broker does', async (context) => {
    const { address } = await hangingBackend(context);
    const silent = await startBackend(context, () => {});
    const targets = await backendsOf([address, silent.address], { health: 'mqtt' });
    const probes = targets.map((target) => startProbe(target, target.config.health!, undefined));
    await sleep(50);
    const beganMs = performance.now();
    for (const probe of probes) probe.abandon();
    await Promise.all(probes.map(({ ended }) => ended));
    assert.ok(performance.now() - beganMs < PATIENCE_MS);
  });
});

describe('a tcp probe', () => {
  it('passes who accepts, and fails who refuses or never answers', async (context) => {
    const backend = await startBackend(context, (socket) => socket.on('end', () => socket.end()).resume());
    assert.deepEqual(await find(backend.address, { type: 'tcp' }), pass('connected'));
    assert.deepEqual(await find(refusingBackend(context).address, { type: 'tcp' }), GONE);
    const { address } = await hangingBackend(context);
    assert.deepEqual(await find(address, { type: 'tcp' }), fail(`no connection within ${TIMEOUT_MS} ms`));
  });

  it('closes without a reset', async (context) => {
    const ends: (string | undefined)[] = [];
    const backend = await startBackend(context, (socket: Socket) => {
      socket.on('error', ({ message }) => ends.push(message));
      socket.on('end', () => socket.end(() => ends.push('end')));
      socket.resume();
    });
    await find(backend.address, { type: 'tcp' });
    assert.deepEqual(ends, ['end']);
  });
});

describe('a raw probe', () => {
  const health = { type: 'raw', send: 'c0 00', expect: 'd0 00' };

  it('passes an answer that contains what is expected, in whatever pieces it comes', async (context) => {
    const backend = await startBackend(context, async (socket) => {
      assert.deepEqual(await firstPacket(socket), Buffer.from([0xc0, 0]));
      for (const piece of [[1, 0xd0], [0xd0], [0, 7]]) {
        socket.write(Buffer.from(piece));
        await sleep(5);
      }
      socket.end();
    });
    assert.deepEqual(await find(backend.address, health), pass('answered as expected'));
  });

  it('need not send anything', async (context) => {
    const backend = await startBackend(context, (socket) => socket.end('220 welcome'));
    const expect = Buffer.from('220').toString('hex');
    assert.deepEqual(await find(backend.address, { type: 'raw', expect }), pass('answered as expected'));
  });

  it('fails for another answer, for silence and for a flood', async (context) => {
    const other = await startBackend(context, (socket) => socket.end('something else'));
    assert.deepEqual(await find(other.address, health), fail('closed the connection without the expected answer'));
    const silent = await startBackend(context, () => {});
    assert.deepEqual(await find(silent.address, health), SILENT);
    const flooding = await startBackend(context, (socket) => {
      socket.write(Buffer.alloc(1 << 20));
    });
    assert.deepEqual(await find(flooding.address, health), fail('the expected answer is not in the first 65536 bytes'));
  });
});

describe('an http probe', () => {
  async function startServer(context: TestContext, listener: RequestListener): Promise<number> {
    const server = createServer(listener);
    await once(server.listen(0, '127.0.0.1'), 'listening');
    context.after(() => {
      server.close();
      server.closeAllConnections();
    });
    return (server.address() as AddressInfo).port;
  }
  const ask = (port: number, more: object = {}) => find('127.0.0.1:1', { type: 'http', port, ...more });

  it('passes 200, drains at 503, and fails for any other status', async (context) => {
    const port = await startServer(context, ({ url }, response) => {
      response.writeHead(Number(url!.slice(1))).end('{"status": "of no interest"}');
    });
    const found = async (status: number) => ask(port, { path: `/${status}` });
    assert.deepEqual(await found(200), pass('HTTP status 200'));
    assert.deepEqual(await found(503), drain('HTTP status 503'));
    for (const status of [204, 301, 404, 500]) assert.deepEqual(await found(status), fail(`HTTP status ${status}`));
  });

  it('asks for its path with the Host that is set, else with the address, and keeps no connection', async (context) => {
    const asked: object[] = [];
    const port = await startServer(context, ({ method, url, headers }, response) => {
      asked.push({ method, url, host: headers.host, connection: headers.connection });
      response.end();
    });
    await ask(port);
    await ask(port, { path: '/api/v5/status?full=1', host: 'emqx.example.net' });
    assert.deepEqual(asked, [
      { method: 'GET', url: '/', host: `127.0.0.1:${port}`, connection: 'close' },
      { method: 'GET', url: '/api/v5/status?full=1', host: 'emqx.example.net', connection: 'close' },
    ]);
  });

  it('fails where nobody listens, nobody answers, or something else does', async (context) => {
    assert.deepEqual(await ask(refusingBackend(context).port), GONE);
    assert.deepEqual(await ask(await startServer(context, () => {})), SILENT);
    const hanging = Number((await hangingBackend(context)).address.split(':')[1]);
    assert.deepEqual(await ask(hanging), fail(`no connection within ${TIMEOUT_MS} ms`));
    const closing = await startBackend(context, (socket) => socket.end());
    assert.deepEqual(await ask(Number(closing.address.split(':')[1])), fail('connection lost: ECONNRESET'));
    const other = await startBackend(context, (socket) => socket.end(connackPacket(4)));
    assert.deepEqual(await ask(Number(other.address.split(':')[1])), fail('answered with something else than HTTP'));
  });

  it('ends at its timeout when the body never does', async (context) => {
    const port = await startServer(context, (_request, response) => {
      response.writeHead(200).write('more to come');
    });
    assert.deepEqual(await ask(port), pass('HTTP status 200'));
  });
});
