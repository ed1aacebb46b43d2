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
  const failures = Object.entries(scenario.failures).map(([name, why]) => `${scenario.title}: ${name}: ${why}`);
  const failed = results.proxies
    .map(({ name, title }) => ({ title, count: median(scenario, 'failed', name) ?? 0 }))
    .filter(({ count }) => count > 0)
    .map(({ title, count }) => `${scenario.title}: ${count} connections failed through ${title}`);
  const batch = median(scenario, 'completionsPerEnter', 'tidegate');
  const batches = batch === undefined ? [] : [`${scenario.title}: ${format(batch, 1)} completions per io_uring_enter`];
  return [...failures, ...failed, ...batches];
}
