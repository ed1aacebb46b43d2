// A WebSocket front door in a worker: a client's byte stream goes in, plain or out of TLS, and comes out as the stream that
// is inside its messages.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { type WebSocket, WebSocketServer } from 'ws';
import { REASON_CLIENT_LEFT_EARLY, REASON_CONNECT_TIMEOUT, REASON_WEBSOCKET_REFUSED } from '../../assembly/layout.ts';
import { type AddressRange, permittedRanges } from '../config/address-ranges.ts';
import type { Door, Known, Welcome } from './door.ts';
import type { WebSocketDoorSettings } from './door-settings.ts';
import { forwardedClient, isTrusted } from './forwarded.ts';
import { WebSocketStream } from './websocket-stream.ts';

/** MQTT 3.1.1 and 5.0, section 6; MQTT 3.1 over WebSocket came before them. */
const SUB_PROTOCOLS = ['mqtt', 'mqttv3.1'];
const HEADER_BYTES_MAX = 8192;
/**
 * A message may come in as many pieces, frames of it or reads of a frame, as if each had so many bytes, and in so many in
 * any case. A piece is an object of some 150 bytes, whatever it holds: without a bound 16 KiB in frames of a byte took
 * 2.4 MiB (npm run test:long).
 */
const PIECE_BYTES = 256;
const PIECES_LEAST = 1024;
/** Answers to pings that a client hasn't taken; whoever asks for more doesn't read them. */
const PONGS_MAX = 100;
const NOTHING_KNOWN = { info: {}, isResumed: false };

export class WebSocketDoor<Entrant> implements Door<Entrant> {
  readonly settings: WebSocketDoorSettings;
  readonly fullReason = null;
  readonly timeoutMs = Number.POSITIVE_INFINITY;
  readonly timeoutReason = REASON_CONNECT_TIMEOUT;
  readonly leftReason = REASON_CLIENT_LEFT_EARLY;
  readonly #welcome: Welcome<Entrant>;
  readonly #trusted: readonly AddressRange[];
  readonly #http: Server;
  readonly #webSockets: WebSocketServer;
  readonly #entrants = new WeakMap<Socket, Entrant>();
  /** Those that have said something since the last ping. */
  readonly #heard = new WeakSet<WebSocket>();
  readonly #pings: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(settings: WebSocketDoorSettings, welcome: Welcome<Entrant>) {
    const { messageBytesMax, pingIntervalMs, trustedProxies } = settings;
    this.settings = settings;
    this.#welcome = welcome;
    this.#trusted = trustedProxies.length === 0 ? [] : permittedRanges(trustedProxies, []);
    // The deadline of the CONNECT is the deadline for all that comes before it, too.
    // What is wrong with a request is said here, in the log, too.
    this.#http = createServer({
      maxHeaderSize: HEADER_BYTES_MAX,
      headersTimeout: 0,
      requestTimeout: 0,
      requireHostHeader: false,
    });
    this.#http.on('request', (request, response) => this.#onRequest(request, response));
    this.#http.on('upgrade', (request, socket, head) => this.#onUpgrade(request, socket as Socket, head));
    this.#http.on('clientError', (_error, socket) => this.#turnAway(socket as Socket, 400, 'not_http'));
    const piecesMax = Math.max(PIECES_LEAST, Math.ceil(messageBytesMax / PIECE_BYTES));
    // Newer than the types that are there for it.
    const bounds = { maxFragments: piecesMax, maxBufferedChunks: piecesMax, maxPendingAutoPongs: PONGS_MAX };
    this.#webSockets = new WebSocketServer({
      ...bounds,
      noServer: true,
      maxPayload: messageBytesMax,
      perMessageDeflate: false,
      clientTracking: pingIntervalMs > 0,
      handleProtocols: (offered) => SUB_PROTOCOLS.find((each) => offered.has(each)) ?? false,
    });
    if (pingIntervalMs > 0) this.#pings = setInterval(() => this.#pingAll(), pingIntervalMs).unref();
  }

  /** Who comes from there brings others, and says whom. */
  isProxy(address: string): boolean {
    return this.#trusted.length > 0 && isTrusted(address, this.#trusted);
  }

  enter(socket: Socket, entrant: Entrant): void {
    this.#entrants.set(socket, entrant);
    this.#http.emit('connection', socket);
    socket.resume(); // bytes that were read too early stand in it
  }

  /** Nobody new; those who are in stay, and are pinged. */
  close(): void {
    this.#isClosed = true;
  }

  #onRequest(request: IncomingMessage, response: ServerResponse): void {
    response.writeHead(426, { upgrade: 'websocket', connection: 'close' }).end('MQTT over WebSocket is spoken here\n');
    this.#tell(request.socket, 426, 'not_websocket');
  }

  #onUpgrade(request: IncomingMessage, socket: Socket, head: Buffer): void {
    const refusal = this.#refusalOf(request);
    if (refusal !== undefined) {
      this.#turnAway(socket, ...refusal);
      return;
    }
    this.#webSockets.handleUpgrade(request, socket, head, (webSocket) => {
      if (this.#pings !== undefined) this.#listen(webSocket);
      const entrant = this.#entrants.get(socket);
      this.#entrants.delete(socket);
      if (entrant === undefined) return webSocket.terminate(); // it has been given up
      const stream = new WebSocketStream(webSocket, socket) as unknown as Socket;
      this.#welcome.onEntered(entrant, stream, this.#knownOf(request));
    });
  }

  #knownOf({ headers }: IncomingMessage): Known {
    const { 'x-forwarded-for': forwarded } = headers;
    if (forwarded === undefined || this.#trusted.length === 0) return NOTHING_KNOWN;
    return { ...NOTHING_KNOWN, clientBehind: (peer) => forwardedClient(peer, String(forwarded), this.#trusted) };
  }

  #refusalOf({ url = '', headers }: IncomingMessage): [status: number, why: string] | undefined {
    const { path, origins } = this.settings;
    if (url.split('?', 1)[0] !== path) return [404, 'path'];
    const { origin, 'sec-websocket-protocol': protocols = '' } = headers;
    if (origins !== null && origin !== undefined && !origins.includes(origin)) return [403, 'origin'];
    const isOffered = protocols.split(',').some((each) => SUB_PROTOCOLS.includes(each.trim()));
    return isOffered ? undefined : [400, 'sub_protocol'];
  }

  #turnAway(socket: Socket, status: number, why: string): void {
    if (socket.writable) socket.end(`HTTP/1.1 ${status} ${STATUS_TEXTS[status]}\r\nconnection: close\r\n\r\n${why}\n`);
    this.#tell(socket, status, why);
  }

  #tell(socket: Socket, status: number, why: string): void {
    const entrant = this.#entrants.get(socket);
    this.#entrants.delete(socket);
    if (entrant !== undefined) this.#welcome.onTurnedAway(entrant, REASON_WEBSOCKET_REFUSED, `${status}_${why}`);
  }

  #listen(webSocket: WebSocket): void {
    const note = () => this.#heard.add(webSocket);
    note();
    webSocket.on('message', note).on('pong', note);
  }

  #pingAll(): void {
    if (this.#isClosed && this.#webSockets.clients.size === 0) clearInterval(this.#pings);
    for (const webSocket of this.#webSockets.clients) {
      if (webSocket.isPaused) continue; // it can't be heard
      if (!this.#heard.delete(webSocket)) webSocket.terminate();
      else webSocket.ping();
    }
  }
}

const STATUS_TEXTS: Record<number, string> = { 400: 'Bad Request', 403: 'Forbidden', 404: 'Not Found' };
