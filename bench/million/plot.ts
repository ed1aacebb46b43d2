// The plot: open sessions and the p99 of their pings over time, each balancer from its own beginning.
import type { MillionResults, Run } from './results.ts';

const WIDTH = 860;
const LEFT = 78;
const RIGHT = 20;
const PLOT_WIDTH = WIDTH - LEFT - RIGHT;
const TOP = 62;
const PANEL = 180;
const GAP = 44;
const BOTTOM = 40;
const HEIGHT = TOP + 2 * PANEL + GAP + BOTTOM;
/** Milliseconds, on a logarithmic scale. */
const P99_MIN = 0.1;
const P99_MAX = 10_000;
const SECONDS_STEPS = [10, 30, 60, 120, 300, 600];
const LABELS_MAX = 10;
const SESSIONS_LINES = 4;
const LEGEND_STEP = 110;

export function drawMillionPlot(results: MillionResults): string {
  const { runs } = results;
  const secondsMax = Math.max(1, ...runs.flatMap(({ points }) => points.map(({ seconds }) => seconds)));
  const sessionsMax = Math.max(...runs.map(({ connections }) => connections));
  const x = (seconds: number): number => LEFT + (seconds / secondsMax) * PLOT_WIDTH;
  const sessionsY = (open: number): number => TOP + PANEL * (1 - open / sessionsMax);
  const p99Y = (ms: number): number => {
    const share = Math.log(clamp(ms, P99_MIN, P99_MAX) / P99_MIN) / Math.log(P99_MAX / P99_MIN);
    return TOP + PANEL + GAP + PANEL * (1 - share);
  };
  const lines = runs.flatMap(({ name, points }) => {
    const open = points.map((point): Corner => [x(point.seconds), sessionsY(point.open)]);
    const p99 = points.flatMap(({ seconds, pingP99Ms }): Corner[] =>
      pingP99Ms === null ? [] : [[x(seconds), p99Y(pingP99Ms)]],
    );
    return [polyline(open, name), polyline(p99, name)];
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}" role="img" aria-label="Open sessions and ping latency over time">
${STYLE}
<text x="16" y="24" class="title">Open MQTT sessions, and p99 of PINGREQ to PINGRESP, over seconds</text>
${drawLegend(runs)}
${drawSessionsAxis(sessionsMax, sessionsY)}
${drawP99Axis(p99Y)}
${drawTimeAxis(secondsMax, x)}
${drawMarks(runs[0], x)}
${lines.join('\n')}
</svg>
`;
}

type Corner = [x: number, y: number];

// The colours of the other plot; the text follows the reader's setting.
const STYLE = `<style>
text { font: 12px system-ui, sans-serif; fill: #24292f }
.title { font-size: 14px; font-weight: 600 }
.axis { font-size: 11px; fill: #57606a }
.grid { stroke: #57606a; stroke-opacity: 0.25 }
.mark { stroke: #57606a; stroke-dasharray: 3 3 }
polyline { fill: none; stroke-width: 1.6 }
.tidegate { stroke: #0f8f7f } .haproxy { stroke: #6e86c8 } .nginx { stroke: #b58a3c }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .axis { fill: #9198a1 } .grid, .mark { stroke: #9198a1 }
  .tidegate { stroke: #25c2ab }
}
</style>`;

function drawLegend(runs: readonly Run[]): string {
  return runs
    .map(({ name, title }, index) => {
      const x = LEFT + index * LEGEND_STEP;
      return `<line x1="${x}" x2="${x + 14}" y1="42" y2="42" class="${name}" stroke-width="3"/><text x="${x + 20}" y="46">${title}</text>`;
    })
    .join('\n');
}

function drawSessionsAxis(sessionsMax: number, y: (open: number) => number): string {
  const steps = Array.from({ length: SESSIONS_LINES + 1 }, (_, index) => (index * sessionsMax) / SESSIONS_LINES);
  return steps.map((open) => gridLine(y(open), Math.round(open).toLocaleString('en'))).join('\n');
}

function drawP99Axis(y: (ms: number) => number): string {
  const decades = Math.round(Math.log10(P99_MAX / P99_MIN));
  const steps = Array.from({ length: decades + 1 }, (_, index) => P99_MIN * 10 ** index);
  return steps.map((ms) => gridLine(y(ms), ms < 1000 ? `${Number(ms.toFixed(1))} ms` : `${ms / 1000} s`)).join('\n');
}

function gridLine(y: number, label: string): string {
  return `<line x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${at(y)}" y2="${at(y)}" class="grid"/><text x="${LEFT - 8}" y="${at(y + 4)}" class="axis" text-anchor="end">${label}</text>`;
}

function drawTimeAxis(secondsMax: number, x: (seconds: number) => number): string {
  const step = SECONDS_STEPS.find((seconds) => secondsMax / seconds <= LABELS_MAX) ?? SECONDS_STEPS.at(-1)!;
  const steps = Array.from({ length: Math.floor(secondsMax / step) + 1 }, (_, index) => index * step);
  return steps
    .map(
      (seconds) => `<text x="${at(x(seconds))}" y="${HEIGHT - 14}" class="axis" text-anchor="middle">${seconds}</text>`,
    )
    .join('\n');
}

/** When Tidegate's phases began. */
function drawMarks(run: Run | undefined, x: (seconds: number) => number): string {
  return (run?.marks ?? [])
    .map(({ seconds, name }) => {
      const place = at(x(seconds));
      return `<line x1="${place}" x2="${place}" y1="${TOP}" y2="${HEIGHT - BOTTOM}" class="mark"/><text x="${place}" y="${TOP + PANEL + GAP / 2 + 4}" class="axis" text-anchor="middle">${name}</text>`;
    })
    .join('\n');
}

function polyline(corners: readonly Corner[], name: string): string {
  return `<polyline class="${name}" points="${corners.map(([x, y]) => `${at(x)},${at(y)}`).join(' ')}"/>`;
}

function at(coordinate: number): string {
  return coordinate.toFixed(1);
}

function clamp(value: number, least: number, most: number): number {
  return Math.min(most, Math.max(least, value));
}
