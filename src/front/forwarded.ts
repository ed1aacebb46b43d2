// Who a client is that comes through proxies which say so in X-Forwarded-For: each of them adds at the right who has
// come to it. What stands to the left of a proxy that isn't trusted, the client may have written itself.
import { isIPv6 } from 'node:net';
import { type AddressRange, parseCidr } from '../config/address-ranges.ts';

/**
 * `peer` has brought the header; the answer is the last one from the right who is no trusted proxy, or the last known.
 */
export function forwardedClient(peer: string, header: string, trusted: readonly AddressRange[]): string {
  let client = peer;
  for (const said of header.split(',').reverse()) {
    const address = addressOf(said.trim());
    if (address === undefined || !isTrusted(client, trusted)) break;
    client = address;
  }
  return client;
}

/** Some add a port, and then brackets around an IPv6 address. undefined: it is none. */
function addressOf(said: string): string | undefined {
  const [, bracketed, plain] = /^\[([^\]]*)\](?::\d+)?$|^([^:]*)(?::\d+)?$/.exec(said) ?? [];
  const address = isIPv6(said) ? said : (bracketed ?? plain ?? '');
  return address.includes('/') || parseCidr(address) === null ? undefined : address;
}

/** `address` is one of theirs. */
export function isTrusted(address: string, ranges: readonly AddressRange[]): boolean {
  const range = parseCidr(address);
  return range !== null && ranges.some(({ first, last }) => first <= range.first && range.first <= last);
}
