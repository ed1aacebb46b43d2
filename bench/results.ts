// What a run found: every sample, and what is made of them for tables and plots.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Machine } from './machine.ts';
import type { Sample } from './measure.ts';
import type { ProxyName } from './proxies.ts';
import type { Figure } from './scenario.ts';

export interface ScenarioResult {
  name: string;
  title: string;
  figures: readonly Figure[];
  /** For each proxy its samples, one for each round; none where it failed. */
  samples: Partial<Record<ProxyName, Sample[]>>;
  /** Why a proxy has no samples. */
  failures: Partial<Record<ProxyName, string>>;
}

export interface Results {
  machine: Machine;
  rounds: number;
  seconds: number;
  connectionsMax: number;
  proxies: { name: ProxyName; title: string; rival: boolean }[];
  skipped: { title: string; why: string }[];
  scenarios: ScenarioResult[];
}

export const FULL_RUN = join(import.meta.dirname, 'results/latest.json');
export const PARTIAL_RUN = join(import.meta.dirname, 'results/partial.json');

export function saveResults(results: Results, path: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `${JSON.stringify(results, undefined, 2)}\n`);
}

export function loadResults(path: string): Results {
  return JSON.parse(readFileSync(path, 'utf8'));
}

/** Median over the rounds; undefined where it wasn't measured. */
export function value(scenario: ScenarioResult, figure: Figure, proxy: ProxyName): number | undefined {
  const found = median(scenario, figure.key, proxy);
  if (!figure.added || found === undefined || proxy === 'direct') return found;
  return found - (median(scenario, figure.key, 'direct') ?? 0);
}

export function median(scenario: ScenarioResult, key: string, proxy: ProxyName): number | undefined {
  const samples = (scenario.samples[proxy] ?? []).map((sample) => sample[key]).filter((one) => one !== undefined);
  if (samples.length === 0) return undefined;
  samples.sort((a, b) => a - b);
  const middle = Math.floor(samples.length / 2);
  return samples.length % 2 === 1 ? samples[middle] : (samples[middle - 1]! + samples[middle]!) / 2;
}

/** The best of those that do the same job. */
export function bestRival(results: Results, scenario: ScenarioResult, figure: Figure): number | undefined {
  const rivals = results.proxies.filter(({ rival }) => rival).map(({ name }) => value(scenario, figure, name));
  const found = rivals.filter((one) => one !== undefined);
  if (found.length === 0) return undefined;
  return figure.better === 'lower' ? Math.min(...found) : Math.max(...found);
}

/** Of Tidegate to the best rival; undefined where that says nothing. */
export function ratio(results: Results, scenario: ScenarioResult, figure: Figure): number | undefined {
  const own = value(scenario, figure, 'tidegate');
  const best = bestRival(results, scenario, figure);
  return own === undefined || best === undefined || own < 0 || best <= 0 ? undefined : own / best;
}

export function format(found: number | undefined, digits: number): string {
  if (found === undefined || !Number.isFinite(found)) return '–';
  return found.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits });
}
