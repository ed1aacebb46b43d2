// The description of the API, made of its routes, so that none is missing and none lies.
import { z } from 'zod';
import { version } from '../version.ts';
import { failureSchema } from './http.ts';
import type { Route, RouteResponse } from './route.ts';

/** What every route may answer besides its own. */
const COMMON_FAILURES: Record<number, string> = {
  401: 'The API has a token, and this was none, or another one.',
  403: 'From a page of another origin, or addressed to a name that is not this machine.',
  500: 'A mistake of ours.',
};
const WRITE_FAILURES: Record<number, string> = {
  400: 'The body is not what is expected.',
  413: 'The body is too long.',
  415: 'The content-type is not application/json.',
};

export function openapiDocument(routes: readonly Route[]): object {
  const paths: Record<string, Record<string, object>> = {};
  for (const route of routes)
    paths[route.path] = { ...paths[route.path], [route.method.toLowerCase()]: operation(route) };
  return {
    openapi: '3.1.0',
    info: { title: 'Tidegate admin API', version: version(), license: { name: 'MIT', identifier: 'MIT' } },
    security: [{}, { token: [] }],
    paths,
    components: {
      securitySchemes: { token: { type: 'http', scheme: 'bearer', description: 'admin.token of the configuration.' } },
    },
  };
}

function operation({ method, path, summary, details, isOpen, body, query, responses }: Route): object {
  const named = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string' },
  }));
  const parameters = [...named, ...queryParameters(query)];
  return {
    summary,
    ...(details === undefined ? {} : { description: details }),
    ...(isOpen ? { security: [] } : {}),
    ...(parameters.length > 0 ? { parameters } : {}),
    ...(body === undefined ? {} : { requestBody: { required: true, ...contentOf('application/json', body, 'input') } }),
    responses: {
      ...failures(method, isOpen === true, named.length > 0, query !== undefined),
      ...mapResponses(responses),
    },
  };
}

function queryParameters(query: Route['query']): object[] {
  if (query === undefined) return [];
  const { properties = {} } = z.toJSONSchema(query, { io: 'input' });
  return Object.entries(properties).map(([name, schema]) => ({ name, in: 'query', schema }));
}

function failures(
  method: Route['method'],
  isOpen: boolean,
  isNamed: boolean,
  hasQuery: boolean,
): Record<string, object> {
  const described = {
    ...COMMON_FAILURES,
    ...(method === 'GET' ? {} : WRITE_FAILURES),
    ...(hasQuery ? { 400: 'The query is not what is expected.' } : {}),
    ...(isNamed ? { 404: 'There is nothing of this name.' } : {}),
  };
  return Object.fromEntries(
    Object.entries(described)
      .filter(([status]) => !(isOpen && status === '401'))
      .map(([status, description]) => [status, { description, ...contentOf('application/json', failureSchema) }]),
  );
}

function mapResponses(responses: Record<number, RouteResponse>): Record<string, object> {
  return Object.fromEntries(
    Object.entries(responses).map(([status, { description, content }]) => [
      status,
      { description, ...contentOf(content.type, content.schema) },
    ]),
  );
}

/** `input`: as it is written, before defaults are put in. */
function contentOf(type: string, schema: z.ZodType, io: 'input' | 'output' = 'output'): object {
  const { $schema, id, ...plain } = z.toJSONSchema(schema, { io });
  return { content: { [type]: { schema: plain } } };
}
