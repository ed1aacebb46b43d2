// npm run bench:million: as many MQTT sessions as this machine bears, a million at most, through one Tidegate process, with
// both ends of each on the same machine; then HAProxy and nginx with as many as they reach under the same limits.
import { parseArgs } from 'node:util';
import { raiseDescriptorLimit } from '../src/control/capacity.ts';
import { describeMachine } from './machine.ts';
import { type BalancerKind, rivals, tidegate } from './million/balancers.ts';
import { killAll } from './million/children.ts';
import { kernelMemorySource } from './million/kernel-memory.ts';
import { MILLION_RUN, type MillionResults, type Run, saveMillion } from './million/results.ts';
import { measureEnds, type Plan, runThrough, type Stage } from './million/run.ts';
import { availableBytes, findSize, gibibytes, MEMORY_SPARE_BYTES, type Size } from './million/size.ts';
import { millionRemarks, millionTable } from './million/table.ts';
import { OutOfMemory, watchMemory } from './million/watch.ts';
import { Progress } from './progress.ts';
import type { Sample } from './swarm-watch.ts';
import { toText } from './table.ts';

const USAGE = `npm run bench:million -- [--connections N] [--rate N] [--hold 5m] [--keep-alive 60s] [--rivals on|off] [--results FILE]

  --connections  how many sessions; default as many as the machine bears, 1,000,000 at most
  --rate         how many connect in a second, at most; default 9000
  --hold         for how long they stay before one backend is drained, such as 90s or 5m; default 5m
  --keep-alive   of the sessions, each of which pings once in that time; default 60s
  --rivals       off: Tidegate alone
  --results      where the results are written; default bench/results/million.json
`;

/** A little more than a million in two minutes takes. */
const RATE_DEFAULT = 9000;
/** Rivals are held shorter. */
const RIVALS_HOLD_SECONDS_MAX = 60;
/** On so many sessions it is found out how many a rival can have. */
const TRIAL_CONNECTIONS = 20_000;
/** Of what memory seems to allow so much is tried, and so much again after it wasn't there. */
const CAUTION = 0.95;
const LESS = 0.85;
const ATTEMPTS = 4;
/** Between two lines of progress where there is no terminal. */
const LINE_SECONDS = 10;
const DURATION_PATTERN = /^(\d+)(s|m)$/;

const OPTIONS = {
  options: {
    connections: { type: 'string' },
    rate: { type: 'string', default: String(RATE_DEFAULT) },
    hold: { type: 'string', default: '5m' },
    'keep-alive': { type: 'string', default: '60s' },
    rivals: { type: 'string', default: 'on' },
    results: { type: 'string', default: MILLION_RUN },
    help: { type: 'boolean', default: false },
  },
} as const;
const options = readOptions();
const progress = new Progress();
/** Of a swarm, at which its next line is due where there is no terminal. */
let nextLineSeconds = 0;
const interrupt = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => interrupt.abort(new Error(`${signal}: ends what it has started`)));
}

if (options.help) {
  process.stdout.write(USAGE);
} else {
  try {
    await main();
  } catch (error) {
    progress.say(`bench:million: ${reasonOf(error)}`);
    process.exitCode = 1;
  }
}

function readOptions(): ReturnType<typeof parseArgs<typeof OPTIONS>>['values'] {
  try {
    return parseArgs(OPTIONS).values;
  } catch (error) {
    process.stderr.write(`bench:million: ${reasonOf(error)}\n`);
    process.exit(1);
  }
}

async function main(): Promise<void> {
  const why = tidegate.missing();
  if (why !== undefined) throw new Error(why);
  const descriptors = raiseDescriptorLimit();
  const wanted = options.connections === undefined ? undefined : wholeNumber('connections', options.connections);
  const size = findSize(wanted, descriptors);
  const plan: Plan = { ...size, rate: wholeNumber('rate', options.rate), ...times(), descriptors };
  progress.say(`${plan.connections.toLocaleString('en')} sessions: ${size.limit}`);
  progress.start('both ends without a balancer');
  const ends = await attempt((stage) => measureEnds(plan, stage));
  const results: MillionResults = {
    machine: describeMachine(),
    ...size,
    rate: plan.rate,
    kernelMemorySource: kernelMemorySource(),
    ends,
    runs: [],
    skipped: [],
  };
  progress.start(`Tidegate with ${plan.connections.toLocaleString('en')} sessions`);
  results.runs.push(await attempt((stage) => runThrough(tidegate, plan, ends, stage)));
  saveMillion(results, options.results);
  if (options.rivals === 'on') {
    for (const kind of rivals) {
      await addRival(results, kind, { ...plan, holdSeconds: Math.min(plan.holdSeconds, RIVALS_HOLD_SECONDS_MAX) });
      saveMillion(results, options.results);
    }
  }
  report(results);
}

/** Runs something under the eyes of the memory watch; whatever it has started ends with it. */
async function attempt<Result>(run: (stage: Stage) => Promise<Result>): Promise<Result> {
  const watch = watchMemory();
  const signal = AbortSignal.any([watch.signal, interrupt.signal]);
  try {
    return await run({ signal, onLine: showLine, say: (text) => progress.say(text) });
  } catch (error) {
    throw signal.aborted ? signal.reason : error;
  } finally {
    watch.end();
    await killAll();
  }
}

async function addRival(results: MillionResults, kind: BalancerKind, plan: Plan): Promise<void> {
  const why = kind.missing();
  if (why !== undefined) {
    results.skipped.push({ title: kind.title, why });
    progress.say(`${kind.title} skipped: ${why}`);
    return;
  }
  try {
    results.runs.push(await findLargest(kind, plan, results));
  } catch (error) {
    if (interrupt.signal.aborted) throw error;
    results.skipped.push({ title: kind.title, why: reasonOf(error) });
    progress.say(`${kind.title} failed: ${reasonOf(error)}`);
  }
}

/** A trial tells what a session takes, so how many there is memory for; with fewer when that was too many. */
async function findLargest(kind: BalancerKind, plan: Plan, { ends, limit }: MillionResults): Promise<Run> {
  const bound = kind.bound(plan.descriptors);
  let size: Size = { connections: plan.connections, limit };
  if (bound !== undefined && bound.connections < size.connections) {
    size = { connections: bound.connections, limit: bound.why };
  }
  const through = (part: Size, holdSeconds: number): Promise<Run> => {
    progress.start(`${kind.title} with ${part.connections.toLocaleString('en')} sessions`);
    return attempt((stage) => runThrough(kind, { ...plan, ...part, holdSeconds }, ends, stage));
  };
  if (size.connections > TRIAL_CONNECTIONS) {
    const trial = await through({ connections: TRIAL_CONNECTIONS, limit: 'a trial' }, 1);
    const bearable = memoryFor(trial.memory.machineBytes);
    if (bearable.connections < size.connections) size = bearable;
  }
  for (let round = 1; ; round++) {
    try {
      return await through(size, plan.holdSeconds);
    } catch (error) {
      if (round === ATTEMPTS || interrupt.signal.aborted) throw error;
      progress.say(reasonOf(error));
      const reason = error instanceof OutOfMemory ? size.limit : `with ${size.connections}: ${reasonOf(error)}`;
      size = { connections: Math.floor(size.connections * LESS), limit: reason };
    }
  }
}

function memoryFor(sessionBytes: number): Size {
  const available = availableBytes();
  const kib = (sessionBytes / 1024).toFixed(0);
  return {
    connections: Math.floor((CAUTION * (available - MEMORY_SPARE_BYTES)) / sessionBytes),
    limit: `${gibibytes(available)} of memory are available, and a session with both ends takes ${kib} KiB`,
  };
}

function showLine(line: Sample): void {
  const { seconds, phase, open, connectsPerSecond, pingsPerSecond, pingP99Ms, lost, failed } = line;
  const rate = phase === 'connect' ? `${connectsPerSecond}/s` : `${pingsPerSecond} pings/s`;
  const p99 = pingP99Ms === null ? '' : `, ping p99 ${pingP99Ms.toFixed(1)} ms`;
  const gone = `${lost} lost, ${failed} failed, ${gibibytes(availableBytes())} free`;
  const text = `${phase}: ${open.toLocaleString('en')} open, ${rate}${p99}, ${gone}`;
  progress.now(text);
  if (process.stderr.isTTY) return;
  if (seconds < nextLineSeconds && seconds > LINE_SECONDS) return;
  nextLineSeconds = seconds + LINE_SECONDS;
  progress.say(`  ${seconds.toFixed(0)} s ${text}`);
}

function report(results: MillionResults): void {
  progress.end();
  process.stdout.write(`\n${toText(millionTable(results))}\n\n`);
  for (const remark of millionRemarks(results)) process.stdout.write(`${remark}\n`);
  const { machine } = results;
  process.stdout.write(`\n${machine.cpu}, ${machine.cores} cores, Linux ${machine.kernel}, commit ${machine.commit}\n`);
  process.stdout.write(`written to ${options.results}\n`);
}

function wholeNumber(name: string, text: string): number {
  if (!/^[1-9]\d*$/.test(text)) throw new Error(`--${name} ${text}: expected a whole number`);
  return Number(text);
}

function times(): Pick<Plan, 'holdSeconds' | 'keepAliveSeconds'> {
  return {
    holdSeconds: secondsOf('hold', options.hold),
    keepAliveSeconds: secondsOf('keep-alive', options['keep-alive']),
  };
}

function secondsOf(name: string, text: string): number {
  const [, count, unit] = DURATION_PATTERN.exec(text) ?? [];
  if (count === undefined) throw new Error(`--${name} ${text}: expected a duration such as 90s or 5m`);
  return Number(count) * (unit === 'm' ? 60 : 1);
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
