// How many ports the system has for connections that are made from one address to another.
import { type ReadText, readText } from './read-text.ts';

/** What IANA sets aside for it, and macOS takes. */
const DYNAMIC_PORTS = 65535 - 49152 + 1;
const FOLDER = '/proc/sys/net/ipv4';

/** Read anew each time: an administrator may have widened the range. */
export function localPorts(read: ReadText = readText): number {
  const [first, last] = read(`${FOLDER}/ip_local_port_range`).split(/\s+/).map(Number);
  if (first === undefined || last === undefined) return DYNAMIC_PORTS;
  let count = last - first + 1;
  for (const [from, to] of reservedPorts(read)) count -= Math.max(0, Math.min(to, last) - Math.max(from, first) + 1);
  return count;
}

/** Written as in "8080,9000-9010". */
function reservedPorts(read: ReadText): [from: number, to: number][] {
  const ranges = read(`${FOLDER}/ip_local_reserved_ports`).split(',').filter(Boolean);
  return ranges.map((range) => {
    const [from = 0, to = from] = range.split('-').map(Number);
    return [from, to];
  });
}
