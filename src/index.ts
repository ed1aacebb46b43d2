// The library: start(config) and what it returns. The command line is one user of it, tests are another; several may
// run in one process.
import { availableParallelism } from 'node:os';
import { HEALTH_DOWN, HEALTH_DRAIN, HEALTH_SUSPECT } from '../assembly/layout.ts';
import type { Config } from './config.ts';
import { type AccessLog, startAccessLog } from './control/access-log.ts';
import { findCapacity, raiseDescriptorLimit } from './control/capacity.ts';
import { type ConnectCounts, startJudge } from './control/judge.ts';
import { closeListeners, type ListenerGroup, openListeners } from './control/listeners.ts';
import { defaultSettings } from './control/memory-map.ts';
import { type Backend, BackendIds, buildSnapshot, resolveBackends } from './control/snapshot.ts';
import { Supervisor, type WorkerStatus } from './control/supervisor.ts';
import { compileDataPlane } from './core.ts';
import { chooseEngine, type EngineName } from './engine/engine.ts';
import { TidegateError } from './errors.ts';
import { type Logger, silentLogger } from './logger.ts';

export type { Config } from './config.ts';
export type { EngineName } from './engine/engine.ts';
export { ConfigError, TidegateError } from './errors.ts';
export type { Logger } from './logger.ts';

export interface StartOptions {
  /** For the operational log; pino or anything of its shape. Nothing is logged without it. */
  log?: Logger;
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
  health: 'up' | 'suspect' | 'down' | 'drain';
  /** Connections that chose it and are still open. */
  active: number;
  connects: number;
  failures: number;
}

export interface Status {
  workers: WorkerStatus[];
  /** Sums over all workers since the start, by name; the reasons for closing are among them, by theirs. */
  counters: Record<string, number>;
  /** Open at this moment. */
  connections: number;
  backends: BackendStatus[];
}

/** Starts everything, or throws a TidegateError that says what to do, and then leaves nothing behind. */
export async function start(config: Config, options: StartOptions = {}): Promise<Tidegate> {
  const log = options.log ?? silentLogger;
  const engine = await chooseEngine(config, log);
  try {
    return await startWith(engine, config, log);
  } catch (error) {
    // The probe's ring was small; the real ones may not fit the limit.
    const memlock = error instanceof TidegateError && error.code === 'RLIMIT_MEMLOCK';
    if (config.engine !== 'auto' || engine !== 'uring' || !memlock) throw error;
    log.warn({ engine: 'portable' }, `engine portable: ${error.message}`);
    return startWith('portable', config, log);
  }
}

async function startWith(engine: EngineName, config: Config, log: Logger): Promise<Tidegate> {
  const workerCount = config.workers === 'auto' ? availableParallelism() : config.workers;
  const capacity = findCapacity(engine, workerCount, config.connectionsMax, raiseDescriptorLimit());
  log.info(
    { workers: workerCount, connectionsMax: capacity.connectionsMax },
    `capacity: ${capacity.connectionsMax} connections in each of ${workerCount} workers, bounded by ${capacity.limit}`,
  );
  const backends = await resolveBackends(config.pools, new BackendIds());
  const snapshot = buildSnapshot(config, backends);
  const module = compileDataPlane();
  const groups = await openListeners(config.listeners, workerCount);
  let accessLog: AccessLog | undefined;
  try {
    accessLog = await startAccessLog({ ...config.accessLog, log });
    const supervisor = new Supervisor({
      engine,
      workerCount,
      settings: defaultSettings(capacity.connectionsMax, config.listeners.length),
      module,
      listenerFds: Array.from({ length: workerCount }, (_, worker) => groups.map(({ fds }) => fds[worker]!)),
      snapshot,
      accessLog,
      log,
    });
    accessLog.names(namesOf(supervisor.epoch, config, backends));
    await supervisor.start();
    return new Tidegate({ engine, config, backends, groups, accessLog, supervisor, log });
  } catch (error) {
    await accessLog?.close();
    closeListeners(groups);
    throw error;
  }
}

function namesOf(epoch: number, config: Config, backends: readonly Backend[]): Parameters<AccessLog['names']>[0] {
  return {
    epoch,
    listeners: config.listeners.map(({ name }) => name),
    backends: backends.map(({ id, pool, config: { address } }) => ({ id, pool, address })),
  };
}

interface Parts {
  engine: EngineName;
  config: Config;
  backends: readonly Backend[];
  groups: readonly ListenerGroup[];
  accessLog: AccessLog;
  supervisor: Supervisor;
  log: Logger;
}

export class Tidegate {
  readonly engine: EngineName;
  readonly listeners: readonly Listener[];
  /** The workers' lives, for tests and tools that end one on purpose. */
  readonly supervisor: Supervisor;
  readonly #parts: Parts;
  readonly #health: Map<number, number>;
  readonly #stopJudge: () => void;
  readonly #hasten = new AbortController();
  #stopped: Promise<void> | undefined;

  constructor(parts: Parts) {
    const { engine, groups, supervisor, backends, log } = parts;
    this.#parts = parts;
    this.engine = engine;
    this.supervisor = supervisor;
    this.listeners = groups.map(({ name, host, port }) => ({ name, host, port }));
    this.#health = new Map();
    this.#stopJudge = startJudge({
      backends,
      countsOf: (backend): ConnectCounts => supervisor.totals.connectCounts(backend.id),
      setHealth: (backend, health) => {
        this.#health.set(backend.id, health);
        supervisor.setHealth(backend.id, health);
      },
      log,
    });
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

  reopenLogs(): void {
    this.#parts.accessLog.reopen();
  }

  status(): Status {
    const { supervisor, backends } = this.#parts;
    return {
      workers: supervisor.statuses(),
      counters: supervisor.totals.named(),
      connections: supervisor.totals.connections(),
      backends: backends.map((backend) => this.#backendStatus(backend)),
    };
  }

  #backendStatus({ id, pool, config }: Backend): BackendStatus {
    const { active, connects, failures } = this.#parts.supervisor.totals.backend(id);
    return { pool, address: config.address, health: healthName(this.#health.get(id)), active, connects, failures };
  }

  async #stop(): Promise<void> {
    const { supervisor, accessLog, groups, config } = this.#parts;
    const { signal } = this.#hasten;
    if (!signal.aborted) await supervisor.drain(config.shutdownTimeoutMs, signal, () => closeListeners(groups));
    await supervisor.stop();
    this.#stopJudge();
    await accessLog.close();
    closeListeners(groups);
  }
}

function healthName(health: number | undefined): BackendStatus['health'] {
  if (health === HEALTH_SUSPECT) return 'suspect';
  if (health === HEALTH_DOWN) return 'down';
  return health === HEALTH_DRAIN ? 'drain' : 'up';
}
