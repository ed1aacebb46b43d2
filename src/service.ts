// The life of `tidegate run`: from the configuration to the last connection, steered by signals.
import { type Logger as PinoLogger, pino } from 'pino';
import { formatAddress } from './config/address.ts';
import { loadConfig } from './config.ts';
import { EXIT_CRASHED } from './errors.ts';
import type { Tidegate } from './index.ts';
import { version } from './version.ts';

/** Resolves when it was asked to stop and has; throws a TidegateError when it can't begin. */
export async function serve(configPath: string): Promise<void> {
  const log = openLog();
  const signals = watchSignals(log);
  const config = await loadConfig(configPath);
  log.info({ version: version(), node: process.version, config: configPath }, 'starting');

  const { start } = await import('./index.ts');
  const starting = start(config, { log });
  const tidegate = await Promise.race([starting, signals.stopNow]);
  if (tidegate === undefined) return; // asked twice before it stood
  process.on('SIGUSR1', () => tidegate.reopenLogs());
  logReady(tidegate, log);

  await signals.stop;
  await stop(tidegate, signals.stopNow, log);
}

function logReady({ listeners, engine, admin }: Tidegate, log: PinoLogger): void {
  const addresses = Object.fromEntries(listeners.map(({ name, host, port }) => [name, formatAddress({ host, port })]));
  const adminAddress = admin === undefined ? 'off' : formatAddress(admin);
  log.info({ engine, listeners: addresses, admin: adminAddress }, 'ready');
}

async function stop(tidegate: Tidegate, stopNow: Promise<void>, log: PinoLogger): Promise<void> {
  const drained = tidegate.stop();
  const cut = stopNow.then(() => tidegate.stop({ now: true }));
  await Promise.race([drained, cut]);
  log.info('stopped');
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

interface StopSignals {
  stop: Promise<void>;
  stopNow: Promise<void>;
}

/** Ctrl-C under npm arrives twice, from the terminal and passed on by npm. No person is that fast. */
const ECHO_MS = 100;

function watchSignals(log: PinoLogger): StopSignals {
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
  process.on('SIGHUP', () => log.warn('SIGHUP: reload is not in this version; restart to use a changed configuration'));
  process.on('SIGUSR2', () => log.warn('SIGUSR2: handing over to a new binary is not in this version'));
  return { stop: first.promise, stopNow: second.promise };
}
