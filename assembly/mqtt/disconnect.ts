// The goodbyes of both sides.

/** DISCONNECT of MQTT 3.1.1 [MQTT-3.14.1], and of 5.0 without reason code and properties: type 14, remaining length 0. */
export const DISCONNECT: u16 = 0x00e0;
export const DISCONNECT_BYTES: u32 = 2;

/** Of a server's DISCONNECT without properties. */
export const SERVER_DISCONNECT_BYTES: u32 = 4;
const TYPE: u8 = 0xe0;
const SERVER_REFERENCE: u8 = 0x1c;
/** Property identifier and the length of a string. */
const PROPERTY_HEAD_BYTES: u32 = 3;
const VARINT_BYTE_MAX: u32 = 127;

/**
 * True when the bytes end as a DISCONNECT does. It mostly comes in a segment of its own; a payload that ends with the
 * same two bytes looks like one, so nothing may depend on it but how soon an end is passed on.
 */
export function endsLikeDisconnect(bytes: usize, length: u32): bool {
  return length >= 2 && load<u16>(bytes + length - 2) == DISCONNECT;
}

/** Of the DISCONNECT with a Server Reference that writeDisconnect writes. */
export function referringDisconnectBytes(referenceBytes: u32): u32 {
  const rest = remainingLength(referenceBytes);
  return 1 + varintBytes(rest) + rest;
}

/** What a server of 5.0 says, 3.14: the reason code and, unless it has no bytes, a Server Reference. Returns its bytes. */
export function writeDisconnect(code: u32, reference: usize, referenceBytes: u32, out: usize): u32 {
  if (referenceBytes == 0) {
    store<u32>(out, <u32>TYPE | (2 << 8) | (code << 16));
    return SERVER_DISCONNECT_BYTES;
  }
  store<u8>(out, TYPE);
  let at = writeVarint(remainingLength(referenceBytes), out + 1);
  store<u8>(at, <u8>code);
  at = writeVarint(PROPERTY_HEAD_BYTES + referenceBytes, at + 1);
  store<u8>(at, SERVER_REFERENCE);
  store<u16>(at, bswap<u16>(<u16>referenceBytes), 1);
  memory.copy(at + PROPERTY_HEAD_BYTES, reference, referenceBytes);
  return <u32>(at - out) + PROPERTY_HEAD_BYTES + referenceBytes;
}

/** The code, the properties' length, the one property. */
function remainingLength(referenceBytes: u32): u32 {
  const properties = PROPERTY_HEAD_BYTES + referenceBytes;
  return 1 + varintBytes(properties) + properties;
}

function varintBytes(value: u32): u32 {
  return value > VARINT_BYTE_MAX ? 2 : 1;
}

/** Below 2^14. Returns what follows. */
function writeVarint(value: u32, out: usize): usize {
  if (value <= VARINT_BYTE_MAX) {
    store<u8>(out, <u8>value);
    return out + 1;
  }
  store<u8>(out, <u8>(value & VARINT_BYTE_MAX) | 0x80);
  store<u8>(out, <u8>(value >> 7), 1);
  return out + 2;
}
