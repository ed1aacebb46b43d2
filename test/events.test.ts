// The events of the last hour: what becomes one, and how long it is kept.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EVENTS_MAX, type Event, EventList, KEPT_MS, keepEvents } from '../src/control/events.ts';
import type { Logger } from '../src/logger.ts';

const REOPENED = { level: 'info', event: 'access_log_reopened', message: 'access log reopened', details: {} } as const;

const idsOf = (events: readonly Event[]) => events.map(({ id }) => id);
const millisecondsSince = (list: EventList, nowMs: number) => {
  return Math.round(performance.timeOrigin + nowMs - Date.parse(list.completeSince(nowMs)));
};

test('events are kept for an hour, oldest first', () => {
  const list = new EventList(0);
  assert.deepEqual(list.list(0), []);
  list.add(1000, REOPENED);
  list.add(2000, REOPENED);
  assert.deepEqual(idsOf(list.list(2000)), [1, 2]);
  assert.ok(Math.abs(millisecondsSince(list, 2000) - 2000) <= 1, 'since the start');
  assert.deepEqual(idsOf(list.list(1000 + KEPT_MS)), [1, 2]);
  assert.deepEqual(idsOf(list.list(1001 + KEPT_MS)), [2]);
  assert.deepEqual(idsOf(list.list(2001 + KEPT_MS)), []);
  assert.ok(Math.abs(millisecondsSince(list, 10 * KEPT_MS) - KEPT_MS) <= 1, 'for an hour');
  list.add(10 * KEPT_MS, REOPENED);
  assert.deepEqual(idsOf(list.list(10 * KEPT_MS)), [3]);
});

test('of too many the oldest go, and the list says from when on it is whole', () => {
  const list = new EventList(0);
  for (let nowMs = 1; nowMs <= EVENTS_MAX + 10; nowMs++) list.add(nowMs, REOPENED);
  const events = list.list(EVENTS_MAX + 10);
  assert.deepEqual([events.length, events[0]?.id, events.at(-1)?.id], [EVENTS_MAX, 11, EVENTS_MAX + 10]);
  assert.ok(Math.abs(millisecondsSince(list, EVENTS_MAX + 10) - EVENTS_MAX) <= 1);
});

test('a line of the log with the name of an event is one, and the log has every line', () => {
  const lines: unknown[] = [];
  const note = (level: string) => (fields: object, message: string) => void lines.push([level, fields, message]);
  const plain: Logger = { info: note('info'), warn: note('warn'), error: note('error') };
  const list = new EventList(performance.now());
  const log = keepEvents(plain, list);
  log.info({ engine: 'uring' }, 'no event');
  log.warn({ event: 'worker_full', worker: 1 }, 'full');
  log.error({ event: 'worker_died', worker: 2, error: 'a trap' }, 'died');
  const events = list.list(performance.now()).map(({ at, ...rest }) => {
    assert.ok(Math.abs(Date.parse(at) - Date.now()) < 5000);
    return rest;
  });
  assert.deepEqual(events, [
    { id: 1, level: 'warn', event: 'worker_full', message: 'full', details: { worker: 1 } },
    { id: 2, level: 'error', event: 'worker_died', message: 'died', details: { worker: 2, error: 'a trap' } },
  ]);
  assert.deepEqual(lines, [
    ['info', { engine: 'uring' }, 'no event'],
    ['warn', { event: 'worker_full', worker: 1 }, 'full'],
    ['error', { event: 'worker_died', worker: 2, error: 'a trap' }, 'died'],
  ]);
});
