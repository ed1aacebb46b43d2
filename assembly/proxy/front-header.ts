// Clients that come through a front, another balancer for instance, which says in a PROXY header who they are. From the
// header on everything knows the client by the address in it: its log line, its key, the limits of its source, its backend.
import { holdsPeer } from '../identity/addresses';
import {
  HEADER_OFFSET,
  HEADER_PROXY_HEADER,
  NONE,
  PARSE_PARTIAL,
  PARSE_REFUSED,
  PROXY_HEADER_SOURCE,
  REASON_PROXY_HEADER,
  REASON_PROXY_SOURCE,
  SOCKADDR_BYTES_MAX,
  VERDICT_HEADER,
  VERDICT_REFUSE,
} from '../layout';
import { ProxyHeader, peerOf } from '../memory';
import { parseProxyHeader } from '../mqtt/proxy-header-reader';
import { frontsAt, listenerAt } from '../snapshot';
import { cold, FLAG_HEADER_DUE, hot } from './table';

/** VERDICT_HEADER, or VERDICT_REFUSE for whoever is none of the listener's fronts: anybody could say anything. */
export function askForHeader(slot: u32): u32 {
  const line = cold(slot);
  if (!holdsPeer(frontsAt(listenerAt(line.listener)), line)) {
    line.reason = <u16>REASON_PROXY_SOURCE;
    return VERDICT_REFUSE;
  }
  hot(slot).flags |= FLAG_HEADER_DUE;
  return VERDICT_HEADER;
}

/** The header's bytes; 0: it isn't whole yet; NONE: it is none, and the reason is set. */
export function readHeader(slot: u32, bytes: usize, length: u32): u32 {
  const found = changetype<ProxyHeader>(HEADER_OFFSET + HEADER_PROXY_HEADER);
  const line = cold(slot);
  const state = parseProxyHeader(bytes, length, found);
  if (state == PARSE_PARTIAL) return 0;
  if (state == PARSE_REFUSED) {
    line.reason = <u16>REASON_PROXY_HEADER;
    return NONE;
  }
  hot(slot).flags &= ~FLAG_HEADER_DUE;
  if (found.hasAddress) memory.copy(peerOf(line), changetype<usize>(found) + PROXY_HEADER_SOURCE, SOCKADDR_BYTES_MAX);
  return found.bytesTotal;
}
