// A listener's hook: a function of the operator's, which decides on each CONNECT what rules can't say. It runs in a
// thread of its own. Whose CONNECT it is waits meanwhile, in phase ASKING, and no longer than the hook's timeout:
//
//   this worker ── Ask ──► main thread ──► the hook's thread
//        ▲                    │  ▲              │
//        └──── Decision ──────┘  └──────────────┘
//
// A decision may come too late, for a slot that has begun another life or was decided on by the clock: then it is void.
import { rewriteFields, rewrittenAddress } from '../identity/rules';
import { setField } from '../identity/text';
import {
  ASK_CONNECT,
  ASKS_BYTES,
  COUNTERS_HOOK_ASKED,
  COUNTERS_HOOK_BUSY,
  COUNTERS_HOOK_TIMEOUTS,
  DECISION_ACCEPT,
  DECISION_REFUSE,
  DECISIONS_BYTES,
  ENTRY_SKIP,
  FIELD_CLIENT_ID,
  FIELD_REMOTE_ADDR,
  FIELD_USERNAME,
  HEADER_ASKS_READ,
  HEADER_ASKS_WRITTEN,
  HEADER_CONNECT,
  HEADER_DECISIONS_READ,
  HEADER_DECISIONS_WRITTEN,
  HEADER_OFFSET,
  MARK_POOL_CHOSEN,
  NONE,
  PARSE_COMPLETE,
  REASON_HOOK_BUSY,
  REASON_HOOK_FAILED,
  REASON_HOOK_REFUSED,
  REASON_HOOK_TIMEOUT,
  REASON_NONE,
  SOCKADDR_BYTES_MAX,
  TOKEN_FIELDS,
  VERDICT_ASK,
  VERDICT_DIAL,
  VERDICT_REFUSE,
  VERDICT_REWRITTEN,
} from '../layout';
import { Ask, Cold, Connect, Decision, peerOf, Text } from '../memory';
import { parseConnect } from '../mqtt/connect';
import { AS_IT_IS } from '../mqtt/rewrite';
import { hashKey } from '../route/table';
import { observe, publish, wake } from '../shared';
import { hookAt, listenerAt, poolAt, poolOfId, snapshot } from '../snapshot';
import { placeEntry } from './byte-ring';
import { adopt, followPackets, refuseWithoutPool } from './decide';
import { frontBytes } from './front';
import { tallyOf } from './gates';
import { add, cold, counters, FLAG_KEYED, header, hot, PHASE_ASKING, slotsEnd } from './table';

const ASKS_WRITTEN: usize = HEADER_OFFSET + HEADER_ASKS_WRITTEN;
const ASKS_READ: usize = HEADER_OFFSET + HEADER_ASKS_READ;
const DECISIONS_WRITTEN: usize = HEADER_OFFSET + HEADER_DECISIONS_WRITTEN;
const DECISIONS_READ: usize = HEADER_OFFSET + HEADER_DECISIONS_READ;

/** VERDICT_ASK; or what is done without a decision, when too many wait for one. `packet`: the slot's whole CONNECT. */
export function ask(slot: u32, packet: usize, front: usize): u32 {
  const line = cold(slot);
  const packetBytes = changetype<Connect>(HEADER_OFFSET + HEADER_CONNECT).packetBytes;
  const more = frontBytes(front);
  const end = (ASK_CONNECT + packetBytes + 7) & ~7;
  const bytesTotal = (end + more + 7) & ~7;
  const at = placeEntry(header().asks, ASKS_BYTES, ASKS_WRITTEN, ASKS_READ, bytesTotal);
  if (at == 0) {
    add(counters + COUNTERS_HOOK_BUSY, 1);
    return decideWithout(slot, REASON_HOOK_BUSY);
  }
  const entry = changetype<Ask>(at);
  entry.bytesTotal = bytesTotal;
  entry.slot = slot;
  entry.generation = hot(slot).generation;
  entry.hook = hookAt(line.listener).id;
  entry.connectBytes = packetBytes;
  memory.copy(at + offsetof<Ask>('_peer0'), peerOf(line), SOCKADDR_BYTES_MAX);
  memory.copy(at + ASK_CONNECT, packet, packetBytes);
  memory.copy(at + end, front, more);
  publish(ASKS_WRITTEN, observe(ASKS_WRITTEN) + bytesTotal);
  wake(ASKS_WRITTEN);
  add(counters + COUNTERS_HOOK_ASKED, 1);
  hot(slot).epoch = <u16>snapshot().epoch;
  return VERDICT_ASK;
}

/** How long its decision may take. */
export function hookTimeoutMs(slot: u32): u32 {
  return hookAt(cold(slot).listener).timeoutMs;
}

/** It has taken longer: VERDICT_DIAL when the client is let in all the same. */
export function onHookTimer(slot: u32): u32 {
  add(counters + COUNTERS_HOOK_TIMEOUTS, 1);
  return decideWithout(slot, REASON_HOOK_TIMEOUT);
}

/** As the listener says. A reload that took its hook away doesn't say so: who was being asked about is refused. */
function decideWithout(slot: u32, reason: u32): u32 {
  const line = cold(slot);
  if (hookAt(line.listener).accepts == 0) return refuseFor(line, reason);
  const pool = listenerAt(line.listener).pool;
  if (pool == NONE) return refuseWithoutPool(line);
  line.pool = <u8>pool;
  followPackets(line, poolAt(pool));
  return VERDICT_DIAL;
}

function refuseFor(line: Cold, reason: u32): u32 {
  line.reason = <u16>reason;
  return VERDICT_REFUSE;
}

// ---- Decisions -------------------------------------------------------------------------------------------------------

/** That of the slot which was found last. Its place is given back with the next look. */
let decision: Decision = changetype<Decision>(0);
let decisionsRead: u32 = 0;

export function attachHooks(): void {
  decisionsRead = observe(DECISIONS_READ);
}

/**
 * The next slot whose hook has decided, NONE when there is none; applyDecision says what that means. Due at every turn.
 */
export function takeDecision(): u32 {
  const written = observe(DECISIONS_WRITTEN);
  if (header().decisionsRead == written) return NONE;
  while (decisionsRead != written) {
    const entry = changetype<Decision>(<usize>header().decisions + (decisionsRead & (DECISIONS_BYTES - 1)));
    const bytesTotal = entry.bytesTotal;
    // What was looked at before is done with.
    publish(DECISIONS_READ, decisionsRead);
    decisionsRead += bytesTotal & ~ENTRY_SKIP;
    if ((bytesTotal & ENTRY_SKIP) != 0 || !isMeant(entry)) continue;
    decision = entry;
    return entry.slot;
  }
  publish(DECISIONS_READ, decisionsRead);
  return NONE;
}

function isMeant(entry: Decision): bool {
  if (entry.slot >= slotsEnd()) return false;
  const line = hot(entry.slot);
  return line.generation == entry.generation && line.phase == PHASE_ASKING;
}

/**
 * For the slot that takeDecision has found. `bytes`: the CONNECT that was asked about, and what the client has sent
 * behind it. VERDICT_DIAL: a backend may be looked for; VERDICT_REWRITTEN: the same, but another CONNECT is to take the
 * place of that one; or VERDICT_REFUSE.
 */
export function applyDecision(slot: u32, bytes: usize, length: u32, front: usize): u32 {
  const line = cold(slot);
  if (decision.verdict == DECISION_REFUSE) {
    line.choice = <u8>decision.code;
    return refuseFor(line, REASON_HOOK_REFUSED);
  }
  if (decision.verdict != DECISION_ACCEPT) return decideWithout(slot, REASON_HOOK_FAILED);
  const pool = decision.pool == NONE ? listenerAt(line.listener).pool : poolOfId(decision.pool);
  if (pool == NONE) return decideWithout(slot, REASON_HOOK_FAILED);
  const found = changetype<Connect>(HEADER_OFFSET + HEADER_CONNECT);
  const bytesMax = snapshot().connectMaxBytes;
  if (parseConnect(bytes, length, bytesMax, found) != PARSE_COMPLETE) return refuseFor(line, found.reason);
  let packet = bytes;
  if (rewrites()) {
    if (rewriteAsDecided(found, bytes, bytesMax) != REASON_NONE) return decideWithout(slot, REASON_HOOK_FAILED);
    packet = rewrittenAddress();
  }
  if (decision.pool != NONE) choosePool(slot, decision.pool);
  adopt(slot, pool, found, packet, front);
  if (decision.keyBytes != NONE) takeGivenKey(slot);
  return packet == bytes ? VERDICT_DIAL : VERDICT_REWRITTEN;
}

/** By its id, since it may have another place when it is looked for again. */
function choosePool(slot: u32, id: u32): void {
  cold(slot).choice = <u8>id;
  tallyOf(slot).marks |= <u8>MARK_POOL_CHOSEN;
}

function takeGivenKey(slot: u32): void {
  const line = cold(slot);
  hot(slot).flags &= ~FLAG_KEYED;
  if (decision.keyBytes == 0) return;
  line.keyHash = hashKey(poolAt(line.pool), textsOf(decision), decision.keyBytes);
  hot(slot).flags |= FLAG_KEYED;
}

// ---- Another CONNECT -------------------------------------------------------------------------------------------------

// Templates that are one field and nothing else: Text, token. A password is no field that a pattern could speak of, so it
// is lent the place of one that isn't needed here.
const USERNAME_TEXT = memory.data<i32>([1, 1 << FIELD_USERNAME, TOKEN_FIELDS + FIELD_USERNAME]);
const PASSWORD_TEXT = memory.data<i32>([1, 1 << FIELD_REMOTE_ADDR, TOKEN_FIELDS + FIELD_REMOTE_ADDR]);

function rewrites(): bool {
  return (decision.clientIdBytes & decision.usernameBytes & decision.passwordBytes) != NONE;
}

/** REASON_NONE, or why there can be no such CONNECT. */
function rewriteAsDecided(found: Connect, bytes: usize, bytesMax: u32): u32 {
  let text = textsOf(decision) + given(decision.keyBytes);
  if (decision.clientIdBytes == NONE) setField(FIELD_CLIENT_ID, bytes + found.clientId, found.clientIdBytes);
  else setField(FIELD_CLIENT_ID, text, decision.clientIdBytes);
  text += given(decision.clientIdBytes);
  if (decision.usernameBytes == NONE) setField(FIELD_USERNAME, bytes + found.username, found.usernameBytes);
  else setField(FIELD_USERNAME, text, decision.usernameBytes);
  text += given(decision.usernameBytes);
  setField(FIELD_REMOTE_ADDR, text, given(decision.passwordBytes));
  const username = decision.usernameBytes == NONE ? AS_IT_IS : changetype<Text>(USERNAME_TEXT);
  const password = decision.passwordBytes == NONE ? AS_IT_IS : changetype<Text>(PASSWORD_TEXT);
  return rewriteFields(AS_IT_IS, username, password, found, bytes, bytesMax);
}

function textsOf(entry: Decision): usize {
  return changetype<usize>(entry) + offsetof<Decision>();
}

function given(bytes: u32): u32 {
  return bytes == NONE ? 0 : bytes;
}
