// Drains and rebalances, for people: a line about one, and its progress while it runs.
import { setTimeout as sleep } from 'node:timers/promises';
import type { WriteStream } from 'node:tty';
import { type AdminTarget, getJson } from './admin/client.ts';
import type { MoveDocument } from './admin/move-document.ts';
import type { MovesDocument } from './admin/routes/moves.ts';
import { TidegateError } from './errors.ts';
import { durationText } from './text-table.ts';

const POLL_MS = 250;
/** Where a terminal shows a bar, a file gets a line now and then. */
const LINE_MS = 2000;
const BAR_CELLS = 30;

const NAMES: Record<MoveDocument['kind'], string> = {
  drain: 'Drain',
  maintenance: 'Maintenance',
  rebalance: 'Rebalance',
  orphans: 'Orphans',
};

export function moveText(move: MoveDocument): string {
  const { kind, pool, backend, state, moved, left, reason, rate, started_at, ended_at } = move;
  const what = `${NAMES[kind]} of ${backend === null ? `pool ${pool}` : `${backend} in pool ${pool}`}`;
  if (state === 'running') return `${what}, ${rateText(rate)}: ${moved} moved, ${left} left`;
  if (state === 'stopped') return `${what} has stopped after ${moved}: ${reason}`;
  const seconds = (Date.parse(ended_at ?? started_at) - Date.parse(started_at)) / 1000;
  return `${what} is done: ${moved} moved in ${durationText(seconds)}`;
}

export function rateText(rate: number): string {
  return rate === 0 ? 'at once' : `${rate}/s`;
}

/** Shows the progress of the move on `output`, where there is one, and returns how it ended. */
export async function followMove(
  target: AdminTarget,
  begun: MoveDocument,
  output: (WriteStream & { isTTY?: boolean }) | undefined,
): Promise<MoveDocument> {
  let move = begun;
  let shownMs = Number.NEGATIVE_INFINITY;
  while (move.state === 'running') {
    if (output?.isTTY === true) output.write(`\r${barText(move)}\x1b[K`);
    else if (performance.now() - shownMs >= LINE_MS) {
      output?.write(`${moveText(move)}\n`);
      shownMs = performance.now();
    }
    await sleep(POLL_MS);
    move = await look(target, begun.id);
  }
  if (output?.isTTY === true) output.write('\r\x1b[K');
  if (move.state === 'done') output?.write(`${moveText(move)}\n`);
  return move;
}

export function barText({ moved, left, rate }: MoveDocument): string {
  const total = moved + left;
  const share = total === 0 ? 1 : moved / total;
  const full = Math.floor(share * BAR_CELLS);
  const bar = `${'#'.repeat(full)}${'-'.repeat(BAR_CELLS - full)}`;
  const rest = rate === 0 ? '' : `, ${durationText(left / rate)} to go`;
  return `[${bar}] ${Math.floor(share * 100)} %, ${moved} of ${total}, ${rateText(rate)}${rest}`;
}

async function look(target: AdminTarget, id: number): Promise<MoveDocument> {
  const { moves } = (await getJson(target, '/api/v1/moves', ['moves'])) as MovesDocument;
  const found = moves.find((move) => move.id === id);
  if (found === undefined)
    throw new TidegateError('MOVE_LOST', `move ${id} is not known any more: Tidegate was restarted`);
  return found;
}
