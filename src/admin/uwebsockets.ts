// The dozen members of uWebSockets.js that are used here. The package has no types, and on a machine for which it has no
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

export interface UwsApp {
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
