// npm run fuzz:packets -- SEED [COUNT]: some 10,000 inputs for each of COUNT seeds from SEED on (default 1), to whatever
// reads bytes that anybody may send. Prints what became of them, and where another reader thinks otherwise. For a failure
// it prints the smallest input that still fails; its seed alone replays it. Exit code 1 when there is one.
import { parseArgs } from 'node:util';
import { runSeed, targets } from './runner.ts';

const { positionals } = parseArgs({ allowPositionals: true });
const [firstSeed = Number.NaN, count = 1] = positionals.map(Number);
if (!Number.isInteger(firstSeed) || !Number.isInteger(count)) {
  console.error('usage: npm run fuzz:packets -- SEED [COUNT]');
  process.exit(2);
}
const begunMs = performance.now();
const failed = await runSeeds();
report();
process.exit(failed ? 1 : 0);

async function runSeeds(): Promise<boolean> {
  for (let seed = firstSeed; seed < firstSeed + count; seed++) {
    for (const target of targets) {
      const failure = await runSeed(target, seed);
      if (failure === undefined) continue;
      console.log(`${target.name} fails: npm run fuzz:packets -- ${seed}\n${failure}\n`);
      return true;
    }
  }
  return false;
}

function report(): void {
  const inputs = targets.reduce((sum, { tally }) => sum + tally.inputs, 0);
  const seconds = (performance.now() - begunMs) / 1000;
  console.log(`${inputs} inputs, seeds ${firstSeed} to ${firstSeed + count - 1}, ${seconds.toFixed(1)} s`);
  for (const { name, tally } of targets) {
    console.log(`${name}: ${tally.inputs} inputs: ${listed(tally.outcomes)}`);
    if (Object.keys(tally.differences).length > 0) console.log(`  explained differences: ${listed(tally.differences)}`);
  }
}

function listed(counts: Record<string, number>): string {
  const sorted = Object.entries(counts).toSorted(([, one], [, other]) => other - one);
  return sorted.map(([name, count]) => `${name} ${count}`).join(', ');
}
