// What the schema found wrong in one file, as faults with their place and in one manner of speaking.
import type { z } from 'zod';
import type { Fault } from '../errors.ts';
import { nearestName } from '../nearest-name.ts';
import type { Path, SourceDocument } from './document.ts';
import { KNOWN_KEYS } from './kinds.ts';
import { configSchema } from './schema.ts';

type Issue = z.core.$ZodIssue;

/** Keys whose values no message may show. */
const SECRETS: readonly unknown[] = ['secret', 'password', 'token'];

/** zod's own, for a union without a message of ours: a short form first, a mapping or a list last. */
const UNION_MESSAGE = 'Invalid input';

export function schemaFaults(document: SourceDocument): Fault[] {
  if (document.value === undefined) return [];
  const { error } = configSchema.safeParse(document.value);
  return (error?.issues ?? []).flatMap((issue) => issueFaults(document, [], issue));
}

function issueFaults(document: SourceDocument, base: Path, issue: Issue): Fault[] {
  const path = [...base, ...(issue.path as Path)];
  if (issue.code === 'unrecognized_keys') {
    const known = issue.message.slice(KNOWN_KEYS.length).split(', ');
    return issue.keys.map((key) => document.fault([...path, key], unknownKey(key, known), 'key'));
  }
  if (issue.code === 'invalid_key') return [document.fault(path, found(issue.message, path.at(-1), path), 'key')];
  const value = valueAt(document.value, path);
  if (issue.code === 'invalid_union' && issue.message === UNION_MESSAGE) {
    const isShort = typeof value !== 'object' || value === null;
    const branch = isShort ? issue.errors[0] : issue.errors.at(-1);
    return (branch ?? []).flatMap((inner) => issueFaults(document, path, inner));
  }
  return [document.fault(path, found(issue.message, value, path))];
}

/** Completes "expected ...". */
export function found(message: string, value: unknown, path: Path): string {
  const secret = SECRETS.includes(path.at(-1));
  return message.startsWith('expected ') ? `${message}, found ${show(value, secret)}` : message;
}

function show(value: unknown, secret: boolean): string {
  if (value === undefined || value === null) return 'nothing';
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === 'object') return `a mapping of ${Object.keys(value).length}`;
  if (secret) return `a ${typeof value}`;
  const shown = JSON.stringify(value);
  return shown.length > 80 ? `${shown.slice(0, 76)}..."` : shown;
}

function unknownKey(key: string, known: readonly string[]): string {
  const nearest = nearestName(key, known);
  return nearest === null ? `unknown key; known here are ${known.join(', ')}` : `unknown key, did you mean ${nearest}?`;
}

function valueAt(value: unknown, path: Path): unknown {
  return path.reduce<unknown>((at, part) => (at as Record<string | number, unknown> | null | undefined)?.[part], value);
}

export function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
