// What a front door knows of a client, as the data plane and the access log take it: see Front block in layout.ts.
import {
  FRONT_BYTES_MAX,
  FRONT_CLIENT_CN,
  FRONT_CLIENT_FINGERPRINT,
  FRONT_CLIENT_SAN,
  FRONT_CLIENT_SERIAL,
  FRONT_CLIENT_SUBJECT,
  FRONT_ERROR,
  FRONT_SNI,
  FRONT_TEXTS,
  FRONT_TEXTS_MAX,
  FRONT_TLS_CIPHER,
  FRONT_TLS_VERSION,
  NAMES_SEPARATOR,
} from '../../assembly/layout.ts';
import type { FrontInfo } from './front-info.ts';

/** In UTF-8, for each place. Names of hosts have 253 at most, common names 64 characters, serial numbers 20 bytes. */
const BYTES_MAX: Readonly<Record<number, number>> = {
  [FRONT_SNI]: 255,
  [FRONT_CLIENT_CN]: 129,
  [FRONT_TLS_VERSION]: 40,
  [FRONT_TLS_CIPHER]: 40,
  [FRONT_ERROR]: 40,
  [FRONT_CLIENT_SUBJECT]: 255,
  [FRONT_CLIENT_SAN]: 512,
  [FRONT_CLIENT_SERIAL]: 64,
  [FRONT_CLIENT_FINGERPRINT]: 64,
};
const BYTES_SUM = Object.values(BYTES_MAX).reduce((sum, bytes) => sum + bytes, 0);
if (BYTES_SUM > FRONT_BYTES_MAX - FRONT_TEXTS) throw new Error('a Front block is too small for its texts');

/** `error`: why its handshake failed. What a client only claims to be is left out, and so is a name without room. */
export function encodeFront({ sni, tls }: FrontInfo, error = ''): Uint8Array {
  const texts: Uint8Array[] = Array.from({ length: FRONT_TEXTS_MAX }, () => new Uint8Array(0));
  const put = (place: number, fit: typeof whole, text = '') => {
    texts[place] = fit(Buffer.from(text), BYTES_MAX[place]!);
  };
  put(FRONT_SNI, whole, sni);
  put(FRONT_TLS_VERSION, cut, tls?.version);
  put(FRONT_TLS_CIPHER, cut, tls?.cipher);
  put(FRONT_ERROR, cut, error);
  if (tls?.isVerified) {
    const { clientCn, certificate } = tls;
    put(FRONT_CLIENT_CN, whole, clientCn);
    put(FRONT_CLIENT_SUBJECT, whole, certificate?.subject);
    put(FRONT_CLIENT_SAN, whole, listOf(certificate?.names ?? [], BYTES_MAX[FRONT_CLIENT_SAN]!));
    put(FRONT_CLIENT_SERIAL, whole, certificate?.serial);
    put(FRONT_CLIENT_FINGERPRINT, whole, certificate?.fingerprint);
  }
  const lengths = new Uint8Array(FRONT_TEXTS);
  const view = new DataView(lengths.buffer);
  for (const [place, { length }] of texts.entries()) view.setUint16(place * 2, length, true);
  return Buffer.concat([lengths, ...texts]);
}

/** A name that was cut off could be another's. */
function whole(bytes: Uint8Array, bytesMax: number): Uint8Array {
  return bytes.length > bytesMax ? bytes.subarray(0, 0) : bytes;
}

function cut(bytes: Uint8Array, bytesMax: number): Uint8Array {
  return bytes.subarray(0, bytesMax);
}

const SEPARATOR = String.fromCharCode(NAMES_SEPARATOR);

/** Those that have room, in their order; one with a separator in it would pass for two. */
function listOf(names: readonly string[], bytesMax: number): string {
  let list = '';
  for (const name of names) {
    if (name === '' || name.includes(SEPARATOR)) continue;
    const longer = list === '' ? name : `${list}${SEPARATOR}${name}`;
    if (Buffer.byteLength(longer) <= bytesMax) list = longer;
  }
  return list;
}

/** The texts of such a block, by their places. */
export function frontTexts(block: Uint8Array): string[] {
  const view = new DataView(block.buffer, block.byteOffset, block.byteLength);
  let at = FRONT_TEXTS;
  return Array.from({ length: FRONT_TEXTS_MAX }, (_, place) => {
    const begin = at;
    at += view.getUint16(place * 2, true);
    return Buffer.from(block.subarray(begin, at)).toString();
  });
}
