// Everything outside of the worker: the clients that come, the backends that they are sent to, and the main thread.
import {
  CONTROL_DRAIN,
  CONTROL_STOP,
  EVICTION_ABRUPT,
  EVICTION_GOODBYE,
  EVICTIONS_MAX,
  HEADER_CONTROL,
  HEADER_EPOCH,
  HEADER_EVICTIONS_READ,
  HEADER_EVICTIONS_WRITTEN,
  HEADER_OFFSET,
  HEADER_REGION_HEALTH,
  HEALTH_DOWN,
  HEALTH_DRAIN,
  HEALTH_SHARE_FULL,
  HEALTH_SUSPECT,
  HEALTH_UP,
  HEALTH_WITHHELD_SHIFT,
  REASON_DRAINED,
  REASON_KICKED,
  REASON_REBALANCED,
} from '../../assembly/layout.ts';
import { type Eviction, writeEvictions } from '../../src/control/evictions.ts';
import { mayPublish, publishSnapshot } from '../../src/control/snapshot.ts';
import { regionOffset } from '../../src/header.ts';
import { encodeSockaddr } from '../../src/system/sockaddr.ts';
import { Random } from '../tools/random.ts';
import type { Stage } from './actor.ts';
import { Gatekeeper, sourceOfClient } from './admission.ts';
import { Backend } from './backend.ts';
import { Client } from './client.ts';
import { type HookPlan, Hooks, planDecision } from './hooks.ts';
import type { Arrival, Kernel, World as KernelWorld } from './kernel.ts';
import { type Clock, Life } from './life.ts';
import { Listeners } from './listeners.ts';
import { Names } from './names.ts';
import type { ConnectFields } from './packets.ts';
import { PHASE_ASKING, PHASE_QUEUED, PHASE_READING } from './plane-view.ts';
import { planBackend, planClient, type Scale } from './plans.ts';
import { Ports } from './ports.ts';
import { Greeting, planArriving } from './preface.ts';
import { isAddressDenied } from './rules.ts';
import { type Mood, planMood, type Scenario } from './scenario.ts';
import { backendOf, pickSnapshot, sourceIdsOf, type Timeouts } from './snapshots.ts';
import type { Socket } from './socket.ts';
import type { Timeline } from './timeline.ts';
import { Violation } from './violation.ts';

/** As Linux gives a connect up, after its last SYN. */
const CONNECT_GIVEN_UP_MS = 127_000;
const ECONNREFUSED = 111;
const EHOSTUNREACH = 113;
const ETIMEDOUT = 110;

const BUFFERS_FEW = 256;
const BUFFERS_PLENTY = 64;
/** A wake-up may be late, but not so late. */
const EVICTIONS_READ_MS = 2000;

export interface WorldParts {
  seed: number;
  scenario: Scenario;
  kernel: Kernel;
  memory: WebAssembly.Memory;
  /** The lives of the scenario that are lived: all, or those of a shortened replay. */
  keepsLife: (index: number) => boolean;
}

export class World implements KernelWorld, Clock {
  readonly lives: (Life | undefined)[];
  jumpedMs = 0;
  isStopping = false;
  readonly buffersArePlenty: boolean;
  readonly timeouts: Timeouts;
  readonly buffersAreFew: boolean;
  readonly followsPackets: boolean;
  readonly pacesOrphans: boolean;
  isDraining = false;
  /** Which sources were dialled from, and which had no port left when. */
  readonly ports: Ports;
  readonly listeners: Listeners;
  readonly gatekeeper: Gatekeeper;
  readonly names: Names;
  readonly hooks: Hooks;
  readonly hook: HookPlan | null;
  /** When somebody was last accepted, without the jumps of the clock. */
  acceptedAt = 0;
  #arriving = 0;
  readonly #parts: WorldParts;
  readonly #timeline: Timeline;
  readonly #stage: Stage;
  readonly #scale: Scale;
  readonly #random: Random;
  /** Its own, so that the other decisions stay what they are without it. */
  readonly #evictor: Random;
  readonly #moods: Mood[];
  readonly #words: Int32Array;
  #epoch = 0;
  /** When the oldest eviction that wasn't read yet was written, without the jumps of the clock. */
  #evictedAt = 0;

  constructor(parts: WorldParts) {
    const { scenario, kernel, memory, seed } = parts;
    this.#parts = parts;
    this.timeouts = scenario.timeouts;
    this.followsPackets = scenario.followsPackets;
    this.pacesOrphans = scenario.orphanIntervalUs > 0;
    this.buffersArePlenty = !scenario.hasStallers && scenario.settings.bufferCount >= BUFFERS_PLENTY;
    this.buffersAreFew = scenario.settings.bufferCount <= BUFFERS_FEW;
    this.#timeline = kernel.timeline;
    this.ports = new Ports(this, scenario.publications + scenario.listenerFlips === 0);
    const isSettled = scenario.publications + scenario.listenerFlips + scenario.healthFlips === 0;
    this.gatekeeper = new Gatekeeper(memory, scenario.limits, scenario.settings.connectionsMax, isSettled);
    this.gatekeeper.lend(null);
    this.names = new Names(this, memory);
    this.#stage = { timeline: kernel.timeline, trace: kernel.trace };
    this.#scale = { bufferBytes: scenario.settings.bufferBytes, hasStallers: scenario.hasStallers };
    this.#random = new Random(seed ^ 0x5bd1e995);
    this.#evictor = new Random(seed ^ 0x3c6ef372);
    this.#moods = [...scenario.moods];
    this.#words = new Int32Array(memory.buffer);
    this.lives = new Array<Life | undefined>(scenario.lives);
    this.hook = scenario.hook;
    const { connectionsMax } = scenario.settings;
    this.hooks = new Hooks({ memory, kernel, plan: scenario.hook, seed, lives: this.lives, connectionsMax });
    this.listeners = new Listeners({ world: this, kernel, memory, count: scenario.listenerCount });
    this.#publish();
  }

  get now(): number {
    return this.#timeline.now;
  }

  /** Everybody who was to come has come and gone. */
  get isOver(): boolean {
    if (this.#arriving > 0) return false;
    return this.lives.every((life) => !life || life.isOver || (this.isDraining && !life.isAccepted));
  }

  begin(): void {
    const { scenario, keepsLife } = this.#parts;
    let at = 0;
    for (let index = 0; index < scenario.lives; index++) {
      at += scenario.arrivalGapMs * this.#random.fraction();
      if (!keepsLife(index)) continue;
      this.#arriving++;
      this.#timeline.after(at, () => this.#arrive(index));
    }
    this.#planMainThread(at);
  }

  // ---- Clients

  #arrive(index: number): void {
    const { scenario, kernel, seed } = this.#parts;
    this.#arriving--;
    const life = new Life(index, this);
    this.lives[index] = life;
    const random = new Random(seed * 1009 + index);
    const decisions = new Random(seed * 1019 + index);
    const decide = (said: ConnectFields) => scenario.hook && planDecision(decisions, scenario.hook, said);
    const plan = planClient(random, index, this.#scale, scenario.rules, decide);
    life.client = new Client(this.#stage, life, plan, random.word());
    const listener = random.pick([...kernel.listeners.keys()]);
    const own = clientSockaddr(index, random.chance(0.2), scenario.limits.sources);
    const { sockaddr, told, header, reason } = planArriving(new Random(seed * 1013 + index), own, scenario.isFronted);
    Object.assign(life, { sockaddr, told, hasHeader: header.length > 0, headerReason: reason });
    life.listener = this.listeners.indexOf(listener);
    life.source = sourceOfClient(told, true);
    life.narrowSource = `${life.listener} ${sourceOfClient(told, false)}`;
    life.isAddressDenied = isAddressDenied(scenario.rules, told);
    life.client.socket = kernel.newSocket();
    life.client.socket.preface = header;
    life.client.socket.peer = life.client;
    kernel.trace?.deed(index, `client arrives: ${life.client.plan.beginning}, then ${life.client.plan.ending}`);
    kernel.connect(listener, {
      peer: life.client,
      socket: life.client.socket,
      sockaddr,
    });
    life.client.begin();
    life.move();
  }

  headBuffers(place: number): number {
    const peer = this.#parts.kernel.files[place]?.peer;
    if (!peer) return 0;
    const { head, ruledHead, passedHead } = this.lives[peer.life]!.client.plan;
    const longest = Math.max(head.length, ruledHead.length, passedHead.length);
    return Math.ceil(longest / this.#scale.bufferBytes);
  }

  lifeOf(peer: Uint8Array): Life | undefined {
    return this.lives[clientOf(peer)];
  }

  /** The life of that generation, if it lives there now. */
  lifeIn(slot: number, generation: number): Life | undefined {
    const { files, plane } = this.#parts.kernel;
    const index = plane.wholeGeneration(slot) === generation ? files[slot * 2]?.peer?.life : undefined;
    return index === undefined ? undefined : this.lives[index];
  }

  isReading({ index, slot }: Life): boolean {
    const { files, plane } = this.#parts.kernel;
    return files[slot * 2]?.peer?.life === index && plane.phase(slot) === PHASE_READING;
  }

  onAccepted({ peer }: Arrival, slot: number): void {
    const life = this.lives[peer.life]!;
    life.slot = slot;
    life.isAccepted = true;
    life.acceptedAt = this.now;
    this.acceptedAt = this.now - this.jumpedMs;
    life.move();
    this.#stage.trace?.deed(peer.life, `is accepted into slot ${slot}`);
  }

  // ---- Backends

  onDial(slot: number): void {
    const peer = this.#parts.kernel.files[slot * 2]?.peer;
    if (!peer) return;
    this.ports.dials++;
    const life = this.lives[peer.life]!;
    // Another source for the same dial costs no token: nothing had reached the backend.
    life.dialPaidAt = life.outOfPortsFor === null ? this.#parts.kernel.planeNow : null;
    if (life.dialPaidAt !== null) this.gatekeeper.onDial(life, life.dialPaidAt);
    this.names.checkDial(life, this.#parts.kernel.planeNow);
    life.beginDial();
  }

  onPortWanted(slot: number, sockaddr: Uint8Array, source: number): void {
    this.ports.onWanted(this.#lifeIn(slot), backendOf(sockaddr), source);
  }

  onOutOfPorts(slot: number, sockaddr: Uint8Array, source: number): void {
    const life = this.#lifeIn(slot);
    this.ports.onNone(life, backendOf(sockaddr), source);
    this.#stage.trace?.deed(life.index, `finds no port from source ${source} to backend ${backendOf(sockaddr)}`);
  }

  #lifeIn(slot: number): Life {
    return this.lives[this.#parts.kernel.files[slot * 2]!.peer!.life]!;
  }

  dial(socket: Socket, sockaddr: Uint8Array, client: Socket | null): { result: number; delayMs: number } {
    const life = this.lives[client!.peer!.life]!;
    const id = backendOf(sockaddr);
    this.ports.onConnect(id, socket.source);
    if (life.dialPaidAt !== null) this.gatekeeper.onConnect(life, id, this.lives, life.dialPaidAt);
    const random = new Random((this.#parts.seed * 1009 + life.index) * 31 + life.dials + 7);
    const backend = new Backend(this.#stage, life, id, planBackend(random, this.#scale), random.word());
    backend.socket = socket;
    socket.peer = backend;
    socket.greeting = new Greeting(this.#parts.scenario.proxyProtocols);
    life.dialled(backend);
    const outcome = this.#dialOutcome(this.#moods[id]!, random);
    this.#stage.trace?.deed(
      life.index,
      `dials ${backend.name}: ${outcome.result} after ${outcome.delayMs.toFixed(3)} ms, it ${backend.plan.ending}`,
    );
    return outcome;
  }

  #dialOutcome(mood: Mood, random: Random): { result: number; delayMs: number } {
    const quick = random.magnitude(0.01, random.chance(0.1) ? 300 : 3);
    const failure =
      mood === 'flaky' && random.chance(0.5) ? random.pick(['refuses', 'hangs', 'unreachable'] as const) : mood;
    switch (failure) {
      case 'refuses':
        return { result: -ECONNREFUSED, delayMs: quick };
      case 'unreachable':
        return { result: -EHOSTUNREACH, delayMs: quick };
      case 'hangs':
        return { result: -ETIMEDOUT, delayMs: CONNECT_GIVEN_UP_MS };
      default:
        return { result: 0, delayMs: quick };
    }
  }

  // ---- The main thread

  #planMainThread(lastArrivalMs: number): void {
    const { publications, listenerFlips, healthFlips, moodFlips, evictions, drainAtMs, stopAtMs } =
      this.#parts.scenario;
    const sometime = (times: number, action: () => void) => {
      for (let time = 0; time < times; time++)
        this.#timeline.after(this.#random.fraction() * lastArrivalMs * 1.5, action);
    };
    sometime(publications, () => this.#publish());
    sometime(listenerFlips, () => this.#flipListeners());
    sometime(healthFlips, () => this.#flipHealth());
    sometime(moodFlips, () => this.#flipMood());
    for (let time = 0; time < evictions; time++)
      this.#timeline.after(this.#evictor.fraction() * lastArrivalMs * 1.5, () => this.#evict());
    sometime(this.#parts.scenario.limits.leaseFlips, () => this.#flipLeases());
    const namer = new Random(this.#parts.seed ^ 0x27d4eb2f);
    for (let time = namer.integer(0, 10); time > 0; time--)
      this.#timeline.after(namer.fraction() * lastArrivalMs, () => this.#tell(this.names.pause(namer)));
    for (let time = 0; time < this.hooks.strays; time++)
      this.#timeline.after(this.#evictor.fraction() * lastArrivalMs * 1.5, () => this.hooks.stray());
    if (drainAtMs < Infinity) this.#timeline.after(drainAtMs, () => this.drain());
    if (stopAtMs < Infinity) this.#timeline.after(stopAtMs, () => this.stop());
  }

  drain(): void {
    if (this.isDraining) return;
    this.isDraining = true;
    this.#tell('says drain');
    this.#control(CONTROL_DRAIN);
  }

  stop(): void {
    this.isDraining = true;
    this.isStopping = true;
    this.#tell('says stop');
    this.#control(CONTROL_STOP);
  }

  #control(command: number): void {
    this.#words[(HEADER_OFFSET + HEADER_CONTROL) >>> 2] = command;
    this.#parts.kernel.writeEventfd();
  }

  #publish(): void {
    const { memory, scenario } = this.#parts;
    const epoch = this.#epoch + 1;
    if (this.#epoch > 0 && !mayPublish(memory, epoch)) return;
    const { timeouts, followsPackets, orphanIntervalUs, limits, isFronted, rules, hook } = scenario;
    const proxyProtocol = scenario.proxyProtocols[epoch % scenario.proxyProtocols.length]!;
    const circumstances = { ...timeouts, packets: followsPackets, orphanIntervalUs, isFronted, proxyProtocol, hook };
    const prefix = limits.prefixes[epoch % limits.prefixes.length]!;
    this.#epoch = epoch;
    const snapshot = pickSnapshot(this.#random, this.listeners.fds.length, circumstances, limits, prefix, rules);
    this.ports.sources = sourceIdsOf(snapshot);
    publishSnapshot(memory, snapshot, epoch, this.listeners.fds);
    this.#tell(`publishes epoch ${epoch}`);
    if (this.#words[(HEADER_OFFSET + HEADER_EPOCH) >>> 2] !== epoch) throw new Error('the epoch was not published');
  }

  /** One is removed, comes back or is new. */
  #flipListeners(): void {
    if (this.isDraining || !mayPublish(this.#parts.memory, this.#epoch + 1)) return;
    this.#tell(this.listeners.change(this.#random));
    this.#publish();
    this.#parts.kernel.writeEventfd();
  }

  #flipHealth(): void {
    const backend = this.#random.integer(0, this.#moods.length - 1);
    const health = this.#random.pick([HEALTH_UP, HEALTH_UP, HEALTH_SUSPECT, HEALTH_DOWN, HEALTH_DRAIN]);
    const startsSlowly = health === HEALTH_UP && this.#random.chance(0.5);
    const withheld = startsSlowly ? this.#random.integer(1, HEALTH_SHARE_FULL - 1) : 0;
    const word = health | (withheld << HEALTH_WITHHELD_SHIFT);
    this.#words[(regionOffset(this.#parts.memory, HEADER_REGION_HEALTH) >>> 2) + backend] = word;
    this.#tell(`sets the health of backend ${backend} to ${health}, withholding ${withheld}`);
  }

  /** One, some or all are to go. Some entries come too late, or speak of a life that is yet to come. */
  #evict(): void {
    const random = this.#evictor;
    const share = random.pick([0.1, 0.1, 0.5, 1]);
    const how = {
      reason: random.pick([REASON_DRAINED, REASON_REBALANCED, REASON_KICKED]),
      code: random.pick([0x8b, 0x9c, 0x9c, 0]),
      flags: (random.chance(0.6) ? EVICTION_GOODBYE : 0) | (random.chance(0.15) ? EVICTION_ABRUPT : 0),
      reference: random.chance(0.6),
    };
    const entries = this.lives.flatMap((life) => (life && random.chance(share) ? this.#evictionOf(life, how) : []));
    const arePending = this.#evictionsPending;
    if (entries.length > 0 && random.chance(0.1)) this.#fillWithVoid(entries[0]!);
    const written = writeEvictions(this.#parts.memory, entries);
    if (!arePending) this.#evictedAt = this.now - this.jumpedMs;
    this.#tell(`evicts ${written} of ${entries.length} with code ${how.code}, flags ${how.flags}`);
    for (const [index, { slot, generation }] of entries.entries())
      if (index < written) this.#note(slot, generation, how);
    this.#parts.kernel.writeEventfd();
  }

  get #evictionsPending(): boolean {
    const word = (field: number) => this.#words[(HEADER_OFFSET + field) >>> 2];
    return word(HEADER_EVICTIONS_READ) !== word(HEADER_EVICTIONS_WRITTEN);
  }

  /** The data plane was woken for them. */
  checkEvictionsRead(): void {
    const waitedMs = this.now - this.jumpedMs - this.#evictedAt;
    if (!this.#evictionsPending || this.isStopping || waitedMs < EVICTIONS_READ_MS) return;
    throw new Violation(`evictions are not read for ${Math.round(waitedMs)} ms`);
  }

  #evictionOf(life: Life, how: Omit<Eviction, 'slot' | 'generation'>): Eviction[] {
    if (!life.isAccepted || life.isRecorded || life.isOver) return [];
    const generation = this.#parts.kernel.plane.wholeGeneration(life.slot);
    return [{ ...how, slot: life.slot, generation: generation + (this.#evictor.chance(0.1) ? 1 : 0) }];
  }

  #fillWithVoid(entry: Eviction): void {
    const isVoid = { ...entry, generation: entry.generation + 2 };
    writeEvictions(this.#parts.memory, new Array<Eviction>(EVICTIONS_MAX - 1).fill(isVoid));
  }

  /** An entry for a later generation may still come true, if that life begins before it is read. */
  #note(slot: number, generation: number, how: Omit<Eviction, 'slot' | 'generation'>): void {
    const { plane } = this.#parts.kernel;
    const life = this.lives.find((each) => each?.slot === slot && !each.isRecorded && !each.isOver);
    if (!life || plane.wholeGeneration(slot) !== generation) return;
    life.evictions.push({ ...how, slot, generation });
    this.#stage.trace?.deed(life.index, `is to be evicted: ${JSON.stringify(how)}`);
    if (plane.isAnswered(slot)) life.isToLeave = true;
  }

  /** Another worker has more or less of what is allowed to all. */
  #flipLeases(): void {
    this.gatekeeper.lend(this.#random);
    this.#tell('lends other parts of the limits');
    this.#parts.kernel.writeEventfd();
  }

  isAsking(slot: number): boolean {
    return this.#parts.kernel.plane.phase(slot) === PHASE_ASKING;
  }

  isQueued(slot: number): boolean {
    return this.#parts.kernel.plane.phase(slot) === PHASE_QUEUED;
  }

  /** A backend changes: one that turns bad may take its connections with it. */
  #flipMood(): void {
    const backend = this.#random.integer(0, this.#moods.length - 1);
    this.#moods[backend] = planMood(this.#random);
    const dies = this.#random.chance(0.5);
    this.#tell(`backend ${backend} is ${this.#moods[backend]}${dies ? ', and its connections are reset' : ''}`);
    if (!dies) return;
    for (const life of this.lives) {
      if (life?.backend?.id === backend && life.backend.socket.isConnected) life.backend.reset('dies');
    }
  }

  /** Deadlines pass at once: whoever is there may be cut off. */
  onClockJump(milliseconds: number): void {
    this.jumpedMs += milliseconds;
    for (const life of this.lives) life?.disturb('the clock jumped');
  }

  #tell(text: string): void {
    this.#stage.trace?.event(`the main thread ${text}`);
  }
}

// A client's number stands in its address.
function clientSockaddr(index: number, isIPv6: boolean, sources: number): Uint8Array {
  const port = 20000 + index;
  if (sources > 0) return encodeSockaddr(sharedHost(index % sources), port);
  if (isIPv6) return encodeSockaddr(`fd01::${(index + 1).toString(16)}`, port);
  return encodeSockaddr(`10.1.${index >> 8}.${index & 255}`, port);
}

// Some of them the same: a /64, and an IPv4 address in an IPv6 one.
function sharedHost(source: number): string {
  const hosts = ['10.1.0.1', '10.1.0.2', '::ffff:10.1.0.1', 'fd01::1', 'fd01::7:1', 'fd01:0:0:1::1'];
  return hosts[source] ?? `10.1.1.${source}`;
}

function clientOf(sockaddr: Uint8Array): number {
  return ((sockaddr[2]! << 8) | sockaddr[3]!) - 20000;
}
