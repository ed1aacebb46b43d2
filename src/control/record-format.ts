// What an access-log line looks like. There is one mechanism, a template with NGINX's variable names, compiled into a
// list of field writers; the formats `text` and `json` are templates that we wrote.
import { hostname } from 'node:os';
import {
  CLIENT_ID_KEPT_BYTES_MAX,
  FRONT_CLIENT_CN,
  FRONT_CLIENT_FINGERPRINT,
  FRONT_CLIENT_SAN,
  FRONT_CLIENT_SERIAL,
  FRONT_CLIENT_SUBJECT,
  FRONT_ERROR,
  FRONT_SNI,
  FRONT_TEXTS,
  FRONT_TEXTS_MAX,
  FRONT_TLS_CIPHER,
  FRONT_TLS_VERSION,
  NONE,
  REASON_NONE,
  REASONS_MAX,
  RECORD_ATTEMPTS,
  RECORD_BACKEND,
  RECORD_BYTES_FROM_CLIENT,
  RECORD_BYTES_TO_CLIENT,
  RECORD_BYTES_TOTAL,
  RECORD_CLIENT_ID,
  RECORD_CLIENT_ID_BYTES,
  RECORD_CLOSED_MS,
  RECORD_EPOCH,
  RECORD_KEEP_ALIVE,
  RECORD_KEPT_SHIFT,
  RECORD_LISTENER,
  RECORD_OPENED_MS,
  RECORD_PEER,
  RECORD_REASON,
  RECORD_VERSION,
} from '../../assembly/layout.ts';
import { reasons } from '../reasons.ts';
import {
  commonLogTime,
  ESCAPED_BYTES_MAX,
  encodeText,
  isoTime,
  isWellFormed,
  type Output,
  STYLE_COLUMNS,
  STYLE_DEFAULT,
  STYLE_JSON,
  type Style,
  secondWriter,
  withoutCutCharacter,
  writeAddress,
  writeByte,
  writeBytes,
  writeHex,
  writeInteger,
  writeSeconds,
  writeValue,
} from './log-text.ts';

/** Contract: columns as in the HTTP common log, then key=value. What a front door knows follows, where there is one. */
const TEXT_TEMPLATE =
  '$remote_addr [$time_local] $protocol $status $bytes_received $bytes_sent $upstream_addr $mqtt_client_id ' +
  'reason=$reason session_time=$session_time listener=$listener keep_alive=$keep_alive attempts=$attempts ' +
  'pool=$pool remote_port=$remote_port';

/** Contract: one object per line. The closing brace comes after the fields that only some lines have. */
const JSON_TEMPLATE =
  '{"time":"$time_iso8601","remote_addr":"$remote_addr","remote_port":$remote_port,"protocol":"$protocol",' +
  '"status":$status,"bytes_from_client":$bytes_received,"bytes_to_client":$bytes_sent,"backend":"$upstream_addr",' +
  '"client_id":"$mqtt_client_id","reason":"$reason","session_time":$session_time,"listener":"$listener",' +
  '"pool":"$pool","keep_alive":$keep_alive,"attempts":$attempts';

/** No field is longer: a whole ClientId, every byte of it escaped, and the mark that it was cut. */
const RECORD_LENGTH_MASK = (1 << RECORD_KEPT_SHIFT) - 1;
const FIELD_BYTES_MAX = CLIENT_ID_KEPT_BYTES_MAX * ESCAPED_BYTES_MAX + 64;
/** Listeners, pools and backends have short names; this keeps them inside FIELD_BYTES_MAX whatever happens. */
const NAME_BYTES_MAX = CLIENT_ID_KEPT_BYTES_MAX;
const CUT_MARK = encodeText('...');
const NEWLINE = 0x0a;
const DASH = 0x2d;
const STATUS_BACKEND_FAILED = 502;

/** What the numbers in records are called, from `epoch` on. Backend ids are never used again, listener indexes are. */
export interface NamesUpdate {
  epoch: number;
  listeners: string[];
  backends: { id: number; pool: string; address: string }[];
}

/** One worker's records, as views over its memory; `at` is where the record at hand begins. */
export class AccessRecord {
  readonly bytes: Uint8Array;
  readonly words: Uint32Array;
  readonly doubles: Float64Array;
  readonly worker: number;
  at = 0;
  /** Of the text that textBytes was asked for last. */
  textAt = 0;

  constructor(memory: ArrayBufferLike, worker: number) {
    this.bytes = new Uint8Array(memory);
    this.words = new Uint32Array(memory);
    this.doubles = new Float64Array(memory);
    this.worker = worker;
  }

  word(offset: number): number {
    return this.words[(this.at + offset) >>> 2]!;
  }

  /** Exact up to 2^53. */
  u64(offset: number): number {
    return this.word(offset) + this.word(offset + 4) * 0x100000000;
  }

  double(offset: number): number {
    return this.doubles[(this.at + offset) >>> 3]!;
  }

  get closedMs(): number {
    return Math.floor(this.double(RECORD_CLOSED_MS));
  }

  /** Bytes of the ClientId that lie in the record. */
  get clientIdKept(): number {
    return this.word(RECORD_CLIENT_ID_BYTES) >>> RECORD_KEPT_SHIFT;
  }

  /** How many bytes the Front block's text at this place has; 0: there is none. They lie from `textAt` on. */
  textBytes(place: number): number {
    const front = this.#front;
    const from = this.at + this.word(RECORD_BYTES_TOTAL);
    if (front + FRONT_TEXTS > from) return 0;
    this.textAt = front + FRONT_TEXTS;
    for (let before = 0; before < place; before++) this.textAt += this.#u16(front + before * 2);
    const bytes = this.#u16(front + place * 2);
    return this.textAt + bytes > from ? 0 : bytes;
  }

  get #front(): number {
    return this.at + ((RECORD_CLIENT_ID + this.clientIdKept + 7) & ~7);
  }

  #u16(at: number): number {
    return this.bytes[at]! | (this.bytes[at + 1]! << 8);
  }
}

type Field = (output: Output, record: AccessRecord) => void;

export class RecordFormat {
  readonly names: Names;
  /** Room that writeLine needs. */
  readonly lineBytesMax: number;
  readonly #fields: readonly Field[];

  constructor(fields: readonly Field[], names: Names, literalBytes: number) {
    this.#fields = fields;
    this.names = names;
    this.lineBytesMax = literalBytes + fields.length * FIELD_BYTES_MAX + 1;
  }

  writeLine(output: Output, record: AccessRecord): void {
    const fields = this.#fields;
    for (let index = 0; index < fields.length; index++) fields[index]!(output, record);
    writeByte(output, NEWLINE);
  }
}

export const FORMAT_EXPECTED = 'expected text, json, or a template with variables such as $remote_addr';

/** `text`, `json`, or a template. Throws a RangeError that says what is wrong with a template. */
export function compileFormat(format: string): RecordFormat {
  if (format === 'text') return compile(TEXT_TEMPLATE, STYLE_COLUMNS, frontFields(' ', '=', '', STYLE_COLUMNS));
  if (format === 'json') {
    const last = [...frontFields(',"', '":"', '"', STYLE_JSON), writeJsonExceptions, literal(encodeText('}'))];
    return compile(JSON_TEMPLATE, STYLE_JSON, last);
  }
  return compileTemplate(format);
}

/**
 * A template of the user's own: `$name` or `${name}`, and before it, as in NGINX's log_format, `escape=default` (taken
 * when nothing is said) or `escape=json`. Throws a RangeError that names an unknown variable and lists the known ones.
 */
export function compileTemplate(text: string): RecordFormat {
  const [, escaping = 'default', template] = /^(?:escape=(\w+)\s+)?(.*)$/s.exec(text.trim()) as string[];
  const style = TEMPLATE_STYLES[escaping];
  if (style === undefined)
    throw new RangeError(`unknown escape=${escaping}; escape=default or escape=json is expected`);
  if (/[\r\n]/.test(template!)) throw new RangeError('a template is one line: a connection is one line of the log');
  if (!template!.includes('$')) {
    throw new RangeError(`${FORMAT_EXPECTED}, not "${text}"`);
  }
  return compile(template!, style);
}

const TEMPLATE_STYLES: Record<string, Style> = { default: STYLE_DEFAULT, json: STYLE_JSON };

function compile(template: string, style: Style, last: readonly Field[] = []): RecordFormat {
  const names = new Names(style);
  const fields: Field[] = [];
  for (const [part, braced, bare] of template.matchAll(/[^$]+|\$(?:\{(\w+)\}|(\w+))?/g)) {
    if (!part.startsWith('$')) fields.push(literal(encodeText(part)));
    else fields.push(variable(braced ?? bare ?? '')(style, names));
  }
  return new RecordFormat([...fields, ...last], names, encodeText(template).length);
}

function variable(name: string): MakeField {
  const make = Object.hasOwn(VARIABLES, name) ? VARIABLES[name] : undefined;
  if (make !== undefined) return make;
  const known = Object.keys(VARIABLES)
    .map((key) => `$${key}`)
    .join(' ');
  throw new RangeError(`unknown variable $${name}; known are ${known}`);
}

type MakeField = (style: Style, names: Names) => Field;

/** NGINX's stream variables first, then what only an MQTT balancer knows. Times are those of the connection's end. */
const VARIABLES: Record<string, MakeField> = {
  remote_addr: (style) => (output, record) => writeAddress(output, record.bytes, record.at + RECORD_PEER, style.absent),
  remote_port: () => (output, record) => writeInteger(output, remotePort(record)),
  time_local: () => timeField(commonLogTime),
  time_iso8601: () => timeField(isoTime),
  msec: () => (output, record) => writeSeconds(output, clampTime(record.closedMs)),
  protocol: (style) => (output, record) => writeBytes(output, PROTOCOLS[record.word(RECORD_VERSION)] ?? style.absent),
  status: () => (output, record) => writeBytes(output, reasonText(STATUS_TEXTS, record)),
  bytes_sent: () => (output, record) => writeInteger(output, record.u64(RECORD_BYTES_TO_CLIENT)),
  bytes_received: () => (output, record) => writeInteger(output, record.u64(RECORD_BYTES_FROM_CLIENT)),
  session_time: () => (output, record) => writeSeconds(output, sessionMs(record)),
  connection: connectionField,
  pid: () => literal(encodeText(String(process.pid))),
  hostname: (style) => literal(harmless(hostname(), style)),
  upstream_addr: (_style, names) => (output, record) => writeBytes(output, names.backend(record.word(RECORD_BACKEND))),
  upstream_bytes_sent: (style) => upstreamBytesField(style, RECORD_BYTES_FROM_CLIENT),
  upstream_bytes_received: (style) => upstreamBytesField(style, RECORD_BYTES_TO_CLIENT),
  mqtt_client_id: clientIdField,
  mqtt_preread_clientid: clientIdField, // what NGINX's mqtt_preread module calls it
  reason: () => (output, record) => writeBytes(output, reasonText(REASON_TEXTS, record)),
  listener: (_style, names) => (output, record) =>
    writeBytes(output, names.listener(record.word(RECORD_EPOCH), record.word(RECORD_LISTENER))),
  pool: (_style, names) => (output, record) => writeBytes(output, names.pool(record.word(RECORD_BACKEND))),
  keep_alive: () => (output, record) => writeInteger(output, record.word(RECORD_KEEP_ALIVE)),
  attempts: () => (output, record) => writeInteger(output, record.word(RECORD_ATTEMPTS)),
  worker: () => (output, record) => writeInteger(output, record.worker),
  ssl_protocol: (style) => frontField(FRONT_TLS_VERSION, style),
  ssl_cipher: (style) => frontField(FRONT_TLS_CIPHER, style),
  ssl_server_name: (style) => frontField(FRONT_SNI, style),
  ssl_client_cn: (style) => frontField(FRONT_CLIENT_CN, style),
  ssl_client_s_dn: (style) => frontField(FRONT_CLIENT_SUBJECT, style),
  ssl_client_san: (style) => frontField(FRONT_CLIENT_SAN, style),
  ssl_client_serial: (style) => frontField(FRONT_CLIENT_SERIAL, style),
  ssl_client_fingerprint: (style) => frontField(FRONT_CLIENT_FINGERPRINT, style),
  front_error: (style) => frontField(FRONT_ERROR, style),
};

function literal(bytes: Uint8Array): Field {
  return (output) => writeBytes(output, bytes);
}

function timeField(render: (date: Date) => string): Field {
  const write = secondWriter(render);
  return (output, record) => write(output, Math.floor(clampTime(record.closedMs) / 1000));
}

/** A clock can't be trusted to be a date. The bound is that of Date. */
function clampTime(milliseconds: number): number {
  return milliseconds >= 0 && milliseconds <= 8.64e15 ? milliseconds : 0;
}

function sessionMs(record: AccessRecord): number {
  return clampTime(Math.round(record.double(RECORD_CLOSED_MS) - record.double(RECORD_OPENED_MS)));
}

/** A running number, as NGINX's; ours counts connections as they end. */
function connectionField(): Field {
  let count = 0;
  return (output) => writeInteger(output, ++count);
}

function remotePort(record: AccessRecord): number {
  const port = record.at + RECORD_PEER + 2;
  return (record.bytes[port]! << 8) | record.bytes[port + 1]!;
}

/** Indexed by protocol level. */
const PROTOCOLS = [
  undefined,
  undefined,
  undefined,
  encodeText('MQTT/3.1'),
  encodeText('MQTT/3.1.1'),
  encodeText('MQTT/5.0'),
];

const STATUS_TEXTS = reasonTexts((index) => String(reasons[index]?.status ?? 500));
const REASON_TEXTS = reasonTexts((index) => reasons[index]?.name ?? `reason_${index}`);

function reasonTexts(text: (index: number) => string): Uint8Array[] {
  return Array.from({ length: REASONS_MAX }, (_, index) => encodeText(text(index)));
}

function reasonText(texts: readonly Uint8Array[], record: AccessRecord): Uint8Array {
  return texts[record.word(RECORD_REASON)] ?? texts[REASON_NONE]!;
}

/** Bytes pass through unchanged, so the backend's side has the client's counts, once there was a backend. */
function upstreamBytesField(style: Style, offset: number): Field {
  return (output, record) => {
    if (record.word(RECORD_BACKEND) === NONE) writeBytes(output, style.absent);
    else if (reasons[record.word(RECORD_REASON)]?.status === STATUS_BACKEND_FAILED) writeInteger(output, 0);
    else writeInteger(output, record.u64(offset));
  };
}

function frontField(place: number, style: Style): Field {
  return (output, record) => {
    const bytes = record.textBytes(place);
    if (bytes === 0) writeBytes(output, style.absent);
    else writeValue(output, record.bytes, record.textAt, record.textAt + bytes, style);
  };
}

/** What text and json call it. */
const FRONT_NAMES: readonly [string, number][] = [
  ['tls_version', FRONT_TLS_VERSION],
  ['tls_cipher', FRONT_TLS_CIPHER],
  ['sni', FRONT_SNI],
  ['client_cn', FRONT_CLIENT_CN],
  ['client_subject', FRONT_CLIENT_SUBJECT],
  ['client_san', FRONT_CLIENT_SAN],
  ['client_serial', FRONT_CLIENT_SERIAL],
  ['client_fingerprint', FRONT_CLIENT_FINGERPRINT],
  ['front_error', FRONT_ERROR],
];
if (FRONT_NAMES.length > FRONT_TEXTS_MAX) throw new Error('a Front block has no place for all of its texts');

/** For the lines of clients that have them. */
function frontFields(before: string, between: string, after: string, style: Style): Field[] {
  return FRONT_NAMES.map(([name, place]) => {
    const key = encodeText(`${before}${name}${between}`);
    const write = frontField(place, style);
    const end = encodeText(after);
    return (output, record) => {
      if (record.textBytes(place) === 0) return;
      writeBytes(output, key);
      write(output, record);
      writeBytes(output, end);
    };
  });
}

function clientIdField(style: Style): Field {
  return (output, record) => {
    const { bytes, clientIdKept } = record;
    const from = record.at + RECORD_CLIENT_ID;
    if (clientIdKept === 0) writeBytes(output, style.absent);
    // An id that is just what stands for "no id" must not pass for it.
    else if (clientIdKept === 1 && bytes[from] === DASH && style.absent.length > 0) {
      style.writeEscaped(output, bytes, from, from + 1);
    } else writeValue(output, bytes, from, clientIdEnd(record), style);
    if (isClientIdCut(record)) writeBytes(output, CUT_MARK);
  };
}

function isClientIdCut(record: AccessRecord): boolean {
  return record.clientIdKept < (record.word(RECORD_CLIENT_ID_BYTES) & RECORD_LENGTH_MASK);
}

function clientIdEnd(record: AccessRecord): number {
  const from = record.at + RECORD_CLIENT_ID;
  const to = from + record.clientIdKept;
  return isClientIdCut(record) ? withoutCutCharacter(record.bytes, from, to) : to;
}

const CLIENT_ID_HEX = encodeText(',"client_id_hex":"');
const QUOTE = encodeText('"');

/** JSON can only hold Unicode: where U+FFFD had to stand for a byte, the bytes themselves follow. */
function writeJsonExceptions(output: Output, record: AccessRecord): void {
  const from = record.at + RECORD_CLIENT_ID;
  const to = clientIdEnd(record);
  if (isWellFormed(record.bytes, from, to)) return;
  writeBytes(output, CLIENT_ID_HEX);
  writeHex(output, record.bytes, from, to);
  writeBytes(output, QUOTE);
}

/** Names as they stand in lines: escaped once, when they arrive. */
export class Names {
  readonly #style: Style;
  readonly #backends: Uint8Array[] = [];
  readonly #pools: Uint8Array[] = [];
  /** By the epoch from which they count, ascending; a new entry only when the list has changed. */
  readonly #listeners: { epoch: number; source: string; names: Uint8Array[] }[] = [];

  constructor(style: Style) {
    this.#style = style;
  }

  update({ epoch, listeners, backends }: NamesUpdate): void {
    for (const { id, pool, address } of backends) {
      this.#backends[id] = harmless(address, this.#style);
      this.#pools[id] = harmless(pool, this.#style);
    }
    const source = JSON.stringify(listeners);
    if (this.#listeners.at(-1)?.source === source) return;
    this.#listeners.push({ epoch, source, names: listeners.map((name) => harmless(name, this.#style)) });
  }

  backend(id: number): Uint8Array {
    return id === NONE ? this.#style.absent : (this.#backends[id] ?? this.#style.absent);
  }

  pool(backend: number): Uint8Array {
    return backend === NONE ? this.#style.absent : (this.#pools[backend] ?? this.#style.absent);
  }

  listener(epoch: number, index: number): Uint8Array {
    let entry = this.#listeners.length - 1;
    while (entry > 0 && this.#listeners[entry]!.epoch > epoch) entry--;
    return this.#listeners[entry]?.names[index] ?? this.#style.absent;
  }
}

function harmless(text: string, style: Style): Uint8Array {
  const source = encodeText(text).subarray(0, NAME_BYTES_MAX);
  const output = { bytes: new Uint8Array(source.length * ESCAPED_BYTES_MAX), length: 0 };
  writeValue(output, source, 0, withoutCutCharacter(source, 0, source.length), style);
  return output.length === 0 ? style.absent : output.bytes.slice(0, output.length);
}
