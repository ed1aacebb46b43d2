// `tidegate status`, `events` and `top`: what a running balancer does.
import type { EventsDocument } from '../admin/routes/events.ts';
import type { StatusDocument } from '../admin/status-document.ts';
import { show, targetOf } from './admin.ts';
import { print } from './print.ts';

export async function status(values: Record<string, string>): Promise<void> {
  const { statusText } = await import('../status-text.ts');
  await show(values, '/api/v1/status', ['version', 'pools'], (document) => statusText(document as StatusDocument));
}

export async function events(values: Record<string, string>): Promise<void> {
  const { eventsText } = await import('../events-text.ts');
  const keys = ['complete_since', 'events'];
  await show(values, '/api/v1/events', keys, (document) => eventsText(document as EventsDocument));
}

export async function top(values: Record<string, string>): Promise<void> {
  const { top, topOnce } = await import('../top.ts');
  const target = await targetOf(values);
  if (values.once === undefined && process.stdout.isTTY) await top(target);
  else await print(await topOnce(target));
}
