// The live socket of the admin API, on both servers: what it tells, to whom, and what it doesn't put up with.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { MESSAGE_BYTES_MAX, type Peer } from '../src/admin/http.ts';
import { LIVE_PATH, Live, VISITORS_MAX, WAITING_BYTES_MAX } from '../src/admin/live.ts';
import { eventsSchema } from '../src/admin/routes/events.ts';
import { statusSchema } from '../src/admin/status-document.ts';
import type { Event } from '../src/control/events.ts';
import { testEveryServer } from './tools/admin-servers.ts';
import { type Administered, startAdministered } from './tools/administered.ts';
import { ask } from './tools/ask.ts';
import { PATIENCE_MS } from './tools/patience.ts';
import { waitFor } from './tools/wait.ts';

interface Message {
  type: 'status' | 'event';
  at_ms: number;
  status: unknown;
  event: Event;
}

class Visitor {
  readonly socket: WebSocket;
  readonly messages: Message[] = [];
  /** Resolves with the code and the reason. */
  readonly closed: Promise<[number, string]>;

  constructor(context: TestContext, { tidegate }: Administered, headers: Record<string, string> = {}) {
    this.socket = new WebSocket(`ws://127.0.0.1:${tidegate.admin!.port}${LIVE_PATH}`, { headers });
    this.socket.on('message', (text) => this.messages.push(JSON.parse(String(text))));
    this.socket.on('error', () => {});
    this.closed = new Promise((resolve) => {
      this.socket.on('close', (code, reason) => resolve([code, String(reason)]));
    });
    context.after(() => this.socket.terminate());
  }

  statuses(): Message[] {
    return this.messages.filter(({ type }) => type === 'status');
  }

  events(): Event[] {
    return this.messages.flatMap(({ type, event }) => (type === 'event' ? [event] : []));
  }

  /** The status of the answer where it is none that opens a WebSocket, else 101. */
  async answer(): Promise<number> {
    const refused = new Promise<number>((resolve) => {
      this.socket.once('unexpected-response', (request, { statusCode }) => {
        request.destroy();
        resolve(statusCode!);
      });
    });
    return Promise.race([refused, once(this.socket, 'open').then(() => 101)]);
  }
}

testEveryServer('the status is told at once and every second, events as they come', async (adminServer, context) => {
  const balancer = await startAdministered(context, { adminServer });
  const visitors = [new Visitor(context, balancer), new Visitor(context, balancer)];
  await waitFor('first status', () => visitors.every((visitor) => visitor.statuses().length === 1));
  await balancer.setState('127.0.0.1:1', 'drain');
  await waitFor('event', () => visitors.every((visitor) => visitor.events().length === 1));
  await waitFor('third status', () => visitors.every((visitor) => visitor.statuses().length === 3));
  for (const visitor of visitors) {
    const [first, second, third] = visitor.statuses();
    assert.equal(statusSchema.parse(first!.status).pools[0]?.backends[0]?.state, 'up');
    assert.equal(statusSchema.parse(third!.status).pools[0]?.backends[0]?.state, 'drain');
    const periodMs = third!.at_ms - second!.at_ms;
    assert.ok(periodMs > 300 && periodMs < PATIENCE_MS, `${periodMs} ms`);
  }
  const { events } = eventsSchema.parse(JSON.parse((await balancer.ask('/api/v1/events')).text));
  assert.deepEqual(visitors[0]!.events(), events.slice(-1), 'the same as is listed');
});

testEveryServer('with a token nothing is told before it was given', async (adminServer, context) => {
  const admin = { bind: '127.0.0.1:0', token: 'open-sesame' };
  const balancer = await startAdministered(context, { adminServer, admin });
  const said = new Visitor(context, balancer);
  const silent = new Visitor(context, balancer);
  const wrong = new Visitor(context, balancer);
  const early = new Visitor(context, balancer, { authorization: 'Bearer open-sesame' });
  await Promise.all([said, silent, wrong].map(({ socket }) => once(socket, 'open')));
  said.socket.send(JSON.stringify({ token: 'open-sesame' }));
  wrong.socket.send(JSON.stringify({ token: 'open-sesam' }));
  assert.deepEqual((await wrong.closed)[0], 4401);
  await waitFor('status', () => [said, early].every((visitor) => visitor.statuses().length >= 2));
  assert.deepEqual([silent.messages, wrong.messages], [[], []]);
  for (const text of ['', '{}', '{"token":null}', 'open-sesame', '[]']) {
    const visitor = new Visitor(context, balancer);
    await once(visitor.socket, 'open');
    visitor.socket.send(text);
    assert.equal((await visitor.closed)[0], 4401, text);
    assert.deepEqual(visitor.messages, []);
  }
});

testEveryServer('pages of another origin and strange names get no socket', async (adminServer, context) => {
  const balancer = await startAdministered(context, { adminServer });
  const { port } = balancer.tidegate.admin!;
  const answer = (headers: Record<string, string>) => new Visitor(context, balancer, headers).answer();
  const host = `127.0.0.1:${port}`;
  const welcome: Record<string, string>[] = [
    {},
    { origin: `http://${host}` },
    { origin: `https://${host}`, 'sec-fetch-site': 'same-origin' },
    { host: 'localhost:9883', origin: 'http://localhost:9883' },
  ];
  for (const headers of welcome) assert.equal(await answer(headers), 101, JSON.stringify(headers));
  const foreign: Record<string, string>[] = [
    { origin: 'https://evil.example' },
    { origin: 'null' },
    { origin: 'http://127.0.0.1:1' },
    { origin: `http://localhost:${port}` },
    { 'sec-fetch-site': 'cross-site' },
    { host: 'evil.example' },
    { host: 'evil.example', origin: 'http://evil.example' },
  ];
  for (const headers of foreign) assert.equal(await answer(headers), 403, JSON.stringify(headers));
});

testEveryServer('a request that asks for no WebSocket is told so', async (adminServer, context) => {
  const balancer = await startAdministered(context, { adminServer });
  assert.equal((await balancer.ask(LIVE_PATH)).status, 426);
  const upgrade = { connection: 'Upgrade', upgrade: 'h2c' };
  assert.equal((await balancer.ask('/healthz', { headers: upgrade })).status, 200, 'what curl --http2 sends');
  const socket = new WebSocket(`ws://127.0.0.1:${balancer.tidegate.admin!.port}/healthz`);
  const [error] = await once(socket, 'error');
  assert.match(String(error), /Unexpected server response/);
});

testEveryServer('whoever says too much, or anything but a token, is sent away', async (adminServer, context) => {
  const balancer = await startAdministered(context, { adminServer });
  const codeAfter = async (message: string | Buffer) => {
    const visitor = new Visitor(context, balancer);
    await once(visitor.socket, 'open');
    visitor.socket.send(message);
    return (await visitor.closed)[0];
  };
  assert.equal(await codeAfter('hello'), 1008);
  assert.notEqual(await codeAfter('x'.repeat(MESSAGE_BYTES_MAX + 1)), 1000);
  const needless = new Visitor(context, balancer);
  await once(needless.socket, 'open');
  needless.socket.send('{"token":"nobody asked for one"}');
  await waitFor('second status', () => needless.statuses().length === 2);
});

testEveryServer('so many sockets are served and no more', async (adminServer, context) => {
  const balancer = await startAdministered(context, { adminServer });
  const visitors = Array.from({ length: VISITORS_MAX }, () => new Visitor(context, balancer));
  await waitFor('status for all', () => visitors.every(({ messages }) => messages.length > 0));
  assert.equal(await new Visitor(context, balancer).answer(), 503);
  visitors[0]!.socket.close();
  await visitors[0]!.closed;
  await waitFor('room', async () => (await new Visitor(context, balancer).answer()) === 101);
});

testEveryServer('a stop ends the sockets with a word', async (adminServer, context) => {
  const balancer = await startAdministered(context, { adminServer });
  const visitor = new Visitor(context, balancer);
  await waitFor('status', () => visitor.messages.length > 0);
  const frozen = new Visitor(context, balancer);
  await once(frozen.socket, 'open');
  frozen.socket.pause(); // it doesn't answer the word
  const { port } = balancer.tidegate.admin!;
  await balancer.stop();
  assert.equal((await visitor.closed)[0], 1001);
  await assert.rejects(ask(port, '/healthz'), { code: 'ECONNREFUSED' });
});

// ---- Without a carrier -----------------------------------------------------------------------------------------------

function pretendPeer(waiting = 0): Peer & { said: string[] } {
  const said: string[] = [];
  return {
    said,
    send: (text) => void said.push(text),
    bytesWaiting: () => waiting,
    close: (code) => void said.push(`close ${code}`),
    drop: () => void said.push('drop'),
  };
}

test('the status is made once for all, and not at all while nobody listens', async (context) => {
  let made = 0;
  const listeners = new Set<(event: Event) => void>();
  const live = new Live({
    admit: () => undefined,
    isAuthorised: () => true,
    isToken: () => true,
    status: () => ({ made: ++made }),
    listen: (hear) => {
      listeners.add(hear);
      return () => void listeners.delete(hear);
    },
  });
  context.after(() => live.close());
  const head = { method: 'GET', path: LIVE_PATH, query: '', headers: new Map() };
  const peers = [pretendPeer(), pretendPeer(), pretendPeer()];
  const visits = peers.map((peer) => live.open(head, peer));
  assert.deepEqual([made, listeners.size], [3, 1], 'one greeting each');
  await waitFor('tick', () => peers[2]!.said.length === 2);
  assert.equal(made, 4);
  assert.equal(new Set(peers.map(({ said }) => said[1])).size, 1);
  const slow = pretendPeer(WAITING_BYTES_MAX + 1);
  live.open(head, slow);
  assert.deepEqual(slow.said, ['drop']);
  for (const { onClose } of visits) onClose();
  assert.equal(listeners.size, 0);
  await sleep(1200);
  assert.equal(made, 5, 'the last one was the greeting of the slow one');
});
