// Which addresses may come, from lists of those that may and those that may not: one list of ranges, in which the data
// plane has to look only once. All are IPv6 addresses, 128 bits each, an IPv4 one as that which it is mapped to.
import { isIP } from 'node:net';
import { addressBytes, encodeSockaddr } from '../system/sockaddr.ts';

export interface AddressRange {
  first: bigint;
  last: bigint;
}

const MAPPED: AddressRange = { first: 0xffff_0000_0000n, last: 0xffff_ffff_ffffn };
const ALL: AddressRange = { first: 0n, last: (1n << 128n) - 1n };
const CIDR_PATTERN = /^([0-9A-Fa-f:.]+)(?:\/(\d{1,3}))?$/;

/** Those of `allow`, or all when there are none, but for those of `deny`: ascending, and none touches the next. */
export function permittedRanges(allow: readonly string[], deny: readonly string[]): AddressRange[] {
  const allowed = allow.length === 0 ? [ALL] : merged(allow.flatMap(rangesOf));
  return merged(deny.flatMap(rangesOf)).reduce(without, allowed);
}

/** null when the text is none: an address, or one with the length of its prefix, behind which no bit is set. */
export function parseCidr(text: string): AddressRange | null {
  const [, host = '', digits] = CIDR_PATTERN.exec(text) ?? [];
  const family = isIP(host);
  if (family === 0) return null;
  const bits = family === 4 ? 32 : 128;
  const prefix = digits === undefined ? bits : Number(digits);
  if (prefix > bits) return null;
  const hostBits = BigInt(bits - prefix);
  const address = BigInt(`0x${Buffer.from(addressBytes(encodeSockaddr(host, 0))).toString('hex')}`);
  const first = family === 4 ? MAPPED.first | address : address;
  const rest = (1n << hostBits) - 1n;
  return (first & rest) === 0n ? { first, last: first | rest } : null;
}

// A range of IPv6 addresses says nothing of IPv4, not even ::/0: whoever means those says so.
function rangesOf(text: string): AddressRange[] {
  const range = parseCidr(text);
  if (range === null) throw new Error(`${text} has passed the checks as a range of addresses`);
  const isWider = range.last - range.first > MAPPED.last - MAPPED.first;
  return isWider ? without([range], MAPPED) : [range];
}

function merged(ranges: readonly AddressRange[]): AddressRange[] {
  const ascending = [...ranges].sort((a, b) => (a.first < b.first ? -1 : a.first > b.first ? 1 : 0));
  const distinct: AddressRange[] = [];
  for (const { first, last } of ascending) {
    const before = distinct.at(-1);
    if (before === undefined || first > before.last + 1n) distinct.push({ first, last });
    else if (last > before.last) before.last = last;
  }
  return distinct;
}

function without(ranges: readonly AddressRange[], hole: AddressRange): AddressRange[] {
  return ranges.flatMap(({ first, last }) => {
    if (hole.last < first || hole.first > last) return [{ first, last }];
    return [
      ...(first < hole.first ? [{ first, last: hole.first - 1n }] : []),
      ...(last > hole.last ? [{ first: hole.last + 1n, last }] : []),
    ];
  });
}
