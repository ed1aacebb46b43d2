// Sessions that were begun lately, by the keyed hash of their ClientId and pool: what it takes to see that clients of one
// name take each other's place at their broker again and again. The worker notes what happens to it, the main thread, who
// sees all workers, judges (src/control/take-overs.ts) and names those who have to pause; their CONNECTs are refused.
//
// Only what a broker has accepted is noted: whoever knows a name but not its password can't have its owner paused.
// Both tables are of a fixed size: a fight is seen while fewer than a sixteenth of a full worker's clients come between two of
// its rounds. Of eight sessions that share a place the one that began first gives way.
import {
  HEADER_ID_KEY_0,
  HEADER_ID_KEY_1,
  HEADER_OFFSET,
  MARK_OVERLAP,
  MARK_SESSION,
  PAUSE_BYTES,
  PAUSES,
  PHASE_CLOSING,
  PHASE_FREE,
  SCRATCH_IDENTITY,
  SESSION_BYTES,
  SESSION_OTHER_PEER,
  SESSION_PEER,
  SESSION_WAYS,
  SOCKADDR_BYTES_MAX,
} from '../layout';
import { Cold, Pause, peerOf, Session } from '../memory';
import { sipHash } from '../route/hash';
import { listenerLimitsAt } from '../snapshot';
import { copyClientId } from './client-id';
import { admission, tallyOf } from './gates';
import { sourcePacesEnd } from './source-paces';
import { cold, header, hot } from './table';

const NO_TAG: u64 = 0;

let sessions: usize = 0;
let pauses: usize = 0;
let places: u32 = 0;

export function attachTakeOvers(): void {
  sessions = sourcePacesEnd();
  places = header().sessions / SESSION_WAYS;
  pauses = sessions + <usize>header().sessions * SESSION_BYTES;
}

/** Its ClientId is known: whether it has to pause. If not, it is noted whether another session of this name is open. */
export function mustPause(slot: u32, line: Cold, poolId: u32): bool {
  if (listenerLimitsAt(line.listener).takeOvers == 0) return false;
  const tag = tagOf(line, poolId);
  if (tag == NO_TAG) return false;
  const pause = changetype<Pause>(pauses + <usize>(<u32>tag & (PAUSES - 1)) * PAUSE_BYTES);
  if (pause.tag == tag && header().clockMs < pause.untilMs) return true;
  const session = sessionOf(tag, false);
  tallyOf(slot).marks |= <u8>MARK_SESSION;
  if (session.tag == tag && isOpen(session)) tallyOf(slot).marks |= <u8>MARK_OVERLAP;
  return false;
}

/** The broker has accepted it, `answerMs` after it was sent the CONNECT. */
export function beginSession(slot: u32, line: Cold, answerMs: f64): void {
  const tally = tallyOf(slot);
  if ((tally.marks & <u8>MARK_SESSION) == 0) return;
  const session = sessionOf(tagOf(line, tally.pool), true);
  session.connectMs = header().clockMs - answerMs;
  session.endedMs = 0;
  session.slot = slot;
  session.generation = hot(slot).generation;
  session.listener = line.listener;
  const peer = changetype<usize>(session) + SESSION_PEER;
  if (tally.marks & <u8>MARK_OVERLAP) {
    session.overlaps++;
    memory.copy(changetype<usize>(session) + SESSION_OTHER_PEER, peer, SOCKADDR_BYTES_MAX);
  }
  memory.copy(peer, peerOf(line), SOCKADDR_BYTES_MAX);
  session.serial = admission().sessionsBegun + 1;
  admission().sessionsBegun++;
}

/** The slot's client has ended, or its connection has: only the first time counts. */
export function endSession(slot: u32): void {
  const tally = tallyOf(slot);
  const line = cold(slot);
  if ((tally.marks & <u8>MARK_SESSION) == 0) return;
  tally.marks &= ~(<u8>MARK_SESSION);
  const tag = tagOf(line, tally.pool);
  const session = sessionOf(tag, false);
  if (session.tag == tag && isOf(session, slot)) session.endedMs = header().clockMs;
}

function isOpen(session: Session): bool {
  const phase = hot(session.slot).phase;
  return isOf(session, session.slot) && session.endedMs == 0 && phase != PHASE_FREE && phase != PHASE_CLOSING;
}

function isOf(session: Session, slot: u32): bool {
  return session.slot == slot && session.generation == hot(slot).generation;
}

/** The session noted last under the tag, or else the one that gives way for it, if it is to be `taken`. */
function sessionOf(tag: u64, taken: bool): Session {
  const first = (<u32>(tag >> 32) & (places - 1)) * SESSION_WAYS;
  let oldest = sessionAt(first);
  for (let index = first; index < first + SESSION_WAYS; index++) {
    const session = sessionAt(index);
    if (session.tag == tag) return session;
    if (session.connectMs < oldest.connectMs) oldest = session;
  }
  if (!taken) return oldest;
  oldest.tag = tag;
  oldest.overlaps = 0;
  return oldest;
}

function sessionAt(index: u32): Session {
  return changetype<Session>(sessions + <usize>index * SESSION_BYTES);
}

// Under a key of this process: nobody outside can choose names that meet. None for a client that has no ClientId, or one
// of which not all is kept: what is left could be another's.
function tagOf(line: Cold, poolId: u32): u64 {
  const id = header().scratch + SCRATCH_IDENTITY;
  const length = copyClientId(line, id);
  if (length == 0 || length != <u32>line.clientIdBytes) return NO_TAG;
  const key0 = load<u64>(HEADER_OFFSET + HEADER_ID_KEY_0) ^ poolId;
  return max<u64>(sipHash(key0, load<u64>(HEADER_OFFSET + HEADER_ID_KEY_1), id, length), 1);
}
