// What must hold for one client's life, from its arrival to the record in the access log.
import {
  ASKS_BYTES,
  CLIENT_ID_KEPT_BYTES_MAX,
  EVICTION_ABRUPT,
  EVICTION_GOODBYE,
  LEASE_WAIT_MS,
  LINGER_MS,
  NONE,
  REASON_ADDRESS_DENIED,
  REASON_BACKEND_CLOSED,
  REASON_BACKEND_CONNECTIONS,
  REASON_BACKEND_RESET,
  REASON_BACKEND_STALLED,
  REASON_BUFFERS_SHORT,
  REASON_CLIENT_CLOSED,
  REASON_CLIENT_ID_DENIED,
  REASON_CLIENT_LEFT_EARLY,
  REASON_CLIENT_LEFT_HOOK,
  REASON_CLIENT_LEFT_QUEUE,
  REASON_CLIENT_RESET,
  REASON_CLIENT_STALLED,
  REASON_CONNECT_RATE,
  REASON_CONNECT_TIMEOUT,
  REASON_CONNECT_TOO_LARGE,
  REASON_HALF_OPEN,
  REASON_HOOK_BUSY,
  REASON_HOOK_FAILED,
  REASON_HOOK_REFUSED,
  REASON_HOOK_TIMEOUT,
  REASON_IDLE_TIMEOUT,
  REASON_KEEP_ALIVE_TIMEOUT,
  REASON_LISTENER_CONNECTIONS,
  REASON_NO_BACKEND,
  REASON_POOL_CONNECTIONS,
  REASON_PORTS_EXHAUSTED,
  REASON_PROXY_HEADER,
  REASON_PROXY_SOURCE,
  REASON_QUEUE_TIMEOUT,
  REASON_SHUTDOWN,
  REASON_SOURCE_CONNECTIONS,
  REASON_SOURCE_RATE,
  REASON_TAKE_OVER_LOOP,
  STALL_MS,
  STALL_WHEN_SHORT_MS,
  WHEEL_TICK_MS,
} from '../../assembly/layout.ts';
import type { Eviction } from '../../src/control/evictions.ts';
import { UNIQUE_ID } from '../tools/proxy-headers.ts';
import type { Actor } from './actor.ts';
import type { Gatekeeper } from './admission.ts';
import type { Backend } from './backend.ts';
import type { Client } from './client.ts';
import type { HookPlan } from './hooks.ts';
import { disconnectWord } from './last-words.ts';
import type { Names } from './names.ts';
import { DISCONNECT, identifierRejected, NO_BYTES, overQuota, overRate, refusedWith, unavailable } from './packets.ts';
import type { Ports } from './ports.ts';
import type { AccessRecord } from './records.ts';
import { references, type Timeouts } from './snapshots.ts';
import { Violation } from './violation.ts';

/** Virtual time, and what of it was spent in jumps of the clock. */
export interface Clock {
  readonly now: number;
  readonly jumpedMs: number;
  /** Nobody keeps buffers for long, and there are enough for everybody else. */
  readonly buffersArePlenty: boolean;
  readonly timeouts: Timeouts;
  readonly ports: Ports;
  readonly gatekeeper: Gatekeeper;
  readonly names: Names;
  readonly lives: readonly (Life | undefined)[];
  isQueued(slot: number): boolean;
  /** It is in its slot still, and its CONNECT isn't whole. */
  isReading(life: Life): boolean;
  isAsking(slot: number): boolean;
  /** null: nobody is asked. */
  readonly hook: HookPlan | null;
  /** The main thread has said stop. */
  readonly isStopping: boolean;
  /** It is followed where packets begin and end. */
  readonly followsPackets: boolean;
  /** Who was left behind by its backend may have to wait for its turn. */
  readonly pacesOrphans: boolean;
  /** So few buffers that the lives can take them all. */
  readonly buffersAreFew: boolean;
}

/** Ticks of the timer wheel make a deadline late, never early. */
const EARLY_MS = 1;
const OVER_QUOTA = new Set([
  REASON_PORTS_EXHAUSTED,
  REASON_LISTENER_CONNECTIONS,
  REASON_POOL_CONNECTIONS,
  REASON_BACKEND_CONNECTIONS,
]);
const FAILED_HOOKS = new Set([REASON_HOOK_FAILED, REASON_HOOK_TIMEOUT, REASON_HOOK_BUSY]);
const OVER_RATE = new Set([REASON_CONNECT_RATE, REASON_QUEUE_TIMEOUT, REASON_TAKE_OVER_LOOP]);

/** Who was accepted is seen so much later, if at all. */
const ACCEPTED_LATE_MS = 500;
/** Answers come late, but not so late. */
const NOTICED_MS = 500;

export class Life {
  readonly index: number;
  client!: Client;
  /** The last one dialled. */
  backend: Backend | null = null;
  slot = NONE;
  dials = 0;
  /** Chains of socket and connect that were asked for, successful or not. */
  attempts = 0;
  /** The backend that the last dial found no port for. */
  outOfPortsFor: number | null = null;
  /** When, without the jumps of the clock. */
  outOfPortsAt = 0;
  /** The one before it did, until the dial says which backend is next. */
  passedOver: number | null = null;
  /** When a dial last found none, for each pair of backend and source. */
  readonly noPortAt = new Map<string, number>();
  listener = 0;
  /** Of its socket, and by which it is known once its PROXY header was read. */
  sockaddr: Uint8Array = NO_BYTES;
  told: Uint8Array = NO_BYTES;
  /** What its front says of it comes first. */
  hasHeader = false;
  /** Why it can't be served, for want of a good header; 0: it can. */
  headerReason = 0;
  /** What its backends were told, if they were. */
  uniqueId: string | null = null;
  /** Where it comes from, as it is counted. */
  source = '';
  /** The same by the narrowest prefix, and by listener. */
  narrowSource = '';
  /** Nobody may come from there. */
  isAddressDenied = false;
  /** When the data plane decided on the dial that is under way; null if it cost no token. */
  dialPaidAt: number | null = null;
  /** When it ended, by its record. */
  #closedAt = Infinity;
  #openedAt = Infinity;
  isAccepted = false;
  /** Its end came to the client while its backend had said nothing that was read, and nothing else was wrong. */
  #hasEndedUnanswered = false;
  /** What the main thread has asked for, of this life. */
  readonly evictions: Eviction[] = [];
  /** The first of them that the data plane can't have passed over was asked for. */
  isToLeave = false;
  /** When its hook was asked, and when it decided, as long as nobody else had. */
  askedAt: number | null = null;
  decidedAt: number | null = null;
  /** It waited for a listener that was removed. */
  isTurnedAway = false;
  isRecorded = false;
  /** When something last happened in it, without the jumps. */
  movedAt = 0;
  /** When the data plane last learned that each side took bytes. */
  readonly #clientTook = { bytes: 0, at: 0 };
  readonly #backendTook = { bytes: 0, at: 0 };
  #owedAt = Infinity;
  #connectThereAt = Infinity;
  #leftAt = Infinity;
  acceptedAt = 0;
  /** When bytes of the client's last came, whether they were read or not, and its longest silence before. */
  readonly #clientSaid = { bytes: 0, at: 0 };
  #longestSilenceMs = 0;
  /** When bytes of the client's were last read. */
  readonly #clientHeard = { bytes: 0, at: 0 };
  #clientDisturbance = '';
  #backendDisturbance = '';
  readonly #clock: Clock;

  constructor(index: number, clock: Clock) {
    this.index = index;
    this.#clock = clock;
  }

  get about(): { slot: number; life: number } {
    return { slot: this.slot, life: this.index };
  }

  /** The backend has taken at least a part of CONNECT, and the data plane was told so. */
  get isEstablished(): boolean {
    return (this.backend?.socket.answered ?? 0) > 0;
  }

  /** It has a connection to its backend, or one is being made. */
  get isOpen(): boolean {
    return this.isAccepted && !this.isOver && this.isEstablished && !this.backend!.socket.isClosed;
  }

  get isOver(): boolean {
    return this.client.socket.isClosed || this.isTurnedAway;
  }

  move(): void {
    this.movedAt = this.#clock.now - this.#clock.jumpedMs;
    if (this.#connectThereAt === Infinity && this.isConnectThere) this.#connectThereAt = this.#clock.now;
    const { isEnded, isReset } = this.client.socket;
    if (this.#leftAt === Infinity && (isEnded || isReset)) this.#leftAt = this.#clock.now;
    this.#noteSaid(this.client.socket.arrived);
    this.#note(this.#clientHeard, this.client.socket.received);
    this.#note(this.#clientTook, this.client.socket.answered);
    this.#note(this.#backendTook, this.backend?.socket.answered ?? 0);
  }

  #noteSaid(bytes: number): void {
    const { at } = this.#clientSaid;
    if (at > 0 && bytes > this.#clientSaid.bytes) {
      this.#longestSilenceMs = Math.max(this.#longestSilenceMs, this.#clock.now - at);
    }
    this.#note(this.#clientSaid, bytes);
  }

  #note(took: { bytes: number; at: number }, bytes: number): void {
    if (bytes === took.bytes) return;
    took.bytes = bytes;
    took.at = this.#clock.now;
  }

  beginDial(): void {
    this.attempts++;
    this.passedOver = this.outOfPortsFor;
    this.outOfPortsFor = null;
  }

  dialled(backend: Backend): void {
    this.backend = backend;
    this.dials++;
    this.#backendDisturbance = '';
    // Nothing can have stalled before.
    this.#clientTook.at = this.#backendTook.at = this.#clock.now;
    this.move();
  }

  /** From now on the two sides needn't end in order. */
  disturb(why: string, by?: Actor): void {
    if (by && by === this.backend) this.#backendDisturbance ||= why;
    else if (!by || by === this.client) this.#clientDisturbance ||= why;
  }

  get isDisturbed(): boolean {
    return this.evictions.length > 0 || this.isTroubled;
  }

  /** As isDisturbed, but for being evicted. */
  get isTroubled(): boolean {
    if (!this.isEstablished || this.#clock.isStopping) return true;
    if (this.#clientDisturbance !== '' || this.#backendDisturbance !== '') return true;
    return this.#isStalled || this.#isSilent;
  }

  /** The client has said nothing for as long as the strictest keep alive that may be in force allows. */
  get #isSilent(): boolean {
    const limits = this.#keepAlives().map((each) => this.#idleLimitMs(each));
    const silenceMs = Math.max(this.#longestSilenceMs, this.#clock.now - this.#clientSaid.at);
    return silenceMs >= Math.min(...limits) - WHEEL_TICK_MS;
  }

  /** The client's own, and the server's if it has answered. */
  #keepAlives(): number[] {
    const { keepAlive } = this.client.plan;
    return [keepAlive, this.#serverKeepAlive ?? keepAlive];
  }

  /** What an MQTT 5.0 server has set, which can only be told when its CONNACK came in one piece. */
  get #serverKeepAlive(): number | undefined {
    const { backend, client } = this;
    if (client.plan.version !== 5 || !backend || backend.socket.firstReceived < backend.plan.head.length)
      return undefined;
    return backend.socket.received > 0 ? backend.plan.serverKeepAlive : undefined;
  }

  #idleLimitMs(keepAlive: number): number {
    const { keepAlivePercent, idleTimeoutMs } = this.#clock.timeouts;
    return (keepAlive === 0 ? idleTimeoutMs : keepAlive * keepAlivePercent * 10) || Infinity;
  }

  get #isStalled(): boolean {
    const limit = this.#clock.buffersAreFew ? STALL_WHEN_SHORT_MS : STALL_MS;
    return this.#clock.now - Math.min(this.#clientTook.at, this.#backendTook.at) >= limit - EARLY_MS;
  }

  /** For how long now it has been the data plane's turn. */
  owedSince(time: number): number {
    if (!this.#isOwed()) this.#owedAt = Infinity;
    else if (this.#owedAt === Infinity) this.#owedAt = time;
    return this.#owedAt === Infinity ? 0 : time - this.#owedAt;
  }

  // After a reset or an end everything else is the data plane's to do, and so it is once all of CONNECT is there.
  #isOwed(): boolean {
    const { client, backend } = this;
    if (this.#isDialling || this.#saidGoodbye) return false;
    // Who leaves is only waited for until it has taken its last bytes.
    if (this.isEstablished && !this.isToLeave && this.#isSilentForSure) return true;
    if (!this.isEstablished && this.#clock.isQueued(this.slot) && this.#mayWait) return client.socket.isReset;
    if (!this.isEstablished && this.#clock.isAsking(this.slot) && this.#mayAsk) return client.socket.isReset;
    if (!this.isEstablished) return client.socket.isReset || client.socket.isEnded || this.isConnectThere;
    if (!this.#isForwarded(client, backend!) || !this.#isForwarded(backend!, client)) return false;
    if (this.isToLeave && this.#mayCut(client) && this.#mayCut(backend!)) return true;
    if (this.#clock.pacesOrphans && backend!.isFinished && !client.isFinished) return false;
    return (client.isFinished && !backend!.socket.isShut) || (backend!.isFinished && !client.socket.isShut);
  }

  /** It has not been in the queue for longer than it may. */
  get #mayWait(): boolean {
    const { queueTimeoutMs } = this.#clock.gatekeeper.limits;
    const askedMs = this.#clock.hook?.timeoutMs ?? 0;
    return this.dials > 0 || this.#clock.now - this.#connectThereAt < askedMs + queueTimeoutMs + LEASE_WAIT_MS;
  }

  /** Its hook may take so long. */
  get #mayAsk(): boolean {
    return this.#clock.now - (this.askedAt ?? this.#clock.now) < (this.#clock.hook?.timeoutMs ?? 0) + NOTICED_MS;
  }

  get #isSilentForSure(): boolean {
    const { plan, isFinished, socket } = this.client;
    const { received } = this.backend!.socket;
    const isKnown = plan.version < 5 || received === 0 || this.#serverKeepAlive !== undefined;
    if (!isKnown || isFinished || socket.receivable > 0) return false;
    // While its backend was slow it wasn't read, and couldn't be heard.
    const heardAt = Math.max(this.#clientHeard.at, this.#backendTook.at);
    return this.#clock.now - heardAt >= this.#idleLimitMs(this.#serverKeepAlive ?? plan.keepAlive);
  }

  get #isDialling(): boolean {
    return this.backend !== null && !this.isEstablished && !this.backend.isGone;
  }

  get #saidGoodbye(): boolean {
    return this.client.plan.tail.length > 0 && this.client.isFinished;
  }

  /** All of a whole CONNECT has come. */
  get isConnectThere(): boolean {
    const { plan, sent } = this.client;
    return plan.beginning === 'connects' && sent >= plan.head.length;
  }

  /** The client had long said all, or left, when it was closed, and no lack of buffers excuses not to have seen it. */
  #isOverdue(livedMs: number): boolean {
    if (this.client.socket.starvedAt >= 0 || this.#clientDisturbance !== '') return false;
    const latest = Math.max(this.acceptedAt, Math.min(this.#connectThereAt, this.#leftAt));
    return this.acceptedAt + livedMs - latest > NOTICED_MS;
  }

  #isForwarded(from: Actor, to: Actor): boolean {
    return to.heard === from.passed.bytesOf(from.sent);
  }

  /** No packet of the actor's would be cut by what was received of it. */
  #mayCut({ out, socket }: Actor): boolean {
    return !this.#clock.followsPackets || out.isBoundary(socket.received);
  }

  /** An end is passed on: only after the other side's end, and after all its bytes. */
  checkEnd(actor: Actor): void {
    const { client, backend } = this;
    if (actor === client && backend?.socket.received === 0 && !this.isTroubled) this.#hasEndedUnanswered = true;
    if (this.isDisturbed || !backend || (actor !== client && actor !== backend)) return;
    const source = actor === client ? backend : client;
    if (!source.isFinished) this.#fail(`the ${actor.name} is told of an end, but the ${source.name} goes on`);
    this.#checkWhole(actor, source);
  }

  /** Of what an evicted actor is sent: after whole packets of the other's, one of the words that it may be sent. */
  checkLastWords(actor: Actor, source: Actor): void {
    const { at, said } = actor.lastWords;
    const words = actor === this.client ? this.#wordsToClient() : this.#wordsToBackend();
    if (words.some((word) => actor.lastWords.isBeginningOf(word)) && source.passed.isBoundary(at)) return;
    this.#fail(`the ${actor.name} is sent, at byte ${at}, what nobody said: ${Buffer.from(said).toString('hex')}`);
  }

  #wordsToClient(): Uint8Array[] {
    const { version, packetBytesMax } = this.client.plan;
    if (version !== 5 || !this.#clock.followsPackets) return [];
    const fits = ({ length }: Uint8Array) => packetBytesMax === 0 || length <= Math.max(packetBytesMax, 4);
    return this.evictions
      .filter(({ code }) => code !== 0)
      .flatMap(({ code, reference }) => (reference ? references : ['']).map((each) => disconnectWord(code, each)))
      .filter(fits);
  }

  #wordsToBackend(): Uint8Array[] {
    const says = this.evictions.some(({ flags }) => flags & EVICTION_GOODBYE);
    return says && this.#clock.followsPackets ? [DISCONNECT] : [];
  }

  onPeerReset(actor: Actor): void {
    if (this.#isLeavingInOrder && actor.socket.readable > 0) this.#checkLingered(actor);
    if (this.isDisturbed || (actor !== this.client && actor !== this.backend)) return;
    this.#fail(`the ${actor.name} is reset though nothing went wrong`);
  }

  #checkWhole(actor: Actor, source: Actor): void {
    const { copied } = actor.socket;
    const passed = source.passed.bytesOf(source.sent);
    if (copied !== passed)
      this.#fail(`the ${actor.name} was sent ${copied} of the ${passed} bytes of the ${source.name}`);
  }

  // ---- The record

  judge(record: AccessRecord): void {
    if (!this.isAccepted) this.#fail('a record of a client that was never accepted');
    if (this.isRecorded) this.#fail('a second record of the same connection');
    this.isRecorded = true;
    this.#openedAt = record.openedMs;
    this.#closedAt = record.closedMs;
    this.#judgeReason(record);
    this.#judgePeer(record);
    this.#judgeHook();
    if (this.attempts > 0 && (this.isAddressDenied || this.client.plan.isDenied))
      this.#fail('one who is denied was let in');
    this.#judgeBytes(record);
    this.#judgeBackend(record);
    if (this.isEstablished) this.#judgeConnect(record);
    if (this.#isEvictionsReason(record.reason)) this.#judgeEviction(record);
    this.#judgeRefusal(record);
  }

  /** Nobody is let in without the hook's word, unless it has failed and then lets everybody in. */
  #judgeHook(): void {
    const { hook } = this.#clock;
    if (hook === null || this.attempts === 0) return;
    const { kind } = this.client.plan.decision!;
    if (this.askedAt === null && hook.roomBytes === ASKS_BYTES)
      this.#fail('a client is let in that no hook was asked about');
    const isAccepted = this.decidedAt !== null && kind === 'accepts';
    if (isAccepted || hook.acceptsOnError) {
      if (kind !== 'refuses' || this.decidedAt === null || this.#isLateDecision) return;
    }
    this.#fail(`a client is let in that its hook ${kind}`);
  }

  /** Its deadline had passed before, or nearly so. */
  get #isLateDecision(): boolean {
    if (this.askedAt === null) return true; // by a hook that was too busy to be asked
    return this.decidedAt === null || this.decidedAt - this.askedAt >= this.#clock.hook!.timeoutMs - NOTICED_MS;
  }

  /** It is sent its client's first byte: until then it was told who that is, once, if at all. */
  checkGreeting(backend: Backend): void {
    const fault = backend.socket.greeting?.fault(this.told) ?? null;
    if (fault !== null) this.#fail(`the ${backend.name} ${fault}`);
    const id = backend.socket.greeting?.header?.tlvs.get(UNIQUE_ID)?.toString();
    if (id === undefined) return;
    const other = this.#clock.lives.find((life) => life !== this && life?.uniqueId === id);
    if (other !== undefined || (this.uniqueId ?? id) !== id)
      this.#fail(`the ${backend.name} is told ${id}, which is no unique id`);
    this.uniqueId = id;
  }

  /** Before its header was read it is known by its socket's address. */
  #judgePeer({ peer }: AccessRecord): void {
    const expected = this.attempts > 0 ? [this.told] : [this.told, this.sockaddr];
    if (expected.some((each) => each.every((byte, index) => peer[index] === byte))) return;
    this.#fail(`the record names ${Buffer.from(peer).toString('hex')}`);
  }

  #judgeReason(record: AccessRecord): void {
    const { client, backend } = this;
    if (this.headerReason !== 0 && this.attempts > 0)
      this.#fail('a backend is dialled for a client without a good header');
    const livedMs = record.closedMs - record.openedMs;
    const isPossible = (): boolean => {
      switch (record.reason) {
        case REASON_CLIENT_CLOSED:
          return client.socket.isEnded;
        case REASON_CLIENT_RESET:
          return client.socket.isReset;
        case REASON_BACKEND_CLOSED:
          return backend?.socket.isEnded ?? false;
        case REASON_BACKEND_RESET:
          return backend !== null;
        case REASON_CLIENT_STALLED:
        case REASON_BACKEND_STALLED:
          return this.#isStalled;
        case REASON_CLIENT_LEFT_EARLY:
          return (
            client.isFinished &&
            (client.plan.beginning !== 'connects' || client.socket.received < client.plan.head.length)
          );
        case REASON_CONNECT_TIMEOUT:
          return livedMs >= this.#clock.timeouts.connectTimeoutMs - EARLY_MS && !this.#isOverdue(livedMs);
        case REASON_NO_BACKEND:
          return client.socket.received >= client.plan.head.length && this.outOfPortsFor === null;
        case REASON_PORTS_EXHAUSTED:
          if (this.outOfPortsFor !== null) this.#clock.ports.checkNoneLeft(this, this.outOfPortsFor);
          return client.socket.received >= client.plan.head.length && this.#clock.ports.haveRunOut;
        case REASON_KEEP_ALIVE_TIMEOUT:
          return record.keepAlive > 0 && this.#isSilent;
        case REASON_IDLE_TIMEOUT:
          return record.keepAlive === 0 && this.#isSilent;
        case REASON_CONNECT_RATE:
          return this.isConnectThere && this.#waits;
        case REASON_QUEUE_TIMEOUT:
          return this.#waits && this.#hasWaited(livedMs);
        case REASON_CLIENT_LEFT_QUEUE:
          return this.#waits && (client.socket.isEnded || client.socket.isReset);
        case REASON_LISTENER_CONNECTIONS:
          return this.#isFull('listener', (other) => other.listener === this.listener);
        case REASON_SOURCE_CONNECTIONS:
          return this.#isFull('perSource', (other) => other.source === this.source && other.listener === this.listener);
        case REASON_SOURCE_RATE:
          return this.#comesTooFast();
        case REASON_TAKE_OVER_LOOP:
          return this.attempts === 0 && this.#clock.names.hadToPause(this, this.acceptedAt + livedMs);
        case REASON_HALF_OPEN:
          return this.attempts === 0 && this.#wasOldest();
        case REASON_POOL_CONNECTIONS:
          return this.#isFull('pool', () => true);
        case REASON_BACKEND_CONNECTIONS:
          return this.#isFull('backend', () => true);
        case REASON_HOOK_REFUSED:
          return client.plan.decision?.kind === 'refuses' && this.decidedAt !== null;
        case REASON_HOOK_FAILED:
          return client.plan.decision?.kind === 'fails' && this.decidedAt !== null && !this.#clock.hook!.acceptsOnError;
        case REASON_HOOK_TIMEOUT:
          if (this.askedAt === null || this.#clock.hook!.acceptsOnError) return false;
          return this.#hasAskedFor(livedMs) && (this.#isLateDecision || this.#clientDisturbance !== '');
        case REASON_HOOK_BUSY:
          return this.isConnectThere && this.#clock.hook!.roomBytes < ASKS_BYTES && !this.#clock.hook!.acceptsOnError;
        case REASON_CLIENT_LEFT_HOOK:
          return this.#clock.hook !== null && (client.socket.isEnded || client.socket.isReset);
        case REASON_BUFFERS_SHORT:
          return this.#clock.buffersAreFew && !this.isEstablished;
        case REASON_PROXY_SOURCE:
        case REASON_PROXY_HEADER:
          return record.reason === this.headerReason;
        case REASON_SHUTDOWN:
          return this.#clock.isStopping;
        case REASON_ADDRESS_DENIED:
          return this.isAddressDenied && (this.hasHeader || client.socket.received === 0);
        case REASON_CLIENT_ID_DENIED:
          return this.isConnectThere && client.plan.isDenied;
        default:
          return client.plan.offence?.reason === record.reason || this.#isEvictionsReason(record.reason);
      }
    };
    if (!isPossible()) this.#fail(`the record gives reason ${record.reason}, which can't be`);
  }

  /** Somebody of its source came shortly before. */
  #comesTooFast(): boolean {
    const { sourceRate } = this.#clock.gatekeeper.limits;
    if (sourceRate === 0 || this.hasHeader) return sourceRate > 0;
    const sinceMs = this.acceptedAt - 1000 / sourceRate - ACCEPTED_LATE_MS;
    return this.#clock.lives.some(
      (other) => other !== this && other?.isAccepted && other.source === this.source && other.acceptedAt > sinceMs,
    );
  }

  /** Nobody whose CONNECT isn't whole came before. */
  #wasOldest(): boolean {
    const sinceMs = this.acceptedAt - ACCEPTED_LATE_MS;
    return !this.#clock.lives.some(
      (other) => other?.listener === this.listener && other.acceptedAt < sinceMs && this.#clock.isReading(other),
    );
  }

  #hasAskedFor(livedMs: number): boolean {
    const endedAt = this.acceptedAt + livedMs;
    return endedAt - this.askedAt! >= this.#clock.hook!.timeoutMs - NOTICED_MS;
  }

  #hasWaited(livedMs: number): boolean {
    const { gatekeeper } = this.#clock;
    if (livedMs < gatekeeper.limits.queueTimeoutMs - EARLY_MS) return false;
    // Its record may be read much later. A dial that failed counts as waiting, and others may have gone on long before.
    return this.dials > 0 || this.#clientDisturbance !== '' || gatekeeper.hasBeenBusy(this.acceptedAt + livedMs);
  }

  /** There is something to wait for: a token, or a part of a limit. */
  get #waits(): boolean {
    const { rate, backendRate, leaseFlips } = this.#clock.gatekeeper.limits;
    return rate > 0 || backendRate > 0 || leaseFlips > 0;
  }

  /** As many others were there at some time during its life, unless other workers may have had their part. */
  #isFull(limit: 'listener' | 'perSource' | 'pool' | 'backend', counts: (other: Life) => boolean): boolean {
    const { limits } = this.#clock.gatekeeper;
    if (limits[limit] === 0 || (limits.leaseFlips > 0 && limit !== 'perSource')) return limits[limit] > 0;
    const others = this.#clock.lives.filter((other) => {
      if (other === undefined || other === this || !other.isAccepted || !counts(other)) return false;
      return !other.isRecorded || other.#closedAt >= this.#openedAt;
    });
    return others.length >= limits[limit];
  }

  #judgeBytes({ bytesFromClient, bytesToClient }: AccessRecord): void {
    const { client, backend } = this;
    const { received, copied } = client.socket;
    if (bytesToClient !== copied)
      this.#fail(`the record counts ${bytesToClient} bytes to the client, which was sent ${copied}`);
    const isExact = !this.isDisturbed;
    // A goodbye may stand where the client's own would have.
    const goodbyeBytes = this.#wordsToBackend().length > 0 ? DISCONNECT.length : 0;
    const grown = client.passed.bytesOf(0);
    const least = isExact ? client.sent : (backend ? backend.heard - grown : 0) - goodbyeBytes;
    if (bytesFromClient < least || bytesFromClient > received) {
      this.#fail(
        `the record counts ${bytesFromClient} bytes from the client, which sent ${client.sent}, ${received} were received`,
      );
    }
    if (!isExact) return;
    this.#checkWhole(client, backend!);
    this.#checkWhole(backend!, client);
    if (!client.isFinished || !backend!.isFinished) this.#fail('closed though one side goes on');
  }

  #isEvictionsReason(reason: number): boolean {
    return this.evictions.some((eviction) => eviction.reason === reason);
  }

  get #isLeavingInOrder(): boolean {
    const isAbrupt = this.evictions.some(({ flags }) => flags & EVICTION_ABRUPT);
    return this.evictions.length > 0 && !isAbrupt && !this.isTroubled;
  }

  /** Who has unread bytes when it is reset must have had its time to read them. */
  #checkLingered(actor: Actor): void {
    const took = actor === this.client ? this.#clientTook : this.#backendTook;
    if (this.#clock.now - took.at < LINGER_MS)
      this.#fail(`the ${actor.name} is reset before it has read its last words`);
  }

  /** Nothing but the main thread's word has ended it: no packet is cut, and both sides have heard why. */
  #judgeEviction({ reason }: AccessRecord): void {
    const isAbrupt = this.evictions.some(({ flags }) => flags & EVICTION_ABRUPT);
    if (this.#hasEndedUnanswered && !isAbrupt) this.#fail('a client is evicted before it was answered');
    if (!this.#isLeavingInOrder) return;
    const { client, backend } = this;
    if (!this.#clock.followsPackets) return;
    if (!client.passed.isBoundary(backend!.heard))
      this.#fail(`a packet of the client’s is cut at byte ${backend!.heard}`);
    if (!backend!.out.isBoundary(client.heard)) this.#fail(`a packet of the backend’s is cut at byte ${client.heard}`);
    const [eviction, other] = this.evictions.filter((each) => each.reason === reason);
    if (!eviction || other) return;
    const word = eviction.code !== 0 && client.plan.version === 5;
    if (word && !this.#wordsToClient().some((each) => client.lastWords.isWhole(each)))
      this.#fail('an evicted client is not told');
    const says = (eviction.flags & EVICTION_GOODBYE) !== 0 && backend!.heard < client.passed.total;
    if (says && !backend!.lastWords.isWhole(DISCONNECT)) this.#fail('the backend of an evicted client is not told');
  }

  #judgeBackend(record: AccessRecord): void {
    const { backend } = this;
    // The last one chosen isn't known when not even a socket could be had for it.
    const isKnown = this.isEstablished || (record.backend !== NONE && this.attempts === this.dials);
    if (isKnown && record.backend !== backend?.id) {
      this.#fail(`the record names backend ${record.backend}, it was ${backend?.id}`);
    }
    if (record.attempts !== this.attempts)
      this.#fail(`the record counts ${record.attempts} dials, there were ${this.attempts}`);
  }

  #judgeConnect(record: AccessRecord): void {
    const { version, keepAlive, passedClientId: clientId } = this.client.plan;
    if (record.version !== version) this.#fail(`the record says version ${record.version}, it was ${version}`);
    // The server's may have come too late to be seen.
    const inForce = this.#serverKeepAlive ?? keepAlive;
    if (record.keepAlive !== inForce && !(this.isDisturbed && record.keepAlive === keepAlive)) {
      this.#fail(`the record has Keep Alive ${record.keepAlive}, it was ${inForce}`);
    }
    if (record.clientIdBytes !== clientId.length) this.#fail('the record has a ClientId of another length');
    const kept = clientId.slice(0, CLIENT_ID_KEPT_BYTES_MAX);
    // A full arena cuts it off.
    if (!kept.startsWith(record.clientId)) this.#fail('the record has another ClientId');
  }

  #judgeRefusal(record: AccessRecord): void {
    const { refusal, plan, socket } = this.client;
    if (refusal.length === 0 && (!socket.isPrefaceRead || this.headerReason !== 0)) return; // its version isn't known
    if (refusal.length === 0 && record.reason === REASON_CONNECT_TOO_LARGE) return; // its version may not have come yet
    let expected = record.reason === plan.offence?.reason ? plan.offence.reply : NO_BYTES;
    const isUnavailable = record.reason === REASON_NO_BACKEND || record.reason === REASON_BUFFERS_SHORT;
    if (isUnavailable) expected = unavailable(plan.version);
    if (OVER_QUOTA.has(record.reason)) expected = overQuota(plan.version);
    if (OVER_RATE.has(record.reason)) expected = overRate(plan.version);
    if (FAILED_HOOKS.has(record.reason)) expected = unavailable(plan.version);
    if (record.reason === REASON_HOOK_REFUSED) expected = refusedWith(plan.version, plan.decision!.code);
    if (record.reason === REASON_CLIENT_ID_DENIED) expected = identifierRejected(plan.version);
    // One that the client has no room for is given up.
    const hasRoom = plan.capacity >= expected.length;
    const mayBeCut = socket.isReset || this.#clock.isStopping || this.#clientDisturbance !== '' || !hasRoom;
    const isWhole = refusal.length === expected.length || mayBeCut;
    if (!isWhole || refusal.some((byte, index) => byte !== expected[index])) {
      this.#fail(`the client was refused with ${Buffer.from(refusal).toString('hex')}`);
    }
  }

  #fail(message: string): never {
    throw new Violation(message, this.about);
  }
}
