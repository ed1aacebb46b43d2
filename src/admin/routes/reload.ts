import { z } from 'zod';
import { faultsOf } from '../../control/reload.ts';
import { json } from '../http.ts';
import type { Route } from '../route.ts';

const reloadedSchema = z.strictObject({
  changed: z.array(z.string()).describe('What is in force from now on, a line each; none: nothing has changed.'),
});

const refusedSchema = z.strictObject({
  error: z.string(),
  faults: z.array(z.string()).describe('What is wrong, a line each. The old configuration is kept whole.'),
});

export type ReloadDocument = z.output<typeof reloadedSchema>;

/** What SIGHUP does. */
export const reload: Route = {
  method: 'POST',
  path: '/api/v1/reload',
  summary: 'Read the configuration again, and put it in force without losing a connection',
  responses: {
    200: { description: 'It is in force.', content: { type: 'application/json', schema: reloadedSchema } },
    422: { description: 'It can not be had.', content: { type: 'application/json', schema: refusedSchema } },
  },
  answer: async ({ balancer }) => {
    try {
      return json({ changed: await balancer.changes.reload() });
    } catch (error) {
      return json({ error: 'the reload is refused, and the old configuration stays', faults: faultsOf(error) }, 422);
    }
  },
};
