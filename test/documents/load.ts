// Reads the CONNECT documents beside this file: Markdown for people, cases for tests. A case is a second-level heading,
// which is a sentence about behaviour; prose with the clause it rests on; the client's bytes; and the outcome:
//
//     ## refuses the reserved flag in 5.0
//     [MQTT-3.1.2-3]
//
//         10 0e            # indented: bytes in hex, "text", either one repeated by *COUNT; the comment after #
//         00 04 "MQTT" 05
//         ...
//
//     => refused reserved_flag at 9        or:  => complete     => partial
//
//     - answer: 20 03 00 81 00             what isn't listed is absent, zero, or the default
//
// A refusal may list `version` and `answer`, a complete packet its fields, and each `connect_max_bytes`.
import { readdirSync, readFileSync } from 'node:fs';

export interface ConnectDocument {
  /** Where it stands: file:line. */
  place: string;
  file: string;
  name: string;
  bytes: Uint8Array;
  connectMaxBytes: number;
  expected: ExpectedComplete | ExpectedPartial | ExpectedRefusal;
}

export interface ExpectedPartial {
  state: 'partial';
}

export interface ExpectedRefusal {
  state: 'refused';
  /** As src/reasons.ts names it. */
  reason: string;
  /** Where in the packet the fault stands. */
  offset: number;
  /** What is known of the version by then, 0 nothing. */
  version: number;
  /** The CONNACK, empty where the connection is closed without a word. */
  answer: Uint8Array;
}

export interface ExpectedComplete {
  state: 'complete';
  packetBytes: number;
  version: number;
  flags: number;
  keepAlive: number;
  clientId: string;
  username: string | null;
  password: Uint8Array | null;
  willTopic: string | null;
  willPayload: Uint8Array | null;
  /** Without their length; null before 5.0. */
  willProperties: Uint8Array | null;
  properties: Uint8Array | null;
  sessionExpiry: number;
  receiveMaximum: number;
  /** 0 when absent. */
  maximumPacketSize: number;
  topicAliasMaximum: number;
}

/** All documents, in the order of their files. Throws an Error with file and line for one that can't be read. */
export function loadConnectDocuments(): ConnectDocument[] {
  const files = readdirSync(import.meta.dirname).filter((file) => file.endsWith('.md'));
  return files.sort().flatMap(readDocuments);
}

const CONNECT_MAX_BYTES_DEFAULT = 65536;

/** A case as its lines tell it, before its values are understood. */
interface Draft {
  file: string;
  line: number;
  name: string;
  bytes: number[];
  outcome: string;
  items: Map<string, string>;
}

function readDocuments(file: string): ConnectDocument[] {
  const drafts: Draft[] = [];
  const lines = readFileSync(new URL(file, import.meta.url), 'utf8').split('\n');
  lines.forEach((text, index) => {
    try {
      readLine(drafts, file, index + 1, text);
    } catch (error) {
      throw new Error(`${file}:${index + 1}: ${(error as Error).message}`);
    }
  });
  return drafts.map(finish);
}

function readLine(drafts: Draft[], file: string, line: number, text: string): void {
  if (text.startsWith('## ')) {
    const name = text.slice(3);
    if (drafts.some((draft) => draft.name === name)) throw new Error(`a second "${name}"`);
    drafts.push({ file, line, name, bytes: [], outcome: '', items: new Map() });
    return;
  }
  const draft = drafts.at(-1);
  if (draft === undefined) return; // the file's introduction
  if (text.startsWith('    ')) draft.bytes.push(...readBytes(text));
  else if (text.startsWith('=> ')) draft.outcome = text.slice(3);
  else if (text.startsWith('- ')) readItem(draft, text.slice(2));
}

function readItem(draft: Draft, text: string): void {
  const colon = text.indexOf(':');
  if (colon < 0) throw new Error('a list item is "name: value"');
  draft.items.set(text.slice(0, colon), text.slice(colon + 1).trim());
}

const BYTES_TOKEN = /\s*(?:#.*|([0-9a-f]{2}|"(?:[^"\\]|\\.)*")(?:\*(\d+))?(?=\s|$))/y;

/** A line of bytes as documents have them. */
export function readBytes(text: string): number[] {
  const bytes: number[] = [];
  BYTES_TOKEN.lastIndex = 0;
  while (BYTES_TOKEN.lastIndex < text.trimEnd().length) {
    const match = BYTES_TOKEN.exec(text);
    if (match === null) throw new Error('neither bytes in hex, nor "text", nor a comment');
    const [, token, count = '1'] = match;
    if (token === undefined) break; // a comment
    const one = token.startsWith('"') ? Buffer.from(JSON.parse(token)) : Buffer.from(token, 'hex');
    for (let index = 0; index < Number(count); index++) bytes.push(...one);
  }
  return bytes;
}

function finish(draft: Draft): ConnectDocument {
  const place = `${draft.file}:${draft.line}`;
  try {
    const connectMaxBytes = takeNumber(draft, 'connect_max_bytes', CONNECT_MAX_BYTES_DEFAULT);
    const bytes = Uint8Array.from(draft.bytes);
    const expected = readOutcome(draft, bytes.length);
    const [unknown] = draft.items.keys();
    if (unknown !== undefined) throw new Error(`"${unknown}" can't stand here`);
    return { place, file: draft.file, name: draft.name, bytes, connectMaxBytes, expected };
  } catch (error) {
    throw new Error(`${place}: ${(error as Error).message}`);
  }
}

function readOutcome(draft: Draft, bytes: number): ConnectDocument['expected'] {
  if (draft.outcome === 'complete') return readComplete(draft, bytes);
  if (draft.outcome === 'partial') return { state: 'partial' };
  const refused = /^refused (\w+) at (\d+)$/.exec(draft.outcome);
  if (refused === null) throw new Error('the outcome is "=> complete", "=> partial" or "=> refused REASON at OFFSET"');
  return {
    state: 'refused',
    reason: String(refused[1]),
    offset: Number(refused[2]),
    version: takeNumber(draft, 'version', 0),
    answer: readAnswer(take(draft, 'answer') ?? 'nothing'),
  };
}

function readAnswer(text: string): Uint8Array {
  return Uint8Array.from(text === 'nothing' ? [] : readBytes(text));
}

function readComplete(draft: Draft, bytes: number): ExpectedComplete {
  const version = takeNumber(draft, 'version', 0);
  const flags = Number.parseInt(take(draft, 'flags') ?? '', 16);
  const clientId = takeText(draft, 'client id');
  if (version === 0 || Number.isNaN(flags) || clientId === null) {
    throw new Error('a complete packet needs version, flags and client id');
  }
  const noProperties = version === 5 ? new Uint8Array(0) : null;
  const willTopic = takeText(draft, 'will topic');
  return {
    state: 'complete',
    packetBytes: takeNumber(draft, 'packet bytes', bytes),
    version,
    flags,
    keepAlive: takeNumber(draft, 'keep alive', 0),
    clientId,
    username: takeText(draft, 'username'),
    password: takeBytes(draft, 'password'),
    willTopic,
    willPayload: takeBytes(draft, 'will payload'),
    willProperties: takeBytes(draft, 'will properties') ?? (willTopic === null ? null : noProperties),
    properties: takeBytes(draft, 'properties') ?? noProperties,
    sessionExpiry: takeNumber(draft, 'session expiry', 0),
    receiveMaximum: takeNumber(draft, 'receive maximum', 65535),
    maximumPacketSize: takeNumber(draft, 'maximum packet size', 0),
    topicAliasMaximum: takeNumber(draft, 'topic alias maximum', 0),
  };
}

function take(draft: Draft, name: string): string | undefined {
  const text = draft.items.get(name);
  draft.items.delete(name);
  return text;
}

function takeNumber(draft: Draft, name: string, absent: number): number {
  const text = take(draft, name);
  if (text === undefined) return absent;
  if (!/^\d+$/.test(text)) throw new Error(`${name} is a number`);
  return Number(text);
}

/** "text", or "text"*COUNT. */
function takeText(draft: Draft, name: string): string | null {
  const text = take(draft, name);
  if (text === undefined) return null;
  const match = /^("(?:[^"\\]|\\.)*")(?:\*(\d+))?$/.exec(text);
  if (match?.[1] === undefined) throw new Error(`${name} is "text" or "text"*COUNT`);
  return JSON.parse(match[1]).repeat(Number(match[2] ?? 1));
}

/** As the bytes of a packet are written; nothing for none. */
function takeBytes(draft: Draft, name: string): Uint8Array | null {
  const text = take(draft, name);
  return text === undefined ? null : Uint8Array.from(readBytes(text));
}
