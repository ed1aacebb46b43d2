// What the bench is doing: one line that changes on a terminal, a line for each scenario elsewhere.

export class Progress {
  readonly #terminal = process.stderr.isTTY;
  #title = '';

  /** A new scenario. */
  start(title: string): void {
    this.#title = title;
    if (!this.#terminal) process.stderr.write(`${title}\n`);
  }

  /** What of it is being done. */
  now(step: string): void {
    if (!this.#terminal) return;
    const line = `${this.#title}: ${step}`.slice(0, process.stderr.columns - 1);
    process.stderr.write(`\r\x1b[K${line}`);
  }

  /** A line that stays. */
  say(line: string): void {
    process.stderr.write(this.#terminal ? `\r\x1b[K${line}\n` : `${line}\n`);
  }

  end(): void {
    if (this.#terminal) process.stderr.write('\r\x1b[K');
  }
}
