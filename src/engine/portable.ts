// The engine for every machine: node:net carries the bytes, the data plane decides. The life of a connection, in the
// order in which it is lived:
//
//   (ENTERING ──►)
//   READING ── dial ──► DIALLING ── CONNECT sent ──► OPEN ──► CLOSING       (or LEAVING, when it was evicted)
//      │ │                ▲ │
//      │ ├────► QUEUED ◄──┴─┤
//      │ └─ ASKING ─► dial, QUEUED or refused
//      │           │        │
//      └──── refused ───────┴──────► CLOSING (the CONNACK lingers)
//
// ENTERING is a client that stands in a front door of its listener: what comes out of that is a byte stream as the socket
// was, and all that is known here of what was done to it. The other phases are the data plane's, which draws its own life
// in assembly/proxy/table.ts; DIALLING here includes its GREETING, CLOSING its REFUSING.
//
// A connection has no closures of its own but the one that waits for the CONNECT to be sent: the handlers are shared,
// and find their connection on the socket. Memory is bounded by not reading: a side whose bytes the other one doesn't
// take (write() answers false) is paused until they are gone, so at most a stream's high-water mark and one read
// (64 KiB each) wait per direction.
//
// Each connection has one timer, which is set again only for an earlier time: most lives pay for one, and a long one for
// a look now and then. When it fires, what has arrived meanwhile is read first: a worker that was kept from its CPU finds
// both waiting, and must not blame its clients for its own delay.
import { Socket, type SocketConstructorOpts } from 'node:net';
import {
  COLD_BACKEND,
  COLD_FRAMING,
  COLD_LISTENER,
  COLD_PEER,
  CONNECT_BYTES_LIMIT,
  CONTROL_DRAIN,
  CONTROL_RUN,
  CONTROL_WAIT,
  COUNTERS_ACCEPT_ERRORS,
  COUNTERS_BYTES,
  COUNTERS_REASONS,
  COUNTERS_TLS_HANDSHAKES,
  COUNTERS_TLS_RESUMED,
  EVICTION_ABRUPT,
  EVICTION_FLAGS,
  EVICTION_REASON,
  FRAMING_UNKNOWN,
  HEADER_CLOCK_MS,
  HEADER_REGION_COUNTERS,
  HEADER_REGION_SCRATCH,
  HEADER_STATE,
  LINGER_MS,
  MEMBER_SOCKADDR,
  NONE,
  PROXY_HEADER_BYTES_MAX,
  PROXY_PROTOCOL_OFF,
  REASON_BACKEND_CLOSED,
  REASON_BACKEND_RESET,
  REASON_BACKEND_STALLED,
  REASON_CLIENT_CLOSED,
  REASON_CLIENT_LEFT_EARLY,
  REASON_CLIENT_LEFT_HOOK,
  REASON_CLIENT_LEFT_QUEUE,
  REASON_CLIENT_RESET,
  REASON_CLIENT_STALLED,
  REASON_CONNECT_TIMEOUT,
  REASON_CONNECTIONS_MAX,
  REASON_HALF_OPEN,
  REASON_INTERNAL,
  REASON_NONE,
  REASON_SHUTDOWN,
  SCRATCH_FRONT,
  SOCKADDR_BYTES_MAX,
  SOURCE_SOCKADDR,
  SOURCE_SOCKADDR_BYTES,
  STALL_MS,
  STATE_READY,
  STATE_RUNNING,
  STATE_STOPPED,
  VERDICT_ASK,
  VERDICT_DIAL,
  VERDICT_MORE,
  VERDICT_QUEUE,
  VERDICT_REFUSE,
  VERDICT_REWRITTEN,
} from '../../assembly/layout.ts';
import { type BackendTls, secure, tlsFault } from '../backend-tls.ts';
import { type DataPlane, startDataPlane } from '../data-plane.ts';
import type { Door, Known } from '../front/door.ts';
import { Doors } from '../front/doors.ts';
import { encodeFront } from '../front/front-block.ts';
import type { FrontInfo } from '../front/front-info.ts';
import { encodeTlvs } from '../front/proxy-tlvs.ts';
import { controlWord, headerClocks, headerWords, regionOffset, startClock } from '../header.ts';
import { boundSocket } from '../system/libc.ts';
import { decodeSockaddr, encodeSockaddr, SOCKADDR_IN_BYTES } from '../system/sockaddr.ts';
import type { WorkerStart } from './engine.ts';
import { Servers } from './servers.ts';

/** Snapshots must be seen, so that the halves they left can be written again, even while nobody connects. */
const IDLE_TURN_MS = 100;
/** While a dial is under way this much is read ahead, since only reading shows that the client has left. */
const EARLY_BYTES_MAX = 64 * 1024;

const READ_BYTES = 64 * 1024;
/** More than a DISCONNECT with the longest server reference. */
const FAREWELL_BYTES_MAX = 512;
/** DISCONNECT of every version, without more. */
const GOODBYE = Buffer.of(0xe0, 0);

/** The sides as the data plane numbers them. */
const CLIENT = 0;
const BACKEND = 1;

const READING = 0; // the CONNECT isn't complete
const QUEUED = 1; // until it may be dialled
const DIALLING = 2; // until the CONNECT was handed to a backend's socket
const OPEN = 3;
const CLOSING = 4; // what the client still sends is dropped
const LEAVING = 5; // evicted: nothing more is passed on, what waits goes out, then a last word
const ENTERING = 6; // in a front door
const ASKING = 7; // until its listener's hook has decided

/** Serves the listeners until the control word says otherwise and the last connection is gone. */
export async function runPortable(start: WorkerStart): Promise<void> {
  const engine = new PortableEngine(start);
  engine.setState(STATE_READY);
  await engine.turnWhile(CONTROL_WAIT);
  await engine.servers.open();
  engine.setState(STATE_RUNNING);
  await engine.turnWhile(CONTROL_RUN);
  engine.servers.close();
  await engine.turnWhile(CONTROL_DRAIN);
  closeAll(engine);
  while (engine.connectionCount > 0) await engine.turn();
  engine.setState(STATE_STOPPED);
}

class PortableEngine {
  readonly plane: DataPlane;
  readonly servers: Servers;
  readonly doors: Doors<Connection>;
  /** By slot; see remember(). */
  readonly connections: (Connection | null)[] = [];
  connectionCount = 0;
  /** Offset of the scratch region, where first bytes are gathered for a decision. */
  readonly scratch: number;
  readonly #bytes: Buffer;
  readonly #header: Uint32Array;
  readonly #controlWord: Int32Array;
  readonly #clocks: Float64Array;
  readonly #counters: BigUint64Array;
  /** Fires when somebody's turn comes. */
  #releaseTimer: NodeJS.Timeout | undefined;
  #releaseMs = Number.POSITIVE_INFINITY;

  constructor(start: WorkerStart) {
    const { memory, module } = start;
    this.#bytes = Buffer.from(memory.buffer);
    this.#header = headerWords(memory);
    this.#controlWord = controlWord(memory);
    this.#clocks = headerClocks(memory);
    const counters = regionOffset(memory, HEADER_REGION_COUNTERS);
    this.#counters = new BigUint64Array(memory.buffer, counters, COUNTERS_BYTES / 8);
    this.scratch = regionOffset(memory, HEADER_REGION_SCRATCH);
    startClock(this.#clocks);
    this.plane = startDataPlane(memory, module);
    this.doors = new Doors(start.doors, { onEntered, onDetected, onRouted, onTurnedAway });
    this.servers = new Servers({
      memory,
      onFollow: () => this.doors.follow(),
      onClient: (listener, socket) => accept(this, listener, socket),
      onAcceptError: () => this.count(COUNTERS_ACCEPT_ERRORS),
    });
  }

  /** Before each call into the data plane that looks at the time. Returns it, in milliseconds. */
  readClock(): number {
    const nowMs = performance.now();
    this.#clocks[HEADER_CLOCK_MS / 8] = nowMs;
    return nowMs;
  }

  setState(state: number): void {
    Atomics.store(this.#header, HEADER_STATE / 4, state);
  }

  /** Returns when the control word is another one, or, once it was CONTROL_DRAIN, when nobody is left. */
  async turnWhile(control: number): Promise<void> {
    while (this.#control() === control) {
      if (control === CONTROL_DRAIN && this.connectionCount === 0) return;
      await this.turn();
    }
  }

  // Not a Set: its tables are replaced as it changes, and one that outlives a scavenge holds connections that have ended,
  // which then survive with both their sockets. In churn the heap grew by 1 to 2 MB with each scavenge, and that took 3 to
  // 20 ms; now it is 0.7 ms, and nothing grows (--trace-gc).
  remember(connection: Connection): void {
    while (this.connections.length <= connection.slot) this.connections.push(null);
    this.connections[connection.slot] = connection;
    this.connectionCount += 1;
  }

  forget(slot: number): void {
    this.connections[slot] = null;
    this.connectionCount -= 1;
    if (this.connectionCount === 0) this.wake();
  }

  /** Sleeps until somebody wakes it: the main thread with a new control word, the last connection, or the clock. */
  async turn(): Promise<void> {
    this.readClock();
    this.plane.observeSnapshot();
    await this.servers.follow();
    this.doors.follow(); // they may change alone
    this.#evict();
    this.#obeyHooks();
    this.release();
    const woken = Atomics.waitAsync(this.#controlWord, 0, this.#control(), IDLE_TURN_MS).value;
    // Who was decided on until here found nobody to be woken.
    this.#obeyHooks();
    await woken;
  }

  /** Serves those whose wait is over, and comes back when the next one's is. */
  release(): void {
    this.readClock();
    for (let slot = this.plane.connectionRelease(); slot !== NONE; slot = this.plane.connectionRelease()) {
      obey(this.connections[slot]!, this.plane.connectionReleased(slot));
    }
    const dueMs = this.plane.releaseDueMs();
    if (dueMs !== NONE) this.releaseIn(dueMs);
  }

  /** Due, with 0, whenever somebody begins to wait. */
  releaseIn(delayMs: number): void {
    const timeMs = performance.now() + delayMs;
    if (this.#releaseMs <= timeMs) return;
    clearTimeout(this.#releaseTimer);
    this.#releaseMs = timeMs;
    this.#releaseTimer = setTimeout(() => {
      this.#releaseMs = Number.POSITIVE_INFINITY;
      this.release();
    }, delayMs);
  }

  /** Those whom the main thread wants gone. */
  #evict(): void {
    for (let slot = this.plane.takeEviction(); slot !== NONE; slot = this.plane.takeEviction()) {
      const connection = this.connections[slot];
      if (connection) evict(connection);
    }
  }

  /** Those whose hook has decided. */
  #obeyHooks(): void {
    for (let slot = this.plane.takeDecision(); slot !== NONE; slot = this.plane.takeDecision()) {
      const connection = this.connections[slot];
      if (connection?.phase === ASKING) onDecided(connection);
    }
  }

  wake(): void {
    Atomics.notify(this.#controlWord, 0);
  }

  #control(): number {
    return Atomics.load(this.#controlWord, 0);
  }

  /** For what has no slot, so that the data plane doesn't see it. `counter` is one of COUNTERS_*. */
  count(counter: number): void {
    this.#counters[counter / 8]! += 1n;
  }

  write(offset: number, bytes: Uint8Array): void {
    this.#bytes.set(bytes, offset);
  }

  /** What a client or a backend has sent, where the data plane looks at it; returns where that is. */
  stage(bytes: Uint8Array): number {
    if (bytes.length > CONNECT_BYTES_LIMIT) throw new RangeError(`${bytes.length} bytes at once are too many`);
    this.#bytes.set(bytes, this.scratch);
    return this.scratch;
  }

  /** Until the next call into the data plane. */
  view(offset: number, length: number): Buffer {
    return this.#bytes.subarray(offset, offset + length);
  }

  readWord(offset: number): number {
    return this.#bytes.readUInt32LE(offset);
  }

  writeWord(offset: number, value: number): void {
    this.#bytes.writeUInt32LE(value, offset);
  }
}

class Connection {
  readonly engine: PortableEngine;
  readonly slot: number;
  /** The socket that was accepted, or what a front door made of it. */
  client: Side;
  /** Those that it has still to go through, beginning with the one that it stands in. */
  doors: readonly Door<Connection>[] = [];
  /** What front doors know of the client, for backends that are told; encoded for the data plane. */
  info: FrontInfo = {};
  front: Uint8Array | undefined;
  /** Its peer is another than the one whom the data plane has let in. */
  isNameNew = false;
  /** Id of the pool that gets its TLS; undefined: its CONNECT says where it goes. */
  route: number | undefined;
  backend: Side | null = null;
  /** The last dial failed since its source had no port left. */
  isOutOfPorts = false;
  phase = READING;
  reason = REASON_NONE;
  /** What the client sent before a backend took it: its CONNECT and what followed closely. */
  early: Buffer = EMPTY;
  /** It comes through a front, whose PROXY header isn't there yet. */
  isHeaderDue = false;
  /** The PROXY header for the backend that is being dialled. */
  greeting: Uint8Array = EMPTY;
  /** Sockets whose 'close' is still to come. */
  openSockets = 1;
  readonly acceptedMs: number;
  /** The whole CONNECT is there by then, whatever doors are before it. */
  readonly connectByMs: number;
  /** The one deadline that a phase has: the CONNECT's, a dial's, that of a side which stands still. */
  deadlineMs = Number.POSITIVE_INFINITY;
  timer: NodeJS.Timeout | undefined;
  /** When the timer fires: perhaps before there is anything to do, never after. */
  timerMs = Number.POSITIVE_INFINITY;
  /** What each side's kernel had taken when OPEN was last looked at. */
  clientTook = 0;
  backendTook = 0;
  /** When the client was last heard, or began to be listened to again. */
  clientMs: number;
  /** The backend's first bytes were looked at. */
  isAnswered = false;
  /** The data plane follows where its packets begin and end. */
  isFollowed = true;
  /** It leaves as soon as no packet is cut by it, or has begun to. */
  isLeaving = false;
  /** A peer that hasn't ended its packet by then is parted with in the middle of it. */
  leaveByMs = Number.POSITIVE_INFINITY;
  /** By side: what comes from there is not passed on any more. */
  readonly isCut = [false, false];
  /** Its backend has ended, and it waits for its turn to be closed. */
  isOrphan = false;
  turn: NodeJS.Timeout | undefined;
  /** How many of its sockets have sent all that they will. */
  toldSides = 0;

  constructor(engine: PortableEngine, slot: number, client: Side, nowMs: number) {
    this.engine = engine;
    this.slot = slot;
    this.client = client;
    this.clientMs = nowMs;
    this.acceptedMs = nowMs;
    this.connectByMs = nowMs + engine.plane.connectTimeoutMs(slot);
  }
}

interface Side extends Socket {
  connection: Connection;
}

const EMPTY = Buffer.alloc(0);
// node:net allocates and zeroes a buffer for each read, but for sockets that bring their own: those of the backends, since
// an accepted socket can't. In runs that alternate, 16 KiB messages cost 0.89 and 0.92 of what they cost in a node:net pipe
// (medians), and 0.98 to 1.03 without this (npm run bench -- --scenario bytes-16k).
/** Every backend's socket is read into it, and what came is copied out before another one is. */
const received = Buffer.allocUnsafeSlow(READ_BYTES);
const onread = { buffer: received, callback: onBackendData };
/** What is being written to a client. Who doesn't take all of it at once keeps it, and the others get a new one. */
let passing = Buffer.allocUnsafeSlow(READ_BYTES);
/** A longer delay would be taken for one of a millisecond. */
const TIMEOUT_MS_MAX = 2 ** 31 - 1;
/** A client that has gone already has no address any more. */
const UNKNOWN_PEER = new Uint8Array(SOCKADDR_IN_BYTES);

// ---- The client's first bytes ----------------------------------------------------------------------------------------

// A full table resets the newcomer at once, so that it may try elsewhere: node:net can't leave a connection in the
// kernel's queue but by closing the listener, which would silence the clients that a freed slot could serve.
function accept(engine: PortableEngine, listener: number, socket: Socket): void {
  socket.on('error', onError);
  const doors = engine.doors.of(listener);
  const fullReason = doors[0]?.fullReason ?? null;
  if (fullReason !== null) {
    engine.count(COUNTERS_REASONS + fullReason * 8);
    socket.resetAndDestroy();
    return;
  }
  const nowMs = engine.readClock();
  const slot = engine.plane.connectionOpen(listener);
  if (slot === NONE) {
    engine.count(COUNTERS_REASONS + REASON_CONNECTIONS_MAX * 8);
    socket.resetAndDestroy();
    return;
  }
  const client = socket as Side;
  const connection = new Connection(engine, slot, client, nowMs);
  client.connection = connection;
  engine.remember(connection);
  writePeer(engine, slot, socket);
  const verdict = arrive(connection, listener);
  const oldest = engine.plane.connectionCrowdedOut(listener);
  if (oldest !== NONE) close(engine.connections[oldest]!, REASON_HALF_OPEN);
  if (verdict === VERDICT_MORE) {
    goOn(connection, doors);
    return;
  }
  if (verdict === VERDICT_REFUSE) {
    client.on('close', onClientClose);
    refuse(connection);
    return;
  }
  // A front says who it is before anything else.
  connection.doors = doors;
  connection.isHeaderDue = true;
  listen(connection);
}

/** VERDICT_*. Who only brings others is looked at when it has said whom. */
function arrive(connection: Connection, listener: number): number {
  const { engine, slot, client } = connection;
  connection.isNameNew = engine.doors.isProxy(listener, client.remoteAddress ?? '');
  if (!connection.isNameNew) return engine.plane.connectionArrived(slot);
  return engine.plane.connectionBrought(slot);
}

/** Through its listener's doors, then to its CONNECT. */
function goOn(connection: Connection, doors: readonly Door<Connection>[]): void {
  const { engine, slot, client } = connection;
  const [door] = doors;
  connection.doors = doors;
  connection.phase = door === undefined ? READING : ENTERING;
  if (door === undefined) {
    listen(connection);
    if (connection.isNameNew && engine.plane.connectionRenamed(slot) === VERDICT_REFUSE) refuse(connection);
    return;
  }
  client.on('close', onEntrantClose);
  armUntil(connection, Math.min(connection.connectByMs, connection.acceptedMs + door.timeoutMs));
  // Behind a front's header, or another door, nobody has asked yet.
  if (door.fullReason === null) door.enter(client, connection);
  else close(connection, door.fullReason);
}

function onEntered(connection: Connection, stream: Socket, known: Known): void {
  const { engine, client: socket, phase } = connection;
  if (phase !== ENTERING) return; // it is being closed, and the stream with it
  socket.off('close', onEntrantClose);
  const client = stream as Side;
  client.connection = connection;
  client.on('error', onError);
  connection.client = client;
  connection.info = { ...connection.info, ...known.info };
  connection.front = encodeFront(connection.info);
  if (known.info.tls !== undefined) engine.count(COUNTERS_TLS_HANDSHAKES);
  if (known.isResumed) engine.count(COUNTERS_TLS_RESUMED);
  if (known.clientBehind !== undefined) rename(connection, known.clientBehind);
  goOn(connection, connection.doors.slice(1));
}

function hostOf({ engine, slot }: Connection): string {
  return decodeSockaddr(engine.view(engine.plane.coldAddress(slot) + COLD_PEER, SOCKADDR_BYTES_MAX)).host;
}

/** From here on everything knows the client by the address that its proxies have told. */
function rename(connection: Connection, clientBehind: (peer: string) => string): void {
  const { engine, slot } = connection;
  const host = hostOf(connection);
  const client = clientBehind(host);
  if (client === host) return;
  engine.plane.connectionUnnamed(slot);
  engine.write(engine.plane.coldAddress(slot) + COLD_PEER, encodeSockaddr(client, 0));
  connection.isNameNew = true;
}

function onDetected(connection: Connection, doors: readonly Door<Connection>[]): void {
  if (connection.phase !== ENTERING) return;
  connection.client.off('close', onEntrantClose);
  goOn(connection, doors);
}

/** Nothing of MQTT is seen of it: neither a CONNECT nor what answers that. */
function onRouted(connection: Connection, pool: number, sni: string | undefined): void {
  if (connection.phase !== ENTERING) return;
  connection.client.off('close', onEntrantClose);
  connection.info = sni === undefined ? {} : { sni };
  connection.front = encodeFront(connection.info);
  connection.route = pool;
  connection.isAnswered = true;
  connection.isFollowed = false;
  goOn(connection, []);
}

/** The door says its word, and closes. */
function onTurnedAway(connection: Connection, reason: number, error: string): void {
  if (connection.phase !== ENTERING) return;
  connection.engine.plane.connectionLeaveQueue(connection.slot);
  connection.phase = CLOSING;
  connection.reason ||= reason;
  connection.front = encodeFront({}, error);
  arm(connection, LINGER_MS);
}

function onEntrantClose(this: Side): void {
  const { connection } = this;
  connection.openSockets -= 1;
  if (connection.phase === ENTERING) close(connection, connection.doors[0]!.leftReason);
  forget(connection);
}

/** For its CONNECT. */
function listen(connection: Connection): void {
  const { client, connectByMs } = connection;
  client.on('data', onClientData);
  client.on('end', onClientEnd);
  client.on('drain', onClientDrain);
  client.on('close', onClientClose);
  client.resume(); // bytes that were looked at already stand in it
  armUntil(connection, connectByMs);
}

/** What it has said and nobody has heard is there for whoever listens next. */
function stopListening({ client }: Connection, unheard: Buffer): void {
  client.off('data', onClientData);
  client.off('end', onClientEnd);
  client.off('drain', onClientDrain);
  client.off('close', onClientClose);
  client.pause();
  if (unheard.length > 0) client.unshift(unheard);
}

function writePeer(engine: PortableEngine, slot: number, { remoteAddress, remotePort }: Socket): void {
  const known = remoteAddress !== undefined && remotePort !== undefined;
  const address = known ? encodeSockaddr(remoteAddress, remotePort) : UNKNOWN_PEER;
  const cold = engine.plane.coldAddress(slot);
  engine.write(cold + COLD_PEER, address);
}

/** What a front says before its client speaks is its own: it is neither counted nor passed on. */
function onHeaderBytes(connection: Connection, bytes: Buffer): void {
  const { engine, slot, early, client } = connection;
  const all = early.length === 0 ? bytes : Buffer.concat([early, bytes]);
  const length = Math.min(all.length, PROXY_HEADER_BYTES_MAX);
  engine.stage(all.subarray(0, length));
  const headerBytes = engine.plane.connectionHeader(slot, engine.scratch, length);
  if (headerBytes === NONE) {
    refuse(connection);
    return;
  }
  connection.early = headerBytes === 0 ? all : EMPTY;
  if (headerBytes === 0) return;
  connection.isHeaderDue = false;
  const [listener] = engine.view(engine.plane.coldAddress(slot) + COLD_LISTENER, 1);
  connection.isNameNew = engine.doors.isProxy(listener!, hostOf(connection));
  if (!connection.isNameNew && engine.plane.connectionRenamed(slot) === VERDICT_REFUSE) {
    refuse(connection);
    return;
  }
  const rest = all.subarray(headerBytes);
  if (connection.doors.length > 0) {
    stopListening(connection, rest);
    goOn(connection, connection.doors);
  } else if (rest.length > 0) onClientData.call(client, rest);
}

function gather(connection: Connection, bytes: Buffer): void {
  const { early, phase, client } = connection;
  connection.early = early.length === 0 ? bytes : Buffer.concat([early, bytes]);
  if (phase === READING) decide(connection);
  else if (connection.early.length >= EARLY_BYTES_MAX) client.pause();
}

function decide(connection: Connection): void {
  const { engine, slot, early, route } = connection;
  const length = stageEarly(engine, early);
  engine.readClock();
  engine.plane.observeSnapshot();
  if (route === undefined)
    go(connection, engine.plane.connectionDecide(slot, engine.scratch, length, writeFront(connection)));
  else obey(connection, engine.plane.connectionRouted(slot, route, writeFront(connection)));
}

function onDecided(connection: Connection): void {
  const { engine, slot, early } = connection;
  const length = stageEarly(engine, early);
  go(connection, engine.plane.connectionDecided(slot, engine.scratch, length, writeFront(connection)));
}

/** Returns how many bytes of it. */
function stageEarly(engine: PortableEngine, early: Buffer): number {
  const length = Math.min(early.length, CONNECT_BYTES_LIMIT);
  engine.stage(early.subarray(0, length));
  return length;
}

function go(connection: Connection, verdict: number): void {
  const { engine, slot } = connection;
  connection.isFollowed = engine.readWord(engine.plane.coldAddress(slot) + COLD_FRAMING) !== FRAMING_UNKNOWN;
  obey(connection, verdict === VERDICT_REWRITTEN ? putRewritten(connection) : verdict);
}

/** The rewritten CONNECT takes the place of the client's; what came behind that follows. */
function putRewritten(connection: Connection): number {
  const { plane } = connection.engine;
  const rewritten = connection.engine.view(plane.rewrittenAddress(), plane.rewrittenBytes());
  connection.early = Buffer.concat([rewritten, connection.early.subarray(plane.replacedBytes())]);
  return plane.connectionAdmit(connection.slot, writeFront(connection));
}

/** Returns where it is now, 0 when there is none. */
function writeFront({ engine, front }: Connection): number {
  if (front === undefined) return 0;
  engine.write(engine.scratch + SCRATCH_FRONT, front);
  return engine.scratch + SCRATCH_FRONT;
}

function obey(connection: Connection, verdict: number): void {
  if (verdict === VERDICT_MORE) return;
  if (verdict === VERDICT_DIAL) dial(connection);
  else if (verdict === VERDICT_QUEUE) wait(connection);
  else if (verdict === VERDICT_ASK) waitForHook(connection);
  else refuse(connection);
}

/** Held as in the queue. */
function waitForHook(connection: Connection): void {
  const { engine, slot, client } = connection;
  connection.phase = ASKING;
  if (client.readableEnded) close(connection, REASON_CLIENT_LEFT_HOOK);
  else arm(connection, engine.plane.hookTimeoutMs(slot));
}

/** What it sends meanwhile is held, up to EARLY_BYTES_MAX. */
function wait(connection: Connection): void {
  const { engine, slot, client } = connection;
  connection.phase = QUEUED;
  if (client.readableEnded) {
    close(connection, REASON_CLIENT_LEFT_QUEUE);
    return;
  }
  arm(connection, engine.plane.queueLeftMs(slot));
  engine.releaseIn(0);
}

// Closing a socket that holds unread bytes sends a reset, which would overtake the CONNACK: so what the client still
// sends is read and dropped, until it closes or has had its time.
function refuse(connection: Connection): void {
  const { engine, slot, client } = connection;
  const length = engine.plane.connectionRefusal(slot, engine.scratch);
  engine.plane.connectionLeaveQueue(slot);
  connection.phase = CLOSING;
  connection.early = EMPTY;
  disarm(connection);
  if (length === 0) {
    client.destroy();
    return;
  }
  engine.plane.connectionMoved(slot, 0, length);
  client.write(Buffer.from(engine.view(engine.scratch, length))); // the stream may hold it for long
  linger(connection, client);
}

/** Sends what is queued and FIN, reads on without listening, and in the end doesn't wait for the other end's FIN. */
function linger(connection: Connection, socket: Side): void {
  arm(connection, STALL_MS);
  socket.end(() => {
    if (!socket.destroyed) arm(connection, LINGER_MS);
  });
  socket.resume();
}

// ---- The backend's turn ----------------------------------------------------------------------------------------------

function dial(connection: Connection): void {
  const { engine, slot } = connection;
  const member = engine.plane.memberAddress(slot);
  const { host, port } = decodeSockaddr(engine.view(member + MEMBER_SOCKADDR, SOCKADDR_BYTES_MAX));
  const tls = engine.doors.backendTls(backendId(connection));
  const socket = openSocket(engine, engine.plane.sourceAddress(slot), tls === undefined ? { onread } : {}) as Side;
  if (!socket.destroyed) socket.connect({ host, port }).setNoDelay();
  connection.isOutOfPorts = false;
  connection.greeting = greetingOf(connection);
  connection.phase = DIALLING;
  const backend = tls === undefined || socket.destroyed ? socket : secureSide(connection, socket, tls);
  backend.connection = connection;
  connection.backend = backend;
  connection.openSockets += 1;
  backend.on(tls === undefined ? 'connect' : 'secureConnect', onBackendConnect);
  backend.on('end', onBackendEnd);
  backend.on('drain', onBackendDrain);
  backend.on('error', onBackendError);
  backend.on('close', onBackendClose);
  arm(connection, engine.plane.dialTimeoutMs(slot));
}

/** The PROXY header is for whoever ends TLS, so it comes before that. */
function secureSide(connection: Connection, socket: Side, tls: BackendTls): Side {
  const { greeting } = connection;
  socket.connection = connection;
  socket.on('error', onBackendError);
  if (greeting.length > 0) socket.once('connect', () => socket.write(greeting));
  connection.greeting = EMPTY;
  const backend = secure(socket, tls) as Socket as Side;
  return backend.on('data', onBackendBytes);
}

function backendId({ engine, slot }: Connection): number {
  return engine.readWord(engine.plane.coldAddress(slot) + COLD_BACKEND);
}

function greetingOf({ engine, slot, client, info }: Connection): Uint8Array {
  const { plane, scratch } = engine;
  if (plane.proxyProtocol(slot) === PROXY_PROTOCOL_OFF) return EMPTY;
  const { localAddress, localPort } = client;
  const isKnown = localAddress !== undefined && localPort !== undefined;
  if (isKnown) engine.write(scratch, encodeSockaddr(localAddress, localPort));
  const tlvs = encodeTlvs(info);
  const tlvsAt = scratch + SOCKADDR_BYTES_MAX;
  engine.write(tlvsAt, tlvs);
  const out = tlvsAt + tlvs.length;
  const length = plane.connectionGreeting(slot, isKnown ? scratch : 0, tlvsAt, tlvs.length, out);
  return Buffer.from(engine.view(out, length));
}

// Given a local address, node:net would bind to it at once, and with it to a port that then serves no other connection,
// whichever backend that goes to. So the socket is made and bound here, and node:net connects it.
function openSocket(engine: PortableEngine, source: number, options: SocketConstructorOpts): Socket {
  if (source === 0) return new Socket({ allowHalfOpen: true, ...options });
  try {
    const bytes = engine.readWord(source + SOURCE_SOCKADDR_BYTES);
    const fd = boundSocket(engine.view(source + SOURCE_SOCKADDR, bytes));
    return new Socket({ fd, allowHalfOpen: true, ...options });
  } catch (error) {
    return new Socket().destroy(error as Error); // fails as a connect does: a little later
  }
}

/** 'close' follows. */
function onBackendError(this: Side, error: NodeJS.ErrnoException): void {
  const { connection } = this;
  connection.isOutOfPorts = error.code === 'EADDRNOTAVAIL' || error.code === 'EADDRINUSE';
  const fault = tlsFault(error) ?? handshakeFault(connection, error);
  if (fault === undefined || connection.phase === CLOSING) return;
  connection.engine.doors.report({ backend: backendId(connection), fault });
}

/** A port that doesn't speak TLS ends what it can't understand. */
function handshakeFault(connection: Connection, { code }: NodeJS.ErrnoException): string | undefined {
  const isShaking = connection.phase === DIALLING && connection.engine.doors.backendTls(backendId(connection));
  return isShaking && code === 'ECONNRESET' ? 'it closed in the handshake: does this port speak TLS?' : undefined;
}

// A backend that resets before the kernel took the CONNECT has done nothing with it, so the next one may have it.
function onBackendConnect(this: Side): void {
  const { connection } = this;
  if (connection.phase === DIALLING) onConnected(connection);
  const { greeting, early } = connection;
  // One write, and so, as a rule, one segment.
  this.write(greeting.length === 0 ? early : Buffer.concat([greeting, early]), (error) => {
    if (!error && connection.phase === DIALLING) establish(connection, this);
  });
  // Nearly always the kernel has taken it by now, and the call comes before anything else can be read.
  if (this.writableLength > 0) connection.client.pause();
}

function onConnected({ engine, slot }: Connection): void {
  engine.readClock();
  engine.plane.connectionConnected(slot);
}

function establish(connection: Connection, backend: Side): void {
  const { engine, slot, client } = connection;
  disarm(connection);
  connection.phase = OPEN;
  connection.early = EMPTY;
  engine.plane.connectionDialled(slot);
  listenAgain(connection);
  if (client.readableEnded) finish(connection, backend, REASON_CLIENT_CLOSED);
  else armSilence(connection);
}

function tryNext(connection: Connection): void {
  const { engine, slot } = connection;
  disarm(connection);
  connection.backend = null;
  listenAgain(connection);
  engine.readClock();
  engine.plane.observeSnapshot();
  const { plane } = engine;
  obey(connection, connection.isOutOfPorts ? plane.connectionOutOfPorts(slot) : plane.connectionNext(slot));
}

// ---- Both ways -------------------------------------------------------------------------------------------------------

function onClientData(this: Side, arrived: Buffer): void {
  const { connection } = this;
  if (connection.phase === CLOSING || connection.phase === LEAVING) return;
  connection.clientMs = performance.now();
  if (connection.isHeaderDue) {
    onHeaderBytes(connection, arrived);
    return;
  }
  const bytes = connection.isLeaving ? cutAfterPacket(connection, CLIENT, arrived) : arrived;
  if (bytes.length === 0) return;
  connection.engine.plane.connectionMoved(connection.slot, bytes.length, 0);
  follow(connection, CLIENT, bytes);
  if (connection.phase !== OPEN) gather(connection, bytes);
  else if (connection.isOrphan && connection.backend!.destroyed) return;
  else if (!connection.backend!.write(bytes)) throttle(this);
  if (connection.isLeaving) leaveIfCut(connection);
}

function onBackendData(this: Side, length: number): boolean {
  onBackendBytes.call(this, received.subarray(0, length));
  return true;
}

function onBackendBytes(this: Side, arrived: Buffer): void {
  const { connection } = this;
  // It talks before it has taken the whole CONNECT. Once the client has heard it, there is no other backend for it.
  if (connection.phase === DIALLING) establish(connection, this);
  if (connection.phase !== OPEN) return;
  const bytes = connection.isLeaving ? cutAfterPacket(connection, BACKEND, arrived) : arrived;
  if (bytes.length === 0) return;
  if (!connection.isAnswered) onAnswered(connection, bytes);
  connection.engine.plane.connectionMoved(connection.slot, 0, bytes.length);
  follow(connection, BACKEND, bytes);
  if (!writeCopy(connection, bytes)) throttle(this);
  if (connection.isLeaving) leaveIfCut(connection);
}

/** Tells the data plane what has come from a side: it keeps where in a packet that ends. */
function follow({ engine, slot, isFollowed }: Connection, side: number, bytes: Uint8Array): void {
  if (!isFollowed) return;
  engine.stage(bytes);
  engine.plane.connectionFramed(slot, side, engine.scratch, bytes.length);
}

/** As client.write does, with bytes that are overwritten as soon as this returns. */
function writeCopy({ client, front }: Connection, bytes: Uint8Array): boolean {
  // What a front door made of the socket never takes bytes at once.
  if (client.writableLength > 0 || front !== undefined) return client.write(Buffer.from(bytes));
  passing.set(bytes);
  const flows = client.write(passing.subarray(0, bytes.length));
  if (client.writableLength > 0) passing = Buffer.allocUnsafeSlow(READ_BYTES);
  return flows;
}

// The first bytes may name another keep alive than the client's own.
function onAnswered(connection: Connection, bytes: Buffer): void {
  const { engine, slot } = connection;
  const length = Math.min(bytes.length, CONNECT_BYTES_LIMIT);
  connection.isAnswered = true;
  engine.stage(bytes.subarray(0, length));
  engine.readClock();
  engine.plane.connectionAnswered(slot, engine.scratch, length);
  armSilence(connection);
}

function throttle(source: Side): void {
  source.pause();
  watch(source.connection);
}

function onClientDrain(this: Side): void {
  this.connection.backend?.resume();
}

function onBackendDrain(this: Side): void {
  listenAgain(this.connection);
}

/** While it wasn't read, the client could not be heard: its silence begins now. */
function listenAgain(connection: Connection): void {
  if (!connection.client.isPaused()) return;
  connection.clientMs = performance.now();
  connection.client.resume();
}

// ---- Evicted ---------------------------------------------------------------------------------------------------------

function evict(connection: Connection): void {
  const { phase } = connection;
  if (phase === CLOSING) return;
  const { reason, isAbrupt } = evictionOf(connection);
  if (isAbrupt) {
    evictAtOnce(connection, reason);
  } else if (phase === OPEN) {
    connection.isLeaving = true;
    const nowMs = performance.now();
    connection.leaveByMs = nowMs + STALL_MS;
    wakeAt(connection, connection.leaveByMs, nowMs);
    leaveIfCut(connection);
  }
}

function evictionOf({ engine, slot }: Connection): { reason: number; isAbrupt: boolean } {
  const word = engine.readWord(engine.plane.evictionAddress(slot) + EVICTION_REASON);
  const flags = word >>> (8 * (EVICTION_FLAGS - EVICTION_REASON));
  return { reason: word & 0xffff, isAbrupt: (flags & EVICTION_ABRUPT) !== 0 };
}

/** Its backend is dead. A client that can be told is told, any other is closed. */
function evictAtOnce(connection: Connection, reason: number): void {
  if (connection.phase !== OPEN || !sayFarewell(connection)) {
    close(connection, reason);
    return;
  }
  connection.backend!.destroy();
  leave(connection, reason);
}

/** What of these bytes still goes to the other side: the rest of a packet that it has got the beginning of. */
function cutAfterPacket({ engine, slot, isCut }: Connection, side: number, bytes: Buffer): Buffer {
  if (isCut[side]) return EMPTY;
  engine.stage(bytes);
  return bytes.subarray(0, engine.plane.connectionRest(slot, side, engine.scratch, bytes.length));
}

// Each direction is cut at the end of the packet that it is in. Both leave together: until the slower one is there, what
// comes behind the cut of the other is dropped, as it would be if it came after the end.
function leaveIfCut(connection: Connection): void {
  const { engine, slot, client, backend, isCut } = connection;
  isCut[CLIENT] ||= client.readableEnded || engine.plane.connectionMayCut(slot, CLIENT) !== 0;
  isCut[BACKEND] ||= backend!.readableEnded || engine.plane.connectionMayCut(slot, BACKEND) !== 0;
  if (isCut[CLIENT] && isCut[BACKEND]) sayLastWords(connection);
}

// Nothing is said to a side that waits for the rest of a packet: the data plane sees to that.
function sayLastWords(connection: Connection): void {
  const { engine, slot, backend } = connection;
  sayFarewell(connection);
  if (isWritable(backend!) && engine.plane.connectionSaysGoodbye(slot)) backend!.write(GOODBYE);
  leave(connection, evictionOf(connection).reason);
}

function sayFarewell({ engine, slot, client }: Connection): boolean {
  const { plane, scratch } = engine;
  const length = isWritable(client) ? plane.connectionFarewell(slot, scratch, FAREWELL_BYTES_MAX) : 0;
  if (length === 0) return false;
  plane.connectionMoved(slot, 0, length);
  client.write(Buffer.from(engine.view(scratch, length))); // the stream may hold it for long
  return true;
}

function isWritable(side: Side): boolean {
  return !side.destroyed && !side.writableEnded;
}

// Both sides get what waits for them and FIN. They are read on without being listened to, since unread bytes would make
// a reset of the close.
function leave(connection: Connection, reason: number): void {
  connection.phase = LEAVING;
  connection.reason ||= reason;
  disarm(connection);
  watch(connection);
  for (const side of [connection.client, connection.backend!]) {
    side.end(() => onTold(connection));
    side.resume();
  }
}

function onTold(connection: Connection): void {
  connection.toldSides += 1;
  if (connection.toldSides === 2) arm(connection, LINGER_MS);
}

function onStillLeaving(connection: Connection): void {
  const { client, backend, clientTook, backendTook } = connection;
  const moves = flushed(client) !== clientTook || flushed(backend!) !== backendTook;
  if (connection.toldSides < 2 && moves) watch(connection);
  else destroySockets(connection);
}

// ---- The end ---------------------------------------------------------------------------------------------------------

/** The client has sent all it had. While a dial is under way the FIN waits, as the CONNECT does. */
function onClientEnd(this: Side): void {
  const { connection } = this;
  if (connection.phase === READING) close(connection, REASON_CLIENT_LEFT_EARLY);
  else if (connection.phase === QUEUED) close(connection, REASON_CLIENT_LEFT_QUEUE);
  else if (connection.phase === ASKING) close(connection, REASON_CLIENT_LEFT_HOOK);
  else if (connection.phase === OPEN) {
    connection.engine.readClock();
    connection.engine.plane.connectionClientEnded(connection.slot);
    finish(connection, connection.backend!, REASON_CLIENT_CLOSED);
  }
}

function onBackendEnd(this: Side): void {
  const { connection } = this;
  if (connection.phase === DIALLING) this.destroy();
  else if (connection.phase === OPEN) orphan(connection, REASON_BACKEND_CLOSED);
}

// Left behind by its backend, a client keeps its connection until those have gone that were left behind before it.
function orphan(connection: Connection, reason: number): void {
  const { engine, slot, client } = connection;
  if (connection.isOrphan) return;
  connection.reason ||= reason;
  engine.readClock();
  const waitMs = client.readableEnded || connection.isLeaving ? 0 : engine.plane.connectionOrphaned(slot);
  if (waitMs === 0) {
    dismiss(connection);
    return;
  }
  connection.isOrphan = true;
  connection.turn = setTimeout(dismiss, waitMs, connection);
}

function dismiss(connection: Connection): void {
  const { phase, client, backend, reason } = connection;
  connection.isOrphan = false;
  if (phase !== OPEN) return;
  if (backend!.destroyed) hangUp(connection, client, reason);
  else finish(connection, client, reason);
}

/** Passes a FIN on, behind what is queued; the other direction goes on. */
function finish(connection: Connection, other: Side, reason: number): void {
  connection.reason ||= reason;
  if (connection.isLeaving) leaveIfCut(connection);
  if (connection.phase !== OPEN) return;
  if (other === connection.backend && other.destroyed) {
    hangUp(connection, connection.client, reason);
    return;
  }
  if (other.readableEnded && isFlushed(connection)) {
    close(connection, reason);
    return;
  }
  other.end();
  watch(connection);
}

/** When both sides have ended, to close is to send FIN: a shutdown before it would be one more system call. */
function isFlushed({ client, backend }: Connection): boolean {
  return client.writableLength === 0 && backend!.writableLength === 0;
}

function onClientClose(this: Side, failed: boolean): void {
  const { connection } = this;
  connection.openSockets -= 1;
  if (connection.phase === READING) close(connection, REASON_CLIENT_LEFT_EARLY);
  else if (connection.phase === QUEUED) close(connection, REASON_CLIENT_LEFT_QUEUE);
  else if (connection.phase === ASKING) close(connection, REASON_CLIENT_LEFT_HOOK);
  else if (connection.phase === DIALLING) close(connection, REASON_CLIENT_RESET);
  // Nothing more can be said to it, though its backend isn't done: what a front door made of a socket has no half that
  // goes on alone, and doesn't say that it has failed.
  else if (connection.phase === OPEN && (failed || !this.readableEnded || !this.writableEnded))
    hangUp(connection, connection.backend!, this.readableEnded ? REASON_CLIENT_CLOSED : REASON_CLIENT_RESET);
  if (connection.openSockets === 0) forget(connection);
}

function onBackendClose(this: Side, failed: boolean): void {
  const { connection } = this;
  connection.openSockets -= 1;
  if (connection.phase === DIALLING) tryNext(connection);
  else if (connection.phase === OPEN && failed) orphan(connection, REASON_BACKEND_RESET);
  if (connection.openSockets === 0) forget(connection);
}

// A side is often reset because it had closed while the other one was still talking: what it had sent shall arrive.
function hangUp(connection: Connection, other: Side, reason: number): void {
  connection.phase = CLOSING;
  connection.reason ||= reason;
  if (!other.destroyed) linger(connection, other);
}

/**
 * Looks again after STALL_MS whether bytes have moved. That time isn't shortened when much is held, as the uring engine's
 * is: there who stalls holds buffers of a pool that all share, and somebody waits for them. Here it holds a heap's bytes of
 * its own, some 128 KiB for each direction, less than the kernel's buffers of the same sockets (tcp_wmem and tcp_rmem, up
 * to 4 and 6 MiB), and its slot is what it would have without stalling: closing it sooner would help nobody.
 */
function watch(connection: Connection): void {
  if (connection.deadlineMs !== Number.POSITIVE_INFINITY) return;
  connection.clientTook = flushed(connection.client);
  connection.backendTook = flushed(connection.backend!);
  arm(connection, STALL_MS);
}

function onStillWatched(connection: Connection, backend: Side): void {
  const { client } = connection;
  const ending = client.readableEnded || (backend.readableEnded && !connection.isOrphan);
  if (!ending && !client.writableNeedDrain && !backend.writableNeedDrain) return;
  // Each direction by itself: a client that asks for pings all the time and reads no answer is stalled none the less.
  const clientStuck = flushed(client) === connection.clientTook;
  const backendStuck = flushed(backend) === connection.backendTook;
  if (backendStuck && backend.writableNeedDrain) close(connection, REASON_BACKEND_STALLED);
  else if (clientStuck && (client.writableNeedDrain || backendStuck)) close(connection, REASON_CLIENT_STALLED);
  else watch(connection);
}

/** Looks again when the client will have been silent for as long as its keep alive allows. */
function armSilence(connection: Connection): void {
  const endMs = silenceEndMs(connection);
  if (endMs !== Number.POSITIVE_INFINITY) wakeAt(connection, endMs, performance.now());
}

function silenceEndMs({ engine, slot, phase, client, clientMs }: Connection): number {
  const limitMs = phase === OPEN && !client.readableEnded ? engine.plane.idleLimitMs(slot) : 0;
  return limitMs === 0 ? Number.POSITIVE_INFINITY : clientMs + limitMs;
}

function flushed(side: Side): number {
  return side.bytesWritten - side.writableLength;
}

function close(connection: Connection, reason: number): void {
  const { phase, engine, slot } = connection;
  if (phase < OPEN || phase === ENTERING) engine.plane.connectionLeaveQueue(slot);
  connection.phase = CLOSING;
  connection.reason ||= reason;
  destroySockets(connection);
}

function closeAll({ connections }: PortableEngine): void {
  for (const connection of connections) if (connection != null) close(connection, REASON_SHUTDOWN);
}

function destroySockets({ client, backend }: Connection): void {
  client.destroy();
  backend?.destroy();
}

function forget(connection: Connection): void {
  const { engine, slot, reason } = connection;
  clearTimeout(connection.timer);
  clearTimeout(connection.turn);
  engine.readClock();
  engine.plane.connectionClose(slot, reason || REASON_INTERNAL, writeFront(connection));
  engine.forget(slot);
}

// ---- Deadlines -------------------------------------------------------------------------------------------------------

function arm(connection: Connection, delayMs: number): void {
  armUntil(connection, performance.now() + delayMs);
}

function armUntil(connection: Connection, deadlineMs: number): void {
  connection.deadlineMs = deadlineMs;
  wakeAt(connection, deadlineMs, performance.now());
}

/** The timer stays: it will find nothing to do. */
function disarm(connection: Connection): void {
  connection.deadlineMs = Number.POSITIVE_INFINITY;
}

function wakeAt(connection: Connection, timeMs: number, nowMs: number): void {
  if (connection.timerMs <= timeMs) return;
  clearTimeout(connection.timer);
  const delayMs = Math.min(Math.max(Math.ceil(timeMs - nowMs), 1), TIMEOUT_MS_MAX);
  connection.timer = setTimeout(onTimer, delayMs, connection);
  connection.timerMs = nowMs + delayMs;
}

/** Timers run before sockets are read, immediates after: whoever has spoken in time is heard before it is judged. */
function onTimer(connection: Connection): void {
  connection.timerMs = Number.POSITIVE_INFINITY;
  setImmediate(lookAtClock, connection);
}

function lookAtClock(connection: Connection): void {
  if (connection.openSockets === 0) return;
  const nowMs = performance.now();
  // While it isn't read, it can't be heard.
  if (connection.client.isPaused()) connection.clientMs = nowMs;
  if (connection.deadlineMs <= nowMs) onDeadline(connection);
  if (silenceEndMs(connection) <= nowMs) close(connection, connection.engine.plane.idleReason(connection.slot));
  if (connection.phase === OPEN && connection.leaveByMs <= nowMs) sayLastWords(connection);
  const leaveByMs = connection.phase === OPEN ? connection.leaveByMs : Number.POSITIVE_INFINITY;
  const nextMs = Math.min(connection.deadlineMs, silenceEndMs(connection), leaveByMs);
  if (nextMs !== Number.POSITIVE_INFINITY) wakeAt(connection, nextMs, nowMs);
}

/** The one deadline passed, whichever phase it belonged to. */
function onDeadline(connection: Connection): void {
  const { phase, backend } = connection;
  disarm(connection);
  if (phase === ENTERING) close(connection, lateReason(connection));
  else if (phase === READING) close(connection, REASON_CONNECT_TIMEOUT);
  else if (phase === QUEUED) onWaited(connection);
  else if (phase === ASKING) onUndecided(connection);
  else if (phase === DIALLING) backend?.destroy();
  else if (phase === OPEN) onStillWatched(connection, backend!);
  else if (phase === LEAVING) onStillLeaving(connection);
  else destroySockets(connection);
}

/** Whose deadline it was: the door's own, or that of everything up to the CONNECT. */
function lateReason({ acceptedMs, doors }: Connection): number {
  const { timeoutMs, timeoutReason } = doors[0]!;
  return acceptedMs + timeoutMs <= performance.now() ? timeoutReason : REASON_CONNECT_TIMEOUT;
}

function onWaited(connection: Connection): void {
  const { engine, slot } = connection;
  engine.readClock();
  engine.plane.observeSnapshot();
  obey(connection, engine.plane.connectionWaited(slot));
}

function onUndecided(connection: Connection): void {
  const { engine, slot } = connection;
  engine.readClock();
  engine.plane.observeSnapshot();
  go(connection, engine.plane.connectionUndecided(slot));
}

/** 'close' follows, and says that there was an error. */
function onError(): void {}
