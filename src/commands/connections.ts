// `tidegate connections`: who is connected, and an end to it.
import type { ConnectionsDocument } from '../admin/routes/connections.ts';
import { TidegateError, UsageError } from '../errors.ts';
import { show, targetOf } from './admin.ts';
import { seeHelp } from './command.ts';
import { print } from './print.ts';

/** What connections are asked for by; each is a parameter of the API, with an underscore for the dash. */
export const CONNECTION_FILTERS = ['client-id', 'backend', 'pool', 'address'] as const;

export async function connections(values: Record<string, string>): Promise<void> {
  const { connectionsText } = await import('../connections-text.ts');
  const { limit, kick } = values;
  if (limit !== undefined && !/^[1-9]\d{0,3}$/.test(limit)) {
    throw new UsageError(`--limit takes a number from 1 to 1000, not ${JSON.stringify(limit)}`);
  }
  if (kick !== undefined) return kickConnections(values);
  const textOf = (document: unknown) => connectionsText(document as ConnectionsDocument);
  await show(values, connectionsPath(values, limit), ['matched', 'connections'], textOf);
}

function connectionsPath(values: Record<string, string>, limit: string | undefined): string {
  const query = new URLSearchParams(limit === undefined ? {} : { limit });
  for (const filter of CONNECTION_FILTERS) {
    if (values[filter] !== undefined) query.set(filter.replace('-', '_'), values[filter]);
  }
  return `/api/v1/connections?${query}`;
}

async function kickConnections(values: Record<string, string>): Promise<void> {
  const { askJson, getJson } = await import('../admin/client.ts');
  const { connectionsText, kickedText } = await import('../connections-text.ts');
  const target = await targetOf(values);
  const path = connectionsPath(values, values.limit ?? '1000');
  const found = (await getJson(target, path, ['matched', 'connections'])) as ConnectionsDocument;
  if (found.matched > 1 && values.yes === undefined) {
    const count = `${found.matched} connections match`;
    throw new UsageError(`${count}: name one more closely, or end them all with --yes${seeHelp('connections')}`);
  }
  for (const { id } of found.connections) {
    await askJson(target, { method: 'DELETE', path: `/api/v1/connections/${id}` }, ['id']).catch((error) => {
      if (!(error instanceof TidegateError) || !error.message.includes('says 404')) throw error; // it ended by itself
    });
  }
  if (values.json !== undefined) return print(`${JSON.stringify(found)}\n`);
  await print(`${connectionsText(found)}${kickedText(found)}`);
}
