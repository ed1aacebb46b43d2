// What a run waits for, while it looks whether everybody who is needed for it still runs.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Child } from './children.ts';
import type { SinkLine, Swarm } from './ends.ts';

const POLL_MS = 200;
/** So long without one more session: there will be none. */
const STALLED_MS = 30_000;
const GONE_TIMEOUT_MS = 120_000;

/** Looks again and again; false when it has given up after `waitMs`. Throws when one of the children has ended. */
export async function until(
  isSo: () => boolean | Promise<boolean>,
  children: readonly Child[],
  signal: AbortSignal,
  waitMs: number,
): Promise<boolean> {
  for (const endMs = performance.now() + waitMs; !(await isSo()); ) {
    for (const child of children) {
      if (!child.isRunning) throw new Error(`${child.name} ended:\n${child.lastWords}`);
    }
    const leftMs = endMs - performance.now();
    if (leftMs <= 0) return false;
    await sleep(Math.min(POLL_MS, leftMs), undefined, { signal });
  }
  return true;
}

/** Until every session is open. Gives up when they become no more. */
export async function allConnected(
  swarm: Swarm,
  connections: number,
  others: readonly Child[],
  signal: AbortSignal,
): Promise<void> {
  const children = [swarm.child, ...others];
  for (let open = -1; swarm.open < connections; ) {
    if (swarm.open <= open) {
      const { failed = 0, lost = 0 } = swarm.line ?? {};
      throw new Error(`no more than ${open} of ${connections} sessions are open (${failed} failed, ${lost} lost)`);
    }
    open = swarm.open;
    await until(() => swarm.open >= connections, children, signal, STALLED_MS);
  }
}

/** Until the sink has no session left: whoever stood between has closed both of its sockets then. */
export async function sinkEmpty(sink: Child<SinkLine>, others: readonly Child[], signal: AbortSignal): Promise<void> {
  const isEmpty = await until(() => sink.line?.open === 0, [sink, ...others], signal, GONE_TIMEOUT_MS);
  if (!isEmpty) throw new Error(`the sink still has ${sink.line?.open} sessions after the swarm has left`);
}
