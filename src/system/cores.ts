// Cores: those that this process may use, a thread that keeps to one of them, and listening sockets that hand a client to
// the worker on the core that received its packet. Linux only.
import { schedGetaffinity, schedSetaffinity } from './libc.ts';
import { CORE_OF_PACKET, instruction, JUMP_IF_EQUAL, LOAD_WORD, NOBODY, RETURN, steer } from './reuseport.ts';

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
  steer(fd, program);
}
