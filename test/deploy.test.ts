// The files that others load: each name in them must be one that Tidegate has.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { parse } from 'yaml';
import { startAdministered } from './tools/administered.ts';
import { requireProgram } from './tools/requirements.ts';

const DASHBOARD = new URL('../deploy/grafana/tidegate.json', import.meta.url);
const RULES = new URL('../deploy/prometheus/tidegate.rules.yml', import.meta.url);
/** Prometheus' own. */
const UP = 'up';

interface Panel {
  id: number;
  type: string;
  title: string;
  description?: string;
  gridPos: { h: number; w: number; x: number; y: number };
  fieldConfig?: { defaults: { unit?: string } };
  targets?: { expr: string; refId: string }[];
}

interface Dashboard {
  schemaVersion: number;
  panels: Panel[];
  templating: { list: { name: string; query: string | { query: string } }[] };
}

interface Rules {
  groups: { rules: { alert: string; expr: string; annotations: { summary?: string; description?: string } }[] }[];
}

async function dashboard(): Promise<Dashboard> {
  return JSON.parse(await readFile(DASHBOARD, 'utf8'));
}

async function rules(): Promise<Rules['groups'][number]['rules']> {
  return (parse(await readFile(RULES, 'utf8')) as Rules).groups.flatMap((group) => group.rules);
}

/** Everything that can be asked for: each metric with its labels, histograms by their parts. */
async function expositionOf(context: TestContext): Promise<Map<string, Set<string>>> {
  const balancer = await startAdministered(context, { health: 'tcp' });
  const { text } = await balancer.ask('/metrics');
  const labels = new Map<string, Set<string>>();
  for (const [, name, type] of text.matchAll(/^# TYPE (\w+) (\w+)$/gm)) {
    const parts =
      type === 'histogram' ? ['_bucket', '_sum', '_count'] : type === 'summary' ? ['', '_sum', '_count'] : [''];
    for (const part of parts) labels.set(name + part, new Set(['instance', 'job']));
  }
  for (const [, name, pairs = ''] of text.matchAll(/^(\w+)(?:\{(.*)\})? \S+$/gm)) {
    for (const [, label] of pairs.matchAll(/(\w+)="/g)) labels.get(name!)!.add(label!);
  }
  return labels;
}

/** The expression's metrics, each with the labels of its selector. */
function selectorsOf(expr: string): { name: string; labels: string[] }[] {
  return [...expr.matchAll(/\b(tidegate_\w+|up)\b(?:\{([^}]*)\})?/g)].map(([, name, selector = '']) => ({
    name: name!,
    labels: [...selector.matchAll(/(\w+)\s*[=!]/g)].map(([, label]) => label!),
  }));
}

async function expressions(): Promise<string[]> {
  const { panels, templating } = await dashboard();
  const queries = templating.list.flatMap(({ query }) => (typeof query === 'string' ? [] : query.query));
  const targets = panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
  return [...queries, ...targets, ...(await rules()).map(({ expr }) => expr)];
}

test('dashboard and alerts ask for metrics and labels that there are', async (context) => {
  const exposed = await expositionOf(context);
  const asked = (await expressions()).flatMap(selectorsOf).filter(({ name }) => name !== UP);
  assert.ok(asked.length > 50);
  for (const { name, labels } of asked) {
    assert.ok(exposed.has(name), `there is no ${name}`);
    // Until something has been probed, what is found has no sample.
    const known = exposed.get(name)!;
    for (const label of labels) assert.ok(known.has(label) || name.includes('_probe'), `${name} has no label ${label}`);
  }
});

test('each panel has a unit and a description, and none lies over another', async () => {
  const { panels, schemaVersion } = await dashboard();
  assert.ok(schemaVersion >= 36);
  assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length);
  const taken = new Set<string>();
  for (const { type, title, description, fieldConfig, targets, gridPos } of panels) {
    for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
      for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
        assert.ok(x < 24 && !taken.has(`${x} ${y}`), `${title} at ${x}, ${y}`);
        taken.add(`${x} ${y}`);
      }
    }
    if (type === 'row') continue;
    assert.ok(fieldConfig?.defaults.unit, `${title} has no unit`);
    assert.match(description ?? '', /^[A-Z].*\.$/, title);
    assert.ok(targets!.length > 0, title);
  }
});

test('each alert says what is wrong and what to do', async () => {
  for (const { alert, annotations } of await rules()) {
    assert.match(alert, /^Tidegate[A-Z]/);
    assert.ok(annotations.summary && annotations.description, alert);
  }
});

test('Prometheus understands every expression', async (context) => {
  const promtool = requireProgram(context, 'promtool');
  if (promtool === undefined) return;
  await promisify(execFile)(promtool, ['check', 'rules', fileURLToPath(RULES)]);
  const { panels } = await dashboard();
  const exprs = panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-deploy-'));
  context.after(() => rm(folder, { recursive: true }));
  const file = join(folder, 'panels.yml');
  const records = exprs.map((expr, index) => ({ record: `panel:${index}`, expr: expr.replaceAll(/\$__\w+/g, '5m') }));
  await writeFile(file, JSON.stringify({ groups: [{ name: 'panels', rules: records }] }));
  const { stdout } = await promisify(execFile)(promtool, ['check', 'rules', file]);
  assert.match(stdout, new RegExp(`SUCCESS: ${exprs.length} rules found`));
});
