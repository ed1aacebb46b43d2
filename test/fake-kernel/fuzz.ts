// npm run fuzz -- SEED [COUNT]: runs COUNT seeds from SEED on (default 1). For the first that fails it prints what went
// wrong and the shortest story that still ends so; the others are listed. Exit code 1 when one failed.
import { parseArgs } from 'node:util';
import { compileDataPlane } from '../../src/data-plane.ts';
import { compileWithNames } from './compile.ts';
import { planScenario } from './scenario.ts';
import { kindOf, shrink } from './shrink.ts';
import { everything, simulate } from './simulation.ts';
import type { Violation } from './violation.ts';

const TRACE_LINES_MAX = 150;

interface Failure {
  seed: number;
  violation: Violation;
}

const { positionals } = parseArgs({ allowPositionals: true });
const [firstSeed = Number.NaN, count = 1] = positionals.map(Number);
if (!Number.isInteger(firstSeed) || !Number.isInteger(count)) {
  console.error('usage: npm run fuzz -- SEED [COUNT]');
  process.exit(2);
}
const failures = runSeeds(firstSeed, count);
listFailures(failures);
if (failures.length > 0) {
  await explain(failures[0]!);
  process.exit(1);
}

function runSeeds(first: number, seeds: number): Failure[] {
  const module = compileDataPlane();
  const found: Failure[] = [];
  const begin = performance.now();
  let lives = 0;
  let turns = 0;
  for (let seed = first; seed < first + seeds; seed++) {
    const outcome = simulate(module, everything(seed));
    lives += outcome.lives;
    turns += outcome.turns;
    if (outcome.violation) found.push({ seed, violation: outcome.violation });
  }
  const seconds = (performance.now() - begin) / 1000;
  const rate = Math.round(lives / seconds);
  console.log(
    `${lives} lives in ${seeds} seeds from ${first}, ${turns} turns, ${seconds.toFixed(1)} s: ${rate} lives/s`,
  );
  return found;
}

function listFailures(found: Failure[]): void {
  const byKind = Map.groupBy(found, ({ violation }) => kindOf(violation));
  for (const [kind, members] of byKind) {
    const seeds = members.slice(0, 8).map(({ seed }) => seed);
    console.log(`${members.length} x ${kind}: seeds ${seeds.join(' ')}${members.length > seeds.length ? ' ...' : ''}`);
  }
}

// With names in the module, a trap says where it was. Sources newer than the build may not fail at all.
async function explain({ seed, violation }: Failure): Promise<void> {
  const scenario = planScenario(seed);
  const withNames = await compileWithNames();
  const found = simulate(withNames, everything(seed)).violation;
  const module = found ? withNames : compileDataPlane();
  const named = found ?? violation;
  const { replay, outcome } = shrink(module, seed, named, scenario.lives);
  const lives = replay.lives === null ? 'all' : [...replay.lives].join(' ');
  console.log(`\nseed ${seed}, lives ${lives}, trouble in the first ${replay.decisionsMax} decisions of the kernel`);
  console.log(JSON.stringify(scenario.settings));
  console.log(outcome.trace(TRACE_LINES_MAX).join('\n'));
  console.log((outcome.violation ?? named).message);
}
