// Who a client is, as fronts say it in a PROXY header and as backends are told.
import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import type { TestContext } from 'node:test';
import { echo, startBackend } from '../tools/backends.ts';
import { startBalancer, untilHealth } from '../tools/balancer.ts';
import { connectClient, nextBytes } from '../tools/client.ts';
import { testEveryEngine } from '../tools/engines.ts';
import { exchange } from '../tools/exchange.ts';
import { connackPacket, connectPacket } from '../tools/packets.ts';
import {
  binaryHeader,
  type Header,
  LOCAL,
  readHeader,
  SIGNATURE,
  textHeader,
  tlv,
  UNIQUE_ID,
  UNKNOWN,
} from '../tools/proxy-headers.ts';

const SOURCE = { host: '192.0.2.77', port: 40_001 };
const DESTINATION = { host: '198.51.100.5', port: 1883 };
const SOURCE6 = { host: '2001:db8::77', port: 40_002 };
const DESTINATION6 = { host: '2001:db8::5', port: 8883 };
const FROM_HERE = { proxy_protocol: { from: ['127.0.0.1'] } };
const CONNECT = connectPacket({ clientId: 'fronted' });
const PLAIN_BYTES = connectPacket().length;

interface Visit {
  header: Header;
  /** What came with the header. */
  rest: Buffer;
}

/** A broker behind a PROXY header: it keeps what came first, in one piece, answers CONNACK, and sends back what follows. */
async function startReceiver(context: TestContext) {
  const visits: Visit[] = [];
  const receive = (socket: Socket) => {
    socket.on('error', () => {});
    socket.on('end', () => socket.end());
    socket.once('data', (first: Buffer) => {
      const header = readHeader(first);
      visits.push({ header, rest: first.subarray(header.bytes) });
      socket.write(connackPacket(4));
      socket.on('data', (bytes: Buffer) => socket.write(bytes));
    });
  };
  return { ...(await startBackend(context, receive)), visits };
}

for (const version of ['v1', 'v2'] as const) {
  testEveryEngine(
    `tells a backend in ${version} who its client is, in one piece with CONNECT`,
    async (engine, context) => {
      const backend = await startReceiver(context);
      const pool = { proxy_protocol: version };
      const balancer = await startBalancer(context, { engine, backends: [backend.address], pool });
      const client = await connectClient(balancer.port);
      assert.deepEqual(client.connack, connackPacket(4));
      const [visit] = backend.visits;
      assert.equal(`v${visit!.header.version}`, version);
      assert.deepEqual(visit!.header.source, { host: '127.0.0.1', port: client.socket.localPort });
      assert.deepEqual(visit!.header.destination, { host: '127.0.0.1', port: balancer.port });
      assert.deepEqual(visit!.rest, connectPacket());
      client.socket.write('x'.repeat(20_000));
      let echoed = 0;
      while (echoed < 20_000) echoed += (await nextBytes(client.socket)).length;
      client.socket.destroy();
      const [record] = await balancer.records(1);
      const { bytes_from_client, bytes_to_client } = record!;
      assert.deepEqual([bytes_from_client, bytes_to_client], [PLAIN_BYTES + 20_000, 20_004], 'the header is nobody’s');
    },
  );

  testEveryEngine(`tells it in ${version} with a CONNECT of 60,000 bytes`, async (engine, context) => {
    const backend = await startReceiver(context);
    const pool = { proxy_protocol: version };
    const balancer = await startBalancer(context, { engine, backends: [backend.address], pool });
    const connect = connectPacket({ username: 'u'.repeat(60_000) });
    const socket = balancer.connect();
    socket.write(connect);
    let reply = await nextBytes(socket);
    const { rest } = backend.visits[0]!;
    while (reply.length < 4 + connect.length - rest.length) reply = Buffer.concat([reply, await nextBytes(socket)]);
    assert.deepEqual(Buffer.concat([rest, reply.subarray(4)]), connect);
    socket.destroy();
  });

  testEveryEngine(`tells the next candidate in ${version} after one that refuses`, async (engine, context) => {
    const [gone, backend] = [await startReceiver(context), await startReceiver(context)];
    await gone.stop();
    const backends = [gone, backend].map(({ address }) => address);
    const pool = { proxy_protocol: version };
    const balancer = await startBalancer(context, { engine, backends, method: 'round_robin', pool });
    const clients = await Promise.all([1, 2, 3, 4].map(() => connectClient(balancer.port)));
    for (const { connack, socket } of clients) {
      assert.deepEqual(connack, connackPacket(4));
      socket.destroy();
    }
    assert.deepEqual(
      backend.visits.map(({ rest }) => rest),
      clients.map(() => connectPacket()),
    );
    const records = await balancer.records(4);
    assert.ok(records.some(({ attempts }) => attempts === 2));
  });
}

testEveryEngine('gives each connection a unique id', async (engine, context) => {
  const backend = await startReceiver(context);
  const balancer = await startBalancer(context, {
    engine,
    backends: [backend.address],
    pool: { proxy_protocol: 'v2' },
  });
  for (let count = 0; count < 20; count++) (await connectClient(balancer.port)).socket.destroy();
  const ids = backend.visits.map(({ header }) => header.tlvs.get(UNIQUE_ID)!.toString());
  assert.equal(new Set(ids).size, 20);
  for (const id of ids) assert.match(id, /^[0-9a-f]{32}$/);
});

testEveryEngine('tells of IPv4 and IPv6 clients in their own family', async (engine, context) => {
  for (const host of ['127.0.0.1', '::1']) {
    const bind = host === '::1' ? '[::]:0' : '0.0.0.0:0';
    const backend = await startReceiver(context);
    const backends = [backend.address];
    const balancer = await startBalancer(context, { engine, bind, backends, pool: { proxy_protocol: 'v2' } });
    const socket = connect({ host, port: balancer.port });
    await exchange(socket, [connectPacket()], { replyBytes: 4 });
    const { source, destination } = backend.visits[0]!.header;
    assert.equal(source.host, host);
    // Only the portable engine's sockets tell which address of the machine was meant.
    assert.equal(destination.host, engine === 'portable' ? host : bind.replace(/\[|\]|:0$/g, ''));
    assert.equal(destination.port, balancer.port);
  }
});

testEveryEngine('has probes say who they are', async (engine, context) => {
  for (const version of ['v1', 'v2'] as const) {
    const backend = await startReceiver(context);
    const balancer = await startBalancer(context, {
      engine,
      backends: [backend.address],
      health: { type: 'mqtt', interval: '100ms', initial: 'down' },
      pool: { proxy_protocol: version },
    });
    await untilHealth(balancer, backend.address, 'up');
    const { header, rest } = backend.visits[0]!;
    assert.equal(`v${header.version}`, version);
    assert.equal(header.source.host, '127.0.0.1');
    assert.equal(`${header.destination.host}:${header.destination.port}`, backend.address);
    assert.match(rest.toString('latin1'), /tidegate-health/);
    await balancer.stop();
  }
});

testEveryEngine('has probes of another port say nothing of it', async (engine, context) => {
  const backend = await startReceiver(context);
  const other = await startBackend(context, echo);
  const balancer = await startBalancer(context, {
    engine,
    backends: [{ address: backend.address, health_port: Number(other.address.split(':')[1]) }],
    health: { type: 'mqtt', interval: '100ms', initial: 'down' },
    pool: { proxy_protocol: 'v2' },
  });
  await untilHealth(balancer, backend.address, 'up');
  assert.equal(backend.visits.length, 0);
});

// ---- Behind a front --------------------------------------------------------------------------------------------------

const heads: [name: string, header: Buffer, source: typeof SOURCE][] = [
  ['v1', textHeader(SOURCE, DESTINATION), SOURCE],
  ['v1 with IPv6', textHeader(SOURCE6, DESTINATION6), SOURCE6],
  ['v1 with IPv4 in IPv6', Buffer.from('PROXY TCP6 ::ffff:192.0.2.77 ::ffff:198.51.100.5 40001 1883\r\n'), SOURCE],
  ['v2', binaryHeader({ source: SOURCE, destination: DESTINATION }), SOURCE],
  [
    'v2 with IPv6, TLVs and a checksum',
    binaryHeader({
      source: SOURCE6,
      destination: DESTINATION6,
      tlvs: [
        [UNIQUE_ID, Buffer.from('abc')],
        [0x20, Buffer.alloc(600, 7)],
      ],
      checksum: true,
    }),
    SOURCE6,
  ],
];

testEveryEngine(
  'knows a client by the address in its header, in whatever pieces that comes',
  async (engine, context) => {
    const backend = await startReceiver(context);
    const balancer = await startBalancer(context, {
      engine,
      backends: [backend.address],
      listener: FROM_HERE,
      pool: { proxy_protocol: 'v2' },
    });
    let count = 0;
    for (const [name, header, source] of heads) {
      for (const pieces of cuts(header)) {
        const reply = await exchange(balancer.connect(), pieces, { gapMs: 1, replyBytes: 4 });
        assert.deepEqual(reply.bytes, connackPacket(4), name);
        const record = (await balancer.records(++count)).at(-1)!;
        assert.deepEqual([record.remote_addr, record.remote_port], [source.host, source.port], name);
        assert.deepEqual([record.client_id, record.bytes_from_client], ['fronted', CONNECT.length], name);
        const visit = backend.visits.at(-1)!;
        assert.deepEqual([visit.header.source, visit.rest], [source, CONNECT], name);
      }
    }
  },
);

/** In one piece with CONNECT, alone before it, cut within it, with half of CONNECT behind it, and byte by byte. */
function cuts(header: Buffer): Buffer[][] {
  const all = Buffer.concat([header, CONNECT]);
  const at = (...places: number[]) => [0, ...places].map((from, index) => all.subarray(from, places[index]));
  return [
    at(),
    at(header.length),
    at(5, 14),
    at(header.length - 1),
    at(header.length + 3),
    at(20, header.length + 5),
    at(...Array.from({ length: Math.min(header.length + 4, 130) }, (_, index) => index + 1)),
  ];
}

testEveryEngine('keeps the address of a front that speaks for nobody', async (engine, context) => {
  const backend = await startBackend(context, echo);
  const balancer = await startBalancer(context, { engine, backends: [backend.address], listener: FROM_HERE });
  const local = Buffer.concat([SIGNATURE, Buffer.of(0x20, 0x11, 0, 12), Buffer.alloc(12, 9)]);
  const unspecified = Buffer.concat([SIGNATURE, Buffer.of(0x21, 0, 0, 4), Buffer.alloc(4, 9)]);
  for (const [index, header] of [LOCAL, UNKNOWN, local, unspecified].entries()) {
    const reply = await exchange(balancer.connect(), [Buffer.concat([header, CONNECT])], { replyBytes: 4 });
    assert.deepEqual(reply.bytes, connackPacket(4));
    const record = (await balancer.records(index + 1)).at(-1)!;
    assert.equal(record.remote_addr, '127.0.0.1');
  }
});

testEveryEngine('closes whoever is no front, whatever he says', async (engine, context) => {
  const backend = await startBackend(context, echo);
  const balancer = await startBalancer(context, { engine, backends: [backend.address], listener: FROM_HERE });
  for (const bytes of [CONNECT, Buffer.concat([textHeader(SOURCE, DESTINATION), CONNECT])]) {
    const reply = await exchange(balancer.connect('127.0.0.2'), [bytes]);
    assert.equal(reply.bytes.length, 0);
  }
  for (const record of await balancer.records(2)) {
    assert.deepEqual([record.reason, record.status, record.remote_addr], ['proxy_source', 403, '127.0.0.2']);
  }
  assert.equal(backend.connections, 0);
  assert.equal(balancer.tidegate.status().counters.proxy_source, 2);
});

testEveryEngine('takes clients from every network that is listed', async (engine, context) => {
  const backend = await startBackend(context, echo);
  const listener = { proxy_protocol: { from: ['10.0.0.0/8', '2001:db8::/32', '127.0.0.8/29'] } };
  const balancer = await startBalancer(context, { engine, backends: [backend.address], listener });
  const comesFrom = async (localAddress: string) => {
    const socket = connect({ host: '127.0.0.1', port: balancer.port, localAddress });
    const { bytes } = await exchange(socket, [Buffer.concat([LOCAL, CONNECT])], { replyBytes: 4 });
    return bytes.length > 0;
  };
  assert.deepEqual(await Promise.all(['127.0.0.8', '127.0.0.15'].map(comesFrom)), [true, true]);
  assert.deepEqual(await Promise.all(['127.0.0.7', '127.0.0.16', '127.0.0.1'].map(comesFrom)), [false, false, false]);
});

testEveryEngine('closes a front that sends no header, or a malformed one, at once', async (engine, context) => {
  const backend = await startBackend(context, echo);
  const balancer = await startBalancer(context, { engine, backends: [backend.address], listener: FROM_HERE });
  const sound = binaryHeader({ source: SOURCE, destination: DESTINATION, checksum: true });
  const changed = (at: number, byte: number) => Buffer.from(sound.with(at, byte));
  const malformed = [
    CONNECT,
    Buffer.from('GET / HTTP/1.1\r\n'),
    Buffer.from('PROXY TCP4 192.0.2.1 192.0.2.300 1 2\r\n'),
    Buffer.from('PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n'),
    Buffer.from(`PROXY ${'x'.repeat(120)}`),
    changed(12, 0x31), // another version
    changed(12, 0x22), // another command
    changed(13, 0x12), // UDP
    changed(15, 11), // shorter than its addresses
    changed(14, 0xff), // longer than any
    changed(20, 1), // the checksum is another one
    Buffer.concat([
      Buffer.from(binaryHeader({ source: SOURCE, destination: DESTINATION }).with(15, 14)),
      tlv(4, Buffer.of()),
    ]),
  ];
  for (const [index, bytes] of malformed.entries()) {
    const reply = await exchange(balancer.connect(), [bytes]);
    assert.equal(reply.bytes.length, 0);
    const record = (await balancer.records(index + 1)).at(-1)!;
    assert.deepEqual([record.reason, record.status], ['proxy_header', 400], bytes.toString('latin1'));
  }
  assert.equal(backend.connections, 0);
  assert.equal(balancer.tidegate.status().counters.proxy_header, malformed.length);
});

testEveryEngine('gives header and CONNECT one time together', async (engine, context) => {
  const backend = await startBackend(context, echo);
  const listener = FROM_HERE;
  const balancer = await startBalancer(context, {
    engine,
    backends: [backend.address],
    connectTimeout: '400ms',
    listener,
  });
  const header = textHeader(SOURCE, DESTINATION);
  const bytes = Array.from(Buffer.concat([header, CONNECT]), (_, at) =>
    Buffer.concat([header, CONNECT]).subarray(at, at + 1),
  );
  await exchange(balancer.connect(), bytes, { gapMs: 20 });
  const [record] = await balancer.records(1);
  assert.equal(record!.reason, 'connect_timeout');
  assert.equal(backend.connections, 0);
});

testEveryEngine('hashes the address in the header', async (engine, context) => {
  const backends = await Promise.all([1, 2, 3].map(() => startReceiver(context)));
  const balancer = await startBalancer(context, {
    engine,
    backends: backends.map(({ address }) => address),
    listener: FROM_HERE,
    pool: { proxy_protocol: 'v2', balance: { method: 'hash', key: 'remote_addr' } },
  });
  for (let round = 0; round < 2; round++) {
    for (let host = 1; host <= 20; host++) {
      const header = textHeader({ host: `192.0.2.${host}`, port: 1000 + round }, DESTINATION);
      await exchange(balancer.connect(), [Buffer.concat([header, CONNECT])], { replyBytes: 4 });
    }
  }
  const homes = new Map<string, Set<string>>();
  for (const { remote_addr, backend } of await balancer.records(40)) {
    homes.set(remote_addr, (homes.get(remote_addr) ?? new Set()).add(backend));
  }
  assert.equal(homes.size, 20);
  for (const home of homes.values()) assert.equal(home.size, 1);
  assert.ok(backends.every(({ visits }) => visits.length > 0));
});

testEveryEngine(
  'limits each source by the address in the header, and finds its connections by it',
  async (engine, context) => {
    const backend = await startReceiver(context);
    const balancer = await startBalancer(context, {
      engine,
      backends: [backend.address],
      listener: { ...FROM_HERE, max_connections_per_source: 2 },
      pool: { proxy_protocol: 'v1' },
    });
    const come = async (host: string) => {
      const socket = balancer.connect();
      socket.write(Buffer.concat([textHeader({ host, port: 5000 }, DESTINATION), CONNECT]));
      return { socket, answer: await nextBytes(socket) };
    };
    const clients = [
      await come('192.0.2.1'),
      await come('192.0.2.1'),
      await come('192.0.2.1'),
      await come('192.0.2.2'),
    ];
    assert.deepEqual(
      clients.map(({ answer }) => answer[3]),
      [0, 0, undefined, 0],
    );
    for (const { socket } of clients) socket.destroy();
    assert.ok((await balancer.records(4)).some(({ reason }) => reason === 'source_connections'));
  },
);
