// The commands of the contract: what each takes, what it prints, and the exit code. Modules behind a command are loaded
// when it runs, so that `version` and --help answer at once.
import { once } from 'node:events';
import { isIP } from 'node:net';
import { parseArgs } from 'node:util';
import type { EventsDocument } from './admin/routes/events.ts';
import type { StatusDocument } from './admin/status-document.ts';
import { formatAddress } from './config/address.ts';
import type { Config, PoolConfig } from './config.ts';
import { EXIT_ASKED_TO_STOP, EXIT_COULD_NOT_START, EXIT_CRASHED, TidegateError, UsageError } from './errors.ts';
import { nearestName } from './nearest-name.ts';
import { addressBytes, encodeSockaddr } from './system/sockaddr.ts';
import { version } from './version.ts';

interface Command {
  summary: string;
  usage: string;
  options: readonly string[];
  /** Whether words beside the options mean something. */
  takesWords?: boolean;
  details?: string;
  run(values: Record<string, string>, words: readonly string[]): Promise<void>;
}

/** What is written, and what it means. */
const OPTION_HELP: Record<string, readonly [string, string]> = {
  config: ['--config FILE', 'a YAML file, or a folder whose *.yaml and *.yml are read as one'],
  pool: ['--pool NAME', 'a pool of the configuration whose method is hash'],
  admin: ['--admin URL', 'where the admin API is; default: what --config says, else http://127.0.0.1:9883'],
  'token-file': ['--token-file FILE', 'holds the token of the admin API'],
  json: ['--json', 'as the admin API answered it, for programs'],
  help: ['--help', 'this text'],
};

/** Those that take no value. */
const FLAGS: readonly string[] = ['json'];

const COMMANDS: Record<string, Command> = {
  run: {
    summary: 'run the balancer until SIGTERM or SIGINT',
    usage: 'run --config FILE',
    options: ['config'],
    details: `Signals:
  SIGTERM, SIGINT   take nobody new and stop when all clients have left, at the latest after shutdown_timeout;
                    a second one stops at once
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
  route: {
    summary: 'show which backend a key is routed to',
    usage: 'route --config FILE --pool NAME [KEY...]',
    options: ['config', 'pool'],
    takesWords: true,
    details: `Prints KEY, a tab and the backend for each key, as they are chosen while all backends are up. Without a KEY the
keys are read from standard input, one per line. An empty key is never hashed: it shows "-". Keys that begin with a
dash come after "--".`,
    run: async ({ config, pool }, keys) =>
      route(required('route', 'config', config), required('route', 'pool', pool), keys),
  },
  status: {
    summary: 'show what a running balancer does',
    usage: 'status [--config FILE] [--admin URL] [--token-file FILE] [--json]',
    options: ['config', 'admin', 'token-file', 'json'],
    details: 'Asks the admin API. Exits with 2 and one line when it can not be reached.',
    run: async (values) => status(values),
  },
  events: {
    summary: 'show what happened to a running balancer in the last hour',
    usage: 'events [--config FILE] [--admin URL] [--token-file FILE] [--json]',
    options: ['config', 'admin', 'token-file', 'json'],
    details: 'Asks the admin API. Times are UTC. Exits with 2 and one line when it can not be reached.',
    run: async (values) => events(values),
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
    process.exitCode = 0;
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

// ---- Arguments and help ----------------------------------------------------------------------------------------------

function readArguments(name: string, command: Command, args: readonly string[]) {
  const typeOf = (option: string) => ({ type: FLAGS.includes(option) ? ('boolean' as const) : ('string' as const) });
  const options = Object.fromEntries(command.options.map((option) => [option, typeOf(option)]));
  try {
    const { values, positionals, tokens } = parseArgs({
      args: [...args],
      options: { ...options, help: { type: 'boolean', short: 'h' } },
      allowPositionals: true,
      tokens: true,
    });
    const given = tokens.flatMap((token) => (token.kind === 'option' ? token.name : []));
    const twice = given.find((option, index) => option !== 'help' && given.indexOf(option) < index);
    if (twice !== undefined) throw new UsageError(`${name} takes --${twice} once, not twice${seeHelp(name)}`);
    const [word] = positionals;
    if (word !== undefined && command.takesWords !== true)
      throw new UsageError(`${name} takes no "${word}"${seeHelp(name)}`);
    return { values: values as Record<string, string>, words: positionals };
  } catch (error) {
    throw error instanceof UsageError ? error : new UsageError(`${argumentProblem(error as Error)}${seeHelp(name)}`);
  }
}

/** The first sentence of what parseArgs says; the rest explains its own workings. */
function argumentProblem(error: Error): string {
  const [sentence = ''] = error.message.split(/\.\s|\n/);
  return sentence.charAt(0).toLowerCase() + sentence.slice(1);
}

function required(command: string, option: string, value: string | undefined): string {
  if (value === undefined) throw new UsageError(`${command} needs --${option}${seeHelp(command)}`);
  return value;
}

function seeHelp(command: string): string {
  return `; see tidegate ${command} --help`;
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
  const commands = Object.entries(COMMANDS).map(([name, { summary }]) => `  ${name.padEnd(10)}${summary}`);
  return `Tidegate, an MQTT load balancer.

Usage: tidegate COMMAND [OPTIONS]

Commands:
${commands.join('\n')}

tidegate COMMAND --help tells more.
`;
}

function commandHelp({ summary, usage, options, details }: Command): string {
  const optionHelp = [...options, 'help'].map((option) => OPTION_HELP[option]!);
  const width = Math.max(...optionHelp.map(([syntax]) => syntax.length));
  const optionLines = optionHelp.map(([syntax, meaning]) => `  ${syntax.padEnd(width)}  ${meaning}`);
  return `Usage: tidegate ${usage}

${summary.charAt(0).toUpperCase()}${summary.slice(1)}.

Options:
${optionLines.join('\n')}
${details === undefined ? '' : `\n${details}\n`}`;
}

async function print(text: string): Promise<void> {
  if (!process.stdout.write(text)) await once(process.stdout, 'drain');
}

// ---- check -----------------------------------------------------------------------------------------------------------

async function check(path: string): Promise<void> {
  const { loadConfig } = await import('./config.ts');
  await print(`${summary(path, await loadConfig(path)).join('\n')}\n`);
}

function summary(path: string, { listeners, pools }: Config): string[] {
  return [
    `${path}: valid`,
    ...listeners.map(({ name, bind, pool }) => `listener ${name}: ${formatAddress(bind)} to pool ${pool}`),
    ...pools.map((pool) => `pool ${pool.name}: ${methodText(pool)}, ${backendsText(pool)}`),
  ];
}

function methodText({ balance }: PoolConfig): string {
  return balance.method === 'hash' ? `hash of ${balance.key} by ${balance.algorithm}` : balance.method;
}

function backendsText({ backends }: PoolConfig): string {
  return backends.length === 1 ? '1 backend' : `${backends.length} backends`;
}

// ---- route -----------------------------------------------------------------------------------------------------------

async function route(path: string, poolName: string, keys: readonly string[]): Promise<void> {
  const { loadConfig } = await import('./config.ts');
  const { tableOf } = await import('./pool-table.ts');
  const pool = hashPool(await loadConfig(path), poolName);
  const table = tableOf(pool);
  const bytesOf = (key: string) => (pool.balance.key === 'remote_addr' ? hashedBytes(key) : key);
  const line = (key: string) => `${key}\t${key === '' ? '-' : table.lookup(bytesOf(key))}\n`;
  if (keys.length > 0) return print(keys.map(line).join(''));
  for await (const lines of inputLines()) await print(lines.map(line).join(''));
}

/** What is hashed of a client's address. */
function hashedBytes(key: string): Uint8Array {
  if (isIP(key) !== 0) return addressBytes(encodeSockaddr(key, 0));
  throw new UsageError(`this pool hashes remote_addr, and ${JSON.stringify(key)} is no IP address`);
}

function hashPool({ pools }: Config, name: string): PoolConfig {
  const pool = pools.find((candidate) => candidate.name === name);
  const names = pools.map((candidate) => candidate.name).join(', ');
  if (pool === undefined) throw new UsageError(`there is no pool ${name}; choose one of ${names}`);
  const { method } = pool.balance;
  if (method !== 'hash')
    throw new UsageError(`pool ${name} balances by ${method}: only method hash ties a key to a backend`);
  const taking = pool.backends.some(({ weight }) => weight > 0);
  if (!taking) throw new UsageError(`pool ${name} has no backend with a weight above 0: no key is routed anywhere`);
  return pool;
}

/** Whole lines of standard input, as many as each chunk completes. A ClientId may hold what readline splits at. */
async function* inputLines(): AsyncGenerator<string[]> {
  let rest = '';
  process.stdin.setEncoding('utf8');
  for await (const chunk of process.stdin) {
    const lines = (rest + chunk).split(/\r?\n/);
    rest = lines.pop() ?? '';
    yield lines;
  }
  if (rest !== '') yield [rest];
}

// ---- status, events -------------------------------------------------------------------------------------------------

async function status(values: Record<string, string>): Promise<void> {
  const { statusText } = await import('./status-text.ts');
  await show(values, '/api/v1/status', ['version', 'pools'], (document) => statusText(document as StatusDocument));
}

async function events(values: Record<string, string>): Promise<void> {
  const { eventsText } = await import('./events-text.ts');
  const keys = ['complete_since', 'events'];
  await show(values, '/api/v1/events', keys, (document) => eventsText(document as EventsDocument));
}

/** Asks the admin API, and prints its answer as it came or as `textOf` writes it. */
async function show(
  { config, admin, 'token-file': tokenFile, json }: Record<string, string>,
  path: string,
  keys: readonly string[],
  textOf: (document: unknown) => string,
): Promise<void> {
  const { findAdmin, getJson } = await import('./admin/client.ts');
  const document = await getJson(await findAdmin({ config, admin, tokenFile }), path, keys);
  await print(json === undefined ? textOf(document) : `${JSON.stringify(document)}\n`);
}
