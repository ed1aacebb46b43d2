// Machines as documents (test/documents/machines): what it is, then "== PATH" and the text of that file for each one that
// is read. A file that isn't there is empty, as on the machine.
import { readFileSync } from 'node:fs';
import type { ReadText } from '../../src/system/read-text.ts';

/** With some of its files saying something else. */
export function readerOf(name: string, changes: Record<string, string> = {}): ReadText {
  const text = readFileSync(new URL(`../documents/machines/${name}.txt`, import.meta.url), 'utf8');
  const [, ...parts] = text.split(/^== /m);
  const files = new Map<string, string>();
  for (const part of parts) {
    const end = part.indexOf('\n');
    files.set(part.slice(0, end), part.slice(end).trim());
  }
  for (const [path, changed] of Object.entries(changes)) files.set(path, changed);
  return (path) => files.get(path) ?? '';
}
