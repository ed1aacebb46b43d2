// The full data plane: the embeddable core, the life of a connection that every engine shares, and the uring engine.
import {
  HEADER_LAYOUT_VERSION,
  HEADER_OFFSET,
  HEADER_OPTION_ON,
  HEADER_OPTION_PORTS,
  HEADER_RANDOM_STATE,
  LAYOUT_VERSION,
  OPTION_PORTS,
} from './layout';
import { attachAdmission } from './proxy/admission';
import { attachClientIds } from './proxy/client-id';
import { evictionOf } from './proxy/evictions';
import { attachHooks } from './proxy/hook';
import { attachTable, cold, header } from './proxy/table';
import { observeSnapshot } from './snapshot';

export * from './core';
export { replacedBytes, rewrittenAddress, rewrittenBytes } from './identity/rules';
export { queueLeftMs, releaseDueMs } from './proxy/admission';
export {
  connectionAdmit,
  connectionAnswered,
  connectionArrived,
  connectionBrought,
  connectionClientEnded,
  connectionClose,
  connectionConnected,
  connectionCrowdedOut,
  connectionDecide,
  connectionDecided,
  connectionDialled,
  connectionFarewell,
  connectionFramed,
  connectionGreeting,
  connectionHeader,
  connectionLeaveQueue,
  connectionMayCut,
  connectionMoved,
  connectionNext,
  connectionOpen,
  connectionOrphaned,
  connectionOutOfPorts,
  connectionRefusal,
  connectionRelease,
  connectionReleased,
  connectionRenamed,
  connectionRest,
  connectionRouted,
  connectionSaysGoodbye,
  connectionUndecided,
  connectionUnnamed,
  connectionWaited,
  connectTimeoutMs,
  dialTimeoutMs,
  idleLimitMs,
  idleReason,
  memberAddress,
  proxyProtocol,
  sourceAddress,
  sweep,
} from './proxy/connection';
export { takeEviction } from './proxy/evictions';
export { hookTimeoutMs, takeDecision } from './proxy/hook';
export { run, startLoop, turn } from './proxy/loop';
export { observeSnapshot } from './snapshot';
export { placeRings, readClock, ringHeads, ringProvided, ringSubmissions, startRing } from './uring/ring';

/** Takes the memory over, after its Header was written. 0, or 1 when header and module are of different versions. */
export function start(): u32 {
  if (load<u32>(HEADER_OFFSET + HEADER_LAYOUT_VERSION) != LAYOUT_VERSION) return 1;
  store<u32>(HEADER_OFFSET + HEADER_OPTION_ON, 1);
  store<u32>(HEADER_OFFSET + HEADER_OPTION_PORTS, OPTION_PORTS);
  store<u64>(HEADER_OFFSET + HEADER_RANDOM_STATE, <u64>header().randomSeed * 0x9e3779b97f4a7c15 + 1);
  attachTable();
  attachAdmission();
  attachClientIds();
  attachHooks();
  observeSnapshot();
  return 0;
}

/** Address of the slot's Eviction: what takeEviction found for it, but for slot and generation. */
export function evictionAddress(slot: u32): usize {
  return changetype<usize>(evictionOf(slot));
}

/** Address of the slot's Cold line. */
export function coldAddress(slot: u32): usize {
  return changetype<usize>(cold(slot));
}
