// What a hook's module is written against: `onConnect` is asked once for each CONNECT that the listener's rules let pass.

/** Of a client, as its broker would see it: behind what the listener's rules have rewritten. */
export interface ConnectInfo {
  /** Name of the listener that it came through. */
  listener: string;
  /** Its own; behind a front, as that one's PROXY header has it. */
  remoteAddress: string;
  remotePort: number;
  /** Of MQTT. */
  version: '3.1' | '3.1.1' | '5.0';
  /** Empty when the broker is to name it. */
  clientId: string;
  username: string | null;
  password: Uint8Array | null;
  /** Clean session before 5.0. */
  cleanStart: boolean;
  /** Seconds, 0 for none. */
  keepAlive: number;
  will: WillInfo | null;
  /** null: it came without TLS. */
  tls: TlsInfo | null;
}

export interface WillInfo {
  topic: string;
  qos: 0 | 1 | 2;
  retain: boolean;
}

export interface TlsInfo {
  /** TLSv1.3 and the like. */
  version: string;
  /** By OpenSSL's name. */
  cipher: string;
  /** The host that the client asked for; null: none. */
  serverName: string | null;
  /** The common name of its certificate, where that was verified. */
  clientCommonName: string | null;
}

/** It may come. What isn't there stays as it is. */
export interface Accept {
  action: 'accept';
  /** Instead of the listener's. */
  pool?: string;
  /** What is hashed instead of the pool's key, for method hash. Empty: it comes to any backend. */
  key?: string | Uint8Array;
  /** What the broker is told instead; the ClientId is hashed, logged and searched, too. */
  clientId?: string;
  username?: string;
  password?: string | Uint8Array;
}

/** It may not, and is told so: a reason code of MQTT 5.0, table 3-1; older clients get the one that comes nearest. */
export interface Refuse {
  action: 'refuse';
  /** Default: 0x87, not authorized. */
  code?: RefusalCode;
}

export type Decision = Accept | Refuse;

export type OnConnect = (info: ConnectInfo) => Decision | Promise<Decision>;

/** Those of a CONNACK. */
export const REFUSAL_CODES = [
  0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8c, 0x90, 0x95, 0x97, 0x99, 0x9a, 0x9b, 0x9c,
  0x9d, 0x9f,
] as const;

export type RefusalCode = (typeof REFUSAL_CODES)[number];
