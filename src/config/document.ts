// One YAML file: its value, and where in the text each key of it stands.
import {
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type Pair,
  parseDocument,
  type YAMLError,
  type Document as YamlDocument,
} from 'yaml';
import type { Fault } from '../errors.ts';

export type Path = readonly (string | number)[];

export interface SourceDocument {
  file: string;
  /** Plain objects, arrays and scalars; undefined when the text is no YAML. */
  value: unknown;
  /** Faults of the YAML itself. */
  faults: Fault[];
  /** A fault at the value that `path` leads to; `at: 'key'` points at the key before it. */
  fault(path: Path, expected: string, at?: 'key' | 'value'): Fault;
}

export function readDocument(text: string, file: string): SourceDocument {
  const lines = new LineCounter();
  const yaml = parseDocument(text, { lineCounter: lines, prettyErrors: false, logLevel: 'error' });
  const faultAtOffset = (offset: number, path: Path, expected: string): Fault => {
    const { line, col } = lines.linePos(offset);
    return { file, line: Math.max(line, 1), column: Math.max(col, 1), path: pathText(path), expected };
  };
  const syntaxFaults = yamlErrors(yaml).map((error) => faultAtOffset(error.pos[0], [], yamlMessage(error, text)));
  const duplicatesOnly = yaml.errors.every(({ code }) => code === 'DUPLICATE_KEY');
  const { value, problem } = duplicatesOnly ? plainValue(yaml) : { value: undefined, problem: null };
  return {
    file,
    value,
    faults: problem === null ? syntaxFaults : [...syntaxFaults, faultAtOffset(0, [], problem)],
    fault: (path, expected, at = 'value') => faultAtOffset(offsetOf(yaml, path, at), path, expected),
  };
}

/** As people write it: `pools.brokers.backends[2].weight`. */
function pathText(path: Path): string {
  return path.map((part, index) => (typeof part === 'number' ? `[${part}]` : index === 0 ? part : `.${part}`)).join('');
}

/** After the first syntax error the parser guesses: what else it reports is noise. Keys given twice are all real. */
function yamlErrors(yaml: YamlDocument): YAMLError[] {
  const syntax = yaml.errors.filter(({ code }) => code !== 'DUPLICATE_KEY').slice(0, 1);
  const duplicates = syntax.length > 0 ? [] : yaml.errors;
  return [...syntax, ...duplicates, ...(syntax.length > 0 ? [] : yaml.warnings)];
}

function yamlMessage(error: YAMLError, text: string): string {
  const line = text.slice(text.lastIndexOf('\n', error.pos[0] - 1) + 1).split('\n', 1)[0] ?? '';
  if (error.code === 'DUPLICATE_KEY') return `expected each key once, found ${keyAt(text, error.pos[0])} again`;
  if (error.code === 'MULTIPLE_DOCS') return 'expected one YAML document in a file, found a second one';
  const ipv6 = /[:-]\s+\[[0-9A-Fa-f:.]*\]:\d/.test(line);
  return `not valid YAML: ${error.message}${ipv6 ? '; an IPv6 address needs quotes, as in "[::]:1883"' : ''}`;
}

function keyAt(text: string, offset: number): string {
  return JSON.stringify(/^[^:\n]*/.exec(text.slice(offset))?.[0].trim() ?? '');
}

/** Aliases without an anchor, and those that would grow without bound, show only here. */
function plainValue(yaml: YamlDocument): { value: unknown; problem: string | null } {
  try {
    return { value: yaml.toJS() ?? {}, problem: null };
  } catch (error) {
    return { value: undefined, problem: `not valid YAML: ${(error as Error).message.split('\n', 1)[0]}` };
  }
}

/** Of the key or value at `path`, or of the nearest key above it when the document has no such path. */
function offsetOf(yaml: YamlDocument, path: Path, at: 'key' | 'value'): number {
  let node = resolve(yaml, yaml.contents);
  let offset = start(node);
  for (const [depth, part] of path.entries()) {
    const found = child(node, part);
    if (found === undefined) return offset;
    node = resolve(yaml, found.value);
    const last = depth === path.length - 1;
    offset = last && at === 'value' && node !== null ? start(node) : start(found.key ?? found.value);
  }
  return offset;
}

function child(node: Node | null, part: string | number): { key: Node | null; value: Node | null } | undefined {
  if (isSeq(node) && typeof part === 'number') {
    const item = node.items[part] as Node | undefined;
    return item === undefined ? undefined : { key: null, value: item };
  }
  if (!isMap(node)) return undefined;
  const pairs = node.items as Pair<Node, Node | null>[];
  const pair = pairs.findLast(({ key }) => isScalar(key) && String(key.value) === String(part));
  return pair === undefined ? undefined : { key: pair.key, value: pair.value };
}

function resolve(yaml: YamlDocument, node: Node | null): Node | null {
  return isAlias(node) ? (node.resolve(yaml) ?? null) : node;
}

function start(node: Node | null): number {
  return node?.range?.[0] ?? 0;
}
