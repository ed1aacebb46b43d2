// The keep alive that is in force: the client's own, unless an MQTT 5.0 server names another in its CONNACK, which the
// client then has to use [MQTT-3.2.2-21].
import { NONE, REASON_PROPERTY_LENGTH } from '../layout';
import { atLimit, openPacket, readByte, readU16, readVarint, setLimit, skip, stopped } from './reader';

const CONNACK: u32 = 0x20;
const SERVER_KEEP_ALIVE: u32 = 0x13;

/**
 * `bytes` are the first that a server sent to a client of MQTT 5.0; `asked` is the client's own keep alive. In seconds;
 * NONE when these bytes don't tell, since they are no whole CONNACK.
 */
export function keepAliveInForce(bytes: usize, length: u32, asked: u32): u32 {
  openPacket(bytes, length);
  if (readByte() != CONNACK) return NONE;
  setLimit(readVarint(REASON_PROPERTY_LENGTH), REASON_PROPERTY_LENGTH);
  skip(2); // acknowledge flags, reason code
  setLimit(readVarint(REASON_PROPERTY_LENGTH), REASON_PROPERTY_LENGTH);
  let inForce = asked;
  while (!stopped() && !atLimit()) {
    const identifier = readByte();
    if (identifier == SERVER_KEEP_ALIVE) inForce = readU16();
    else if (!skipProperty(identifier)) return NONE;
  }
  return stopped() ? NONE : inForce;
}

// Table 2-4 of the standard: the types of the properties that a CONNACK may have.
function skipProperty(identifier: u32): bool {
  switch (identifier) {
    case 0x24: // Maximum QoS
    case 0x25: // Retain Available
    case 0x28: // Wildcard Subscription Available
    case 0x29: // Subscription Identifier Available
    case 0x2a: // Shared Subscription Available
      skip(1);
      return true;
    case 0x21: // Receive Maximum
    case 0x22: // Topic Alias Maximum
      skip(2);
      return true;
    case 0x11: // Session Expiry Interval
    case 0x27: // Maximum Packet Size
      skip(4);
      return true;
    case 0x12: // Assigned Client Identifier
    case 0x15: // Authentication Method
    case 0x16: // Authentication Data
    case 0x1a: // Response Information
    case 0x1c: // Server Reference
    case 0x1f: // Reason String
      skip(readU16());
      return true;
    case 0x26: // User Property
      skip(readU16());
      skip(readU16());
      return true;
    default:
      return false;
  }
}
