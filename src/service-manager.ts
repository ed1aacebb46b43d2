// What systemd is told (sd_notify(3)): that the service is ready, reloads, stops, has another main process, and, where the
// unit has WatchdogSec, that it is still alive.
import { sendToUnixSocket } from './system/libc.ts';

/** The unit's TimeoutStopSec needn't know of shutdown_timeout: the end may take this much longer. */
const STOP_SPARE_MS = 15_000;
/** Of a watchdog's time: the signs of life that fit into it. */
const SIGNS_OF_LIFE = 3;
/** After its queue was full. */
const RETRY_MS = 20;

export class ServiceManager {
  readonly #path: string | undefined;
  readonly #watchdogMs: number;
  readonly #onFailure: (message: string) => void;
  /** What couldn't be sent yet: a manager that is busy must not hold up this thread. */
  #waiting: string[] = [];
  #isSilent = false;
  #isStopping = false;
  #watchdog: NodeJS.Timeout | undefined;

  /** Where no service manager waits for it, nothing is ever sent. `onFailure` is told once. */
  constructor(env: NodeJS.ProcessEnv, onFailure: (message: string) => void) {
    const { NOTIFY_SOCKET, WATCHDOG_USEC = '0', WATCHDOG_PID } = env;
    const isMeant = WATCHDOG_PID === undefined || Number(WATCHDOG_PID) === process.pid;
    this.#path = NOTIFY_SOCKET || undefined;
    this.#watchdogMs = isMeant ? Number(WATCHDOG_USEC) / 1000 : 0;
    this.#onFailure = onFailure;
  }

  /** From now on signs of life are sent as long as `isAlive` says so and the event loop turns. */
  ready(status: string, isAlive: () => boolean): void {
    if (this.#isStopping) return;
    this.#send({ READY: '1', STATUS: status });
    if (this.#path === undefined || !(this.#watchdogMs > 0)) return;
    clearInterval(this.#watchdog);
    this.#watchdog = setInterval(() => {
      if (isAlive() && this.#waiting.length === 0) this.#send({ WATCHDOG: '1' });
    }, this.#watchdogMs / SIGNS_OF_LIFE);
    this.#watchdog.unref();
  }

  /** To be followed by ready(). */
  reloading(): void {
    if (this.#isStopping) return;
    this.#send({ RELOADING: '1', MONOTONIC_USEC: `${process.hrtime.bigint() / 1000n}`, STATUS: 'reloading' });
  }

  /** Neither ready() nor reloading() is heard of after it. */
  stopping(timeoutMs: number): void {
    this.#isStopping = true;
    const extendUsec = Math.ceil((timeoutMs + STOP_SPARE_MS) * 1000);
    this.#send({ STOPPING: '1', STATUS: 'stopping', EXTEND_TIMEOUT_USEC: `${extendUsec}` });
  }

  /** Another process is the service now; what this one would say from here on isn't heard, and isn't said. */
  handedOver(pid: number): void {
    this.#send({ MAINPID: `${pid}`, STATUS: `process ${pid} has taken over` });
    clearInterval(this.#watchdog);
    this.#isSilent = true;
  }

  #send(fields: Record<string, string>): void {
    if (this.#path === undefined || this.#isSilent) return;
    this.#waiting.push(Object.entries(fields).reduce((text, [name, value]) => `${text}${name}=${value}\n`, ''));
    if (this.#waiting.length === 1) this.#flush(this.#path);
  }

  #flush(path: string): void {
    try {
      for (; this.#waiting.length > 0; this.#waiting.shift()) sendToUnixSocket(path, this.#waiting[0]!);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EAGAIN') {
        setTimeout(() => this.#flush(path), RETRY_MS).unref();
        return;
      }
      this.#waiting = [];
      this.#isSilent = true;
      this.#onFailure(`the service manager can't be told at ${path}: ${(error as Error).message}`);
    }
  }
}
