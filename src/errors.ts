// Failures that end the process. Whatever a user can put right is a TidegateError: the command line prints its message
// as it stands and leaves with its exit code. Anything else that is thrown is a mistake of ours.

/** Contract: what the process says with its exit code. */
export const EXIT_ASKED_TO_STOP = 0;
export const EXIT_BAD_CONFIGURATION = 1;
export const EXIT_COULD_NOT_START = 2;
/** `doctor` has found less than is wanted. */
export const EXIT_BOUNDED = 1;
/** sysexits' EX_SOFTWARE: a mistake of ours, told apart from the codes that ask for a person's hand. */
export const EXIT_CRASHED = 70;

export type ExitCode = typeof EXIT_BAD_CONFIGURATION | typeof EXIT_COULD_NOT_START;

export class TidegateError extends Error {
  /** Stable, for programs: an errno name such as EADDRINUSE, or a word of ours such as BAD_CONFIGURATION. */
  readonly code: string;
  readonly exitCode: ExitCode;

  constructor(code: string, message: string, exitCode: ExitCode = EXIT_COULD_NOT_START, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
    this.exitCode = exitCode;
  }
}

/** One fault in a configuration: where it is and what should stand there. Line and column count from 1. */
export interface Fault {
  file: string;
  line?: number;
  column?: number;
  /** Of the key, as in `pools.brokers.backends[2].weight`; empty for the file as a whole. */
  path: string;
  expected: string;
}

/** Every fault that was found, one line each. The fields of the first one are repeated for convenience. */
export class ConfigError extends TidegateError {
  readonly faults: readonly Fault[];
  readonly file: string;
  readonly line: number | undefined;
  readonly column: number | undefined;
  readonly path: string;
  readonly expected: string;

  constructor(faults: readonly [Fault, ...Fault[]]) {
    super('BAD_CONFIGURATION', faults.map(faultLine).join('\n'), EXIT_BAD_CONFIGURATION);
    const [first] = faults;
    this.faults = faults;
    this.file = first.file;
    this.line = first.line;
    this.column = first.column;
    this.path = first.path;
    this.expected = first.expected;
  }
}

/** The command itself was wrong: an unknown command or option, a missing argument. */
export class UsageError extends TidegateError {
  constructor(message: string) {
    super('USAGE', message, EXIT_BAD_CONFIGURATION);
  }
}

/** What to do about a listener that can't be bound. `code` is the errno's name. */
export function bindError(code: string, address: string): TidegateError {
  return new TidegateError(code, `cannot listen on ${address}: ${BIND_ADVICE[code] ?? `the system says ${code}`}`);
}

/** What to do about an address that connections can't be made from. `code` is the errno's name. */
export function sourceError(code: string, address: string, pool: string): TidegateError {
  const advice = SOURCE_ADVICE[code] ?? `the system says ${code}`;
  return new TidegateError(code, `cannot connect from ${address} (source_addresses of pool ${pool}): ${advice}`);
}

const SOURCE_ADVICE: Record<string, string> = {
  EADDRNOTAVAIL: 'this machine has no such address; add it (ip address add) or choose one that `ip address` shows',
  EAFNOSUPPORT: 'this machine has no such address family; use IPv4 addresses',
  EINVAL: 'the address needs the name of its interface, as in fe80::1%eth0',
};

const BIND_ADVICE: Record<string, string> = {
  EADDRINUSE: 'the port is taken; stop the program that holds it (ss -ltnp shows which) or choose another port in bind',
  EADDRNOTAVAIL: 'this machine has no such address; choose one that `ip address` shows, or 0.0.0.0 for all',
  EACCES: 'not permitted; choose a port from 1024 up, or give the process CAP_NET_BIND_SERVICE',
  EPERM: 'not permitted; choose a port from 1024 up, or give the process CAP_NET_BIND_SERVICE',
  EAFNOSUPPORT: 'this machine has no such address family; use an IPv4 address in bind',
  EMFILE: 'too few descriptors; raise the limit (ulimit -n, or LimitNOFILE= in the systemd unit)',
};

function faultLine(fault: Fault): string {
  const where = [fault.file, fault.line, fault.column].filter((part) => part !== undefined).join(':');
  return [where, fault.path, fault.expected].filter((part) => part !== '').join(': ');
}
