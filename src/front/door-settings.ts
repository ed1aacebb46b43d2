// What a worker is told about its front doors, by the listener's index, and about backends that want TLS: all of it
// whenever anything of it changes.

import type { BackendTls } from '../backend-tls.ts';

export interface DoorsUpdate {
  /** null: the listener's bytes are MQTT's. */
  doors: readonly (DoorSettings | null)[];
  /** Of all workers, so that a session begun with one is taken up by another. */
  ticketKeys: Uint8Array;
  /** By id, those that speak TLS. */
  backends: ReadonlyMap<number, BackendTls>;
}

/** What a worker tells in return. */
export interface BackendFault {
  backend: number;
  /** By OpenSSL's or Node's code: CERT_HAS_EXPIRED and the like. */
  fault: string;
}

/** Both: WebSocket inside TLS. */
export interface DoorSettings {
  tls: TlsDoorSettings | null;
  webSocket: WebSocketDoorSettings | null;
  /** Each client comes through those that it asks for, and plain MQTT through none. */
  isDetecting: boolean;
  /** Then it is the only one. */
  passThrough: PassThroughSettings | null;
}

export interface PassThroughSettings {
  /** To the pool with that id, by host: "*." before a domain stands for one label, "*" for everybody else. */
  routes: readonly { host: string; pool: number }[];
}

export interface WebSocketDoorSettings {
  /** Of the request; a query behind it doesn't matter. */
  path: string;
  /** Browsers say where a page comes from: those that may connect. null: all. Who says nothing is no browser. */
  origins: readonly string[] | null;
  /** A message of more bytes ends the connection with code 1009. */
  messageBytesMax: number;
  /** After so long a ping is sent, after twice that without a word the connection is given up; 0: never. */
  pingIntervalMs: number;
  /** Whose X-Forwarded-For is believed. */
  trustedProxies: readonly string[];
}

export interface TlsDoorSettings {
  /** The first one is for clients that ask for no name, or for one that nobody has. */
  certificates: readonly CertificateMaterial[];
  minVersion: 'TLSv1.2' | 'TLSv1.3';
  ciphers: string;
  alpn: readonly string[];
  /** PEM; null: no client certificates are asked for. */
  clientCa: string | null;
  clientCrls: readonly string[];
  /** A client without a good certificate is sent away. */
  isCertificateRequired: boolean;
  handshakeTimeoutMs: number;
  /** At once, in one worker. */
  handshakesMax: number;
  /** Sessions of another listener are not resumed. */
  sessionContext: string;
}

export interface CertificateMaterial {
  /** PEM. */
  cert: string;
  key: string;
  /** DER: what its CA says of it; null: nothing. */
  ocsp: Uint8Array | null;
  /** Lower case; "*." before a domain stands for one label. */
  names: readonly string[];
}
