// The library: start(config) and what it returns. The command line is one user of it, tests are another; several may
// run in one process.
import { availableParallelism } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { AdminHost } from './admin/host.ts';
import type { AdminServerKind } from './admin/server.ts';
import { formatAddress } from './config/address.ts';
import type { Config, TakeOverLoopConfig } from './config.ts';
import { type AccessLog, namesOf, startAccessLog } from './control/access-log.ts';
import { reportFaults } from './control/backend-faults.ts';
import { type Balancer, standingOf } from './control/balancer.ts';
import { type Capacity, findCapacity, raiseDescriptorLimit } from './control/capacity.ts';
import { type Event, EventList, keepEvents } from './control/events.ts';
import { FrontDoors } from './control/front-doors.ts';
import { startFullnessWatch } from './control/fullness.ts';
import type { Verdict } from './control/health/finding.ts';
import { logChanges } from './control/health/health-log.ts';
import { Judge } from './control/health/judge.ts';
import type { ProbeResult } from './control/health/prober.ts';
import type { HealthState } from './control/health/trial.ts';
import type { Inheritance, InheritedSocket } from './control/inherited.ts';
import { configsOf, ListenerSet, listenerFdsOf, openConfigsOf } from './control/listener-set.ts';
import { checkHandedOver, isShared, type ListenerGroup, strangers, workersNeeded } from './control/listeners.ts';
import { CONNECTIONS_PER_LISTENER_MIN, defaultSettings } from './control/memory-map.ts';
import { Moves } from './control/moves/moves.ts';
import { Operator, type OperatorState } from './control/operator.ts';
import { applyOverlay, settleOverlay } from './control/overlay.ts';
import { RecentLatencies } from './control/recent-latencies.ts';
import { Reloader } from './control/reload.ts';
import { type Backend, BackendIds, buildSnapshot, resolveBackends } from './control/snapshot.ts';
import { checkSources, type SourceStatus, sourceStatuses, startSourceWatch } from './control/sources.ts';
import { readState } from './control/state-file.ts';
import { startSteering } from './control/steering.ts';
import { type CrewOptions, Supervisor, type WorkerStatus } from './control/supervisor.ts';
import { TakeOvers } from './control/take-overs.ts';
import { compileDataPlane } from './data-plane.ts';
import { carrierOf, chooseEngine, type EngineChoice, type EngineName } from './engine/engine.ts';
import { TidegateError } from './errors.ts';
import { Hooks } from './hooks/hooks.ts';
import { isoTime } from './iso-time.ts';
import { type Logger, silentLogger } from './logger.ts';
import { allowedCores, steerByCore } from './system/cores.ts';
import { dropPrivileges, nameOf } from './system/privileges.ts';

export type { Config } from './config.ts';
export type { Event } from './control/events.ts';
export type { SourceStatus } from './control/sources.ts';
export type { EngineName } from './engine/engine.ts';
export { ConfigError, TidegateError } from './errors.ts';
export type * from './hooks/on-connect.ts';
export type { Logger } from './logger.ts';

/** Of shutdown_timeout: one divided by this. */
const PACED_PART = 3;
/** How long a predecessor may take to leave the admin API's port. */
const ADMIN_PATIENCE_MS = 10_000;
const ADMIN_RETRY_MS = 20;
/** Node crashes when it exits while threads that have begun still load their modules. */
const THREADS_SETTLE_MS = 3000;

export interface StartOptions {
  /** For the operational log; pino or anything of its shape. Nothing is logged without it. */
  log?: Logger;
  /** What carries the admin API. */
  adminServer?: AdminServerKind;
  /** Listening sockets that this process was started with. They are copied, and stay the caller's to close. */
  inheritance?: Inheritance;
  /** The file or folder that the configuration was read from: where a reload finds it again. */
  configPath?: string;
}

export interface Listener {
  name: string;
  host: string;
  /** The real one, where the configuration says 0. */
  port: number;
}

export interface BackendStatus {
  pool: string;
  address: string;
  /** The judge's, unless an operator has said otherwise. */
  health: HealthState;
  /** Why it is in this state, for people. */
  reason: string;
  /** Since when, as ISO 8601 has it. */
  since: string;
  /** From 0 to 1: the part of its clients that it gets. Between them: it starts slowly. */
  share: number;
  /** The last one; null: there was none yet, or none is wanted. */
  probe: ProbeStatus | null;
  operator: OperatorState;
  /** Whatever the operator says. */
  judged: HealthState;
  /** Connections that chose it and are still open. */
  active: number;
  connects: number;
  failures: number;
  /** What it is dialled from: the pool's source_addresses, or what the system chooses. */
  sources: SourceStatus[];
}

export interface ProbeStatus {
  /** none: it could not be sent. */
  verdict: Verdict;
  reason: string;
  at: string;
  durationMs: number;
}

export interface Status {
  workers: WorkerStatus[];
  /** Sums over all workers since the start, by name; the reasons for closing are among them, by theirs. */
  counters: Record<string, number>;
  /** Open at this moment. */
  connections: number;
  /** Those of them that wait until they may be dialled. */
  queued: number;
  backends: BackendStatus[];
}

/** Starts everything, or throws a TidegateError that says what to do, and then leaves nothing behind. */
export async function start(config: Config, options: StartOptions = {}): Promise<Tidegate> {
  const events = new EventList(performance.now());
  const log = keepEvents(options.log ?? silentLogger, events);
  const { adminServer = 'auto', inheritance = { sockets: [] }, configPath } = options;
  const { predecessor } = inheritance;
  const choice = await chooseEngine(config.engine, predecessor?.engine);
  const surroundings = { log, events, adminServer, inheritance, configPath };
  try {
    return await startWith(choice, config, surroundings);
  } catch (error) {
    const memlock = error instanceof TidegateError && error.code === 'RLIMIT_MEMLOCK';
    // Whoever is root no more may not be able to open the ports once again.
    const isFinal = predecessor !== undefined || config.user !== null || config.group !== null;
    if (config.engine !== 'auto' || isFinal || !memlock) throw error;
    return startWith({ engine: 'portable', why: error.message }, config, surroundings);
  }
}

interface Surroundings {
  log: Logger;
  events: EventList;
  adminServer: AdminServerKind;
  inheritance: Inheritance;
  configPath: string | undefined;
}

async function startWith(
  choice: EngineChoice,
  file: Config,
  { log, events, adminServer, inheritance, configPath }: Surroundings,
): Promise<Tidegate> {
  const { engine } = choice;
  const { sockets, predecessor } = inheritance;
  if (predecessor !== undefined) await checkHandedOver(file.listeners, sockets, engine);
  const { workerCount, capacity, crew, sideCrew } = await planCrews(engine, file, sockets, log);
  const saved = await readState(file.stateFile);
  const config = applyOverlay(file, settleOverlay(file, saved.overlay));
  const ids = new BackendIds();
  const backends = await resolveBackends(config.pools, ids);
  checkSources(backends);
  const module = compileDataPlane();
  const cores = coresFor(config.cpuAffinity, workerCount);
  const listeners = new ListenerSet(workerCount, engine);
  const opened = await listeners.prepare(config.listeners, () => true, sockets);
  listeners.adopt(opened);
  const groups = listeners.groupsOf(config.listeners);
  const doors = new FrontDoors(workerCount, log);
  const poolIdOf = (name: string) => balancer.backends.find(({ pool }) => pool === name)?.poolId;
  const hooks = new Hooks({ poolIdOf, log });
  let balancer: Balancer;
  let accessLog: AccessLog | undefined;
  let admin: AdminHost | undefined;
  try {
    const parties = { listeners: openConfigsOf(opened), pools: config.pools, backends };
    doors.adopt(parties, doors.prepare(parties));
    const staged = await hooks.prepare(parties.listeners, true);
    hooks.adopt(staged);
    const listed = { ...config, listeners: configsOf(opened) };
    const snapshot = buildSnapshot(listed, backends, workerCount, engine, staged.ids);
    reportStrangers(await strangers(config.listeners, sockets), log);
    if (config.cpuAffinity === 'steer') steer(groups, cores, log);
    accessLog = await startAccessLog({ ...config.accessLog, log });
    const supervisor = new Supervisor({
      crews: needsSideCrew(engine, config) ? [crew, sideCrew()] : [crew],
      workerCount,
      module,
      listenerFds: listenerFdsOf(opened, workerCount, engine),
      doors: doors.update,
      cores,
      snapshot,
      accessLog,
      hooks,
      onBackendFault: reportFaults(() => balancer.backends, log),
      log,
    });
    accessLog.names(namesOf(supervisor.epoch, config.listeners, backends));
    const operator = new Operator({
      setWord: ({ id }, word) => supervisor.setOperator(id, word),
      onReturn: (backend) => judge.onReturn(backend),
      onChange: () => void reloader.save(),
      log,
    });
    const judge = new Judge({
      backends,
      countsOf: ({ id }) => supervisor.totals.connectCounts(id),
      tlsOf: (backend) => doors.backendTls(backend),
      setHealth: ({ id }, word) => supervisor.setJudged(id, word),
      onChange: [logChanges(log, operator), (change) => moves.onHealth(change)],
    });
    const moves = new Moves(() => balancer, log);
    const takeOvers = new TakeOvers({
      lives: () => supervisor.lives(),
      settingsOf: (index) => takeOverLoopOf(balancer, index),
      log,
    });
    balancer = {
      phase: 'starting',
      startedAt: new Date(),
      engine,
      engineReason: choice.why,
      capacity,
      config,
      backends,
      groups,
      doors,
      hooks,
      accessLog,
      supervisor,
      latencies: new RecentLatencies(supervisor.totals),
      judge,
      operator,
      moves,
      takeOvers,
      changes: {
        reload: () => reloader.reload(),
        setWeight: (backend, weight) => reloader.setWeight(backend, weight),
        addBackend: (pool, settings) => reloader.addBackend(pool, settings),
        removeBackend: (backend) => reloader.removeBackend(backend),
      },
      events,
      log,
    };
    admin = new AdminHost(balancer, adminServer);
    const reloader = new Reloader({
      balancer,
      file,
      configPath,
      saved,
      ids,
      listeners,
      doors,
      admin,
      sideCrew,
      cores,
    });
    await admin.start(config.admin, inheritance.predecessor !== undefined);
    reloader.restore();
    becomeUser(config, log);
    await supervisor.start();
    judge.start();
    moves.start();
    balancer.phase = 'running';
    reloader.start();
    announce(choice, workerCount, capacity, log);
    return new Tidegate({ balancer, admin, reloader, listeners, areInherited: sockets.length > 0 });
  } catch (error) {
    await admin?.close();
    await accessLog?.close();
    await hooks.close();
    listeners.closeAll();
    if (error instanceof TidegateError && error.code === 'THREADS') await sleep(THREADS_SETTLE_MS);
    throw error;
  }
}

/** The workers of each kind, and what they have room for. */
interface CrewPlan {
  workerCount: number;
  capacity: Capacity;
  crew: CrewOptions;
  /** Of portable workers beside those of uring. */
  sideCrew: () => CrewOptions;
}

async function planCrews(
  engine: EngineName,
  config: Config,
  sockets: readonly InheritedSocket[],
  log: Logger,
): Promise<CrewPlan> {
  const { listeners, connectionsMax } = config;
  const workerCount = await chooseWorkerCount(config, sockets, log);
  const connectionsMin = CONNECTIONS_PER_LISTENER_MIN * listeners.length;
  const capacity = findCapacity(engine, workerCount, connectionsMax, raiseDescriptorLimit(), connectionsMin);
  const crew = { engine, settings: defaultSettings(capacity.connectionsMax, listeners.length) };
  return { workerCount, capacity, crew, sideCrew: () => sideCrewOf(workerCount, config, connectionsMin) };
}

function carrierOfGroup({ config, engine }: Balancer, name: string): EngineName | undefined {
  const listener = config.listeners.find((each) => each.name === name);
  return listener && carrierOf(engine, listener);
}

/** By the listener's index; null: it has none, or was removed. */
function takeOverLoopOf({ groups, config }: Balancer, index: number): TakeOverLoopConfig | null {
  const name = groups.find((group) => group.index === index)?.name;
  return config.listeners.find((listener) => listener.name === name)?.takeOverLoop ?? null;
}

/** Whether a listener has to be carried by portable workers beside those of uring. */
function needsSideCrew(engine: EngineName, { listeners }: Config): boolean {
  return listeners.some((listener) => carrierOf(engine, listener) !== engine);
}

/**
 * As many portable workers as there are of uring: who comes with TLS may be everybody, and then they shall have all cores;
 * who doesn't work sleeps. Their sockets are the process's, so that each may hold fewer than a ring.
 */
function sideCrewOf(workerCount: number, config: Config, connectionsMin: number): CrewOptions {
  const { connectionsMax: wanted, listeners } = config;
  const available = findCapacity('portable', workerCount, 'auto', raiseDescriptorLimit(), connectionsMin);
  const connectionsMax = wanted === 'auto' ? available.connectionsMax : Math.min(wanted, available.connectionsMax);
  return { engine: 'portable', settings: defaultSettings(connectionsMax, listeners.length) };
}

async function chooseWorkerCount(config: Config, sockets: readonly InheritedSocket[], log: Logger): Promise<number> {
  const wanted = config.workers === 'auto' ? availableParallelism() : config.workers;
  const needed = await workersNeeded(config.listeners, sockets);
  if (needed <= wanted) return wanted;
  log.warn(
    { workers: needed },
    `${needed} workers rather than ${wanted}, one for each inherited socket, until a restart`,
  );
  return needed;
}

/** What was opened until now took whoever started this process; what is opened from now on, by a reload too, its user. */
function becomeUser(config: Config, log: Logger): void {
  const { accessLog, stateFile } = config;
  const files = [accessLog.path, stateFile ?? ''].filter((path) => path !== '' && path !== '-' && path !== 'off');
  if (dropPrivileges(config, files)) log.info({}, `became ${nameOf(config)}; nothing is done as root from here on`);
}

function reportStrangers(sockets: readonly InheritedSocket[], log: Logger): void {
  if (sockets.length === 0) return;
  const texts = sockets.map(({ fd, host, port }) => (host === '' ? `descriptor ${fd}` : formatAddress({ host, port })));
  const message = 'this process was started with sockets that no listener of the configuration asks for: closed';
  log.warn({ sockets: [...new Set(texts)] }, `${message}: ${[...new Set(texts)].join(', ')}`);
}

function steer(groups: readonly ListenerGroup[], cores: readonly number[], log: Logger): void {
  for (const group of groups) {
    if (!isShared(group)) steerByCore(group.fds[0]!, cores);
    else
      log.warn(
        { listener: group.name },
        `listener ${group.name} has one inherited socket: cpu_affinity: steer does nothing there`,
      );
  }
}

/** A core for each worker; none where the scheduler may choose. */
function coresFor(affinity: Config['cpuAffinity'], workerCount: number): number[] {
  if (affinity === 'off') return [];
  if (process.platform !== 'linux') {
    throw new TidegateError('CPU_AFFINITY', `cpu_affinity: ${affinity} works on Linux only: leave it off`);
  }
  const cores = allowedCores();
  if (workerCount > cores.length) {
    const message = `cpu_affinity: ${affinity} needs a core for each of ${workerCount} workers, and this process may use ${cores.length}: set workers to auto`;
    throw new TidegateError('CPU_AFFINITY', message);
  }
  return cores.slice(0, workerCount);
}

/** Said when everything stands: an engine that had to be given up is no news. */
function announce({ engine, why }: EngineChoice, workers: number, capacity: Capacity, log: Logger): void {
  const { connectionsMax, limit, remedy } = capacity;
  const total = connectionsMax * workers;
  log.info({ event: 'started', engine, workers }, `engine ${engine}: ${why}`);
  log.info(
    { workers, connectionsMax },
    `capacity: ${total} connections, ${connectionsMax} in each of ${workers} workers, bounded by ${limit}; for more, ${remedy}`,
  );
}

interface TidegateParts {
  balancer: Balancer;
  admin: AdminHost;
  reloader: Reloader;
  listeners: ListenerSet;
  /** Sockets came from another process. */
  areInherited: boolean;
}

export class Tidegate {
  readonly engine: EngineName;
  /** What is logged here with an event's name is kept among the events. */
  readonly log: Logger;
  /** The workers' lives, for tests and tools that end one on purpose. */
  readonly supervisor: Supervisor;
  readonly #parts: Balancer;
  readonly #admin: AdminHost;
  readonly #reloader: Reloader;
  readonly #listeners: ListenerSet;
  readonly #stopFullnessWatch: () => void;
  readonly #stopSourceWatch: () => void;
  readonly #stopSampling: () => void;
  readonly #stopTakeOverWatch: () => void;
  readonly #stopSteering: () => void = () => {};
  readonly #hasten = new AbortController();
  #stopped: Promise<void> | undefined;
  /** At the end of shutdown_timeout, in which who is still there is closed little by little. */
  #pacedMs = 0;

  constructor({ balancer, admin, reloader, listeners, areInherited }: TidegateParts) {
    const { engine, capacity, supervisor, log } = balancer;
    this.#parts = balancer;
    this.#admin = admin;
    this.#reloader = reloader;
    this.#listeners = listeners;
    this.engine = engine;
    this.log = log;
    this.supervisor = supervisor;
    this.#stopFullnessWatch = startFullnessWatch({
      capacity,
      occupancies: () => supervisor.occupancies(),
      log,
    });
    this.#stopSampling = balancer.latencies.start();
    this.#stopTakeOverWatch = balancer.takeOvers.start();
    if (process.platform === 'linux' && balancer.config.cpuAffinity !== 'steer') {
      this.#stopSteering = startSteering({
        groupsOf: (carrier) => balancer.groups.filter(({ name }) => carrierOfGroup(balancer, name) === carrier),
        statuses: () => supervisor.statuses(),
        areInherited,
        onFailure: (error) =>
          log.warn({ error: String(error) }, `listeners can't be steered to workers with room: ${error}`),
      });
    }
    this.#stopSourceWatch = startSourceWatch({ backends: () => balancer.backends, totals: supervisor.totals, log });
  }

  get listeners(): readonly Listener[] {
    return this.#parts.groups.map(({ name, host, port }) => ({ name, host, port }));
  }

  /** Where the admin API is; undefined: nowhere. */
  get admin(): { readonly host: string; readonly port: number } | undefined {
    return this.#admin.address;
  }

  /**
   * Puts another configuration in force, or what is in the file now that `configPath` named at start, and resolves with
   * what has changed, in words. No connection is lost by it. Rejects with a TidegateError when it can't be had, whose
   * message has a line for each fault; the old one is then kept whole.
   */
  reload(config?: Config): Promise<string[]> {
    return this.#reloader.reload(config);
  }

  /**
   * Takes nobody new, waits up to shutdown_timeout for the connections to end, closes the rest, and writes the access
   * log to its end. `now` doesn't wait; said while another call waits, it ends that wait.
   */
  stop({ now = false }: { now?: boolean } = {}): Promise<void> {
    if (now) this.#hasten.abort();
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  /** The listening sockets, by their listeners' names; they stay ours. */
  get sockets(): { name: string; fd: number }[] {
    return this.#parts.groups.flatMap(({ name, fds }) => fds.map((fd) => ({ name, fd })));
  }

  /**
   * Another process serves the same sockets now. Resolves when the admin API's port is free for it; stop() resolves when
   * who is connected here has left, or was closed in the course of the last third of shutdown_timeout.
   */
  async handOver(): Promise<void> {
    this.#parts.phase = 'stopping';
    this.#pacedMs = this.#parts.config.shutdownTimeoutMs / PACED_PART;
    await this.#admin.close();
    void this.stop();
  }

  /** When a predecessor has left its port. Rejects with a TidegateError if that stays taken. */
  async openAdmin(): Promise<void> {
    const giveUpMs = performance.now() + ADMIN_PATIENCE_MS;
    while (this.admin === undefined && this.#parts.config.admin !== null && this.#parts.phase !== 'stopping') {
      const isLast = performance.now() > giveUpMs;
      await this.#admin.start(this.#parts.config.admin, !isLast);
      if (isLast) return;
      if (this.admin === undefined) await sleep(ADMIN_RETRY_MS);
    }
  }

  reopenLogs(): void {
    this.#parts.accessLog.reopen();
    this.#parts.log.info({ event: 'access_log_reopened' }, 'access log reopened');
  }

  status(): Status {
    const { supervisor, backends } = this.#parts;
    const sources = sourceStatuses(backends, supervisor.totals);
    return {
      workers: supervisor.statuses(),
      counters: supervisor.totals.named(),
      connections: supervisor.totals.connections(),
      queued: supervisor.totals.queued(),
      backends: backends.map((backend, index) => ({ ...this.#backendStatus(backend), sources: sources[index]! })),
    };
  }

  /** Of the last hour, oldest first. */
  events(): Event[] {
    return this.#parts.events.list(performance.now());
  }

  #backendStatus(backend: Backend): Omit<BackendStatus, 'sources'> {
    const { judge, operator, supervisor } = this.#parts;
    const { state, reason, sinceMs, share, lastProbe } = standingOf(this.#parts, backend);
    return {
      pool: backend.pool,
      address: backend.config.address,
      health: state,
      reason,
      since: isoTime(sinceMs),
      share,
      probe: lastProbe && probeStatus(lastProbe),
      operator: operator.stateOf(backend),
      judged: judge.standingOf(backend).state,
      active: supervisor.totals.activeOf(backend.id),
      ...supervisor.totals.connectCounts(backend.id),
    };
  }

  async #stop(): Promise<void> {
    const { supervisor, accessLog, config, judge, log } = this.#parts;
    const { signal } = this.#hasten;
    this.#parts.phase = 'stopping';
    this.#stopSteering(); // the sockets may be a successor's from here on
    await this.#parts.moves.stopAll();
    const { shutdownTimeoutMs } = config;
    if (!signal.aborted) {
      log.info({ event: 'stopping', shutdownTimeoutMs }, 'stopping: connections may end by themselves until then');
      await supervisor.drain(shutdownTimeoutMs, this.#pacedMs, signal, () => this.#listeners.closeAll());
    }
    await supervisor.stop();
    await this.#reloader.stop();
    await this.#parts.hooks.close();
    await judge.stop();
    this.#stopFullnessWatch();
    this.#stopSourceWatch();
    this.#stopSampling();
    this.#stopTakeOverWatch();
    await accessLog.close();
    this.#listeners.closeAll();
    await this.#admin.close(); // last: whoever looks on sees the end
  }
}

function probeStatus({ verdict, reason, startedMs, durationMs }: ProbeResult): ProbeStatus {
  return { verdict, reason, at: isoTime(startedMs), durationMs };
}
