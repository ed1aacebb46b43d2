// The admin API's server where uWebSockets.js loads. Its rules, each of which ends the process or a stranger's request
// when broken: a request is readable only until its handler returns; a response is gone once it was aborted or ended;
// a chunk's memory is the library's own and gone when the callback returns.
//
// Who is slow it closes by itself: ten seconds for a head, then at least 16 KB of a body each second on average.
import type { Address } from '../config/address.ts';
import { bindFailure } from '../system/bind-failure.ts';
import {
  type Answer,
  type Application,
  addHeader,
  Body,
  type HttpServer,
  type LiveApplication,
  MESSAGE_BYTES_MAX,
  type Peer,
  type RequestHead,
  statusLine,
  tooLarge,
  type Visit,
} from './http.ts';
import type { Uws, UwsRequest, UwsResponse, UwsWebSocket, UwsWebSocketBehavior } from './uwebsockets.ts';

export async function openUwsServer(uws: Uws, { host, port }: Address, application: Application): Promise<HttpServer> {
  const app = uws.App();
  app.ws(application.live.path, socketBehavior(application.live));
  app.any('/*', (response, request) => serve(response, readHead(request), application));
  const socket = await new Promise<unknown>((done) => {
    app.listen(host, port, uws.LIBUS_LISTEN_EXCLUSIVE_PORT, done);
  });
  if (!socket) {
    app.close();
    throw bindFailure({ host, port });
  }
  return { port: uws.us_socket_local_port(socket), close: async () => void app.close() };
}

function readHead(request: UwsRequest): RequestHead {
  const headers = new Map<string, string>();
  request.forEach((name, value) => void addHeader(headers, name, value));
  return {
    method: request.getMethod().toUpperCase(),
    path: request.getUrl(),
    query: request.getQuery() ?? '',
    headers,
  };
}

/** What is known of a socket: until it is open, only how it was asked for. */
interface SocketData {
  head: RequestHead;
  visit?: Visit;
}

const UPGRADE_HEADERS = ['sec-websocket-key', 'sec-websocket-protocol', 'sec-websocket-extensions'] as const;
const IDLE_TIMEOUT_S = 60;
/** Beyond what the application lets wait: it looks for itself, and would rather end a socket than drop a message. */
const NO_BACKPRESSURE_BYTES = 1 << 30;

/** A request for its path that is none for a WebSocket goes the way of other requests. */
function socketBehavior(live: LiveApplication): UwsWebSocketBehavior<SocketData> {
  return {
    maxPayloadLength: MESSAGE_BYTES_MAX,
    maxBackpressure: NO_BACKPRESSURE_BYTES,
    idleTimeout: IDLE_TIMEOUT_S,
    upgrade: (response, request, context) => {
      const head = readHead(request);
      const refusal = live.admit(head);
      if (refusal !== undefined) return response.cork(() => write(response, head.method, refusal, true));
      const [key, protocol, extensions] = UPGRADE_HEADERS.map((name) => head.headers.get(name) ?? '');
      response.upgrade<SocketData>({ head }, key!, protocol!, extensions!, context);
    },
    open: (socket) => {
      const data = socket.getUserData();
      data.visit = live.open(data.head, peerOf(socket));
    },
    message: (socket, message) => socket.getUserData().visit?.onMessage(Buffer.from(message).toString()),
    close: (socket) => socket.getUserData().visit?.onClose(),
  };
}

function peerOf(socket: UwsWebSocket<SocketData>): Peer {
  return {
    send: (text) => void socket.send(text),
    bytesWaiting: () => socket.getBufferedAmount(),
    close: (code, reason) => socket.end(code, reason),
    drop: () => socket.close(),
  };
}

function serve(response: UwsResponse, head: RequestHead, application: Application): void {
  const body = new Body();
  const refusal = application.admit(head);
  let isOver = false;
  response.onAborted(() => {
    isOver = true;
  });
  const send = (answer: Answer, isLast: boolean) => {
    if (isOver) return;
    isOver = true;
    response.cork(() => write(response, head.method, answer, isLast));
  };
  response.onData((chunk, isLast) => {
    if (isOver) return;
    body.add(new Uint8Array(chunk.slice(0)));
    if (body.isEndless) return send(refusal ?? tooLarge(), true);
    if (!isLast) return;
    if (refusal !== undefined || body.isTooLarge) return send(refusal ?? tooLarge(), false);
    application.answer(head, body.bytes()).then((answer) => send(answer, false));
  });
}

function write(response: UwsResponse, method: string, { status, headers, body }: Answer, closes: boolean): void {
  response.writeStatus(statusLine(status));
  for (const [name, value] of Object.entries(headers)) response.writeHeader(name, value);
  if (method === 'HEAD') response.endWithoutBody(Buffer.byteLength(body), closes);
  else response.end(body, closes);
}
