// npm run bench: every proxy, every scenario, on one machine in one run. Each proxy has core 0 for itself while it is
// measured, load and sink have core 1, and the rounds are interleaved (A B C A B C ...), so that what the machine does
// meanwhile befalls all of them alike.
import { spawnSync } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { raiseDescriptorLimit } from '../src/control/capacity.ts';
import { Sink } from './load.ts';
import { describeMachine } from './machine.ts';
import type { Bench, Sample, Target } from './measure.ts';
import { Progress } from './progress.ts';
import { type ProxyKind, ProxyProcess, proxyKinds } from './proxies.ts';
import { FULL_RUN, PARTIAL_RUN, type Results, type ScenarioResult, saveResults } from './results.ts';
import type { Prepared, Scenario } from './scenario.ts';
import { scenarios } from './scenarios.ts';
import { buildTable, remarks, toText } from './table.ts';

const USAGE = `npm run bench -- [--scenario NAME]... [--proxy NAME]... [--rounds N] [--seconds N] [--quick]

  --scenario  only these; may be given several times
  --proxy     only these; may be given several times
  --rounds    slices of each proxy in each scenario, default 15; the figure is their median. A scenario that has to
              open its connections anew each time has a fifth as many, of four times the length
  --seconds   of one slice, default 0.5
  --quick     one slice each, fewer connections: to see that everything works, not to quote
`;

const PROXY_CORE = 0;
const LOAD_CORE = 1;
const PORT = 28830;
const SINK_PORT = 28820;
/** Rounds of a scenario for each short slice of the others, and how much longer each is. */
const FEW = 1 / 5;
const LONG = 4;
/** A proxy needs two descriptors for each connection, and some for itself. */
const PROXY_DESCRIPTORS = 512;
const CONNECTIONS_WANTED = 10_000;
const CONNECTIONS_QUICK = 2000;

const { values: options } = parseArgs({
  options: {
    scenario: { type: 'string', multiple: true, default: [] },
    proxy: { type: 'string', multiple: true, default: [] },
    rounds: { type: 'string' },
    seconds: { type: 'string' },
    quick: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

// An exit, unlike a signal, lets the proxies be ended too.
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));

if (options.help) process.stdout.write(USAGE);
else await main();

async function main(): Promise<void> {
  const connectionsMax = roomFor(raiseDescriptorLimit());
  const wanted = choose(scenarios(connectionsMax), options.scenario, 'scenario');
  const kinds = choose(proxyKinds, options.proxy, 'proxy');
  const rounds = Number(options.rounds ?? (options.quick ? 1 : 15));
  const seconds = Number(options.seconds ?? 0.5);
  const progress = new Progress();
  const cores = pinLoad(progress);

  const present = kinds.filter((kind) => kind.missing() === undefined);
  const skipped = kinds.flatMap(({ title, missing }) => {
    const why = missing();
    return why === undefined ? [] : [{ title, why }];
  });
  for (const { title, why } of skipped) progress.say(`${title} skipped: ${why}`);

  const results: Results = {
    machine: describeMachine(),
    rounds,
    seconds,
    connectionsMax,
    proxies: [
      ...present.map(({ name, title, rival }) => ({ name, title, rival })),
      { name: 'direct', title: 'no proxy', rival: false },
    ],
    skipped,
    scenarios: [],
  };
  const full = options.scenario.length === 0 && options.proxy.length === 0 && !options.quick;
  const path = full ? FULL_RUN : PARTIAL_RUN;
  const sink = new Sink(['127.0.0.1'], SINK_PORT - 1);
  const bench: Bench = { sink, seconds, connectionsMax };
  try {
    for (const [index, scenario] of wanted.entries()) {
      progress.start(`${index + 1}/${wanted.length} ${scenario.title}`);
      results.scenarios.push(await runScenario(bench, scenario, present, rounds, cores, progress));
      saveResults(results, path);
    }
  } finally {
    sink.close();
  }
  progress.end();
  report(results, path);
}

/** Fresh proxies for every scenario, all up while it runs: those that are not measured sleep. */
async function runScenario(
  bench: Bench,
  scenario: Scenario,
  kinds: readonly ProxyKind[],
  rounds: number,
  cores: boolean,
  progress: Progress,
): Promise<ScenarioResult> {
  const { name, title, figures, door = 'tcp' } = scenario;
  const many = scenario.rounds === 'many';
  const roundCount = scenario.rounds === 'once' ? 1 : many ? rounds : Math.ceil(rounds * FEW);
  const result: ScenarioResult = { name, title, figures, samples: {}, failures: {} };
  const proxies: ProxyProcess[] = [];
  let closing: Prepared['close'] | undefined;
  try {
    for (const [index, kind] of kinds.entries()) {
      if (!kind.doors.includes(door)) continue;
      const ports = { port: PORT + index, sinkPort: SINK_PORT + index };
      proxies.push(await ProxyProcess.start(kind, door, ports, cores ? PROXY_CORE : undefined));
    }
    const targets: Target[] = [...(scenario.direct ? [undefined] : []), ...proxies];
    progress.now('preparing');
    const prepared = await scenario.prepare({ ...bench, seconds: bench.seconds * (many ? 1 : LONG) }, targets);
    closing = prepared.close;
    for (let round = 0; round < roundCount; round++) {
      for (const target of targets) {
        progress.now(`round ${round + 1}/${roundCount} ${target?.kind.title ?? 'no proxy'}`);
        await measureInto(result, target, () => prepared.measure(target));
      }
    }
  } finally {
    await closing?.();
    for (const proxy of proxies) await proxy.stop();
  }
  return result;
}

async function measureInto(result: ScenarioResult, target: Target, measure: () => Promise<Sample>): Promise<void> {
  const name = target?.kind.name ?? 'direct';
  try {
    const sample = await measure();
    result.samples[name] = [...(result.samples[name] ?? []), sample];
  } catch (error) {
    result.failures[name] = (error as Error).message;
  }
}

function report(results: Results, path: string): void {
  const names = results.proxies.map(({ name }) => name);
  const measured = names.filter((name) => name !== 'direct' || results.scenarios.some(({ samples }) => samples.direct));
  process.stdout.write(`\n${toText(buildTable(results, measured))}\n\n`);
  for (const remark of remarks(results)) process.stdout.write(`${remark}\n`);
  const { machine } = results;
  process.stdout.write(`\n${machine.cpu}, ${machine.cores} cores, Linux ${machine.kernel}, commit ${machine.commit}\n`);
  process.stdout.write(`ratio: Tidegate to the better of HAProxy and nginx with the same job\nwritten to ${path}\n`);
}

/** As many connections as wanted, or what the descriptor limit leaves, in whole thousands. */
function roomFor(descriptors: number): number {
  if (options.quick) return CONNECTIONS_QUICK;
  const room = Math.floor((descriptors - PROXY_DESCRIPTORS) / 2);
  if (room >= CONNECTIONS_WANTED) return CONNECTIONS_WANTED;
  const connections = Math.floor(room / 1000) * 1000;
  process.stderr.write(
    `${connections} connections at most: RLIMIT_NOFILE is ${descriptors}, a proxy needs two for each\n`,
  );
  return connections;
}

/** This process and all its threads on the load's core. False where there is only one core. */
function pinLoad(progress: Progress): boolean {
  if (availableParallelism() < 2) {
    progress.say('one core only: proxies and load share it, so the figures are worth little');
    return false;
  }
  const { status } = spawnSync('taskset', ['-apc', String(LOAD_CORE), String(process.pid)]);
  if (status !== 0) progress.say('taskset is missing (apt-get install util-linux): nothing is pinned to a core');
  return status === 0;
}

function choose<T extends { name: string }>(all: readonly T[], names: readonly string[], kind: string): readonly T[] {
  for (const name of names) {
    if (all.some((one) => one.name === name)) continue;
    process.stderr.write(`no ${kind} "${name}"; there are ${all.map((one) => one.name).join(', ')}\n`);
    process.exit(1);
  }
  return names.length === 0 ? all : all.filter(({ name }) => names.includes(name));
}
