// The results as a table, on the terminal and in Markdown.
import type { ProxyName } from './proxies.ts';
import { format, median, type Results, ratio, type ScenarioResult, value } from './results.ts';

export interface Row {
  title: string;
  cells: string[];
}

export interface Table {
  head: string[];
  rows: Row[];
}

/** A row for each figure, a column for each proxy, then Tidegate's ratio to the best rival that does the same job. */
export function buildTable(results: Results, names: readonly ProxyName[], added: boolean = true): Table {
  const proxies = results.proxies.filter(({ name }) => names.includes(name));
  const rows = results.scenarios.flatMap((scenario) =>
    scenario.figures.map((figure) => ({
      title: `${scenario.title}: ${figure.label}`,
      cells: [
        ...proxies.map(({ name }) =>
          format(value(scenario, added ? figure : { ...figure, added: false }, name), figure.digits),
        ),
        format(ratio(results, scenario, figure), 2),
      ],
    })),
  );
  return { head: ['', ...proxies.map(({ title }) => title), 'ratio'], rows };
}

export function toText({ head, rows }: Table): string {
  const lines = [head, ...rows.map(({ title, cells }) => [title, ...cells])];
  const widths = head.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)));
  const pad = (cell: string, column: number): string =>
    column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!);
  return lines.map((line) => line.map(pad).join('  ').trimEnd()).join('\n');
}

export function toMarkdown({ head, rows }: Table): string {
  const line = (cells: string[]): string => `| ${cells.join(' | ')} |`;
  return [
    line(head),
    `|---|${head
      .slice(1)
      .map(() => '---:|')
      .join('')}`,
    ...rows.map(({ title, cells }) => line([title, ...cells])),
  ].join('\n');
}

/** What a reader should know beside the table: who failed, and whether the load had anything left. */
export function remarks(results: Results): string[] {
  return [
    ...results.skipped.map(({ title, why }) => `${title} skipped: ${why}`),
    ...results.scenarios.flatMap((scenario) => scenarioRemarks(results, scenario)),
  ];
}

function scenarioRemarks(results: Results, scenario: ScenarioResult): string[] {
  const failures = Object.entries(scenario.failures).map(([name, why]) => `${name}: ${why}`);
  const failed = results.proxies
    .map(({ name, title }) => ({ title, count: median(scenario, 'failed', name) ?? 0 }))
    .filter(({ count }) => count > 0)
    .map(({ title, count }) => `${count} connections failed through ${title}`);
  const figures = [
    remark(median(scenario, 'completionsPerEnter', 'tidegate'), 1, 'completions per io_uring_enter'),
    remark(median(scenario, 'rate', 'tidegate'), 0, 'messages/s, half of what the slowest proxy can'),
    disturbance(results, scenario),
  ].filter((one) => one !== '');
  return [...failures, ...failed, ...figures].map((text) => `${scenario.title}: ${text}`);
}

function remark(found: number | undefined, digits: number, text: string): string {
  return found === undefined ? '' : `${format(found, digits)} ${text}`;
}

/** A run on a machine that does other things too is not one to quote. */
function disturbance(results: Results, scenario: ScenarioResult): string {
  const cores = results.proxies.map(({ name }) => median(scenario, 'othersBusy', name) ?? 0);
  const most = Math.max(...cores);
  return most < OTHERS_BUSY_MAX
    ? ''
    : `other programs kept up to ${format(most, 2)} cores busy: the figures are disturbed`;
}
const OTHERS_BUSY_MAX = 0.1;
