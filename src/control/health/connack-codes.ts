// What a broker means that refuses a CONNECT.
import type { Version } from './mqtt-packets.ts';

const CODES: Record<Version, Record<number, string>> = {
  4: {
    1: 'unacceptable protocol version',
    2: 'identifier rejected',
    3: 'server unavailable',
    4: 'bad user name or password',
    5: 'not authorised',
  },
  5: {
    128: 'unspecified error',
    129: 'malformed packet',
    130: 'protocol error',
    131: 'implementation specific error',
    132: 'unsupported protocol version',
    133: 'client identifier not valid',
    134: 'bad user name or password',
    135: 'not authorised',
    136: 'server unavailable',
    137: 'server busy',
    138: 'banned',
    140: 'bad authentication method',
    149: 'packet too large',
    151: 'quota exceeded',
    156: 'use another server',
    157: 'server moved',
    159: 'connection rate exceeded',
  },
};

/** It is alive, and sends its clients elsewhere: use another server, server moved. */
export function isEvacuating(code: number): boolean {
  return code === 156 || code === 157;
}

/** Version 5 counts in hex, as its standard does; a server that doesn't know it answers with a code of version 4. */
export function describeCode(code: number, version: Version): string {
  const meaning = CODES[version][code] ?? CODES[4][code];
  const shown = code < 128 ? `${code}` : `0x${code.toString(16)}`;
  return meaning === undefined ? shown : `${shown} (${meaning})`;
}
