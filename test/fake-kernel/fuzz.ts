// npm run fuzz -- SEED [COUNT]: runs COUNT seeds from SEED on, and for the first that fails prints what went wrong and
// the shortest story that still ends so.
import { compileDataPlane } from '../../src/core.ts';
import { everything, simulate } from './simulation.ts';

const seed = Number(process.argv[2] ?? 1);
const count = Number(process.argv[3] ?? 1);
const module = compileDataPlane();
const begin = performance.now();
let lives = 0;
let turns = 0;
const failures = new Map<string, number[]>();
for (let index = 0; index < count; index++) {
  const outcome = simulate(module, everything(seed + index));
  lives += outcome.lives;
  turns += outcome.turns;
  if (outcome.violation) {
    const key = outcome.violation.message.replace(/\d+/g, 'N');
    failures.set(key, [...(failures.get(key) ?? []), seed + index]);
    if (count === 1) {
      const traced = simulate(module, { ...everything(seed), isTraced: true });
      console.log(traced.trace(120).join('\n'));
      console.log(traced.violation!.message);
    }
  }
}
const ms = performance.now() - begin;
console.log(`${lives} lives in ${turns} turns, ${Math.round((lives / ms) * 1000)} lives/s, ${((ms * 1000) / lives).toFixed(0)} us per life`);
for (const [key, seeds] of failures) console.log(seeds.length, key, seeds.slice(0, 8).join(' '));
