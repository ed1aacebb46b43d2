// `npm start`: three brokers of its own, Tidegate before them, and what to type next.
import { once } from 'node:events';
import { createServer } from 'node:net';
import { parseArgs } from 'node:util';
import { formatAddress } from './config/address.ts';
import { type Config, parseConfig } from './config.ts';
import { type BrokerKind, type DemoBrokers, startBrokers } from './demo-brokers.ts';
import { EXIT_ASKED_TO_STOP, EXIT_CRASHED, TidegateError, UsageError } from './errors.ts';
import { start, type Tidegate } from './index.ts';
import type { Logger } from './logger.ts';
import { version } from './version.ts';

const HOST = '127.0.0.1'; // the brokers let everybody in, so they are for this machine only
const BROKER_COUNT = 3;
const PORT_MAX = 65535;

const HELP = `npm start -- [--port PORT] [--engine auto|uring|portable] [--brokers auto|mosquitto|aedes] [--quiet]
  --port      where clients connect, 1883 by default; 0 takes a free one
  --engine    auto by default
  --brokers   auto by default: mosquitto where it is installed, else aedes
  --quiet     no explanations, only the line that names the port, and the access log
`;

interface DemoOptions {
  port: number;
  engine: Config['engine'];
  brokers: BrokerKind | 'auto';
  quiet: boolean;
}

async function main(args: string[]): Promise<void> {
  const stopAsked = Promise.withResolvers<void>();
  process.on('SIGINT', () => stopAsked.resolve()); // for good: under npm a Ctrl-C arrives twice
  process.on('SIGTERM', () => stopAsked.resolve());
  process.on('SIGHUP', () => stopAsked.resolve()); // its terminal was closed
  process.stderr.on('error', () => {});
  process.stdout.on('error', () => {}); // a reader that left, as `head` does, is no reason to fall over
  const options = readOptions(args);
  if (options === null) return void process.stdout.write(HELP);
  await requireFreePort(options.port);

  const brokers = await startBrokers(BROKER_COUNT, options.brokers);
  try {
    const tidegate = await start(demoConfig(options, brokers.addresses), { log: complaints });
    const explanation = options.quiet ? '' : guide(tidegate, brokers);
    process.stdout.write(readyLine(tidegate, brokers) + explanation);
    await stopAsked.promise;
    await tidegate.stop({ now: true });
  } finally {
    await brokers.stop();
  }
}

function readOptions(args: string[]): DemoOptions | null {
  const { port, engine, brokers, quiet, help } = parseDemoArgs(args);
  if (help) return null;
  if (!/^\d+$/.test(port) || Number(port) > PORT_MAX)
    throw new UsageError(`--port ${port} is no port (0 to ${PORT_MAX})`);
  return {
    port: Number(port),
    engine: oneOf('engine', engine, ['auto', 'uring', 'portable']),
    brokers: oneOf('brokers', brokers, ['auto', 'mosquitto', 'aedes']),
    quiet,
  };
}

function oneOf<const Choice extends string>(option: string, value: string, choices: readonly Choice[]): Choice {
  const choice = choices.find((candidate) => candidate === value);
  if (choice === undefined) throw new UsageError(`--${option} ${value} is not one of ${choices.join(', ')}`);
  return choice;
}

function parseDemoArgs(args: string[]) {
  try {
    const { values } = parseArgs({
      args,
      options: {
        port: { type: 'string', default: '1883' },
        engine: { type: 'string', default: 'auto' },
        brokers: { type: 'string', default: 'auto' },
        quiet: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
    return values;
  } catch (error) {
    throw new UsageError(`${(error as Error).message.split('. ')[0]}; npm start -- --help shows the options`);
  }
}

/** Asked before anything is started, so that the answer can name the demo's own way out. */
async function requireFreePort(port: number): Promise<void> {
  const server = createServer().listen(port, HOST);
  try {
    await once(server, 'listening');
  } catch (error) {
    const { code = 'UNKNOWN' } = error as NodeJS.ErrnoException;
    const why = code === 'EADDRINUSE' ? 'is taken' : `can't be used (${code})`;
    throw new TidegateError(
      code,
      `port ${port} ${why}; choose another one: npm start -- --port ${port === 2883 ? 3883 : 2883}`,
    );
  } finally {
    server.close();
  }
}

/** An ordinary configuration, so that what runs here is what `tidegate run` runs. */
function demoConfig({ port, engine }: DemoOptions, addresses: readonly string[]): Config {
  const text = `
engine: ${engine}
listeners:
  - { name: mqtt, bind: "${HOST}:${port}", pool: brokers }
pools:
  brokers:
    balance: { method: hash, key: client_id }
    backends: [${addresses.map((address) => `"${address}"`).join(', ')}]
access_log: { path: "-", format: text }
shutdown_timeout: 1s
`;
  return parseConfig(text, 'demo');
}

/** Start and stop speak for themselves here; what goes wrong does not. */
const complaints: Logger = {
  info() {},
  warn: (_fields, message) => process.stderr.write(`tidegate: ${message}\n`),
  error: (_fields, message) => process.stderr.write(`tidegate: ${message}\n`),
};

function portOf({ listeners }: Tidegate): number {
  return listeners[0]?.port ?? 0;
}

function readyLine(tidegate: Tidegate, { addresses, kind }: DemoBrokers): string {
  const before = `before ${addresses.join(', ')} (${kind})`;
  return `Tidegate ${version()} listens on ${HOST}:${portOf(tidegate)}, engine ${tidegate.engine}, ${before}\n`;
}

function guide(tidegate: Tidegate, { description }: DemoBrokers): string {
  const port = portOf(tidegate);
  return `The brokers are ${description}.

Subscribe in a second terminal, publish in a third; any MQTT client will do:

  mosquitto_sub -h ${HOST} -p ${port} -i foo -t 'demo/#' -v
  mosquitto_pub -h ${HOST} -p ${port} -i bar -t demo/hello -m 'hello'

or with MQTT.js, which this checkout brings along:

  npx mqtt sub -h ${HOST} -p ${port} -i foo -t 'demo/#' -v
  npx mqtt pub -h ${HOST} -p ${port} -i bar -t demo/hello -m 'hello'

Each connection leaves one line of access log here when it ends. The address after the two byte counts is the broker
that was chosen, then comes the ClientId: foo, bar and baz each come back to their own broker, however often.

${statusHint(tidegate)}Ctrl-C stops everything. The access log follows.

`;
}

function statusHint({ admin }: Tidegate): string {
  if (admin === undefined) return '';
  const address = formatAddress(admin);
  return `Watch it at http://${address}/, or with  npm run tidegate -- top  in a fourth terminal.\n\n`;
}

function report(error: unknown): number {
  const expected = error instanceof TidegateError;
  process.stderr.write(
    expected ? `tidegate: ${error.message}\n` : `tidegate: internal error: ${(error as Error).stack}\n`,
  );
  return expected ? error.exitCode : EXIT_CRASHED;
}

main(process.argv.slice(2)).then(
  () => process.exit(EXIT_ASKED_TO_STOP),
  (error) => process.exit(report(error)),
);
