// Reads the documents about identity beside this file, written as those about CONNECT are (../load.ts). A case has the
// client's bytes, the rules of its listener as in the configuration, and what becomes of it:
//
//     => unchanged      the broker gets these bytes
//     => becomes        the broker gets the bytes that follow, up to the list
//     => refused REASON
//
//     - identity: { rewrite: { username: gateway } }
//     - allow, deny: as in the configuration      - connect_max_bytes, from: where they matter
//     - answer: the CONNACK of a refusal          - client id: what the log says, if it is short
import { readdirSync, readFileSync } from 'node:fs';
import { parse } from 'yaml';
import type { Rules } from '../../tools/decisions.ts';
import { readBytes } from '../load.ts';

export interface IdentityDocument {
  /** Where it stands: file:line. */
  place: string;
  file: string;
  name: string;
  bytes: Buffer;
  from: string;
  connectMaxBytes: number;
  rules: Rules;
  expected: { is: 'taken'; bytes: Buffer } | { is: 'refused'; reason: string; answer: Buffer };
  /** undefined: as the log is tested elsewhere. */
  clientId: string | undefined;
}

interface Draft {
  line: number;
  name: string;
  bytes: number[];
  outcome: string;
  outcomeBytes: number[];
  items: Map<string, string>;
}

export function loadIdentityDocuments(): IdentityDocument[] {
  const files = readdirSync(import.meta.dirname).filter((file) => file.endsWith('.md'));
  return files.sort().flatMap(readDocuments);
}

function readDocuments(file: string): IdentityDocument[] {
  const drafts: Draft[] = [];
  const lines = readFileSync(new URL(file, import.meta.url), 'utf8').split('\n');
  lines.forEach((text, index) => {
    try {
      readLine(drafts, index + 1, text);
    } catch (error) {
      throw new Error(`${file}:${index + 1}: ${(error as Error).message}`);
    }
  });
  return drafts.map((draft) => finish(file, draft));
}

function readLine(drafts: Draft[], line: number, text: string): void {
  if (text.startsWith('## ')) {
    drafts.push({ line, name: text.slice(3), bytes: [], outcome: '', outcomeBytes: [], items: new Map() });
    return;
  }
  const draft = drafts.at(-1);
  if (draft === undefined) return;
  if (text.startsWith('    ')) (draft.outcome === '' ? draft.bytes : draft.outcomeBytes).push(...readBytes(text));
  else if (text.startsWith('=> ')) draft.outcome = text.slice(3);
  else if (text.startsWith('- ')) draft.items.set(...itemOf(text.slice(2)));
}

function itemOf(text: string): [string, string] {
  const colon = text.indexOf(':');
  if (colon < 0) throw new Error('a list item is "name: value"');
  return [text.slice(0, colon), text.slice(colon + 1).trim()];
}

function finish(file: string, draft: Draft): IdentityDocument {
  const { line, name, items } = draft;
  const take = (key: string) => {
    const value = items.get(key);
    items.delete(key);
    return value;
  };
  const rule = (key: string) => {
    const value = take(key);
    return value === undefined ? {} : { [key]: parse(value) };
  };
  const document = {
    place: `${file}:${line}`,
    file,
    name,
    bytes: Buffer.from(draft.bytes),
    from: take('from') ?? '127.0.0.1',
    connectMaxBytes: Number(take('connect_max_bytes') ?? 65536),
    rules: { ...rule('allow'), ...rule('deny'), ...rule('identity') },
    expected: outcomeOf(draft, take('answer')),
    clientId: take('client id'),
  };
  const [unknown] = items.keys();
  if (unknown !== undefined) throw new Error(`${document.place}: "${unknown}" can't stand here`);
  return document;
}

function outcomeOf({ outcome, bytes, outcomeBytes }: Draft, answer = ''): IdentityDocument['expected'] {
  if (outcome === 'unchanged') return { is: 'taken', bytes: Buffer.from(bytes) };
  if (outcome === 'becomes') return { is: 'taken', bytes: Buffer.from(outcomeBytes) };
  const [, reason] = /^refused (\w+)$/.exec(outcome) ?? [];
  if (reason === undefined) throw new Error('the outcome is "=> unchanged", "=> becomes" or "=> refused REASON"');
  return { is: 'refused', reason, answer: Buffer.from(answer === 'nothing' ? [] : readBytes(answer)) };
}
