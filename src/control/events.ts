// What has happened to the service: those lines of the operational log that carry the name of an event, kept in memory
// for a while, so that a person who comes later sees them without the log.
import { isoTime } from '../iso-time.ts';
import type { LogFields, Logger } from '../logger.ts';

export const EVENT_NAMES = [
  'started',
  'stopping',
  'upgrading',
  'upgraded',
  'upgrade_failed',
  'backend_state',
  'backend_tls',
  'backends_unverified',
  'backend_operator',
  'move_started',
  'move_done',
  'move_stopped',
  'worker_died',
  'worker_full',
  'ports_exhausted',
  'source_missing',
  'access_log_reopened',
  'access_log_trouble',
  'reloaded',
  'reload_refused',
  'backend_changed',
  'certificates_reloaded',
  'certificates_refused',
  'certificate_expiry',
  'state_file_trouble',
  'take_over_loop',
  'hook_trouble',
] as const;
export type EventName = (typeof EVENT_NAMES)[number];

export const EVENT_LEVELS = ['info', 'warn', 'error'] as const;
type Level = (typeof EVENT_LEVELS)[number];

export const EVENTS_MAX = 1000;
export const KEPT_MS = 3_600_000;

export interface Event {
  /** Counted from 1, without gaps. */
  id: number;
  /** As ISO 8601 has it. */
  at: string;
  level: Level;
  event: EventName;
  /** For people. */
  message: string;
  details: Record<string, unknown>;
}

/** Times are by performance.now. */
export class EventList {
  /** Oldest first. */
  readonly #kept: { event: Event; atMs: number }[] = [];
  /** The last time of which something may be missing. */
  #forgottenMs: number;
  #lastId = 0;
  readonly #listeners = new Set<(event: Event) => void>();

  constructor(nowMs: number) {
    this.#forgottenMs = nowMs;
  }

  add(nowMs: number, event: Omit<Event, 'id' | 'at'>): void {
    this.#lastId += 1;
    const kept = { id: this.#lastId, at: isoTime(nowMs), ...event };
    this.#kept.push({ event: kept, atMs: nowMs });
    if (this.#kept.length > EVENTS_MAX) this.#forget();
    for (const hear of this.#listeners) hear(kept);
  }

  /** Tells of each event as it is added, until the function that it returns is called. */
  listen(hear: (event: Event) => void): () => void {
    this.#listeners.add(hear);
    return () => void this.#listeners.delete(hear);
  }

  /** Oldest first. */
  list(nowMs: number): Event[] {
    while (this.#kept.length > 0 && nowMs - this.#kept[0]!.atMs > KEPT_MS) this.#forget();
    return this.#kept.map(({ event }) => event);
  }

  /** Whatever happened after it is in the list. */
  completeSince(nowMs: number): string {
    return isoTime(Math.max(this.#forgottenMs, nowMs - KEPT_MS));
  }

  #forget(): void {
    this.#forgottenMs = this.#kept.shift()!.atMs;
  }
}

/** The same log; what of it is an event is kept in the list too. */
export function keepEvents(log: Logger, events: EventList): Logger {
  const keep = (level: Level) => (fields: LogFields, message: string) => {
    const { event, ...details } = fields;
    if (event !== undefined) events.add(performance.now(), { level, event, message, details });
    log[level](fields, message);
  };
  return { info: keep('info'), warn: keep('warn'), error: keep('error') };
}
