// One submission entry, from the moment that the kernel takes it to its last answer.
import {
  SQE_ADDR,
  SQE_FD,
  SQE_FILE_INDEX,
  SQE_FLAGS,
  SQE_IOPRIO,
  SQE_LEN,
  SQE_OFF,
  SQE_OP_FLAGS,
  SQE_OPCODE,
  SQE_OPTNAME,
  SQE_OPTVAL,
  SQE_USER_DATA,
} from '../../assembly/uring/abi.ts';
import type { KernelMemory } from './memory.ts';
import type { Socket } from './socket.ts';

/** Bytes that a send still has to copy from the data plane's memory. */
export interface Piece {
  offset: number;
  length: number;
}

export class Operation {
  readonly opcode: number;
  readonly flags: number;
  readonly priority: number;
  readonly fd: number;
  readonly off: number;
  readonly address: number;
  readonly length: number;
  readonly operationFlags: number;
  readonly optionName: number;
  readonly optionValue: number;
  readonly fileIndex: number;
  /** user_data, low and high word, and both as one number. */
  readonly low: number;
  readonly slot: number;
  readonly key: number;

  /** The next of its chain, which begins when this one has succeeded. */
  link: Operation | null = null;
  /** Its success is not answered. */
  isSilent = false;
  isDone = false;
  isScheduled = false;
  isCancelled = false;
  /** Runs on a thread of the kernel's own: a cancel can't reach it. */
  isOnThread = false;
  place = -1;
  socket: Socket | null = null;
  pieces: Piece[] = [];
  total = 0;
  progress = 0;
  /** Of the progress what belonged to the peer's greeting. */
  greetingBytes = 0;
  /** Of a connect: what comes of it, once that is known. */
  outcome: number | null = null;
  sockaddr: Uint8Array | null = null;

  constructor(memory: KernelMemory, entry: number) {
    const { bytes } = memory;
    this.opcode = bytes[entry + SQE_OPCODE]!;
    this.flags = bytes[entry + SQE_FLAGS]!;
    this.priority = memory.half(entry + SQE_IOPRIO);
    this.fd = memory.word(entry + SQE_FD);
    this.off = memory.long(entry + SQE_OFF);
    this.address = memory.long(entry + SQE_ADDR);
    this.length = memory.word(entry + SQE_LEN);
    this.operationFlags = memory.word(entry + SQE_OP_FLAGS);
    this.optionName = memory.word(entry + SQE_OPTNAME);
    this.optionValue = memory.long(entry + SQE_OPTVAL);
    this.fileIndex = memory.word(entry + SQE_FILE_INDEX);
    this.low = memory.word(entry + SQE_USER_DATA);
    this.slot = memory.word(entry + SQE_USER_DATA + 4);
    this.key = this.slot * 2 ** 32 + this.low;
  }
}
