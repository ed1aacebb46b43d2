// `tidegate reload` and `set`: what is in force is changed.
import type { BackendDocument } from '../admin/backend-document.ts';
import type { ReloadDocument } from '../admin/routes/reload.ts';
import { backendPath, targetOf } from './admin.ts';
import { required } from './command.ts';
import { print } from './print.ts';

/** Names may have to be resolved. */
const RELOAD_TIMEOUT_MS = 60_000;

export async function reload(values: Record<string, string>): Promise<void> {
  const { askJson } = await import('../admin/client.ts');
  const request = { method: 'POST', path: '/api/v1/reload', timeoutMs: RELOAD_TIMEOUT_MS } as const;
  const document = (await askJson(await targetOf(values), request, ['changed'])) as ReloadDocument;
  const { changed } = document;
  if (values.json !== undefined) await print(`${JSON.stringify(document)}\n`);
  else await print(changed.length === 0 ? 'nothing changed\n' : `${changed.join('\n')}\n`);
}

export async function set(values: Record<string, string>): Promise<void> {
  const { askJson } = await import('../admin/client.ts');
  const path = backendPath('set', values);
  const body = { state: required('set', 'state', values.state) };
  const answer = await askJson(await targetOf(values), { method: 'PATCH', path, body }, ['state', 'operator']);
  const { address, state, reason } = answer as BackendDocument;
  await print(values.json === undefined ? `${address}: ${state}, ${reason}\n` : `${JSON.stringify(answer)}\n`);
}
