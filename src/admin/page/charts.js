// The charts of a pool: the last ten minutes, right end now. A line for each backend where they can be told apart, else
// one for all.
import { element, setAttribute, setShown, setText } from './elements.js';
import { briefText, bytesText, countText, durationText, latencyText, rateText } from './format.js';
import { measuresConnacks } from './history.js';
import { colourOf } from './theme.js';
import uPlot from './uplot.js';

export const LINES_MAX = 8;
const HEIGHT = 132;

/** `sum` says how backends become one line. */
const KINDS = [
  { what: 'connections', title: 'Connections', text: countText, axis: briefText },
  { what: 'connects', title: 'CONNECTs per second', text: rateText, axis: briefText },
  { what: 'latency', title: '', text: latencyText, axis: latencyText },
  { what: 'bytes', title: 'Bytes per second', text: bytesText, axis: bytesText },
];

export class PoolCharts {
  #history;
  #pool;
  #charts = [];
  #shape = '';

  constructor(history) {
    this.#history = history;
    this.node = element('div', { class: 'charts' });
  }

  update(pool) {
    this.#pool = pool;
    const shape = pool.backends.map(({ address }) => address).join();
    if (shape !== this.#shape) this.rebuild();
    this.#shape = shape;
    if (document.hidden) return;
    for (const chart of this.#charts) chart.update(pool);
  }

  /** The backends or the colours have become others. */
  rebuild() {
    for (const chart of this.#charts) chart.destroy();
    if (this.#pool === undefined) return;
    this.#charts = KINDS.map((kind) => new Chart(kind, this.#pool, this.#history));
    this.node.replaceChildren(...this.#charts.map(({ node }) => node));
  }
}

class Chart {
  #kind;
  #lines;
  #history;
  #plot;
  #nowText = element('strong');
  #title = element('span');
  #frame = element('div', { class: 'chart-frame' });
  #tip = element('div', { class: 'tip', hidden: true, 'aria-hidden': 'true' });
  #resize = new ResizeObserver(() => this.#fit());

  constructor(kind, pool, history) {
    this.#kind = kind;
    this.#history = history;
    this.#lines = linesOf(kind, pool);
    const legend = kind.what === 'bytes' ? this.#lines.map((line) => legendOf(line)) : [];
    this.node = element(
      'figure',
      { class: 'chart' },
      element('figcaption', {}, this.#title, ...legend, this.#nowText),
      this.#frame,
      this.#tip,
    );
    this.#frame.setAttribute('role', 'img');
    this.#resize.observe(this.#frame);
  }

  update(pool) {
    const { what, title, text } = this.#kind;
    const latencyTitle = measuresConnacks(pool) ? 'CONNECT to CONNACK, 99th percentile' : 'Answer to a probe';
    setText(this.#title, what === 'latency' ? latencyTitle : title);
    const data = this.#lines.map(({ name }) => this.#history.series(name));
    const isKnown = what !== 'latency' || data.some((list) => list.some((value) => value !== null));
    setShown(this.node, isKnown);
    const now = what === 'bytes' ? sumOfLatest(data) : this.#history.latest(`${what} of ${pool.name}`);
    setText(this.#nowText, text(now));
    setAttribute(this.#frame, 'aria-label', `${this.#title.textContent} of pool ${pool.name}: now ${text(now)}`);
    this.#plot?.setData([this.#history.times, ...data]);
  }

  destroy() {
    this.#resize.disconnect();
    this.#plot?.destroy();
  }

  #fit() {
    const width = Math.floor(this.#frame.clientWidth);
    if (width === 0) return;
    if (this.#plot === undefined) this.#plot = this.#draw(width);
    else if (this.#plot.width !== width) this.#plot.setSize({ width, height: HEIGHT });
  }

  #draw(width) {
    const quiet = colourOf('quiet');
    const grid = { stroke: colourOf('line'), width: 1 };
    const common = { stroke: quiet, font: '11px system-ui, sans-serif', ticks: { show: false } };
    const options = {
      width,
      height: HEIGHT,
      padding: [8, 6, 0, 0],
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 6 } },
      scales: {
        x: { time: true, range: () => this.#history.window() },
        y: { range: (_plot, _min, max) => [0, roof(max)] },
      },
      axes: [
        {
          ...common,
          size: 22,
          gap: 4,
          grid: { show: false },
          // A little inside, so that the words at both ends aren't cut off.
          splits: (_plot, _axis, min, max) => [0.05, 0.5, 0.97].map((part) => min + part * (max - min)),
          values: () => agesText(this.#history.window()),
        },
        { ...common, size: 52, gap: 6, grid, space: 36, values: (_plot, splits) => splits.map(this.#kind.axis) },
      ],
      series: [{}, ...this.#lines.map(({ colour, label }) => this.#series(colour, label))],
      hooks: { setCursor: [(plot) => this.#point(plot)] },
    };
    return new uPlot(
      options,
      [this.#history.times, ...this.#lines.map(({ name }) => this.#history.series(name))],
      this.#frame,
    );
  }

  #series(colour, label) {
    const stroke = colourOf(colour);
    const fill = this.#lines.length === 1 ? stroke.replace(/^rgb\((.*)\)$/, 'rgb($1 / 12%)') : undefined;
    return { label, stroke, fill, width: 1.5, points: { show: false } };
  }

  /** What the lines were where the mouse is. */
  #point({ cursor: { idx, left }, data, over }) {
    const isOver = idx !== null && idx !== undefined && left >= 0;
    setShown(this.#tip, isOver);
    if (!isOver) return;
    const rows = this.#lines
      .map((line, index) => ({ ...line, value: data[index + 1][idx] }))
      .filter(({ value }) => value !== null && value !== undefined)
      .sort((a, b) => b.value - a.value)
      .map((line) => element('div', {}, legendOf(line), element('b', {}, this.#kind.text(line.value))));
    const agoS = Math.round(data[0].at(-1) - data[0][idx]);
    this.#tip.replaceChildren(element('div', { class: 'quiet' }, agoS === 0 ? 'now' : `${agoS} s ago`), ...rows);
    this.#tip.classList.toggle('left', left > over.clientWidth / 2);
  }
}

function linesOf({ what }, { name, backends }) {
  if (what === 'bytes') {
    return [
      { name: `in of ${name}`, label: 'in', colour: 'series-1' },
      { name: `out of ${name}`, label: 'out', colour: 'series-2' },
    ];
  }
  if (backends.length > LINES_MAX) {
    return [{ name: `${what} of ${name}`, label: what === 'latency' ? 'slowest' : 'all', colour: 'series-1' }];
  }
  return backends.map(({ address }, index) => ({
    name: `${what} of ${name}/${address}`,
    label: address,
    colour: `series-${index + 1}`,
  }));
}

function legendOf({ colour, label }) {
  return element('span', { class: 'key' }, element('i', { class: colour }), label);
}

function agesText([from, to]) {
  return [durationText(to - from), durationText((to - from) / 2), 'now'];
}

/** A little above what is shown, and never nothing. */
function roof(max) {
  return max > 0 ? max * 1.15 : 1;
}

function sumOfLatest(lists) {
  const latest = lists.map((list) => list.at(-1)).filter((value) => value !== null && value !== undefined);
  return latest.length === 0 ? null : latest.reduce((sum, value) => sum + value, 0);
}
