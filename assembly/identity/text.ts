// Patterns and templates, as the main thread compiled them into the snapshot (layout.ts draws them), and the fields that
// they name. A pattern is a glob: `*` stands for any characters, `?` for one, everything else for itself. There are no
// regular expressions here: a glob's match is bounded by the lengths of both, whoever chose the text.
import {
  FIELD_TLS_CLIENT_SAN,
  FIELDS_MAX,
  MATCHED_BYTES_MAX,
  SCRATCH_IDENTITY,
  TEXT_BYTES,
  TOKEN_ANY_CHARACTER,
  TOKEN_ANY_RUN,
  TOKEN_FIELDS,
} from '../layout';
import { Text } from '../memory';
import { nameBytes } from '../proxy/front';
import { header } from '../proxy/table';

/** One field of a client: its bytes, none for a field that it doesn't have. */
@unmanaged
class Field {
  bytes: usize;
  length: u32;
}

//   the identity's part of the scratch region: Field x FIELDS_MAX | notes | a pattern's tokens
const NOTES: usize = 128;
const NOTES_BYTES: usize = 192;
if (<usize>FIELDS_MAX * offsetof<Field>() > NOTES) ERROR('the fields reach into the notes');

/** Room for texts that stand in no packet, such as the client's address, as long as one client is looked at. */
export function notesAddress(): usize {
  return noted() + NOTES;
}

function tokensAddress(): usize {
  return noted() + NOTES + NOTES_BYTES;
}

function noted(): usize {
  return <usize>header().scratch + SCRATCH_IDENTITY;
}

function fieldAt(field: u32): Field {
  assert(field < <u32>FIELDS_MAX);
  return changetype<Field>(noted() + <usize>field * offsetof<Field>());
}

export function setField(field: u32, bytes: usize, length: u32): void {
  fieldAt(field).bytes = bytes;
  fieldAt(field).length = length;
}

export function fieldBytes(field: u32): usize {
  return fieldAt(field).bytes;
}

export function fieldLength(field: u32): u32 {
  return fieldAt(field).length;
}

let namesBegin: usize = 0;
let namesEnd: usize = 0;

/** Of a certificate: a field of a pattern may be any of them, elsewhere it is the first one. */
export function setNames(bytes: usize, length: u32): void {
  namesBegin = bytes;
  namesEnd = bytes + length;
  setField(FIELD_TLS_CLIENT_SAN, bytes, nameBytes(bytes, namesEnd));
}

/** The fields, a bit each, that the text names and the client doesn't have. */
export function missingFields(text: Text): u32 {
  let missing: u32 = 0;
  for (let field: u32 = 0; field < <u32>FIELDS_MAX; field++) {
    if (text.fields & (1 << field) && fieldLength(field) == 0) missing |= 1 << field;
  }
  return missing;
}

// ---- Lists of patterns ----------------------------------------------------------------------------------------------

/** Whether the field matches any of the list, which lies at an address: its count, then its texts. */
export function matchesAny(list: usize, field: u32): bool {
  const count = load<u32>(list);
  let at = list + 4;
  for (let index: u32 = 0; index < count; index++, at = textEnd(at)) {
    if (matches(changetype<Text>(at), field)) return true;
  }
  return false;
}

/** The fields, a bit each, that the list's patterns name. */
export function fieldsOfAny(list: usize): u32 {
  const count = load<u32>(list);
  let at = list + 4;
  let fields: u32 = 0;
  for (let index: u32 = 0; index < count; index++, at = textEnd(at)) fields |= changetype<Text>(at).fields;
  return fields;
}

function textEnd(text: usize): usize {
  return text + TEXT_BYTES + ((((<usize>changetype<Text>(text).tokenCount) << 1) + 3) & ~3);
}

function tokenAt(text: Text, index: u32): u32 {
  return load<u16>(changetype<usize>(text) + ((<usize>index) << 1), TEXT_BYTES);
}

// ---- Templates ------------------------------------------------------------------------------------------------------

/** Bytes of what the template says of this client. */
export function templateBytes(text: Text): u32 {
  let length: u32 = 0;
  for (let index: u32 = 0; index < text.tokenCount; index++) {
    const token = tokenAt(text, index);
    length += token < <u32>TOKEN_FIELDS ? 1 : fieldLength(token - TOKEN_FIELDS);
  }
  return length;
}

/** Writes them, and returns where they end. */
export function writeTemplate(text: Text, out: usize): usize {
  for (let index: u32 = 0; index < text.tokenCount; index++) {
    const token = tokenAt(text, index);
    if (token < <u32>TOKEN_FIELDS) {
      store<u8>(out++, <u8>token);
      continue;
    }
    const field = fieldAt(token - TOKEN_FIELDS);
    memory.copy(out, field.bytes, field.length);
    out += field.length;
  }
  return out;
}

// ---- One pattern ----------------------------------------------------------------------------------------------------

/** A pattern with a certificate's name in it is tried with each of them. */
function matches(pattern: Text, field: u32): bool {
  if ((pattern.fields & (1 << FIELD_TLS_CLIENT_SAN)) == 0) return matchesAsItIs(pattern, field);
  let found: bool = false;
  for (let name = namesBegin; name < namesEnd && !found; ) {
    const length = nameBytes(name, namesEnd);
    setField(FIELD_TLS_CLIENT_SAN, name, length);
    found = matchesAsItIs(pattern, field);
    name += length + 1;
  }
  setNames(namesBegin, <u32>(namesEnd - namesBegin));
  return found;
}

/** A pattern that names a field which the client doesn't have, or too long a one, matches nothing. */
function matchesAsItIs(pattern: Text, field: u32): bool {
  if (fieldLength(field) > <u32>MATCHED_BYTES_MAX || missingFields(pattern) != 0) return false;
  const tokens = tokensAddress();
  const end = writeTokens(pattern, tokens);
  if (end == 0) return false;
  const bytes = fieldBytes(field);
  return matchesTokens(tokens, end, bytes, bytes + fieldLength(field));
}

/** With the fields in their places, and nothing in those is a wildcard. Returns the end, 0 when one is too long. */
function writeTokens(pattern: Text, out: usize): usize {
  for (let index: u32 = 0; index < pattern.tokenCount; index++) {
    const token = tokenAt(pattern, index);
    if (token < <u32>TOKEN_FIELDS) {
      store<u16>(out, <u16>token);
      out += 2;
      continue;
    }
    const field = fieldAt(token - TOKEN_FIELDS);
    if (field.length > <u32>MATCHED_BYTES_MAX) return 0;
    for (let byte: u32 = 0; byte < field.length; byte++, out += 2) store<u16>(out, load<u8>(field.bytes + byte));
  }
  return out;
}

// What stands behind the last `*` is compared from the end, what stands before the first one from the beginning, once
// each. Between two of them only the operator's own words are looked for, since a field can't stand there.
function matchesTokens(tokens: usize, tokensEnd: usize, bytes: usize, bytesEnd: usize): bool {
  while (tokensEnd > tokens && load<u16>(tokensEnd - 2) != TOKEN_ANY_RUN) {
    if (bytesEnd == bytes) return false;
    tokensEnd -= 2;
    bytesEnd--;
    const token = <u32>load<u16>(tokensEnd);
    if (token == TOKEN_ANY_CHARACTER) bytesEnd = characterBegin(bytesEnd, bytes);
    else if (token != load<u8>(bytesEnd)) return false;
  }
  return tokensEnd == tokens ? bytesEnd == bytes : matchesRuns(tokens, tokensEnd, bytes, bytesEnd);
}

// The tokens end with `*`. After a character that doesn't fit, what follows the last `*` is tried one character later.
function matchesRuns(tokens: usize, tokensEnd: usize, bytes: usize, bytesEnd: usize): bool {
  let afterRun: usize = 0;
  let triedAt: usize = 0;
  while (true) {
    const token = <u32>load<u16>(tokens);
    tokens += 2;
    if (token == TOKEN_ANY_RUN) {
      if (tokens == tokensEnd) return true;
      afterRun = tokens;
      triedAt = bytes;
    } else if (bytes == bytesEnd) {
      return false;
    } else if (token == TOKEN_ANY_CHARACTER) {
      bytes = characterEnd(bytes, bytesEnd);
    } else if (token == load<u8>(bytes)) {
      bytes++;
    } else {
      if (afterRun == 0) return false;
      tokens = afterRun;
      triedAt = bytes = characterEnd(triedAt, bytesEnd);
    }
  }
}

function characterBegin(at: usize, first: usize): usize {
  while (at > first && isContinuation(at)) at--;
  return at;
}

/** The text is well-formed UTF-8: the parser has seen to that. */
function characterEnd(bytes: usize, bytesEnd: usize): usize {
  bytes++;
  while (bytes < bytesEnd && isContinuation(bytes)) bytes++;
  return bytes;
}

function isContinuation(at: usize): bool {
  return (load<u8>(at) & 0xc0) == 0x80;
}
