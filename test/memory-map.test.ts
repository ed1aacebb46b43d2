import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  BUFFER_NOTE_BYTES,
  COLD_BYTES,
  COMPLETION_BYTES,
  HEADER_ACCEPTS_IN_FLIGHT,
  HEADER_CONNECTIONS_MAX,
  HEADER_LAYOUT_VERSION,
  HEADER_RANDOM_SEED,
  HEADER_REGION_COLD,
  HEADER_REGION_END,
  HEADER_REGION_RINGS,
  HEADER_REGIONS,
  HEADER_RING_FD,
  HEADER_WAKE_FD,
  HEADER_WORKER_INDEX,
  LAYOUT_VERSION,
  MESSAGE_BYTES,
  NONE,
  PAGE_BYTES,
  PROVIDED_BUFFER_BYTES,
  PROVIDED_ENTRIES_MAX,
  REGIONS_OFFSET,
  RING_HEADS_BYTES,
  SUBMISSION_BYTES,
} from '../assembly/layout.ts';
import { createMemory, defaultSettings, placeRegions } from '../src/control/memory-map.ts';
import { headerWords } from '../src/header.ts';

test('regions begin on pages, follow one another in the order of the header, and never overlap', () => {
  for (const connectionsMax of [1, 7, 4096, 9968, 524256]) {
    const { regions, end } = placeRegions(defaultSettings(connectionsMax, 3));
    let free = REGIONS_OFFSET;
    for (const [index, region] of regions.entries()) {
      assert.equal(region.field, HEADER_REGIONS + index * 4);
      assert.equal(region.offset % PAGE_BYTES, 0);
      assert.ok(region.offset >= free);
      free = region.offset + region.bytes;
    }
    assert.ok(end >= free);
    assert.equal(regions.length * 4 + HEADER_REGIONS, HEADER_REGION_END);
  }
});

test('a region holds what its settings promise', () => {
  const settings = defaultSettings(524256, 1);
  const bytesOf = (field: number) => placeRegions(settings).regions.find((region) => region.field === field)!.bytes;
  assert.equal(bytesOf(HEADER_REGION_COLD), 524256 * COLD_BYTES);
  const rings =
    settings.completionEntries * COMPLETION_BYTES +
    RING_HEADS_BYTES +
    settings.submissionEntries * (SUBMISSION_BYTES + MESSAGE_BYTES) +
    Math.min(settings.bufferCount, PROVIDED_ENTRIES_MAX) * PROVIDED_BUFFER_BYTES +
    settings.bufferCount * BUFFER_NOTE_BYTES;
  assert.ok(bytesOf(HEADER_REGION_RINGS) >= rings);
});

test('ring sizes and buffer counts are powers of two within their bounds, whatever the size of the table', () => {
  for (let connectionsMax = 1; connectionsMax < 1 << 20; connectionsMax = connectionsMax * 3 + 1) {
    const settings = defaultSettings(connectionsMax, 2);
    const { bufferCount, submissionEntries, completionEntries, recordsBytes, acceptsInFlight } = settings;
    for (const value of [bufferCount, submissionEntries, completionEntries, recordsBytes]) {
      assert.equal(Math.log2(value) % 1, 0, `${value} for ${connectionsMax} connections`);
    }
    assert.ok(bufferCount <= 32768 && completionEntries <= 65536 && completionEntries >= submissionEntries * 2);
    assert.ok(acceptsInFlight >= 1 && acceptsInFlight <= 16);
  }
});

test('the memory has exactly the size of the map, and a header that says where everything is', () => {
  const settings = defaultSettings(1000, 2);
  const memory = createMemory(settings, 5, 77);
  const header = headerWords(memory);
  const { regions, end } = placeRegions(settings);
  assert.equal(memory.buffer.byteLength, Math.ceil(end / 65536) * 65536);
  assert.ok(memory.buffer instanceof SharedArrayBuffer);
  assert.throws(() => memory.grow(1), 'the kernel pins its pages, so it must never grow');
  for (const region of regions) assert.equal(header[region.field / 4], region.offset);
  assert.equal(header[HEADER_REGION_END / 4], end);
  assert.equal(header[HEADER_LAYOUT_VERSION / 4], LAYOUT_VERSION);
  assert.equal(header[HEADER_CONNECTIONS_MAX / 4], 1000);
  assert.equal(header[HEADER_WORKER_INDEX / 4], 5);
  assert.equal(header[HEADER_WAKE_FD / 4], 77);
  assert.equal(header[HEADER_RING_FD / 4], NONE);
  assert.equal(header[HEADER_ACCEPTS_IN_FLIGHT / 4], 16);
  assert.notEqual(header[HEADER_RANDOM_SEED / 4], 0);
});

test('memory that is never touched costs nothing', () => {
  const before = process.memoryUsage.rss();
  const memories = Array.from({ length: 4 }, (_, index) => createMemory(defaultSettings(500_000, 1), index, NONE));
  assert.ok(memories[0]!.buffer.byteLength > 200 << 20);
  const grown = process.memoryUsage.rss() - before;
  assert.ok(grown < 16 << 20, `${grown} bytes`);
});
