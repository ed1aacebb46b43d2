// What both directions of the PROXY protocol share: "The PROXY protocol, versions 1 & 2" (Willy Tarreau, 2020), whose
// sections the comments cite.
//
//   version 1 (2.1): "PROXY TCP4 192.0.2.1 198.51.100.1 50000 1883\r\n", or TCP6, or "PROXY UNKNOWN ...\r\n"
//   version 2 (2.2): signature, 12 B | version and command | family and transport | u16 length of what follows
//                    | addresses and ports, 12 B or 36 B | TLVs: type, u16 length, value
//
// Numbers are big-endian.

/** "PROXY " */
export const V1_PREFIX: usize = memory.data<u8>([0x50, 0x52, 0x4f, 0x58, 0x59, 0x20]);
export const V1_PREFIX_BYTES: u32 = 6;
/** With its CRLF, 2.1. */
export const V1_BYTES_MAX: u32 = 107;
/** "UNKNOWN" */
export const V1_UNKNOWN: usize = memory.data<u8>([0x55, 0x4e, 0x4b, 0x4e, 0x4f, 0x57, 0x4e]);
export const V1_UNKNOWN_BYTES: u32 = 7;
export const V1_CRLF: u16 = 0x0a0d;
export const SPACE: u8 = 0x20;

export const V2_SIGNATURE: usize = memory.data<u8>([
  0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a,
]);
export const V2_SIGNATURE_BYTES: u32 = 12;
/** Signature, command, family and length. */
export const V2_HEAD_BYTES: u32 = 16;
export const V2_LOCAL: u8 = 0x20;
export const V2_PROXY: u8 = 0x21;
export const V2_UNSPEC: u8 = 0x00;
export const V2_TCP4: u8 = 0x11;
export const V2_TCP6: u8 = 0x21;
export const V2_TCP4_BYTES: u32 = 12;
export const V2_TCP6_BYTES: u32 = 36;
/** Type and length. */
export const TLV_HEAD_BYTES: u32 = 3;
export const CRC32C_BYTES: u32 = 4;

export function load16(at: usize): u32 {
  return bswap<u16>(load<u16>(at));
}

export function store16(at: usize, value: u32): void {
  store<u16>(at, bswap<u16>(<u16>value));
}
