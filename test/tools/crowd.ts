// The swarm and the sink as users run them, and what they have printed.
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { Program } from './program.ts';
import { waitFor } from './wait.ts';

/** A line of what one of them prints with --progress json. */
export type Figures = Record<string, number | string | null>;

export interface Report {
  connections: number;
  connected: number;
  failed: number;
  lost: number;
  reconnected: number;
  hold: { seconds: number; pings: number; pingP50Ms: number | null; pingP99Ms: number | null };
  phases: Record<string, { seconds: number }>;
  messages: Record<'published' | 'acknowledged' | 'withheld' | 'received' | 'subscribed', number>;
  reasons: Record<string, number>;
}

export interface CrowdProgram {
  program: Program;
  /** The newest line of figures; empty before the first. */
  figures(): Figures;
  /** Resolves with the first figures that are as they should be. */
  until(what: string, isSo: (figures: Figures) => boolean): Promise<Figures>;
  /** Waits for its end, which must be with that exit code, and returns its last line. */
  report(code: number): Promise<Report>;
  /** With SIGTERM. */
  stop(code: number): Promise<Report>;
}

export function startSwarm(context: TestContext, args: readonly string[]): CrowdProgram {
  return startProgram(context, 'bench/swarm.ts', args);
}

/** On a free port of 127.0.0.1 unless the arguments say otherwise. */
export async function startSink(
  context: TestContext,
  args: readonly string[] = [],
): Promise<CrowdProgram & { port: number; address: string }> {
  const listen = args.includes('--listen') ? [] : ['--listen', '127.0.0.1:0'];
  const sink = startProgram(context, 'bench/sink.ts', [...listen, ...args]);
  const [, address = '', port] = await sink.program.printed('stderr', /listening on (\S+:(\d+)), /);
  return { ...sink, address, port: Number(port) };
}

function startProgram(context: TestContext, file: string, args: readonly string[]): CrowdProgram {
  const program = new Program(file, [...args, '--progress', 'json']);
  context.after(() => program.kill());
  const figures = (): Figures => {
    const lines = program.stdout.split('\n').slice(0, -1);
    const last = lines.findLast((line) => !line.startsWith('{"report"'));
    return last === undefined ? {} : JSON.parse(last);
  };
  const report = async (code: number): Promise<Report> => {
    const ended = await program.ended();
    assert.equal(ended.code, code, `${ended.stdout.slice(-2000)}${ended.stderr}`);
    return JSON.parse(ended.stdout.trimEnd().split('\n').at(-1)!).report;
  };
  return {
    program,
    figures,
    report,
    until: (what, isSo) =>
      waitFor(what, () => {
        const found = figures();
        if (program.child.exitCode !== null) assert.ok(isSo(found), `ended: ${JSON.stringify(found)}${program.stderr}`);
        return isSo(found) && found;
      }),
    stop(code) {
      program.child.kill('SIGTERM');
      return report(code);
    },
  };
}
