// The C library, reached through koffi: what Node's own modules can't do. Everything throws an Error whose `code` is
// the errno's name (EADDRINUSE), but the three io_uring calls: they return -errno, since their caller decides per
// code and asks once per batch.
import { platform } from 'node:os';
import { getSystemErrorName } from 'node:util';
import koffi from 'koffi';
import { AF_INET, AF_INET6, IP_BIND_ADDRESS_NO_PORT, IPPROTO_IP, SOCK_STREAM } from '../../assembly/uring/abi.ts';
import { SOCKADDR_IN_BYTES, SOCKADDR_IN6_BYTES } from './sockaddr.ts';

export { decodeSockaddr, encodeSockaddr } from './sockaddr.ts';

const darwin = platform() === 'darwin';
const linux = platform() === 'linux';

// The two platforms' spellings of the same names; sockets are always close-on-exec here.
export const SOL_SOCKET = darwin ? 0xffff : 1;
export const SO_REUSEADDR = darwin ? 4 : 2;
export const SO_REUSEPORT = darwin ? 0x200 : 15;
export const SO_ACCEPTCONN = darwin ? 2 : 30;
export const IPPROTO_IPV6 = 41;
export const IPV6_V6ONLY = darwin ? 27 : 26;
export const RLIMIT_NOFILE = darwin ? 8 : 7;
export const RLIMIT_MEMLOCK = darwin ? 6 : 8;
const RLIM_INFINITY = darwin ? 0x7fff_ffff_ffff_ffffn : 0xffff_ffff_ffff_ffffn;
const DARWIN_AF_INET6 = 30;
const F_SETFD = 2;
const F_GETFL = 3;
const F_SETFL = 4;
const FD_CLOEXEC = 1;
const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const SOCK_CLOEXEC = linux ? 0o2000000 : 0;
const F_DUPFD_CLOEXEC = darwin ? 67 : 1030;
const O_NONBLOCK = darwin ? 4 : 0o4000;
const EFD_CLOEXEC = 0o2000000;

// Linux, the same numbers on x86-64 and arm64.
const CLOCK_MONOTONIC = 1;
const SYS_io_uring_setup = 425;
const SYS_io_uring_enter = 426;
const SYS_io_uring_register = 427;

/** The process itself: its C library is already in it, whatever its file is called (glibc, musl, libSystem). */
const library = koffi.load(null);

const libc = {
  socket: library.func('int socket(int family, int type, int protocol)'),
  bind: library.func('int bind(int fd, const void *address, uint32_t bytes)'),
  listen: library.func('int listen(int fd, int backlog)'),
  setsockopt: library.func('int setsockopt(int fd, int level, int name, const void *value, uint32_t bytes)'),
  sendto: library.func(
    'intptr_t sendto(int fd, const void *bytes, size_t count, int flags, const void *address, uint32_t addressBytes)',
  ),
  getsockopt: library.func('int getsockopt(int fd, int level, int name, void *value, void *bytes)'),
  getsockname: library.func('int getsockname(int fd, void *address, void *bytes)'),
  fcntl: library.func('int fcntl(int fd, int command, ...)'),
  close: library.func('int close(int fd)'),
  write: library.func('intptr_t write(int fd, const void *bytes, size_t count)'),
  getrlimit: library.func('int getrlimit(int resource, void *limits)'),
  setrlimit: library.func('int setrlimit(int resource, const void *limits)'),
  getpagesize: library.func('int getpagesize()'),
  clock_gettime: library.func('int clock_gettime(int clock, uintptr_t time)'),
  madvise: library.func('int madvise(uintptr_t address, size_t bytes, int advice)'),
  memmove: library.func('uintptr_t memmove(void *to, const void *from, size_t count)'),
};

// Declared when first used: macOS has none of them, and a name that can't be found fails at its declaration.
type Affinity = (thread: number, bytes: number, mask: Uint8Array) => number;
let getAffinity: Affinity | undefined;
let setAffinity: Affinity | undefined;
type Eventfd = (initial: number, flags: number) => number;
let createEventfd: Eventfd | undefined;

/** A TCP socket; `family` is Linux's AF_INET or AF_INET6. */
export function socket(family: number): number {
  // In the same call where the system can: another thread may start a process at any moment, which would keep the socket.
  const fd = check('socket', libc.socket(platformFamily(family), SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!linux) setCloseOnExec(fd);
  return fd;
}

/** No process that is started from here on gets the descriptor unasked. */
export function setCloseOnExec(fd: number): void {
  check('fcntl', libc.fcntl(fd, F_SETFD, 'int', FD_CLOEXEC));
}

/**
 * A datagram to a unix socket (Linux), EAGAIN while its reader's queue is full. A path that begins with "@" is a name in
 * the abstract namespace.
 */
export function sendToUnixSocket(path: string, text: string): void {
  const fd = check('socket', libc.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  try {
    const bytes = Buffer.from(text);
    const address = unixSockaddr(path);
    check('sendto', libc.sendto(fd, bytes, bytes.length, MSG_NOSIGNAL | MSG_DONTWAIT, address, address.length));
  } finally {
    close(fd);
  }
}

/** struct sockaddr_un: the family, then a path that a NUL ends, or a name that a NUL begins. */
function unixSockaddr(path: string): Uint8Array {
  const isAbstract = path.startsWith('@');
  const address = Buffer.from(isAbstract ? `\0\0\0${path.slice(1)}` : `\0\0${path}\0`);
  address.writeUInt16LE(AF_UNIX);
  return address;
}

/** `address` as encodeSockaddr makes it. */
export function bind(fd: number, address: Uint8Array): void {
  check('bind', libc.bind(fd, toPlatform(address), address.length));
}

/**
 * A socket that will connect from that address, with a port that is found then: as on Linux's own, one that another
 * connection has too, as long as that goes elsewhere. Where the system can't wait, the port is taken from all at once.
 */
export function boundSocket(address: Uint8Array): number {
  const fd = socket(address[0]!);
  try {
    if (linux) setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
    bind(fd, address);
    return fd;
  } catch (error) {
    close(fd);
    throw error;
  }
}

export function listen(fd: number, backlog: number): void {
  check('listen', libc.listen(fd, backlog));
}

export function setsockopt(fd: number, level: number, name: number, value: number): void {
  check('setsockopt', libc.setsockopt(fd, level, name, new Int32Array([value]), 4));
}

/** The same with an option that is more than a number. */
export function setsockoptBytes(fd: number, level: number, name: number, value: Uint8Array): void {
  check('setsockopt', libc.setsockopt(fd, level, name, value, value.length));
}

/** Of an option that is a number. */
export function getsockopt(fd: number, level: number, name: number): number {
  const value = new Int32Array(1);
  check('getsockopt', libc.getsockopt(fd, level, name, value, new Uint32Array([4])));
  return value[0]!;
}

/** More than any kernel is built for. */
const CORES_MAX = 16384;

/** sched_getaffinity(2) of the calling thread: a bit for each core. */
export function schedGetaffinity(): Uint8Array {
  getAffinity ??= library.func('int sched_getaffinity(int thread, size_t bytes, void *mask)') as unknown as Affinity;
  const mask = new Uint8Array(CORES_MAX / 8);
  check('sched_getaffinity', getAffinity(0, mask.length, mask));
  return mask;
}

/** sched_setaffinity(2) of the calling thread. */
export function schedSetaffinity(mask: Uint8Array): void {
  setAffinity ??= library.func('int sched_setaffinity(int thread, size_t bytes, void *mask)') as unknown as Affinity;
  check('sched_setaffinity', setAffinity(0, mask.length, mask));
}
/** The address that the socket is bound to, for decodeSockaddr. */
export function getsockname(fd: number): Uint8Array {
  const address = new Uint8Array(128);
  const bytes = new Uint32Array([address.length]);
  check('getsockname', libc.getsockname(fd, address, bytes));
  return fromPlatform(address.subarray(0, bytes[0]));
}

export function setNonBlocking(fd: number): void {
  const flags = check('fcntl', libc.fcntl(fd, F_GETFL, 'int', 0));
  check('fcntl', libc.fcntl(fd, F_SETFL, 'int', flags | O_NONBLOCK));
}

export function isBlocking(fd: number): boolean {
  return (check('fcntl', libc.fcntl(fd, F_GETFL, 'int', 0)) & O_NONBLOCK) === 0;
}

export function setBlocking(fd: number): void {
  const flags = check('fcntl', libc.fcntl(fd, F_GETFL, 'int', 0));
  check('fcntl', libc.fcntl(fd, F_SETFL, 'int', flags & ~O_NONBLOCK));
}

export function dup(fd: number): number {
  return check('dup', libc.fcntl(fd, F_DUPFD_CLOEXEC, 'int', 3));
}

export function close(fd: number): void {
  check('close', libc.close(fd));
}

/** A counter that a ring, or a poll, can wait on (Linux). Blocking: whoever reads it waits for a write. */
export function eventfd(): number {
  createEventfd ??= library.func('int eventfd(unsigned int initial, int flags)') as unknown as Eventfd;
  return check('eventfd', createEventfd(0, EFD_CLOEXEC));
}

const one = new BigUint64Array([1n]);

export function writeEventfd(fd: number): void {
  check('write', libc.write(fd, one, 8));
}

export interface ResourceLimit {
  /** Infinity when there is none. */
  soft: number;
  hard: number;
}

export function getrlimit(resource: number): ResourceLimit {
  const limits = new BigUint64Array(2);
  check('getrlimit', libc.getrlimit(resource, limits));
  return { soft: fromLimit(limits[0]!), hard: fromLimit(limits[1]!) };
}

export function setrlimit(resource: number, limit: ResourceLimit): void {
  check('setrlimit', libc.setrlimit(resource, new BigUint64Array([toLimit(limit.soft), toLimit(limit.hard)])));
}

// The first fields of struct passwd and struct group, which are the same everywhere.
const passwd = koffi.struct({ name: 'str', password: 'str', uid: 'uint32_t', gid: 'uint32_t' });
const group = koffi.struct({ name: 'str', password: 'str', gid: 'uint32_t' });
const getpwnam = library.func('getpwnam', koffi.pointer(passwd), ['str']);
const getgrnam = library.func('getgrnam', koffi.pointer(group), ['str']);

/** As the system's databases have it; null: there is none of that name. */
export function userNamed(name: string): { uid: number; gid: number } | null {
  const found = getpwnam(name);
  return found === null ? null : koffi.decode(found, passwd);
}

export function groupNamed(name: string): { gid: number } | null {
  const found = getgrnam(name);
  return found === null ? null : koffi.decode(found, group);
}

/** Bytes of a page of memory. */
export function pageBytes(): number {
  return libc.getpagesize();
}

export const MADV_DONTNEED = 4;

/** clock_gettime(2) of CLOCK_MONOTONIC; `address` is that of a struct timespec. */
export function readMonotonicClock(address: bigint): void {
  libc.clock_gettime(CLOCK_MONOTONIC, address);
}

/** madvise(2): 0, or -errno. */
export function madvise(address: bigint, bytes: number, advice: number): number {
  return orErrno(libc.madvise(address, bytes, advice));
}

/** Where a buffer lies in this process: a C function that returns its argument tells. Valid while the buffer lives. */
export function addressOf(buffer: ArrayBufferLike): bigint {
  const view = new Uint8Array(buffer);
  return BigInt(libc.memmove(view, view, 0));
}

// syscall(2) takes its arguments as registers on both architectures, so a fixed signature per call is the same ABI as
// its variadic one, and spares koffi the types of every argument at every call.
type EnterSyscall = (
  number: number,
  fd: number,
  submit: number,
  minComplete: number,
  flags: number,
  argument: bigint | number,
  argumentBytes: number,
) => number;
type SetupSyscall = (number: number, entries: number, parameters: bigint | number | Uint8Array) => number;
type RegisterSyscall = (number: number, fd: number, opcode: number, argument: bigint | number, count: number) => number;

const enterSyscall = library.func('syscall', 'long', [
  'long',
  'uint32_t',
  'uint32_t',
  'uint32_t',
  'uint32_t',
  'uintptr_t',
  'size_t',
]) as EnterSyscall;
const setupSyscall = library.func('syscall', 'long', ['long', 'uint32_t', 'uintptr_t']) as SetupSyscall;
const setupSyscallWithBytes = library.func('syscall', 'long', ['long', 'uint32_t', 'void *']) as SetupSyscall;
const registerSyscall = library.func('syscall', 'long', [
  'long',
  'uint32_t',
  'uint32_t',
  'uintptr_t',
  'uint32_t',
]) as RegisterSyscall;

/** io_uring_setup(2): the ring's fd, or -errno. `parameters` is an address or the bytes of struct io_uring_params. */
export function ioUringSetup(entries: number, parameters: bigint | number | Uint8Array): number {
  const call = typeof parameters === 'object' ? setupSyscallWithBytes : setupSyscall;
  return orErrno(call(SYS_io_uring_setup, entries, parameters));
}

/** io_uring_enter(2): the entries submitted, or -errno. `argument` is an address: a sigset's, or with EXT_ARG its own. */
export function ioUringEnter(
  fd: number,
  submit: number,
  minComplete: number,
  flags: number,
  argument: bigint | number,
  argumentBytes: number,
): number {
  return orErrno(enterSyscall(SYS_io_uring_enter, fd, submit, minComplete, flags, argument, argumentBytes));
}

/** io_uring_register(2): mostly 0, or -errno. */
export function ioUringRegister(fd: number, opcode: number, argument: bigint | number, count: number): number {
  return orErrno(registerSyscall(SYS_io_uring_register, fd, opcode, argument, count));
}

function orErrno(result: number): number {
  return result < 0 ? -koffi.errno() : result;
}

function check(call: string, result: number): number {
  if (result >= 0) return result;
  const errno = koffi.errno();
  const code = getSystemErrorName(-errno);
  throw Object.assign(new Error(`${call}: ${code}`), { code, errno, syscall: call });
}

function fromLimit(limit: bigint): number {
  return limit >= RLIM_INFINITY ? Number.POSITIVE_INFINITY : Number(limit);
}

function toLimit(limit: number): bigint {
  return limit === Number.POSITIVE_INFINITY ? RLIM_INFINITY : BigInt(limit);
}

// BSD's sockaddr begins with its length and has the family in the second byte.
function platformFamily(family: number): number {
  return darwin && family === AF_INET6 ? DARWIN_AF_INET6 : family;
}

function toPlatform(address: Uint8Array): Uint8Array {
  if (!darwin) return address;
  const copy = address.slice();
  copy[0] = address.length;
  copy[1] = platformFamily(address[0]!);
  return copy;
}

function fromPlatform(address: Uint8Array): Uint8Array {
  if (!darwin) return address;
  const family = address[1] === DARWIN_AF_INET6 ? AF_INET6 : AF_INET;
  const copy = address.slice(0, family === AF_INET6 ? SOCKADDR_IN6_BYTES : SOCKADDR_IN_BYTES);
  copy[0] = family;
  copy[1] = 0;
  return copy;
}
