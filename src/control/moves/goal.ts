// What a move is for: which connections it wants, and when it has to stop. Each kind of move is one of these.
import type { Backend } from '../snapshot.ts';
import type { Wanted } from './candidates.ts';

export const MOVE_KINDS = ['drain', 'maintenance', 'rebalance', 'orphans'] as const;
export type MoveKind = (typeof MOVE_KINDS)[number];

/** MQTT 5.0, of DISCONNECT: Server shutting down. A client answers it by connecting again, where it was connected. */
export const DISCONNECT_SHUTTING_DOWN = 0x8b;
/**
 * Use another server. Without a Server Reference it sends clients to "another server that is already known to the client"
 * (4.11), which would lead them past this one, so it is said only with a reference.
 */
export const DISCONNECT_USE_ANOTHER_SERVER = 0x9c;

/** How a connection is ended. */
export interface Farewell {
  /** REASON_* */
  reason: number;
  /** Of the DISCONNECT that clients of MQTT 5.0 get. */
  code: number;
  /** EVICTION_* */
  flags: number;
  /** The DISCONNECT names the pool's server reference. */
  reference: boolean;
}

export interface Goal {
  readonly kind: MoveKind;
  readonly pool: string;
  /** null: it concerns the whole pool. */
  readonly backend: Backend | null;
  readonly farewell: Farewell;
  /** Why it can't go on, for people; undefined: it can. */
  obstacle(): string | undefined;
  /** What the choice of the candidates rests on: when it changes, they are looked for anew. */
  basis(): string;
  /** For the walk that follows. */
  wanted(): Wanted;
  /** How many are left, when a walk has found so many candidates and so many that were asked and are still there. */
  leftOf(candidates: number, asked: number): number;
  /** It is over, whichever way. */
  onEnd?(): void;
}

/** Of a client that shall come back here, or go where the pool says. */
export function farewellOf(reason: number, flags: number, serverReference: string): Farewell {
  const reference = serverReference !== '';
  return { reason, flags, reference, code: reference ? DISCONNECT_USE_ANOTHER_SERVER : DISCONNECT_SHUTTING_DOWN };
}
