// The WebSocket front door, over a pair of streams in memory: messages in any frames and any pieces, with control
// frames between them, with lies in them and damaged at random. What comes out must be what a plain reader of the whole
// finds, and the answers and the code of the close must be the ones that it asks for; what the door is given to write
// comes back whole.
import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { type Duplex, duplexPair } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import fc from 'fast-check';
import { WebSocketDoor } from '../../src/front/websocket.ts';
import { damaged, type Variant, variant } from './damage.ts';
import {
  BINARY,
  CLOSE,
  CONTINUATION,
  encodeFrame,
  type Frame,
  PING,
  PONG,
  type Reading,
  readFrames,
  TEXT,
} from './frames.ts';
import { Tally, type Target } from './target.ts';

const MESSAGE_BYTES_MAX = 1024;
/** Of the event loop, for everything to arrive. */
const TURNS_MAX = 200;
const REQUEST =
  'GET /mqtt HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n' +
  'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n';
const tally = new Tally();

const mask = fc.uint8Array({ minLength: 4, maxLength: 4 });
const control: fc.Arbitrary<Frame> = fc.record({
  opcode: fc.constantFrom(PING, PONG),
  payload: fc.uint8Array({ maxLength: 125 }),
  mask,
});
const lie: fc.Arbitrary<Frame> = fc.oneof(
  fc.record({ opcode: fc.constantFrom(BINARY, PING), payload: fc.uint8Array({ maxLength: 5 }) }),
  fc.record({
    opcode: fc.nat(15),
    payload: fc.uint8Array({ maxLength: 5 }),
    mask,
    reserved: fc.constantFrom(0x10, 0x20, 0x40, 0x70),
  }),
  fc.record({
    opcode: fc.integer({ min: 3, max: 15 }),
    payload: fc.uint8Array({ maxLength: 5 }),
    mask,
    isLast: fc.boolean(),
  }),
  fc.record({
    opcode: fc.constantFrom(PING, PONG, CLOSE),
    payload: fc.uint8Array({ minLength: 126, maxLength: 130 }),
    mask,
  }),
  fc.record({
    opcode: fc.constantFrom(BINARY, TEXT, CONTINUATION),
    payload: fc.uint8Array({ maxLength: 5 }),
    mask,
    length: fc.constantFrom(1025n, 65536n, 2n ** 32n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n),
  }),
  fc.record({
    opcode: fc.constantFrom(CONTINUATION, TEXT, BINARY),
    payload: fc.uint8Array({ maxLength: 20 }),
    mask,
    isLast: fc.boolean(),
  }),
  fc.record({
    opcode: fc.constant(CLOSE),
    payload: fc.oneof(fc.uint8Array({ maxLength: 10 }), fc.constant(Buffer.of(3, 232))),
    mask,
  }),
);

interface Message {
  parts: [payload: Uint8Array, mask: Uint8Array, lengthBytes: 0 | 2 | 8][];
  controls: Frame[];
}

const message: fc.Arbitrary<Message> = fc.record({
  parts: fc.array(
    fc.tuple(
      fc.oneof(fc.uint8Array({ maxLength: 20 }), fc.uint8Array({ minLength: 120, maxLength: 300, size: 'max' })),
      mask,
      fc.constantFrom(0, 0, 0, 2, 8),
    ) as fc.Arbitrary<Message['parts'][number]>,
    { minLength: 1, maxLength: 4 },
  ),
  controls: fc.array(control, { maxLength: 2 }),
});

function framesOf({ parts, controls }: Message): Frame[] {
  return parts.flatMap(([payload, mask, lengthBytes], index) => {
    const isShort = payload.length < 126 && lengthBytes === 0;
    const frame: Frame = {
      opcode: index === 0 ? BINARY : CONTINUATION,
      payload,
      mask,
      isLast: index === parts.length - 1,
      lengthBytes: isShort ? 0 : lengthBytes === 8 ? 8 : 2,
    };
    return [frame, ...controls.slice(index, index + 1)];
  });
}

function sometimes<Value>(arbitrary: fc.Arbitrary<Value>): fc.Arbitrary<Value | undefined> {
  return fc.oneof(fc.constant(undefined), arbitrary);
}

const property = fc.asyncProperty(
  fc.array(message, { maxLength: 4 }),
  sometimes(fc.tuple(fc.nat(), lie)),
  sometimes(variant),
  fc.array(fc.nat(), { maxLength: 6 }),
  async (messages, lie, variant, cuts) => {
    const stream = streamOf(messages, lie, variant);
    const expected = readFrames(stream, 'client', MESSAGE_BYTES_MAX);
    tally.count(expected.code === undefined ? 'open' : `closed with ${expected.code}`);
    await check(stream, cuts);
  },
);

export const websocket: Target = { name: 'websocket', property, runs: 500, tally };

function streamOf(messages: Message[], lie: [number, Frame] | undefined, variant: Variant | undefined): Buffer {
  const frames = messages.flatMap(framesOf);
  if (lie !== undefined) frames.splice(lie[0] % (frames.length + 1), 0, lie[1]);
  const stream = Buffer.concat(frames.map(encodeFrame));
  return variant === undefined ? stream : damaged(stream, variant.damages);
}

async function check(sent: Buffer, cuts: number[]): Promise<void> {
  const story = sent.toString('hex');
  const expected = readFrames(sent, 'client', MESSAGE_BYTES_MAX);
  const visit = new Visit();
  const places = [...cuts.map((cut) => cut % (sent.length + 1)), sent.length].toSorted((one, other) => one - other);
  for (const [index, place] of places.entries()) {
    visit.client.write(sent.subarray(places[index - 1] ?? 0, place));
    if (cuts[0]! & (1 << index)) await turn();
  }
  const isDone = () => visit.passed().length >= expected.bytes.length && visit.answers().code === expected.code;
  for (let count = 0; count < TURNS_MAX && !isDone(); count++) await turn();
  for (let count = 0; count < 3; count++) await turn();
  const answers = visit.answers();
  visit.client.destroy();
  assert.equal(visit.passed().toString('hex'), expected.bytes.toString('hex'), story);
  assert.equal(answers.code, expected.code, story);
  // Whoever is closed may miss the end of what was on its way to it.
  if (expected.code !== undefined) return;
  assert.deepEqual(answers.pongs, expected.pings, story);
  assert.equal(answers.bytes.toString('hex'), expected.bytes.toString('hex'), story);
}

/** A client, its door, and somebody behind the door who says everything back. */
class Visit {
  readonly client: Duplex;
  readonly #passed: Buffer[] = [];
  readonly #answered: Buffer[] = [];

  constructor() {
    const [client, server] = duplexPair();
    this.client = client;
    client.on('error', () => {}).on('data', (bytes) => this.#answered.push(bytes));
    server.on('error', () => {});
    entered = (stream) => {
      stream.on('error', () => {});
      stream.on('data', (bytes) => {
        this.#passed.push(bytes);
        if (stream.writable) stream.write(bytes);
      });
    };
    door.enter(server as Socket, null);
    client.write(REQUEST);
  }

  passed(): Buffer {
    return Buffer.concat(this.#passed);
  }

  answers(): Reading {
    const all = Buffer.concat(this.#answered);
    const head = all.indexOf('\r\n\r\n') + 4;
    assert.ok(head < 4 || all.toString('latin1', 0, 12) === 'HTTP/1.1 101', all.toString('latin1', 0, 100));
    return readFrames(head < 4 ? Buffer.alloc(0) : all.subarray(head), 'server');
  }
}

let entered: (stream: Socket) => void = () => {};
const door = new WebSocketDoor<null>(
  { path: '/mqtt', origins: null, messageBytesMax: MESSAGE_BYTES_MAX, pingIntervalMs: 0, trustedProxies: [] },
  {
    onEntered: (_entrant, stream) => entered(stream),
    onDetected: () => assert.fail('nothing is detected here'),
    onRouted: () => assert.fail('nothing is routed here'),
    onTurnedAway: (_entrant, _reason, error) => assert.fail(error),
  },
);
