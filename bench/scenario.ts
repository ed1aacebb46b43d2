// What a scenario is, and the two ways to measure one.
import type { RunningLoad } from './load.ts';
import { type Bench, closeLoads, measureSlice, type Sample, type Target } from './measure.ts';
import type { Door } from './proxies.ts';

export interface Figure {
  key: string;
  label: string;
  digits: number;
  better: 'lower' | 'higher';
  /** Only what the proxy adds counts: the figure without any proxy is taken off. */
  added?: boolean;
}

export interface Scenario {
  name: string;
  title: string;
  figures: readonly Figure[];
  /** tcp where none is named. Proxies that haven't got it are left out. */
  door?: Door;
  /** Also measured without a proxy. */
  direct?: boolean;
  rounds: 'once' | 'few' | 'many';
  /** Runs before the rounds, against every target: how each is measured from then on, and the end of it all. */
  prepare(bench: Bench, targets: readonly Target[]): Promise<Prepared>;
}

export interface Prepared {
  measure(target: Target): Promise<Sample>;
  close(): Promise<void>;
}

export const perMessage: readonly Figure[] = [
  { key: 'cpuUs', label: 'proxy CPU, us per message', digits: 2, better: 'lower' },
  { key: 'perSecond', label: 'messages/s', digits: 0, better: 'higher' },
];
export const perConnection: readonly Figure[] = [
  { key: 'cpuUs', label: 'proxy CPU, us per connection', digits: 1, better: 'lower' },
  { key: 'perSecond', label: 'connections/s', digits: 0, better: 'higher' },
];

/** Nothing to prepare: each measurement opens and closes its own loads. */
export function each(measure: (bench: Bench, target: Target) => Promise<Sample>): Scenario['prepare'] {
  return async (bench) => ({ measure: (target) => measure(bench, target), async close() {} });
}

interface Opened {
  load: RunningLoad;
  /** Of what else has to end with it. */
  end?: () => void;
}

/** A load for each proxy, opened once. */
export function inSlices(open: (bench: Bench, target: Target) => Promise<Opened>): Scenario['prepare'] {
  return async (bench, targets) => {
    const opened = new Map<Target, Opened>();
    const failures = new Map<Target, Error>();
    for (const target of targets) {
      await open(bench, target).then(
        (one) => opened.set(target, one),
        (error) => failures.set(target, error),
      );
    }
    return {
      async measure(target) {
        const failure = failures.get(target);
        if (failure !== undefined) throw failure;
        return measureSlice(bench, target, opened.get(target)!.load);
      },
      async close() {
        const all = [...opened.values()];
        await closeLoads(...all.map(({ load }) => load));
        for (const { end } of all) end?.();
      },
    };
  };
}
