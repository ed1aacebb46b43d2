// The admin API's server where uWebSockets.js has no binary: Node's own.
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Address } from '../config/address.ts';
import {
  type Answer,
  type Application,
  addHeader,
  Body,
  type HttpServer,
  REQUEST_TIMEOUT_MS,
  type RequestHead,
  tooLarge,
} from './http.ts';

/** How often slow requests are looked for. */
const CHECK_INTERVAL_MS = 1000;
const CONNECTIONS_MAX = 256;

export async function openNodeServer({ host, port }: Address, application: Application): Promise<HttpServer> {
  const options = {
    headersTimeout: REQUEST_TIMEOUT_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    keepAliveTimeout: REQUEST_TIMEOUT_MS,
    connectionsCheckingInterval: CHECK_INTERVAL_MS,
  };
  const server = createServer(options, (request, response) => void serve(request, response, application));
  server.maxConnections = CONNECTIONS_MAX;
  server.listen({ host, port });
  await once(server, 'listening');
  const close = async () => {
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
  };
  return { port: (server.address() as AddressInfo).port, close };
}

async function serve(request: IncomingMessage, response: ServerResponse, application: Application): Promise<void> {
  const head = readHead(request);
  const refusal = application.admit(head);
  const body = new Body();
  try {
    for await (const chunk of request.iterator({ destroyOnReturn: false })) {
      body.add(chunk);
      if (body.isEndless) break;
    }
  } catch {
    return; // the client is gone
  }
  if (body.isEndless) response.setHeader('connection', 'close');
  if (refusal !== undefined || body.isTooLarge) return write(response, refusal ?? tooLarge());
  write(response, await application.answer(head, body.bytes()));
}

function readHead({ method = '', url = '', rawHeaders }: IncomingMessage): RequestHead {
  const headers = new Map<string, string>();
  for (let index = 0; index < rawHeaders.length; index += 2) {
    addHeader(headers, rawHeaders[index]!, rawHeaders[index + 1]!);
  }
  const question = url.indexOf('?');
  const path = question < 0 ? url : url.slice(0, question);
  return { method, path, query: question < 0 ? '' : url.slice(question + 1), headers };
}

function write(response: ServerResponse, { status, headers, body }: Answer): void {
  response.writeHead(status, { ...headers, 'content-length': Buffer.byteLength(body) });
  response.end(body);
}
