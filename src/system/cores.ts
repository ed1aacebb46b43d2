// Cores: those that this process may use, a thread that keeps to one of them, and listening sockets that hand a client to
// the worker on the core that received its packet. Linux only.
import { addressOf, SOL_SOCKET, schedGetaffinity, schedSetaffinity, setsockoptBytes } from './libc.ts';

const SO_ATTACH_REUSEPORT_CBPF = 51;
// struct sock_filter, and the few instructions of it (linux/filter.h).
const FILTER_BYTES = 8;
const LOAD_WORD = 0x20;
const JUMP_IF_EQUAL = 0x15;
const RETURN = 0x06;
const CORE_OF_PACKET = 0xfffff000 + 36;
/** No worker has it: the kernel chooses by its own hash. */
const NOBODY = 0xffffffff;

/** Their numbers, ascending. */
export function allowedCores(): number[] {
  const mask = schedGetaffinity();
  return Array.from({ length: mask.length * 8 }, (_, core) => core).filter(
    (core) => mask[core >> 3]! & (1 << (core & 7)),
  );
}

/** The calling thread runs on this core only. */
export function keepToCore(core: number): void {
  const mask = new Uint8Array((core >> 3) + 1);
  mask[core >> 3] = 1 << (core & 7);
  schedSetaffinity(mask);
}

/** For the whole group of sockets that share the port: the nth one opened gets what arrives on the nth of these cores. */
export function steerByCore(fd: number, cores: readonly number[]): void {
  const program = cores.flatMap((core, worker) => [
    instruction(JUMP_IF_EQUAL, 0, 1, core),
    instruction(RETURN, 0, 0, worker),
  ]);
  program.unshift(instruction(LOAD_WORD, 0, 0, CORE_OF_PACKET));
  program.push(instruction(RETURN, 0, 0, NOBODY));
  const filters = Buffer.concat(program);
  // struct sock_fprog: the count, and where they lie.
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  const own = new Uint8Array(filters).buffer;
  view.setUint16(0, program.length, true);
  view.setBigUint64(8, addressOf(own), true);
  setsockoptBytes(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, bytes);
  void own.byteLength; // it must live until here
}

function instruction(code: number, ifTrue: number, ifFalse: number, operand: number): Uint8Array {
  const bytes = new Uint8Array(FILTER_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, code, true);
  view.setUint8(2, ifTrue);
  view.setUint8(3, ifFalse);
  view.setUint32(4, operand, true);
  return bytes;
}
