// From a seed that fails to the shortest replay that still fails in the same way: fewer lives, fewer kinds of trouble,
// and a kernel that makes no trouble at all after some decision.
import { everything, type Outcome, type Replay, simulate } from './simulation.ts';
import { type Trouble, troubles } from './trouble.ts';
import type { Violation } from './violation.ts';

/** How long it may take, in milliseconds. */
const BUDGET_MS = 20_000;

export interface Shrunk {
  replay: Replay;
  outcome: Outcome;
}

/** Violations of one kind differ only in their numbers. */
export function kindOf({ message }: Violation): string {
  return message.replace(/-?[0-9a-f]*\d[0-9a-f.]*/g, 'N').slice(0, 160);
}

export function shrink(module: WebAssembly.Module, seed: number, violation: Violation, livesMax: number): Shrunk {
  const deadline = performance.now() + BUDGET_MS;
  const kind = kindOf(violation);
  let replay = everything(seed);
  const fails = (candidate: Replay): Violation | null => {
    if (performance.now() > deadline) return null;
    const found = simulate(module, candidate).violation;
    return found && kindOf(found) === kind ? found : null;
  };
  replay = fewerLives(replay, violation, livesMax, fails);
  replay = fewerTroubles(replay, fails);
  replay = fewerDecisions(replay, simulate(module, replay).decisions, fails);
  return { replay, outcome: simulate(module, { ...replay, isTraced: true }) };
}

type Fails = (candidate: Replay) => Violation | null;

function fewerLives(replay: Replay, violation: Violation, livesMax: number, fails: Fails): Replay {
  const alone = { ...replay, lives: new Set([violation.life ?? 0]) };
  if (violation.life !== undefined && fails(alone)) return alone;
  let lives = Array.from({ length: livesMax }, (_, index) => index);
  for (let part = Math.ceil(lives.length / 2); part >= 1; part = Math.floor(part / 2)) {
    for (let from = 0; from < lives.length; ) {
      const rest = [...lives.slice(0, from), ...lives.slice(from + part)];
      if (rest.length > 0 && fails({ ...replay, lives: new Set(rest) })) lives = rest;
      else from += part;
    }
  }
  return { ...replay, lives: new Set(lives) };
}

function fewerTroubles(replay: Replay, fails: Fails): Replay {
  const without = new Set<Trouble>();
  for (const trouble of troubles) {
    without.add(trouble);
    if (!fails({ ...replay, without })) without.delete(trouble);
  }
  return { ...replay, without };
}

/** Halving, though fewer decisions needn't always be enough when more are: whatever is found still fails. */
function fewerDecisions(replay: Replay, decisions: number, fails: Fails): Replay {
  let least = 0;
  let most = decisions;
  while (least < most) {
    const middle = (least + most) >> 1;
    if (fails({ ...replay, decisionsMax: middle })) most = middle;
    else least = middle + 1;
  }
  return { ...replay, decisionsMax: most };
}
