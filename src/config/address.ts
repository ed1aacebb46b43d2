// `host:port` as it stands in the configuration: an IPv4 address, an IPv6 address in brackets, or a host name.
import { isIP, SocketAddress } from 'node:net';

export interface Address {
  /** Without the brackets of an IPv6 address. */
  host: string;
  port: number;
}

export const ADDRESS_PATTERN = /^(?:\[([0-9A-Fa-f:.]+(?:%[A-Za-z0-9._-]+)?)\]|([^[\]:/\s]+)):(\d{1,5})$/;
export const IP_ADDRESS_PATTERN = /^(?:\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._-]+)?\]|\d{1,3}(?:\.\d{1,3}){3}):\d{1,5}$/;
const HOST_LABEL = /^[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$/;
const HOST_NAME_BYTES_MAX = 253;
const PORT_MAX = 65535;

/** null when the text is no address. */
export function parseAddress(text: string): Address | null {
  const [, ipv6, other, digits] = ADDRESS_PATTERN.exec(text) ?? [];
  const port = Number(digits);
  if (digits === undefined || port > PORT_MAX) return null;
  if (ipv6 !== undefined) return isIP(ipv6) === 6 ? { host: ipv6, port } : null;
  if (other === undefined) return null;
  return isIP(other) === 4 || isHostName(other) ? { host: other, port } : null;
}

/** Stands for all addresses of its family. */
export function isWildcard(host: string): boolean {
  return host === '0.0.0.0' || (isIP(host) === 6 && canonicalAddress({ host, port: 0 }) === '[::]:0');
}

/** One spelling for every way to write the same address, so that `[::1]:1883` and `[0:0::1]:1883` are found equal. */
export function canonicalAddress({ host, port }: Address): string {
  if (isIP(host) !== 6) return `${host.toLowerCase()}:${port}`;
  const [address = '', zone] = host.split('%');
  const canonical = new SocketAddress({ address, family: 'ipv6' }).address;
  return `[${zone === undefined ? canonical : `${canonical}%${zone}`}]:${port}`;
}

/** No two sockets can listen on both. */
export function overlap(a: Address, b: Address): boolean {
  if (canonicalAddress(a) === canonicalAddress(b)) return true;
  if (a.port !== b.port || isIP(a.host) !== isIP(b.host)) return false;
  return isWildcard(a.host) || isWildcard(b.host);
}

/** Of this machine alone. */
export function isLoopback({ host }: Pick<Address, 'host'>): boolean {
  if (isIP(host) === 4) return host.startsWith('127.');
  return isIP(host) === 6 && canonicalAddress({ host, port: 0 }) === '[::1]:0';
}

export function formatAddress({ host, port }: Address): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** The last label can't be a number: `10.0.0` and `10.0.0.256` are mistyped addresses, not names. */
function isHostName(text: string): boolean {
  const labels = text.replace(/\.$/, '').split('.');
  const last = labels.at(-1) ?? '';
  return text.length <= HOST_NAME_BYTES_MAX && labels.every((label) => HOST_LABEL.test(label)) && !/^\d+$/.test(last);
}
