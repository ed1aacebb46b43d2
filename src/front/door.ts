// What stands before a listener's clients: a byte stream goes in, and comes out as another one with what was learnt on the
// way. Doors may stand one behind the other, as WebSocket behind TLS. None of them knows MQTT.
import type { Socket } from 'node:net';
import type { FrontInfo } from './front-info.ts';

/** What becomes of whoever stands in a door. One of these is called, once, unless the socket ends before. */
export interface Welcome<Entrant> {
  /** `stream` has what the portable engine asks of a socket. */
  onEntered(entrant: Entrant, stream: Socket, known: Known): void;
  /** The socket is as it was, and these doors are next. */
  onDetected(entrant: Entrant, doors: readonly Door<Entrant>[]): void;
  /** The socket is as it was: TLS that is for a backend of that pool, an id. `name`: the host that was asked for. */
  onRouted(entrant: Entrant, pool: number, name: string | undefined): void;
  /** `reason` is one of REASON_*. The socket closes by itself. */
  onTurnedAway(entrant: Entrant, reason: number, error: string): void;
}

/** What one door has learnt. */
export interface Known {
  info: FrontInfo;
  isResumed: boolean;
  /** Whose connection it is, when `peer` has brought it; undefined: the peer's own. */
  clientBehind?: (peer: string) => string;
}

export interface Door<Entrant> {
  /** It takes nobody more at the moment: REASON_*. */
  readonly fullReason: number | null;
  /** From accept to coming out, within the time that is left for the CONNECT; POSITIVE_INFINITY: as much as that. */
  readonly timeoutMs: number;
  /** REASON_*, for whoever takes longer, and for whoever leaves before. */
  readonly timeoutReason: number;
  readonly leftReason: number;
  enter(socket: Socket, entrant: Entrant): void;
}
