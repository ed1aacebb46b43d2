// What the swarm's main thread does while the rings work: looks once a second, says what it saw, moves from one phase to the
// next, and reports at the end.
import type { Crowd, CrowdFigures } from './crowd.ts';
import { EXIT_NOT_ALL_WELL, grouped, printJson, rounded, writeReport } from './crowd-command.ts';
import { quantiles } from './latency.ts';
import { HISTOGRAM_BUCKETS } from './layout.ts';
import { drawTimeline } from './timeline.ts';

type Phase = 'connect' | 'hold' | 'close';

export interface SwarmWatchOptions {
  connections: number;
  rate: number;
  /** Milliseconds. */
  hold?: number | undefined;
  progress: 'text' | 'json' | 'off';
  /** What its files' names begin with. */
  report?: string | undefined;
}

/** One a second, as `--progress json` prints it. */
export interface Sample {
  seconds: number;
  phase: Phase;
  open: number;
  connected: number;
  failed: number;
  lost: number;
  reconnected: number;
  connectsPerSecond: number;
  pings: number;
  pingsPerSecond: number;
  pingP50Ms: number | null;
  pingP99Ms: number | null;
  published: number;
  received: number;
  /** Those since the hold began; null before. */
  hold: Pings | null;
}

export interface Pings {
  pings: number;
  pingP50Ms: number | null;
  pingP99Ms: number | null;
  pingP999Ms: number | null;
  pingMaxMs: number | null;
}

export class SwarmWatch {
  readonly #options: SwarmWatchOptions;
  readonly #crowd: Crowd;
  readonly #samples: Sample[] = [];
  #beganMs = performance.now();
  readonly #begins: Partial<Record<Phase, number>> = { connect: 0 };
  #phase: Phase = 'connect';
  #last: { atMs: number; figures: CrowdFigures; histogram: Uint32Array };
  /** Where the next ones are counted: a look leaves no garbage to speak of. */
  #spare: Uint32Array = new Uint32Array(HISTOGRAM_BUCKETS);
  /** As they were when the hold began, and when it ended. */
  #holdFrom: Uint32Array | undefined;
  #holdTo: Uint32Array | undefined;

  constructor(options: SwarmWatchOptions, crowd: Crowd) {
    this.#options = options;
    this.#crowd = crowd;
    this.#last = { atMs: this.#beganMs, figures: crowd.figures(), histogram: crowd.histogram() };
  }

  /** The rings begin to dial. */
  begins(): void {
    this.#beganMs = performance.now();
    this.#last.atMs = this.#beganMs;
  }

  tick(): void {
    const sample = this.#look();
    this.#samples.push(sample);
    if (this.#options.progress === 'json') printJson(sample);
    else if (this.#options.progress === 'text') process.stdout.write(`${sampleText(sample)}\n`);
  }

  /** From one phase to the next, when it is time. */
  advance(): void {
    const { connections, hold } = this.#options;
    if (this.#phase === 'connect' && this.#crowd.figures().tried >= connections) this.#enter('hold');
    const heldSeconds = this.#seconds() - (this.#begins.hold ?? 0);
    if (this.#phase !== 'hold' || hold === undefined || heldSeconds * 1000 < hold) return;
    this.closes();
    this.#crowd.close();
  }

  #look(): Sample {
    const nowMs = performance.now();
    const figures = this.#crowd.figures();
    const { atMs, figures: before, histogram: counted } = this.#last;
    const passed = (nowMs - atMs) / 1000;
    const histogram = this.#crowd.histogram(this.#spare);
    for (const [bucket, count] of histogram.entries()) counted[bucket] = count - counted[bucket]!;
    const pings = quantiles(counted);
    this.#spare = counted;
    this.#last = { atMs: nowMs, figures, histogram };
    return {
      seconds: rounded(this.#seconds(), 1),
      phase: this.#phase,
      open: figures.open,
      connected: figures.connected,
      failed: figures.failed,
      lost: figures.lost,
      reconnected: figures.reconnected,
      connectsPerSecond: Math.round((figures.connected - before.connected) / passed),
      pings: figures.pings,
      pingsPerSecond: Math.round((figures.pings - before.pings) / passed),
      pingP50Ms: pings === undefined ? null : rounded(pings.p50Us / 1000, 3),
      pingP99Ms: pings === undefined ? null : rounded(pings.p99Us / 1000, 3),
      published: figures.published,
      received: figures.received,
      hold: this.#pingsOfHold(this.#holdTo ?? histogram),
    };
  }

  #pingsOfHold(counted: Uint32Array): Pings | null {
    const from = this.#holdFrom;
    return from === undefined ? null : pingsOf(counted.map((count, bucket) => count - from[bucket]!));
  }

  #seconds(): number {
    return (performance.now() - this.#beganMs) / 1000;
  }

  #enter(phase: Phase): void {
    this.#phase = phase;
    this.#begins[phase] = this.#seconds();
    if (phase === 'hold') this.#holdFrom = this.#crowd.histogram();
    else this.#holdTo = this.#crowd.histogram();
  }

  /** By the clock or by a signal. */
  closes(): void {
    if (this.#phase !== 'close') this.#enter('close');
  }

  /** Prints and writes it; returns the exit code. */
  report(): number {
    const endSeconds = this.#seconds();
    const figures = this.#crowd.figures();
    const { failed, lost, reconnected, connected, published, received, acknowledged, withheld, subscribed } = figures;
    const { hold = this.#begins.close, close = endSeconds } = this.#begins;
    const held = this.#holdTo && this.#pingsOfHold(this.#holdTo);
    const { user, system } = process.cpuUsage();
    const report = {
      connections: this.#options.connections,
      rate: this.#options.rate,
      rings: this.#crowd.ringCount,
      connectSeconds: rounded(hold ?? endSeconds, 1),
      connected,
      failed,
      lost,
      reconnected,
      hold: {
        seconds: held ? rounded(close - hold!, 1) : 0,
        ...(held ?? pingsOf(new Uint32Array())),
      },
      phases: this.#phaseSeconds(endSeconds),
      messages: { published, acknowledged, withheld, received, subscribed },
      reasons: this.#crowd.reasons(),
      cpuSeconds: rounded((user + system) / 1e6, 1),
    };
    const text = reportText(report);
    if (this.#options.progress === 'json') printJson({ report });
    else if (this.#options.progress === 'text') process.stdout.write(`\n${text}`);
    const samples = this.#samples;
    if (this.#options.report !== undefined) {
      writeReport(this.#options.report, { text, json: { report, samples }, svg: drawTimeline(samples) });
    }
    const isWell = failed + lost === 0 && report.connected >= report.connections;
    return isWell ? 0 : EXIT_NOT_ALL_WELL;
  }

  #phaseSeconds(end: number): Partial<Record<Phase, { from: number; seconds: number }>> {
    const begins = Object.entries(this.#begins) as [Phase, number][];
    return Object.fromEntries(
      begins.map(([phase, from], index) => {
        const to = begins[index + 1]?.[1] ?? end;
        return [phase, { from: rounded(from, 1), seconds: rounded(to - from, 1) }];
      }),
    );
  }
}

function pingsOf(histogram: Uint32Array): Pings {
  const found = quantiles(histogram);
  const ms = (us: number | undefined) => (us === undefined ? null : rounded(us / 1000, 3));
  return {
    pings: histogram.reduce((sum, count) => sum + count, 0),
    pingP50Ms: ms(found?.p50Us),
    pingP99Ms: ms(found?.p99Us),
    pingP999Ms: ms(found?.p999Us),
    pingMaxMs: ms(found?.maxUs),
  };
}

function sampleText(sample: Sample): string {
  const { seconds, phase, open, failed, lost, connectsPerSecond, pingsPerSecond, pingP50Ms, pingP99Ms } = sample;
  const latency = pingP99Ms === null ? '' : `, p50 ${pingP50Ms} ms, p99 ${pingP99Ms} ms`;
  return (
    `${seconds.toFixed(0).padStart(5)} s  ${phase.padEnd(7)}  ${grouped(open)} open, ${grouped(connectsPerSecond)} new/s, ` +
    `${grouped(failed)} failed, ${grouped(lost)} lost, ${grouped(pingsPerSecond)} pings/s${latency}`
  );
}

function reportText(report: {
  connections: number;
  connectSeconds: number;
  connected: number;
  failed: number;
  lost: number;
  reconnected: number;
  hold: {
    seconds: number;
    pings: number;
    pingP50Ms: number | null;
    pingP99Ms: number | null;
    pingMaxMs: number | null;
  };
  messages: { published: number; acknowledged: number; withheld: number; received: number };
  reasons: Record<string, number>;
  cpuSeconds: number;
}): string {
  const { hold, messages, reasons } = report;
  const rows: [string, string][] = [
    ['connections', `${grouped(report.connections)}, tried within ${report.connectSeconds} s`],
    ['CONNACKs', grouped(report.connected)],
    ['failed', grouped(report.failed)],
    ['lost', `${grouped(report.lost)}, of which ${grouped(report.reconnected)} came back`],
    ['held', `${hold.seconds} s, ${grouped(hold.pings)} pings`],
  ];
  if (hold.pingP50Ms !== null) {
    rows.push(['ping', `p50 ${hold.pingP50Ms} ms, p99 ${hold.pingP99Ms} ms, at most ${hold.pingMaxMs} ms`]);
  }
  if (messages.published > 0) {
    const { published, acknowledged, withheld } = messages;
    rows.push([
      'published',
      `${grouped(published)}, ${grouped(acknowledged)} acknowledged, ${grouped(withheld)} not sent in time`,
    ]);
  }
  if (messages.received > 0) rows.push(['received', grouped(messages.received)]);
  rows.push(['CPU', `${report.cpuSeconds} s`]);
  for (const [reason, count] of Object.entries(reasons)) rows.push([grouped(count), reason]);
  return rows.map(([name, value]) => `${name.padEnd(12)} ${value}\n`).join('');
}
