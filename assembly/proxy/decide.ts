// First bytes to verdict: the one decision that every engine asks for.

import { applyIdentity, rewrittenAddress, rewrittenBytes } from '../identity/rules';
import {
  FRAMING_UNKNOWN,
  FRONT_CLIENT_CN,
  FRONT_CLIENT_FINGERPRINT,
  FRONT_CLIENT_SAN,
  FRONT_CLIENT_SERIAL,
  FRONT_CLIENT_SUBJECT,
  FRONT_SNI,
  HEADER_CONNECT,
  HEADER_OFFSET,
  HEADER_RANDOM_STATE,
  KEY_CLIENT_ID,
  KEY_REMOTE_ADDR,
  KEY_TLS_CLIENT_CN,
  KEY_TLS_CLIENT_SAN,
  KEY_TLS_CLIENT_SERIAL,
  KEY_TLS_CLIENT_SUBJECT,
  KEY_TLS_SNI,
  KEY_USERNAME,
  MARK_POOL_CHOSEN,
  METHOD_HASH,
  NONE,
  PARSE_PARTIAL,
  PARSE_REFUSED,
  REASON_NO_BACKEND,
  REASON_NONE,
  REASON_PORTS_EXHAUSTED,
  REASON_PROTOCOL_VERSION,
  VERDICT_DIAL,
  VERDICT_MORE,
  VERDICT_REFUSE,
  VERDICT_REWRITTEN,
} from '../layout';
import { Cold, Connect, drainOf, memberAt, Pool, peerOf } from '../memory';
import { parseConnect } from '../mqtt/connect';
import { choose } from '../route/choose';
import { hashKey } from '../route/table';
import { hookAt, identityAt, listenerAt, poolAt, poolOfId, snapshot } from '../snapshot';
import { AF_INET6 } from '../uring/abi';
import { forgetClientId, keepClientId } from './client-id';
import { countConnect, countStranger, stampDial } from './figures';
import { frontText, frontTextBytes, nameBytes } from './front';
import { tallyOf } from './gates';
import { dropSource, takeSource } from './sources';
import {
  backendCounters,
  backendCountersRegion,
  cold,
  FLAG_CONNECT_WHOLE,
  FLAG_KEYED,
  FLAG_OUT_OF_PORTS,
  healthBase,
  hot,
  PHASE_READING,
} from './table';

/**
 * `bytes` are all that the client sent so far, `front` its Front block or 0. VERDICT_DIAL: the CONNECT is whole, and a
 * backend may be looked for;
 * VERDICT_REWRITTEN: the same, but another CONNECT is to take the place of the client's. On VERDICT_REFUSE the cold line's
 * reason says why.
 */
export function decide(slot: u32, bytes: usize, length: u32, front: usize): u32 {
  const found = changetype<Connect>(HEADER_OFFSET + HEADER_CONNECT);
  const state = parseConnect(bytes, length, snapshot().connectMaxBytes, found);
  const line = cold(slot);
  line.version = <u8>found.version;
  if (state == PARSE_PARTIAL) return VERDICT_MORE;
  const listener = listenerAt(line.listener);
  const index = listener.pool;
  if (index == NONE) return refuseWithoutPool(line);
  line.pool = <u8>index;
  const pool = poolAt(index);
  if (state == PARSE_REFUSED) {
    line.reason = <u16>found.reason;
    if (found.reason == REASON_PROTOCOL_VERSION) countStranger(pool);
    return VERDICT_REFUSE;
  }
  countConnect(pool, found.version, found.keepAlive);
  hot(slot).flags |= FLAG_CONNECT_WHOLE;
  line.keepAlive = <u16>found.keepAlive;
  hot(slot).clientPacketBytesMax = <u16>(found.maximumPacketSize > 0xffff ? 0 : found.maximumPacketSize);
  let packet = bytes;
  if (listener.identity != 0) {
    const reason = applyIdentity(identityAt(listener), line, found, bytes, front, snapshot().connectMaxBytes);
    if (reason != REASON_NONE) return refuseIdentity(line, reason, found, bytes);
    if (rewrittenBytes() > 0) packet = rewrittenAddress();
  }
  adopt(slot, index, found, packet, front);
  return packet == bytes ? VERDICT_DIAL : VERDICT_REWRITTEN;
}

/** The client is known by this CONNECT from here on, and comes to that pool. */
export function adopt(slot: u32, index: u32, found: Connect, packet: usize, front: usize): void {
  const line = cold(slot);
  const pool = poolAt(index);
  line.pool = <u8>index;
  forgetClientId(line);
  keepClientId(line, packet + found.clientId, found.clientIdBytes);
  // A hook may choose another pool.
  if (hot(slot).phase != PHASE_READING || hookAt(line.listener).timeoutMs == 0) followPackets(line, pool);
  takeKey(slot, line, pool, found, packet, front);
}

/** Or doesn't, where the pool says so. */
export function followPackets(line: Cold, pool: Pool): void {
  if (drainOf(pool).packets != 0) return;
  line.framingFromClient = FRAMING_UNKNOWN;
  line.framingFromBackend = FRAMING_UNKNOWN;
}

/** The place in this snapshot of the client's pool, which its hook has chosen, or its listener; NONE: it was removed. */
export function poolFor(slot: u32): u32 {
  const line = cold(slot);
  const isChosen = (tallyOf(slot).marks & <u8>MARK_POOL_CHOSEN) != 0;
  return isChosen ? poolOfId(line.choice) : listenerAt(line.listener).pool;
}

/** Who was refused is known by the name that it gave itself. */
function refuseIdentity(line: Cold, reason: u32, found: Connect, bytes: usize): u32 {
  keepClientId(line, bytes + found.clientId, found.clientIdBytes);
  line.reason = <u16>reason;
  return VERDICT_REFUSE;
}

/** It came through a listener that was removed since, and the pool was too. */
export function refuseWithoutPool(line: Cold): u32 {
  line.reason = <u16>REASON_NO_BACKEND;
  return VERDICT_REFUSE;
}

/** The best candidate not yet tried that a port is left for; on VERDICT_REFUSE there is none. */
export function chooseBackend(slot: u32): u32 {
  const pool = poolAt(cold(slot).pool);
  for (let index = chooseMember(slot, pool); index != NONE; index = chooseMember(slot, pool)) {
    if (takeBackend(slot, memberAt(pool, index).backend)) return VERDICT_DIAL;
    hot(slot).flags |= FLAG_OUT_OF_PORTS;
  }
  cold(slot).reason = <u16>noneLeftReason(slot);
  return VERDICT_REFUSE;
}

/** Why no candidate is left. */
export function noneLeftReason(slot: u32): u32 {
  return (hot(slot).flags & FLAG_OUT_OF_PORTS) != 0 ? REASON_PORTS_EXHAUSTED : REASON_NO_BACKEND;
}

function chooseMember(slot: u32, pool: Pool): u32 {
  const index = bestMember(slot, pool, cold(slot).tried);
  if (index != NONE) takeMember(slot, index);
  return index;
}

/** The choice for the slot when the members of `barred` are no candidates; NONE when none is left. */
export function bestMember(slot: u32, pool: Pool, barred: u64): u32 {
  const random = HEADER_OFFSET + HEADER_RANDOM_STATE;
  return choose(pool, isKeyed(slot), cold(slot).keyHash, barred, healthBase, backendCountersRegion, random);
}

export function isKeyed(slot: u32): bool {
  return (hot(slot).flags & FLAG_KEYED) != 0;
}

export function takeMember(slot: u32, index: u32): void {
  const line = cold(slot);
  line.tried |= (<u64>1) << index;
  line.member = <u8>index;
}

/** The slot dials this backend of its pool; false when no source has a port left for it. */
export function takeBackend(slot: u32, backend: u32): bool {
  const line = cold(slot);
  if (!takeSource(slot, poolAt(line.pool), backend)) return false;
  hot(slot).epoch = <u16>snapshot().epoch;
  line.backend = backend;
  stampDial(line);
  const chosen = backendCounters(backend);
  chosen.active++;
  chosen.chosen++;
  return true;
}

/** The backend no longer counts this connection: its dial failed, or the connection has ended. */
export function dropBackend(line: Cold): void {
  if (line.backend == NONE) return;
  dropSource(line);
  backendCounters(line.backend).active--;
  line.backend = NONE;
}

function takeKey(slot: u32, line: Cold, pool: Pool, found: Connect, bytes: usize, front: usize): void {
  hot(slot).flags &= ~FLAG_KEYED;
  if (pool.method != METHOD_HASH) return;
  let key = bytes + found.clientId;
  let length = found.clientIdBytes;
  if (pool.key == KEY_USERNAME) {
    key = bytes + found.username;
    length = found.usernameBytes;
  } else if (pool.key == KEY_REMOTE_ADDR) {
    key = peerAddress(line);
    length = peerAddressBytes(line);
  } else if (pool.key != KEY_CLIENT_ID) {
    const place = frontPlaceOf(pool.key);
    key = frontText(front, place);
    length = frontTextBytes(front, place);
    if (place == FRONT_CLIENT_SAN) length = nameBytes(key, key + length);
  }
  keyBy(slot, line, pool, key, length);
}

/**
 * Of a client whose CONNECT nobody sees: the host that it asks for, where that is the pool's key, or else its address.
 */
export function takeKeyBeforeConnect(slot: u32, line: Cold, pool: Pool, front: usize): void {
  if (pool.method != METHOD_HASH) return;
  if (pool.key == KEY_TLS_SNI) keyBy(slot, line, pool, frontText(front, FRONT_SNI), frontTextBytes(front, FRONT_SNI));
  else keyBy(slot, line, pool, peerAddress(line), peerAddressBytes(line));
}

function keyBy(slot: u32, line: Cold, pool: Pool, key: usize, length: u32): void {
  if (length == 0) return; // a client that lets the broker name it must not hash: all of them would meet on one broker
  line.keyHash = hashKey(pool, key, length);
  hot(slot).flags |= FLAG_KEYED;
}

function frontPlaceOf(key: u32): u32 {
  if (key == KEY_TLS_SNI) return FRONT_SNI;
  if (key == KEY_TLS_CLIENT_CN) return FRONT_CLIENT_CN;
  if (key == KEY_TLS_CLIENT_SUBJECT) return FRONT_CLIENT_SUBJECT;
  if (key == KEY_TLS_CLIENT_SAN) return FRONT_CLIENT_SAN;
  return key == KEY_TLS_CLIENT_SERIAL ? FRONT_CLIENT_SERIAL : FRONT_CLIENT_FINGERPRINT;
}

// struct sockaddr_in has its address at 4, sockaddr_in6 at 8; only the address counts, the port changes.
function peerAddress(line: Cold): usize {
  const peer = peerOf(line);
  return peer + (load<u16>(peer) == AF_INET6 ? 8 : 4);
}

function peerAddressBytes(line: Cold): u32 {
  return load<u16>(peerOf(line)) == AF_INET6 ? 16 : 4;
}
