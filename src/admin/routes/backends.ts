// The backends of a pool: what an operator says of one, its weight, and those that are added and removed at runtime.
import { z } from 'zod';
import { WEIGHT_MAX } from '../../../assembly/layout.ts';
import { backendSettings } from '../../config/schema.ts';
import type { Balancer } from '../../control/balancer.ts';
import { OPERATOR_STATES, type OperatorState } from '../../control/operator.ts';
import type { AddedBackend } from '../../control/overlay.ts';
import type { Backend } from '../../control/snapshot.ts';
import { TidegateError } from '../../errors.ts';
import { backendDocuments, backendSchema } from '../backend-document.ts';
import { type Answer, failure, json } from '../http.ts';
import type { Route, RouteRequest } from '../route.ts';

const changeSchema = z
  .strictObject({
    state: z
      .enum(OPERATOR_STATES)
      .optional()
      .describe(
        'up leaves the backend to its health. drain and down keep new clients from it; connections that stand are left alone. maintenance moves them away too, and is down when nobody is left. After down it starts slowly.',
      ),
    weight: z
      .int()
      .min(0)
      .max(WEIGHT_MAX)
      .optional()
      .describe("Instead of the configuration's, until that is another one there."),
  })
  .refine(({ state, weight }) => state !== undefined || weight !== undefined, 'a state or a weight is expected');

const backendContent = { type: 'application/json', schema: backendSchema };
const conflict = {
  description: 'The pool can not be like that; the error says why.',
  content: { type: 'application/json', schema: z.strictObject({ error: z.string() }) },
};

export const changeBackend: Route = {
  method: 'PATCH',
  path: '/api/v1/pools/{pool}/backends/{address}',
  summary: 'Keep new clients from a backend, let it have them again, or change its weight',
  body: changeSchema,
  responses: { 200: { description: 'The backend, as it is now.', content: backendContent }, 409: conflict },
  answer: async ({ balancer }, { parameters, body }) => {
    const backend = findBackend(balancer, parameters);
    if (backend === undefined) return unknownBackend();
    const { state, weight } = body as z.output<typeof changeSchema>;
    if (weight !== undefined) {
      const refusal = await refusalOf(balancer.changes.setWeight(backend, weight));
      if (refusal !== undefined) return refusal;
    }
    const now = findBackend(balancer, parameters);
    if (now === undefined) return unknownBackend();
    if (state !== undefined) setState(balancer, now, state);
    return json(backendDocuments(balancer).get(now));
  },
};

export const addBackend: Route = {
  method: 'POST',
  path: '/api/v1/pools/{pool}/backends',
  summary: 'Add a backend to a pool, until the configuration lists it',
  body: backendSettings,
  responses: { 201: { description: 'The backend.', content: backendContent }, 409: conflict },
  answer: async ({ balancer }, { parameters: { pool = '' }, json: written }) => {
    if (!balancer.config.pools.some(({ name }) => name === pool)) {
      return failure(404, 'there is no such pool; /api/v1/status names them');
    }
    const settings = (typeof written === 'string' ? { address: written } : written) as AddedBackend;
    const refusal = await refusalOf(balancer.changes.addBackend(pool, settings));
    if (refusal !== undefined) return refusal;
    const backend = findBackend(balancer, { pool, address: settings.address });
    return backend === undefined ? unknownBackend() : json(backendDocuments(balancer).get(backend), 201);
  },
};

export const removeBackend: Route = {
  method: 'DELETE',
  path: '/api/v1/pools/{pool}/backends/{address}',
  summary: 'Remove a backend from a pool; its connections stay until they end by themselves',
  responses: {
    200: {
      description: 'It gets nobody any more.',
      content: {
        type: 'application/json',
        schema: z.strictObject({ connections: z.int().min(0).describe('Those that it still has.') }),
      },
    },
    409: conflict,
  },
  answer: async ({ balancer }, { parameters }) => {
    const backend = findBackend(balancer, parameters);
    if (backend === undefined) return unknownBackend();
    const refusal = await refusalOf(balancer.changes.removeBackend(backend));
    return refusal ?? json({ connections: balancer.supervisor.totals.activeOf(backend.id) });
  },
};

/** Maintenance is more than a word: clients are moved. */
function setState({ operator, moves }: Balancer, backend: Backend, state: OperatorState): void {
  if (state !== 'maintenance') operator.set(backend, state);
  else if (operator.stateOf(backend) !== state) moves.drain(backend, state);
}

function findBackend({ backends }: Balancer, { pool, address }: RouteRequest['parameters']): Backend | undefined {
  return backends.find((one) => one.pool === pool && one.config.address === address);
}

function unknownBackend(): Answer {
  return failure(404, 'there is no such backend; /api/v1/status names them');
}

async function refusalOf(change: Promise<void>): Promise<Answer | undefined> {
  try {
    await change;
    return undefined;
  } catch (error) {
    if (error instanceof TidegateError) return failure(409, error.message);
    throw error;
  }
}
