// What a person may do here. The page shows nothing that it expects to come of it: the next status does.
import { askForm, tell } from './dialogs.js';
import { countText, durationText, plural } from './format.js';
import { backendPath } from './server.js';

const RATE_DEFAULT = 50;
const RATE_MAX = 100_000;

export class Actions {
  #server;

  constructor(server) {
    this.#server = server;
  }

  async drain(pool, { address, connections }) {
    const clients = plural(connections, 'client');
    const seconds = Math.ceil(connections / RATE_DEFAULT);
    const answer = await askForm({
      title: `Drain ${address}`,
      text: `It gets no new clients: they go to the other backends of ${pool}. It has ${clients} now.`,
      fields: [
        {
          name: 'way',
          label: 'Those that it has',
          options: [
            ['move', 'are moved away', 'Each is asked to connect again, and comes to another backend.'],
            ['leave', 'may stay', 'They leave when they like.'],
          ],
        },
        {
          name: 'rate',
          label: `Clients a second (${RATE_DEFAULT}: about ${durationText(seconds)})`,
          ...rateField(),
        },
      ],
      confirm: 'Drain',
    });
    if (answer === null) return;
    if (answer.way === 'leave') await this.setState(pool, address, 'drain');
    else await this.#drainAway(pool, address, Number(answer.rate));
  }

  /** A Tidegate that can't move clients can still keep new ones away. */
  async #drainAway(pool, address, rate) {
    const { status } = await this.#change('POST', backendPath(pool, address, '/drain'), { rate }, `${address} drains`);
    if (status === 404) await this.setState(pool, address, 'drain');
  }

  async maintain(pool, address) {
    const answer = await askForm({
      title: `Maintenance of ${address}`,
      text: 'It gets no new clients, and those that it has are moved away until none is left.',
      confirm: 'Begin maintenance',
    });
    if (answer !== null) await this.setState(pool, address, 'maintenance');
  }

  async takeDown(pool, { address, connections }) {
    const answer = await askForm({
      title: `Take ${address} down`,
      text: `It gets no new clients, whatever its health. ${plural(connections, 'client')} may stay.`,
      confirm: 'Take down',
      isGrave: true,
    });
    if (answer !== null) await this.setState(pool, address, 'down');
  }

  async setState(pool, address, state) {
    const said = { up: 'is left to its health', drain: 'takes nobody new', maintenance: 'is emptied', down: 'is down' };
    await this.#change('PATCH', backendPath(pool, address), { state }, `${address} ${said[state]}`);
  }

  async setWeight(pool, { address, weight }) {
    const answer = await askForm({
      title: `Weight of ${address}`,
      text: 'Its part of the clients, beside the weights of the others. 0 gives it nobody new.',
      fields: [
        { name: 'weight', label: 'Weight', type: 'number', min: 0, max: 1000, step: 1, value: weight, required: true },
      ],
      confirm: 'Set',
    });
    if (answer === null) return;
    const next = Number(answer.weight);
    await this.#change('PATCH', backendPath(pool, address), { weight: next }, `${address} has weight ${next}`);
  }

  async rebalance(pool) {
    const answer = await askForm({
      title: `Rebalance ${pool}`,
      text: 'Clients that are on another backend than the one that they belong to are asked to connect again.',
      fields: [{ name: 'rate', label: 'Clients a second', ...rateField() }],
      confirm: 'Rebalance',
    });
    if (answer === null) return;
    const path = `/api/v1/pools/${encodeURIComponent(pool)}/rebalance`;
    await this.#change('POST', path, { rate: Number(answer.rate) }, `${pool} is rebalanced`);
  }

  async stopMove({ id, moved }) {
    await this.#change('DELETE', `/api/v1/moves/${id}`, undefined, `Stopped after ${plural(moved, 'client')}`);
  }

  /** Whether it was asked for. */
  async kick({ id, client_id: clientId, backend }) {
    const name = clientId === '' ? 'the client without a ClientId' : clientId;
    const answer = await askForm({
      title: `Disconnect ${name}?`,
      text: `Its connection${backend === null ? '' : ` to ${backend}`} is closed. Most clients connect again at once.`,
      confirm: 'Disconnect',
      isGrave: true,
    });
    if (answer === null) return false;
    await this.#change('DELETE', `/api/v1/connections/${encodeURIComponent(id)}`, undefined, `${name} is disconnected`);
    return true;
  }

  async #change(method, path, body, said) {
    const answer = await this.#server.ask(method, path, body);
    if (answer.status >= 200 && answer.status < 300) tell(said);
    else tell(failureText(answer), 'failed');
    return answer;
  }
}

/** A route that isn't there has the same status as a backend that isn't: their words differ. */
export function failureText({ status, body }) {
  const error = typeof body?.error === 'string' ? body.error : '';
  if (status === 0) return 'Tidegate does not answer.';
  if ((status === 404 && error.startsWith('there is nothing of this name')) || status === 405) {
    return 'This version of Tidegate can not do that (404).';
  }
  return `Tidegate says ${status}${error === '' ? '' : `: ${error}`}`;
}

function rateField() {
  return { type: 'number', min: 1, max: RATE_MAX, step: 1, value: RATE_DEFAULT, required: true };
}

/** "320 of 2,000 moved, 50 a second, about 34 s left". */
export function moveText({ kind, moved, left, rate, state, reason }) {
  const all = moved + left;
  const what = `${kind}: ${countText(moved)} of ${countText(all)} moved`;
  if (state !== 'running') return `${what}, ${state}${reason ? `: ${reason}` : ''}`;
  return rate > 0 ? `${what}, ${countText(rate)} a second, about ${durationText(Math.ceil(left / rate))} left` : what;
}
