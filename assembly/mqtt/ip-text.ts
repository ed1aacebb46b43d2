// IP addresses as text, as inet_pton(3) reads them and inet_ntop(3) could write them. Bytes are in network order.
//
// The readers take the text [at, end) whole: what stands there must be an address and nothing else.

const DOT: u8 = 0x2e;
const COLON: u8 = 0x3a;
const GROUPS: u32 = 8;

/** Four numbers without leading zeros. Writes 4 bytes to `out`. */
export function readIPv4(at: usize, end: usize, out: usize): bool {
  for (let index: usize = 0; index < 4; index++) {
    const from = at;
    let value: u32 = 0;
    while (at < end && isDigit(load<u8>(at)) && at - from < 3) value = value * 10 + (load<u8>(at++) - 0x30);
    if (at == from || value > 255 || (at - from > 1 && load<u8>(from) == 0x30)) return false;
    store<u8>(out + index, <u8>value);
    if (index == 3) break;
    if (at == end || load<u8>(at++) != DOT) return false;
  }
  return at == end;
}

// Groups before "::" are written where they stand, those after it are moved to the end when it is known how many they are.
/** Groups of hex digits, once "::" for any number of zero groups, in the end perhaps an IPv4 address. Writes 16 bytes. */
export function readIPv6(at: usize, end: usize, out: usize): bool {
  memory.fill(out, 0, 16);
  let count: u32 = 0;
  let gap: u32 = GROUPS + 1;
  if (end - at >= 2 && load<u16>(at) == 0x3a3a) {
    gap = 0;
    at += 2;
    if (at == end) return true;
  }
  while (count < GROUPS) {
    if (count <= GROUPS - 2 && holdsDot(at, end)) {
      if (!readIPv4(at, end, out + (count << 1))) return false;
      count += 2;
      at = end;
      break;
    }
    const digits = readGroup(at, end, out + (count << 1));
    if (digits == 0) return false;
    at += digits;
    count++;
    if (at == end) break;
    if (load<u8>(at++) != COLON || at == end) return false;
    if (load<u8>(at) != COLON) continue;
    if (gap <= GROUPS) return false;
    gap = count;
    at++;
    if (at == end) break;
  }
  if (at != end) return false;
  if (gap > GROUPS) return count == GROUPS;
  if (count == GROUPS) return false;
  const moved = (count - gap) << 1;
  const to = out + 16 - moved;
  memory.copy(to, out + (gap << 1), moved);
  memory.fill(out + (gap << 1), 0, to - (out + (gap << 1)));
  return true;
}

/** Returns how many characters it has written. */
export function writeIPv4(bytes: usize, out: usize): u32 {
  let at = out;
  for (let index: usize = 0; index < 4; index++) {
    if (index > 0) store<u8>(at++, DOT);
    at += writeDecimal(load<u8>(bytes + index), at);
  }
  return <u32>(at - out);
}

/** All eight groups: every reader takes them, and nobody compares texts. Returns how many characters it has written. */
export function writeIPv6(bytes: usize, out: usize): u32 {
  let at = out;
  for (let index: u32 = 0; index < GROUPS; index++) {
    if (index > 0) store<u8>(at++, COLON);
    at += writeHex(bswap<u16>(load<u16>(bytes + (index << 1))), at);
  }
  return <u32>(at - out);
}

/** Returns how many digits it has written. */
export function writeDecimal(value: u32, out: usize): u32 {
  let digits: u32 = 1;
  for (let rest = value; rest >= 10; rest /= 10) digits++;
  let rest = value;
  for (let index = digits; index > 0; index--) {
    store<u8>(out + index - 1, <u8>(0x30 + (rest % 10)));
    rest /= 10;
  }
  return digits;
}

/** `digits` hex digits of the value, the highest first. */
export function writeHexDigits(value: u64, digits: u32, out: usize): void {
  for (let index: u32 = 0; index < digits; index++) {
    const digit = <u32>(value >> ((digits - 1 - index) << 2)) & 15;
    store<u8>(out + index, <u8>(digit < 10 ? 0x30 + digit : 0x57 + digit));
  }
}

export function isDigit(character: u8): bool {
  return character >= 0x30 && character <= 0x39;
}

/** One group; returns how many digits it has, 0 when there is none. */
function readGroup(at: usize, end: usize, out: usize): u32 {
  let value: u32 = 0;
  let digits: u32 = 0;
  for (; digits < 4 && at + digits < end; digits++) {
    const digit = hexValue(load<u8>(at + digits));
    if (digit > 15) break;
    value = (value << 4) | digit;
  }
  store<u16>(out, bswap<u16>(<u16>value));
  return digits;
}

function hexValue(character: u8): u32 {
  if (isDigit(character)) return character - 0x30;
  const letter = character | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : 16;
}

function holdsDot(at: usize, end: usize): bool {
  for (; at < end; at++) {
    if (load<u8>(at) == DOT) return true;
    if (load<u8>(at) == COLON) return false;
  }
  return false;
}

function writeHex(value: u32, out: usize): u32 {
  let digits: u32 = 1;
  for (let rest = value >> 4; rest > 0; rest >>= 4) digits++;
  writeHexDigits(value, digits, out);
  return digits;
}
