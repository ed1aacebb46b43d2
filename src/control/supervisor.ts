// The lives of the workers. Each is a thread with a memory of its own that runs one task without end; when the task
// ends unasked, the memory is buried (its connections get their access records, its counts are kept, its ring is
// closed) and the worker starts again on a new one. The listening sockets aren't touched by any of this.
//
// They come in crews: all workers of one engine. Beside the crew of uring there is one of as many portable workers as soon
// as a listener needs them (TLS). In both the worker of the same place has the same of a listener's sockets; which crew
// gets them is said by the listener.
//
//   starting ──► running ──► waiting (back-off) ──► starting      stopped, from anywhere
//
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { Piscina } from 'piscina';
import {
  BACKENDS_MAX,
  CONTROL_DRAIN,
  CONTROL_RUN,
  CONTROL_STOP,
  CONTROL_WAIT,
  HEADER_ACCEPTING,
  HEADER_CLOCK_MS,
  HEADER_CONNECTIONS_MAX,
  HEADER_CONTROL,
  HEADER_LISTENER_ACTIVE,
  HEADER_LISTENER_FDS,
  HEADER_REGION_HEALTH,
  HEADER_RING_FD,
  HEADER_STATE,
  HEADER_THREAD_ID,
  HEADER_WALL_MS,
  HEALTH_DOWN,
  HEALTH_UP,
  LISTENERS_MAX,
  NONE,
  REASON_WORKER_DIED,
  STATE_READY,
  STATE_RUNNING,
  STATE_STARTING,
} from '../../assembly/layout.ts';
import { loadDataPlane } from '../data-plane.ts';
import type { EngineName, WorkerStart } from '../engine/engine.ts';
import { TidegateError } from '../errors.ts';
import type { BackendFault, DoorsUpdate } from '../front/door-settings.ts';
import { controlWord, headerClocks, headerWords, regionOffset } from '../header.ts';
import type { Hooks } from '../hooks/hooks.ts';
import type { Logger } from '../logger.ts';
import { close, dup, eventfd, writeEventfd } from '../system/libc.ts';
import type { AccessLog } from './access-log.ts';
import { memlockError } from './capacity.ts';
import { Totals, WorkerCounters } from './counters.ts';
import { Dismissal } from './dismissal.ts';
import { type Eviction, writeEvictions } from './evictions.ts';
import type { Occupancy } from './fullness.ts';
import { LEASE_POLL_MS, Leases, limitsOf } from './leases.ts';
import { createMemory, type MemorySettings } from './memory-map.ts';
import { mayPublish, publishSnapshot } from './snapshot.ts';

const START_TIMEOUT_MS = 10_000;
/** Workers that start together share the cores. */
const START_TIMEOUT_EACH_MS = 500;
/** From the stop command to the last task's end; whoever takes longer is terminated. */
const STOP_TIMEOUT_MS = 5_000;
/** A worker obeys at its next turn, and is woken for it. */
const DEAF_MS = 250;
const POLL_MS = 5;
/** To get to the end of a packet, and to take the last word. */
const FAREWELL_MS = 2000;
const BACKOFF_FIRST_MS = 50;
const BACKOFF_MAX_MS = 5_000;
/** A worker that lived this long isn't crashing over and over: it starts again at once. */
const STEADY_MS = 10_000;

export interface SupervisorOptions {
  /** The first one is there for good. */
  crews: readonly [CrewOptions, ...CrewOptions[]];
  /** Of each crew. */
  workerCount: number;
  module: WebAssembly.Module;
  listenerFds: ListenerFds;
  doors: DoorsUpdate;
  /** The core of each worker; none where the scheduler chooses. */
  cores: readonly number[];
  snapshot: Uint8Array;
  accessLog: AccessLog;
  hooks: Hooks;
  /** A worker could not speak TLS with a backend. */
  onBackendFault(fault: BackendFault): void;
  log: Logger;
}

export interface CrewOptions {
  engine: EngineName;
  settings: MemorySettings;
}

/**
 * For each engine and each worker of its crew the listening sockets, which stay ours: by the listener's index, NONE for one
 * that was removed, or that the other engine carries.
 */
export type ListenerFds = Record<EngineName, readonly (readonly number[])[]>;

export type WorkerState = 'starting' | 'running' | 'waiting' | 'stopped';

export interface WorkerStatus {
  index: number;
  engine: EngineName;
  state: WorkerState;
  restarts: number;
  /** Open at this moment. */
  connections: number;
  connectionsMax: number;
}

/** One life: from a new memory to its burial. */
interface Life {
  memory: WebAssembly.Memory;
  header: Uint32Array;
  counters: WorkerCounters;
  /** What it was given to listen on, by the listener's index. */
  listenerFds: number[];
  wakeFd: number;
  /** On which it is told of its front doors. */
  doors: MessagePort | undefined;
  startedMs: number;
}

interface Crew extends CrewOptions {
  threads: Piscina<WorkerStart, void>;
}

interface Worker {
  crew: Crew;
  /** Among all workers. */
  index: number;
  /** In its crew. */
  place: number;
  life: Life | null;
  restarts: number;
  /** Crashes one soon after the other. */
  crashes: number;
  ended: boolean;
}

export class Supervisor {
  readonly totals = new Totals();
  readonly #options: SupervisorOptions;
  readonly #crews: Crew[] = [];
  readonly #workers: Worker[] = [];
  /** Health words by backend id: what the judge found, and what an operator said, HEALTH_UP where nothing. */
  readonly #judged = new Uint32Array(BACKENDS_MAX);
  readonly #operator = new Uint32Array(BACKENDS_MAX);
  /** A process that exits without waiting joins its threads, and one that is blocked in the kernel would hold it. */
  readonly #release = (): void => this.#command(CONTROL_STOP);
  /** Ends every pause. */
  readonly #stop = new AbortController();
  #runs: Promise<void>[] = [];
  /** Memories whose last records are still being written. */
  readonly #detaching = new Set<Promise<void>>();
  #threadsEnded: Promise<void> | undefined;
  /** The workers' parts of what max_connections allows. */
  readonly #leases: Leases;
  readonly #leaseTimer: NodeJS.Timeout;
  #snapshot: Uint8Array;
  #listenerFds: ListenerFds;
  #doors: DoorsUpdate;
  #epoch = 1;
  #control = CONTROL_WAIT;
  #starting = true;
  #startFailure: unknown = null;

  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#snapshot = options.snapshot;
    this.#listenerFds = options.listenerFds;
    this.#doors = options.doors;
    this.#leases = new Leases(options.workerCount, options.crews.length);
    this.#leases.adopt(limitsOf(options.snapshot));
    this.#leaseTimer = setInterval(() => this.#leases.look(), LEASE_POLL_MS).unref();
    for (const crew of options.crews) this.#hire(crew);
  }

  get #startTimeoutMs(): number {
    return START_TIMEOUT_MS + START_TIMEOUT_EACH_MS * this.#workers.filter((worker) => !isRunning(worker)).length;
  }

  /** Of each crew. */
  get workerCount(): number {
    return this.#options.workerCount;
  }

  hasCrew(engine: EngineName): boolean {
    return this.#crews.some((crew) => crew.engine === engine);
  }

  /** Adds a crew while the others serve; resolves when it does, too. Rejects with a TidegateError when it can't. */
  async grow(options: CrewOptions): Promise<void> {
    const added = this.#hire(options);
    this.#leases.grow();
    this.#runs.push(...added.map((worker) => this.#keepRunning(worker)));
    while (this.#isServing && !added.every(isRunning)) {
      if (added.some(({ restarts }) => restarts > 0)) {
        throw new TidegateError('WORKER', `workers of engine ${options.engine} could not start: the log says why`);
      }
      await sleep(POLL_MS);
    }
  }

  #hire(options: CrewOptions): Worker[] {
    const { workerCount, log } = this.#options;
    const crew: Crew = { ...options, threads: createThreads(workerCount, options.engine) };
    crew.threads.on('error', (error) => log.error({ error: String(error) }, 'a worker thread failed'));
    this.#crews.push(crew);
    const first = this.#workers.length;
    const added = Array.from({ length: workerCount }, (_, place) => newWorker(crew, first + place, place));
    this.#workers.push(...added);
    return added;
  }

  get epoch(): number {
    return this.#epoch;
  }

  /**
   * Resolves when every worker serves; rejects with a TidegateError when one can't, and then nothing is left running. They
   * begin together, when all can: a start that fails has accepted nobody, whom somebody else could have served.
   */
  async start(): Promise<void> {
    process.once('exit', this.#release);
    this.#runs = this.#workers.map((worker) => this.#keepRunning(worker));
    await this.#untilAll(isReady);
    if (this.#startFailure === null) this.#command(CONTROL_RUN);
    await this.#untilAll(isRunning);
    this.#starting = false;
    if (this.#startFailure === null) return;
    await this.stop();
    throw this.#startError(this.#startFailure);
  }

  /**
   * Hands a new snapshot to every worker, each when it has left the half that it goes into. Not to be called again before
   * it has resolved.
   */
  async publish(
    snapshot: Uint8Array,
    listenerFds: ListenerFds = this.#listenerFds,
    doors: DoorsUpdate = this.#doors,
  ): Promise<void> {
    const epoch = this.#epoch + 1;
    const living = this.#workers.flatMap((worker) => (worker.life === null ? [] : [{ worker, life: worker.life }]));
    // A life that begins from here on gets the new one from the start.
    this.#snapshot = snapshot;
    this.#listenerFds = listenerFds;
    this.#setDoors(doors);
    this.#epoch = epoch;
    this.#leases.adopt(limitsOf(snapshot));
    for (const { worker, life } of living) {
      while (this.#isAlive(life) && !mayPublish(life.memory, epoch)) await sleep(POLL_MS);
      if (!this.#isAlive(life)) continue;
      this.#giveListeners(worker, life);
      life.doors?.postMessage(doors);
      publishSnapshot(life.memory, snapshot, epoch, life.listenerFds);
      wake(life);
    }
  }

  /** For what changes in the doors alone. */
  tellDoors(doors: DoorsUpdate): void {
    this.#setDoors(doors);
    for (const { life } of this.#workers) {
      if (life === null) continue;
      life.doors?.postMessage(doors);
      wake(life);
    }
  }

  // Whoever has come to a worker of uring, before its pool got TLS, must not be led to a backend in plain text.
  #setDoors(doors: DoorsUpdate): void {
    const concerned = new Set([...this.#doors.backends.keys(), ...doors.backends.keys()]);
    this.#doors = doors;
    for (const backend of concerned) this.#tellHealth(backend);
  }

  /** Resolves when no worker accepts any more from the removed listeners of these indexes: their sockets may be closed. */
  async leave(listeners: readonly number[]): Promise<void> {
    const isLeft = ({ header }: Life) => listeners.every((listener) => !isAcceptedFrom(header, listener));
    while (this.#control === CONTROL_RUN && !this.#workers.every(({ life }) => life === null || isLeft(life))) {
      await sleep(POLL_MS);
    }
  }

  /** No connection that came through that listener is left, and none can come. */
  isForgotten(listener: number): boolean {
    return this.#workers.every(({ life }) => {
      if (life === null) return true;
      const { header } = life;
      return !isAcceptedFrom(header, listener) && header[HEADER_LISTENER_ACTIVE / 4 + listener] === 0;
    });
  }

  /** The judge's health word, as layout.ts has it, for every worker that lives or will. */
  setJudged(backend: number, word: number): void {
    this.#judged[backend] = word;
    this.#tellHealth(backend);
  }

  /** An operator's, which goes before the judge's unless it is HEALTH_UP. */
  setOperator(backend: number, word: number): void {
    this.#operator[backend] = word;
    this.#tellHealth(backend);
  }

  /** What the workers know of the backend: an operator's word, or else the judge's. */
  healthOf(backend: number): number {
    const operator = this.#operator[backend]!;
    return operator === HEALTH_UP ? this.#judged[backend]! : operator;
  }

  /** The memories in which connections live now, each with the life's number: it changes when a worker begins anew. */
  lives(): { worker: number; life: number; memory: WebAssembly.Memory }[] {
    return this.#workers.flatMap(({ index, life, restarts }) =>
      life === null ? [] : { worker: index, life: restarts, memory: life.memory },
    );
  }

  /** Asks the worker to end connections of that life; returns how many of them, from the first on, it was asked for. */
  evict(worker: number, life: number, evictions: readonly Eviction[]): number {
    const target = this.#workers[worker];
    if (target?.life == null || target.restarts !== life) return evictions.length; // they have ended with it
    const taken = writeEvictions(target.life.memory, evictions);
    wake(target.life);
    return taken;
  }

  statuses(): WorkerStatus[] {
    return this.#workers.map(statusOf);
  }

  occupancies(): Occupancy[] {
    return this.#workers.flatMap((worker) => (worker.life === null ? [] : occupancyOf(worker, worker.life)));
  }

  /**
   * No new clients; resolves when the last one has left, after `timeoutMs`, or when the signal says so. Who is still there
   * in the last `pacedMs` of that time is asked to go in the course of it, and everybody at its end: who does not within
   * FAREWELL_MS is for stop() to close. Calls `onDeaf` when no worker touches the listening
   * sockets any more: who comes then shall be refused, or be served by another process, not kept waiting.
   */
  async drain(timeoutMs: number, pacedMs: number, hasten: AbortSignal, onDeaf: () => void): Promise<void> {
    this.#command(CONTROL_DRAIN);
    const deaf = setTimeout(onDeaf, DEAF_MS);
    const deadlineMs = performance.now() + timeoutMs;
    const dismissal = new Dismissal(this);
    const isOver = () => hasten.aborted || this.#isDrained();
    while (performance.now() < deadlineMs && !isOver()) {
      if (pacedMs > 0) dismissal.ask(1 - (deadlineMs - performance.now()) / pacedMs);
      await sleep(POLL_MS);
    }
    clearTimeout(deaf);
    const farewellEndMs = performance.now() + FAREWELL_MS;
    while (performance.now() < farewellEndMs && !isOver()) {
      dismissal.ask(1);
      await sleep(POLL_MS);
    }
  }

  /** Closes every connection and ends every thread. May be called twice. */
  async stop(): Promise<void> {
    this.#command(CONTROL_STOP);
    this.#stop.abort();
    const late = setTimeout(() => {
      this.#options.log.error({}, 'a worker did not stop when told to: it is terminated');
      void this.#endThreads();
    }, STOP_TIMEOUT_MS);
    await Promise.all(this.#runs);
    clearTimeout(late);
    clearInterval(this.#leaseTimer);
    await this.#endThreads();
    await Promise.all(this.#detaching);
    process.off('exit', this.#release);
  }

  /** Ends a worker's thread as a crash would; it is back soon. */
  async terminate(index: number): Promise<void> {
    const life = this.#workers[index]?.life;
    const threads = this.#crews.flatMap((crew) => crew.threads.threads);
    const thread = life && threads.find(({ threadId }) => threadId === life.header[HEADER_THREAD_ID / 4]);
    if (!life || !thread) return;
    const ended = thread.terminate();
    wake(life);
    await ended;
  }

  /** Or until one of them could not start. */
  async #untilAll(are: (worker: Worker) => boolean): Promise<void> {
    while (this.#startFailure === null && !this.#workers.every(are)) await sleep(POLL_MS);
  }

  async #keepRunning(worker: Worker): Promise<void> {
    while (this.#isServing) {
      const failure = await this.#runOnce(worker);
      if (!this.#isServing) break;
      if (this.#starting) {
        this.#startFailure ??= failure;
        break;
      }
      worker.restarts += 1;
      const pauseMs = backoffMs(worker.crashes);
      const { index, restarts } = worker;
      const fields = { event: 'worker_died', worker: index, restarts, error: describe(failure) } as const;
      this.#options.log.error(fields, `worker ${index} died and starts again in ${pauseMs} ms`);
      if (pauseMs > 0) await sleep(pauseMs, undefined, { signal: this.#stop.signal }).catch(() => {});
    }
    worker.ended = true;
  }

  /** Returns why the life ended. */
  async #runOnce(worker: Worker): Promise<unknown> {
    let life: Life | null = null;
    const giveUp = new AbortController();
    let timer: NodeJS.Timeout | undefined;
    let failure: unknown = new Error('the worker ended without being told to');
    try {
      life = this.#beginLife(worker);
      const { header } = life;
      timer = setTimeout(() => {
        if (Atomics.load(header, HEADER_STATE / 4) === STATE_STARTING) giveUp.abort();
      }, this.#startTimeoutMs);
      const start = this.#startOf(worker, life);
      const transferList = start.doors === undefined ? [] : [start.doors];
      await worker.crew.threads.run(start, { signal: giveUp.signal, transferList });
    } catch (error) {
      failure = giveUp.signal.aborted ? new Error(`the worker did not start within ${this.#startTimeoutMs} ms`) : error;
    } finally {
      clearTimeout(timer);
    }
    if (life !== null) this.#endLife(worker, life);
    return failure;
  }

  #beginLife(worker: Worker): Life {
    const { accessLog, hooks } = this.#options;
    const { engine, settings } = worker.crew;
    const wakeFd = engine === 'uring' ? eventfd() : NONE;
    const memory = createMemory(settings, worker.index, wakeFd);
    const header = headerWords(memory);
    header[HEADER_CONTROL / 4] = this.#control;
    healthWords(memory).set(this.#judged.map((_, backend) => this.#healthFor(engine, backend)));
    const counters = new WorkerCounters(memory);
    const startedMs = performance.now();
    const life: Life = { memory, header, counters, listenerFds: [], wakeFd, doors: undefined, startedMs };
    this.#giveListeners(worker, life);
    publishSnapshot(memory, this.#snapshot, this.#epoch, life.listenerFds);
    accessLog.attach(memory, worker.index);
    this.#leases.add(memory, () => wake(life));
    hooks.add(memory, () => wake(life));
    this.totals.add(life.counters);
    worker.life = life;
    return life;
  }

  /** node:net closes the descriptor that it listens on, so it gets a copy; a ring only borrows ours. */
  #giveListeners({ crew, place }: Worker, life: Life): void {
    life.listenerFds = this.#listenerFds[crew.engine][place]!.map((fd, listener) => {
      if (fd === NONE || crew.engine === 'uring') return fd;
      const given = life.listenerFds[listener] ?? NONE;
      return given === NONE ? dup(fd) : given;
    });
  }

  #startOf({ crew: { engine }, index, place }: Worker, life: Life): WorkerStart {
    const { module, cores } = this.#options;
    return { engine, index, memory: life.memory, module, core: cores[place], doors: this.#openDoors(engine, life) };
  }

  #openDoors(engine: EngineName, life: Life): MessagePort | undefined {
    if (engine === 'uring') return undefined;
    const { port1, port2 } = new MessageChannel();
    port1.postMessage(this.#doors);
    port1.on('message', this.#options.onBackendFault).unref();
    life.doors = port1;
    return port2;
  }

  #endLife(worker: Worker, life: Life): void {
    worker.life = null;
    // A thread that was given up may still sit in the kernel, and holds the ring open while it does.
    wake(life);
    worker.crashes = performance.now() - life.startedMs < STEADY_MS ? worker.crashes + 1 : 0;
    // The ring belongs to the process and outlives its thread: until it is closed its clients hang, and the kernel
    // goes on writing into the memory.
    const ringFd = Atomics.exchange(life.header, HEADER_RING_FD / 4, NONE);
    if (ringFd !== NONE) close(ringFd);
    if (life.counters.connections() > 0) this.#sweep(worker, life);
    this.#leases.remove(life.memory);
    this.#options.hooks.remove(life.memory);
    this.totals.retire(life.counters);
    const detaching = this.#options.accessLog.detach(life.memory).finally(() => this.#detaching.delete(detaching));
    this.#detaching.add(detaching);
    if (life.wakeFd !== NONE) close(life.wakeFd);
    life.doors?.close();
    if (worker.crew.engine === 'portable') closeUntaken(life);
  }

  /** Ends what a crash left in the connection table. */
  #sweep(worker: Worker, { memory }: Life): void {
    try {
      const clocks = headerClocks(memory);
      // The records go on in the time of the thread that died.
      clocks[HEADER_CLOCK_MS / 8] = performance.timeOrigin + performance.now() - clocks[HEADER_WALL_MS / 8]!;
      loadDataPlane(memory, this.#options.module).sweep(REASON_WORKER_DIED);
    } catch (error) {
      const fields = { worker: worker.index, error: describe(error) };
      this.#options.log.error(fields, `the connections of worker ${worker.index} could not be logged`);
    }
  }

  /** An error loses its code on its way out of a thread, but its message begins with the call and the errno's name. */
  #startError(failure: unknown): TidegateError {
    if (failure instanceof TidegateError) return failure;
    const message = describe(failure);
    const { crews, workerCount } = this.#options;
    if (/\bENOMEM\b/.test(message)) return memlockError(crews[0].settings, workerCount, failure);
    return new TidegateError('WORKER', `a worker could not start: ${message}`, undefined, { cause: failure });
  }

  #tellHealth(backend: number): void {
    for (const { life, crew } of this.#workers) {
      if (life === null) continue;
      Atomics.store(healthWords(life.memory), backend, this.#healthFor(crew.engine, backend));
    }
  }

  /** For a worker that can't speak with it there is no such backend. */
  #healthFor(engine: EngineName, backend: number): number {
    return engine === 'uring' && this.#doors.backends.has(backend) ? HEALTH_DOWN : this.healthOf(backend);
  }

  #command(control: number): void {
    this.#control = control;
    for (const { life } of this.#workers) {
      if (life === null) continue;
      Atomics.store(life.header, HEADER_CONTROL / 4, control);
      wake(life);
    }
  }

  get #isServing(): boolean {
    return this.#control === CONTROL_RUN || this.#control === CONTROL_WAIT;
  }

  #isAlive(life: Life): boolean {
    return this.#workers.some((worker) => worker.life === life);
  }

  /** By the workers' own word: an accept that was cancelled may have won, and its client is not counted yet. */
  #isDrained(): boolean {
    return this.#workers.every(({ ended, life }) => ended || life === null);
  }

  #endThreads(): Promise<void> {
    this.#threadsEnded ??= Promise.all(this.#crews.map(({ threads }) => threads.destroy())).then(() => {});
    for (const { life } of this.#workers) if (life !== null) wake(life);
    return this.#threadsEnded;
  }
}

function newWorker(crew: Crew, index: number, place: number): Worker {
  return { crew, index, place, life: null, restarts: 0, crashes: 0, ended: false };
}

/**
 * What a turn of a ring leaves behind as garbage is a few bytes, and V8 would let megabytes of them gather: idle, they were
 * a quarter of what a connection cost (npm run bench -- --scenario idle).
 */
const URING_YOUNG_MB = 1;

/** As many threads as tasks, for ever: a thread that dies is replaced at once. */
function createThreads(count: number, engine: EngineName): Piscina<WorkerStart, void> {
  try {
    return startThreads(count, engine);
  } catch (cause) {
    const message =
      `the system has no room for the threads of ${count} workers (${describe(cause)}): raise the limit of tasks ` +
      '(TasksMax= in the systemd unit, pids.max of the container, ulimit -u), or lower workers';
    throw new TidegateError('THREADS', message, undefined, { cause });
  }
}

function startThreads(count: number, engine: EngineName): Piscina<WorkerStart, void> {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  return new Piscina({
    filename: fileURLToPath(new URL(`../engine/worker.${extension}`, import.meta.url)),
    minThreads: count,
    maxThreads: count,
    concurrentTasksPerWorker: 1,
    idleTimeout: Number.POSITIVE_INFINITY,
    recordTiming: false,
    execArgv: ['--disable-warning=ExperimentalWarning'],
    ...(engine === 'uring' ? { resourceLimits: { maxYoungGenerationSizeMb: URING_YOUNG_MB } } : {}),
  });
}

/** Copies that the worker had no time to make its own; the others were closed with it. */
function closeUntaken({ header, listenerFds }: Life): void {
  for (const [listener, fd] of listenerFds.entries()) {
    if (fd !== NONE && header[HEADER_LISTENER_FDS / 4 + listener] === NONE) close(fd);
  }
}

function isAcceptedFrom(header: Uint32Array, listener: number): boolean {
  const hasAccepts = Atomics.load(header, HEADER_ACCEPTING / 4 + listener) > 0;
  return hasAccepts || Atomics.load(header, HEADER_LISTENER_FDS / 4 + listener) !== NONE;
}

/** A ring waits for its eventfd, the portable engine for its control word. */
function wake(life: Life): void {
  Atomics.notify(controlWord(life.memory), 0);
  if (life.wakeFd !== NONE) writeEventfd(life.wakeFd);
}

function healthWords(memory: WebAssembly.Memory): Uint32Array {
  return new Uint32Array(memory.buffer, regionOffset(memory, HEADER_REGION_HEALTH), BACKENDS_MAX);
}

function isReady({ life }: Worker): boolean {
  return life !== null && Atomics.load(life.header, HEADER_STATE / 4) === STATE_READY;
}

function isRunning({ life }: Worker): boolean {
  return life !== null && Atomics.load(life.header, HEADER_STATE / 4) === STATE_RUNNING;
}

function statusOf(worker: Worker): WorkerStatus {
  const { crew, index, life, restarts } = worker;
  const connections = life?.counters.connections() ?? 0;
  const { engine, settings } = crew;
  return { index, engine, state: stateOf(worker), restarts, connections, connectionsMax: settings.connectionsMax };
}

/** Accepts that wait hold slots too. A ring has some for each listener as long as there are slots, the portable none. */
function occupancyOf({ crew, index }: Worker, { header, counters }: Life): Occupancy {
  const connections = counters.connections();
  const accepting = Array.from(header.subarray(HEADER_ACCEPTING / 4, HEADER_ACCEPTING / 4 + LISTENERS_MAX)).filter(
    (_, listener) => header[HEADER_LISTENER_FDS / 4 + listener] !== NONE,
  );
  const slotsUsed = accepting.reduce((sum, count) => sum + count, connections);
  const isFull = slotsUsed >= header[HEADER_CONNECTIONS_MAX / 4]! && accepting.includes(0);
  const connectionsMax = crew.settings.connectionsMax;
  return { index, engine: crew.engine, connections, connectionsMax, isFull, turnedAway: counters.turnedAway() };
}

function stateOf(worker: Worker): WorkerState {
  if (worker.ended) return 'stopped';
  if (worker.life === null) return 'waiting';
  return isRunning(worker) ? 'running' : 'starting';
}

/** The first crash costs no pause. */
function backoffMs(crashes: number): number {
  return crashes <= 1 ? 0 : Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** (crashes - 2));
}

function describe(failure: unknown): string {
  return failure instanceof Error ? failure.message : String(failure);
}
