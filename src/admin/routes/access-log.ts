import { z } from 'zod';
import { json } from '../http.ts';
import type { Route } from '../route.ts';

/** What SIGUSR1 does, for those who rotate logs from another container. */
export const reopenAccessLog: Route = {
  method: 'POST',
  path: '/api/v1/access-log/reopen',
  summary: 'Open the access log again, after it was rotated',
  responses: {
    202: {
      description: 'It will be, before the next line.',
      content: { type: 'application/json', schema: z.strictObject({}) },
    },
  },
  answer: ({ balancer }) => {
    balancer.accessLog.reopen();
    balancer.log.info({ event: 'access_log_reopened' }, 'access log reopened');
    return json({}, 202);
  },
};
