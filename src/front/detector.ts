// One port for all: what a client begins with says which doors it goes through. It is looked at, and stays in the
// socket for whoever reads it next.
import type { Socket } from 'node:net';
import { REASON_CLIENT_LEFT_EARLY, REASON_CONNECT_TIMEOUT } from '../../assembly/layout.ts';
import type { Door, Welcome } from './door.ts';
import { readOpening } from './opening.ts';

/** Of a TLS record with a handshake in it, whatever the version behind it (RFC 8446, section 5.1). */
export const TLS_BEGINNING = Buffer.of(0x16, 0x03);
/** Of the request that opens a WebSocket (RFC 6455, section 4.1). */
export const WEBSOCKET_BEGINNING = Buffer.from('GET ');

export interface Way<Entrant> {
  /** No other way's begins with it. */
  beginning: Buffer;
  doors: readonly Door<Entrant>[];
}

/** A client that begins like none of the ways speaks MQTT, or hears from there why it is refused. */
export class Detector<Entrant> implements Door<Entrant> {
  readonly fullReason = null;
  readonly timeoutMs = Number.POSITIVE_INFINITY;
  readonly timeoutReason = REASON_CONNECT_TIMEOUT;
  readonly leftReason = REASON_CLIENT_LEFT_EARLY;
  readonly #ways: readonly Way<Entrant>[];
  readonly #welcome: Welcome<Entrant>;

  constructor(ways: readonly Way<Entrant>[], welcome: Welcome<Entrant>) {
    this.#ways = ways;
    this.#welcome = welcome;
  }

  enter(socket: Socket, entrant: Entrant): void {
    const onFound = (doors: readonly Door<Entrant>[], seen: Buffer) => {
      socket.unshift(seen);
      this.#welcome.onDetected(entrant, doors);
    };
    readOpening(socket, (seen) => this.#doorsFor(seen), onFound);
  }

  /** undefined: more must be seen. */
  #doorsFor(seen: Buffer): readonly Door<Entrant>[] | undefined {
    for (const { beginning, doors } of this.#ways) {
      const length = Math.min(seen.length, beginning.length);
      if (!seen.subarray(0, length).equals(beginning.subarray(0, length))) continue;
      return length === beginning.length ? doors : undefined;
    }
    return [];
  }
}
