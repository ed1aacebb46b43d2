// One command: what it takes, how that is read from the command line, and what its help says.
import { parseArgs } from 'node:util';
import { UsageError } from '../errors.ts';

export interface Command {
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
  connections: ['--connections N', 'how many there shall be'],
  json: ['--json', 'one JSON document, for programs'],
  help: ['--help', 'this text'],
};

/** Those that take no value. */
const FLAGS: readonly string[] = ['json', 'kick', 'yes', 'maintenance', 'wait', 'once'];

export function readArguments(name: string, command: Command, args: readonly string[]) {
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

export function required(command: string, option: string, value: string | undefined): string {
  if (value === undefined) throw new UsageError(`${command} needs --${option}${seeHelp(command)}`);
  return value;
}

export function seeHelp(command: string): string {
  return `; see tidegate ${command} --help`;
}

export function commandHelp({ summary, usage, options, details }: Command): string {
  const optionHelp = [...options, 'help'].map((option) => OPTION_HELP[option]!);
  const width = Math.max(...optionHelp.map(([syntax]) => syntax.length));
  const optionLines = optionHelp.map(([syntax, meaning]) => `  ${syntax.padEnd(width)}  ${meaning}`);
  return `Usage: tidegate ${usage}

${summary.charAt(0).toUpperCase()}${summary.slice(1)}.

Options:
${optionLines.join('\n')}
${details === undefined ? '' : `\n${details}\n`}`;
}
