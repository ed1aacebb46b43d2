// npm run bench:micro: what one CONNECT, one hash, one look-up and one message's framing cost in WASM, each call made from JavaScript, beside
// mqtt-packet and what one would write in plain JavaScript. In the data plane the call across the border is not there.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import { generate, type Packet, parser } from 'mqtt-packet';
import { Bench } from 'tinybench';
import {
  CONNECT_BYTES,
  CONNECT_CLIENT_ID,
  CONNECT_CLIENT_ID_BYTES,
  HEADER_REGION_SCRATCH,
  NONE,
} from '../assembly/layout.ts';
import { createMemory, defaultSettings } from '../src/control/memory-map.ts';
import { createTable, parseConnect } from '../src/core.ts';
import { compileDataPlane, startDataPlane } from '../src/data-plane.ts';
import { regionOffset } from '../src/header.ts';
import { crc32Plain, findClientId, type Point, rendezvousPlain, ringLookUp, sipHashPlain } from './micro/plain.ts';

interface Core {
  heap_base(): number;
  parse_connect(bytes: number, length: number, packetBytesMax: number, out: number): number;
  hash_key(pool: number, bytes: number, length: number): bigint;
  table_lookup(pool: number, bytes: number, length: number, health: number): number;
}

const TIME_MS = 500;
/** A single call is shorter than the clock's step. */
const CALLS = 100;
const MEMBERS = 16;
const CROWD = 64;
const MEMORY_PAGES = 64;
const PACKET_BYTES_MAX = 65_536;

const members = addresses(MEMBERS);
const clientId = 'vehicle-4711-telemetry';
const packet = generate({
  cmd: 'connect',
  protocolId: 'MQTT',
  protocolVersion: 5,
  clean: false,
  clientId,
  keepalive: 60,
  username: 'fleet',
  password: Buffer.from('secret'),
  properties: { sessionExpiryInterval: 3600, receiveMaximum: 100 },
  will: { topic: 'vehicles/4711/state', payload: Buffer.from('offline'), qos: 1, retain: true },
});

const memory = new WebAssembly.Memory({ initial: MEMORY_PAGES });
const module = new WebAssembly.Module(readFileSync(new URL('../build/core.wasm', import.meta.url)));
const core = new WebAssembly.Instance(module, { env: { memory } }).exports as unknown as Core;
const bytes = new Uint8Array(memory.buffer);

// heap_base: found Connect | health of the members, all up | packet | key | the two tables
const found = core.heap_base();
const health = found + CONNECT_BYTES;
const packetAt = place(health + MEMBERS * 4, packet);
const key = Buffer.from(clientId);
const keyAt = place(packetAt + packet.length, key);
const rendezvous = createTable({ algorithm: 'rendezvous', members }).block();
const rendezvousAt = place(keyAt + key.length, rendezvous);
const ketama = createTable({ algorithm: 'ketama', members }).block();
const ketamaAt = place(rendezvousAt + rendezvous.length, ketama);

function addresses(count: number): { name: string }[] {
  return Array.from({ length: count }, (_, index) => ({ name: `10.0.0.${index + 1}:1883` }));
}

/** At the next multiple of 16, and returns where that is. */
function place(after: number, content: Uint8Array): number {
  const at = (after + 15) & ~15;
  bytes.set(content, at);
  return at;
}

let received: Packet | undefined;
const packets = parser();
packets.on('packet', (one) => (received = one));

const names = members.map(({ name }) => name);
const ring: Point[] = names
  .flatMap((_, member) =>
    Array.from({ length: 160 }, (_, point) => ({ hash: crc32(`${names[member]}-${point}`), member })),
  )
  .sort((a, b) => a.hash - b.hash);

checkAgreement();

await compare(`parse a CONNECT of MQTT 5.0, ${packet.length} bytes`, {
  'WASM (core.wasm)': () => core.parse_connect(packetAt, packet.length, PACKET_BYTES_MAX, found),
  'WASM, result as an object (tidegate/core)': () => parseConnect(packet),
  'mqtt-packet': () => packets.parse(packet),
  'plain JavaScript, only the ClientId, no checks': () => findClientId(packet),
});
await compare(`hash a key of ${key.length} bytes`, {
  'SipHash-2-4, WASM': () => core.hash_key(rendezvousAt, keyAt, key.length),
  'SipHash-2-4, plain JavaScript': () => sipHashPlain(key),
  'CRC-32, WASM': () => core.hash_key(ketamaAt, keyAt, key.length),
  'CRC-32, plain JavaScript': () => crc32Plain(key),
  'CRC-32, node:zlib': () => crc32(key),
});
await compare(`choose among ${MEMBERS} backends by a key of ${key.length} bytes`, {
  'rendezvous table, WASM': () => core.table_lookup(rendezvousAt, keyAt, key.length, health),
  'rendezvous, each backend scored, plain JavaScript': () => rendezvousPlain(key, names),
  'ketama ring, WASM': () => core.table_lookup(ketamaAt, keyAt, key.length, health),
  'ring of sorted points, plain JavaScript': () => ringLookUp(ring, crc32Plain(key)),
});
await compare(
  'build a rendezvous table of the default size',
  {
    [`${MEMBERS} backends`]: () => createTable({ algorithm: 'rendezvous', members }),
    [`${CROWD} backends`]: () => createTable({ algorithm: 'rendezvous', members: addresses(CROWD) }),
  },
  1,
);

const planeMemory = createMemory(defaultSettings(4, 1), 0, NONE);
const plane = startDataPlane(planeMemory, compileDataPlane());
const slot = plane.connectionOpen(0);
const message = generate({ cmd: 'publish', topic: 'a/b', payload: 'x'.repeat(57), qos: 0, dup: false, retain: false });
const acknowledgement = generate({ cmd: 'puback', messageId: 1 });
const acknowledgements = Buffer.concat(Array.from({ length: 16 }, () => acknowledgement));
const messageAt = regionOffset(planeMemory, HEADER_REGION_SCRATCH);
const acknowledgementsAt = messageAt + message.length;
new Uint8Array(planeMemory.buffer).set(Buffer.concat([message, acknowledgements]), messageAt);

await compare('follow where packets begin and end', {
  [`a message of ${message.length} bytes`]: () => plane.connectionFramed(slot, 0, messageAt, message.length),
  [`16 packets in ${acknowledgements.length} bytes`]: () =>
    plane.connectionFramed(slot, 0, acknowledgementsAt, acknowledgements.length),
  'nothing: what the call itself costs': () => plane.connectionFramed(slot, 0, messageAt, 0),
});

/** What is compared does the same work. */
function checkAgreement(): void {
  core.parse_connect(packetAt, packet.length, PACKET_BYTES_MAX, found);
  const view = new DataView(memory.buffer, found);
  const at = packetAt + view.getUint32(CONNECT_CLIENT_ID, true);
  const id = Buffer.from(bytes.slice(at, at + view.getUint32(CONNECT_CLIENT_ID_BYTES, true))).toString();
  packets.parse(packet);
  assert(received?.cmd === 'connect');
  assert.deepEqual([id, received.clientId, findClientId(packet)], [clientId, clientId, clientId]);
  assert.equal(BigInt.asUintN(64, core.hash_key(rendezvousAt, keyAt, key.length)), sipHashPlain(key));
  assert.equal(Number(core.hash_key(ketamaAt, keyAt, key.length)), crc32Plain(key));
  assert.equal(crc32Plain(key), crc32(key));
}

async function compare(title: string, tasks: Record<string, () => unknown>, calls = CALLS): Promise<void> {
  const bench = new Bench({ time: TIME_MS });
  for (const [name, task] of Object.entries(tasks)) bench.add(name, () => repeat(task, calls));
  await bench.run();
  process.stdout.write(`\n${title}\n`);
  for (const task of bench.tasks) process.stdout.write(`${describe(task, calls)}\n`);
}

function repeat(task: () => unknown, calls: number): void {
  for (let call = 0; call < calls; call++) task();
}

function describe({ name, result }: Bench['tasks'][number], calls: number): string {
  if (result.state !== 'completed') return `  ${name}: ${result.state}`;
  const nanoseconds = ((result.latency.p50 * 1e6) / calls).toFixed(0);
  return `  ${name.padEnd(52)} ${nanoseconds.padStart(8)} ns`;
}
