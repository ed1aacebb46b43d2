// What each operation does, one handler for each opcode: `prepare` reads what the entry points at while it is taken,
// `issue` begins, `step` looks whether there is something to do, `release` runs before the last answer.
import { OPTION_PORTS } from '../../assembly/layout.ts';
import {
  AF_INET,
  AF_INET6,
  EADDRINUSE,
  EADDRNOTAVAIL,
  EAGAIN,
  EBADF,
  ECANCELED,
  ECONNABORTED,
  EMFILE,
  ENFILE,
  ENOBUFS,
  IORING_ACCEPT_DONTWAIT,
  IORING_CQE_BUFFER_SHIFT,
  IORING_CQE_F_BUFFER,
  IORING_CQE_F_MORE,
  IORING_OP_ACCEPT,
  IORING_OP_ASYNC_CANCEL,
  IORING_OP_BIND,
  IORING_OP_CLOSE,
  IORING_OP_CONNECT,
  IORING_OP_POLL_ADD,
  IORING_OP_READ,
  IORING_OP_RECV,
  IORING_OP_SEND,
  IORING_OP_SENDMSG,
  IORING_OP_SHUTDOWN,
  IORING_OP_SOCKET,
  IORING_OP_URING_CMD,
  IORING_RECV_MULTISHOT,
  IOSQE_BUFFER_SELECT,
  IOSQE_FIXED_FILE,
  IOVEC_BYTES,
  IP_BIND_ADDRESS_NO_PORT,
  IP_LOCAL_PORT_RANGE,
  IPPROTO_IP,
  IPPROTO_TCP,
  MSG_WAITALL,
  MSGHDR_BYTES,
  MSGHDR_IOV,
  MSGHDR_IOVLEN,
  POLLIN,
  SHUT_WR,
  SOCK_STREAM,
  SOCKET_URING_OP_SETSOCKOPT,
  TCP_NODELAY,
  TCP_QUICKACK,
} from '../../assembly/uring/abi.ts';
import type { Kernel } from './kernel.ts';
import type { Operation, Piece } from './operation.ts';
import { clientPlace } from './plane-view.ts';
import { sourceOf } from './snapshots.ts';
import type { Socket } from './socket.ts';
import { Violation } from './violation.ts';

const ENOENT = 2;
const ENOTCONN = 107;
const EALREADY = 114;
const STARVED_AGAIN_MAX = 4;
const VAIN_SENDS_MAX = 4;

export interface Handler {
  prepare?(kernel: Kernel, operation: Operation): void;
  issue(kernel: Kernel, operation: Operation): void;
  step?(kernel: Kernel, operation: Operation): void;
  release?(kernel: Kernel, operation: Operation): void;
}

/** The socket that the entry names by its place; undefined when it was answered with EBADF. */
function socketOf(kernel: Kernel, operation: Operation): Socket | undefined {
  if (!(operation.flags & IOSQE_FIXED_FILE)) throw new Violation('a descriptor that is not a direct one', operation);
  const socket = kernel.fileAt(operation);
  if (!socket) {
    kernel.complete(operation, -EBADF);
    return undefined;
  }
  operation.socket = socket;
  return socket;
}

// ---- Accept: single-shot, into a place, with the client's address ------------------------------------------------------

const accept: Handler = {
  prepare(kernel, operation) {
    const { memory } = kernel;
    const lengthAt = memory.offsetOf(operation.off, 4, "accept's address length");
    memory.offsetOf(operation.address, memory.word(lengthAt), "accept's address");
    operation.place = operation.fileIndex - 1;
    kernel.beginLife(operation);
  },
  issue(kernel, operation) {
    const listener = kernel.listeners.get(operation.fd);
    if (!listener) throw new Violation(`accept on descriptor ${operation.fd}, which nobody listens on`, operation);
    listener.accepts.push(operation);
    if (listener.backlog.length > 0 || !waits(operation)) kernel.stepOrWake(operation);
  },
  step(kernel, operation) {
    if (operation.isCancelled) return kernel.complete(operation, -ECANCELED);
    const { backlog } = kernel.listeners.get(operation.fd)!;
    if (backlog.length === 0) return waits(operation) ? undefined : kernel.complete(operation, -EAGAIN);
    if (kernel.trouble.makes('accepts that fail')) {
      const error = kernel.trouble.pick([ENFILE, EMFILE, ENOBUFS, ECONNABORTED]);
      if (error !== ECONNABORTED) kernel.acceptErrors++;
      return kernel.complete(operation, -error);
    }
    const arrival = backlog.shift()!;
    kernel.install(operation, arrival.socket);
    writeSockaddr(kernel, operation, arrival.sockaddr);
    kernel.complete(operation, 0);
    kernel.world.onAccepted(arrival, operation.place >>> 1);
  },
  release(kernel, operation) {
    const { accepts, backlog } = kernel.listeners.get(operation.fd)!;
    accepts.splice(accepts.indexOf(operation), 1);
    if (backlog.length > 0 && accepts.length > 0) kernel.wake(accepts[0]!);
  },
};

function waits({ priority }: Operation): boolean {
  return (priority & IORING_ACCEPT_DONTWAIT) === 0;
}

function writeSockaddr({ memory }: Kernel, operation: Operation, sockaddr: Uint8Array): void {
  const lengthAt = memory.offsetOf(operation.off, 4, "accept's address length");
  const room = memory.word(lengthAt);
  memory.bytes.set(sockaddr.subarray(0, room), memory.offsetOf(operation.address, room, "accept's address"));
  memory.words[lengthAt >>> 2] = sockaddr.length;
}

// ---- Receive: once or multishot, into provided buffers -------------------------------------------------------------------------

const receive: Handler = {
  issue(kernel, operation) {
    if (!(operation.flags & IOSQE_BUFFER_SELECT)) {
      throw new Violation('a receive that is not into provided buffers', operation);
    }
    const socket = socketOf(kernel, operation);
    if (!socket) return;
    if (!socket.isConnected) return kernel.complete(operation, -ENOTCONN);
    if (socket.receive) throw new Violation('two receives on one socket', operation);
    socket.receive = operation;
    kernel.stepOrWake(operation);
  },
  step(kernel, operation) {
    const socket = operation.socket!;
    for (;;) {
      if (operation.isCancelled) return kernel.complete(operation, -ECANCELED);
      if (socket.receivable === 0) return receiveEnd(kernel, operation, socket);
      if (!receiveSome(kernel, operation, socket)) return;
    }
  },
  release(_kernel, operation) {
    if (operation.socket?.receive === operation) operation.socket.receive = null;
  },
};

// ---- Poll: once, in a receive's place ----------------------------------------------------------------------------------

const poll: Handler = {
  issue(kernel, operation) {
    if (operation.operationFlags !== POLLIN) throw new Violation('a poll for something else', operation);
    const socket = socketOf(kernel, operation);
    if (!socket) return;
    if (socket.receive) throw new Violation('a poll beside a receive', operation);
    socket.receive = operation;
    kernel.stepOrWake(operation);
  },
  step(kernel, operation) {
    const socket = operation.socket!;
    if (operation.isCancelled) return kernel.complete(operation, -ECANCELED);
    const { receivable, isEnded, isReset, error } = socket;
    if (receivable > 0 || isEnded || isReset || error !== 0) kernel.complete(operation, POLLIN);
  },
  release: receive.release!,
};

function receiveEnd(kernel: Kernel, operation: Operation, socket: Socket): void {
  const error = socket.takeError(false);
  if (error !== 0) kernel.complete(operation, -error);
  else if (socket.isEnded || socket.isReset) kernel.complete(operation, 0);
}

/** One buffer full. False when the operation ended, or goes on later. */
function receiveSome(kernel: Kernel, operation: Operation, socket: Socket): boolean {
  const { buffers, trouble, rings } = kernel;
  const buffer = buffers.take();
  if (buffer < 0) {
    // Answers that the data plane hasn't read may hold the last buffers: it can't know that once or twice.
    socket.starvedTimes = socket.starvedAt === buffers.givenBack ? socket.starvedTimes + 1 : 0;
    if (socket.starvedTimes > STARVED_AGAIN_MAX) {
      throw new Violation('a receive is armed again and again though no buffer comes back', operation);
    }
    socket.starvedAt = buffers.givenBack;
    kernel.complete(operation, -ENOBUFS);
    return false;
  }
  let length = Math.min(socket.receivable, buffers.bytesEach);
  if (trouble.makes('receives in small pieces')) length = trouble.integer(1, length);
  const { bytes } = kernel.memory;
  const offset = buffers.offsetOf(buffer);
  const prefaceBytes = socket.receivePreface(bytes, offset, length);
  socket.peer!.fill(bytes, offset + prefaceBytes, length - prefaceBytes, socket.received);
  if (socket.received === 0) socket.firstReceived = length - prefaceBytes;
  socket.received += length - prefaceBytes;
  socket.peer!.onRoom();
  const flags = IORING_CQE_F_BUFFER | (buffer << IORING_CQE_BUFFER_SHIFT);
  // An answer that isn't the last one needs room in the completion ring: without it, it becomes the last one.
  const once = !(operation.priority & IORING_RECV_MULTISHOT);
  if (once || !rings.hasRoom || trouble.makes('receives that end')) {
    kernel.complete(operation, length, flags);
    return false;
  }
  kernel.answer(operation, length, flags | IORING_CQE_F_MORE);
  if (!trouble.makes('late answers')) return true;
  kernel.wake(operation);
  return false;
}

// ---- Send: all of it, read from the data plane's memory piece by piece as the peer makes room --------------------------

const send: Handler = {
  prepare({ memory }, operation) {
    const offset = memory.offsetOf(operation.address, operation.length, 'a send');
    addPieces(operation, [{ offset, length: operation.length }]);
  },
  issue: issueSend,
  step: stepSend,
  release: releaseSend,
};

const sendMessage: Handler = {
  prepare({ memory }, operation) {
    const header = memory.offsetOf(operation.address, MSGHDR_BYTES, 'a message');
    const count = memory.long(header + MSGHDR_IOVLEN);
    const vector = memory.offsetOf(memory.long(header + MSGHDR_IOV), count * IOVEC_BYTES, 'the pieces of a message');
    const pieces: Piece[] = [];
    for (let at = vector; at < vector + count * IOVEC_BYTES; at += IOVEC_BYTES) {
      const length = memory.long(at + 8);
      pieces.push({ offset: memory.offsetOf(memory.long(at), length, 'a piece of a message'), length });
    }
    addPieces(operation, pieces);
  },
  issue: issueSend,
  step: stepSend,
  release: releaseSend,
};

function addPieces(operation: Operation, pieces: Piece[]): void {
  operation.pieces = pieces;
  for (const { length } of pieces) operation.total += length;
  if (operation.total === 0) throw new Violation('a send of nothing', operation);
}

function issueSend(kernel: Kernel, operation: Operation): void {
  const socket = socketOf(kernel, operation);
  if (!socket) return;
  if (!socket.isConnected) {
    kernel.complete(operation, -ENOTCONN);
    return;
  }
  if (socket.send) throw new Violation('two sends are in flight on one socket', operation);
  if (socket.vainSends > VAIN_SENDS_MAX)
    throw new Violation('sent again and again to a peer that takes nothing', operation);
  socket.send = operation;
  for (const piece of operation.pieces) kernel.buffers.beginReading(piece);
  kernel.stepOrWake(operation);
}

function stepSend(kernel: Kernel, operation: Operation): void {
  const socket = operation.socket!;
  const { progress } = operation;
  if (operation.isCancelled) {
    kernel.complete(operation, progress || -ECANCELED);
    return;
  }
  // With something sent already, that is the answer; the error waits for the next operation.
  const error = progress > 0 && (socket.isReset || socket.isShut) ? progress : -socket.takeError(true);
  if (error !== 0) {
    kernel.complete(operation, error);
    return;
  }
  let length = Math.min(socket.room, operation.total - progress);
  if (length === 0) return;
  if (kernel.trouble.makes('sends in small pieces')) length = kernel.trouble.integer(1, length);
  copy(kernel, operation, socket, length);
  const isWhole = operation.progress === operation.total;
  if (isWhole || !(operation.operationFlags & MSG_WAITALL) || kernel.trouble.makes('sends cut short')) {
    kernel.complete(operation, operation.progress);
    return;
  }
  if (socket.room > 0) kernel.wake(operation);
}

function copy(kernel: Kernel, operation: Operation, socket: Socket, length: number): void {
  let skip = operation.progress;
  let left = length;
  for (const piece of operation.pieces) {
    const from = Math.min(skip, piece.length);
    const part = Math.min(piece.length - from, left);
    skip -= from;
    if (part === 0) continue;
    const { bytes } = kernel.memory;
    const greeted = socket.greeting?.take(bytes, piece.offset + from, part) ?? 0;
    operation.greetingBytes += greeted;
    if (part > greeted) socket.peer!.compare(bytes, piece.offset + from + greeted, part - greeted, socket.copied);
    socket.copied += part - greeted;
    left -= part;
  }
  operation.progress += length;
  socket.peer!.onBytes();
}

function releaseSend(kernel: Kernel, operation: Operation): void {
  const { socket } = operation;
  if (socket?.send !== operation) return;
  socket.send = null;
  for (const piece of operation.pieces) kernel.buffers.endReading(piece);
  socket.answered += operation.progress - operation.greetingBytes;
  socket.vainSends = operation.progress > 0 || !operation.isCancelled ? 0 : socket.vainSends + 1;
  if (operation.progress > 0) socket.peer!.onAnswer();
}

// ---- Socket, its options, bind, connect ---------------------------------------------------------------------------------------

const socket: Handler = {
  issue(kernel, operation) {
    const isStream = operation.off === SOCK_STREAM && operation.length === IPPROTO_TCP;
    if (!isStream || (operation.fd !== AF_INET && operation.fd !== AF_INET6))
      throw new Violation('not a TCP socket', operation);
    operation.place = operation.fileIndex - 1;
    kernel.world.onDial(operation.slot);
    if (kernel.trouble.makes('sockets that fail')) {
      return kernel.complete(operation, -kernel.trouble.pick([EMFILE, ENFILE, ENOBUFS]));
    }
    const made = kernel.newSocket();
    made.family = operation.fd;
    kernel.install(operation, made);
    kernel.complete(operation, 0);
  },
};

/** What the data plane sets, and to what. */
const OPTIONS = new Map([
  [
    IPPROTO_TCP,
    new Map([
      [TCP_NODELAY, 1],
      [TCP_QUICKACK, 0],
    ]),
  ],
  [
    IPPROTO_IP,
    new Map([
      [IP_BIND_ADDRESS_NO_PORT, 1],
      [IP_LOCAL_PORT_RANGE, OPTION_PORTS],
    ]),
  ],
]);

const option: Handler = {
  prepare({ memory }, operation) {
    const value = memory.offsetOf(operation.optionValue, 4, 'the value of a socket option');
    const level = operation.address % 2 ** 32;
    const isKnown = OPTIONS.get(level)?.get(operation.optionName) === memory.word(value);
    const isSetting = operation.off % 2 ** 32 === SOCKET_URING_OP_SETSOCKOPT && operation.fileIndex === 4;
    if (!isKnown || !isSetting) throw new Violation('not an option that this kernel knows', operation);
  },
  issue(kernel, operation) {
    const socket = socketOf(kernel, operation);
    if (!socket) return;
    if (isBindLate(operation)) socket.bindsLate = true;
    kernel.complete(operation, 0);
  },
};

function isBindLate({ address, optionName }: Operation): boolean {
  return address % 2 ** 32 === IPPROTO_IP && optionName === IP_BIND_ADDRESS_NO_PORT;
}

const bind: Handler = {
  prepare: readSockaddr,
  issue(kernel, operation) {
    const socket = socketOf(kernel, operation);
    if (!socket) return;
    const sockaddr = operation.sockaddr!;
    if (!socket.bindsLate) throw new Violation('a port is bound before it is known where to', operation);
    const isOfFamily = sockaddr[0] === socket.family && sockaddr[2] === 0 && sockaddr[3] === 0;
    if (!isOfFamily || operation.length !== 0) throw new Violation('an address that is not bound so', operation);
    socket.source = sourceOf(sockaddr);
    if (findPort(kernel, operation, operation.link!.sockaddr!, socket.source)) kernel.complete(operation, 0);
  },
};

/** False when there is none, and the operation is answered. */
function findPort(kernel: Kernel, operation: Operation, sockaddr: Uint8Array, source: number): boolean {
  const { world, trouble } = kernel;
  world.onPortWanted(operation.slot, sockaddr, source);
  if (!trouble.makes('ports that run out')) return true;
  world.onOutOfPorts(operation.slot, sockaddr, source);
  kernel.complete(operation, -trouble.pick([EADDRNOTAVAIL, EADDRINUSE]));
  return false;
}

function readSockaddr({ memory }: Kernel, operation: Operation): void {
  const offset = memory.offsetOf(operation.address, operation.off, 'the address of a bind or connect');
  operation.sockaddr = memory.bytes.slice(offset, offset + operation.off);
}

const connect: Handler = {
  prepare: readSockaddr,
  issue(kernel, operation) {
    const socket = socketOf(kernel, operation);
    if (!socket || !findPort(kernel, operation, operation.sockaddr!, socket.source)) return;
    socket.connect = operation;
    const client = kernel.files[clientPlace(operation.place >>> 1)]!;
    const { result, delayMs } = kernel.world.dial(socket, operation.sockaddr!, client);
    operation.outcome = result;
    kernel.timeline.after(delayMs, () => kernel.step(operation));
  },
  step: stepConnect,
  release(_kernel, operation) {
    if (operation.socket?.connect === operation) operation.socket.connect = null;
  },
};

function stepConnect(kernel: Kernel, operation: Operation): void {
  if (operation.isCancelled) {
    kernel.complete(operation, -ECANCELED);
    return;
  }
  kernel.complete(operation, operation.outcome!);
  if (operation.outcome === 0) operation.socket!.peer!.begin();
}

// ---- Shutdown, close, cancel, the eventfd --------------------------------------------------------------------------------

const shutdown: Handler = {
  issue(kernel, operation) {
    const socket = socketOf(kernel, operation);
    if (!socket) return;
    if (operation.length !== SHUT_WR) throw new Violation('a shutdown of more than sending', operation);
    if (socket.send) throw new Violation('a socket is shut while a send is in flight', operation);
    socket.shutdown = operation;
    operation.isOnThread = true;
    kernel.wake(operation);
  },
  step(kernel, operation) {
    const socket = operation.socket!;
    if (socket.isReset || !socket.isConnected) return kernel.complete(operation, -ENOTCONN);
    socket.endSending();
    kernel.complete(operation, 0);
  },
  release(_kernel, operation) {
    if (operation.socket) operation.socket.shutdown = null;
  },
};

const close: Handler = {
  issue(kernel, operation) {
    operation.place = operation.fileIndex - 1;
    kernel.complete(operation, kernel.closePlace(operation.place) ? 0 : -EBADF);
  },
};

const cancel: Handler = {
  issue(kernel, operation) {
    kernel.complete(operation, cancelTarget(kernel, kernel.inFlight.get(operation.address)));
  },
};

function cancelTarget(kernel: Kernel, target: Operation | undefined): number {
  if (!target) return -ENOENT;
  if (target.isOnThread) return -EALREADY;
  if (kernel.trouble.makes('cancels that come too late') && finishesNow(kernel, target)) return -EALREADY;
  target.isCancelled = true;
  kernel.wake(target);
  return 0;
}

/** Lets an operation that can end by itself do so. */
function finishesNow(kernel: Kernel, target: Operation): boolean {
  if (target.opcode === IORING_OP_RECV || target.isCancelled) return false;
  if (target.opcode === IORING_OP_CONNECT && target.outcome !== 0) return false;
  kernel.step(target);
  if (!target.isDone && target.progress > 0) kernel.complete(target, target.progress);
  return target.isDone;
}

const read: Handler = {
  prepare({ memory }, operation) {
    memory.offsetOf(operation.address, operation.length, 'the value of the eventfd');
  },
  issue(kernel, operation) {
    kernel.wakeRead = operation;
    kernel.step(operation);
  },
  step(kernel, operation) {
    if (kernel.wakeCount === 0) return;
    const offset = kernel.memory.offsetOf(operation.address, 8, 'the value of the eventfd');
    kernel.memory.words[offset >>> 2] = kernel.wakeCount;
    kernel.wakeCount = 0;
    kernel.complete(operation, 8);
  },
};

export const handlers: Record<number, Handler> = {
  [IORING_OP_ACCEPT]: accept,
  [IORING_OP_RECV]: receive,
  [IORING_OP_POLL_ADD]: poll,
  [IORING_OP_SEND]: send,
  [IORING_OP_SENDMSG]: sendMessage,
  [IORING_OP_SOCKET]: socket,
  [IORING_OP_URING_CMD]: option,
  [IORING_OP_BIND]: bind,
  [IORING_OP_CONNECT]: connect,
  [IORING_OP_SHUTDOWN]: shutdown,
  [IORING_OP_CLOSE]: close,
  [IORING_OP_ASYNC_CANCEL]: cancel,
  [IORING_OP_READ]: read,
};
