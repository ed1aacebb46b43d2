// The commands of the contract: what each takes, what it prints, and the exit code. Modules behind a command are loaded
// when it runs, so that `version` and --help answer at once.
import { once } from 'node:events';
import { isIP } from 'node:net';
import { parseArgs } from 'node:util';
import type { BackendDocument } from './admin/backend-document.ts';
import type { AdminTarget } from './admin/client.ts';
import type { MoveDocument } from './admin/move-document.ts';
import type { ConnectionsDocument } from './admin/routes/connections.ts';
import type { EventsDocument } from './admin/routes/events.ts';
import type { ReloadDocument } from './admin/routes/reload.ts';
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

/** Names may have to be resolved. */
const RELOAD_TIMEOUT_MS = 60_000;

/** What is written, and what it means. */
const OPTION_HELP: Record<string, readonly [string, string]> = {
  config: ['--config FILE', 'a YAML file, or a folder whose *.yaml and *.yml are read as one'],
  pool: ['--pool NAME', 'a pool of the configuration'],
  'client-id': ['--client-id PREFIX', 'what the ClientId begins with'],
  backend: ['--backend ADDRESS', 'a backend, as the configuration writes it'],
  address: ['--address IP', "the client's IP address"],
  limit: ['--limit N', 'how many are shown, at most 1000; default: 100'],
  rate: ['--rate N', "connections a second; default: the pool's"],
  maintenance: ['--maintenance', 'when nobody is left, the backend is down until it is set to up'],
  wait: ['--wait', 'shows the progress, and ends with it: 0 when it is done, 2 when it has stopped'],
  state: ['--state STATE', 'up, drain, maintenance or down'],
  kick: ['--kick', 'ends them: all 1000 at most, after --yes, or the one that matches'],
  yes: ['--yes', 'ends several at once'],
  admin: ['--admin URL', 'where the admin API is; default: what --config says, else http://127.0.0.1:9883'],
  'token-file': ['--token-file FILE', 'holds the token of the admin API'],
  once: ['--once', 'print once, as plain text'],
  json: ['--json', 'as the admin API answered it, for programs'],
  help: ['--help', 'this text'],
};

/** Those that take no value. */
const FLAGS: readonly string[] = ['json', 'kick', 'yes', 'maintenance', 'wait', 'once'];

/** What connections are asked for by; each is a parameter of the API, with an underscore for the dash. */
const CONNECTION_FILTERS = ['client-id', 'backend', 'pool', 'address'] as const;

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
  route: {
    summary: 'show which backend a key is routed to',
    usage: 'route --config FILE --pool NAME [KEY...]',
    options: ['config', 'pool'],
    takesWords: true,
    details: `The pool's method must be hash. Prints KEY, a tab and the backend for each key, as they are chosen while all backends are up. Without a KEY the
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
  reload: {
    summary: 'have a running balancer read its configuration again',
    usage: 'reload [--config FILE] [--admin URL] [--token-file FILE] [--json]',
    options: ['config', 'admin', 'token-file', 'json'],
    details: `Asks the admin API, prints what has changed, and loses no connection; SIGHUP does the same. Exits with 1 and a line
for each fault when the configuration can not be had: the old one is then kept. Exits with 2 and one line when the API
can not be reached.`,
    run: async (values) => reload(values),
  },
  connections: {
    summary: 'show which connections exist, and end them',
    usage: `connections [--client-id PREFIX] [--backend ADDRESS] [--pool NAME] [--address IP] [--limit N]
                [--kick [--yes]] [--config FILE] [--admin URL] [--token-file FILE] [--json]`,
    options: [...CONNECTION_FILTERS, 'limit', 'kick', 'yes', 'config', 'admin', 'token-file', 'json'],
    details: `Asks the admin API. A client that is ended by --kick is told so if it speaks MQTT 5.0 (administrative action);
it may connect again at once.`,
    run: async (values) => connections(values),
  },
  drain: {
    summary: 'move all clients of a backend away, at a pace',
    usage: `drain --pool NAME --backend ADDRESS [--rate N] [--maintenance] [--wait]
                [--config FILE] [--admin URL] [--token-file FILE] [--json]`,
    options: ['pool', 'backend', 'rate', 'maintenance', 'wait', 'config', 'admin', 'token-file', 'json'],
    details: `Asks the admin API. The backend takes nobody new from then on, until "set --state up". The drain goes on when this
command is ended.`,
    run: async (values) => drain(values),
  },
  rebalance: {
    summary: 'move the clients of a pool to the backends that they belong to',
    usage: `rebalance --pool NAME [--rate N] [--wait] [--config FILE] [--admin URL] [--token-file FILE]
                [--json]`,
    options: ['pool', 'rate', 'wait', 'config', 'admin', 'token-file', 'json'],
    details: 'Asks the admin API. The rebalance goes on when this command is ended.',
    run: async (values) => rebalance(values),
  },
  set: {
    summary: 'take a backend from service, and put it back',
    usage: `set --pool NAME --backend ADDRESS --state STATE [--config FILE] [--admin URL] [--token-file FILE]
                [--json]`,
    options: ['pool', 'backend', 'state', 'config', 'admin', 'token-file', 'json'],
    details: `up leaves the backend to its health. drain and down keep new clients from it, maintenance moves away those that it
has, too. Asks the admin API.`,
    run: async (values) => set(values),
  },
  top: {
    summary: 'watch a running balancer in the terminal',
    usage: 'top [--config FILE] [--admin URL] [--token-file FILE] [--once]',
    options: ['config', 'admin', 'token-file', 'once'],
    details: `Asks the admin API every second. Keys: q quits, p pauses, s changes the order of the backends.
With --once, and where the output is no terminal, it prints one second's figures and ends. NO_COLOR=1 leaves colours
out. Exits with 2 and one line when the admin API can not be reached.`,
    run: async (values) => top(values),
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
  const commands = Object.entries(COMMANDS).map(([name, { summary }]) => `  ${name.padEnd(13)}${summary}`);
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

// ---- status, events, reload, top, connections -------------------------------------------------------------------------

async function status(values: Record<string, string>): Promise<void> {
  const { statusText } = await import('./status-text.ts');
  await show(values, '/api/v1/status', ['version', 'pools'], (document) => statusText(document as StatusDocument));
}

async function events(values: Record<string, string>): Promise<void> {
  const { eventsText } = await import('./events-text.ts');
  const keys = ['complete_since', 'events'];
  await show(values, '/api/v1/events', keys, (document) => eventsText(document as EventsDocument));
}

async function reload(values: Record<string, string>): Promise<void> {
  const { askJson } = await import('./admin/client.ts');
  const request = { method: 'POST', path: '/api/v1/reload', timeoutMs: RELOAD_TIMEOUT_MS } as const;
  const document = (await askJson(await targetOf(values), request, ['changed'])) as ReloadDocument;
  const { changed } = document;
  if (values.json !== undefined) await print(`${JSON.stringify(document)}\n`);
  else await print(changed.length === 0 ? 'nothing changed\n' : `${changed.join('\n')}\n`);
}

async function connections(values: Record<string, string>): Promise<void> {
  const { connectionsText } = await import('./connections-text.ts');
  const { limit, kick } = values;
  if (limit !== undefined && !/^[1-9]\d{0,3}$/.test(limit)) {
    throw new UsageError(`--limit takes a number from 1 to 1000, not ${JSON.stringify(limit)}`);
  }
  if (kick !== undefined) return kickConnections(values);
  const textOf = (document: unknown) => connectionsText(document as ConnectionsDocument);
  await show(values, connectionsPath(values, limit), ['matched', 'connections'], textOf);
}

function connectionsPath(values: Record<string, string>, limit: string | undefined): string {
  const query = new URLSearchParams(limit === undefined ? {} : { limit });
  for (const filter of CONNECTION_FILTERS) {
    if (values[filter] !== undefined) query.set(filter.replace('-', '_'), values[filter]);
  }
  return `/api/v1/connections?${query}`;
}

async function kickConnections(values: Record<string, string>): Promise<void> {
  const { askJson, getJson } = await import('./admin/client.ts');
  const { connectionsText, kickedText } = await import('./connections-text.ts');
  const target = await targetOf(values);
  const path = connectionsPath(values, values.limit ?? '1000');
  const found = (await getJson(target, path, ['matched', 'connections'])) as ConnectionsDocument;
  if (found.matched > 1 && values.yes === undefined) {
    const count = `${found.matched} connections match`;
    throw new UsageError(`${count}: name one more closely, or end them all with --yes${seeHelp('connections')}`);
  }
  for (const { id } of found.connections) {
    await askJson(target, { method: 'DELETE', path: `/api/v1/connections/${id}` }, ['id']).catch((error) => {
      if (!(error instanceof TidegateError) || !error.message.includes('says 404')) throw error; // it ended by itself
    });
  }
  if (values.json !== undefined) return print(`${JSON.stringify(found)}\n`);
  await print(`${connectionsText(found)}${kickedText(found)}`);
}

// ---- drain, rebalance, set -------------------------------------------------------------------------------------------

async function drain(values: Record<string, string>): Promise<void> {
  const path = `${backendPath('drain', values)}/drain`;
  await move(values, path, { ...rateOf(values), maintenance: values.maintenance !== undefined });
}

async function rebalance(values: Record<string, string>): Promise<void> {
  const pool = required('rebalance', 'pool', values.pool);
  await move(values, `/api/v1/pools/${encodeURIComponent(pool)}/rebalance`, rateOf(values));
}

async function set(values: Record<string, string>): Promise<void> {
  const { askJson } = await import('./admin/client.ts');
  const path = backendPath('set', values);
  const body = { state: required('set', 'state', values.state) };
  const answer = await askJson(await targetOf(values), { method: 'PATCH', path, body }, ['state', 'operator']);
  const { address, state, reason } = answer as BackendDocument;
  await print(values.json === undefined ? `${address}: ${state}, ${reason}\n` : `${JSON.stringify(answer)}\n`);
}

async function move(values: Record<string, string>, path: string, body: object): Promise<void> {
  const { askJson } = await import('./admin/client.ts');
  const { followMove, moveText } = await import('./moves-text.ts');
  const target = await targetOf(values);
  const begun = (await askJson(target, { method: 'POST', path, body }, ['id', 'left'])) as MoveDocument;
  const isJson = values.json !== undefined;
  if (values.wait === undefined) return print(isJson ? `${JSON.stringify(begun)}\n` : `${moveText(begun)}\n`);
  const ended = await followMove(target, begun, isJson ? undefined : process.stdout);
  if (isJson) await print(`${JSON.stringify(ended)}\n`);
  if (ended.state !== 'done') throw new TidegateError('MOVE_STOPPED', moveText(ended));
}

function backendPath(command: string, { pool, backend }: Record<string, string>): string {
  const names = [required(command, 'pool', pool), required(command, 'backend', backend)].map(encodeURIComponent);
  return `/api/v1/pools/${names[0]}/backends/${names[1]}`;
}

function rateOf({ rate }: Record<string, string>): { rate?: number } {
  if (rate === undefined) return {};
  if (!/^\d+(\.\d+)?$/.test(rate) || Number(rate) === 0) {
    throw new UsageError(`--rate takes a number of connections a second, not ${JSON.stringify(rate)}`);
  }
  return { rate: Number(rate) };
}

// ---- Asking the admin API --------------------------------------------------------------------------------------------

function targetOf({ config, admin, 'token-file': tokenFile }: Record<string, string>): Promise<AdminTarget> {
  return import('./admin/client.ts').then(({ findAdmin }) => findAdmin({ config, admin, tokenFile }));
}

async function top(values: Record<string, string>): Promise<void> {
  const { top, topOnce } = await import('./top.ts');
  const target = await targetOf(values);
  if (values.once === undefined && process.stdout.isTTY) await top(target);
  else await print(await topOnce(target));
}

/** Asks the admin API, and prints its answer as it came or as `textOf` writes it. */
async function show(
  values: Record<string, string>,
  path: string,
  keys: readonly string[],
  textOf: (document: unknown) => string,
): Promise<void> {
  const { getJson } = await import('./admin/client.ts');
  const document = await getJson(await targetOf(values), path, keys);
  await print(values.json === undefined ? textOf(document) : `${JSON.stringify(document)}\n`);
}
