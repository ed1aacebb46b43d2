// The life of `tidegate run`: from the configuration to the last connection or to a successor, steered by signals.
import { type Logger as PinoLogger, pino } from 'pino';
import { formatAddress } from './config/address.ts';
import { loadConfig } from './config.ts';
import { closeInherited, type Predecessor, takeInheritance } from './control/inherited.ts';
import { watchWorkers } from './control/liveness.ts';
import { EXIT_CRASHED } from './errors.ts';
import type { Tidegate } from './index.ts';
import { succeed } from './predecessor.ts';
import { ServiceManager } from './service-manager.ts';
import { type Successor, startSuccessor } from './successor.ts';
import { version } from './version.ts';

/** Resolves when it was asked to stop and has; throws a TidegateError when it can't begin. */
export async function serve(configPath: string): Promise<void> {
  const inheritance = takeInheritance();
  const log = openLog();
  const signals = watchSignals(log);
  const manager = new ServiceManager(process.env, (message) => log.warn(message));
  const config = await loadConfig(configPath);
  log.info({ version: version(), node: process.version, config: configPath }, 'starting');

  const { start } = await import('./index.ts');
  const starting = start(config, { log, inheritance, configPath });
  const tidegate = await Promise.race([starting, signals.stopNow]);
  if (tidegate === undefined) return; // asked twice before it stood
  closeInherited(inheritance);
  process.on('SIGUSR1', () => tidegate.reopenLogs());
  if (inheritance.predecessor !== undefined) await takeOver(tidegate, inheritance.predecessor);
  logReady(tidegate, log);
  manager.ready(statusText(tidegate), watchWorkers(tidegate.supervisor));
  signals.onReload(() => reload(tidegate, manager));

  const successor = await untilSucceeded(tidegate, signals, log);
  if (successor === undefined) manager.stopping(config.shutdownTimeoutMs);
  else await handOver(tidegate, successor, manager);
  await stop(tidegate, signals.stopNow, log);
}

function logReady(tidegate: Tidegate, log: PinoLogger): void {
  const { listeners, engine, admin } = tidegate;
  const addresses = Object.fromEntries(listeners.map(({ name, host, port }) => [name, formatAddress({ host, port })]));
  const adminAddress = admin === undefined ? 'off' : formatAddress(admin);
  log.info({ engine, listeners: addresses, admin: adminAddress }, 'ready');
}

function statusText({ listeners, engine }: Tidegate): string {
  return `serving ${listeners.map(formatAddress).join(', ')} by engine ${engine}`;
}

/** The log has how it went. */
async function reload(tidegate: Tidegate, manager: ServiceManager): Promise<void> {
  manager.reloading();
  await tidegate.reload().catch(() => {});
  manager.ready(statusText(tidegate), watchWorkers(tidegate.supervisor));
}

async function stop(tidegate: Tidegate, stopNow: Promise<void>, log: PinoLogger): Promise<void> {
  const drained = tidegate.stop();
  const cut = stopNow.then(() => tidegate.stop({ now: true }));
  await Promise.race([drained, cut]);
  log.info('stopped');
}

// ---- From one process to the next ------------------------------------------------------------------------------------

async function takeOver(tidegate: Tidegate, { pid, channelFd }: Predecessor): Promise<void> {
  await succeed(channelFd);
  tidegate.log.info({ event: 'upgraded', predecessor: pid }, `took over from process ${pid}`);
  await tidegate.openAdmin().catch(({ message }) => {
    // Too late to leave it to the predecessor: clients come first.
    tidegate.log.error({ event: 'upgrade_failed' }, `${message}; until a restart there is none`);
  });
}

/** Resolves with a process that serves from here on, or with none when this one was asked to stop. */
async function untilSucceeded(
  tidegate: Tidegate,
  { stop, onUpgrade }: Signals,
  log: PinoLogger,
): Promise<Successor | undefined> {
  const stopping = new AbortController();
  const { promise: succeeded, resolve } = Promise.withResolvers<Successor>();
  let attempt: Promise<void> | undefined;
  onUpgrade(() => {
    if (attempt !== undefined) return log.warn('SIGUSR2: an upgrade is under way already');
    attempt = upgrade(tidegate, stopping.signal)
      .then((successor) => successor && resolve(successor))
      .finally(() => {
        attempt = undefined;
      });
  });
  const successor = await Promise.race([succeeded, stop]);
  onUpgrade(() => log.warn('SIGUSR2: this process is ending'));
  if (successor) return successor;
  stopping.abort();
  await attempt;
  return undefined;
}

/** undefined when it has failed, which is logged: nothing has changed then. */
async function upgrade({ sockets, engine, log }: Tidegate, signal: AbortSignal): Promise<Successor | undefined> {
  try {
    if (process.pid === 1)
      throw new Error('this is process 1 of a container, which ends with it: replace the container');
    log.info({ event: 'upgrading' }, 'starting a successor');
    return await startSuccessor({ sockets, engine }, signal);
  } catch (error) {
    const { message } = error as Error;
    log.error({ event: 'upgrade_failed', error: message }, `the upgrade failed, and nothing has changed: ${message}`);
    return undefined;
  }
}

async function handOver(tidegate: Tidegate, successor: Successor, manager: ServiceManager): Promise<void> {
  const { pid } = successor;
  tidegate.log.info(
    { event: 'upgraded', successor: pid },
    `process ${pid} has taken over; this one serves who is connected`,
  );
  manager.handedOver(pid);
  await tidegate.handOver();
  successor.leave();
}

/** Written at once, a line at a time, so that the last line before an exit is not lost. */
function openLog(): PinoLogger {
  const log = pino(
    {
      base: { pid: process.pid },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (level) => ({ level }) },
    },
    pino.destination({ fd: 2, sync: true }),
  );
  process.on('uncaughtException', (error) => {
    log.fatal({ err: error }, 'a mistake of ours');
    process.exit(EXIT_CRASHED);
  });
  return log;
}

interface Signals {
  stop: Promise<void>;
  stopNow: Promise<void>;
  /** Whom SIGUSR2 is for from here on. */
  onUpgrade(listener: () => void): void;
  /** Calls on each SIGHUP, and at once when one has come already. */
  onReload(reload: () => void): void;
}

/** Ctrl-C under npm arrives twice, from the terminal and passed on by npm. No person is that fast. */
const ECHO_MS = 100;

function watchSignals(log: PinoLogger): Signals {
  const first = Promise.withResolvers<void>();
  const second = Promise.withResolvers<void>();
  let askedAtMs: number | undefined;
  const onStop = (signal: NodeJS.Signals) => {
    const again = askedAtMs !== undefined;
    const echo = again && process.env.npm_lifecycle_event !== undefined && performance.now() - askedAtMs! < ECHO_MS;
    if (echo) return;
    askedAtMs ??= performance.now();
    log.info({ signal }, again ? 'asked again to stop: closing every connection' : 'asked to stop');
    (again ? second : first).resolve();
  };
  process.on('SIGTERM', onStop);
  process.on('SIGINT', onStop);
  let wantsReload = false;
  let reload = (): void => {
    wantsReload = true;
  };
  process.on('SIGHUP', () => reload());
  let onUpgrade = () => log.warn('SIGUSR2: there is nothing to upgrade yet, this process only starts');
  process.on('SIGUSR2', () => onUpgrade());
  return {
    stop: first.promise,
    stopNow: second.promise,
    onUpgrade: (listener) => {
      onUpgrade = listener;
    },
    onReload: (action) => {
      reload = action;
      if (wantsReload) action();
    },
  };
}
