// PATCH /api/v1/pools/{pool}/backends/{address}: what an operator says of one backend.
import { z } from 'zod';
import { OPERATOR_STATES } from '../../control/operator.ts';
import { backendDocuments, backendSchema } from '../backend-document.ts';
import { failure, json } from '../http.ts';
import type { Route } from '../route.ts';

const changeSchema = z.strictObject({
  state: z
    .enum(OPERATOR_STATES)
    .describe(
      'up leaves the backend to its health. drain and down keep new clients from it; connections that stand are left alone. maintenance moves them away too, and is down when nobody is left. After down it starts slowly.',
    ),
});

export const changeBackend: Route = {
  method: 'PATCH',
  path: '/api/v1/pools/{pool}/backends/{address}',
  summary: 'Keep new clients from a backend, or let it have them again',
  body: changeSchema,
  responses: {
    200: {
      description: 'The backend, as it is now.',
      content: { type: 'application/json', schema: backendSchema },
    },
  },
  answer: ({ balancer }, { parameters: { pool, address }, body }) => {
    const backend = balancer.backends.find((one) => one.pool === pool && one.config.address === address);
    if (backend === undefined) return failure(404, 'there is no such backend; /api/v1/status names them');
    const { state } = body as z.output<typeof changeSchema>;
    if (state !== 'maintenance') balancer.operator.set(backend, state);
    else if (balancer.operator.stateOf(backend) !== state) balancer.moves.drain(backend, state);
    return json(backendDocuments(balancer).get(backend));
  },
};
