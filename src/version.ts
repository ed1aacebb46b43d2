import { readFileSync } from 'node:fs';
import { findPackageJSON } from 'node:module';

/** Of the package that this file belongs to, whether it runs from its sources or as built. */
export function version(): string {
  const path = findPackageJSON(import.meta.url);
  if (path === undefined) throw new Error('package.json is missing beside the program');
  return JSON.parse(readFileSync(path, 'utf8')).version;
}
