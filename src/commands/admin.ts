// The admin API of a running balancer, as commands find it and ask it.
import type { AdminTarget } from '../admin/client.ts';
import { required } from './command.ts';
import { print } from './print.ts';

export function targetOf({ config, admin, 'token-file': tokenFile }: Record<string, string>): Promise<AdminTarget> {
  return import('../admin/client.ts').then(({ findAdmin }) => findAdmin({ config, admin, tokenFile }));
}

/** Asks the admin API, and prints its answer as it came or as `textOf` writes it. */
export async function show(
  values: Record<string, string>,
  path: string,
  keys: readonly string[],
  textOf: (document: unknown) => string,
): Promise<void> {
  const { getJson } = await import('../admin/client.ts');
  const document = await getJson(await targetOf(values), path, keys);
  await print(values.json === undefined ? textOf(document) : `${JSON.stringify(document)}\n`);
}

export function backendPath(command: string, { pool, backend }: Record<string, string>): string {
  const names = [required(command, 'pool', pool), required(command, 'backend', backend)].map(encodeURIComponent);
  return `/api/v1/pools/${names[0]}/backends/${names[1]}`;
}
