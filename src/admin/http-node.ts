// The admin API's server where uWebSockets.js has no binary: Node's own.
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { type WebSocket, WebSocketServer } from 'ws';
import type { Address } from '../config/address.ts';
import {
  type Answer,
  type Application,
  addHeader,
  Body,
  failure,
  type HttpServer,
  type LiveApplication,
  MESSAGE_BYTES_MAX,
  type Peer,
  REQUEST_TIMEOUT_MS,
  type RequestHead,
  statusLine,
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
    // From Node 22.21 on; before it, who offers another protocol than WebSocket, as curl --http2 does, is refused.
    shouldUpgradeCallback: (request: IncomingMessage) => isWebSocket(readHead(request)),
  };
  const server = createServer(options, (request, response) => void serve(request, response, application));
  server.maxConnections = CONNECTIONS_MAX;
  const sockets = new SocketCarrier(application.live);
  server.on('upgrade', (request, socket: Socket, early) => sockets.carry(request, socket, early));
  server.listen({ host, port });
  await once(server, 'listening');
  const close = async () => {
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    sockets.close();
    await closed;
  };
  return { port: (server.address() as AddressInfo).port, close };
}

/** Sockets that have left HTTP behind are no connections of its server any more. */
class SocketCarrier {
  readonly #live: LiveApplication;
  readonly #open = new Set<WebSocket>();
  readonly #server = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: MESSAGE_BYTES_MAX,
  });

  constructor(live: LiveApplication) {
    this.#live = live;
  }

  carry(request: IncomingMessage, socket: Socket, early: Buffer): void {
    const head = readHead(request);
    socket.on('error', () => {});
    const refusal = this.#isExpected(head)
      ? this.#live.admit(head)
      : failure(404, 'there is no WebSocket of this name');
    if (refusal !== undefined) refuse(socket, refusal);
    else this.#server.handleUpgrade(request, socket, early, (opened) => this.#onOpen(head, opened));
  }

  close(): void {
    for (const socket of this.#open) socket.terminate();
  }

  #isExpected(head: RequestHead): boolean {
    return head.path === this.#live.path && isWebSocket(head);
  }

  #onOpen(head: RequestHead, socket: WebSocket): void {
    this.#open.add(socket);
    const visit = this.#live.open(head, peerOf(socket));
    socket.on('error', () => {}); // what isn't WebSocket, or too long: it closes by itself
    socket.on('message', (message) => visit.onMessage(String(message)));
    socket.on('close', () => {
      this.#open.delete(socket);
      visit.onClose();
    });
  }
}

function isWebSocket({ headers }: RequestHead): boolean {
  return headers.get('upgrade')?.toLowerCase() === 'websocket';
}

function peerOf(socket: WebSocket): Peer {
  return {
    send: (text) => socket.send(text),
    bytesWaiting: () => socket.bufferedAmount,
    close: (code, reason) => socket.close(code, reason),
    drop: () => socket.terminate(),
  };
}

/** The HTTP server has let go of the socket: the answer is written by hand. */
function refuse(socket: Duplex, { status, headers, body }: Answer): void {
  const lines = Object.entries({ ...headers, 'content-length': Buffer.byteLength(body), connection: 'close' });
  const head = [`HTTP/1.1 ${statusLine(status)}`, ...lines.map(([name, value]) => `${name}: ${value}`), '', ''];
  socket.end(Buffer.concat([Buffer.from(head.join('\r\n')), Buffer.from(body)]), () => socket.destroy());
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
