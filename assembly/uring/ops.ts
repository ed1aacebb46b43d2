// One function fills one submission entry. An operation's identity travels in user_data and comes back with its answer:
//
//   63        32 31         8 7       0
//   |   slot    | generation |   op   |
//
// Files are direct descriptors with fixed places: slot * 2 for the client, slot * 2 + 1 for the backend, so no table of
// the kernel's ever has to be searched, and a full one can't happen while a slot was free. Whoever has connections of
// one side only names half the place's number as the slot and the rest as the side: then there is a place for each.
import {
  HEADER_OFFSET,
  HEADER_OPTION_OFF,
  HEADER_OPTION_ON,
  HEADER_OPTION_PORTS,
  HEADER_WAKE_VALUE,
  IOVECS_MAX,
  MESSAGE_BYTES,
  SOCKADDR_BYTES_MAX,
} from '../layout';
import { Cold, Header, Member, peerOf, Source } from '../memory';
import {
  IORING_ACCEPT_DONTWAIT,
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
  IORING_RECVSEND_POLL_FIRST,
  IOSQE_BUFFER_SELECT,
  IOSQE_CQE_SKIP_SUCCESS,
  IOSQE_FIXED_FILE,
  IOSQE_IO_LINK,
  IOVEC_BYTES,
  IP_BIND_ADDRESS_NO_PORT,
  IP_LOCAL_PORT_RANGE,
  IPPROTO_IP,
  IPPROTO_TCP,
  MSG_NOSIGNAL,
  MSG_WAITALL,
  MSGHDR_BYTES,
  MSGHDR_IOV,
  MSGHDR_IOVLEN,
  POLLIN,
  SHUT_WR,
  SOCK_STREAM,
  SOCKET_URING_OP_SETSOCKOPT,
  SQE_ADDR,
  SQE_BUF_GROUP,
  SQE_FD,
  SQE_FILE_INDEX,
  SQE_FLAGS,
  SQE_IOPRIO,
  SQE_LEN,
  SQE_OFF,
  SQE_OP_FLAGS,
  SQE_OPCODE,
  SQE_OPTLEN,
  SQE_OPTNAME,
  SQE_OPTVAL,
  SQE_USER_DATA,
  TCP_NODELAY,
  TCP_QUICKACK,
} from './abi';
import { bufferAddress, coldAddressForKernel, entryMessage, kernelAddress, nextEntry, reserve } from './ring';

// Operations that a connection waits for, each a bit of Hot.pending; + CLIENT or BACKEND where there is one for a side.
export const OP_ACCEPT: u32 = 0;
export const OP_RECEIVE: u32 = 1; // and 2
export const OP_SEND: u32 = 3; // and 4: the direction from that side
export const OP_DIAL: u32 = 5;
export const OP_SHUTDOWN: u32 = 6; // and 7
// Operations that nobody waits for.
export const OP_CANCEL: u32 = 16;
export const OP_CLOSE: u32 = 17;
export const OP_WAKE: u32 = 18;

const GENERATION_MASK: u32 = 0xffffff;

export function identity(op: u32, slot: u32, generation: u32): u64 {
  return ((<u64>slot) << 32) | <u64>((generation & GENERATION_MASK) << 8) | <u64>op;
}

export function operationOf(userData: u64): u32 {
  return <u32>userData & 0xff;
}

export function slotOf(userData: u64): u32 {
  return <u32>(userData >> 32);
}

export function isOfGeneration(userData: u64, generation: u32): bool {
  return <u32>userData >> 8 == (generation & GENERATION_MASK);
}

function file(slot: u32, side: u32): u32 {
  return slot * 2 + side;
}

function prep(opcode: u32, flags: u32, userData: u64): usize {
  const entry = nextEntry();
  store<u8>(entry, <u8>opcode, SQE_OPCODE);
  store<u8>(entry, <u8>flags, SQE_FLAGS);
  store<u64>(entry, userData, SQE_USER_DATA);
  return entry;
}

/** Accepts the next client into the slot's place; its address is written to the cold line. `waits`: also one to come. */
export function prepAccept(listenerFd: u32, slot: u32, line: Cold, waits: bool, userData: u64, side: u32 = 0): void {
  line.greeting = SOCKADDR_BYTES_MAX;
  const peer = peerOf(line);
  const entry = prep(IORING_OP_ACCEPT, 0, userData);
  store<u16>(entry, <u16>(waits ? 0 : IORING_ACCEPT_DONTWAIT), SQE_IOPRIO);
  store<u32>(entry, listenerFd, SQE_FD);
  store<u64>(entry, coldAddressForKernel(peer, SOCKADDR_BYTES_MAX), SQE_ADDR);
  store<u64>(entry, coldAddressForKernel(peer + SOCKADDR_BYTES_MAX, 4), SQE_OFF);
  store<u32>(entry, file(slot, side) + 1, SQE_FILE_INDEX);
}

/**
 * Receives into provided buffers: once, or `multishot` until it is cancelled, fails or, where the kernel can, has
 * brought receiveLimit bytes. Without that limit one side that floods can bring hundreds of buffers in one call.
 * `pollFirst` where nothing can be there yet, which spares the kernel a look.
 */
export function prepReceive(slot: u32, side: u32, multishot: bool, pollFirst: bool, userData: u64): void {
  const entry = prep(IORING_OP_RECV, IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT, userData);
  store<u32>(entry, file(slot, side), SQE_FD);
  const first = pollFirst ? IORING_RECVSEND_POLL_FIRST : 0;
  store<u16>(entry, <u16>(multishot ? first | IORING_RECV_MULTISHOT : first), SQE_IOPRIO);
  if (multishot) {
    store<u32>(entry, changetype<Header>(HEADER_OFFSET).receiveLimit, SQE_OPTLEN);
  }
  store<u16>(entry, 0, SQE_BUF_GROUP);
}

/** Waits until there is something to receive, be it the end. A third of what a receive that waits costs the kernel. */
export function prepPoll(slot: u32, side: u32, userData: u64): void {
  const entry = prep(IORING_OP_POLL_ADD, IOSQE_FIXED_FILE, userData);
  store<u32>(entry, file(slot, side), SQE_FD);
  store<u32>(entry, POLLIN, SQE_OP_FLAGS);
}

/** Sends one piece of memory, all of it unless the connection fails. */
export function prepSend(slot: u32, side: u32, offset: usize, length: u32, userData: u64): void {
  const entry = prep(IORING_OP_SEND, IOSQE_FIXED_FILE, userData);
  store<u32>(entry, file(slot, side), SQE_FD);
  store<u64>(entry, kernelAddress(offset, length), SQE_ADDR);
  store<u32>(entry, length, SQE_LEN);
  store<u32>(entry, MSG_NOSIGNAL | MSG_WAITALL, SQE_OP_FLAGS);
}

/** As prepSend for several pieces, which addPiece then names; the answer is the return value. */
export function prepSendMessage(slot: u32, side: u32, userData: u64): usize {
  const entry = prep(IORING_OP_SENDMSG, IOSQE_FIXED_FILE, userData);
  const message = entryMessage();
  memory.fill(message, 0, MSGHDR_BYTES);
  store<u64>(message, kernelAddress(message + MSGHDR_BYTES, IOVEC_BYTES), MSGHDR_IOV);
  store<u32>(entry, file(slot, side), SQE_FD);
  store<u64>(entry, kernelAddress(message, MSGHDR_BYTES), SQE_ADDR);
  store<u32>(entry, 1, SQE_LEN);
  store<u32>(entry, MSG_NOSIGNAL | MSG_WAITALL, SQE_OP_FLAGS);
  return message;
}

if (MSGHDR_BYTES + IOVECS_MAX * IOVEC_BYTES > MESSAGE_BYTES) ERROR('a message is larger than its place');

export function addPiece(message: usize, offset: usize, length: u32): void {
  const pieces = load<u64>(message, MSGHDR_IOVLEN);
  const piece = message + MSGHDR_BYTES + <usize>pieces * IOVEC_BYTES;
  store<u64>(piece, kernelAddress(offset, length));
  store<u64>(piece, length, 8);
  store<u64>(message, pieces + 1, MSGHDR_IOVLEN);
}

const DIAL_LINK: u32 = IOSQE_IO_LINK | IOSQE_CQE_SKIP_SUCCESS;

/**
 * Socket, options, connect, as one chain with one answer: that of the connect, or of the first that failed (a link that
 * fails with CQE_SKIP_SUCCESS set answers and silences the rest). A socket left in the place by an earlier attempt is
 * replaced, which closes it. `from`: address of the Source to bind to before the connect, or 0. `isCrowded`: most ports may
 * be taken.
 *
 * Without TCP_QUICKACK the handshake's last acknowledgement waits for the CONNECT, which follows at once, and goes with
 * it: one packet fewer for each connection, 1 to 2 % of the CPU of a short life (npm run bench -- --scenario churn).
 */
export function prepDial(slot: u32, to: Member, from: usize, isCrowded: bool, userData: u64, side: u32 = 1): void {
  const place = file(slot, side);
  reserve(4 + (isCrowded ? 1 : 0) + (from == 0 ? 0 : 2));
  const sockaddr = changetype<usize>(to) + offsetof<Member>('_sockaddr0');
  const socket = prep(IORING_OP_SOCKET, DIAL_LINK, userData);
  store<u32>(socket, load<u16>(sockaddr), SQE_FD);
  store<u64>(socket, SOCK_STREAM, SQE_OFF);
  store<u32>(socket, IPPROTO_TCP, SQE_LEN);
  store<u32>(socket, place + 1, SQE_FILE_INDEX);
  prepDialOption(place, IPPROTO_TCP, TCP_NODELAY, HEADER_OPTION_ON, userData);
  prepDialOption(place, IPPROTO_TCP, TCP_QUICKACK, HEADER_OPTION_OFF, userData);
  if (isCrowded) prepPorts(place, userData);
  if (from != 0) prepBind(place, changetype<Source>(from), userData);
  const connect = prep(IORING_OP_CONNECT, IOSQE_FIXED_FILE, userData);
  nameAddress(connect, place, sockaddr, to.sockaddrBytes);
}

// The kernel looks through every second port before it looks at one of the others, at each connect anew: when that half is
// taken, for a tenth of a millisecond and more. From a socket with a range of its own it looks at them one after the other.
function prepPorts(place: u32, userData: u64): void {
  prepDialOption(place, IPPROTO_IP, IP_LOCAL_PORT_RANGE, HEADER_OPTION_PORTS, userData);
}

// A bind takes a port for every destination at once, and from everybody: without this option no backend could have a
// port that another one uses, and a source would be good for 64k connections in all instead of for each backend.
function prepBind(place: u32, from: Source, userData: u64): void {
  prepDialOption(place, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, HEADER_OPTION_ON, userData);
  const bind = prep(IORING_OP_BIND, DIAL_LINK | IOSQE_FIXED_FILE, userData);
  nameAddress(bind, place, changetype<usize>(from) + offsetof<Source>('_sockaddr0'), from.sockaddrBytes);
}

/** `value`: the field of the header that holds it. */
function prepDialOption(place: u32, level: u32, name: u32, value: i32, userData: u64): void {
  const option = prep(IORING_OP_URING_CMD, DIAL_LINK | IOSQE_FIXED_FILE, userData);
  store<u32>(option, place, SQE_FD);
  store<u32>(option, SOCKET_URING_OP_SETSOCKOPT, SQE_OFF);
  store<u32>(option, level, SQE_ADDR);
  store<u32>(option, name, SQE_OPTNAME);
  store<u32>(option, 4, SQE_OPTLEN);
  store<u64>(option, kernelAddress(HEADER_OFFSET + value, 4), SQE_OPTVAL);
}

/** For the entry taken last, on the file in that place. */
function nameAddress(entry: usize, place: u32, sockaddr: usize, bytes: u32): void {
  store<u32>(entry, place, SQE_FD);
  // The snapshot that the address stands in may be replaced before this is submitted.
  const copy = entryMessage();
  memory.copy(copy, sockaddr, SOCKADDR_BYTES_MAX);
  store<u64>(entry, kernelAddress(copy, bytes), SQE_ADDR);
  store<u64>(entry, bytes, SQE_OFF);
}

/** Always runs on a kernel thread of its own: for a true half-close only. */
export function prepShutdown(slot: u32, side: u32, userData: u64): void {
  const entry = prep(IORING_OP_SHUTDOWN, IOSQE_FIXED_FILE, userData);
  store<u32>(entry, file(slot, side), SQE_FD);
  store<u32>(entry, SHUT_WR, SQE_LEN);
}

/** Asks for the end of an operation, whose own answer then comes; this one answers only when there was nothing to end. */
export function prepCancel(target: u64, slot: u32): void {
  const entry = prep(IORING_OP_ASYNC_CANCEL, IOSQE_CQE_SKIP_SUCCESS, identity(OP_CANCEL, slot, 0));
  store<i32>(entry, -1, SQE_FD);
  store<u64>(entry, target, SQE_ADDR);
}

/** Runs while it is submitted, so before any later entry can fill the place again. */
export function prepClose(slot: u32, side: u32): void {
  const entry = prep(IORING_OP_CLOSE, IOSQE_CQE_SKIP_SUCCESS, identity(OP_CLOSE, slot, 0));
  store<u32>(entry, file(slot, side) + 1, SQE_FILE_INDEX);
}

/** Reads the eventfd with which the main thread interrupts a wait. */
export function prepWake(wakeFd: u32): void {
  const entry = prep(IORING_OP_READ, 0, identity(OP_WAKE, 0, 0));
  store<u32>(entry, wakeFd, SQE_FD);
  store<u64>(entry, kernelAddress(HEADER_OFFSET + HEADER_WAKE_VALUE, 8), SQE_ADDR);
  store<u32>(entry, 8, SQE_LEN);
  store<i64>(entry, -1, SQE_OFF);
}

export function pieceAddress(buffer: u32, start: u32): usize {
  return bufferAddress(buffer) + start;
}
