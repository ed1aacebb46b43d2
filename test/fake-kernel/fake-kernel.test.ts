// The real data plane on the fake kernel, for a few seconds: npm run fuzz runs the same for as long as one likes.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compileDataPlane } from '../../src/data-plane.ts';
import { everything, simulate } from './simulation.ts';

const SEEDS = 150;

test('the data plane lives through thousands of random lives on a kernel that makes trouble', (context) => {
  const module = compileDataPlane();
  let lives = 0;
  for (let seed = 1; seed <= SEEDS; seed++) {
    const outcome = simulate(module, everything(seed));
    assert.equal(outcome.violation, null, `npm run fuzz -- ${seed}: ${outcome.violation?.message}`);
    lives += outcome.lives;
  }
  context.diagnostic(`${lives} lives in ${SEEDS} seeds`);
  assert.ok(lives > 5000, 'hardly anybody was accepted');
});

test('a seed lives the same lives again', () => {
  const module = compileDataPlane();
  for (const seed of [3, 14, 15]) {
    const [first, second] = [simulate(module, everything(seed)), simulate(module, everything(seed))];
    assert.deepEqual([first.lives, first.turns, first.decisions], [second.lives, second.turns, second.decisions]);
  }
});
