import { z } from 'zod';
import { EVENT_LEVELS, EVENT_NAMES, EVENTS_MAX, KEPT_MS } from '../../control/events.ts';
import { json } from '../http.ts';
import type { Route } from '../route.ts';

const eventSchema = z.strictObject({
  id: z.int().min(1).describe('Counted from 1, without gaps.'),
  at: z.iso.datetime(),
  level: z.enum(EVENT_LEVELS),
  event: z.enum(EVENT_NAMES),
  message: z.string().describe('For people.'),
  details: z.record(z.string(), z.unknown()).describe("The log line's fields."),
});

export const eventsSchema = z.strictObject({
  complete_since: z.iso.datetime().describe('Whatever happened after it is here.'),
  events: z.array(eventSchema).describe('Oldest first.'),
});

export type EventsDocument = z.output<typeof eventsSchema>;

export const events: Route = {
  method: 'GET',
  path: '/api/v1/events',
  summary: `What happened in the last ${KEPT_MS / 60_000} minutes, the latest ${EVENTS_MAX} events at most`,
  responses: { 200: { description: 'The events.', content: { type: 'application/json', schema: eventsSchema } } },
  answer: ({ balancer }) => {
    const nowMs = performance.now();
    const list = balancer.events.list(nowMs);
    return json({ complete_since: balancer.events.completeSince(nowMs), events: list });
  },
};
