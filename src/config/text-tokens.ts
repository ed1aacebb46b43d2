// Patterns and templates as the data plane reads them, which has no regular expressions: a list of tokens, each a byte,
// a wildcard or a field of the client's.
import {
  FIELD_CLIENT_ID,
  FIELD_REMOTE_ADDR,
  FIELD_TLS_CLIENT_CN,
  FIELD_TLS_CLIENT_FINGERPRINT,
  FIELD_TLS_CLIENT_SAN,
  FIELD_TLS_CLIENT_SERIAL,
  FIELD_TLS_CLIENT_SUBJECT,
  FIELD_TLS_SNI,
  FIELD_USERNAME,
  PATTERN_BYTES_MAX,
  PATTERN_FIELDS_MAX,
  TEMPLATE_BYTES_MAX,
  TOKEN_ANY_CHARACTER,
  TOKEN_ANY_RUN,
  TOKEN_FIELDS,
} from '../../assembly/layout.ts';

const FIELDS: Record<string, number> = {
  client_id: FIELD_CLIENT_ID,
  username: FIELD_USERNAME,
  remote_addr: FIELD_REMOTE_ADDR,
  tls_client_cn: FIELD_TLS_CLIENT_CN,
  tls_client_subject: FIELD_TLS_CLIENT_SUBJECT,
  tls_client_san: FIELD_TLS_CLIENT_SAN,
  tls_client_serial: FIELD_TLS_CLIENT_SERIAL,
  tls_client_fingerprint: FIELD_TLS_CLIENT_FINGERPRINT,
  tls_sni: FIELD_TLS_SNI,
};

/** As they stand in patterns and templates. */
export const FIELD_NAMES = Object.keys(FIELDS)
  .map((name) => `\${${name}}`)
  .join(', ');

const WILDCARDS: Record<string, number> = { '*': TOKEN_ANY_RUN, '?': TOKEN_ANY_CHARACTER };

// The parts that mean more than themselves, and any other character. In both, `$$` before a brace stands for `$`.
const PATTERN_PART = /\$\$(?=\$*\{)|\$\{([^}]*)\}?|\\(.?)|[*?]|./gsu;
const TEMPLATE_PART = /\$\$(?=\$*\{)|\$\{([^}]*)\}?|./gsu;

/** A glob: `*` any characters, `?` one, `\` before either takes it literally. Throws a RangeError that says what is wrong. */
export function patternTokens(pattern: string): number[] {
  const tokens = [...pattern.matchAll(PATTERN_PART)].flatMap((part) => {
    const [text, field, escaped] = part;
    if (field !== undefined) return fieldToken(text, field);
    if (escaped !== undefined) return bytesOf(escapedText(text, escaped));
    return WILDCARDS[text] ?? literalBytes(text);
  });
  if (Buffer.byteLength(pattern) > PATTERN_BYTES_MAX)
    throw new RangeError(`expected a pattern of at most ${PATTERN_BYTES_MAX} bytes`);
  const fields = [...tokens.keys()].filter((index) => isField(tokens[index]!));
  if (fields.length > PATTERN_FIELDS_MAX)
    throw new RangeError(`expected a pattern with at most ${PATTERN_FIELDS_MAX} fields`);
  // A search for what a client may have chosen, in what it may have chosen, could take long.
  const [first, last] = [tokens.indexOf(TOKEN_ANY_RUN), tokens.lastIndexOf(TOKEN_ANY_RUN)];
  if (fields.some((index) => index > first && index < last))
    throw new RangeError('expected a pattern with no field between two *');
  return tokens;
}

/** Throws a RangeError that says what is wrong. */
export function templateTokens(template: string): number[] {
  if (Buffer.byteLength(template) > TEMPLATE_BYTES_MAX)
    throw new RangeError(`expected a template of at most ${TEMPLATE_BYTES_MAX} bytes`);
  return [...template.matchAll(TEMPLATE_PART)].flatMap(([text, field]) =>
    field === undefined ? literalBytes(text) : fieldToken(text, field),
  );
}

export function isField(token: number): boolean {
  return token >= TOKEN_FIELDS;
}

/** A bit for each field that is named. */
export function fieldBits(tokens: readonly number[]): number {
  return tokens.filter(isField).reduce((bits, token) => bits | (1 << (token - TOKEN_FIELDS)), 0);
}

function fieldToken(text: string, name: string): number {
  if (text.endsWith('}') && Object.hasOwn(FIELDS, name)) return TOKEN_FIELDS + FIELDS[name]!;
  throw new RangeError(`expected one of ${FIELD_NAMES}, or $\${ for what is no field`);
}

function escapedText(text: string, escaped: string): string {
  if (escaped !== '' && '*?\\'.includes(escaped)) return escaped;
  throw new RangeError(`expected *, ? or \\ behind a \\, in ${JSON.stringify(text)}`);
}

function literalBytes(text: string): number[] {
  return bytesOf(text === '$$' ? '$' : text);
}

/** MQTT's strings hold no U+0000 [MQTT-1.5.4-2], and no halves of surrogate pairs [MQTT-1.5.4-1]. */
function bytesOf(text: string): number[] {
  if (text === '\0' || !text.isWellFormed()) throw new RangeError('expected a text that MQTT can carry');
  return [...Buffer.from(text)];
}
