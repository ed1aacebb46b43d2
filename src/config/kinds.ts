// Kinds of value that the configuration's schemas share.
//
// A message that begins with "expected" is completed with what was found, one that begins with "known:" lists the keys
// beside an unknown one (see faults.ts); any other stands as it is.
import { z } from 'zod';
import { ADDRESS_RULES_MAX } from '../../assembly/layout.ts';
import { parseCidr } from './address-ranges.ts';

export const KNOWN_KEYS = 'known: ';
const MS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
const DURATION_PATTERN = /^(\d{1,9})(ms|s|m|h)$/;
const DURATION_MS_MAX = 24 * 3_600_000;

export function mapping<Shape extends z.ZodRawShape>(shape: Shape, what: string) {
  const known = KNOWN_KEYS + Object.keys(shape).join(', ');
  return z.strictObject(shape, {
    error: (issue) => (issue.code === 'unrecognized_keys' ? known : `expected ${what}`),
  });
}

export function listOf<Item extends z.ZodType>(item: Item, what: string, countMax: number) {
  const error = `expected a list of 1 to ${countMax} ${what}`;
  return z
    .array(item, { error })
    .min(1, { error })
    .max(countMax, { error: `expected at most ${countMax} ${what}` });
}

export function oneOf<const Values extends readonly [string, ...string[]]>(values: Values) {
  return z.enum(values, { error: `expected ${alternatives(values)}` });
}

export function integer(min: number, max: number, error = `expected a whole number from ${min} to ${max}`) {
  return z.int({ error }).min(min, { error }).max(max, { error });
}

export function cidrList() {
  const error =
    'expected an IP address or a range such as 10.0.0.0/8 or "2001:db8::/32", with no bit set behind its prefix';
  const cidr = z.string({ error }).refine((value) => parseCidr(value) !== null, { error });
  return listOf(cidr, 'IP addresses or ranges', ADDRESS_RULES_MAX);
}

export function text(what: string, lengthMax: number) {
  const error = `expected ${what}`;
  return z.string({ error }).min(1, { error }).max(lengthMax, { error });
}

/** Milliseconds. */
export function duration(minMs: number) {
  const error = `expected a duration ${minMs > 0 ? 'above 0 and ' : ''}up to 24h, such as 5s, 250ms, 1m or 1h`;
  return z
    .string({ error })
    .regex(DURATION_PATTERN, { error })
    .transform(durationMs)
    .pipe(z.number().min(minMs, { error }).max(DURATION_MS_MAX, { error }));
}

function durationMs(value: string): number {
  const [, count, unit = ''] = DURATION_PATTERN.exec(value) ?? [];
  return Number(count) * (MS[unit] ?? Number.NaN);
}

export function alternatives(values: readonly string[]): string {
  return values.length < 2 ? values.join() : `${values.slice(0, -1).join(', ')} or ${values.at(-1)}`;
}
