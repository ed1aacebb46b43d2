import { createTable } from '../../src/core.ts';

/** ClientIds whose first choice is `backend`, under the default balance. */
export function clientIdsOf(backend: string, backends: string[], count: number): string[] {
  const table = createTable({ algorithm: 'rendezvous', members: backends.map((name) => ({ name, weight: 1 })) });
  const found: string[] = [];
  for (let index = 0; found.length < count; index++) {
    if (table.lookup(`device-${index}`) === backend) found.push(`device-${index}`);
  }
  return found;
}
