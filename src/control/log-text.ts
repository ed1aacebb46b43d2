// Bytes of log lines, written by hand into one buffer: at a million lines a second a string per field is too much.
import { AF_INET, AF_INET6 } from '../../assembly/uring/abi.ts';

/** Lines grow here until whoever owns it writes them out. There must be room: nothing below checks it. */
export interface Output {
  bytes: Uint8Array;
  length: number;
}

/** How values are made harmless, so that no client can forge a line, a column or a terminal command. */
export interface Style {
  /** For each byte value: 1 when it is ASCII and stands for itself. */
  plain: Uint8Array;
  /** What stands where there is no value. */
  absent: Uint8Array;
  /** One whole character that must not appear as it is. */
  writeEscaped(output: Output, source: Uint8Array, from: number, to: number): void;
  /** A byte that isn't UTF-8. */
  writeInvalid(output: Output, byte: number): void;
}

const encoder = new TextEncoder();
const HEX_UPPER = encoder.encode('0123456789ABCDEF');
const HEX_LOWER = encoder.encode('0123456789abcdef');
const ZERO = 0x30;
const REPLACEMENT_CHARACTER = encoder.encode('\ufffd');

/** `\xHH` as NGINX's `escape=default`, but UTF-8 stays readable. */
export const STYLE_DEFAULT: Style = {
  plain: plainBytes(' '),
  absent: encoder.encode('-'),
  writeEscaped: writeHexEscapes,
  writeInvalid: writeHexEscape,
};

/** The same, spaces too: columns stay columns. */
export const STYLE_COLUMNS: Style = { ...STYLE_DEFAULT, plain: plainBytes('') };

/** The inside of a JSON string. */
export const STYLE_JSON: Style = {
  plain: plainBytes(' '),
  absent: new Uint8Array(0),
  writeEscaped: writeJsonEscape,
  writeInvalid: (output) => writeBytes(output, REPLACEMENT_CHARACTER),
};

/** Most bytes that one byte of a value can become, in any style: `\u0000`. */
export const ESCAPED_BYTES_MAX = 6;

export function encodeText(text: string): Uint8Array {
  return encoder.encode(text);
}

export function writeBytes(output: Output, source: Uint8Array): void {
  const { bytes } = output;
  let length = output.length;
  for (let index = 0; index < source.length; index++) bytes[length++] = source[index]!;
  output.length = length;
}

export function writeByte(output: Output, byte: number): void {
  output.bytes[output.length++] = byte;
}

/** A whole number from 0; exact up to 2^53. */
export function writeInteger(output: Output, value: number): void {
  if (value < 1e9) {
    writeDigits(output, value, digitCount(value));
    return;
  }
  const billions = Math.floor(value / 1e9);
  writeInteger(output, billions);
  writeDigits(output, value - billions * 1e9, 9);
}

/** Milliseconds as seconds with three decimals. */
export function writeSeconds(output: Output, milliseconds: number): void {
  const seconds = Math.floor(milliseconds / 1000);
  writeInteger(output, seconds);
  writeByte(output, 0x2e);
  writeDigits(output, milliseconds - seconds * 1000, 3);
}

function writeDigits(output: Output, value: number, count: number): void {
  const { bytes } = output;
  let rest = value | 0;
  for (let at = output.length + count - 1; at >= output.length; at--) {
    const tenth = (rest / 10) | 0;
    bytes[at] = ZERO + rest - tenth * 10;
    rest = tenth;
  }
  output.length += count;
}

function digitCount(value: number): number {
  let count = 1;
  for (let bound = 10; value >= bound; bound *= 10) count++;
  return count;
}

/** Lines of one second share the text of their time: it is rendered once. */
export function secondWriter(render: (date: Date) => string): (output: Output, second: number) => void {
  let cached = -1;
  let text = new Uint8Array(0);
  return (output, second) => {
    if (second !== cached) {
      text = encoder.encode(render(new Date(second * 1000)));
      cached = second;
    }
    writeBytes(output, text);
  };
}

/** As in the HTTP common log: `22/Nov/2026:14:46:01 +0000`. */
export function commonLogTime(date: Date): string {
  const day = `${two(date.getDate())}/${MONTHS[date.getMonth()]}/${date.getFullYear()}`;
  return `${day}:${clockTime(date)} ${zone(date, '')}`;
}

/** `2026-11-22T14:46:01+00:00`, in the local zone. */
export function isoTime(date: Date): string {
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day}T${clockTime(date)}${zone(date, ':')}`;
}

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

function clockTime(date: Date): string {
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

function zone(date: Date, separator: string): string {
  const east = -date.getTimezoneOffset();
  const minutes = Math.abs(east);
  return `${east < 0 ? '-' : '+'}${two(Math.floor(minutes / 60))}${separator}${two(minutes % 60)}`;
}

function two(value: number): string {
  return String(value).padStart(2, '0');
}

/**
 * The address in a sockaddr. A client of a dual-stack listener that came over IPv4 is shown by its IPv4 address, as it
 * would be on an IPv4 listener: tools that read logs know it by no other name.
 */
export function writeAddress(output: Output, source: Uint8Array, sockaddr: number, absent: Uint8Array): void {
  const family = source[sockaddr]!;
  if (family === AF_INET) writeIPv4(output, source, sockaddr + 4);
  else if (family !== AF_INET6) writeBytes(output, absent);
  else if (isMappedIPv4(source, sockaddr + 8)) writeIPv4(output, source, sockaddr + 20);
  else writeIPv6(output, source, sockaddr + 8);
}

function writeIPv4(output: Output, source: Uint8Array, at: number): void {
  for (let index = 0; index < 4; index++) {
    if (index > 0) writeByte(output, 0x2e);
    writeInteger(output, source[at + index]!);
  }
}

function isMappedIPv4(source: Uint8Array, at: number): boolean {
  for (let index = 0; index < 10; index++) if (source[at + index] !== 0) return false;
  return source[at + 10] === 0xff && source[at + 11] === 0xff;
}

/** In the form of RFC 5952: lower case, the longest run of two or more zero groups as `::`, the first of equals. */
function writeIPv6(output: Output, source: Uint8Array, at: number): void {
  const run = longestZeroRun(source, at);
  for (let index = 0; index < 8; index++) {
    if (index === run.start) {
      writeByte(output, 0x3a);
      writeByte(output, 0x3a);
      index += run.length - 1;
      continue;
    }
    if (index > 0 && index !== run.start + run.length) writeByte(output, 0x3a);
    writeGroup(output, group(source, at, index));
  }
}

function longestZeroRun(source: Uint8Array, at: number): { start: number; length: number } {
  const best = { start: -1, length: 1 };
  for (let index = 0; index < 8; index++) {
    let length = 0;
    while (index + length < 8 && group(source, at, index + length) === 0) length++;
    if (length > best.length) Object.assign(best, { start: index, length });
    index += length;
  }
  return best;
}

function group(source: Uint8Array, at: number, index: number): number {
  return (source[at + index * 2]! << 8) | source[at + index * 2 + 1]!;
}

function writeGroup(output: Output, value: number): void {
  if (value > 0xfff) writeByte(output, HEX_LOWER[value >> 12]!);
  if (value > 0xff) writeByte(output, HEX_LOWER[(value >> 8) & 15]!);
  if (value > 0xf) writeByte(output, HEX_LOWER[(value >> 4) & 15]!);
  writeByte(output, HEX_LOWER[value & 15]!);
}

export function writeHex(output: Output, source: Uint8Array, from: number, to: number): void {
  for (let at = from; at < to; at++) {
    writeByte(output, HEX_LOWER[source[at]! >> 4]!);
    writeByte(output, HEX_LOWER[source[at]! & 15]!);
  }
}

/** A value that somebody else chose, made harmless. */
export function writeValue(output: Output, source: Uint8Array, from: number, to: number, style: Style): void {
  for (let at = from; ; ) {
    at = writePlain(output, source, at, to, style.plain);
    if (at === to) return;
    const size = characterBytes(source, at, to);
    if (size === 0) style.writeInvalid(output, source[at]!);
    else if (size > 1 && !isHidden(codePoint(source, at, size))) copy(output, source, at, size);
    else style.writeEscaped(output, source, at, at + size);
    at += Math.max(size, 1);
  }
}

/** Copies up to the first byte that needs a second look (all from 0x80 up do), and returns where that is. */
function writePlain(output: Output, source: Uint8Array, from: number, to: number, plain: Uint8Array): number {
  const { bytes } = output;
  let length = output.length;
  let at = from;
  while (at < to && plain[source[at]!] === 1) bytes[length++] = source[at++]!;
  output.length = length;
  return at;
}

function copy(output: Output, source: Uint8Array, at: number, size: number): void {
  for (let index = 0; index < size; index++) writeByte(output, source[at + index]!);
}

/** False where any byte is not part of well-formed UTF-8. */
export function isWellFormed(source: Uint8Array, from: number, to: number): boolean {
  for (let at = from; at < to; ) {
    const size = characterBytes(source, at, to);
    if (size === 0) return false;
    at += size;
  }
  return true;
}

/** Where a text that was cut at `to` ends without the piece of a character that the cut left. */
export function withoutCutCharacter(source: Uint8Array, from: number, to: number): number {
  let lead = to - 1;
  while (lead > from && lead > to - 4 && (source[lead]! & 0xc0) === 0x80) lead--;
  return lead >= from && lead + sequenceBytes(source[lead]!) > to ? lead : to;
}

/** Bytes of the character that begins at `at`, 0 where none does (RFC 3629: no overlong form, no surrogate). */
function characterBytes(source: Uint8Array, at: number, end: number): number {
  const size = sequenceBytes(source[at]!);
  if (size <= 1) return size;
  if (at + size > end) return 0;
  for (let index = 1; index < size; index++) if ((source[at + index]! & 0xc0) !== 0x80) return 0;
  const point = codePoint(source, at, size);
  if (size === 3 && (point < 0x800 || (point >= 0xd800 && point <= 0xdfff))) return 0;
  return size === 4 && (point < 0x10000 || point > 0x10ffff) ? 0 : size;
}

function sequenceBytes(lead: number): number {
  if (lead < 0x80) return 1;
  if (lead >= 0xc2 && lead <= 0xdf) return 2;
  if (lead >= 0xe0 && lead <= 0xef) return 3;
  return lead >= 0xf0 && lead <= 0xf4 ? 4 : 0;
}

function codePoint(source: Uint8Array, at: number, size: number): number {
  let point = size === 1 ? source[at]! : source[at]! & (0x7f >> size);
  for (let index = 1; index < size; index++) point = (point << 6) | (source[at + index]! & 0x3f);
  return point;
}

/** Characters beyond ASCII that steer a terminal, end a line or a column for some reader, or turn the text around. */
function isHidden(point: number): boolean {
  for (const [first, last] of HIDDEN) if (point >= first && point <= last) return true;
  return false;
}

const HIDDEN: readonly (readonly [first: number, last: number])[] = [
  [0x80, 0xa0], // C1 controls, no-break space
  [0x61c, 0x61c], // Arabic letter mark
  [0x1680, 0x1680], // Ogham space
  [0x2000, 0x200f], // spaces, zero widths, direction marks
  [0x2028, 0x202f], // line and paragraph separator, embeddings and overrides of direction
  [0x205f, 0x206f], // spaces, joiners, isolates
  [0x3000, 0x3000], // ideographic space
  [0xfeff, 0xfeff], // byte order mark
];

function writeHexEscapes(output: Output, source: Uint8Array, from: number, to: number): void {
  for (let at = from; at < to; at++) writeHexEscape(output, source[at]!);
}

function writeHexEscape(output: Output, byte: number): void {
  writeByte(output, 0x5c);
  writeByte(output, 0x78);
  writeByte(output, HEX_UPPER[byte >> 4]!);
  writeByte(output, HEX_UPPER[byte & 15]!);
}

/** Nothing in HIDDEN lies above U+FFFF, so four digits do. */
function writeJsonEscape(output: Output, source: Uint8Array, from: number, to: number): void {
  const point = codePoint(source, from, to - from);
  writeByte(output, 0x5c);
  if (point === 0x22 || point === 0x5c) {
    writeByte(output, point);
    return;
  }
  writeByte(output, 0x75);
  for (let shift = 12; shift >= 0; shift -= 4) writeByte(output, HEX_LOWER[(point >> shift) & 15]!);
}

/** All that ASCII prints but quotes and backslashes; `also` adds to it. */
function plainBytes(also: string): Uint8Array {
  const plain = new Uint8Array(256);
  plain.fill(1, 0x21, 0x7f);
  plain[0x22] = plain[0x5c] = 0;
  for (const byte of encoder.encode(also)) plain[byte] = 1;
  return plain;
}
