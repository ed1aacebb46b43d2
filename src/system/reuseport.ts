// Which of the listening sockets that share a port gets a newcomer: a little program in the kernel says it (Linux).
import { addressOf, SOL_SOCKET, setsockoptBytes } from './libc.ts';

const SO_ATTACH_REUSEPORT_CBPF = 51;
// struct sock_filter, and the few instructions of it that are used (linux/filter.h).
const FILTER_BYTES = 8;
export const LOAD_WORD = 0x20;
export const JUMP_IF_EQUAL = 0x15;
export const JUMP_IF_NOT_LESS = 0x35;
export const ADD = 0x04;
export const MODULO = 0x94;
export const RETURN = 0x06;
export const RETURN_RESULT = 0x16;
/** What LOAD_WORD finds there. */
export const CORE_OF_PACKET = 0xfffff000 + 36;
export const RANDOM_WORD = 0xfffff000 + 56;
/** A result that no socket has as its index: then the kernel chooses by its own hash. */
export const NOBODY = 0xffffffff;

/** For the whole group that the socket is of; the result is an index in the order in which they began to listen. */
export function steer(fd: number, program: readonly Uint8Array[]): void {
  const filters = new Uint8Array(Buffer.concat(program)).buffer;
  // struct sock_fprog: the count, and where they lie.
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, program.length, true);
  view.setBigUint64(8, addressOf(filters), true);
  setsockoptBytes(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, bytes);
  void filters.byteLength; // they must live until here
}

/** Jumps are over so many of the instructions behind. */
export function instruction(code: number, ifTrue: number, ifFalse: number, operand: number): Uint8Array {
  const bytes = new Uint8Array(FILTER_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, code, true);
  view.setUint8(2, ifTrue);
  view.setUint8(3, ifFalse);
  view.setUint32(4, operand, true);
  return bytes;
}
