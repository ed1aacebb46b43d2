// What the data plane knows of a listener's rules: Addresses and Identity, as assembly/layout.ts draws them.
import {
  ADDRESS_RANGE_BYTES,
  ADDRESS_RANGE_LAST,
  ADDRESSES_BYTES,
  ADDRESSES_RANGE_COUNT,
  EMPTY_ALLOW,
  EMPTY_ASSIGN,
  EMPTY_REFUSE,
  IDENTITY_BYTES,
  IDENTITY_CLIENT_ID,
  IDENTITY_CLIENT_ID_DENIED,
  IDENTITY_CLIENT_ID_PATTERNS,
  IDENTITY_EMPTY,
  IDENTITY_PASSWORD,
  IDENTITY_USERNAME,
  IDENTITY_USERNAME_DENIED,
  IDENTITY_USERNAME_PATTERNS,
  IDENTITY_USERNAME_REQUIRED,
  TEXT_BYTES,
  TEXT_FIELDS,
  TEXT_TOKEN_COUNT,
} from '../../assembly/layout.ts';
import { permittedRanges } from '../config/address-ranges.ts';
import { fieldBits, patternTokens, templateTokens } from '../config/text-tokens.ts';
import type { IdentityConfig, ListenerConfig } from '../config.ts';

const EMPTY = { allow: EMPTY_ALLOW, refuse: EMPTY_REFUSE, assign: EMPTY_ASSIGN } as const;

/** null for a listener that everybody may come to. */
export function addressesBlock({ allow, deny }: Pick<ListenerConfig, 'allow' | 'deny'>): Uint8Array | null {
  if (allow.length + deny.length === 0) return null;
  const ranges = permittedRanges(allow, deny);
  const block = new Uint8Array(ADDRESSES_BYTES + ranges.length * ADDRESS_RANGE_BYTES);
  const view = new DataView(block.buffer);
  view.setUint32(ADDRESSES_RANGE_COUNT, ranges.length, true);
  for (const [index, { first, last }] of ranges.entries()) {
    const at = ADDRESSES_BYTES + index * ADDRESS_RANGE_BYTES;
    writeAddress(view, at, first);
    writeAddress(view, at + ADDRESS_RANGE_LAST, last);
  }
  return block;
}

function writeAddress(view: DataView, at: number, address: bigint): void {
  view.setBigUint64(at, address >> 64n, true);
  view.setBigUint64(at + 8, BigInt.asUintN(64, address), true);
}

/** null for a listener that asks for nothing. */
export function identityBlock(identity: IdentityConfig | null): Uint8Array | null {
  if (identity === null) return null;
  const { clientId, username, rewrite } = identity;
  const parts: [field: number, part: Uint8Array | null][] = [
    [IDENTITY_CLIENT_ID_PATTERNS, textList(clientId.patterns)],
    [IDENTITY_CLIENT_ID_DENIED, textList(clientId.deny)],
    [IDENTITY_USERNAME_PATTERNS, textList(username.patterns)],
    [IDENTITY_USERNAME_DENIED, textList(username.deny)],
    [IDENTITY_CLIENT_ID, template(rewrite.clientId)],
    [IDENTITY_USERNAME, template(rewrite.username)],
    [IDENTITY_PASSWORD, template(rewrite.password)],
  ];
  const bytes = parts.reduce((sum, [, part]) => sum + (part?.length ?? 0), IDENTITY_BYTES);
  const block = new Uint8Array(bytes);
  const view = new DataView(block.buffer);
  view.setUint32(IDENTITY_EMPTY, EMPTY[clientId.empty], true);
  view.setUint32(IDENTITY_USERNAME_REQUIRED, Number(username.required), true);
  let at = IDENTITY_BYTES;
  for (const [field, part] of parts) {
    if (part === null) continue;
    view.setUint32(field, at, true);
    block.set(part, at);
    at += part.length;
  }
  return block;
}

function textList(patterns: readonly string[]): Uint8Array | null {
  if (patterns.length === 0) return null;
  return Buffer.concat([
    Buffer.from(Uint32Array.of(patterns.length).buffer),
    ...patterns.map((each) => text(patternTokens(each))),
  ]);
}

function template(words: string | null): Uint8Array | null {
  return words === null ? null : text(templateTokens(words));
}

function text(tokens: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(TEXT_BYTES + Math.ceil((tokens.length * 2) / 4) * 4);
  const view = new DataView(bytes.buffer);
  view.setUint32(TEXT_TOKEN_COUNT, tokens.length, true);
  view.setUint32(TEXT_FIELDS, fieldBits(tokens), true);
  for (const [index, token] of tokens.entries()) view.setUint16(TEXT_BYTES + index * 2, token, true);
  return bytes;
}
