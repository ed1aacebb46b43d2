// Of each tag the session that began last, in whichever worker: with a hundred of them nobody looks into all their tables
// for every session that begins.
import type { Beginning, Session, SessionTable } from './session-table.ts';

interface Place {
  table: SessionTable;
  place: number;
}

export class NewestSessions {
  /** By the lower half of its tag: of two that share it one is forgotten. */
  readonly #places = new Map<number, Place>();

  /** Notes that it began, and returns what the newest one was, if it is another worker's. */
  replace(table: SessionTable, { place, lowTag, formerLowTag }: Beginning): Session | undefined {
    const known = this.#places.get(lowTag);
    const former = this.#places.get(formerLowTag);
    if (formerLowTag !== lowTag && former?.table === table && former.place === place) this.#places.delete(formerLowTag);
    if (known?.table !== table || known.place !== place) this.#places.set(lowTag, { table, place });
    return known === undefined || known.table === table ? undefined : known.table.read(known.place);
  }

  /** Its worker has ended. */
  forget(table: SessionTable): void {
    for (const [lowTag, place] of this.#places) if (place.table === table) this.#places.delete(lowTag);
  }
}
