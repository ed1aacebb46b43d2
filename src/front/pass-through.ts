// A front door that TLS goes through as it is: which host a client asks for says which pool gets its bytes, and nothing
// of them is ever decrypted here.
import type { Socket } from 'node:net';
import { REASON_CLIENT_LEFT_EARLY, REASON_CONNECT_TIMEOUT, REASON_TLS_HANDSHAKE } from '../../assembly/layout.ts';
import { type ClientHello, readClientHello } from './client-hello.ts';
import type { Door, Welcome } from './door.ts';
import type { PassThroughSettings } from './door-settings.ts';
import { readOpening } from './opening.ts';

/** Fatal alerts, of the version that all clients read: unrecognized_name and unexpected_message. */
const ALERT_NAME = Buffer.of(21, 3, 3, 0, 2, 2, 112);
const ALERT_MESSAGE = Buffer.of(21, 3, 3, 0, 2, 2, 10);

export class PassThroughDoor<Entrant> implements Door<Entrant> {
  readonly fullReason = null;
  readonly timeoutMs = Number.POSITIVE_INFINITY;
  readonly timeoutReason = REASON_CONNECT_TIMEOUT;
  readonly leftReason = REASON_CLIENT_LEFT_EARLY;
  /** By host, "*." before a domain for one label, "*" for everybody else. */
  readonly #pools: ReadonlyMap<string, number>;
  readonly #welcome: Welcome<Entrant>;

  constructor({ routes }: PassThroughSettings, welcome: Welcome<Entrant>) {
    this.#pools = new Map(routes.map(({ host, pool }) => [host, pool]));
    this.#welcome = welcome;
  }

  enter(socket: Socket, entrant: Entrant): void {
    readOpening(socket, helloIn, (hello, seen) => {
      if (hello.state === 'none') return this.#turnAway(socket, entrant, ALERT_MESSAGE, 'no_client_hello');
      const pool = this.#poolOf(hello.name);
      if (pool === undefined) return this.#turnAway(socket, entrant, ALERT_NAME, 'unrecognized_name');
      socket.unshift(seen);
      this.#welcome.onRouted(entrant, pool, hello.name);
    });
  }

  #poolOf(name: string | undefined): number | undefined {
    const pools = this.#pools;
    const named = name === undefined ? undefined : (pools.get(name) ?? pools.get(name.replace(/^[^.]*/, '*')));
    return named ?? pools.get('*');
  }

  #turnAway(socket: Socket, entrant: Entrant, alert: Buffer, why: string): void {
    socket.end(alert);
    socket.resume(); // unread bytes would make a reset of the close
    this.#welcome.onTurnedAway(entrant, REASON_TLS_HANDSHAKE, why);
  }
}

/** undefined: more must be seen. */
function helloIn(seen: Buffer): ClientHello | undefined {
  const hello = readClientHello(seen);
  return hello.state === 'partial' ? undefined : hello;
}
