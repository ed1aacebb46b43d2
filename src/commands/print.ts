import { once } from 'node:events';

/** On standard output, at the pace of whoever reads it. */
export async function print(text: string): Promise<void> {
  if (!process.stdout.write(text)) await once(process.stdout, 'drain');
}
