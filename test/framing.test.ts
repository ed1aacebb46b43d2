// Where a stream of packets stands, against the packets of an independent writer.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { generate, type Packet } from 'mqtt-packet';
import { COLD_FRAMING, FRAMING_BOUNDARY, FRAMING_UNKNOWN, HEADER_REGION_SCRATCH, NONE } from '../assembly/layout.ts';
import { createMemory, defaultSettings } from '../src/control/memory-map.ts';
import { compileDataPlane, startDataPlane } from '../src/data-plane.ts';
import { regionOffset } from '../src/header.ts';

const BACKEND = 1;

const memory = createMemory(defaultSettings(4, 1), 0, NONE);
const plane = startDataPlane(memory, compileDataPlane());
const slot = plane.connectionOpen(0);
const scratch = regionOffset(memory, HEADER_REGION_SCRATCH);
const framings = new Uint32Array(memory.buffer, plane.coldAddress(slot) + COLD_FRAMING, 2);

const packets: Packet[] = [
  { cmd: 'connect', protocolId: 'MQTT', protocolVersion: 5, clean: true, clientId: 'device-1', keepalive: 60 },
  { cmd: 'pingreq' },
  publish(124),
  publish(125),
  { cmd: 'puback', messageId: 7 },
  publish(16_400),
  { cmd: 'pingresp' },
  { cmd: 'disconnect' },
];
const document = Buffer.concat(packets.map((packet) => generate(packet)));
const boundaries = boundariesOf(packets);

function publish(payloadBytes: number): Packet {
  return { cmd: 'publish', topic: 'a', payload: Buffer.alloc(payloadBytes, 0xe0), qos: 0, dup: false, retain: false };
}

/** The positions at which a packet begins, and the end. */
function boundariesOf(written: readonly Packet[]): Set<number> {
  let at = 0;
  return new Set([0, ...written.map((packet) => (at += generate(packet).length))]);
}

/** The state behind these pieces of a stream. */
function stateBehind(...pieces: readonly Uint8Array[]): number {
  framings[BACKEND] = FRAMING_BOUNDARY;
  for (const piece of pieces) {
    new Uint8Array(memory.buffer).set(piece, scratch);
    plane.connectionFramed(slot, BACKEND, scratch, piece.length);
  }
  return framings[BACKEND]!;
}

describe('the framing of a stream', () => {
  it('tells a boundary from every other place, wherever the stream is cut in two', () => {
    for (let cut = 0; cut <= document.length; cut++) {
      const head = document.subarray(0, cut);
      assert.equal(stateBehind(head) === FRAMING_BOUNDARY, boundaries.has(cut), `byte ${cut}`);
      assert.equal(stateBehind(head, document.subarray(cut)), FRAMING_BOUNDARY, `cut at byte ${cut}`);
    }
  });

  it('is the same when every byte comes alone', () => {
    const pieces = Array.from(document, (_, at) => document.subarray(at, at + 1));
    assert.equal(stateBehind(...pieces), FRAMING_BOUNDARY);
    assert.notEqual(stateBehind(...pieces.slice(0, -1)), FRAMING_BOUNDARY);
  });

  it('agrees with an independent writer about any packets in any pieces', () => {
    const anyPackets = fc.array(fc.oneof(fc.constant<Packet>({ cmd: 'pingreq' }), fc.nat(70_000).map(publish)), {
      minLength: 1,
      maxLength: 8,
    });
    fc.assert(
      fc.property(anyPackets, fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 6 }), (some, cuts) => {
        const stream = Buffer.concat(some.map((packet) => generate(packet)));
        const ends = boundariesOf(some);
        const places = [...cuts.map((cut) => Math.floor(cut * stream.length)), stream.length].sort((a, b) => a - b);
        const pieces = places.map((place, index) => stream.subarray(places[index - 1] ?? 0, place));
        for (const [index, place] of places.entries()) {
          assert.equal(stateBehind(...pieces.slice(0, index + 1)) === FRAMING_BOUNDARY, ends.has(place));
        }
      }),
      { numRuns: 200 },
    );
  });

  it('counts the body of the longest packet that there is', () => {
    assert.equal(stateBehind(Uint8Array.of(0x30, 0xff, 0xff, 0xff, 0x7f)), 268_435_455);
    assert.equal(stateBehind(Uint8Array.of(0x30, 0xff, 0xff, 0xff, 0x7f), new Uint8Array(1000)), 268_434_455);
  });

  it('knows no boundary behind a length of five bytes', () => {
    assert.equal(stateBehind(Uint8Array.of(0x30, 0x80, 0x80, 0x80, 0x80)), FRAMING_UNKNOWN);
    assert.equal(
      stateBehind(Uint8Array.of(0x30, 0xff), Uint8Array.of(0xff, 0xff, 0xff, 0x7f), document),
      FRAMING_UNKNOWN,
    );
  });

  it('takes a length that is written longer than it must be', () => {
    assert.equal(stateBehind(Uint8Array.of(0xd0, 0x80, 0x80, 0x80, 0x00)), FRAMING_BOUNDARY);
    assert.equal(stateBehind(Uint8Array.of(0xd0, 0x82, 0x00, 1)), 1);
  });
});
