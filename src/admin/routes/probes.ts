// GET /healthz and /readyz: for those who restart processes and for those who send them clients.
import { z } from 'zod';
import { whyNotReady } from '../../control/balancer.ts';
import type { Answer } from '../http.ts';
import type { Route } from '../route.ts';

const plain = (text: string, status = 200): Answer => ({
  status,
  headers: { 'content-type': 'text/plain; charset=utf-8' },
  body: `${text}\n`,
});
const content = { type: 'text/plain', schema: z.string() };

export const healthz: Route = {
  method: 'GET',
  path: '/healthz',
  summary: 'Whether the process lives',
  isOpen: true,
  responses: { 200: { description: 'It does.', content } },
  answer: () => plain('ok'),
};

export const readyz: Route = {
  method: 'GET',
  path: '/readyz',
  summary: 'Whether clients should be sent here: every worker runs, and nobody has asked for an end',
  isOpen: true,
  responses: {
    200: { description: 'They should.', content },
    503: { description: 'Not now; the body says why.', content },
  },
  answer: ({ balancer }) => {
    const problem = whyNotReady(balancer);
    return problem === undefined ? plain('ready') : plain(problem, 503);
  },
};
