// What a worker is told about its front doors: by the listener's index, all of them whenever one changes.

export interface DoorsUpdate {
  /** null: the listener's bytes are MQTT's. */
  doors: readonly (TlsDoorSettings | null)[];
  /** Of all workers, so that a session begun with one is taken up by another. */
  ticketKeys: Uint8Array;
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
  /** Lower case; "*." before a domain stands for one label. */
  names: readonly string[];
}
