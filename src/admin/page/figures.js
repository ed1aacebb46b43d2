// What the whole instance does, in numbers: the head of the page, the figures, listeners and workers.
import { drawing, element, Parts, setAttribute, setShown, setText } from './elements.js';
import { bytesText, countText, durationText, plural, rateText } from './format.js';
import { refusalsOf } from './history.js';

const SPARK_WIDTH = 120;
const SPARK_HEIGHT = 28;
const SPARK_SAMPLES_MIN = 60;

const FIGURES = [
  { series: 'connections', label: 'Connections', text: countText, below: roomText },
  { series: 'connects', label: 'CONNECTs', unit: '/s', text: rateText, below: versionsText },
  {
    series: 'refusals',
    label: 'Refusals',
    unit: '/s',
    text: rateText,
    below: (status) => sinceStart(refusalsOf(status)),
  },
  {
    series: 'in',
    label: 'From clients',
    unit: '/s',
    text: bytesText,
    below: ({ counters }) => `${bytesText(counters.bytes_from_clients)} since the start`,
  },
  {
    series: 'out',
    label: 'To clients',
    unit: '/s',
    text: bytesText,
    below: ({ counters }) => `${bytesText(counters.bytes_to_clients)} since the start`,
  },
];

export class Figures {
  #history;
  #tiles;
  #listeners = element('ul');
  #workers = element('ul');
  #listenerParts = new Parts(this.#listeners, listenerPart);
  #workerParts = new Parts(this.#workers, workerPart);

  constructor(history) {
    this.#history = history;
    this.#tiles = FIGURES.map(tile);
    document.getElementById('figures').append(...this.#tiles.map(({ node }) => node));
    document
      .getElementById('facts')
      .append(element('h2', {}, 'Listeners'), this.#listeners, element('h2', {}, 'Workers'), this.#workers);
  }

  update(status) {
    const { version, engine, uptime_seconds: uptime, pid } = status;
    setText(
      document.getElementById('about'),
      `${version} · engine ${engine} · up ${durationText(uptime)} · pid ${pid}`,
    );
    document.getElementById('about').title = `${status.engine_reason}; Node ${status.node}`;
    const trouble = document.getElementById('trouble');
    setShown(trouble, !status.ready);
    setText(trouble, status.ready ? '' : `Not ready for clients: ${status.not_ready_because}`);
    for (const { update } of this.#tiles) update(status, this.#history);
    this.#listenerParts.show(status.listeners, ({ name }) => name);
    this.#workerParts.show(status.workers, ({ index }) => index);
  }
}

function tile({ series, label, unit, text, below }) {
  const value = element('strong');
  const number = element('span', { class: 'value' }, value, unit ? element('small', {}, unit) : null);
  const hint = element('small');
  const line = drawing('polyline', { 'vector-effect': 'non-scaling-stroke' });
  const spark = drawing(
    'svg',
    { viewBox: `0 0 ${SPARK_WIDTH} ${SPARK_HEIGHT}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' },
    line,
  );
  const node = element(
    'div',
    { class: 'figure', 'data-figure': series },
    element('span', {}, label),
    number,
    hint,
    spark,
  );
  const update = (status, history) => {
    setText(value, text(history.latest(series)));
    setText(hint, below(status));
    setAttribute(line, 'points', sparkPoints(history.series(series)));
  };
  return { node, update };
}

/** The newest at the right end, wherever the oldest begins. */
function sparkPoints(values) {
  const max = Math.max(...values.map((value) => value ?? 0), 1e-9);
  const step = SPARK_WIDTH / (Math.max(SPARK_SAMPLES_MIN, values.length) - 1);
  return values
    .map((value, index) => {
      if (value === null) return '';
      const x = SPARK_WIDTH - (values.length - 1 - index) * step;
      return `${x.toFixed(1)},${(SPARK_HEIGHT - 2 - (value / max) * (SPARK_HEIGHT - 6)).toFixed(1)}`;
    })
    .filter((point) => point !== '')
    .join(' ');
}

function roomText({ workers }) {
  return `room for ${countText(workers.reduce((sum, worker) => sum + worker.connections_max, 0))}`;
}

/** "5.0: 62 %, 3.1.1: 38 %", where the version counts them. */
function versionsText({ connects_by_protocol: byProtocol, counters }) {
  const all = Object.values(byProtocol ?? {}).reduce((sum, count) => sum + count, 0);
  if (all === 0) return `${countText(counters.accepted)} accepted since the start`;
  return Object.entries(byProtocol)
    .filter(([, count]) => count > 0)
    .sort(([, a], [, b]) => b - a)
    .slice(0, 3)
    .map(([protocol, count]) => `${protocol.replace('MQTT/', '')}: ${percentText(count / all)}`)
    .join(', ');
}

function percentText(part) {
  return part < 0.01 ? '<1 %' : `${Math.round(part * 100)} %`;
}

function sinceStart(count) {
  return `${countText(count)} since the start`;
}

function listenerPart({ name }) {
  const address = element('code');
  const pool = element('span', { class: 'quiet' });
  const node = element('li', {}, element('b', {}, name), address, pool);
  const update = (listener) => {
    setText(address, listener.address);
    setText(pool, `to ${listener.pool}`);
  };
  return { node, update };
}

function workerPart({ index }) {
  const state = element('span', { class: 'state' });
  const load = element('span', { class: 'quiet' });
  const node = element('li', {}, element('b', {}, String(index)), state, load);
  const update = ({ state: word, connections, restarts }) => {
    setText(state, word);
    setAttribute(state, 'data-state', word === 'running' ? 'up' : word === 'stopped' ? 'down' : 'suspect');
    setText(load, countText(connections) + (restarts > 0 ? `, ${plural(restarts, 'restart')}` : ''));
  };
  return { node, update };
}
