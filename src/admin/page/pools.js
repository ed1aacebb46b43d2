// The pools with their backends: who is in which state and why, who has how many clients, and what can be done about it.
import { moveText } from './actions.js';
import { LINES_MAX, PoolCharts } from './charts.js';
import { askForm } from './dialogs.js';
import { element, Parts, setAttribute, setShown, setText } from './elements.js';
import { countText, durationText, latencyText, plural, rateText } from './format.js';
import { measuresConnacks } from './history.js';

/** With more backends there is a box to look for them, and the table scrolls by itself. */
const MANY = 12;
/** So long the end of a move is still shown. */
const ENDED_MS = 60_000;

export class Pools {
  #parts;
  #pools = new Set();

  constructor(history, actions) {
    this.#parts = new Parts(document.getElementById('pools'), ({ pool: { name } }) => {
      const pool = new Pool(name, history, actions);
      this.#pools.add(pool);
      return pool;
    });
  }

  update(status, atMs) {
    this.#parts.show(
      status.pools.map((pool) => ({ pool, atMs })),
      ({ pool }) => pool.name,
    );
  }

  recolour() {
    for (const { charts } of this.#pools) charts.rebuild();
  }
}

class Pool {
  #name;
  #history;
  #rows;
  #head;
  #move;
  #filter = '';
  #last;
  #table;

  constructor(name, history, actions) {
    this.#name = name;
    this.#history = history;
    this.charts = new PoolCharts(history);
    const titleId = `pool-${name}`;
    const how = element('p', { class: 'quiet' });
    const filter = element('input', {
      type: 'search',
      placeholder: 'Backend, or its state',
      'aria-label': `Look for backends of ${name}`,
      oninput: () => this.#look(filter.value),
    });
    const rebalance = element('button', { type: 'button', onclick: () => actions.rebalance(name) }, 'Rebalance…');
    this.#move = moveLine(actions);
    const body = element('tbody');
    this.#rows = new Parts(body, ({ backend }) => backendRow(name, backend.address, actions));
    this.#table = element('table', { class: 'backends' }, tableHead(), body);
    const table = element(
      'div',
      { class: 'scroll', tabindex: '0', role: 'region', 'aria-labelledby': titleId },
      this.#table,
    );
    this.node = element(
      'section',
      { class: 'panel pool', 'aria-labelledby': titleId, 'data-pool': name },
      element('div', { class: 'panel-head' }, element('h2', { id: titleId }, name), how, filter, rebalance),
      this.#move.node,
      table,
      this.charts.node,
    );
    const latency = this.#table.querySelector('.latency span');
    this.#head = { how, filter, table, latency };
  }

  update({ pool, atMs }) {
    this.#last = { pool, atMs };
    const { how, filter, table, latency } = this.#head;
    const isUp = pool.backends.filter(({ state }) => state === 'up').length;
    const method =
      pool.key === null ? pool.method.replace('_', ' ') : `${pool.method} of ${pool.key} by ${pool.algorithm}`;
    const parts = [
      method,
      `${isUp} of ${plural(pool.backends.length, 'backend')} up`,
      plural(pool.connections, 'connection'),
    ];
    if (pool.queued > 0) parts.push(`${countText(pool.queued)} waiting`);
    setText(how, parts.join(' · '));
    const isMany = pool.backends.length > MANY;
    setShown(filter, isMany);
    table.classList.toggle('many', isMany);
    const measures = measuresConnacks(pool);
    this.#table.classList.toggle('with-connacks', measures);
    setText(latency, measures ? 'CONNACK p50 / p99' : 'Probe');
    this.#move.update(pool.rebalance, atMs);
    this.#showRows();
    this.charts.update(pool);
  }

  #look(text) {
    this.#filter = text.trim().toLowerCase();
    if (this.#last !== undefined) this.#showRows();
  }

  #showRows() {
    const { pool, atMs } = this.#last;
    const most = Math.max(1, ...pool.backends.map(({ connections }) => connections));
    const colourOf = (index) => (pool.backends.length > LINES_MAX ? '' : `series-${index + 1}`);
    const items = pool.backends.map((backend, index) => ({
      backend,
      atMs,
      colour: colourOf(index),
      part: backend.connections / most,
      connects: this.#history.latest(`connects of ${this.#name}/${backend.address}`),
    }));
    const wanted = items.filter(({ backend: { address, state } }) => `${address} ${state}`.includes(this.#filter));
    this.#rows.show(wanted, ({ backend }) => backend.address);
  }
}

function tableHead() {
  const headings = ['Backend', 'Connections', 'CONNECT/s', 'CONNACK', 'Latency', 'Weight', 'Actions'];
  const classes = ['', '', 'number', 'connacks', 'number latency', 'number', 'unseen-text'];
  const cells = headings.map((text, index) =>
    element('th', { scope: 'col', class: classes[index] }, element('span', {}, text)),
  );
  return element('thead', {}, element('tr', {}, ...cells));
}

function backendRow(pool, address, actions) {
  let backend;
  const swatch = element('i');
  const state = element('span', { class: 'state' });
  const why = element('span', { class: 'why quiet' });
  const connections = element('b');
  const bar = element('span', { class: 'bar' }, element('i'));
  const connects = element('td', { class: 'number', 'data-label': 'CONNECT/s' });
  const accepted = element('b');
  const refused = element('small');
  const connack = element('td', { class: 'connacks', 'data-label': 'CONNACK' }, accepted, refused);
  const latency = element('td', { class: 'number', 'data-label': 'Latency' });
  const weight = element('td', { class: 'number', 'data-label': 'Weight' });
  const move = moveLine(actions);
  const main = element('button', {
    type: 'button',
    onclick: () => (backend.operator === 'up' ? actions.drain(pool, backend) : actions.setState(pool, address, 'up')),
  });
  const more = element(
    'button',
    { type: 'button', 'aria-label': `More about ${address}`, onclick: () => showBackend(pool, backend, actions) },
    'More',
  );
  const node = element(
    'tr',
    { 'data-backend': address },
    element(
      'th',
      { scope: 'row' },
      element('span', { class: 'name' }, swatch, element('code', {}, address)),
      element('span', { class: 'standing' }, state, why),
      move.node,
    ),
    element('td', { class: 'load', 'data-label': 'Connections' }, connections, bar),
    connects,
    connack,
    latency,
    weight,
    element('td', { class: 'actions' }, main, more),
  );
  const update = ({ backend: next, atMs, colour, part, connects: rate }) => {
    backend = next;
    setAttribute(swatch, 'class', colour);
    setAttribute(bar.firstChild, 'class', colour);
    setText(state, stateText(backend));
    setAttribute(state, 'data-state', backend.state);
    setText(why, whyText(backend, atMs));
    setAttribute(why, 'title', backend.reason);
    setText(connections, countText(backend.connections));
    bar.firstChild.style.width = `${(part * 100).toFixed(1)}%`;
    setText(connects, rateText(rate));
    const [acceptedText, refusedText] = connackTexts(backend);
    setText(accepted, acceptedText);
    setText(refused, refusedText);
    setText(latency, latenciesText(backend));
    setText(weight, `${backend.weight}${backend.backup ? ' backup' : ''}`);
    setText(main, backend.operator === 'up' ? 'Drain…' : 'Up');
    setAttribute(main, 'aria-label', backend.operator === 'up' ? `Drain ${address}` : `${address} up`);
    move.update(backend.move, atMs);
  };
  return { node, update };
}

/** "up 40 %" while it starts slowly. */
function stateText({ state, share }) {
  return state === 'up' && share < 1 ? `up ${Math.floor(share * 100)} %` : state;
}

function whyText({ reason, since, operator, judged, state }, atMs) {
  const health = operator === 'up' || judged.state === state ? '' : `, health ${judged.state}`;
  return `${durationText((atMs - Date.parse(since)) / 1000)} · ${reason}${health}`;
}

/** By code; where nothing was counted, nothing is said. */
function connackTexts({ connack }) {
  if (!connack) return ['', ''];
  const { 0: accepted = 0, ...others } = connack;
  const refused = Object.entries(others).filter(([, count]) => count > 0);
  const codes = refused.map(([code, count]) => `${countText(count)} × ${code}`).join(', ');
  return [countText(accepted), codes === '' ? '' : `refused ${codes}`];
}

/** Of probes, where CONNACKs aren't measured. */
function latenciesText({ connack_seconds: connack, probe }) {
  if (connack) return `${latencyText(connack.p50)} / ${latencyText(connack.p99)}`.replace(/ ms( \/ .* ms)$/, '$1');
  return connack === undefined && probe?.verdict === 'pass' ? latencyText(probe.duration_seconds) : '–';
}

/** How far clients have been moved, with a way to stop it. Nothing where none are. */
function moveLine(actions) {
  let move;
  const progress = element('progress', { max: 1, 'aria-label': 'Clients moved' });
  const text = element('span', { class: 'quiet' });
  const stop = element('button', { type: 'button', class: 'plain', onclick: () => actions.stopMove(move) }, 'Stop');
  const node = element('span', { class: 'move', hidden: true }, progress, text, stop);
  const update = (next, atMs) => {
    move = next;
    const isRunning = move?.state === 'running';
    const isRecent = move?.ended_at && atMs - Date.parse(move.ended_at) < ENDED_MS;
    setShown(node, Boolean(isRunning || isRecent));
    if (!isRunning && !isRecent) return;
    progress.value = move.moved + move.left === 0 ? 1 : move.moved / (move.moved + move.left);
    setText(text, moveText(move));
    setShown(stop, isRunning);
  };
  return { node, update };
}

/** Everything about one backend, and everything that can be done with it. */
async function showBackend(pool, backend, actions) {
  const {
    address,
    reason,
    since,
    judged,
    probe,
    connects,
    connect_failures: failures,
    chosen,
    queued,
    queued_total: queuedTotal,
    sources,
    operator,
  } = backend;
  const facts = [
    ['State', `${stateText(backend)}, since ${new Date(since).toLocaleString()}: ${reason}`],
    ['Health', `${judged.state}: ${judged.reason}`],
    ['Set by an operator', operator === 'up' ? 'nothing' : operator],
    [
      'Last probe',
      probe === null ? 'none' : `${probe.verdict} after ${latencyText(probe.duration_seconds)}: ${probe.reason}`,
    ],
    ['Waiting for it', `${countText(queued)} now, ${countText(queuedTotal)} since the start`],
    ['CONNECTs', `${countText(connects)} of ${countText(chosen)} tries, ${countText(failures)} failed`],
    ['CONNACK', connackTexts(backend).filter(Boolean).join(', ') || '–'],
    ...sources.map((source) => [
      `From ${source.address ?? 'any address'}`,
      `${plural(source.connections, 'connection')}, ${countText(source.ports_free)} ports free`,
    ]),
  ];
  const list = element(
    'dl',
    {},
    ...facts.flatMap(([term, text]) => [element('dt', {}, term), element('dd', {}, text)]),
  );
  const buttons = element('div', { class: 'choices' });
  const can = (text, act, isThere = true) => {
    const onclick = () => {
      buttons.closest('dialog').close();
      act();
    };
    if (isThere) buttons.append(element('button', { type: 'button', onclick }, text));
  };
  can('Up', () => actions.setState(pool, address, 'up'), operator !== 'up');
  can('Drain…', () => actions.drain(pool, backend));
  can('Maintenance…', () => actions.maintain(pool, address), operator !== 'maintenance');
  can('Down…', () => actions.takeDown(pool, backend), operator !== 'down');
  can('Weight…', () => actions.setWeight(pool, backend));
  await askForm({ title: address, content: [list, buttons] });
}
