// One move, as the admin API shows it.
import { z } from 'zod';
import { MOVE_KINDS } from '../control/moves/goal.ts';
import type { Move } from '../control/moves/move.ts';

const count = () => z.int().min(0);

export const moveSchema = z.strictObject({
  id: z.int().min(1),
  kind: z.enum(MOVE_KINDS),
  pool: z.string(),
  backend: z.string().nullable().describe('Whose clients are moved; null: it concerns the whole pool.'),
  rate: z.number().min(0).describe('Connections a second; 0: all at once.'),
  state: z.enum(['running', 'done', 'stopped']),
  reason: z.string().describe('Why it stopped before its end, for people.'),
  moved: count().describe('Connections that were told to go.'),
  left: count().describe('Connections that are still to go.'),
  started_at: z.iso.datetime(),
  ended_at: z.iso.datetime().nullable(),
});

export type MoveDocument = z.output<typeof moveSchema>;

export function moveDocument(move: Move): MoveDocument {
  const { id, kind, goal, rate, state, reason, moved, left, startedAt, endedAt } = move;
  return {
    id,
    kind,
    pool: goal.pool,
    backend: goal.backend?.config.address ?? null,
    rate,
    state,
    reason,
    moved,
    left,
    started_at: startedAt.toISOString(),
    ended_at: endedAt?.toISOString() ?? null,
  };
}

export function moveDocumentOf(move: Move | undefined): MoveDocument | null {
  return move === undefined ? null : moveDocument(move);
}
