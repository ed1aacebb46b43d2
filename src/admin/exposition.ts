// Prometheus' text format, version 0.0.4.
import type { HistogramReading } from '../control/figures.ts';

export const EXPOSITION_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

type Labels = Record<string, string | number>;

interface Sample {
  /** After the family's name: "_bucket" and the like. */
  suffix?: string;
  labels?: Labels;
  value: number;
}

interface HistogramSeries {
  labels?: Labels;
  reading: HistogramReading;
}

export interface Family {
  name: string;
  type: 'counter' | 'gauge' | 'histogram' | 'summary';
  help: string;
  samples: readonly Sample[];
}

export function renderFamilies(families: readonly Family[]): string {
  return families.map(renderFamily).join('');
}

export function counter(name: string, help: string, ...samples: readonly Sample[]): Family {
  return { name, type: 'counter', help, samples };
}

export function gauge(name: string, help: string, ...samples: readonly Sample[]): Family {
  return { name, type: 'gauge', help, samples };
}

export function histogram(name: string, help: string, ...series: readonly HistogramSeries[]): Family {
  return { name, type: 'histogram', help, samples: series.flatMap(histogramSamples) };
}

function histogramSamples({ labels, reading: { bounds, counts, sum } }: HistogramSeries): Sample[] {
  let total = 0;
  const buckets = [...bounds, Number.POSITIVE_INFINITY].map((bound, index) => {
    total += counts[index]!;
    return { suffix: '_bucket', labels: { ...labels, le: numberText(bound) }, value: total };
  });
  return [...buckets, { suffix: '_sum', labels, value: sum }, { suffix: '_count', labels, value: total }];
}

function renderFamily({ name, type, help, samples }: Family): string {
  const lines = samples.map(({ suffix = '', labels, value }) => {
    return `${name}${suffix}${labels === undefined ? '' : labelsText(labels)} ${numberText(value)}\n`;
  });
  return `# HELP ${name} ${escapeHelp(help)}\n# TYPE ${name} ${type}\n${lines.join('')}`;
}

function labelsText(labels: Labels): string {
  return `{${Object.entries(labels).map(([name, value]) => `${name}="${escapeLabel(String(value))}"`)}}`;
}

function numberText(value: number): string {
  if (Number.isFinite(value)) return String(value);
  return value > 0 ? '+Inf' : Number.isNaN(value) ? 'NaN' : '-Inf';
}

function escapeHelp(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
}

function escapeLabel(text: string): string {
  return escapeHelp(text).replaceAll('"', '\\"');
}
