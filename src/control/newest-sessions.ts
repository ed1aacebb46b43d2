// Of each tag the session that began last, in whichever worker: with a hundred of them nobody looks into all their tables
// for every session that begins.
import type { Beginning, Session, SessionTable } from './session-table.ts';

/** More than a table has. A place is one number, since there is one for each session of each worker. */
const PLACES_MAX = 1 << 17;

export class NewestSessions {
  readonly #tables: (SessionTable | undefined)[] = [];
  /** By the lower half of its tag: of two that share it one is forgotten. */
  readonly #places = new Map<number, number>();

  /** Notes that it began, and returns what the newest one was, if it is another worker's. */
  replace(table: SessionTable, { place, lowTag, formerLowTag }: Beginning): Session | undefined {
    const here = this.#numberOf(table) * PLACES_MAX + place;
    const known = this.#places.get(lowTag);
    if (formerLowTag !== lowTag && this.#places.get(formerLowTag) === here) this.#places.delete(formerLowTag);
    this.#places.set(lowTag, here);
    const other = known === undefined ? undefined : this.#tables[Math.floor(known / PLACES_MAX)];
    return other === undefined || other === table ? undefined : other.read(known! % PLACES_MAX);
  }

  /** Its worker has ended. */
  forget(table: SessionTable): void {
    const number = this.#tables.indexOf(table);
    if (number === -1) return;
    this.#tables[number] = undefined;
    for (const [lowTag, place] of this.#places) {
      if (Math.floor(place / PLACES_MAX) === number) this.#places.delete(lowTag);
    }
  }

  #numberOf(table: SessionTable): number {
    const known = this.#tables.indexOf(table);
    if (known !== -1) return known;
    const free = this.#tables.indexOf(undefined);
    const number = free === -1 ? this.#tables.length : free;
    this.#tables[number] = table;
    return number;
  }
}
