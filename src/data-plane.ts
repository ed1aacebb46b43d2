// The data plane as the control plane and the engines see it: tidegate.wasm over one worker's memory.
import { compile, instantiate } from './wasm.ts';

/** What the data plane exports to the control plane and to the portable engine. Addresses are offsets in its memory. */
export interface DataPlane {
  /** After header, settings and regions are written. 0, or an error number. */
  start(): number;
  /** A slot, or NONE when the table is full. Sets the time of opening and counts the connection. */
  connectionOpen(listener: number): number;
  /** Address of the slot's Cold: the engine writes the peer's sockaddr before it asks for a decision. */
  coldAddress(slot: number): number;
  /**
   * The peer's sockaddr is written: VERDICT_MORE, VERDICT_HEADER when connectionHeader comes before the decision, or
   * VERDICT_REFUSE.
   */
  connectionArrived(slot: number): number;
  /** After that: a slot that is to be closed, since too many of the listener's are half open; NONE: they aren't. */
  connectionCrowdedOut(listener: number): number;
  /** Instead of connectionArrived, when a proxy has brought it and will tell whose it is; connectionRenamed follows. */
  connectionBrought(slot: number): number;
  /** Another peer's sockaddr is to be written: the connection counts for its source no more. */
  connectionUnnamed(slot: number): void;
  /** Whose connection it is is known: VERDICT_MORE or VERDICT_REFUSE. */
  connectionRenamed(slot: number): number;
  /** How many of the client's first bytes are a front's PROXY header; 0: it isn't whole, NONE: the slot is refused. */
  connectionHeader(slot: number, bytes: number, length: number): number;
  /** VERDICT_*. `bytes` holds all that the client sent so far behind the header, `front` its Front block, if there is one. */
  connectionDecide(slot: number, bytes: number, length: number, front?: number): number;
  /**
   * Instead, when the client speaks TLS to a backend of that pool, an id: VERDICT_DIAL, VERDICT_QUEUE or
   * VERDICT_REFUSE.
   */
  connectionRouted(slot: number, pool: number, front: number): number;
  /** After VERDICT_REWRITTEN, when that CONNECT is in its place: what else VERDICT_* can be. `front`: as before. */
  connectionAdmit(slot: number, front?: number): number;
  /** After VERDICT_ASK: how long its hook may take to decide. */
  hookTimeoutMs(slot: number): number;
  /** The slot of the next connection whose hook has decided, NONE when there is none. */
  takeDecision(): number;
  /** What that means, VERDICT_*; parameters as for connectionDecide, with the rewritten CONNECT in its place. */
  connectionDecided(slot: number, bytes: number, length: number, front?: number): number;
  /** Its hook has taken too long: the same. */
  connectionUndecided(slot: number): number;
  /** Where the CONNECT lies, how long it is, and how long is the one whose place it takes; until the next decision. */
  rewrittenAddress(): number;
  rewrittenBytes(): number;
  replacedBytes(): number;
  /** After a dial that failed: VERDICT_DIAL, VERDICT_QUEUE or VERDICT_REFUSE. */
  connectionNext(slot: number): number;
  /** After a dial that found no port left at its source: the same. */
  connectionOutOfPorts(slot: number): number;
  /** The next slot whose wait is over, NONE when there is none. Due until it says so, at every turn while anybody waits. */
  connectionRelease(): number;
  /** What is to be done with it: VERDICT_DIAL or VERDICT_REFUSE. */
  connectionReleased(slot: number): number;
  /** The slot has waited for queueLeftMs: VERDICT_*, VERDICT_QUEUE when it waits for something else now. */
  connectionWaited(slot: number): number;
  /** The client has left, or is refused. */
  connectionLeaveQueue(slot: number): void;
  /** How long the slot may wait. */
  queueLeftMs(slot: number): number;
  /** Until somebody's turn comes; NONE when nobody waits for a time. */
  releaseDueMs(): number;
  /** A dial succeeded, and CONNECT is about to be sent. */
  connectionConnected(slot: number): void;
  /** The backend has taken the CONNECT. */
  connectionDialled(slot: number): void;
  /** Address of the chosen Member, valid until the next observeSnapshot. */
  memberAddress(slot: number): number;
  /** PROXY_PROTOCOL_* of the pool that it belongs to. */
  proxyProtocol(slot: number): number;
  /**
   * Writes the PROXY header for it to `out`, PROXY_HEADER_BYTES_MAX long; returns its bytes. `local`: the sockaddr that the
   * client has connected to, 0 for the listener's; `tlvs`: whole TLVs.
   */
  connectionGreeting(slot: number, local: number, tlvs: number, tlvBytes: number, out: number): number;
  /** Address of the Source to dial it from, valid as long; 0 when the system chooses. */
  sourceAddress(slot: number): number;
  /** From accept to a complete CONNECT. */
  connectTimeoutMs(slot: number): number;
  /** For one dial. */
  dialTimeoutMs(slot: number): number;
  /** The backend's first bytes, which may name another keep alive. */
  connectionAnswered(slot: number, bytes: number, length: number): void;
  /** The client has sent all that it will. */
  connectionClientEnded(slot: number): void;
  /** Milliseconds that the client may be silent before it is closed for idleReason; 0: for ever. */
  idleLimitMs(slot: number): number;
  idleReason(slot: number): number;
  /** Writes the refusal for the slot's reason to `out`, REFUSAL_BYTES_MAX long; returns its bytes, 0 for none. */
  connectionRefusal(slot: number, out: number): number;
  /** A side's next bytes: follows where in a packet they end. 0 is the client's side, 1 the backend's. */
  connectionFramed(slot: number, side: number, bytes: number, length: number): void;
  /** The slot of the next connection that has to go, NONE when there is none. */
  takeEviction(): number;
  /** Address of its Eviction, whose slot and generation mean nothing. */
  evictionAddress(slot: number): number;
  /** Of a connection that has to go: not 0 when the side stands where it may be cut. */
  connectionMayCut(slot: number, side: number): number;
  /** The same, where it may not: how many of these next bytes still have to be passed on. */
  connectionRest(slot: number, side: number, bytes: number, length: number): number;
  /** Writes the client's DISCONNECT, at most `room` bytes; returns how many, 0 when it gets none. */
  connectionFarewell(slot: number, out: number, room: number): number;
  /** Not 0 when the backend gets a DISCONNECT in the client's name. */
  connectionSaysGoodbye(slot: number): number;
  /** Its backend has ended: how many milliseconds its client still keeps its connection. */
  connectionOrphaned(slot: number): number;
  /** Adds to the byte counters. */
  connectionMoved(slot: number, fromClient: number, toClient: number): void;
  /** Writes the access record, with the Front block, and frees the slot. A reason that a refusal set before wins. */
  connectionClose(slot: number, reason: number, front?: number): void;
  /** Adopts a newer snapshot if there is one. Due at every turn. */
  observeSnapshot(): void;
  /** Closes every open slot of a worker that died. */
  sweep(reason: number): void;
  /** The uring engine: splits the rings region; the next three then say where its parts lie. */
  placeRings(): void;
  ringHeads(): number;
  ringSubmissions(): number;
  ringProvided(): number;
  /** After the ring was set up there. */
  startRing(): void;
  /** The time at HEADER_NOW becomes that of this turn. */
  readClock(): void;
  /** Returns when stopped or drained: startLoop, then turn until it says false. */
  run(): void;
  startLoop(): void;
  turn(): number;
}

export interface DataPlaneImports {
  /** io_uring_enter, for the uring engine. Negative: -errno. */
  enter(...parameters: number[]): number;
  /** Gives whole pages back to the system: [offset, offset + bytes). */
  release(...parameters: number[]): void;
}

/** The data plane's module, to be compiled once and sent to every worker. */
export function compileDataPlane(): WebAssembly.Module {
  return compile('tidegate.wasm');
}

/** An instance over one worker's memory. Any number of instances may share it: each writes the same constants again. */
export function loadDataPlane(
  memory: WebAssembly.Memory,
  module: WebAssembly.Module,
  ring: DataPlaneImports = { enter: neverEntered, release: neverEntered },
): DataPlane {
  const plane = instantiate<DataPlane>(module, { env: { memory }, ring: { ...ring } });
  // WebAssembly hands an i32 to JavaScript with a sign; slots and addresses have none.
  return {
    ...plane,
    connectionOpen: (listener) => plane.connectionOpen(listener) >>> 0,
    connectionCrowdedOut: (listener) => plane.connectionCrowdedOut(listener) >>> 0,
    connectionHeader: (slot, bytes, length) => plane.connectionHeader(slot, bytes, length) >>> 0,
    connectionOrphaned: (slot) => plane.connectionOrphaned(slot) >>> 0,
    rewrittenAddress: () => plane.rewrittenAddress() >>> 0,
    takeEviction: () => plane.takeEviction() >>> 0,
    takeDecision: () => plane.takeDecision() >>> 0,
    evictionAddress: (slot) => plane.evictionAddress(slot) >>> 0,
    coldAddress: (slot) => plane.coldAddress(slot) >>> 0,
    memberAddress: (slot) => plane.memberAddress(slot) >>> 0,
    sourceAddress: (slot) => plane.sourceAddress(slot) >>> 0,
    connectionRelease: () => plane.connectionRelease() >>> 0,
    releaseDueMs: () => plane.releaseDueMs() >>> 0,
  };
}

/** The same, and takes the memory over: for the worker that lives on it. */
export function startDataPlane(...parts: Parameters<typeof loadDataPlane>): DataPlane {
  const plane = loadDataPlane(...parts);
  if (plane.start() !== 0) throw new Error('tidegate.wasm is of another version than the program: build it again');
  return plane;
}

function neverEntered(): never {
  throw new Error('there is no ring to enter');
}
