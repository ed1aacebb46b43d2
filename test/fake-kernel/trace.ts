// What happened, for people: every entry, answer and deed of a peer, with the slot or the life that it is about.
import {
  IORING_CQE_BUFFER_SHIFT,
  IORING_CQE_F_BUFFER,
  IORING_CQE_F_MORE,
  IORING_OP_ACCEPT,
  IORING_OP_ASYNC_CANCEL,
  IORING_OP_BIND,
  IORING_OP_CLOSE,
  IORING_OP_CONNECT,
  IORING_OP_READ,
  IORING_OP_RECV,
  IORING_OP_SEND,
  IORING_OP_SENDMSG,
  IORING_OP_SHUTDOWN,
  IORING_OP_SOCKET,
  IORING_OP_URING_CMD,
} from '../../assembly/uring/abi.ts';
import type { Operation } from './operation.ts';
import { generationOf, operationOf, sideOfPlace, slotOfPlace } from './plane-view.ts';
import type { Completion } from './rings.ts';

const opcodes: Record<number, string> = {
  [IORING_OP_ACCEPT]: 'ACCEPT',
  [IORING_OP_ASYNC_CANCEL]: 'ASYNC_CANCEL',
  [IORING_OP_BIND]: 'BIND',
  [IORING_OP_CLOSE]: 'CLOSE',
  [IORING_OP_CONNECT]: 'CONNECT',
  [IORING_OP_READ]: 'READ',
  [IORING_OP_RECV]: 'RECV',
  [IORING_OP_SEND]: 'SEND',
  [IORING_OP_SENDMSG]: 'SENDMSG',
  [IORING_OP_SHUTDOWN]: 'SHUTDOWN',
  [IORING_OP_SOCKET]: 'SOCKET',
  [IORING_OP_URING_CMD]: 'URING_CMD',
};

/** The data plane's own numbers for its operations, assembly/uring/ops.ts. */
const operations = ['accept', 'receive client', 'receive backend', 'send to backend', 'send to client', 'dial'];
operations.push('shut backend', 'shut client');
operations[16] = 'cancel';
operations[17] = 'close';
operations[18] = 'wake';

const errnos: Record<number, string> = {
  2: 'ENOENT',
  4: 'EINTR',
  9: 'EBADF',
  23: 'ENFILE',
  24: 'EMFILE',
  32: 'EPIPE',
  98: 'EADDRINUSE',
  99: 'EADDRNOTAVAIL',
  103: 'ECONNABORTED',
  104: 'ECONNRESET',
  105: 'ENOBUFS',
  107: 'ENOTCONN',
  110: 'ETIMEDOUT',
  111: 'ECONNREFUSED',
  113: 'EHOSTUNREACH',
  114: 'EALREADY',
  125: 'ECANCELED',
};

interface Line {
  at: number;
  slot: number;
  life: number;
  text: string;
  moved?: { text: string; bytes: number; times: number };
}

const NOBODY = -1;

export class Trace {
  readonly #lines: Line[] = [];
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
  }

  entry(operation: Operation): void {
    this.#add(operation.slot, NOBODY, `> ${describeEntry(operation)}`);
  }

  answer(completion: Completion): void {
    this.#add(completion.slot, NOBODY, `< ${describeAnswer(completion)}`);
  }

  deed(life: number, text: string): void {
    this.#add(NOBODY, life, `  ${text}`);
  }

  /** As `deed`, about some bytes; the same deed again and again is one line. */
  moved(life: number, text: string, bytes: number): void {
    const last = this.#lines.at(-1);
    if (last && last.life === life && last.moved?.text === text) {
      last.moved.bytes += bytes;
      last.moved.times++;
      last.text = `  ${text} ${last.moved.bytes} bytes in ${last.moved.times} pieces`;
      return;
    }
    this.#lines.push({
      at: this.#now(),
      slot: NOBODY,
      life,
      text: `  ${text} ${bytes} bytes`,
      moved: { text, bytes, times: 1 },
    });
  }

  /** About the whole worker. */
  event(text: string): void {
    this.#add(NOBODY, NOBODY, `= ${text}`);
  }

  /** The last lines about a slot and the lives in it, and what concerned everybody. */
  about(slot: number | undefined, lives: ReadonlySet<number>, linesMax: number): string[] {
    const lines = this.#lines.filter((line) => {
      if (line.slot === NOBODY && line.life === NOBODY) return true;
      return line.slot === slot || lives.has(line.life) || slot === undefined;
    });
    const cut = lines.length > linesMax ? [`... ${lines.length - linesMax} lines before`] : [];
    return [...cut, ...lines.slice(-linesMax).map(render)];
  }

  #add(slot: number, life: number, text: string): void {
    this.#lines.push({ at: this.#now(), slot, life, text });
  }
}

function render({ at, slot, life, text }: Line): string {
  const who = slot !== NOBODY ? `slot ${slot}` : life !== NOBODY ? `life ${life}` : '';
  return `${at.toFixed(3).padStart(12)}  ${who.padEnd(9)} ${text}`;
}

function describeEntry(operation: Operation): string {
  const { opcode, low, place, total, length } = operation;
  const parts = [(opcodes[opcode] ?? `opcode ${opcode}`).padEnd(12), describeIdentity(low)];
  if (place >= 0) parts.push(`on ${sideOfPlace(place) === 0 ? 'client' : 'backend'} of slot ${slotOfPlace(place)}`);
  if (total > 0) parts.push(`${total} bytes in ${operation.pieces.length}`);
  if (opcode === IORING_OP_ASYNC_CANCEL) {
    parts.push(
      `of ${operations[operationOf(operation.address % 2 ** 32)]} in slot ${Math.floor(operation.address / 2 ** 32)}`,
    );
  } else if (total === 0 && length > 0) parts.push(`length ${length}`);
  return parts.join(' ');
}

function describeAnswer({ low, result, flags }: Completion): string {
  const parts = [describeIdentity(low), result < 0 ? `-${errnos[-result] ?? -result}` : `${result}`];
  if (flags & IORING_CQE_F_BUFFER) parts.push(`buffer ${flags >>> IORING_CQE_BUFFER_SHIFT}`);
  if (flags & IORING_CQE_F_MORE) parts.push('more');
  return parts.join(' ');
}

function describeIdentity(low: number): string {
  return `${operations[operationOf(low)] ?? operationOf(low)}/${generationOf(low)}`;
}
