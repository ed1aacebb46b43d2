// What a refused client is told: the CONNACK of its own version, or nothing at all.
import {
  REASON_BACKEND_CONNECTIONS,
  REASON_BUFFERS_SHORT,
  REASON_CLIENT_ID_DENIED,
  REASON_CLIENT_ID_EMPTY,
  REASON_CLIENT_ID_REQUIRED,
  REASON_CONNECT_RATE,
  REASON_CONNECT_TOO_LARGE,
  REASON_CONNECTIONS_MAX,
  REASON_FIELD_TOO_LONG,
  REASON_HOOK_BUSY,
  REASON_HOOK_FAILED,
  REASON_HOOK_TIMEOUT,
  REASON_IDENTITY_MISMATCH,
  REASON_INTERNAL,
  REASON_LISTENER_CONNECTIONS,
  REASON_NO_BACKEND,
  REASON_NULL_CHARACTER,
  REASON_PASSWORD_WITHOUT_USERNAME,
  REASON_POOL_CONNECTIONS,
  REASON_PORTS_EXHAUSTED,
  REASON_PROPERTY_DUPLICATE,
  REASON_PROPERTY_LENGTH,
  REASON_PROPERTY_UNKNOWN,
  REASON_PROPERTY_VALUE,
  REASON_PROTOCOL_VERSION,
  REASON_QUEUE_TIMEOUT,
  REASON_REMAINING_LENGTH,
  REASON_RESERVED_FLAG,
  REASON_REWRITE_FIELD_MISSING,
  REASON_REWRITE_TOO_LARGE,
  REASON_SHUTDOWN,
  REASON_TAKE_OVER_LOOP,
  REASON_TRAILING_BYTES,
  REASON_USERNAME_DENIED,
  REASON_USERNAME_REQUIRED,
  REASON_UTF8,
  REASON_WILL_FLAGS,
  REASON_WILL_TOPIC,
} from '../layout';

/**
 * Writes the refusal for a client of the version that Connect.version tells: 0 unknown, or a level that isn't spoken.
 * Returns its bytes, at most REFUSAL_BYTES_MAX; 0 means that the connection is closed without a word.
 */
export function writeRefusal(reason: u32, version: u32, out: usize): u32 {
  const answers = answersTo(reason);
  // A client of an unknown version can't be answered. Level 0 is known, and refused for being 0.
  if (version == 0 && reason != REASON_PROTOCOL_VERSION) return 0;
  return version < 5 ? writeConnack3(answers & 0xff, out) : writeConnack5(answers >> 8, out);
}

/** The same with a reason code of 5.0, for those before by the return code that comes nearest. */
export function writeRefusalWith(code: u32, version: u32, out: usize): u32 {
  return version < 5 ? writeConnack3(nearestReturnCode(code), out) : writeConnack5(code, out);
}

/** 3.1 and 3.1.1, section 3.2: no session present with a refusal [MQTT-3.2.2-4]. */
function writeConnack3(code: u32, out: usize): u32 {
  if (code == SILENCE) return 0;
  store<u32>(out, 0x0220 | (code << 24));
  return 4;
}

/** 5.0, section 3.2: no session present with a refusal [MQTT-3.2.2-6], no properties. */
function writeConnack5(code: u32, out: usize): u32 {
  if (code == SILENCE) return 0;
  store<u32>(out, 0x0320 | (code << 24));
  store<u8>(out, 0, 4);
  return 5;
}

const SILENCE: u32 = 0;

// Return codes of 3.1.1, table 3.1. There is none for a CONNECT that breaks the format: it is closed without CONNACK
// [MQTT-3.1.4-1].
const UNACCEPTABLE_PROTOCOL_VERSION: u32 = 1;
const IDENTIFIER_REJECTED: u32 = 2;
const SERVER_UNAVAILABLE: u32 = 3;
const BAD_USERNAME_OR_PASSWORD: u32 = 4;
const NOT_AUTHORISED: u32 = 5;

// Reason codes of 5.0, table 3-1.
const MALFORMED_PACKET: u32 = 0x81;
const PROTOCOL_ERROR: u32 = 0x82;
const UNSUPPORTED_PROTOCOL_VERSION: u32 = 0x84;
const CLIENT_IDENTIFIER_NOT_VALID: u32 = 0x85;
const BAD_USERNAME_OR_PASSWORD_5: u32 = 0x86;
const NOT_AUTHORISED_5: u32 = 0x87;
const SERVER_UNAVAILABLE_5: u32 = 0x88;
const BANNED: u32 = 0x8a;
const BAD_AUTHENTICATION_METHOD: u32 = 0x8c;
const TOPIC_NAME_INVALID: u32 = 0x90;
const PACKET_TOO_LARGE: u32 = 0x95;
const QUOTA_EXCEEDED: u32 = 0x97;
const CONNECTION_RATE_EXCEEDED: u32 = 0x9f;

/** Both answers to each reason, for 3.1.1 in the low byte, for 5.0 above it. Reasons that aren't here get neither. */
function answersTo(reason: u32): u32 {
  switch (reason) {
    case REASON_PROTOCOL_VERSION:
      return answers(UNACCEPTABLE_PROTOCOL_VERSION, UNSUPPORTED_PROTOCOL_VERSION);
    case REASON_CLIENT_ID_REQUIRED:
    case REASON_CLIENT_ID_EMPTY:
    case REASON_CLIENT_ID_DENIED:
      return answers(IDENTIFIER_REJECTED, CLIENT_IDENTIFIER_NOT_VALID);
    case REASON_USERNAME_REQUIRED:
    case REASON_USERNAME_DENIED:
      return answers(BAD_USERNAME_OR_PASSWORD, BAD_USERNAME_OR_PASSWORD_5);
    case REASON_IDENTITY_MISMATCH:
    case REASON_REWRITE_FIELD_MISSING:
      return answers(NOT_AUTHORISED, NOT_AUTHORISED_5);
    // The client's packet was sound, and its fields no longer than they may be: MQTT 3 has no code for that.
    case REASON_REWRITE_TOO_LARGE:
      return answers(SERVER_UNAVAILABLE, PACKET_TOO_LARGE);
    case REASON_CONNECT_TOO_LARGE:
      return answers(SILENCE, PACKET_TOO_LARGE);
    // 1.5.4, 2.2.2.2, 3.1.2.3 and 3.1.2.6 of 5.0 name these malformed; lengths that disagree are so by definition, 1.2.
    case REASON_REMAINING_LENGTH:
    case REASON_RESERVED_FLAG:
    case REASON_WILL_FLAGS:
    case REASON_PASSWORD_WITHOUT_USERNAME:
    case REASON_UTF8:
    case REASON_NULL_CHARACTER:
    case REASON_FIELD_TOO_LONG:
    case REASON_TRAILING_BYTES:
    case REASON_PROPERTY_UNKNOWN:
    case REASON_PROPERTY_LENGTH:
      return answers(SILENCE, MALFORMED_PACKET);
    // 3.1.2.11 and 3.1.3.2 of 5.0 name these protocol errors.
    case REASON_PROPERTY_DUPLICATE:
    case REASON_PROPERTY_VALUE:
      return answers(SILENCE, PROTOCOL_ERROR);
    case REASON_WILL_TOPIC:
      return answers(SILENCE, TOPIC_NAME_INVALID);
    case REASON_CONNECTIONS_MAX:
    case REASON_PORTS_EXHAUSTED:
    case REASON_LISTENER_CONNECTIONS:
    case REASON_POOL_CONNECTIONS:
    case REASON_BACKEND_CONNECTIONS:
      return answers(SERVER_UNAVAILABLE, QUOTA_EXCEEDED);
    case REASON_CONNECT_RATE:
    case REASON_QUEUE_TIMEOUT:
    case REASON_TAKE_OVER_LOOP:
      return answers(SERVER_UNAVAILABLE, CONNECTION_RATE_EXCEEDED);
    case REASON_NO_BACKEND:
    case REASON_SHUTDOWN:
    case REASON_BUFFERS_SHORT:
    case REASON_INTERNAL:
    case REASON_HOOK_FAILED:
    case REASON_HOOK_TIMEOUT:
    case REASON_HOOK_BUSY:
      return answers(SERVER_UNAVAILABLE, SERVER_UNAVAILABLE_5);
    default:
      return answers(SILENCE, SILENCE);
  }
}

function nearestReturnCode(code: u32): u32 {
  switch (code) {
    case UNSUPPORTED_PROTOCOL_VERSION:
      return UNACCEPTABLE_PROTOCOL_VERSION;
    case CLIENT_IDENTIFIER_NOT_VALID:
      return IDENTIFIER_REJECTED;
    case BAD_USERNAME_OR_PASSWORD_5:
    case BAD_AUTHENTICATION_METHOD:
      return BAD_USERNAME_OR_PASSWORD;
    case NOT_AUTHORISED_5:
    case BANNED:
      return NOT_AUTHORISED;
    default:
      return SERVER_UNAVAILABLE;
  }
}

function answers(code3: u32, code5: u32): u32 {
  return code3 | (code5 << 8);
}
