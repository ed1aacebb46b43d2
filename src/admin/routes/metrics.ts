import { z } from 'zod';
import { EXPOSITION_TYPE, renderFamilies } from '../exposition.ts';
import { metricFamilies } from '../metrics.ts';
import type { Route } from '../route.ts';

export const metrics: Route = {
  method: 'GET',
  path: '/metrics',
  summary: "Everything that is counted, in Prometheus' text format 0.0.4",
  responses: { 200: { description: 'The metrics.', content: { type: 'text/plain', schema: z.string() } } },
  answer: ({ balancer, monitor }) => ({
    status: 200,
    headers: { 'content-type': EXPOSITION_TYPE },
    body: renderFamilies(metricFamilies(balancer, monitor.read())),
  }),
};
