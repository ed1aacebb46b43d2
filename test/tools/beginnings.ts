// How connections begin that never become one: what the client sends, what it does then, and what the balancer makes of it.
import { connectPacket } from './packets.ts';

export interface Beginning {
  name: string;
  bytes: Buffer;
  /** What the client does next; `wait`: for the balancer to close. */
  next: 'wait' | 'finish' | 'reset';
  answer: Buffer;
  /** How the balancer closes, as the client sees it; null: a client that was reset by itself sees nothing. */
  end: 'finish' | null;
  /** As src/reasons.ts names it. */
  reason: string;
}

const NOTHING = Buffer.alloc(0);
const half = (bytes: Buffer) => bytes.subarray(0, bytes.length >> 1);

export const CONNECT_MAX_BYTES = 1024;

/** Refused as soon as they are read. */
export const refusedBeginnings: readonly Beginning[] = [
  refused('an HTTP request', 'http_request', Buffer.from('GET /mqtt HTTP/1.1\r\nHost: broker\r\n\r\n')),
  refused('a TLS hello', 'tls_hello', hex('16030100f8010000f40303', '00'.repeat(200))),
  refused('PINGREQ', 'connect_expected', hex('c000')),
  refused('PUBLISH', 'connect_expected', hex('30050001610a0a')),
  refused('an SSH banner', 'not_mqtt', Buffer.from('\0SSH-2.0-client\r\n')),
  refused('a CONNECT with flags', 'fixed_header_flags', hex('110c00044d5154540402003c0000')),
  refused('a remaining length of five bytes', 'remaining_length', hex('10ffffffff7f')),
  refused('a CONNECT that is too large', 'connect_too_large', connectPacket({ clientId: 'x'.repeat(2000) })),
  refused('another protocol name', 'protocol_name', hex('100c00044d5154580402003c0000')),
  refused('level 9', 'protocol_version', hex('100c00044d5154540902003c0000'), hex('2003008400')),
  refused('level 2', 'protocol_version', hex('100c00044d5154540202003c0000'), hex('20020001')),
  refused('the reserved flag in 3.1.1', 'reserved_flag', hex('100c00044d5154540403003c0000')),
  refused('the reserved flag in 5.0', 'reserved_flag', hex('100d00044d5154540503003c000000'), hex('2003008100')),
  refused(
    'bytes after the last field in 5.0',
    'trailing_bytes',
    hex('100e00044d5154540502003c00000000'),
    hex('2003008100'),
  ),
];

/** The client goes, one way or the other, before its CONNECT is whole. */
export const leavingBeginnings: readonly Beginning[] = [
  left('nothing, then FIN', NOTHING, 'finish'),
  left('nothing, then a reset', NOTHING, 'reset'),
  left('half a CONNECT, then FIN', half(connectPacket()), 'finish'),
  left('half a CONNECT, then a reset', half(connectPacket()), 'reset'),
];

/** The balancer loses its patience. */
export const waitingBeginnings: readonly Beginning[] = [
  late('nothing', NOTHING),
  late('one byte', hex('10')),
  late('half a CONNECT', half(connectPacket({ clientId: 'never-whole' }))),
];

function refused(name: string, reason: string, bytes: Buffer, answer: Buffer = NOTHING): Beginning {
  return { name, reason, bytes, answer, next: 'wait', end: 'finish' };
}

function left(name: string, bytes: Buffer, next: 'finish' | 'reset'): Beginning {
  return { name, bytes, next, answer: NOTHING, end: next === 'reset' ? null : 'finish', reason: 'client_left_early' };
}

function late(name: string, bytes: Buffer): Beginning {
  return { name, bytes, next: 'wait', answer: NOTHING, end: 'finish', reason: 'connect_timeout' };
}

function hex(...parts: string[]): Buffer {
  return Buffer.from(parts.join(''), 'hex');
}
