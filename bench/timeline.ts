// Connections, and the pings' latency, over the time of a run: two panels with one axis.

export interface Moment {
  seconds: number;
  open: number;
  /** Of the second before; null: there were no pings. */
  pingP99Ms?: number | null;
}

const WIDTH = 860;
const LEFT = 76;
const RIGHT = 20;
const TOP = 44;
const PANEL = 150;
const GAP = 44;
const BOTTOM = 40;

export function drawTimeline(moments: readonly Moment[]): string {
  const end = Math.max(1, ...moments.map(({ seconds }) => seconds));
  const pings = moments.flatMap(({ seconds, pingP99Ms }) => (pingP99Ms == null ? [] : [{ seconds, value: pingP99Ms }]));
  const opens = moments.map(({ seconds, open }) => ({ seconds, value: open }));
  const panels = [
    drawPanel('open connections', 'open', opens, end, TOP),
    ...(pings.length > 0 ? [drawPanel('p99 of PINGREQ to PINGRESP, ms', 'ping', pings, end, TOP + PANEL + GAP)] : []),
  ];
  const bottom = TOP + panels.length * PANEL + (panels.length - 1) * GAP;
  const height = bottom + BOTTOM;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-label="Connections and ping latency over time">
${STYLE}
${panels.join('\n')}
${drawTimes(end, bottom)}
</svg>
`;
}

// Colours that keep their contrast on white and on black; the text follows the reader's setting.
const STYLE = `<style>
text { font: 11px system-ui, sans-serif; fill: #57606a }
.title { font-size: 13px; font-weight: 600; fill: #24292f }
.frame { fill: none; stroke: #57606a; stroke-opacity: .4 }
polyline { fill: none; stroke-width: 1.5 }
.open { stroke: #0f8f7f } .ping { stroke: #6e86c8 }
@media (prefers-color-scheme: dark) { text { fill: #9198a1 } .title { fill: #e6edf3 } .open { stroke: #25c2ab } }
</style>`;

function drawPanel(
  title: string,
  name: string,
  points: readonly { seconds: number; value: number }[],
  end: number,
  top: number,
): string {
  const most = niceMax(Math.max(0, ...points.map(({ value }) => value)));
  const y = (value: number) => (top + PANEL * (1 - value / most)).toFixed(1);
  const line = points.map(({ seconds, value }) => `${x(seconds, end)},${y(value)}`).join(' ');
  return `<text x="${LEFT}" y="${top - 10}" class="title">${title}</text>
<rect x="${LEFT}" y="${top}" width="${WIDTH - LEFT - RIGHT}" height="${PANEL}" class="frame"/>
<text x="${LEFT - 8}" y="${top + 8}" text-anchor="end">${most.toLocaleString('en-US')}</text>
<text x="${LEFT - 8}" y="${top + PANEL}" text-anchor="end">0</text>
<polyline points="${line}" class="${name}"/>`;
}

const TIMES = 6;

function drawTimes(end: number, bottom: number): string {
  return Array.from({ length: TIMES + 1 }, (_, index) => {
    const seconds = (end * index) / TIMES;
    const shown = seconds.toFixed(end < TIMES * 2 ? 1 : 0);
    return `<text x="${x(seconds, end)}" y="${bottom + 18}" text-anchor="middle">${shown} s</text>`;
  }).join('\n');
}

function x(seconds: number, end: number): string {
  return (LEFT + ((WIDTH - LEFT - RIGHT) * seconds) / end).toFixed(1);
}

/** 1, 2 or 5 times a power of ten, and no less than the value. */
function niceMax(value: number): number {
  if (value <= 0) return 1;
  const unit = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((steps) => steps * unit).find((candidate) => candidate >= value)!;
}
