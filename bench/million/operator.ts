// What an operator does through Tidegate's admin API while everybody is connected: looks, searches, drains a backend.
import type { MoveDocument } from '../../src/admin/move-document.ts';
import type { Admin } from './admin.ts';
import { POOL } from './balancers.ts';
import type { Child } from './children.ts';
import type { Swarm } from './ends.ts';
import type { Run } from './results.ts';
import { until } from './waiting.ts';

const DRAIN_RATE = 5000;
const DRAIN_TIMEOUT_MS = 180_000;
const RETURN_TIMEOUT_MS = 60_000;
/** Some of the swarm's ClientIds begin so, whatever its size. */
const CLIENT_ID_PREFIX = 'device-77';

export async function lookAround(admin: Admin): Promise<NonNullable<Run['admin']>> {
  return { status: await admin.timeStatus(), search: await admin.timeSearch(CLIENT_ID_PREFIX) };
}

/** Moves everybody away from one backend, and waits until they are back at others. */
export async function drain(
  admin: Admin,
  backend: string,
  swarm: Swarm,
  others: readonly Child[],
  signal: AbortSignal,
): Promise<NonNullable<Run['drain']>> {
  const children = [swarm.child, ...others];
  const { lost, reconnected, open } = swarm.line!;
  const beganMs = performance.now();
  let move: MoveDocument = await admin.drain(POOL, backend, DRAIN_RATE);
  const hasEnded = async (): Promise<boolean> => {
    move = await admin.move(move.id);
    return move.state !== 'running';
  };
  if (!(await until(hasEnded, children, signal, DRAIN_TIMEOUT_MS))) {
    throw new Error(`the drain of ${backend} still has ${move.left} sessions to move`);
  }
  const seconds = (performance.now() - beganMs) / 1000;
  const back = (): number => swarm.line!.reconnected - reconnected;
  await until(() => swarm.open >= open && back() >= move.moved, children, signal, RETURN_TIMEOUT_MS);
  return {
    rate: DRAIN_RATE,
    seconds,
    moved: move.moved,
    othersLost: swarm.lost - lost - move.moved,
    reconnected: back(),
  };
}
