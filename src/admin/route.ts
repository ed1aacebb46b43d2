// One entry of the API: where it is, what it takes and answers, and the function that does it. The OpenAPI document is
// made of the same entries.
import type { z } from 'zod';
import type { Balancer } from '../control/balancer.ts';
import type { ProcessMonitor } from '../control/process-figures.ts';
import type { Answer } from './http.ts';

/** What routes see and may ask for. */
export interface AdminContext {
  readonly balancer: Balancer;
  readonly monitor: ProcessMonitor;
}

export interface RouteRequest {
  /** By the names in the path's braces, decoded. */
  parameters: Readonly<Record<string, string>>;
  /** As the route's `query` reads it; undefined where it has none. */
  query: unknown;
  /** As the route's `body` reads it; undefined where it has none. */
  body: unknown;
  /** The same as it was sent. */
  json: unknown;
}

export interface RouteResponse {
  description: string;
  content: { type: string; schema: z.ZodType };
}

export interface Route {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** As in OpenAPI: `/api/v1/pools/{pool}`. */
  path: string;
  summary: string;
  /** More of it, for the description of the API. */
  details?: string;
  /** Answers without a token: for probes, which tell nothing. */
  isOpen?: boolean;
  /** What a JSON body must look like; none at all is taken for an empty object. */
  body?: z.ZodType;
  /** What may stand behind the question mark: each value is a text, or missing. */
  query?: z.ZodObject;
  /** By status. What any route may answer besides is in COMMON_FAILURES of openapi.ts. */
  responses: Record<number, RouteResponse>;
  answer(context: AdminContext, request: RouteRequest): Answer | Promise<Answer>;
}

/** The parameters when `path` is one of the route's, else undefined. */
export function matchPath(route: Pick<Route, 'path'>, path: string): Record<string, string> | undefined {
  const wanted = route.path.split('/');
  const given = path.split('/');
  if (wanted.length !== given.length) return undefined;
  const parameters: Record<string, string> = {};
  for (const [index, part] of wanted.entries()) {
    const name = /^\{(\w+)\}$/.exec(part)?.[1];
    const value = decode(given[index]!);
    if (value === undefined || (name === undefined && value !== part)) return undefined;
    if (name !== undefined) parameters[name] = value;
  }
  return parameters;
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
