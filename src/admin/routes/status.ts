import { json } from '../http.ts';
import type { Route } from '../route.ts';
import { statusDocument, statusSchema } from '../status-document.ts';

export const status: Route = {
  method: 'GET',
  path: '/api/v1/status',
  summary: 'The state of everything: workers, listeners, pools with their backends, counters',
  responses: { 200: { description: 'The status.', content: { type: 'application/json', schema: statusSchema } } },
  answer: ({ balancer }) => json(statusDocument(balancer)),
};
