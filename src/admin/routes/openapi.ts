import { z } from 'zod';
import { json } from '../http.ts';
import { openapiDocument } from '../openapi.ts';
import type { Route } from '../route.ts';

/** `routes` are all there are, this one among them. */
export function openapi(routes: () => readonly Route[]): Route {
  return {
    method: 'GET',
    path: '/api/v1/openapi.json',
    summary: 'This description',
    responses: {
      200: { description: 'OpenAPI 3.1.', content: { type: 'application/json', schema: z.looseObject({}) } },
    },
    answer: () => json(openapiDocument(routes())),
  };
}
