// One seed: a worker's memory, the real data plane on it, the fake kernel under it and the world around. It runs until
// everybody has come and gone and the worker has drained, and checks after every turn what must hold.
import {
  BACKEND_COUNTERS_ACTIVE,
  BACKEND_COUNTERS_BYTES,
  COUNTERS_ACCEPT_ERRORS,
  COUNTERS_ACCEPTED,
  COUNTERS_ARENA_USED,
  COUNTERS_BUFFERS_HELD,
  COUNTERS_BYTES_FROM_CLIENTS,
  COUNTERS_BYTES_TO_CLIENTS,
  COUNTERS_CLOSED,
  COUNTERS_REASONS,
  COUNTERS_RECORDS_DROPPED,
  COUNTERS_SLOTS_USED,
  HEADER_CLOCK_MS,
  HEADER_ID_KEY_0,
  HEADER_LISTENER_ACTIVE,
  HEADER_MEMORY_BASE,
  HEADER_OFFSET,
  HEADER_RANDOM_SEED,
  HEADER_REGION_BACKEND_COUNTERS,
  HEADER_REGION_COUNTERS,
  HEADER_REGION_SOURCE_COUNTERS,
  HEADER_WALL_MS,
  LISTENERS_MAX,
  NONE,
  REASONS_MAX,
  SOURCE_COUNTERS_ACTIVE,
  SOURCE_COUNTERS_BYTES,
  SOURCE_IDS_MAX,
  STALL_WHEN_SHORT_MS,
} from '../../assembly/layout.ts';
import { createMemory } from '../../src/control/memory-map.ts';
import { type DataPlane, loadDataPlane } from '../../src/data-plane.ts';
import { headerWords, regionOffset } from '../../src/header.ts';
import { FigureBooks } from './figures.ts';
import { Kernel } from './kernel.ts';
import type { Life } from './life.ts';
import { type AccessRecord, RecordReader } from './records.ts';
import { planScenario, type Scenario } from './scenario.ts';
import { Timeline } from './timeline.ts';
import { Trace } from './trace.ts';
import { type TroubleLimits, Troublemaker } from './trouble.ts';
import { Violation } from './violation.ts';
import { World } from './world.ts';

const WAKE_FD = 39;
/** There are fewer. */
const BACKENDS_LOOKED_AT = 16;
const WALL_MS = 1_700_000_000_000;
const TURNS_MAX = 400_000;
/** Turns between two looks at lives that don't end, and between the last life's end and the look at what is left. */
const LIVENESS_TURNS = 32;
const SETTLING_TURNS = 200;
/** Without anything happening in it, a life must be over after so long. */
const QUIET_MS = 50_000;
/** The same where others may keep buffers, or take turns with them, for long. */
const QUIET_WHEN_SHORT_MS = 250_000;
/** With two buffers for all, who finds none may do so again and again before it is its turn. */
const QUIET_WITH_TWO_BUFFERS_MS = 1_500_000;
/** How long the data plane may take for what is its turn: others may keep the buffers that it lacks while they stall. */
const OWED_MS = STALL_WHEN_SHORT_MS + 1000;

export interface Replay extends TroubleLimits {
  seed: number;
  lives: ReadonlySet<number> | null;
  isTraced: boolean;
}

export interface Outcome {
  violation: Violation | null;
  /** Lives that were accepted. */
  lives: number;
  turns: number;
  decisions: number;
  /** What led to the violation, when it was traced. */
  trace: (linesMax: number) => string[];
}

export function everything(seed: number): Replay {
  return { seed, lives: null, isTraced: false, without: new Set(), decisionsMax: Infinity };
}

export function simulate(module: WebAssembly.Module, replay: Replay): Outcome {
  const simulation = new Simulation(module, replay);
  const violation = simulation.run();
  return {
    violation,
    lives: simulation.livesAccepted,
    turns: simulation.turns,
    decisions: simulation.decisions,
    trace: (linesMax) => (violation ? simulation.explain(violation, linesMax) : []),
  };
}

class Simulation {
  turns = 0;
  readonly #scenario: Scenario;
  readonly #memory: WebAssembly.Memory;
  readonly #plane: DataPlane;
  readonly #kernel: Kernel;
  readonly #world: World;
  readonly #records: RecordReader;
  readonly #figures: FigureBooks;
  readonly #view: DataView;
  readonly #counters: number;
  #recorded = 0;
  #bytesFromClients = 0;
  #bytesToClients = 0;

  constructor(module: WebAssembly.Module, replay: Replay) {
    const scenario = planScenario(replay.seed);
    this.#scenario = scenario;
    const memory = createMemory(scenario.settings, 0, WAKE_FD);
    this.#memory = memory;
    this.#view = new DataView(memory.buffer);
    this.#counters = regionOffset(memory, HEADER_REGION_COUNTERS);
    // As far up as Linux maps memory, and differently for each seed: nothing may depend on it.
    const base = 0x7f12_0000_0000 + (replay.seed % 4096) * 0x10_0000;
    this.#writeHeader(base, replay.seed);
    const timeline = new Timeline(this.#clockMs());
    this.#plane = loadDataPlane(memory, module, {
      enter: (submit, minComplete, flags) => this.#kernel.enter(submit!, minComplete!, flags!),
      release: (offset, bytes) => this.#kernel.buffers.release(offset!, bytes!),
    });
    const trace = replay.isTraced ? new Trace(() => timeline.now) : null;
    const trouble = new Troublemaker(replay.seed ^ 0x2545f491, scenario.rates, replay);
    this.#plane.placeRings();
    const places = {
      heads: this.#plane.ringHeads(),
      submissions: this.#plane.ringSubmissions(),
      provided: this.#plane.ringProvided(),
    };
    this.#kernel = new Kernel({ memory, base, places, timeline, trouble, trace });
    this.#world = new World({
      seed: replay.seed,
      scenario,
      kernel: this.#kernel,
      memory,
      keepsLife: (index) => replay.lives === null || replay.lives.has(index),
    });
    this.#kernel.world = this.#world;
    this.#records = new RecordReader(memory);
    this.#figures = new FigureBooks(this.#world);
  }

  get decisions(): number {
    return this.#kernel.trouble.decisions;
  }

  get livesAccepted(): number {
    return this.#world.lives.filter((life) => life?.isAccepted).length;
  }

  /** The first violation, or null. */
  run(): Violation | null {
    try {
      this.#live();
      return null;
    } catch (error) {
      if (error instanceof Violation) return error;
      if (error instanceof Error && error.name === 'RuntimeError')
        return new Violation(`the data plane stopped itself: ${stackOf(error)}`);
      throw error;
    }
  }

  explain(violation: Violation, linesMax: number): string[] {
    const lives = new Set<number>(violation.life === undefined ? [] : [violation.life]);
    for (const life of this.#world.lives)
      if (life && life.slot === violation.slot && !life.isRecorded) lives.add(life.index);
    const known = violation.slot ?? this.#world.lives[violation.life ?? -1]?.slot;
    const slot = known === NONE ? undefined : known;
    const lines = this.#kernel.trace?.about(slot, lives, linesMax) ?? [];
    return [...lines, ...this.#describeSlots(slot)];
  }

  /** The slot in question, or all of them. */
  #describeSlots(slot: number | undefined): string[] {
    const { connectionsMax } = this.#scenario.settings;
    const isKnown = slot !== undefined && slot < connectionsMax;
    const slots = isKnown ? [slot] : Array.from({ length: connectionsMax }, (_, index) => index);
    return slots.map((each) => `slot ${each}: ${this.#kernel.plane.describe(each)}`);
  }

  #live(): void {
    const plane = this.#plane;
    if (plane.start() !== 0) throw new Violation('the data plane does not start');
    plane.startRing();
    plane.startLoop();
    this.#world.begin();
    let settling = 0;
    while (plane.turn()) {
      this.#world.hooks.look();
      if (++this.turns > TURNS_MAX) throw new Violation(`no end after ${TURNS_MAX} turns`);
      if (this.turns % this.#scenario.recordsReadEvery === 0) this.#readRecords();
      this.#world.gatekeeper.checkLanes(this.#kernel, this.#world.now, this.#world.jumpedMs);
      this.#world.gatekeeper.checkArrivals(this.#kernel, this.#world.lives, this.#world.now);
      if (this.turns % LIVENESS_TURNS === 0) {
        this.#checkLiveness();
        this.#world.listeners.checkLeft();
        this.#world.checkEvictionsRead();
        this.#world.names.checkOverlaps();
      }
      if (!this.#world.isOver || this.#world.isDraining) continue;
      if (settling++ < SETTLING_TURNS) continue;
      this.#checkQuiet();
      this.#world.drain();
    }
    this.#checkEnd();
  }

  // ---- Checks

  #readRecords(): void {
    this.#records.drain((record) => this.#onRecord(record));
  }

  #onRecord(record: AccessRecord): void {
    const life = this.#world.lifeOf(record.peer);
    if (!life) throw new Violation('a record of nobody');
    life.judge(record);
    this.#figures.onRecord(life, record);
    this.#recorded++;
    this.#bytesFromClients += record.bytesFromClient;
    this.#bytesToClients += record.bytesToClient;
  }

  #checkLiveness(): void {
    const time = this.#world.now - this.#world.jumpedMs;
    for (const life of this.#world.lives) {
      if (!life || life.isOver || (this.#world.isDraining && !life.isAccepted)) continue;
      // A client that waits to be accepted waits for others to leave: somebody must get on.
      const quietMs = time - (life.isAccepted ? life.movedAt : Math.max(life.movedAt, this.#world.acceptedAt));
      this.#checkOwed(life, time);
      if (quietMs > this.#quietMaxMs) this.#failQuiet(life, quietMs);
    }
  }

  get #quietMaxMs(): number {
    if (this.#world.buffersArePlenty) return QUIET_MS;
    return this.#scenario.settings.bufferCount < 4 ? QUIET_WITH_TWO_BUFFERS_MS : QUIET_WHEN_SHORT_MS;
  }

  /** Where nothing is short and nobody stalls, the data plane gets on with what is its turn. */
  #checkOwed(life: Life, time: number): void {
    if (!this.#world.buffersArePlenty || !life.isAccepted) return;
    const owedMs = life.owedSince(time);
    if (owedMs > OWED_MS)
      throw new Violation(
        `nothing happened for ${Math.round(owedMs)} ms though it is the data plane's turn`,
        life.about,
      );
  }

  #failQuiet(life: Life, quietMs: number): never {
    const what = life.isAccepted ? 'a life does not end' : 'a client is not accepted';
    throw new Violation(`${what}: nothing has happened for ${Math.round(quietMs)} ms`, life.about);
  }

  /** Nobody is there: nothing may be left. */
  #checkQuiet(): void {
    this.#kernel.checkEverySlot();
    const { buffers, inFlight, files } = this.#kernel;
    if (files.some((file) => file !== null)) throw new Violation('a file is left open');
    const provided = this.#scenario.settings.buffersProvided || buffers.count;
    if (buffers.provided < provided)
      throw new Violation(`${provided - buffers.provided} buffers were never given back`);
    const accepts = [...this.#kernel.listeners.values()].reduce((sum, { accepts }) => sum + accepts.length, 0);
    if (inFlight.size !== accepts + 1)
      throw new Violation(`${inFlight.size - accepts - 1} operations are left in flight`);
    this.#checkCounters();
    this.#expect('acceptErrors', COUNTERS_ACCEPT_ERRORS, this.#kernel.acceptErrors);
  }

  #checkEnd(): void {
    if (!this.#world.isDraining) throw new Violation('the worker ended though nobody asked it to');
    for (const life of this.#world.lives) if (life?.isAccepted) this.#checkOver(life);
    this.#checkCounters();
  }

  // The last closes may not have been submitted: the ring goes, and with it its files.
  #checkOver(life: Life): void {
    if (life.isRecorded || life.isOver || this.#counter(COUNTERS_RECORDS_DROPPED) > 0) return;
    this.#readRecords();
    if (!life.isRecorded) throw new Violation('a connection was left when the worker ended', life.about);
  }

  #checkCounters(): void {
    this.#readRecords();
    const accepted = this.livesAccepted;
    const dropped = this.#counter(COUNTERS_RECORDS_DROPPED);
    this.#expect('accepted', COUNTERS_ACCEPTED, accepted);
    this.#expect('closed', COUNTERS_CLOSED, accepted);
    this.#expect('slotsUsed', COUNTERS_SLOTS_USED, 0);
    this.#expect('buffersHeld', COUNTERS_BUFFERS_HELD, 0);
    this.#expect('arenaUsed', COUNTERS_ARENA_USED, 0);
    if (this.#recorded + dropped !== accepted) {
      throw new Violation(`${accepted} connections, but ${this.#recorded} records and ${dropped} dropped`);
    }
    if (dropped === 0) {
      this.#expect('bytesFromClients', COUNTERS_BYTES_FROM_CLIENTS, this.#bytesFromClients);
      this.#expect('bytesToClients', COUNTERS_BYTES_TO_CLIENTS, this.#bytesToClients);
      this.#figures.check(this.#memory, BACKENDS_LOOKED_AT);
    }
    let reasons = 0;
    for (let reason = 0; reason < REASONS_MAX; reason++) reasons += this.#counter(COUNTERS_REASONS + reason * 8);
    if (reasons !== accepted) throw new Violation(`${accepted} connections, but ${reasons} reasons`);
    this.#checkListenerCounts();
    this.#checkBackendCounters();
    this.#world.gatekeeper.checkEmpty();
  }

  #checkListenerCounts(): void {
    const first = HEADER_LISTENER_ACTIVE / 4;
    const left = headerWords(this.#memory)
      .subarray(first, first + LISTENERS_MAX)
      .findIndex((count) => count !== 0);
    if (left !== -1) throw new Violation(`listener ${left} is left with active connections`);
  }

  #checkBackendCounters(): void {
    const base = regionOffset(this.#memory, HEADER_REGION_BACKEND_COUNTERS);
    for (let backend = 0; backend < BACKENDS_LOOKED_AT; backend++) {
      const active = this.#view.getUint32(base + backend * BACKEND_COUNTERS_BYTES + BACKEND_COUNTERS_ACTIVE, true);
      if (active !== 0) throw new Violation(`backend ${backend} is left with ${active} active connections`);
    }
    this.#checkSourceCounters();
    this.#world.ports.checkSpread(BACKENDS_LOOKED_AT);
  }

  #checkSourceCounters(): void {
    const base = regionOffset(this.#memory, HEADER_REGION_SOURCE_COUNTERS);
    for (let index = 0; index < BACKENDS_LOOKED_AT * SOURCE_IDS_MAX; index++) {
      const active = this.#view.getUint32(base + index * SOURCE_COUNTERS_BYTES + SOURCE_COUNTERS_ACTIVE, true);
      if (active === 0) continue;
      const pair = `source ${index % SOURCE_IDS_MAX} to backend ${Math.floor(index / SOURCE_IDS_MAX)}`;
      throw new Violation(`${pair} is left with ${active} active connections`);
    }
  }

  #expect(name: string, field: number, expected: number): void {
    const value = this.#counter(field);
    if (value !== expected) throw new Violation(`the counter ${name} is ${value} and should be ${expected}`);
  }

  #counter(field: number): number {
    return Number(this.#view.getBigUint64(this.#counters + field, true));
  }

  // ---- Set-up

  #writeHeader(base: number, seed: number): void {
    const view = this.#view;
    view.setBigUint64(HEADER_OFFSET + HEADER_MEMORY_BASE, BigInt(base), true);
    view.setFloat64(HEADER_OFFSET + HEADER_WALL_MS, WALL_MS, true);
    // A worker that starts late, so that ticks don't begin at zero.
    view.setFloat64(HEADER_OFFSET + HEADER_CLOCK_MS, 100 + (seed % 1000) * 977, true);
    const words = headerWords(this.#memory);
    words[HEADER_RANDOM_SEED / 4] = (seed >>> 0) + 1;
    words.fill(seed >>> 0, HEADER_ID_KEY_0 / 4, HEADER_ID_KEY_0 / 4 + 4);
  }

  #clockMs(): number {
    return this.#view.getFloat64(HEADER_OFFSET + HEADER_CLOCK_MS, true);
  }
}

/** What V8 tells of a trap: the functions by name, if the module has names. */
function stackOf(error: Error): string {
  const frames = (error.stack ?? '').match(/(?<=at )assembly\/\S+/g) ?? [];
  return [error.message, ...frames.slice(0, 6)].join(' in ');
}
