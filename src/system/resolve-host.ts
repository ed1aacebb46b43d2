import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';

/** The IP address of a name, an IP address as it stands. Rejects with what getaddrinfo(3) says. */
export async function resolveHost(host: string): Promise<string> {
  return isIP(host) === 0 ? (await lookup(host)).address : host;
}
