// What one probe found, and what a probe is to the one who sent it.

/** drain: the backend is alive and wants nobody new. none: the fault was ours, and nothing was learned of the backend. */
export type Verdict = 'pass' | 'drain' | 'fail' | 'none';

export interface Finding {
  verdict: Verdict;
  /** For people: "CONNECT refused with code 3 (server unavailable)". */
  reason: string;
  /** Nobody listens there any more, or its host can't be reached: it is more than silent or unwilling. */
  isGone: boolean;
}

/** One under way. */
export interface Probe {
  /** Comes by the timeout at the latest; never rejects. */
  finding: Promise<Finding>;
  /** Its connection is closed: by the timeout at the latest. */
  ended: Promise<void>;
  /** The finding isn't wanted any more. Ends the connection as politely as its state allows, and soon. */
  abandon(): void;
}

/** A probe that was abandoned has so long to say goodbye. */
export const GOODBYE_MS = 250;

/** Descriptors, memory or ports have run out here. Held against the backends it would take all of them down at once. */
const OURS = ['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM', 'EADDRNOTAVAIL'];
const GONE = ['ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'EHOSTDOWN'];

export function passed(reason: string): Finding {
  return { verdict: 'pass', reason, isGone: false };
}

export function failed(reason: string): Finding {
  return { verdict: 'fail', reason, isGone: false };
}

export function drained(reason: string): Finding {
  return { verdict: 'drain', reason, isGone: false };
}

export function connectFailed({ code = 'unknown' }: NodeJS.ErrnoException): Finding {
  const verdict = OURS.includes(code) ? 'none' : 'fail';
  return { verdict, reason: `connect failed: ${code}`, isGone: GONE.includes(code) };
}

export function connectionLost({ code = 'unknown' }: NodeJS.ErrnoException): Finding {
  return failed(`connection lost: ${code}`);
}

export function timedOut(isConnected: boolean, timeoutMs: number): Finding {
  return failed(`no ${isConnected ? 'answer' : 'connection'} within ${timeoutMs} ms`);
}
