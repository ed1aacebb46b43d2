// npm run bench:render [-- FILE]: the newest full run, and the newest run with a million sessions, as the README's tables
// and as plots.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Machine } from './machine.ts';
import { drawMillionPlot } from './million/plot.ts';
import { loadMillion, MILLION_RUN, type MillionResults } from './million/results.ts';
import { millionRemarks, millionTable } from './million/table.ts';
import { drawPlot } from './plot.ts';
import type { ProxyName } from './proxies.ts';
import { FULL_RUN, loadResults, type Results } from './results.ts';
import { buildTable, remarks, toMarkdown } from './table.ts';

const README = join(import.meta.dirname, '../README.md');
const PLOT = join(import.meta.dirname, 'results/latest.svg');
const MILLION_PLOT = join(import.meta.dirname, 'results/million.svg');
/** What fits a page; the other columns are in the JSON file. */
const COLUMNS: readonly ProxyName[] = ['tidegate', 'haproxy', 'nginx', 'portable', 'plain', 'direct'];

const results = loadResults(process.argv[2] ?? FULL_RUN);
write(PLOT, drawPlot(results));
intoReadme('bench', section(results));
if (existsSync(MILLION_RUN)) {
  const million = loadMillion(MILLION_RUN);
  write(MILLION_PLOT, drawMillionPlot(million));
  intoReadme('million', millionSection(million));
}

function write(path: string, text: string): void {
  writeFileSync(path, text);
  process.stdout.write(`${path}\n`);
}

/** Between two comments of that name. */
function intoReadme(name: string, part: string): void {
  const [begin, end] = [`<!-- ${name} -->`, `<!-- /${name} -->`];
  const readme = readFileSync(README, 'utf8');
  if (readme.includes(begin) && readme.includes(end)) {
    const before = readme.slice(0, readme.indexOf(begin) + begin.length);
    write(README, `${before}\n${part}\n${readme.slice(readme.indexOf(end))}`);
  } else {
    process.stdout.write(`README.md has no ${begin} ... ${end}; the table goes here instead:\n\n${part}\n`);
  }
}

function section(found: Results): string {
  const { machine, rounds, seconds } = found;
  const how = `median of ${rounds} rounds of ${seconds} s, interleaved; proxy on core 0, load and sink on core 1`;
  return [
    `${where(machine)}; ${how}.`,
    '`ratio`: Tidegate to the better of HAProxy and nginx, each configured to hash the ClientId as Tidegate does.',
    '',
    toMarkdown(buildTable(found, COLUMNS)),
    '',
    ...remarks(found).map((remark) => `- ${remark}`),
  ].join('\n');
}

function millionSection(found: MillionResults): string {
  return [
    `${where(found.machine)}, ${found.machine.memoryGiB} GiB; RLIMIT_NOFILE ${found.machine.descriptors}.`,
    '',
    toMarkdown(millionTable(found)),
    '',
    ...millionRemarks(found).map((remark) => `- ${remark}`),
  ].join('\n');
}

function where({ cpu, cores, kernel, versions, commit, date }: Machine): string {
  const programs = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  return `${cpu}, ${cores} cores, Linux ${kernel}; ${programs.join(', ')}; commit ${commit}, ${date.slice(0, 10)}`;
}
