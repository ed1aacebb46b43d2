// What the control plane asks of a logger: pino's shape, of which any library's is easily made.
import type { EventName } from './control/events.ts';

export interface LogFields {
  /** The line is an event, which the admin API shows too. */
  event?: EventName;
  [name: string]: unknown;
}

export interface Logger {
  info(fields: LogFields, message: string): void;
  warn(fields: LogFields, message: string): void;
  error(fields: LogFields, message: string): void;
}

/** For those who embed Tidegate and pass none. */
export const silentLogger: Logger = { info() {}, warn() {}, error() {} };
