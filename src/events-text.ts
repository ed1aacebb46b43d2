// `tidegate events`: the admin API's events, for people.
import type { EventsDocument } from './admin/routes/events.ts';
import { textTable } from './text-table.ts';

export function eventsText({ complete_since, events }: EventsDocument): string {
  if (events.length === 0) return `Nothing has happened since ${secondsText(complete_since)}\n`;
  return textTable(
    ['TIME', 'LEVEL', 'WHAT'],
    events.map(({ at, level, message }) => [secondsText(at), level, message]),
  );
}

function secondsText(iso: string): string {
  return iso.replace(/\.\d+Z$/, 'Z');
}
