// How a connection is left that the main thread wants gone: between two packets of both directions, on every engine.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { describe, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { generate, type Packet, parser } from 'mqtt-packet';
import { EVICTION_ABRUPT, EVICTION_GOODBYE, REASON_KICKED } from '../../assembly/layout.ts';
import type { EngineName } from '../../src/index.ts';
import { startBackend } from '../tools/backends.ts';
import { type Balancer, startBalancer } from '../tools/balancer.ts';
import { testEngine, testEveryEngine } from '../tools/engines.ts';
import { evictAll } from '../tools/evict.ts';
import {
  type ConnectOptions,
  connackPacket,
  connectPacket,
  firstPacket,
  levelOf,
  splitPackets,
} from '../tools/packets.ts';
import { waitFor } from '../tools/wait.ts';

const REFERENCE = 'other.example:1883';
const DISCONNECT = Buffer.of(0xe0, 0);
/** Odd on purpose: pieces end anywhere in a packet. */
const PIECE_BYTES = 997;

/** One end of a connection, and all that it was sent. */
interface End {
  socket: Socket;
  bytes: Buffer[];
  /** FIN came, or a reset. */
  ended: Promise<'end' | 'reset'>;
}

interface Pair {
  balancer: Balancer;
  client: End;
  broker: End;
}

describe('an evicted connection', { concurrency: 3 }, () => {
  testEveryEngine('sends a client of MQTT 5.0 to another server, and takes leave of its broker', async (engine, t) => {
    const { balancer, client, broker } = await connectPair(engine, t, { version: 5 }, { server_reference: REFERENCE });
    assert.equal(evictAll(balancer, { code: 0x9c, reference: true, flags: EVICTION_GOODBYE }), 1);
    assert.equal(await client.ended, 'end');
    assert.equal(await broker.ended, 'end');
    const said = parsed(client).at(-1);
    assert.ok(said?.cmd === 'disconnect');
    assert.deepEqual([said.reasonCode, said.properties], [0x9c, { serverReference: REFERENCE }]);
    assert.deepEqual(packetsOf(broker).at(-1), DISCONNECT);
    const [record] = await balancer.records(1);
    assert.deepEqual([record?.reason, record?.status], ['drained', 200]);
    assert.equal(record?.bytes_to_client, Buffer.concat(client.bytes).length);
  });

  testEveryEngine(
    'names a long reference too, but none to a client that takes no packet so long',
    async (engine, t) => {
      const serverReference = 'r'.repeat(255);
      for (const maximumPacketSize of [264, 263]) {
        const drain = { server_reference: serverReference };
        const { balancer, client } = await connectPair(engine, t, { version: 5, maximumPacketSize }, drain);
        evictAll(balancer, { code: 0x9c, reference: true });
        await client.ended;
        const said = parsed(client).at(-1);
        assert.ok(said?.cmd === 'disconnect' && said.reasonCode === 0x9c);
        assert.equal(said.properties?.serverReference, maximumPacketSize === 264 ? serverReference : undefined);
        await balancer.stop();
      }
    },
  );

  testEveryEngine('says "server shutting down" where no other server is named', async (engine, t) => {
    const { balancer, client } = await connectPair(engine, t, { version: 5 });
    evictAll(balancer, { code: 0x8b, reference: true });
    assert.equal(await client.ended, 'end');
    assert.deepEqual(packetsOf(client).at(-1), Buffer.of(0xe0, 2, 0x8b, 0));
  });

  for (const version of [4, 5] as const) {
    testEveryEngine(
      `cuts no packet of a flow that runs both ways in odd pieces, version ${version}`,
      async (engine, t) => {
        for (let round = 0; round < 3; round++) {
          const { balancer, client, broker } = await connectPair(engine, t, { version });
          const flows = [flow(client.socket), flow(broker.socket)];
          const flowed = ({ bytes }: End) => bytes.reduce((sum, { length }) => sum + length, 0) > 100_000;
          await waitFor('a flow both ways', () => flowed(client) && flowed(broker));
          assert.equal(evictAll(balancer, { flags: EVICTION_GOODBYE }), 1);
          const [clientEnd] = await Promise.all([client.ended, broker.ended]);
          for (const stop of flows) stop();
          assert.equal(clientEnd, 'end');
          const toBroker = packetsOf(broker);
          assert.deepEqual(toBroker.at(-1), DISCONNECT);
          assertInOrder(toBroker.slice(0, -1));
          const toClient = packetsOf(client);
          assertInOrder(toClient.slice(1, version === 5 ? -1 : undefined));
          if (version === 5) assert.deepEqual(toClient.at(-1), Buffer.of(0xe0, 2, 0x8b, 0));
          assert.equal((await balancer.records(1))[0]?.reason, 'drained');
          await balancer.stop();
        }
      },
    );
  }

  testEveryEngine(
    'waits for the end of the packet that a side is in, and passes nothing on behind it',
    async (engine, t) => {
      const { balancer, client, broker } = await connectPair(engine, t, { version: 4 });
      const [begun, next] = [publish(1), publish(2)];
      client.socket.write(begun.subarray(0, 100));
      await waitFor('the beginning of a packet', () => Buffer.concat(broker.bytes).length === 100);
      evictAll(balancer, { flags: EVICTION_GOODBYE });
      await sleep(200);
      assert.equal(broker.socket.readableEnded || client.socket.readableEnded, false);
      client.socket.write(Buffer.concat([begun.subarray(100), next]));
      assert.equal(await broker.ended, 'end');
      assert.deepEqual(Buffer.concat(broker.bytes), Buffer.concat([begun, DISCONNECT]));
      assert.equal(await client.ended, 'end');
    },
  );

  // The portable engine doesn't read as far as FIN while bytes wait.
  testEngine(
    'uring',
    'is not taken leave of in the name of a client that has gone without a word, though its bytes still wait',
    async (engine, t) => {
      const { balancer, client, broker } = await connectPair(engine, t, { version: 5 });
      broker.socket.pause();
      // As much as fits on the way, so that the last of it waits in the balancer.
      const filler = publish(1499);
      for (let isFull = false; !isFull; ) {
        for (let count = 0; count < 5; count++) client.socket.write(filler);
        await sleep(10);
        isFull = balancer.tidegate.status().counters.buffersHeld! > 0 || client.socket.writableLength > 0;
      }
      client.socket.end();
      await sleep(100);
      assert.equal(evictAll(balancer, { flags: EVICTION_GOODBYE }), 1);
      await sleep(50); // it is leaving before the broker reads on
      broker.socket.resume();
      await Promise.all([client.ended, broker.ended]);
      const packets = packetsOf(broker);
      assert.equal(packets.length * filler.length, Buffer.concat(broker.bytes).length);
      assert.ok(packets.every((packet) => packet.equals(filler)));
    },
  );

  testEveryEngine('leaves the will to the broker when it was kicked without a goodbye', async (engine, t) => {
    const { balancer, client, broker } = await connectPair(engine, t, { version: 5 });
    evictAll(balancer, { reason: REASON_KICKED, code: 0x98 });
    await Promise.all([client.ended, broker.ended]);
    assert.deepEqual(packetsOf(client).at(-1), Buffer.of(0xe0, 2, 0x98, 0));
    assert.deepEqual(broker.bytes, []);
    assert.equal((await balancer.records(1))[0]?.reason, 'kicked');
  });

  testEveryEngine(
    'is left at once when its backend is dead, with a last word for who understands it',
    async (engine, t) => {
      for (const version of [4, 5] as const) {
        const { balancer, client, broker } = await connectPair(engine, t, { version });
        client.socket.write(publish(1).subarray(0, 100)); // which will never be whole
        await waitFor('the beginning of a packet', () => Buffer.concat(broker.bytes).length === 100);
        evictAll(balancer, { flags: EVICTION_ABRUPT });
        await client.ended;
        assert.deepEqual(packetsOf(client).slice(1), version === 5 ? [Buffer.of(0xe0, 2, 0x8b, 0)] : []);
        assert.equal((await balancer.records(1))[0]?.reason, 'drained');
        await balancer.stop();
      }
    },
  );

  testEveryEngine('is another one when the slot has begun another life', async (engine, t) => {
    const { balancer, client, broker } = await connectPair(engine, t, { version: 5 });
    assert.equal(evictAll(balancer, {}, 1), 1);
    await sleep(200);
    client.socket.write(publish(1));
    await waitFor('a connection that goes on', () => broker.bytes.length > 0);
  });

  testEveryEngine('is cut anywhere when its packets are not followed', async (engine, t) => {
    const { balancer, client, broker } = await connectPair(engine, t, { version: 5 }, { packets: false });
    client.socket.write(publish(1).subarray(0, 100));
    await waitFor('the beginning of a packet', () => Buffer.concat(broker.bytes).length === 100);
    evictAll(balancer, { flags: EVICTION_GOODBYE });
    await Promise.all([client.ended, broker.ended]);
    assert.equal(packetsOf(client).length, 1);
    assert.equal(Buffer.concat(broker.bytes).length, 100);
  });
});

/** A client that has its CONNACK, and the other end of its connection. The broker keeps no CONNECT. */
async function connectPair(
  engine: EngineName,
  context: TestContext,
  connect: ConnectOptions,
  drain = {},
): Promise<Pair> {
  let accept: (end: End) => void = () => {};
  const accepted = new Promise<End>((resolve) => {
    accept = resolve;
  });
  const backend = await startBackend(context, async (socket) => {
    const packet = await firstPacket(socket);
    if (packet === undefined) return;
    socket.write(connackPacket(levelOf(packet)));
    accept(collect(socket));
  });
  const balancer = await startBalancer(context, { engine, backends: [backend.address], drain });
  const socket = balancer.connect();
  const client = collect(socket);
  socket.write(connectPacket(connect));
  await waitFor('a CONNACK', () => client.bytes.length > 0);
  return { balancer, client, broker: await accepted };
}

/** Everything that comes; answers FIN with FIN. */
function collect(socket: Socket): End {
  const bytes: Buffer[] = [];
  const ended = new Promise<'end' | 'reset'>((resolve) => {
    socket.on('error', () => resolve('reset'));
    socket.on('end', () => {
      resolve('end');
      socket.end();
    });
  });
  socket.on('data', (piece: Buffer) => bytes.push(piece)).resume();
  return { socket, bytes, ended };
}

/** Publishes, numbered, until it is stopped or the connection ends. Returns what stops it. */
function flow(socket: Socket): () => void {
  let left = Buffer.alloc(0);
  let number = 0;
  const timer = setInterval(() => {
    while (socket.writable && !socket.writableNeedDrain && left.length < 20 * PIECE_BYTES) {
      left = Buffer.concat([left, publish(number++)]);
    }
    while (left.length > 0 && socket.writable && !socket.writableNeedDrain) {
      socket.write(left.subarray(0, PIECE_BYTES));
      left = left.subarray(PIECE_BYTES);
    }
  }, 1);
  const stop = () => clearInterval(timer);
  once(socket, 'close').then(stop, stop);
  return stop;
}

/** Its payload is its number, again and again: from a few bytes to some thousand. */
function publish(number: number): Buffer {
  const payload = Buffer.alloc(4 * (1 + ((number * 379) % 1500)));
  for (let at = 0; at < payload.length; at += 4) payload.writeUInt32LE(number, at);
  return generate({ cmd: 'publish', topic: 'flow', payload, qos: 0, dup: false, retain: false });
}

function assertInOrder(packets: readonly Buffer[]): void {
  for (const [number, packet] of packets.entries()) assert.ok(packet.equals(publish(number)), `packet ${number}`);
}

function packetsOf({ bytes }: End): Buffer[] {
  const { packets, rest } = splitPackets(Buffer.concat(bytes));
  assert.equal(rest.length, 0, 'a packet was cut');
  return packets;
}

function parsed(end: End): Packet[] {
  const packets: Packet[] = [];
  const reader = parser({ protocolVersion: 5 });
  reader.on('packet', (packet) => packets.push(packet));
  reader.parse(Buffer.concat(end.bytes));
  return packets;
}
