// What a broker answered to CONNECT.
import { NONE, REASON_PROPERTY_LENGTH } from '../layout';
import { openPacket, readByte, readVarint, setLimit, skip, stopped } from './reader';

const CONNACK: u32 = 0x20;

/**
 * `bytes` are the first that a server sent. The return code of 3.1 and 3.1.1, the reason code of 5.0, which stand in the
 * same place (section 3.2 of both); NONE when these bytes don't tell, since they are no CONNACK or less than four of it.
 */
export function connackCode(bytes: usize, length: u32): u32 {
  openPacket(bytes, length);
  if (readByte() != CONNACK) return NONE;
  setLimit(readVarint(REASON_PROPERTY_LENGTH), REASON_PROPERTY_LENGTH);
  skip(1); // acknowledge flags
  const code = readByte();
  return stopped() ? NONE : code;
}
