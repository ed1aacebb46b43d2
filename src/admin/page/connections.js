// The table of connections: asked for when somebody searches, not every second.
import { failureText } from './actions.js';
import { element, setShown, setText } from './elements.js';
import { bytesText, countText, durationText } from './format.js';

const LIMIT = 100;
const TYPING_MS = 300;
const HEADINGS = [
  'ClientId',
  'Backend',
  'Client',
  'Protocol',
  'Open for',
  'Quiet for',
  'Keep Alive',
  'From client',
  'To client',
  'Actions',
];

export class Connections {
  #server;
  #actions;
  #form = document.getElementById('search');
  #said = document.getElementById('connections-said');
  #place = document.getElementById('connections');
  #backends = '';
  #typing;
  #searches = 0;

  constructor(server, actions) {
    this.#server = server;
    this.#actions = actions;
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.search();
    });
    this.#form.addEventListener('input', ({ target }) => {
      clearTimeout(this.#typing);
      if (target.name === 'address') return; // half of one is none
      this.#typing = setTimeout(() => this.search(), TYPING_MS);
    });
  }

  /** The choice of backends. */
  update({ pools }) {
    const addresses = [...new Set(pools.flatMap(({ backends }) => backends.map(({ address }) => address)))];
    if (addresses.join() === this.#backends) return;
    this.#backends = addresses.join();
    const select = this.#form.elements.backend;
    const chosen = select.value;
    const options = addresses.map((address) => element('option', { value: address }, address));
    select.replaceChildren(element('option', { value: '' }, 'any'), ...options);
    select.value = addresses.includes(chosen) ? chosen : '';
  }

  async search() {
    clearTimeout(this.#typing);
    const own = ++this.#searches;
    const wanted = [...new FormData(this.#form)].map(([name, value]) => [name, value.trim()]);
    const query = new URLSearchParams([...wanted.filter(([, value]) => value !== ''), ['limit', String(LIMIT)]]);
    const answer = await this.#server.ask('GET', `/api/v1/connections?${query}`);
    if (own !== this.#searches) return; // a later one is under way
    setShown(this.#form, answer.status !== 404);
    if (answer.status === 200) this.#show(answer.body);
    else {
      this.#place.replaceChildren();
      setText(
        this.#said,
        answer.status === 404 ? 'This version of Tidegate can not list them (404).' : failureText(answer),
      );
    }
  }

  #show({ matched, connections }) {
    const shown = connections.length < matched ? `, ${countText(connections.length)} shown` : '';
    setText(this.#said, `${countText(matched)} found${shown}`);
    const rows = connections.map((connection) => this.#row(connection));
    const head = HEADINGS.map((text) =>
      element('th', { scope: 'col', class: text === 'Actions' ? 'unseen-text' : '' }, element('span', {}, text)),
    );
    const table = element(
      'table',
      { class: 'clients' },
      element('thead', {}, element('tr', {}, ...head)),
      element('tbody', {}, ...rows),
    );
    const scroll = element(
      'div',
      { class: 'scroll many', tabindex: '0', role: 'region', 'aria-label': 'Connections found' },
      table,
    );
    this.#place.replaceChildren(connections.length === 0 ? element('p', { class: 'quiet' }, 'None.') : scroll);
  }

  #row(connection) {
    const {
      client_id: clientId,
      backend,
      remote_addr: address,
      remote_port: port,
      protocol,
      state,
      opened_at: opened,
    } = connection;
    const openS = (Date.now() - Date.parse(opened)) / 1000;
    const texts = [
      element('code', {}, backend ?? '–'),
      element('code', {}, `${address.includes(':') ? `[${address}]` : address}:${port}`),
      state === 'open' ? protocol : `${protocol ?? ''} ${state}`,
      durationText(openS),
      durationText(connection.idle_seconds),
      connection.keep_alive === 0 ? 'none' : durationText(connection.keep_alive),
      bytesText(connection.bytes_from_client),
      bytesText(connection.bytes_to_client),
    ];
    const kick = element(
      'button',
      { type: 'button', 'aria-label': `Disconnect ${clientId}`, onclick: () => this.#kick(connection) },
      'Kick…',
    );
    const name = clientId === '' ? element('em', {}, 'none') : element('code', {}, clientId);
    return element(
      'tr',
      { 'data-client': clientId },
      element('th', { scope: 'row', title: clientId }, name),
      ...texts.map((text, index) =>
        element('td', { 'data-label': HEADINGS[index + 1], class: index > 2 ? 'number' : '' }, text),
      ),
      element('td', { class: 'actions' }, kick),
    );
  }

  async #kick(connection) {
    if (await this.#actions.kick(connection)) setTimeout(() => this.search(), TYPING_MS);
  }
}
