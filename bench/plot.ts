// The plot: for each scenario what a message, or a connection, costs each proxy, beside the better rival's cost.
import type { ProxyName } from './proxies.ts';
import { bestRival, format, type Results, type ScenarioResult, value } from './results.ts';

const SHOWN: readonly ProxyName[] = ['tidegate', 'haproxy', 'nginx', 'plain'];
const COST = 'cpuUs';

const WIDTH = 860;
const LABELS = 300;
const VALUES = 70;
const BAR = 11;
const BAR_GAP = 2;
const GROUP_GAP = 14;
const TOP = 62;
const BOTTOM = 34;
/** A bar of twice the better rival's cost is full; what is longer is cut, and its number tells. */
const SCALE_MAX = 2;

export function drawPlot(results: Results): string {
  const shown = results.proxies.filter(({ name }) => SHOWN.includes(name));
  const rows = results.scenarios.filter((scenario) => best(results, scenario) !== undefined);
  const groupHeight = shown.length * (BAR + BAR_GAP) + GROUP_GAP;
  const height = TOP + rows.length * groupHeight + BOTTOM;
  const unit = (WIDTH - LABELS - VALUES) / SCALE_MAX;
  const one = LABELS + unit;
  const groups = rows.map((scenario, index) => drawGroup(results, scenario, shown, TOP + index * groupHeight, unit));
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-label="CPU time per message of each proxy">
${STYLE}
<text x="16" y="24" class="title">CPU time of the proxy per message or connection, lower is better</text>
${drawLegend(shown)}
${groups.join('\n')}
<line x1="${one}" x2="${one}" y1="${TOP - 4}" y2="${height - BOTTOM + 4}" class="one"/>
<text x="${one}" y="${height - 12}" class="axis" text-anchor="middle">the better of HAProxy and nginx = 1; numbers in microseconds</text>
</svg>
`;
}

// Colours that keep their contrast on white and on black; the text follows the reader's setting.
const STYLE = `<style>
text { font: 12px system-ui, sans-serif; fill: #24292f }
.title { font-size: 14px; font-weight: 600 }
.axis, .value { font-size: 11px; fill: #57606a }
.one { stroke: #57606a; stroke-dasharray: 3 3 }
.tidegate { fill: #0f8f7f } .haproxy { fill: #6e86c8 } .nginx { fill: #b58a3c } .plain { fill: #9a9a9a }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .axis, .value { fill: #9198a1 } .one { stroke: #9198a1 }
  .tidegate { fill: #25c2ab }
}
</style>`;

type Shown = Results['proxies'];

function drawLegend(shown: Shown): string {
  const step = 110;
  return shown
    .map(({ name, title }, index) => {
      const x = LABELS + index * step;
      return `<rect x="${x}" y="36" width="12" height="12" class="${name}"/><text x="${x + 18}" y="46">${title}</text>`;
    })
    .join('\n');
}

function drawGroup(results: Results, scenario: ScenarioResult, shown: Shown, top: number, unit: number): string {
  const rival = best(results, scenario)!;
  const middle = top + (shown.length * (BAR + BAR_GAP)) / 2 + 3;
  const label = `<text x="${LABELS - 12}" y="${middle}" text-anchor="end">${escapeText(scenario.title)}</text>`;
  const bars = shown.flatMap(({ name }, index) => {
    const cost = value(scenario, costOf(scenario)!, name);
    if (cost === undefined) return [];
    const y = top + index * (BAR + BAR_GAP);
    const width = Math.max(1, Math.min(SCALE_MAX, cost / rival) * unit);
    return [
      `<rect x="${LABELS}" y="${y}" width="${width.toFixed(1)}" height="${BAR}" rx="1" class="${name}"/>`,
      `<text x="${(LABELS + width + 6).toFixed(1)}" y="${y + BAR - 2}" class="value">${format(cost, 1)}</text>`,
    ];
  });
  return [label, ...bars].join('\n');
}

function costOf(scenario: ScenarioResult): ScenarioResult['figures'][number] | undefined {
  return scenario.figures.find(({ key }) => key === COST);
}

function best(results: Results, scenario: ScenarioResult): number | undefined {
  const cost = costOf(scenario);
  const found = cost === undefined ? undefined : bestRival(results, scenario, cost);
  return found === undefined || found <= 0 ? undefined : found;
}

function escapeText(text: string): string {
  return text.replace(/&/g, '&amp;').replace(/</g, '&lt;');
}
