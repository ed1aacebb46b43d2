// The commands of the contract: what each takes, what it prints, and the exit code. Modules behind a command are loaded
// when it runs, so that `version` and --help answer at once.
import { reload, set } from './commands/change.ts';
import { check } from './commands/check.ts';
import { type Command, commandHelp, readArguments, required } from './commands/command.ts';
import { CONNECTION_FILTERS, connections } from './commands/connections.ts';
import { doctor } from './commands/doctor.ts';
import { drain, rebalance } from './commands/move.ts';
import { print } from './commands/print.ts';
import { route } from './commands/route.ts';
import { events, status, top } from './commands/watch.ts';
import { EXIT_ASKED_TO_STOP, EXIT_COULD_NOT_START, EXIT_CRASHED, TidegateError, UsageError } from './errors.ts';
import { nearestName } from './nearest-name.ts';
import { version } from './version.ts';

const COMMANDS: Record<string, Command> = {
  run: {
    summary: 'run the balancer until SIGTERM or SIGINT',
    usage: 'run --config FILE',
    options: ['config'],
    details: `Signals:
  SIGTERM, SIGINT   take nobody new and stop when all clients have left, at the latest after shutdown_timeout;
                    a second one stops at once
  SIGHUP            read the configuration again, and put it in force without losing a connection
  SIGUSR1           reopen the access log, after it was rotated
  SIGUSR2           hand over to a new process: the program as it is on the disk now, with the same arguments, gets the
                    listening sockets; this one goes on until its connections have ended, at most for shutdown_timeout

Exit codes: 0 asked to stop, 1 bad configuration, 2 could not start.`,
    run: async ({ config }) => (await import('./service.ts')).serve(required('run', 'config', config)),
  },
  check: {
    summary: 'validate a configuration',
    usage: 'check --config FILE',
    options: ['config'],
    details: 'Exits with 0, or with 1 after one line for each fault: file:line:column: key: what is expected.',
    run: async ({ config }) => check(required('check', 'config', config)),
  },
  doctor: {
    summary: 'show what bounds the connections on this machine, and what mends it',
    usage: 'doctor [--config FILE] [--connections N] [--json]',
    options: ['config', 'connections', 'json'],
    details: `Looks at limits, sysctls, io_uring, ports, memory and addresses for N connections: by default what the configuration
says (connections_max of all workers, or max_connections of all listeners), else what its workers can hold. Limits are
those of this process: run it as the user, and in the container or unit, that Tidegate is to run in. Nothing is changed.

Exit codes: 0 nothing is bounded below what is wanted, 1 something is, or keeps Tidegate from starting, or the
configuration is bad, 2 it could not look.`,
    run: doctor,
  },
  route: {
    summary: 'show which backend a key is routed to',
    usage: 'route --config FILE --pool NAME [KEY...]',
    options: ['config', 'pool'],
    takesWords: true,
    details: `The pool's method must be hash. Prints KEY, a tab and the backend for each key, as they are chosen while all backends
are up. Without a KEY the keys are read from standard input, one per line. An empty key is never hashed: it shows "-".
Keys that begin with a dash come after "--".`,
    run: async ({ config, pool }, keys) =>
      route(required('route', 'config', config), required('route', 'pool', pool), keys),
  },
  status: {
    summary: 'show what a running balancer does',
    usage: 'status [--config FILE] [--admin URL] [--token-file FILE] [--json]',
    options: ['config', 'admin', 'token-file', 'json'],
    details: 'Asks the admin API. Exits with 2 and one line when it can not be reached.',
    run: status,
  },
  events: {
    summary: 'show what happened to a running balancer in the last hour',
    usage: 'events [--config FILE] [--admin URL] [--token-file FILE] [--json]',
    options: ['config', 'admin', 'token-file', 'json'],
    details: 'Asks the admin API. Times are UTC. Exits with 2 and one line when it can not be reached.',
    run: events,
  },
  reload: {
    summary: 'have a running balancer read its configuration again',
    usage: 'reload [--config FILE] [--admin URL] [--token-file FILE] [--json]',
    options: ['config', 'admin', 'token-file', 'json'],
    details: `Asks the admin API, prints what has changed, and loses no connection; SIGHUP does the same. Exits with 1 and a line
for each fault when the configuration can not be had: the old one is then kept. Exits with 2 and one line when the API
can not be reached.`,
    run: reload,
  },
  connections: {
    summary: 'show which connections exist, and end them',
    usage: `connections [--client-id PREFIX] [--backend ADDRESS] [--pool NAME] [--address IP] [--limit N]
                [--kick [--yes]] [--config FILE] [--admin URL] [--token-file FILE] [--json]`,
    options: [...CONNECTION_FILTERS, 'limit', 'kick', 'yes', 'config', 'admin', 'token-file', 'json'],
    details: `Asks the admin API. A client that is ended by --kick is told so if it speaks MQTT 5.0 (administrative action);
it may connect again at once.`,
    run: connections,
  },
  drain: {
    summary: 'move all clients of a backend away, at a pace',
    usage: `drain --pool NAME --backend ADDRESS [--rate N] [--maintenance] [--wait]
                [--config FILE] [--admin URL] [--token-file FILE] [--json]`,
    options: ['pool', 'backend', 'rate', 'maintenance', 'wait', 'config', 'admin', 'token-file', 'json'],
    details: `Asks the admin API. The backend takes nobody new from then on, until "set --state up". The drain goes on when this
command is ended.`,
    run: drain,
  },
  rebalance: {
    summary: 'move the clients of a pool to the backends that they belong to',
    usage: `rebalance --pool NAME [--rate N] [--wait] [--config FILE] [--admin URL] [--token-file FILE]
                [--json]`,
    options: ['pool', 'rate', 'wait', 'config', 'admin', 'token-file', 'json'],
    details: 'Asks the admin API. The rebalance goes on when this command is ended.',
    run: rebalance,
  },
  set: {
    summary: 'take a backend from service, and put it back',
    usage: `set --pool NAME --backend ADDRESS --state STATE [--config FILE] [--admin URL] [--token-file FILE]
                [--json]`,
    options: ['pool', 'backend', 'state', 'config', 'admin', 'token-file', 'json'],
    details: `up leaves the backend to its health. drain and down keep new clients from it, maintenance moves away those that it
has, too. Asks the admin API.`,
    run: set,
  },
  top: {
    summary: 'watch a running balancer in the terminal',
    usage: 'top [--config FILE] [--admin URL] [--token-file FILE] [--once]',
    options: ['config', 'admin', 'token-file', 'once'],
    details: `Asks the admin API every second. Keys: q quits, p pauses, s changes the order of the backends.
With --once, and where the output is no terminal, it prints one second's figures and ends. NO_COLOR=1 leaves colours
out. Exits with 2 and one line when the admin API can not be reached.`,
    run: top,
  },
  schema: {
    summary: 'print the JSON Schema of the configuration, for editors',
    usage: 'schema',
    options: [],
    run: async () => print(`${JSON.stringify((await import('./config.ts')).schema(), null, 2)}\n`),
  },
  version: {
    summary: 'print the version',
    usage: 'version',
    options: [],
    run: async () => print(`tidegate ${version()}\n`),
  },
};

/** Runs one command and leaves the process with its exit code. */
export async function main(args: readonly string[]): Promise<void> {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => onOutputError(error, args[0]));
  try {
    await dispatch(args);
    process.exitCode ??= EXIT_ASKED_TO_STOP; // a command may have found what is no failure of its own
  } catch (error) {
    process.exitCode = report(error);
  }
  // Standard output may be a pipe that still drains: only `run` must not wait for what a library left open.
  if (args[0] === 'run') process.exit();
}

/** Whoever read our output may leave before its end, as `head` does; that is no failure. */
function onOutputError({ code }: NodeJS.ErrnoException, command: string | undefined): void {
  if (code === 'EPIPE' && command === 'run') return;
  if (code === 'EPIPE') process.exit(EXIT_ASKED_TO_STOP);
  process.stderr.write(`tidegate: cannot write to standard output: the system says ${code}\n`);
  process.exit(EXIT_COULD_NOT_START);
}

async function dispatch([name, ...rest]: readonly string[]): Promise<void> {
  if (name === '--help' || name === '-h' || name === 'help') return print(generalHelp());
  if (name === '--version') return COMMANDS.version?.run({}, []);
  const command = Object.hasOwn(COMMANDS, name ?? '') ? COMMANDS[name ?? ''] : undefined;
  if (name === undefined || command === undefined) throw unknownCommand(name);
  const { values, words } = readArguments(name, command, rest);
  if ('help' in values) return print(commandHelp(command));
  await command.run(values, words);
}

function report(error: unknown): number {
  if (!(error instanceof TidegateError)) {
    process.stderr.write(`tidegate: internal error: ${error instanceof Error ? error.stack : error}\n`);
    return EXIT_CRASHED;
  }
  const isFault = error.code === 'BAD_CONFIGURATION'; // its lines begin with the file, as editors like them
  process.stderr.write(isFault ? `${error.message}\n` : `tidegate: ${error.message}\n`);
  return error.exitCode;
}

function unknownCommand(name: string | undefined): UsageError {
  if (name === undefined) return new UsageError('no command given; see tidegate --help');
  const nearest = nearestName(name, Object.keys(COMMANDS));
  const kind = name.startsWith('-') ? 'option' : 'command';
  return new UsageError(
    `unknown ${kind} ${name}${nearest === null ? '' : `, did you mean ${nearest}?`}; see tidegate --help`,
  );
}

function generalHelp(): string {
  const commands = Object.entries(COMMANDS).map(([name, { summary }]) => `  ${name.padEnd(13)}${summary}`);
  return `Tidegate, an MQTT load balancer.

Usage: tidegate COMMAND [OPTIONS]

Commands:
${commands.join('\n')}

tidegate COMMAND --help tells more.
`;
}
