// A thousand reloads under 5,000 sessions and a storm of connects. The clients and the brokers are processes of their own.
import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import type { TestContext } from 'node:test';
import { testEveryEngine } from '../tools/engines.ts';
import { settingsOfRound } from '../tools/reload-rounds.ts';
import { startReloadable } from '../tools/reloadable.ts';
import type { Damage, StormOptions } from '../tools/sessions-storm.ts';

const RELOADS = Number(process.env.RELOADS ?? 1000);
const SESSIONS = Number(process.env.SESSIONS ?? 5000);
const CALLERS = 2;
const BROKERS = 3;
const VISITORS = 20;
const PAUSE_MS = 2000;

function start(context: TestContext, file: string, argument: string): ChildProcess {
  const child = fork(new URL(file, import.meta.url), [argument], {
    execArgv: ['--disable-warning=ExperimentalWarning'],
  });
  context.after(() => void (child.connected && child.disconnect()));
  return child;
}

async function answerOf<Answer>(child: ChildProcess): Promise<Answer> {
  const [answer] = await Promise.race([
    once(child, 'message'),
    once(child, 'exit').then(([code]) => Promise.reject(new Error(`a process of the test ended with ${code}`))),
  ]);
  return answer;
}

testEveryEngine(
  `${RELOADS} reloads under ${SESSIONS} sessions and a storm of connects cost no client anything`,
  async (engine, context) => {
    const addresses = await answerOf<string[]>(start(context, '../tools/echo-process.ts', String(BROKERS)));
    const first = {
      listeners: [{ name: 'main', bind: '127.0.0.1:0', pool: 'brokers' }],
      pools: { brokers: { backends: addresses } },
    };
    const connectionsMax = Math.floor(SESSIONS * 0.7) + 900;
    const balancer = await startReloadable(context, { engine, workers: 2, connectionsMax }, first);
    const port = balancer.portOf('main');
    const options: StormOptions = {
      port,
      sessions: SESSIONS / CALLERS,
      visitors: VISITORS / CALLERS,
      pauseMs: PAUSE_MS,
    };
    const callers = Array.from({ length: CALLERS }, () =>
      start(context, '../tools/storm-process.ts', JSON.stringify(options)),
    );
    for (const caller of callers) assert.equal(await answerOf(caller), 'stands');

    const beganMs = performance.now();
    for (let round = 0; round < RELOADS; round++) await balancer.reload(settingsOfRound(round, addresses, port));
    const tookMs = performance.now() - beganMs;
    assert.ok(balancer.tidegate.status().connections >= SESSIONS);
    const damages = await Promise.all(
      callers.map((caller) => {
        caller.send('end');
        return answerOf<Damage>(caller);
      }),
    );
    const sum = (name: Exclude<keyof Damage, 'first'>) => damages.reduce((total, damage) => total + damage[name], 0);
    const said = damages.map((damage) => damage.first).join('; ');
    context.diagnostic(
      `${RELOADS} reloads in ${(tookMs / 1000).toFixed(1)} s, ${sum('sessions')} sessions, ${sum('visits')} connects, ${sum('bytes')} bytes compared: ` +
        `${sum('refused')} refused, ${sum('reset')} reset, ${sum('corrupted')} corrupted`,
    );
    assert.deepEqual([sum('refused'), sum('reset'), sum('corrupted')], [0, 0, 0], said);
    assert.equal(sum('sessions'), SESSIONS);
    assert.ok(sum('visits') > RELOADS / 2, `only ${sum('visits')} connects came into the reloads`);
  },
);
