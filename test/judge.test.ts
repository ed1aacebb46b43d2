import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HEALTH_SUSPECT, HEALTH_UP } from '../assembly/layout.ts';
import { Trial } from '../src/control/judge.ts';

/** Feeds a trial events at times and tells its health after each. */
function trialOf(maxFails: number, failTimeoutMs: number) {
  const trial = new Trial({ maxFails, failTimeoutMs });
  const counts = { connects: 0, failures: 0 };
  return (nowMs: number, { connects = 0, failures = 0 } = {}) => {
    counts.connects += connects;
    counts.failures += failures;
    trial.observe(nowMs, { ...counts });
    return trial.health;
  };
}

test('one failure of a backend with max_fails 1 makes it suspect until fail_timeout has passed', () => {
  const at = trialOf(1, 10_000);
  assert.equal(at(0), HEALTH_UP);
  assert.equal(at(100, { failures: 1 }), HEALTH_SUSPECT);
  assert.equal(at(10_099), HEALTH_SUSPECT);
  assert.equal(at(10_100), HEALTH_UP);
});

test('max_fails failures within fail_timeout are needed, and older ones are forgotten', () => {
  const at = trialOf(3, 1000);
  assert.equal(at(0, { failures: 2 }), HEALTH_UP);
  assert.equal(at(1500, { failures: 2 }), HEALTH_UP, 'the first two are older than fail_timeout');
  assert.equal(at(2000, { failures: 1 }), HEALTH_SUSPECT);
});

test('a success between failures does not excuse them', () => {
  const at = trialOf(2, 1000);
  at(0, { failures: 1 });
  at(100, { connects: 5 });
  assert.equal(at(200, { failures: 1 }), HEALTH_SUSPECT);
});

test('many failures of one moment count each', () => {
  assert.equal(trialOf(3, 1000)(0, { failures: 3 }), HEALTH_SUSPECT);
});

test('after fail_timeout one more failure is enough, whatever max_fails is', () => {
  const at = trialOf(3, 1000);
  at(0, { failures: 3 });
  assert.equal(at(1000), HEALTH_UP);
  assert.equal(at(5000, { failures: 1 }), HEALTH_SUSPECT);
  assert.equal(at(5999), HEALTH_SUSPECT);
  assert.equal(at(6000), HEALTH_UP);
});

test('after fail_timeout a success clears the slate', () => {
  const at = trialOf(3, 1000);
  at(0, { failures: 3 });
  at(1000);
  assert.equal(at(1100, { connects: 1 }), HEALTH_UP);
  assert.equal(at(1200, { failures: 2 }), HEALTH_UP);
  assert.equal(at(1300, { failures: 1 }), HEALTH_SUSPECT);
});

test('a suspect that was tried because nobody else was left is cleared by its success', () => {
  const at = trialOf(1, 60_000);
  at(0, { failures: 1 });
  assert.equal(at(100, { connects: 1 }), HEALTH_UP);
});

test('a suspect that goes on failing stays one', () => {
  const at = trialOf(1, 1000);
  at(0, { failures: 1 });
  at(900, { failures: 1 });
  assert.equal(at(1500), HEALTH_SUSPECT);
  assert.equal(at(1900), HEALTH_UP);
});

test('max_fails 0 never suspects', () => {
  assert.equal(trialOf(0, 1000)(0, { failures: 100 }), HEALTH_UP);
});
