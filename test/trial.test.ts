// One backend before the judge: what a sequence of connects and probes makes of it.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  HEALTH_DOWN,
  HEALTH_DRAIN,
  HEALTH_SHARE_FULL,
  HEALTH_STATES,
  HEALTH_SUSPECT,
  HEALTH_UP,
  HEALTH_WITHHELD_SHIFT,
} from '../assembly/layout.ts';
import { connectFailed, drained, type Finding, failed, passed } from '../src/control/health/finding.ts';
import { type HealthState, Trial, type TrialSettings } from '../src/control/health/trial.ts';

const GONE: Finding = { verdict: 'fail', reason: 'connect failed: ECONNREFUSED', isGone: true };
const PROBED = { rise: 2, fall: 3, initial: 'up' } as const;
const WORDS: Record<HealthState, number> = {
  up: HEALTH_UP,
  suspect: HEALTH_SUSPECT,
  down: HEALTH_DOWN,
  drain: HEALTH_DRAIN,
};

function settingsOf(settings: Partial<TrialSettings> = {}): TrialSettings {
  return { maxFails: 1, failTimeoutMs: 10_000, slowStartMs: 0, health: PROBED, ...settings };
}

/** A trial with connects that can be counted up. */
class Case {
  readonly trial: Trial;
  readonly #counts = { connects: 0, failures: 0 };

  constructor(settings: Partial<TrialSettings> = {}) {
    this.trial = new Trial(settingsOf(settings), 0);
  }

  /** The state after these connects. */
  connects(nowMs: number, { connects = 0, failures = 0 } = {}): HealthState {
    this.#counts.connects += connects;
    this.#counts.failures += failures;
    this.trial.onCounts(nowMs, { ...this.#counts });
    assert.equal(this.trial.wordAt(nowMs) & HEALTH_STATES, WORDS[this.trial.state]);
    return this.trial.state;
  }

  probe(nowMs: number, finding: Finding): HealthState {
    this.trial.onFinding(nowMs, finding);
    assert.equal(this.trial.wordAt(nowMs) & HEALTH_STATES, WORDS[this.trial.state]);
    return this.trial.state;
  }
}

/** Feeds a trial without probes events at times and tells its state after each. */
function trialOf(maxFails: number, failTimeoutMs: number) {
  const one = new Case({ maxFails, failTimeoutMs, health: null });
  return (nowMs: number, counts = {}) => one.connects(nowMs, counts);
}

describe('a backend without probes', () => {
  it('becomes suspect by one failure with max_fails 1 until fail_timeout has passed', () => {
    const at = trialOf(1, 10_000);
    assert.equal(at(0), 'up');
    assert.equal(at(100, { failures: 1 }), 'suspect');
    assert.equal(at(10_099), 'suspect');
    assert.equal(at(10_100), 'up');
  });

  it('needs max_fails failures within fail_timeout, and older ones are forgotten', () => {
    const at = trialOf(3, 1000);
    assert.equal(at(0, { failures: 2 }), 'up');
    assert.equal(at(1500, { failures: 2 }), 'up', 'the first two are older than fail_timeout');
    assert.equal(at(2000, { failures: 1 }), 'suspect');
  });

  it('is not excused by a success between failures', () => {
    const at = trialOf(2, 1000);
    at(0, { failures: 1 });
    at(100, { connects: 5 });
    assert.equal(at(200, { failures: 1 }), 'suspect');
  });

  it('has many failures of one moment counted each', () => {
    assert.equal(trialOf(3, 1000)(0, { failures: 3 }), 'suspect');
  });

  it('after fail_timeout becomes suspect by one more failure, whatever max_fails is', () => {
    const at = trialOf(3, 1000);
    at(0, { failures: 3 });
    assert.equal(at(1000), 'up');
    assert.equal(at(5000, { failures: 1 }), 'suspect');
    assert.equal(at(5999), 'suspect');
    assert.equal(at(6000), 'up');
  });

  it('after fail_timeout has its slate cleared by a success', () => {
    const at = trialOf(3, 1000);
    at(0, { failures: 3 });
    at(1000);
    assert.equal(at(1100, { connects: 1 }), 'up');
    assert.equal(at(1200, { failures: 2 }), 'up');
    assert.equal(at(1300, { failures: 1 }), 'suspect');
  });

  it('is cleared by its success when it was tried because nobody else was left', () => {
    const at = trialOf(1, 60_000);
    at(0, { failures: 1 });
    assert.equal(at(100, { connects: 1 }), 'up');
  });

  it('stays suspect while it goes on failing', () => {
    const at = trialOf(1, 1000);
    at(0, { failures: 1 });
    at(900, { failures: 1 });
    assert.equal(at(1500), 'suspect');
    assert.equal(at(1900), 'up');
  });

  it('is never suspected with max_fails 0', () => {
    assert.equal(trialOf(0, 1000)(0, { failures: 100 }), 'up');
  });
});

/** One letter for each probe: p passed, f failed, d drain, n not sent; c: a client's connect failed, o: one succeeded. */
const FINDINGS: Record<string, Finding> = {
  p: passed('fine'),
  f: failed('broken'),
  d: drained('leaving'),
  n: connectFailed(Object.assign(new Error('too many open files'), { code: 'EMFILE' })),
};
const LETTERS: Record<HealthState, string> = { up: 'U', suspect: 'S', down: 'D', drain: 'L' };

describe('a probed backend', () => {
  const sequences: [about: string, settings: Partial<TrialSettings>, events: string, states: string][] = [
    ['stays up while probes pass', {}, 'pppp', 'UUUU'],
    ['is passed over from the first failed probe on, and down after fall', {}, 'pffff', 'USSDD'],
    ['needs rise probes in a row to come back from suspicion', {}, 'fpp', 'SSU'],
    ['begins to count anew when a probe fails between those that pass', {}, 'fpfpp', 'SSSSU'],
    ['begins to count anew when a probe passes between those that fail', {}, 'ffpfff', 'SSSSSD'],
    ['comes back from down after rise', {}, 'fffpp', 'SSDDU'],
    ['stays down when a probe fails between those that pass', {}, 'fffpfpp', 'SSDDDDU'],
    ['is down at once with fall 1', { health: { ...PROBED, fall: 1 } }, 'fpp', 'DDU'],
    ['is up at once with rise 1', { health: { ...PROBED, rise: 1 } }, 'fffp', 'SSDU'],
    ['waits for rise probes when held for down at start', { health: { ...PROBED, initial: 'down' } }, 'pp', 'DU'],
    ['stays down when held for it and right so', { health: { ...PROBED, initial: 'down' } }, 'ffff', 'DDDD'],

    ['is suspect by a failed connect at once, and back after rise', {}, 'cpp', 'SSU'],
    ['goes down when probes confirm a failed connect', {}, 'cfff', 'SSSD'],
    ['is not cleared by connects that succeed', {}, 'cooo', 'SSSS'],
    ['begins to count anew when a connect fails between probes that pass', {}, 'cpcpp', 'SSSSU'],
    ['needs max_fails connects', { maxFails: 3 }, 'ccc', 'UUS'],
    ['is no matter of connects with max_fails 0', { maxFails: 0 }, 'ccf', 'UUS'],
    ['forgets failed connects when it comes back', { maxFails: 2 }, 'ccppcc', 'USSUUS'],
    ['is not made better by failed connects when it is down', {}, 'fffcpp', 'SSDDDU'],

    ['is not blamed for probes that could not be sent', {}, 'nnnnfnfnfnpnp', 'UUUUSSSSDDDDU'],

    ['drains at the first word of it', {}, 'pd', 'UL'],
    ['comes back from draining after rise', {}, 'ddpp', 'LLLU'],
    ['stays draining for a single failed probe, and goes down after fall', {}, 'dffpfff', 'LLLLLLD'],
    ['may drain after being down', {}, 'fffd', 'SSDL'],
    ['is not suspected when it drains', {}, 'dcc', 'LLL'],
  ];
  for (const [about, settings, events, states] of sequences) {
    it(`${about}: ${events}`, () => {
      const one = new Case(settings);
      const found = [...events].map((event, index) => {
        if (event === 'c') return one.connects(index, { failures: 1 });
        return event === 'o' ? one.connects(index, { connects: 1 }) : one.probe(index, FINDINGS[event]!);
      });
      assert.equal(found.map((state) => LETTERS[state]).join(''), states);
    });
  }

  it('says why and since when', () => {
    const { trial } = new Case();
    assert.deepEqual([trial.state, trial.reason, trial.sinceMs], ['up', 'held for up at start', 0]);
    trial.onFinding(10, failed('no answer within 2000 ms'));
    assert.deepEqual([trial.state, trial.reason, trial.sinceMs], ['suspect', 'no answer within 2000 ms', 10]);
    trial.onFinding(20, GONE);
    assert.deepEqual([trial.state, trial.reason, trial.sinceMs], ['suspect', GONE.reason, 10]);
    trial.onFinding(30, GONE);
    assert.deepEqual([trial.state, trial.reason, trial.sinceMs], ['down', GONE.reason, 30]);
    trial.onFinding(40, failed('another reason'));
    assert.deepEqual([trial.state, trial.reason, trial.sinceMs], ['down', 'another reason', 30]);
    trial.onFinding(50, passed('CONNECT accepted'));
    trial.onFinding(60, passed('CONNECT accepted'));
    assert.deepEqual([trial.state, trial.reason, trial.sinceMs], ['up', 'CONNECT accepted', 60]);
  });

  it('announces each change once', () => {
    const { trial } = new Case();
    const told = ['f', 'f', 'f', 'f', 'd', 'd', 'p', 'p', 'p'].map((event) => trial.onFinding(0, FINDINGS[event]!));
    assert.deepEqual(told, [true, false, true, false, true, false, false, true, false]);
  });

  it('is probed again soon while nothing is clear, and at its interval when it is', () => {
    const { trial } = new Case();
    const settled = [...'pfffpfppddpfdpp'].map((event) => {
      trial.onFinding(0, FINDINGS[event]!);
      return trial.isSettled ? '.' : '!';
    });
    //                                p f f f p f p p d d p f d p p
    assert.equal(settled.join(''), '.!!.!.!...!!.!.');
  });

  it('keeps its standing under other settings, but is freed of a verdict of probes that are no more', () => {
    const one = new Case();
    for (let round = 0; round < 3; round++) one.probe(0, GONE);
    assert.equal(one.trial.reconfigure(1, settingsOf({ maxFails: 5, health: { ...PROBED, rise: 1 } })), false);
    assert.equal(one.trial.state, 'down');
    assert.equal(one.trial.reconfigure(2, settingsOf({ health: null })), true);
    assert.equal(one.trial.state, 'up');
  });
});

describe('slow start', () => {
  const withheldAt = ({ trial }: Case, nowMs: number) =>
    (trial.wordAt(nowMs) >>> HEALTH_WITHHELD_SHIFT) / HEALTH_SHARE_FULL;
  const returned = (events: string, settings: Partial<TrialSettings> = {}) => {
    const one = new Case({ slowStartMs: 1000, ...settings });
    for (const event of events) {
      if (event === 'c') one.connects(0, { failures: 1 });
      else one.probe(0, event === 'g' ? GONE : FINDINGS[event]!);
    }
    assert.equal(one.trial.state, 'up');
    return one;
  };

  it('lets the share grow evenly from nobody to everybody', () => {
    const one = returned('fffpp');
    const parts = [0, 250, 500, 999, 1000, 9999].map((nowMs) => Number(withheldAt(one, nowMs).toFixed(2)));
    assert.deepEqual(parts, [1, 0.75, 0.5, 0, 0, 0]);
    assert.equal(one.trial.shareAt(250), 0.25);
    assert.equal(one.trial.wordAt(1000), HEALTH_UP);
  });

  it('follows every loss of its clients: down, failed connects, nobody listening', () => {
    for (const events of ['fffpp', 'cpp', 'gpp', 'dfffpp']) assert.ok(withheldAt(returned(events), 0) > 0.99, events);
  });

  it('does not follow a start, a moment of silence or a drain', () => {
    for (const events of ['pp', 'fpp', 'ffpp', 'dpp']) assert.equal(withheldAt(returned(events), 0), 0, events);
    assert.equal(withheldAt(returned('pp', { health: { ...PROBED, initial: 'down' } }), 0), 0);
  });

  it('follows a start at which the backend was really down', () => {
    assert.ok(withheldAt(returned('fffpp', { health: { ...PROBED, initial: 'down' } }), 0) > 0.99);
  });

  it('begins with the probation where there are no probes, and anew when that fails', () => {
    const one = new Case({ slowStartMs: 1000, failTimeoutMs: 100, health: null });
    one.connects(0, { failures: 1 });
    assert.equal(one.connects(100), 'up');
    assert.equal(withheldAt(one, 600), 0.5);
    assert.equal(one.connects(600, { connects: 1 }), 'up');
    assert.equal(withheldAt(one, 850), 0.25, 'a success does not start it again');
    one.connects(850, { failures: 1 });
    assert.equal(one.connects(950), 'up');
    assert.equal(withheldAt(one, 1450), 0.5);
  });

  it('follows a return from what another has said, at once or when the backend is up', () => {
    const up = new Case({ slowStartMs: 1000, health: null });
    up.trial.onReturn(100);
    assert.equal(withheldAt(up, 600), 0.5);
    const silent = new Case({ slowStartMs: 1000 });
    silent.probe(0, FINDINGS.f!);
    silent.trial.onReturn(50);
    silent.probe(80, FINDINGS.p!);
    silent.probe(100, FINDINGS.p!);
    assert.equal(withheldAt(silent, 600), 0.5);
  });

  it('goes on behind a moment of suspicion', () => {
    const one = returned('fffpp');
    one.probe(200, FINDINGS.f!);
    assert.equal(one.trial.wordAt(200), HEALTH_SUSPECT);
    assert.equal(one.trial.shareAt(200), 0);
    one.probe(400, FINDINGS.p!);
    one.probe(500, FINDINGS.p!);
    assert.equal(withheldAt(one, 500), 0.5);
  });
});
