// Changes while everything runs: another configuration, and what is set at runtime beside it. Each is prepared whole,
// with everything that can fail, then put in force at once; one at a time. No connection notices.
import { isDeepStrictEqual } from 'node:util';
import type { AdminHost, StagedAdmin } from '../admin/host.ts';
import { type Config, loadConfig } from '../config.ts';
import { carrierOf } from '../engine/engine.ts';
import { TidegateError } from '../errors.ts';
import type { StagedHooks } from '../hooks/hooks.ts';
import { steerByCore } from '../system/cores.ts';
import { nameOf } from '../system/privileges.ts';
import { namesOf } from './access-log.ts';
import type { Balancer } from './balancer.ts';
import { describeChanges, START_KEYS } from './config-changes.ts';
import { watchConfig } from './config-watch.ts';
import type { FrontDoors, StagedDoors } from './front-doors.ts';
import { configsOf, type ListenerChange, type ListenerSet, listenerFdsOf, openConfigsOf } from './listener-set.ts';
import { CONNECTIONS_PER_LISTENER_MIN } from './memory-map.ts';
import { OPERATOR_STATES } from './operator.ts';
import {
  type AddedBackend,
  applyOverlay,
  type Overlay,
  settleOverlay,
  withBackend,
  withoutBackend,
  withWeight,
} from './overlay.ts';
import { type Backend, type BackendIds, buildSnapshot, resolveBackends } from './snapshot.ts';
import { checkSources } from './sources.ts';
import { type SavedState, type SavedStates, writeState } from './state-file.ts';
import type { CrewOptions } from './supervisor.ts';

export interface ReloaderParts {
  balancer: Balancer;
  /** What was started with, before anything that was set at runtime. */
  file: Config;
  /** Where it was read from. */
  configPath: string | undefined;
  /** As it was at start. */
  saved: SavedState;
  ids: BackendIds;
  listeners: ListenerSet;
  doors: FrontDoors;
  admin: AdminHost;
  /** What portable workers beside those of uring are made of. */
  sideCrew: () => CrewOptions;
  /** Of the workers, where they keep to some. */
  cores: readonly number[];
}

/** Everything of a change that could fail has been done. */
interface Prepared {
  config: Config;
  backends: Backend[];
  listeners: ListenerChange;
  doors: StagedDoors;
  hooks: StagedHooks;
  admin: StagedAdmin;
  snapshot: Uint8Array;
}

export class Reloader {
  readonly #parts: ReloaderParts;
  #file: Config;
  #overlay: Overlay;
  /** The end of the change that came last. */
  #last: Promise<unknown> = Promise.resolve();
  #stopWatching: (() => void) | undefined;
  /** The state file is written once at a time, and always as things are then. */
  #saving: Promise<void> = Promise.resolve();

  constructor(parts: ReloaderParts) {
    this.#parts = parts;
    this.#file = parts.file;
    this.#overlay = settleOverlay(parts.file, parts.saved.overlay);
  }

  /** Before the workers serve: what operators had said counts again. */
  restore(): void {
    const { balancer, saved } = this.#parts;
    for (const backend of balancer.backends) this.#restore(backend, saved.states);
  }

  /** When they do: what is in maintenance is seen to be empty, and the file is watched if it is to be. */
  start(): void {
    const { backends, operator, moves } = this.#parts.balancer;
    for (const backend of backends) {
      if (operator.stateOf(backend) === 'maintenance') moves.drain(backend, 'maintenance');
    }
    this.#followWatch();
    this.#parts.doors.start({
      publish: (update) => this.#parts.balancer.supervisor.tellDoors(update),
      onChange: () => void this.#inTurn(async () => this.#parts.doors.refresh()),
    });
  }

  /** The configuration given, or that which its file has now; resolves with what has changed, in words. */
  reload(config?: Config): Promise<string[]> {
    return this.#inTurn(async () => {
      const { log } = this.#parts.balancer;
      try {
        const file = config ?? (await this.#read());
        const overlay = settleOverlay(file, this.#overlay);
        const changed = await this.#change(file, overlay);
        this.#followWatch();
        const text = changed.length === 0 ? 'nothing changed' : changed.join('; ');
        log.info({ event: 'reloaded', changed }, `configuration reloaded: ${text}`);
        return changed;
      } catch (cause) {
        const error = this.#explain(cause);
        for (const fault of faultsOf(error)) {
          log.error({ event: 'reload_refused', fault }, `reload refused, the old configuration stays: ${fault}`);
        }
        throw error;
      }
    });
  }

  /** What root could have opened. */
  #explain(error: unknown): unknown {
    const { config } = this.#parts.balancer;
    const isDenied = error instanceof TidegateError && (error.code === 'EACCES' || error.code === 'EPERM');
    if (!isDenied || (config.user === null && config.group === null)) return error;
    const message = `${error.message}; this process is ${nameOf(config)} and no longer root: a restart opens it`;
    return new TidegateError(error.code, message, error.exitCode, { cause: error });
  }

  setWeight({ pool, config: { address } }: Backend, weight: number): Promise<void> {
    return this.#set(() => withWeight(this.#overlay, this.#file, pool, address, weight));
  }

  addBackend(pool: string, settings: AddedBackend): Promise<void> {
    return this.#set(() => {
      const inForce = this.#parts.balancer.config.pools.find(({ name }) => name === pool);
      if (inForce === undefined) throw new TidegateError('OVERLAY', `there is no pool ${pool} any more`);
      return withBackend(this.#overlay, this.#file, inForce, settings);
    });
  }

  /** Its connections stay until they end by themselves. */
  removeBackend({ pool, config: { address } }: Backend): Promise<void> {
    return this.#set(() => withoutBackend(this.#overlay, this.#file, pool, address));
  }

  /** Keeps what was set; a failure is in the log alone, since what was set is in force. */
  save(): Promise<void> {
    this.#saving = this.#saving.then(() => this.#save());
    return this.#saving;
  }

  /** Nothing changes any more from then on. */
  async stop(): Promise<void> {
    this.#stopWatching?.();
    this.#parts.doors.stop();
    await this.#last;
    await this.#saving;
  }

  #inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    const result = this.#last.then(work);
    this.#last = result.catch(() => {});
    return result;
  }

  async #read(): Promise<Config> {
    const { configPath } = this.#parts;
    if (configPath !== undefined) return loadConfig(configPath);
    throw new TidegateError('RELOAD', 'there is no file to read the configuration from again');
  }

  #set(change: () => Overlay): Promise<void> {
    return this.#inTurn(async () => {
      const { balancer } = this.#parts;
      const changed = await this.#change(this.#file, change(), balancer.backends);
      for (const text of changed) balancer.log.info({ event: 'backend_changed' }, `${text}, by an operator`);
    });
  }

  /** What of the backends is `known` isn't resolved again, and then neither are other files read again. */
  async #change(file: Config, overlay: Overlay, known?: readonly Backend[]): Promise<string[]> {
    const { balancer } = this.#parts;
    const wanted = applyOverlay(file, overlay);
    const changed = describeChanges(balancer.config, wanted);
    const prepared = await this.#prepare(wanted, known);
    changed.push(...describeMoves(balancer.backends, prepared.backends));
    if (known === undefined && prepared.hooks.runner !== null) changed.push('hooks read again');
    await this.#commit(prepared);
    const hasNewState = !isDeepStrictEqual(overlay, this.#overlay) || file.stateFile !== this.#file.stateFile;
    this.#file = file;
    this.#overlay = overlay;
    if (hasNewState) await this.save();
    return changed;
  }

  async #prepare(wanted: Config, known: readonly Backend[] | undefined): Promise<Prepared> {
    const { balancer, ids, listeners: set, doors: frontDoors, admin: host, cores, sideCrew } = this.#parts;
    const { supervisor, accessLog, hooks, config: before } = balancer;
    const config: Config = { ...wanted, ...Object.fromEntries(START_KEYS.map((key) => [key, before[key]])) };
    checkRoom(balancer, config);
    const backends = await resolveBackends(config.pools, ids, known);
    checkSources(backends);
    const listeners = await set.prepare(config.listeners, (index) => supervisor.isForgotten(index));
    let admin: StagedAdmin | undefined;
    let staged: StagedHooks | undefined;
    try {
      if (config.cpuAffinity === 'steer') for (const { fds } of listeners.opened) steerByCore(fds[0]!, cores);
      const listed = configsOf(listeners);
      const doors = frontDoors.prepare({ listeners: openConfigsOf(listeners), pools: config.pools, backends });
      staged = await hooks.prepare(openConfigsOf(listeners), known === undefined);
      const snapshot = buildSnapshot(
        { ...config, listeners: listed },
        backends,
        supervisor.workerCount,
        balancer.engine,
        staged.ids,
      );
      admin = await host.prepare(config.admin);
      if (!isDeepStrictEqual(config.accessLog, before.accessLog)) await accessLog.change(config.accessLog);
      const needsCrew = config.listeners.some((listener) => !supervisor.hasCrew(carrierOf(balancer.engine, listener)));
      if (needsCrew) await supervisor.grow(sideCrew());
      if (balancer.phase !== 'running') throw new TidegateError('PHASE', `Tidegate is ${balancer.phase}`);
      return { config, backends, listeners, doors, hooks: staged, admin, snapshot };
    } catch (error) {
      set.abandon(listeners);
      if (staged !== undefined) await hooks.abandon(staged);
      await admin?.abandon();
      throw error;
    }
  }

  /** At first what the main thread knows, without a pause; then what the workers do; then removed sockets are closed. */
  async #commit({ config, backends, listeners, doors, hooks, admin, snapshot }: Prepared): Promise<void> {
    const { balancer, listeners: set, doors: frontDoors } = this.#parts;
    const { supervisor, judge, operator, accessLog } = balancer;
    const kept = new Set(backends.map(({ id }) => id));
    for (const backend of balancer.backends) if (!kept.has(backend.id)) operator.forget(backend);
    set.adopt(listeners);
    frontDoors.adopt({ listeners: openConfigsOf(listeners), pools: config.pools, backends }, doors);
    balancer.hooks.adopt(hooks);
    admin.commit();
    balancer.config = config;
    balancer.backends = backends;
    balancer.groups = set.groupsOf(config.listeners);
    judge.setBackends(backends);
    accessLog.names(namesOf(supervisor.epoch + 1, configsOf(listeners), backends));
    const fds = listenerFdsOf(listeners, supervisor.workerCount, balancer.engine);
    await supervisor.publish(snapshot, fds, frontDoors.update);
    await supervisor.leave(listeners.removed.map(({ index }) => index));
    if (balancer.phase === 'running') set.close(listeners); // else they close with all the others
  }

  #restore(backend: Backend, states: SavedStates): void {
    const state = states[backend.pool]?.[backend.config.address];
    const known = OPERATOR_STATES.find((each) => each === state);
    if (known !== undefined) this.#parts.balancer.operator.set(backend, known);
  }

  async #save(): Promise<void> {
    const { balancer } = this.#parts;
    const path = balancer.config.stateFile;
    if (path === null) return;
    try {
      await writeState(path, { overlay: this.#overlay, states: statesOf(balancer) });
    } catch (error) {
      const { code = String(error) } = error as NodeJS.ErrnoException;
      const text = `the state_file ${path} can't be written (${code}): what was set at runtime is lost at the next start`;
      balancer.log.error({ event: 'state_file_trouble', code }, text);
    }
  }

  #followWatch(): void {
    const isWatching = this.#stopWatching !== undefined;
    if (isWatching !== this.#parts.balancer.config.watch) this.#watch();
  }

  /** Begins anew with each change: a link may lead elsewhere then. */
  #watch(): void {
    const { balancer, configPath } = this.#parts;
    this.#stopWatching?.();
    this.#stopWatching = undefined;
    if (!balancer.config.watch || configPath === undefined) return;
    const onTrouble = (error: unknown) => {
      balancer.log.error({ error: String(error) }, `changes of ${configPath} may go unnoticed: SIGHUP reloads it too`);
    };
    const onChange = () => {
      this.#watch();
      this.reload().catch(() => {}); // the log has it
    };
    this.#stopWatching = watchConfig(configPath, onChange, onTrouble);
  }
}

/** Of a refused reload, a line each. */
export function faultsOf(error: unknown): string[] {
  if (error instanceof TidegateError) return error.message.split('\n');
  return [`a mistake of ours: ${error}`];
}

/** Names that stand for another address than before. */
function describeMoves(before: readonly Backend[], after: readonly Backend[]): string[] {
  const known = new Map(before.map(({ id, sockaddr }) => [id, sockaddr]));
  return after.flatMap(({ id, pool, sockaddr, config: { address } }) => {
    const was = known.get(id);
    const hasMoved = was !== undefined && !isDeepStrictEqual(was, sockaddr);
    return hasMoved ? [`pool ${pool}: backend ${address}: its name stands for another address now`] : [];
  });
}

/** Each listener keeps an accept waiting, which holds a place that no client has. */
function checkRoom({ capacity }: Balancer, { listeners }: Config): void {
  const least = CONNECTIONS_PER_LISTENER_MIN * listeners.length;
  if (capacity.connectionsMax >= least) return;
  const message = `${listeners.length} listeners need ${least} connections in each worker, and ${capacity.connectionsMax} is what it was started with: restart with a larger connections_max`;
  throw new TidegateError('CONNECTIONS_MAX', message);
}

function statesOf({ backends, operator }: Balancer): SavedStates {
  const states: Record<string, Record<string, string>> = {};
  for (const backend of backends) {
    const state = operator.stateOf(backend);
    if (state !== 'up') states[backend.pool] = { ...states[backend.pool], [backend.config.address]: state };
  }
  return states;
}
