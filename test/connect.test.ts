import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import * as layout from '../assembly/layout.ts';
import { type CompleteConnect, type ParsedConnect, parseConnect } from '../src/core.ts';
import { reasons } from '../src/reasons.ts';
import { type ConnectDocument, type ExpectedComplete, loadConnectDocuments } from './documents/load.ts';

const documents = loadConnectDocuments();

for (const file of new Set(documents.map((document) => document.file))) {
  describe(file, () => {
    for (const document of documents.filter((one) => one.file === file)) {
      test(document.name, () => replayWhole(document));
    }
  });
}

function replayWhole({ bytes, connectMaxBytes, expected, place }: ConnectDocument): void {
  const parsed = parseConnect(bytes, { packetBytesMax: connectMaxBytes });
  assert.deepEqual(plain(parsed), plain(outcomeOf(expected)), place);
}

/** A document's outcome in the words of src/core.ts. */
function outcomeOf(expected: ConnectDocument['expected']): ParsedConnect {
  if (expected.state === 'complete') return completeOf(expected);
  if (expected.state === 'partial') return expected;
  const { answer, ...same } = expected;
  return { ...same, reply: answer };
}

function completeOf(expected: ExpectedComplete): CompleteConnect {
  const { flags, willTopic, willPayload, willProperties, maximumPacketSize, ...same } = expected;
  const qos = ((flags & layout.CONNECT_FLAG_WILL_QOS) >> 3) as 0 | 1 | 2;
  const retain = (flags & layout.CONNECT_FLAG_WILL_RETAIN) !== 0;
  const hasWill = willTopic !== null && willPayload !== null;
  return {
    ...same,
    cleanStart: (flags & layout.CONNECT_FLAG_CLEAN_START) !== 0,
    maximumPacketSize: maximumPacketSize || null,
    will: hasWill ? { topic: willTopic, payload: willPayload, qos, retain, properties: willProperties } : null,
  };
}

/** Bytes as hex: a difference reads well, and a Buffer equals a Uint8Array. */
function plain(value: object): unknown {
  return JSON.parse(
    JSON.stringify(value, (_key, one) => (one instanceof Uint8Array ? Buffer.from(one).toString('hex') : one)),
  );
}

// ---- Replays in the core itself, where it is known which bytes may be read ----------------------------------------

interface Core {
  heap_base(): number;
  parse_connect(bytes: number, length: number, packetBytesMax: number, out: number): number;
  write_refusal(reason: number, version: number, out: number): number;
}

const memory = new WebAssembly.Memory({ initial: 4, maximum: 4 });
const core = openCore();
const found = core.heap_base();
const packet = found + layout.CONNECT_BYTES;

function openCore(): Core {
  const module = new WebAssembly.Module(readFileSync(new URL('../build/core.wasm', import.meta.url)));
  return new WebAssembly.Instance(module, { env: { memory } }).exports as unknown as Core;
}

/** State, and all that was found: two parses of equal outcome are equal strings. */
function parseAt(address: number, length: number, connectMaxBytes: number): { state: number; found: string } {
  const state = core.parse_connect(address, length, connectMaxBytes, found);
  return { state, found: Buffer.from(memory.buffer, found, layout.CONNECT_BYTES).toString('hex') };
}

function foundNumber(offset: number): number {
  return new DataView(memory.buffer).getUint32(found + offset, true);
}

function write(bytes: Uint8Array, address: number): void {
  new Uint8Array(memory.buffer).set(bytes, address);
}

function fill(value: number, from: number): void {
  new Uint8Array(memory.buffer).fill(value, from);
}

/** Every length short of the whole; of long packets those at both ends, and some of the many alike between. */
function* cuts(bytes: number): Generator<number> {
  for (let cut = 0; cut < bytes; cut++) {
    if (cut < 512 || bytes - cut < 32 || cut % 509 === 0) yield cut;
  }
}

test('a packet that is cut anywhere wants more, or shows the fault of the whole', () => {
  for (const { bytes, connectMaxBytes, place } of documents) {
    write(bytes, packet);
    const whole = parseAt(packet, bytes.length, connectMaxBytes);
    const fault = foundFault();
    const packetBytes = foundNumber(layout.CONNECT_PACKET_BYTES);
    let refusedBefore = false;
    for (const cut of cuts(bytes.length)) {
      const { state, found: foundInCut } = parseAt(packet, cut, connectMaxBytes);
      const where = `${place}, the first ${cut} of ${bytes.length} bytes`;
      if (state === layout.PARSE_COMPLETE) {
        assert.ok(cut >= packetBytes, `${where} are no whole packet`);
        assert.equal(foundInCut, whole.found, where);
      } else if (state === layout.PARSE_REFUSED) {
        assert.equal(whole.state, layout.PARSE_REFUSED, where);
        assert.deepEqual(foundFault(), fault, where);
      } else {
        assert.ok(!refusedBefore, `${where} were refused with fewer`);
      }
      refusedBefore = state === layout.PARSE_REFUSED;
    }
  }
});

function foundFault(): object {
  const reason = foundNumber(layout.CONNECT_REASON);
  const version = foundNumber(layout.CONNECT_VERSION);
  // A packet that is too large is refused by its length, whether or not its version is there to be seen.
  const known = reason === layout.REASON_CONNECT_TOO_LARGE ? {} : { version };
  return { reason, offset: foundNumber(layout.CONNECT_REASON_OFFSET), ...known };
}

test('a fault is refused as soon as its bytes are there', () => {
  const faultBytesMax = 5; // a property with four bytes of value
  for (const { bytes, connectMaxBytes, expected, place } of documents) {
    if (expected.state !== 'refused') continue;
    // That a length is padded is a fault in 5.0 only, which the level tells.
    if (expected.reason === 'remaining_length' && expected.version === 5) continue;
    write(bytes, packet);
    const early = Math.min(bytes.length, expected.offset + faultBytesMax);
    assert.equal(parseAt(packet, early, connectMaxBytes).state, layout.PARSE_REFUSED, place);
  }
});

test('a packet that arrives byte by byte ends as the whole one does', () => {
  for (const { bytes, connectMaxBytes, place } of documents) {
    write(bytes, packet);
    const whole = parseAt(packet, bytes.length, connectMaxBytes);
    fill(0xaa, packet);
    let last = parseAt(packet, 0, connectMaxBytes);
    for (const cut of cuts(bytes.length + 1)) {
      if (last.state !== layout.PARSE_PARTIAL) break;
      write(bytes.subarray(0, cut), packet);
      last = parseAt(packet, cut, connectMaxBytes);
    }
    assert.equal(last.state, whole.state, place);
    if (whole.state === layout.PARSE_COMPLETE) assert.equal(last.found, whole.found, place);
  }
});

test('no byte past the length is read: where the memory ends there, nothing traps', () => {
  for (const { bytes, connectMaxBytes, place } of documents) {
    for (const cut of cuts(bytes.length + 1)) {
      const address = memory.buffer.byteLength - cut;
      write(bytes.subarray(0, cut), address);
      assert.doesNotThrow(() => parseAt(address, cut, connectMaxBytes), `${place}, cut after ${cut}`);
    }
  }
});

test('no byte past the length counts: whatever stands there, the outcome is the same', () => {
  for (const { bytes, connectMaxBytes, place } of documents) {
    for (const cut of cuts(bytes.length + 1)) {
      const outcomes = [0x00, 0x41, 0x80, 0xff].map((guard) => {
        new Uint8Array(memory.buffer).fill(guard, packet, packet + cut + 16);
        write(bytes.subarray(0, cut), packet);
        return parseAt(packet, cut, connectMaxBytes);
      });
      for (const outcome of outcomes) assert.deepEqual(outcome, outcomes[0], `${place}, cut after ${cut}`);
    }
  }
});

test('packets that follow at once change nothing', () => {
  const pingreq = [0xc0, 0x00];
  for (const { bytes, connectMaxBytes, expected, place } of documents) {
    if (expected.state === 'partial') continue;
    write(bytes, packet);
    const alone = parseAt(packet, bytes.length, connectMaxBytes);
    write(Uint8Array.from([...bytes, ...pingreq]), packet);
    assert.deepEqual(parseAt(packet, bytes.length + pingreq.length, connectMaxBytes), alone, place);
  }
});

test('nothing is found in no bytes at all', () => {
  assert.deepEqual(parseConnect(new Uint8Array(0)), { state: 'partial' });
});

test('the length of a packet is known before the packet is complete', () => {
  write(Uint8Array.from([0x10, 0x80, 0x01]), packet);
  assert.equal(parseAt(packet, 3, 65536).state, layout.PARSE_PARTIAL);
  assert.equal(foundNumber(layout.CONNECT_PACKET_BYTES), 131);
});

// ---- Refusals -------------------------------------------------------------------------------------------------------

function refusal(reason: number, version: number): string {
  fill(0xee, packet);
  const bytes = core.write_refusal(reason, version, packet);
  assert.ok(bytes <= layout.REFUSAL_BYTES_MAX);
  assert.equal(new Uint8Array(memory.buffer)[packet + bytes], 0xee, 'nothing is written after the refusal');
  return Buffer.from(memory.buffer, packet, bytes).toString('hex');
}

describe('refusals', () => {
  test('say server unavailable when no backend is left', () => {
    assert.equal(refusal(layout.REASON_NO_BACKEND, 3), '20020003');
    assert.equal(refusal(layout.REASON_NO_BACKEND, 4), '20020003');
    assert.equal(refusal(layout.REASON_NO_BACKEND, 5), '2003008800');
  });

  test('say server unavailable during a shutdown', () => {
    assert.equal(refusal(layout.REASON_SHUTDOWN, 4), '20020003');
    assert.equal(refusal(layout.REASON_SHUTDOWN, 5), '2003008800');
  });

  test('say quota exceeded when the connections are too many', () => {
    assert.equal(refusal(layout.REASON_CONNECTIONS_MAX, 4), '20020003');
    assert.equal(refusal(layout.REASON_CONNECTIONS_MAX, 5), '2003009700');
  });

  test('say unacceptable version in the version that comes nearest', () => {
    for (const level of [0, 1, 2, 3, 4]) assert.equal(refusal(layout.REASON_PROTOCOL_VERSION, level), '20020001');
    for (const level of [5, 6, 127, 255]) assert.equal(refusal(layout.REASON_PROTOCOL_VERSION, level), '2003008400');
  });

  test('are silent to a client whose version was never known', () => {
    for (let reason = 0; reason < layout.REASONS_MAX; reason++) {
      if (reason !== layout.REASON_PROTOCOL_VERSION) assert.equal(refusal(reason, 0), '');
    }
  });

  test('are silent to a malformed CONNECT of 3.1.1, and malformed packet in 5.0', () => {
    for (const reason of [layout.REASON_UTF8, layout.REASON_RESERVED_FLAG, layout.REASON_TRAILING_BYTES]) {
      assert.equal(refusal(reason, 4), '');
      assert.equal(refusal(reason, 5), '2003008100');
    }
  });

  test('are silent once a session was established', () => {
    const ends = [layout.REASON_CLIENT_CLOSED, layout.REASON_BACKEND_RESET, layout.REASON_CLIENT_STALLED];
    for (const reason of ends) for (const version of [3, 4, 5]) assert.equal(refusal(reason, version), '');
  });

  test('only use codes that a CONNACK can carry', () => {
    const codes = new Set([0x81, 0x82, 0x84, 0x85, 0x86, 0x87, 0x88, 0x90, 0x95, 0x97, 0x9f]);
    for (let reason = 0; reason < layout.REASONS_MAX; reason++) {
      const [answer3, answer5] = [refusal(reason, 4), refusal(reason, 5)];
      if (answer3 !== '') assert.match(answer3, /^2002000[1-5]$/);
      if (answer5 !== '') assert.ok(codes.has(Number.parseInt(answer5.slice(6, 8), 16)), answer5);
    }
  });
});

describe('reasons', () => {
  const numbers = Object.entries(layout).filter(([name]) => /^REASON_/.test(name)) as [string, number][];

  test('have the name of their number', () => {
    for (const [name, number] of numbers) {
      assert.equal(reasons[number]?.name, name.slice('REASON_'.length).toLowerCase());
    }
  });

  test('are named for numbers in use only', () => {
    assert.equal(reasons.filter((reason) => reason !== undefined).length, numbers.length);
  });

  test('of a CONNECT are each shown by a document', () => {
    const shown = new Set(documents.map(({ expected }) => (expected.state === 'refused' ? expected.reason : '')));
    for (let reason = layout.REASON_HTTP_REQUEST; reason <= layout.REASON_WILL_TOPIC; reason++) {
      assert.ok(shown.has(String(reasons[reason]?.name)), reasons[reason]?.name);
    }
  });
});
