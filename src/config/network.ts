// A range of IP addresses as it stands in the configuration: "10.0.0.5", "10.0.0.0/8", "2001:db8::/32".
import { isIP } from 'node:net';
import { encodeSockaddr } from '../system/sockaddr.ts';

/** 16 bytes each, an IPv4 address as ::ffff:a.b.c.d: so it is found in whichever way a socket spells it. */
export interface Network {
  address: Uint8Array;
  /** Ones for what must be equal. */
  mask: Uint8Array;
}

const IPV4_PREFIX_BITS = 96;

/** null when the text is none. */
export function parseNetwork(text: string): Network | null {
  const [, host = '', digits] = /^([0-9A-Fa-f:.]+)(?:\/(\d{1,3}))?$/.exec(text) ?? [];
  const family = isIP(host);
  if (family === 0) return null;
  const bitsMax = family === 4 ? 32 : 128;
  const bits = digits === undefined ? bitsMax : Number(digits);
  if (bits > bitsMax) return null;
  return { address: addressOf(host, family), mask: maskOf(family === 4 ? IPV4_PREFIX_BITS + bits : bits) };
}

function addressOf(host: string, family: number): Uint8Array {
  const sockaddr = encodeSockaddr(family === 4 ? `::ffff:${host}` : host, 0);
  return sockaddr.slice(8, 24);
}

function maskOf(bits: number): Uint8Array {
  return Uint8Array.from({ length: 16 }, (_, index) => {
    const ones = Math.min(8, Math.max(0, bits - index * 8));
    return (0xff << (8 - ones)) & 0xff;
  });
}
