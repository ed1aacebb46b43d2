// Where a stream of MQTT packets stands: between two of them, or how far inside one. Nothing is looked at but the fixed
// headers (2.1.1 of both standards): a byte of type and flags, the remaining length in one to four bytes, the rest.
//
// The state is one word, so that it fits beside a connection's counters:
//
//   31    28 27                                0
//   |  kind  | bytes or length                 |
//
//   kind 0      so many bytes of the packet are still to come; 0: FRAMING_BOUNDARY
//   kind 1..4   the type and kind - 1 bytes of the length have come, which add up to so much until now
//   all bits    FRAMING_UNKNOWN
import { FRAMING_BOUNDARY, FRAMING_UNKNOWN } from '../layout';

const KIND_SHIFT: u32 = 28;
const LENGTH_MASK: u32 = (1 << KIND_SHIFT) - 1;
const KIND_LENGTH: u32 = 1;
/** The length has come to its fourth byte, which must be the last [1.5.5]. */
const KIND_LENGTH_LAST: u32 = 4;
const LONGER: u32 = 0x80;

/** The state behind these bytes of the stream, whole packets or not. Its work is one step a packet, not one a byte. */
export function advanceFraming(state: u32, bytes: usize, length: u32): u32 {
  const end = bytes + length;
  for (let at = bytes; at != end && state != FRAMING_UNKNOWN; ) {
    if (isInHeader(state)) {
      state = readHeader(state, load<u8>(at++));
    } else {
      const part = min<u32>(state, <u32>(end - at));
      state -= part;
      at += part;
    }
  }
  return state;
}

/** How many of these bytes belong to the packet that the stream is in; all of them when it doesn't end here. */
export function bytesOfPacket(state: u32, bytes: usize, length: u32): u32 {
  let at: u32 = 0;
  while (at != length && state != FRAMING_BOUNDARY && state != FRAMING_UNKNOWN) {
    if (state >> KIND_SHIFT == 0) return at + min<u32>(state, length - at);
    state = readHeader(state, load<u8>(bytes + at++));
  }
  return at;
}

function isInHeader(state: u32): bool {
  return state == FRAMING_BOUNDARY || state >> KIND_SHIFT != 0;
}

function readHeader(state: u32, byte: u32): u32 {
  if (state == FRAMING_BOUNDARY) return KIND_LENGTH << KIND_SHIFT;
  const kind = state >> KIND_SHIFT;
  const length = (state & LENGTH_MASK) | ((byte & ~LONGER) << (7 * (kind - KIND_LENGTH)));
  if (!(byte & LONGER)) return length;
  return kind == KIND_LENGTH_LAST ? FRAMING_UNKNOWN : ((kind + 1) << KIND_SHIFT) | length;
}
