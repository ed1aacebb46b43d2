import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';

/** The IP address of a name, of family 4 or 6 if one is wanted; an IP address as it stands. Rejects with what getaddrinfo(3) says. */
export async function resolveHost(host: string, family = 0): Promise<string> {
  return isIP(host) === 0 ? (await lookup(host, { family })).address : host;
}
