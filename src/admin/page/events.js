// The events of the last hour, newest first, and why connections ended.
import { element, Parts, setText } from './elements.js';
import { clockText, countText } from './format.js';

const KEPT_MS = 3_600_000;
const SHOWN_MAX = 200;
const ENDS_MAX = 12;
/** Told to those who hear the page rather than see it. */
const LOUD = ['backend_state', 'backend_operator', 'worker_died'];

export class Events {
  #byId = new Map();
  #list = document.getElementById('events');
  #parts = new Parts(this.#list, eventPart);

  /** Those that happened before the page was there, and again after the socket was away. */
  async load(server) {
    const { status, body } = await server.ask('GET', '/api/v1/events');
    if (status !== 200) return;
    for (const event of body.events) this.#byId.set(keyOf(event), event);
    setText(document.getElementById('events-since'), `all since ${clockText(body.complete_since)}`);
    this.#show();
  }

  add(event) {
    this.#byId.set(keyOf(event), event);
    if (LOUD.includes(event.event)) setText(document.getElementById('announcements'), event.message);
    this.#show();
  }

  #show() {
    const oldestMs = Date.now() - KEPT_MS;
    for (const [key, { at }] of this.#byId) if (Date.parse(at) < oldestMs) this.#byId.delete(key);
    const events = [...this.#byId.values()].sort((a, b) => Date.parse(b.at) - Date.parse(a.at) || b.id - a.id);
    this.#parts.show(events.slice(0, SHOWN_MAX), keyOf);
  }
}

/** Numbers begin again when Tidegate does. */
function keyOf({ id, at }) {
  return `${id} ${at}`;
}

function eventPart({ at, level, event, message }) {
  const time = element('time', { datetime: at, title: new Date(at).toLocaleString() }, clockText(at));
  const node = element('li', { 'data-level': level, 'data-event': event }, time, element('span', {}, message));
  return { node, update() {} };
}

export class Ends {
  #parts = new Parts(document.getElementById('ends'), ({ name }) => endPart(name));

  update({ closed_by_reason: byReason }) {
    const counts = Object.entries(byReason).filter(([, count]) => count > 0);
    const most = Math.max(1, ...counts.map(([, count]) => count));
    const ends = counts
      .sort(([, a], [, b]) => b - a)
      .slice(0, ENDS_MAX)
      .map(([name, count]) => ({ name, count, part: count / most }));
    this.#parts.show(ends, ({ name }) => name);
  }
}

function endPart(name) {
  const count = element('b');
  const bar = element('i');
  const node = element(
    'li',
    {},
    element('span', {}, name.replaceAll('_', ' ')),
    count,
    element('span', { class: 'bar' }, bar),
  );
  const update = (end) => {
    setText(count, countText(end.count));
    bar.style.width = `${(end.part * 100).toFixed(1)}%`;
  };
  return { node, update };
}
