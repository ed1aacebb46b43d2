// What a listener asks of its clients' names, and what it makes of them, once a CONNECT is whole:
//
//   patterns, on what the client said ──► a name for one without ──► templates ──► the rewritten CONNECT, parsed as any
//
// From there on everything (the hash, the log, the search) knows the client as the broker does.
import {
  CONNECT_BYTES_LIMIT,
  EMPTY_ASSIGN,
  EMPTY_REFUSE,
  FIELD_CLIENT_ID,
  FIELD_REMOTE_ADDR,
  FIELD_TLS_CLIENT_CN,
  FIELD_TLS_CLIENT_FINGERPRINT,
  FIELD_TLS_CLIENT_SERIAL,
  FIELD_TLS_CLIENT_SUBJECT,
  FIELD_TLS_SNI,
  FIELD_USERNAME,
  FRONT_CLIENT_CN,
  FRONT_CLIENT_FINGERPRINT,
  FRONT_CLIENT_SAN,
  FRONT_CLIENT_SERIAL,
  FRONT_CLIENT_SUBJECT,
  FRONT_SNI,
  HEADER_OFFSET,
  HEADER_RANDOM_STATE,
  MATCHED_BYTES_MAX,
  PARSE_COMPLETE,
  REASON_CLIENT_ID_DENIED,
  REASON_CLIENT_ID_EMPTY,
  REASON_IDENTITY_MISMATCH,
  REASON_NONE,
  REASON_REWRITE_FIELD_MISSING,
  REASON_REWRITE_TOO_LARGE,
  REASON_USERNAME_DENIED,
  REASON_USERNAME_REQUIRED,
  SCRATCH_REWRITTEN,
} from '../layout';
import { Cold, Connect, Identity, Text } from '../memory';
import { parseConnect } from '../mqtt/connect';
import { AS_IT_IS, rewriteConnect } from '../mqtt/rewrite';
import { frontText, frontTextBytes } from '../proxy/front';
import { header } from '../proxy/table';
import { mix64, nextRandom } from '../route/hash';
import { ADDRESS_TEXT_BYTES_MAX, hexDigit, writePeerText } from './addresses';
import { fieldLength, fieldsOfAny, matchesAny, missingFields, notesAddress, setField, setNames } from './text';

let rewritten: u32 = 0;
let replaced: u32 = 0;

/** Where a rewritten CONNECT lies until the next one is decided on. */
export function rewrittenAddress(): usize {
  return <usize>header().scratch + SCRATCH_REWRITTEN;
}

/** Bytes of it. */
export function rewrittenBytes(): u32 {
  return rewritten;
}

/** Bytes of the client's own CONNECT, whose place it takes. */
export function replacedBytes(): u32 {
  return replaced;
}

/**
 * REASON_NONE, or why the client is refused. `found` is what the parser found at `bytes`, `front` its Front block or 0; when rewrittenBytes says so
 * afterwards, it is what it found in the rewritten CONNECT, which is no longer than `packetBytesMax`.
 */
export function applyIdentity(
  identity: Identity,
  line: Cold,
  found: Connect,
  bytes: usize,
  front: usize,
  packetBytesMax: u32,
): u32 {
  rewritten = 0;
  setFields(line, found, bytes, front);
  const fault = judgeUsername(identity);
  if (fault != REASON_NONE) return fault;
  const other = judgeClientId(identity);
  if (other != REASON_NONE) return other;
  const isNamed = fieldLength(FIELD_CLIENT_ID) == 0 && identity.empty == EMPTY_ASSIGN && found.version < 5;
  if (isNamed) nameClient(line);
  const rewrites = (identity.clientId | identity.username | identity.password) != 0;
  return isNamed || rewrites ? rewrite(identity, found, bytes, packetBytesMax) : REASON_NONE;
}

function setFields(line: Cold, found: Connect, bytes: usize, front: usize): void {
  const notes = notesAddress();
  setField(FIELD_CLIENT_ID, bytes + found.clientId, found.clientIdBytes);
  setField(FIELD_USERNAME, bytes + found.username, found.usernameBytes);
  setField(FIELD_REMOTE_ADDR, notes, writePeerText(line, notes));
  setFrontField(FIELD_TLS_CLIENT_CN, front, FRONT_CLIENT_CN);
  setFrontField(FIELD_TLS_SNI, front, FRONT_SNI);
  setFrontField(FIELD_TLS_CLIENT_SUBJECT, front, FRONT_CLIENT_SUBJECT);
  setNames(frontText(front, FRONT_CLIENT_SAN), frontTextBytes(front, FRONT_CLIENT_SAN));
  setFrontField(FIELD_TLS_CLIENT_SERIAL, front, FRONT_CLIENT_SERIAL);
  setFrontField(FIELD_TLS_CLIENT_FINGERPRINT, front, FRONT_CLIENT_FINGERPRINT);
}

function setFrontField(field: u32, front: usize, place: u32): void {
  setField(field, frontText(front, place), frontTextBytes(front, place));
}

// ---- Rules ----------------------------------------------------------------------------------------------------------

function judgeUsername(identity: Identity): u32 {
  if (identity.usernameRequired && fieldLength(FIELD_USERNAME) == 0) return REASON_USERNAME_REQUIRED;
  return judgeField(
    FIELD_USERNAME,
    listAt(identity, identity.usernamePatterns),
    listAt(identity, identity.usernameDenied),
    REASON_USERNAME_DENIED,
  );
}

/** Patterns are for names: whether there must be one is asked first. */
function judgeClientId(identity: Identity): u32 {
  if (fieldLength(FIELD_CLIENT_ID) == 0) return identity.empty == EMPTY_REFUSE ? REASON_CLIENT_ID_EMPTY : REASON_NONE;
  return judgeField(
    FIELD_CLIENT_ID,
    listAt(identity, identity.clientIdPatterns),
    listAt(identity, identity.clientIdDenied),
    REASON_CLIENT_ID_DENIED,
  );
}

// A field that is too long to be matched is refused by either list: what can't be looked at isn't let through.
function judgeField(field: u32, patterns: usize, denied: usize, reason: u32): u32 {
  if (denied != 0 && (fieldLength(field) > <u32>MATCHED_BYTES_MAX || matchesAny(denied, field))) return reason;
  if (patterns == 0 || matchesAny(patterns, field)) return REASON_NONE;
  return fieldsOfAny(patterns) == 0 ? reason : REASON_IDENTITY_MISMATCH;
}

function listAt(identity: Identity, offset: u32): usize {
  return offset == 0 ? 0 : changetype<usize>(identity) + offset;
}

// ---- A name for a client without ------------------------------------------------------------------------------------

const NAME_PREFIX: usize = memory.data<u8>([0x74, 0x69, 0x64, 0x65, 0x67, 0x61, 0x74, 0x65, 0x2d]); // tidegate-
const NAME_PREFIX_BYTES: u32 = 9;
/** With the prefix 23 bytes, which every server has to take [MQTT-3.1.3-5]. */
const NAME_DIGITS: u32 = 14;

// The time is mixed in, since two workers of many may have begun with the same number.
function nameClient(line: Cold): void {
  const name = notesAddress() + ADDRESS_TEXT_BYTES_MAX + 1;
  memory.copy(name, NAME_PREFIX, NAME_PREFIX_BYTES);
  let random = nextRandom(HEADER_OFFSET + HEADER_RANDOM_STATE) ^ mix64(reinterpret<u64>(line.openedMs));
  for (let digit: u32 = 0; digit < NAME_DIGITS; digit++, random >>= 4) {
    store<u8>(name + NAME_PREFIX_BYTES + digit, hexDigit(<u32>random & 15));
  }
  setField(FIELD_CLIENT_ID, name, NAME_PREFIX_BYTES + NAME_DIGITS);
}

// ---- Rewriting ------------------------------------------------------------------------------------------------------

// The broker reads what is written here, so it is parsed as if a client had sent it: whatever comes next finds its fields
// where it would have found the client's.
function rewrite(identity: Identity, found: Connect, bytes: usize, packetBytesMax: u32): u32 {
  const clientId = clientIdTemplate(identity);
  const username = textAt(identity, identity.username);
  const password = textAt(identity, identity.password);
  if (lacksAny(clientId) || lacksAny(username) || lacksAny(password)) return REASON_REWRITE_FIELD_MISSING;
  return rewriteFields(clientId, username, password, found, bytes, packetBytesMax);
}

/** The same for templates that miss nothing. */
export function rewriteFields(
  clientId: Text,
  username: Text,
  password: Text,
  found: Connect,
  bytes: usize,
  packetBytesMax: u32,
): u32 {
  const bytesMax = min<u32>(packetBytesMax, CONNECT_BYTES_LIMIT);
  const packetBytes = found.packetBytes;
  const out = rewrittenAddress();
  const length = rewriteConnect(bytes, found, clientId, username, password, out, bytesMax);
  if (length == 0) return REASON_REWRITE_TOO_LARGE;
  const state = parseConnect(out, length, bytesMax, found);
  // What a certificate or a handshake tells need not be a text that MQTT can carry.
  if (state != PARSE_COMPLETE) return found.reason;
  assert(found.packetBytes == length);
  rewritten = length;
  replaced = packetBytes;
  return REASON_NONE;
}

/** A ClientId that is left to the broker stays empty, unless the template can do without it. */
function clientIdTemplate(identity: Identity): Text {
  const template = textAt(identity, identity.clientId);
  if (template == AS_IT_IS || fieldLength(FIELD_CLIENT_ID) > 0) return template;
  return template.fields & (1 << FIELD_CLIENT_ID) ? AS_IT_IS : template;
}

function lacksAny(template: Text): bool {
  return template != AS_IT_IS && missingFields(template) != 0;
}

function textAt(identity: Identity, offset: u32): Text {
  return offset == 0 ? AS_IT_IS : changetype<Text>(changetype<usize>(identity) + offset);
}
