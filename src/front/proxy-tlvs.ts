// What a front door knows of a client, as TLVs of a PROXY header of version 2: "The PROXY protocol", sections 2.2.1 to
// 2.2.7. The data plane puts them into the header, with its unique id and its checksum.
import {
  PP2_CLIENT_CERT_CONN,
  PP2_CLIENT_SSL,
  PP2_SUBTYPE_SSL_CIPHER,
  PP2_SUBTYPE_SSL_CN,
  PP2_SUBTYPE_SSL_VERSION,
  PP2_TYPE_ALPN,
  PP2_TYPE_AUTHORITY,
  PP2_TYPE_SSL,
} from '../../assembly/layout.ts';
import type { FrontInfo } from './front-info.ts';

/** Names are what a client says, or an authority has signed: a longer one is cut off. */
const VALUE_BYTES_MAX = 512;
const NO_TLVS = new Uint8Array(0);

export function encodeTlvs({ sni, alpn, tls }: FrontInfo): Uint8Array {
  const parts = [
    ...textTlv(PP2_TYPE_ALPN, alpn),
    ...textTlv(PP2_TYPE_AUTHORITY, sni),
    ...(tls === undefined ? [] : [tlv(PP2_TYPE_SSL, encodeTls(tls))]),
  ];
  return parts.length === 0 ? NO_TLVS : Buffer.concat(parts);
}

/** TLS, perhaps with a certificate; 0 when that one is good; then TLVs of its own, section 2.2.6. */
function encodeTls({ version, cipher, clientCn, isVerified }: NonNullable<FrontInfo['tls']>): Uint8Array {
  const hasCertificate = isVerified || clientCn !== undefined;
  const head = Buffer.alloc(5);
  head[0] = PP2_CLIENT_SSL | (hasCertificate ? PP2_CLIENT_CERT_CONN : 0);
  head.writeUInt32BE(isVerified ? 0 : 1, 1);
  return Buffer.concat([
    head,
    ...textTlv(PP2_SUBTYPE_SSL_VERSION, version),
    ...textTlv(PP2_SUBTYPE_SSL_CIPHER, cipher),
    ...textTlv(PP2_SUBTYPE_SSL_CN, clientCn),
  ]);
}

function textTlv(type: number, text: string | undefined): Uint8Array[] {
  return text === undefined ? [] : [tlv(type, Buffer.from(text).subarray(0, VALUE_BYTES_MAX))];
}

function tlv(type: number, value: Uint8Array): Uint8Array {
  const head = Buffer.of(type, value.length >> 8, value.length & 0xff);
  return Buffer.concat([head, value]);
}
