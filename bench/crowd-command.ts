// What swarm and sink have in common as commands: how they end, and how they fail.
import { closeSync, openSync, writeFileSync } from 'node:fs';
import { TidegateError } from '../src/errors.ts';
import type { Crowd } from './crowd.ts';

/** Somebody failed or was lost. */
export const EXIT_NOT_ALL_WELL = 1;
const EXIT_COULD_NOT_START = 2;

/** Runs the command and leaves the process with its exit code; what a user can mend is one line. */
export async function runCommand(name: string, main: () => Promise<number>): Promise<void> {
  process.stdout.on('error', () => {});
  try {
    process.exitCode = await main();
  } catch (error) {
    const mendable = error instanceof TidegateError || (error as { code?: unknown }).code !== undefined;
    process.stderr.write(`${name}: ${mendable ? (error as Error).message : (error as Error).stack}\n`);
    // Threads that wait for the others would keep the process.
    process.exit(EXIT_COULD_NOT_START);
  }
}

/** At the first SIGTERM or SIGINT all take leave, at the second they are dropped. */
export function closeOnSignal(crowd: Crowd, onClose: () => void): void {
  let signals = 0;
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      if (++signals > 1) return crowd.stop();
      onClose();
      crowd.close();
    });
  }
}

/** One object to a line. */
export function printJson(value: object): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

/** Before a run that would be lost otherwise: fails when its report can't be written there. */
export function checkReport(prefix: string | undefined): void {
  if (prefix !== undefined) closeSync(openSync(`${prefix}.json`, 'a'));
}

/** PREFIX.txt, PREFIX.json and PREFIX.svg. */
export function writeReport(prefix: string, report: { text: string; json: object; svg: string }): void {
  writeFileSync(`${prefix}.txt`, report.text);
  writeFileSync(`${prefix}.json`, `${JSON.stringify(report.json, null, 2)}\n`);
  writeFileSync(`${prefix}.svg`, report.svg);
}

export function rounded(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}

/** 1,000,000 */
export function grouped(value: number): string {
  return value.toLocaleString('en-US');
}
