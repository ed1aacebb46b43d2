// The front doors of a worker's listeners. The main thread says what they are, over a port of the worker's own: a message
// is there before the snapshot that it goes with, and is read when that one is looked at.
import { isDeepStrictEqual } from 'node:util';
import { type MessagePort, receiveMessageOnPort } from 'node:worker_threads';
import type { DoorsUpdate } from './door-settings.ts';
import { TlsDoor, type Welcome } from './tls.ts';

export class Doors<Entrant> {
  readonly #port: MessagePort | undefined;
  readonly #welcome: Welcome<Entrant>;
  /** By the listener's index; none: its bytes are MQTT's. */
  #doors: (TlsDoor<Entrant> | undefined)[] = [];

  constructor(port: MessagePort | undefined, welcome: Welcome<Entrant>) {
    this.#port = port;
    this.#welcome = welcome;
  }

  of(listener: number): TlsDoor<Entrant> | undefined {
    return this.#doors[listener];
  }

  /** Due before the listeners follow a snapshot. Who stands in a door goes through that one, whatever is new. */
  follow(): void {
    if (this.#port === undefined) return;
    for (let next = receiveMessageOnPort(this.#port); next; next = receiveMessageOnPort(this.#port)) {
      this.#update(next.message);
    }
  }

  #update({ doors, ticketKeys }: DoorsUpdate): void {
    this.#doors = doors.map((settings, listener) => {
      if (settings === null) return undefined;
      const door = this.#doors[listener];
      if (door === undefined || !isDeepStrictEqual(door.settings, settings)) {
        return new TlsDoor(settings, ticketKeys, this.#welcome);
      }
      door.setTicketKeys(ticketKeys);
      return door;
    });
  }
}
