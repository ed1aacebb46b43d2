// The command lines of swarm and sink: each option's text is checked by a schema of its own, and what is wrong is one line.
import { isIP } from 'node:net';
import { parseArgs } from 'node:util';
import { z } from 'zod';
import { type Address, parseAddress } from '../src/config/address.ts';
import { integer } from '../src/config/kinds.ts';
import { TidegateError } from '../src/errors.ts';
import { nearestName } from '../src/nearest-name.ts';
import { CROWD_TEXT_BYTES_MAX } from './layout.ts';

/** Takes no value. */
export const flag = z.boolean().default(false);

export function wholeNumber(min: number, max: number) {
  const error = `expected a whole number from ${min} to ${max}`;
  return z
    .string()
    .regex(/^\d{1,9}$/, { error })
    .transform(Number)
    .pipe(integer(min, max, error));
}

/** Events a second. */
export function perSecond() {
  const error = 'expected a number above 0 and up to 10000000';
  return z
    .string()
    .regex(/^\d{1,8}(\.\d{1,6})?$/, { error })
    .transform(Number)
    .pipe(z.number().gt(0, { error }).max(10_000_000, { error }));
}

export function addresses(countMax: number) {
  const error = `expected HOST:PORT, up to ${countMax} of them with commas between`;
  return listOf(countMax, error, parseAddress) as z.ZodType<Address[], string>;
}

export function ipAddresses(countMax: number) {
  const error = `expected an IP address, up to ${countMax} of them with commas between`;
  return listOf(countMax, error, (text) => (isIP(text) === 0 ? null : text)) as z.ZodType<string[], string>;
}

function listOf<Item>(countMax: number, error: string, parse: (text: string) => Item | null) {
  return z
    .string()
    .transform((text) => text.split(',').map(parse))
    .refine((items) => items.length <= countMax && !items.includes(null), { error });
}

/** With {n} for a client's number, which comes out as the character that stands for it in the rings' memories. */
export function pattern(what: string) {
  const error = `expected ${what} of up to ${CROWD_TEXT_BYTES_MAX} bytes`;
  return z
    .string()
    .refine((text) => !text.includes('\0') && Buffer.byteLength(text) <= CROWD_TEXT_BYTES_MAX, { error })
    .transform((text) => text.replaceAll('{n}', '\0'));
}

export const rings = z.union([z.literal('auto'), wholeNumber(1, 1024)], {
  error: 'expected auto or a whole number from 1 to 1024',
});

export const progress = z.enum(['text', 'json', 'off'], { error: 'expected text, json or off' });

/**
 * Values by name with their defaults, or undefined when --help was given. A fault is a TidegateError whose message says
 * which option it is of, what was expected and what was found.
 */
export function readOptions<Shape extends z.ZodRawShape>(
  args: readonly string[],
  shape: Shape,
): z.output<z.ZodObject<Shape>> | undefined {
  const schema = z.object(shape);
  const isFlag = (type: unknown) => type === (flag as unknown);
  const options = Object.fromEntries(
    Object.entries(shape).map(([name, type]) => [name, { type: isFlag(type) ? 'boolean' : 'string' } as const]),
  );
  const { tokens } = parseArgs({ args: [...args], options, strict: false, allowPositionals: true, tokens: true });
  const given: Record<string, unknown> = {};
  for (const token of tokens) {
    if (token.kind === 'positional') throw fault(`there is no place for "${token.value}"`);
    if (token.kind !== 'option') continue;
    if (token.name === 'help') return undefined;
    given[token.name] = readToken(token, shape, given, isFlag);
  }
  const read = schema.safeParse(given);
  if (read.success) return read.data;
  const [issue] = read.error.issues;
  const name = String(issue!.path[0]);
  if (!Object.hasOwn(given, name)) throw fault(`--${name} is needed`);
  throw fault(`--${name}: ${issue!.message}, found "${given[name]}"`);
}

function readToken(
  { name, rawName, value }: { name: string; rawName: string; value: string | undefined },
  shape: z.ZodRawShape,
  given: object,
  isFlag: (type: unknown) => boolean,
): string | boolean {
  if (!Object.hasOwn(shape, name)) {
    const nearest = nearestName(name, Object.keys(shape));
    throw fault(`unknown option ${rawName}${nearest === null ? '' : `, did you mean --${nearest}?`}`);
  }
  if (Object.hasOwn(given, name)) throw fault(`--${name} is there twice`);
  const takesNone = isFlag(shape[name]);
  if (takesNone && value !== undefined) throw fault(`--${name} takes no value`);
  if (!takesNone && value === undefined) throw fault(`--${name} needs a value`);
  return takesNone || value!;
}

function fault(message: string): TidegateError {
  return new TidegateError('USAGE', `${message}; see --help`);
}
