// The state file: what was set at runtime, so that it outlives the process. It is replaced whole, so that nobody ever
// reads half of it.
import { readFile, rename, writeFile } from 'node:fs/promises';
import { z } from 'zod';
import { WEIGHT_MAX } from '../../assembly/layout.ts';
import { backendSettings } from '../config/schema.ts';
import { TidegateError } from '../errors.ts';
import type { AddedBackend, Overlay } from './overlay.ts';

/** What an operator has said of backends, by pool and address: other than up. */
export type SavedStates = Readonly<Record<string, Readonly<Record<string, string>>>>;

export interface SavedState {
  overlay: Overlay;
  states: SavedStates;
}

const VERSION = 1;
const NOTHING: SavedState = { overlay: {}, states: {} };
const weight = z.int().min(0).max(WEIGHT_MAX);
const isBackend = (value: unknown) => backendSettings.safeParse(value).success;

const fileSchema = z.strictObject({
  version: z.literal(VERSION),
  overlay: z.record(
    z.string(),
    z.strictObject({
      weights: z.record(z.string(), z.strictObject({ weight, file: weight })),
      added: z.array(z.custom<AddedBackend>(isBackend, 'Invalid backend')),
      removed: z.array(z.string()),
    }),
  ),
  states: z.record(z.string(), z.record(z.string(), z.string())),
});

/** Nothing when there is no such file, or none is wanted. Throws a TidegateError that says what to do. */
export async function readState(path: string | null): Promise<SavedState> {
  if (path === null) return NOTHING;
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw unreadable(path, `the system says ${error.code}`);
  });
  if (text === null) return NOTHING;
  const { success, data, error } = fileSchema.safeParse(parse(text, path));
  if (!success) throw unreadable(path, z.prettifyError(error).replaceAll('\n', ' '));
  return { overlay: data.overlay, states: data.states };
}

/** Throws what the system says. */
export async function writeState(path: string, { overlay, states }: SavedState): Promise<void> {
  const written = `${path}.new`;
  await writeFile(written, `${JSON.stringify({ version: VERSION, overlay, states }, null, 2)}\n`, { flush: true });
  await rename(written, path);
}

function parse(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw unreadable(path, (error as Error).message);
  }
}

function unreadable(path: string, why: string): TidegateError {
  const remedy = 'put it right, or remove it to begin with the configuration alone';
  return new TidegateError('STATE_FILE', `cannot read the state_file ${path} (${why}): ${remedy}`);
}
