import { readFileSync } from 'node:fs';

/** What a file of the system says, without the line's end. */
export type ReadText = (path: string) => string;

/** Empty where there is no such file, or it may not be read. */
export function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return '';
  }
}
