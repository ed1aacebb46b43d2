// What a front door knows of a client, as the data plane and the access log take it: see Front block in layout.ts.
import {
  FRONT_BYTES_MAX,
  FRONT_CLIENT_CN,
  FRONT_ERROR,
  FRONT_SNI,
  FRONT_TEXTS,
  FRONT_TEXTS_MAX,
  FRONT_TLS_CIPHER,
  FRONT_TLS_VERSION,
} from '../../assembly/layout.ts';
import type { FrontInfo } from './front-info.ts';

/** Together they fit into FRONT_BYTES_MAX. Names of hosts have 253 at most, common names 64 characters. */
const SNI_BYTES_MAX = 255;
const CLIENT_CN_BYTES_MAX = 129;
const TEXT_BYTES_MAX = 40;
if (SNI_BYTES_MAX + CLIENT_CN_BYTES_MAX + 3 * TEXT_BYTES_MAX > FRONT_BYTES_MAX - FRONT_TEXTS) {
  throw new Error('a Front block is too small for its texts');
}

/** `error`: why its handshake failed. A name that a client only claims is left out. */
export function encodeFront({ sni, tls }: FrontInfo, error = ''): Uint8Array {
  const texts: Uint8Array[] = Array.from({ length: FRONT_TEXTS_MAX }, () => new Uint8Array(0));
  texts[FRONT_SNI] = cut(sni, SNI_BYTES_MAX);
  texts[FRONT_CLIENT_CN] = whole(tls?.isVerified ? tls.clientCn : '', CLIENT_CN_BYTES_MAX);
  texts[FRONT_TLS_VERSION] = cut(tls?.version, TEXT_BYTES_MAX);
  texts[FRONT_TLS_CIPHER] = cut(tls?.cipher, TEXT_BYTES_MAX);
  texts[FRONT_ERROR] = cut(error, TEXT_BYTES_MAX);
  const lengths = new Uint8Array(FRONT_TEXTS);
  const view = new DataView(lengths.buffer);
  for (const [place, { length }] of texts.entries()) view.setUint16(place * 2, length, true);
  return Buffer.concat([lengths, ...texts]);
}

/** A name that was cut off could be another's. */
function whole(text: string | undefined, bytesMax: number): Uint8Array {
  const bytes = Buffer.from(text ?? '');
  return bytes.length > bytesMax ? bytes.subarray(0, 0) : bytes;
}

function cut(text: string | undefined, bytesMax: number): Uint8Array {
  return Buffer.from(text ?? '').subarray(0, bytesMax);
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
