// The members of uWebSockets.js that are used here. The package has no types, and on a machine for which it has no
// binary it doesn't load.
import { createRequire } from 'node:module';

export interface UwsRequest {
  getMethod(): string;
  getUrl(): string;
  getQuery(): string;
  forEach(visit: (name: string, value: string) => void): void;
}

export interface UwsResponse {
  cork(write: () => void): void;
  writeStatus(status: string): void;
  writeHeader(name: string, value: string): void;
  end(body: string | Uint8Array, closeConnection?: boolean): void;
  endWithoutBody(contentLength: number, closeConnection?: boolean): void;
  close(): void;
  onData(receive: (chunk: ArrayBuffer, isLast: boolean) => void): void;
  onAborted(forget: () => void): void;
}

export interface UwsUpgradeResponse extends UwsResponse {
  upgrade<Data>(data: Data, key: string, protocol: string, extensions: string, context: unknown): void;
}

export interface UwsWebSocket<Data> {
  getUserData(): Data;
  send(message: string): number;
  getBufferedAmount(): number;
  /** Says why, and closes. */
  end(code: number, reason: string): void;
  close(): void;
}

export interface UwsWebSocketBehavior<Data> {
  /** A message that is longer ends the socket. */
  maxPayloadLength: number;
  /** A message is dropped while more than that waits. */
  maxBackpressure: number;
  /** Without an answer to a ping; they are sent by themselves. */
  idleTimeout: number;
  upgrade(response: UwsUpgradeResponse, request: UwsRequest, context: unknown): void;
  open(socket: UwsWebSocket<Data>): void;
  message(socket: UwsWebSocket<Data>, message: ArrayBuffer, isBinary: boolean): void;
  close(socket: UwsWebSocket<Data>): void;
}

export interface UwsApp {
  ws<Data>(path: string, behavior: UwsWebSocketBehavior<Data>): UwsApp;
  any(pattern: string, handle: (response: UwsResponse, request: UwsRequest) => void): UwsApp;
  listen(host: string, port: number, options: number, done: (socket: unknown) => void): UwsApp;
  /** Closes the listening socket and every connection. */
  close(): void;
}

export interface Uws {
  App(): UwsApp;
  us_socket_local_port(socket: unknown): number;
  /** Without it SO_REUSEPORT is set, and a taken port isn't noticed. */
  LIBUS_LISTEN_EXCLUSIVE_PORT: number;
}

/** Throws what the loader says: not installed, no binary for this platform, a C library that is too old. */
export function loadUws(): Uws {
  return createRequire(import.meta.url)('uWebSockets.js');
}
