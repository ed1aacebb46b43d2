// The client's goodbye.

/** DISCONNECT of MQTT 3.1.1 [MQTT-3.14.1], and of 5.0 without reason code and properties: type 14, remaining length 0. */
const DISCONNECT: u16 = 0x00e0;

/**
 * True when the bytes end as a DISCONNECT does. It mostly comes in a segment of its own; a payload that ends with the
 * same two bytes looks like one, so nothing may depend on it but how soon an end is passed on.
 */
export function endsLikeDisconnect(bytes: usize, length: u32): bool {
  return length >= 2 && load<u16>(bytes + length - 2) == DISCONNECT;
}
