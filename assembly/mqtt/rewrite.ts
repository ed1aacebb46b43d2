// CONNECT with another ClientId, user name or password in it. All else is what the client said, byte for byte:
//
//   type 1 | remaining length | protocol, level | flags | keep alive, properties | ClientId | will | user name | password
//            written anew                         two of them change               new       same   new         new
//

import { fieldBytes, fieldLength, templateBytes, writeTemplate } from '../identity/text';
import {
  CONNECT_FLAG_PASSWORD,
  CONNECT_FLAG_USERNAME,
  CONNECT_FLAG_WILL,
  FIELD_CLIENT_ID,
  FIELD_USERNAME,
} from '../layout';
import { Connect, Text } from '../memory';

/** A string or binary data tells its length in two bytes, section 1.5.4 and 1.5.6 of 5.0. */
const FIELD_BYTES_MAX: u32 = 0xffff;

/** For a template: the field stays as it is. */
export const AS_IT_IS: Text = changetype<Text>(0);

/**
 * Writes the packet to `out` and returns its length; 0, and nothing written, when it would be longer than `bytesMax`,
 * or one of its fields longer than a field can be. `found` is what the parser found at `bytes`. A ClientId or a user
 * name without a template is the one that stands among the fields (identity/text.ts).
 */
export function rewriteConnect(
  bytes: usize,
  found: Connect,
  clientId: Text,
  username: Text,
  password: Text,
  out: usize,
  bytesMax: u32,
): u32 {
  const hasPassword = password != AS_IT_IS || found.password != 0;
  // MQTT 3 has no password without a user name [MQTT-3.1.2-22]: there is an empty one then.
  const hasUsername = username != AS_IT_IS || found.username != 0 || (hasPassword && found.version < 5);
  const clientIdBytes = partBytes(clientId, fieldLength(FIELD_CLIENT_ID));
  const usernameBytes = partBytes(username, found.usernameBytes);
  const passwordBytes = partBytes(password, found.passwordBytes);
  if (max(max(clientIdBytes, usernameBytes), passwordBytes) > FIELD_BYTES_MAX) return 0;
  const headerBytes = fixedHeaderBytes(bytes);
  const variableBytes = found.clientId - 2 - headerBytes;
  const will = found.clientId + found.clientIdBytes;
  const willBytes = found.flags & CONNECT_FLAG_WILL ? found.willPayload + found.willPayloadBytes - will : 0;
  let remaining = variableBytes + 2 + clientIdBytes + willBytes;
  if (hasUsername) remaining += 2 + usernameBytes;
  if (hasPassword) remaining += 2 + passwordBytes;
  if (1 + varintBytes(remaining) + remaining > bytesMax) return 0;

  store<u8>(out, CONNECT_TYPE);
  let at = writeVarint(remaining, out + 1);
  memory.copy(at, bytes + headerBytes, variableBytes);
  store<u8>(at + flagsOffset(found.version), flagsWith(found.flags, hasUsername, hasPassword));
  at = writePart(clientId, fieldBytes(FIELD_CLIENT_ID), clientIdBytes, at + variableBytes);
  memory.copy(at, bytes + will, willBytes);
  at += willBytes;
  if (hasUsername) at = writePart(username, fieldBytes(FIELD_USERNAME), usernameBytes, at);
  if (hasPassword) at = writePart(password, bytes + found.password, passwordBytes, at);
  return <u32>(at - out);
}

const CONNECT_TYPE: u8 = 0x10;

/** The byte of the type, and the remaining length as the client has written it: before 5.0 it may be padded. */
function fixedHeaderBytes(bytes: usize): u32 {
  let length: u32 = 1;
  while (load<u8>(bytes + length) & 0x80) length++;
  return length + 1;
}

/** Behind the protocol's name, with its two bytes of length, and the level: 3.1 has another name. */
function flagsOffset(version: u32): u32 {
  return version == 3 ? 9 : 7;
}

/** In 3.1 a field that the flags name may be missing at the packet's end; from now on they say what is there. */
function flagsWith(flags: u32, hasUsername: bool, hasPassword: bool): u8 {
  const others = flags & ~(CONNECT_FLAG_USERNAME | CONNECT_FLAG_PASSWORD);
  return <u8>(others | (hasUsername ? CONNECT_FLAG_USERNAME : 0) | (hasPassword ? CONNECT_FLAG_PASSWORD : 0));
}

function partBytes(template: Text, length: u32): u32 {
  return template == AS_IT_IS ? length : templateBytes(template);
}

function writePart(template: Text, bytes: usize, length: u32, out: usize): usize {
  store<u16>(out, bswap<u16>(<u16>length));
  if (template != AS_IT_IS) return writeTemplate(template, out + 2);
  memory.copy(out + 2, bytes, length);
  return out + 2 + length;
}

function varintBytes(value: u32): u32 {
  let length: u32 = 1;
  while (value > 0x7f) {
    value >>= 7;
    length++;
  }
  return length;
}

function writeVarint(value: u32, out: usize): usize {
  while (value > 0x7f) {
    store<u8>(out++, <u8>(value & 0x7f) | 0x80);
    value >>= 7;
  }
  store<u8>(out, <u8>value);
  return out + 1;
}
