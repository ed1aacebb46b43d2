// What systemd is told (sd_notify(3)): that the service is ready, reloads, stops, has another main process, and, where the
// unit has WatchdogSec, that it is still alive.
import { sendToUnixSocket } from './system/libc.ts';

/** The unit's TimeoutStopSec needn't know of shutdown_timeout: the end may take this much longer. */
const STOP_SPARE_MS = 15_000;
/** Of a watchdog's time: the signs of life that fit into it. */
const SIGNS_OF_LIFE = 3;

export class ServiceManager {
  readonly #path: string | undefined;
  readonly #watchdogMs: number;
  readonly #onFailure: (message: string) => void;
  #isSilent = false;
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
    this.#send({ READY: '1', STATUS: status });
    if (this.#path === undefined || !(this.#watchdogMs > 0)) return;
    clearInterval(this.#watchdog);
    this.#watchdog = setInterval(() => {
      if (isAlive()) this.#send({ WATCHDOG: '1' });
    }, this.#watchdogMs / SIGNS_OF_LIFE);
    this.#watchdog.unref();
  }

  /** To be followed by ready(). */
  reloading(): void {
    this.#send({ RELOADING: '1', MONOTONIC_USEC: `${process.hrtime.bigint() / 1000n}`, STATUS: 'reloading' });
  }

  stopping(timeoutMs: number): void {
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
    const lines = Object.entries(fields).map(([name, value]) => `${name}=${value}\n`);
    try {
      sendToUnixSocket(this.#path, lines.join(''));
    } catch (error) {
      this.#isSilent = true;
      this.#onFailure(`the service manager can't be told at ${this.#path}: ${(error as Error).message}`);
    }
  }
}
