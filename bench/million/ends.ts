// Both ends of every session, each a process of its own: the swarm of clients and the sink behind the balancer. They are
// the load tools of this project, told what to do by their options and listened to line by line.
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Sample } from '../swarm-watch.ts';
import { Child } from './children.ts';

const START_TIMEOUT_MS = 60_000;
const POLL_MS = 20;
/** A million DISCONNECTs take their time. */
const CLOSE_TIMEOUT_MS = 300_000;
/** Of a plot this wide more would not be seen. */
const POINTS_MAX = 240;

export interface SwarmReport {
  lost: number;
}

export interface SinkLine {
  open: number;
}

/** What happened in the course of a run, for the plot: as the swarm saw it. */
export interface Point {
  seconds: number;
  open: number;
  pingP99Ms: number | null;
}

/** On all addresses of the machine. Resolves when it listens. */
export async function startSink(port: number, connections: number, signal: AbortSignal): Promise<Child<SinkLine>> {
  const options = ['--listen', `0.0.0.0:${port}`, '--connections', String(connections), '--progress', 'json'];
  const sink = new Child<SinkLine>('the sink', tool('sink', options));
  for (const deadline = performance.now() + START_TIMEOUT_MS; sink.line === undefined; ) {
    if (!sink.isRunning) throw new Error(`the sink could not start:\n${sink.lastWords}`);
    if (performance.now() > deadline) throw new Error(`the sink says nothing after ${START_TIMEOUT_MS / 1000} s`);
    await sleep(POLL_MS, undefined, { signal });
  }
  return sink;
}

export interface SwarmSettings {
  connections: number;
  /** Connects a second. */
  rate: number;
  keepAliveSeconds: number;
  /** host:port of each. */
  targets: readonly string[];
}

/** The clients: from the first dial to the report. */
export class Swarm {
  readonly child: Child<Sample | { report: SwarmReport }>;
  readonly points: Point[] = [];
  line: Sample | undefined;
  report: SwarmReport | undefined;
  #beganMs = performance.now();

  constructor({ connections, rate, keepAliveSeconds, targets }: SwarmSettings, onLine: (line: Sample) => void) {
    const number = ['--connections', String(connections), '--rate', String(rate)];
    const way = ['--to', targets.join(','), '--keep-alive', `${keepAliveSeconds}s`];
    const rest = ['--reconnect', 'on', '--progress', 'json'];
    this.child = new Child('the swarm', tool('swarm', [...number, ...way, ...rest]), (line) => {
      if ('report' in line) {
        this.report = line.report;
        return;
      }
      this.line = line;
      this.points.push({ seconds: this.seconds, open: line.open, pingP99Ms: line.pingP99Ms });
      onLine(line);
    });
  }

  /** Since its start. */
  get seconds(): number {
    return Math.round((performance.now() - this.#beganMs) / 100) / 10;
  }

  get open(): number {
    return this.line?.open ?? 0;
  }

  get lost(): number {
    return this.report?.lost ?? this.line?.lost ?? 0;
  }

  /** Every session says DISCONNECT. Resolves when all are closed and the report is there. */
  async close(): Promise<void> {
    await this.child.stop(CLOSE_TIMEOUT_MS);
    if (this.report === undefined) throw new Error(`the swarm ended without a report:\n${this.child.lastWords}`);
  }
}

/** At most POINTS_MAX: of several seconds the last number of sessions and the longest latency. */
export function thinned(points: readonly Point[]): Point[] {
  const width = Math.ceil(points.length / POINTS_MAX);
  return points.flatMap((point, index): Point[] => {
    if (index % width !== width - 1) return [];
    const latencies = points.slice(index + 1 - width, index + 1).flatMap(({ pingP99Ms }) => pingP99Ms ?? []);
    return [{ ...point, pingP99Ms: latencies.length === 0 ? null : Math.max(...latencies) }];
  });
}

function tool(name: 'swarm' | 'sink', options: readonly string[]): string[] {
  const file = join(import.meta.dirname, `../${name}.ts`);
  return [process.execPath, '--disable-warning=ExperimentalWarning', file, ...options];
}
