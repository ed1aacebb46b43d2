// npm run bench:render [-- FILE]: the newest full run as the README's table and as a plot.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { drawPlot } from './plot.ts';
import type { ProxyName } from './proxies.ts';
import { FULL_RUN, loadResults, type Results } from './results.ts';
import { buildTable, remarks, toMarkdown } from './table.ts';

const README = join(import.meta.dirname, '../README.md');
const PLOT = join(import.meta.dirname, 'results/latest.svg');
const BEGIN = '<!-- bench -->';
const END = '<!-- /bench -->';
/** What fits a page; the other columns are in the JSON file. */
const COLUMNS: readonly ProxyName[] = ['tidegate', 'haproxy', 'nginx', 'portable', 'plain', 'direct'];

const results = loadResults(process.argv[2] ?? FULL_RUN);
writeFileSync(PLOT, drawPlot(results));
process.stdout.write(`${PLOT}\n`);
const readme = readFileSync(README, 'utf8');
if (readme.includes(BEGIN) && readme.includes(END)) {
  writeFileSync(README, between(readme, `\n${section(results)}\n`));
  process.stdout.write(`${README}\n`);
} else {
  process.stdout.write(`README.md has no ${BEGIN} ... ${END}; the table goes here instead:\n\n${section(results)}\n`);
}

function between(text: string, part: string): string {
  return text.slice(0, text.indexOf(BEGIN) + BEGIN.length) + part + text.slice(text.indexOf(END));
}

function section(found: Results): string {
  const { machine, rounds, seconds } = found;
  const versions = Object.entries(machine.versions).map(([name, version]) => `${name} ${version}`);
  const where = `${machine.cpu}, ${machine.cores} cores, Linux ${machine.kernel}`;
  const how = `median of ${rounds} rounds of ${seconds} s, interleaved; proxy on core 0, load and sink on core 1`;
  return [
    `${where}; ${versions.join(', ')}; commit ${machine.commit}, ${machine.date.slice(0, 10)}; ${how}.`,
    '`ratio`: Tidegate to the better of HAProxy and nginx, each configured to hash the ClientId as Tidegate does.',
    '',
    toMarkdown(buildTable(found, COLUMNS)),
    '',
    ...remarks(found).map((remark) => `- ${remark}`),
  ].join('\n');
}
