// The way of a request: the guard, the route, the body, the answer. It is the same behind both servers.
import { z } from 'zod';
import type { Guard } from './guard.ts';
import { type Answer, type Application, failure, type RequestHead } from './http.ts';
import { Live } from './live.ts';
import { type AdminContext, matchPath, type Route } from './route.ts';
import { statusDocument } from './status-document.ts';

export interface ApiOptions {
  routes: readonly Route[];
  guard: Guard;
  context: AdminContext;
}

interface Match {
  route: Route;
  parameters: Record<string, string>;
}

export class Api implements Application {
  readonly live: Live;
  readonly #options: ApiOptions;

  constructor(options: ApiOptions) {
    const { guard, context } = options;
    this.#options = options;
    this.live = new Live({
      admit: (head) => guard.checkSocket(head),
      isAuthorised: (head) => guard.hasToken(head),
      isToken: (token) => guard.isToken(token),
      status: () => statusDocument(context.balancer),
      listen: (hear) => context.balancer.events.listen(hear),
    });
  }

  admit(head: RequestHead): Answer | undefined {
    const match = this.#find(head);
    const refused = this.#options.guard.check(head, match?.route.isOpen === true);
    const refusal = refused ?? (match === undefined ? this.#nothingThere(head) : undefined);
    return refusal && withCommonHeaders(refusal);
  }

  async answer(head: RequestHead, bytes: Uint8Array): Promise<Answer> {
    const { context } = this.#options;
    try {
      const { route, parameters } = this.#find(head)!;
      const body = readBody(route, bytes);
      if (!body.success) return withCommonHeaders(failure(400, body.problem));
      const query = readQuery(route, head.query);
      if (!query.success) return withCommonHeaders(failure(400, query.problem));
      const answer = await route.answer(context, { parameters, query: query.value, body: body.value, json: body.json });
      return withCommonHeaders(answer);
    } catch (error) {
      context.balancer.log.error({ error: String(error), path: head.path }, 'a request to the admin API failed');
      return withCommonHeaders(failure(500, 'a mistake of ours: the log says which'));
    }
  }

  #find({ method, path }: RequestHead): Match | undefined {
    const wanted = method === 'HEAD' ? 'GET' : method;
    return this.#at(path).find(({ route }) => route.method === wanted);
  }

  #at(path: string): Match[] {
    return this.#options.routes.flatMap((route) => {
      const parameters = matchPath(route, path);
      return parameters === undefined ? [] : [{ route, parameters }];
    });
  }

  #nothingThere({ path }: RequestHead): Answer {
    const methods = this.#at(path).map(({ route }) => route.method);
    if (methods.length === 0) return failure(404, 'there is nothing of this name; /api/v1/openapi.json says what is');
    return failure(405, `expected is ${methods.join(' or ')}`, { allow: methods.join(', ') });
  }
}

/** Every answer is of this moment, and none is a page that another one may frame or guess a type for. */
const COMMON_HEADERS = {
  'cache-control': 'no-store',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
};

function withCommonHeaders(answer: Answer): Answer {
  return { ...answer, headers: { ...COMMON_HEADERS, ...answer.headers } };
}

type Read = { success: true; value: unknown; json: unknown } | { success: false; problem: string };

function readBody({ body }: Route, bytes: Uint8Array): Read {
  if (body === undefined) return { success: true, value: undefined, json: undefined };
  const value = bytes.length === 0 ? {} : parseJson(bytes);
  if (value === undefined) return { success: false, problem: 'a JSON body is expected' };
  return readBy(body, value);
}

function readQuery({ query }: Route, text: string): Read {
  if (query === undefined) return { success: true, value: undefined, json: undefined };
  const parameters = new URLSearchParams(text);
  const twice = [...parameters.keys()].find((name) => parameters.getAll(name).length > 1);
  if (twice !== undefined) return { success: false, problem: `${twice} is expected once` };
  return readBy(query, Object.fromEntries(parameters));
}

function readBy(schema: z.ZodType, value: unknown): Read {
  const { success, data, error } = schema.safeParse(value);
  return success
    ? { success, value: data, json: value }
    : { success, problem: z.prettifyError(error).replaceAll('\n', ' ') };
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    return undefined;
  }
}
