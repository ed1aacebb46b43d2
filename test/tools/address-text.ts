// An address's canonical text, by somebody else's code: what ours is compared with.
import { isIP } from 'node:net';

/** As RFC 5952 has it, as which URLs are written too; a mapped address is the IPv4 one. */
export function textOf(address: string): string {
  if (isIP(address) === 4) return address;
  const text = new URL(`http://[${address}]`).hostname.slice(1, -1);
  const [, high, low] = /^::ffff:([0-9a-f]+):([0-9a-f]+)$/.exec(text) ?? [];
  if (high === undefined || low === undefined) return text;
  const [first, second] = [Number.parseInt(high, 16), Number.parseInt(low, 16)];
  return [first >> 8, first & 255, second >> 8, second & 255].join('.');
}
