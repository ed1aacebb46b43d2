// Moving clients: POST begins a drain or a rebalance, GET shows all moves, DELETE stops one.
import { z } from 'zod';
import { RATE_MAX, RATE_MIN } from '../../config/schema.ts';
import { failure, json } from '../http.ts';
import { moveDocument, moveSchema } from '../move-document.ts';
import type { Route } from '../route.ts';

const rate = z.number().min(RATE_MIN).max(RATE_MAX).optional();
const drainSchema = z.strictObject({
  rate: rate.describe("Connections a second. Default: the pool's drain.rate."),
  maintenance: z
    .boolean()
    .default(false)
    .describe('When nobody is left, the backend is down until it is set up again.'),
});
const rebalanceSchema = z.strictObject({
  rate: rate.describe("Connections a second. Default: the pool's rebalance.rate."),
});

export const movesSchema = z.strictObject({
  moves: z.array(moveSchema).describe('Oldest first: all that run, and the latest of those that have ended.'),
});

export type MovesDocument = z.output<typeof movesSchema>;

const begun = { description: 'It has begun.', content: { type: 'application/json', schema: moveSchema } };

export const drainBackend: Route = {
  method: 'POST',
  path: '/api/v1/pools/{pool}/backends/{address}/drain',
  summary: 'Keep new clients from a backend, and move away those that it has',
  body: drainSchema,
  responses: { 202: begun },
  answer: ({ balancer }, { parameters: { pool, address }, body }) => {
    const backend = balancer.backends.find((one) => one.pool === pool && one.config.address === address);
    if (backend === undefined) return failure(404, 'there is no such backend; /api/v1/status names them');
    const { rate, maintenance } = body as z.output<typeof drainSchema>;
    return json(moveDocument(balancer.moves.drain(backend, maintenance ? 'maintenance' : 'drain', rate)), 202);
  },
};

export const rebalancePool: Route = {
  method: 'POST',
  path: '/api/v1/pools/{pool}/rebalance',
  summary: 'Move the clients of a pool to the backends that they belong to',
  body: rebalanceSchema,
  responses: { 202: begun },
  answer: ({ balancer }, { parameters: { pool }, body }) => {
    const found = balancer.config.pools.find(({ name }) => name === pool);
    if (found === undefined) return failure(404, 'there is no such pool; /api/v1/status names them');
    const { rate } = body as z.output<typeof rebalanceSchema>;
    return json(moveDocument(balancer.moves.rebalance(found, rate)), 202);
  },
};

export const moves: Route = {
  method: 'GET',
  path: '/api/v1/moves',
  summary: 'Drains, rebalances and the like: how far they are, and how they ended',
  responses: { 200: { description: 'The moves.', content: { type: 'application/json', schema: movesSchema } } },
  answer: ({ balancer }) => json({ moves: balancer.moves.list().map(moveDocument) }),
};

export const stopMove: Route = {
  method: 'DELETE',
  path: '/api/v1/moves/{id}',
  summary: 'Stop a move: who was told to go goes, the others stay',
  responses: {
    200: { description: 'It has stopped.', content: { type: 'application/json', schema: moveSchema } },
  },
  answer: ({ balancer }, { parameters: { id } }) => {
    const move = balancer.moves.running().find((one) => String(one.id) === id);
    if (move === undefined) return failure(404, 'no such move is running; /api/v1/moves names them');
    balancer.moves.stop(move.id);
    return json(moveDocument(move));
  },
};
