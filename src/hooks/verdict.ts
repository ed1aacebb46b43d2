// What onConnect has answered, looked at closely: it is the operator's own code, and may answer anything.
import { DECISION_TEXTS_BYTES_MAX } from '../../assembly/layout.ts';
import { REFUSAL_CODES } from './on-connect.ts';

/** Of a decision, as it goes to the data plane; null: nothing changes. */
export interface Texts {
  key: Uint8Array | null;
  clientId: Uint8Array | null;
  username: Uint8Array | null;
  password: Uint8Array | null;
}

export type Verdict = ({ accepts: true; pool: string | null } & Texts) | { accepts: false; code: number };

const NOT_AUTHORISED = 0x87;
const FIELD_BYTES_MAX = 0xffff;
const ACCEPT_KEYS = ['action', 'pool', 'key', 'clientId', 'username', 'password'];
const REFUSE_KEYS = ['action', 'code'];

/** Throws a TypeError that says what is wrong with it. */
export function verdictOf(decision: unknown): Verdict {
  if (typeof decision !== 'object' || decision === null)
    throw new TypeError(`expected a decision, got ${kind(decision)}`);
  const { action } = decision as { action?: unknown };
  if (action === 'refuse') return refusal(decision);
  if (action === 'accept') return acceptance(decision);
  throw new TypeError(`expected action: 'accept' or 'refuse', got ${kind(action)}`);
}

function refusal(decision: object): Verdict {
  checkKeys(decision, REFUSE_KEYS);
  const { code = NOT_AUTHORISED } = decision as { code?: unknown };
  if (!(REFUSAL_CODES as readonly unknown[]).includes(code)) {
    throw new TypeError(`expected a code with which MQTT 5.0 refuses a CONNECT, such as 0x87, got ${kind(code)}`);
  }
  return { accepts: false, code: code as number };
}

function acceptance(decision: object): Verdict {
  checkKeys(decision, ACCEPT_KEYS);
  const { pool, key, clientId, username, password } = decision as Record<string, unknown>;
  if (pool !== undefined && typeof pool !== 'string')
    throw new TypeError(`expected the name of a pool, got ${kind(pool)}`);
  const texts = {
    key: bytesOf('key', key),
    clientId: textOf('clientId', clientId),
    username: textOf('username', username),
    password: bytesOf('password', password),
  };
  const bytes = Object.values(texts).reduce((sum, text) => sum + (text?.length ?? 0), 0);
  if (bytes > DECISION_TEXTS_BYTES_MAX) throw new TypeError(`${bytes} bytes of texts in a decision are too many`);
  return { accepts: true, pool: pool ?? null, ...texts };
}

/** Whoever writes another key expects something of it. */
function checkKeys(decision: object, known: readonly string[]): void {
  const unknown = Object.keys(decision).find((key) => !known.includes(key));
  if (unknown !== undefined) throw new TypeError(`expected ${known.join(', ')} in a decision, got ${unknown}`);
}

/** MQTT's strings have no null character [MQTT-1.5.4-2], and are well-formed. */
function textOf(name: string, value: unknown): Uint8Array | null {
  if (value === undefined) return null;
  if (typeof value !== 'string') throw new TypeError(`expected a string as ${name}, got ${kind(value)}`);
  if (value.includes('\0') || !value.isWellFormed())
    throw new TypeError(`${name} has characters that MQTT doesn't allow`);
  return bytesOf(name, value);
}

function bytesOf(name: string, value: unknown): Uint8Array | null {
  if (value === undefined) return null;
  if (typeof value !== 'string' && !(value instanceof Uint8Array)) {
    throw new TypeError(`expected a string or bytes as ${name}, got ${kind(value)}`);
  }
  const bytes = typeof value === 'string' ? Buffer.from(value) : Uint8Array.from(value);
  if (bytes.length > FIELD_BYTES_MAX)
    throw new TypeError(`${name} has ${bytes.length} bytes, more than MQTT can carry`);
  return bytes;
}

/** Never the value of a text: it may be a password. */
function kind(value: unknown): string {
  if (typeof value === 'string') return 'a string';
  if (typeof value === 'number') return `the number ${value}`;
  return value === null ? 'null' : value === undefined ? 'nothing' : `a value of type ${typeof value}`;
}
