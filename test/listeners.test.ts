import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { test } from 'node:test';
import { closeListeners, type ListenerGroup, openListeners } from '../src/control/listeners.ts';
import type { TidegateError } from '../src/errors.ts';
import { close, decodeSockaddr, dup, getsockname } from '../src/system/libc.ts';

const listener = (host: string, port: number, name = 'mqtt') => {
  return {
    name,
    bind: { host, port },
    pool: 'brokers',
    connectTimeoutMs: 1000,
    keepAliveFactor: 1.5,
    idleTimeoutMs: 0,
    maxConnections: 0,
    maxConnectionsPerSource: 0,
    connectRatePerSource: { rate: 0, burst: 0 },
    sourcePrefix: { ipv4: 32, ipv6: 64 },
    maxHalfOpen: 0,
    takeOverLoop: null,
    tls: null,
    webSocket: null,
    isDetecting: false,
    passThrough: null,
    leadsToTls: false,
    proxyProtocolFrom: [],
    allow: [],
    deny: [],
    identity: null,
    hook: null,
  };
};

async function withListeners(
  settings: ReturnType<typeof listener>[],
  workers: number,
  use: (groups: ListenerGroup[]) => Promise<void> | void,
): Promise<void> {
  const groups = await openListeners(settings, workers);
  try {
    await use(groups);
  } finally {
    closeListeners(groups);
  }
}

async function serve(fd: number, onConnection: () => void): Promise<Server> {
  const server = createServer((socket) => {
    onConnection();
    socket.end();
  });
  await once(server.listen({ fd }), 'listening');
  return server;
}

async function visit(host: string, port: number): Promise<void> {
  const socket = connect({ host, port });
  await once(socket.resume(), 'close');
}

test('every worker gets a socket of its own on the same port, IPv4 and IPv6, and the kernel uses them all', async () => {
  await withListeners([listener('127.0.0.1', 0, 'four'), listener('::1', 0, 'six')], 3, async (groups) => {
    for (const { host, port, fds } of groups) {
      assert.equal(new Set(fds).size, 3);
      for (const fd of fds) assert.deepEqual(decodeSockaddr(getsockname(fd)), { host, port });
      const served = [0, 0, 0];
      const servers = await Promise.all(fds.map((fd, index) => serve(dup(fd), () => served[index]!++)));
      await Promise.all(Array.from({ length: 60 }, () => visit(host, port)));
      for (const server of servers) server.close();
      assert.equal(
        served.reduce((sum, count) => sum + count),
        60,
      );
      assert.ok(
        served.every((count) => count > 0),
        `${served}`,
      );
    }
  });
});

test('a connection waits in the queue while nobody serves the socket, and the next one to serve it gets it', async () => {
  await withListeners([listener('127.0.0.1', 0)], 1, async ([group]) => {
    const first = await serve(dup(group!.fds[0]!), () => {});
    first.close();
    const waiting = visit('127.0.0.1', group!.port);
    const second = await serve(dup(group!.fds[0]!), () => {});
    await waiting;
    second.close();
  });
});

test('a port that somebody else listens on is refused with what to do, even when they share ports too', async () => {
  const other = createServer().listen({ port: 0, host: '127.0.0.1' });
  await once(other, 'listening');
  const { port } = other.address() as AddressInfo;
  const isTaken = (error: TidegateError) => {
    assert.equal(error.code, 'EADDRINUSE');
    assert.equal(error.exitCode, 2);
    assert.match(error.message, /127\.0\.0\.1:\d+.*taken/);
    return true;
  };
  await assert.rejects(openListeners([listener('127.0.0.1', port)], 2), isTaken);
  other.close();
  await withListeners([listener('127.0.0.1', 0)], 2, async ([group]) => {
    await assert.rejects(openListeners([listener('127.0.0.1', group!.port)], 2), isTaken);
  });
});

test("an address that this machine doesn't have is refused with what to do", async () => {
  await assert.rejects(openListeners([listener('192.0.2.1', 1883)], 1), (error: TidegateError) => {
    return error.code === 'EADDRNOTAVAIL' && /192\.0\.2\.1:1883/.test(error.message) && error.exitCode === 2;
  });
});

test('a failure closes what was opened before it', async () => {
  const before = dup(1);
  close(before);
  await assert.rejects(openListeners([listener('127.0.0.1', 0), listener('192.0.2.1', 1883)], 4));
  const after = dup(1);
  close(after);
  assert.equal(after, before, 'the lowest free descriptor is the same');
});
