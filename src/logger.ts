// What the control plane asks of a logger: pino's shape, of which any library's is easily made.
export interface Logger {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** For those who embed Tidegate and pass none. */
export const silentLogger: Logger = { info() {}, warn() {}, error() {} };
