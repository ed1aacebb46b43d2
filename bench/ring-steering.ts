// A ring of the sink whose table is full can't take who is dealt to it, and who waits there waits for ever. So once one of
// them is nearly full, newcomers are dealt by chance among those that still have room.
import {
  ADD,
  instruction,
  JUMP_IF_NOT_LESS,
  LOAD_WORD,
  MODULO,
  RANDOM_WORD,
  RETURN_RESULT,
  steer,
} from '../src/system/reuseport.ts';

/** Of a ring's places: with fewer free ones it's nearly full. */
const ROOM_SHARE = 0.1;
/** A ring with so much less room than the mean one is spared. */
const SPARED_BELOW = 0.75;

export class RingSteering {
  readonly #fds: readonly number[];
  readonly #places: number;
  #spared = '';

  /** `fds`: for each address the socket of any ring. `places`: connections that a ring can hold. */
  constructor(fds: readonly number[], places: number) {
    this.#fds = fds;
    this.#places = places;
  }

  /** `held`: connections of each ring at this moment. */
  update(held: readonly number[]): void {
    const rooms = held.map((count) => this.#places - count);
    const mean = rooms.reduce((sum, room) => sum + room, 0) / rooms.length;
    const isTight = this.#spared !== '' || Math.min(...rooms) < ROOM_SHARE * this.#places;
    if (!isTight || mean <= 0) return;
    const spared = rooms.flatMap((room, ring) => (room < SPARED_BELOW * mean ? ring : []));
    if (spared.join() === this.#spared || spared.length === rooms.length) return;
    this.#spared = spared.join();
    for (const fd of this.#fds) steer(fd, dealAmong(rooms.length, spared));
  }
}

/** The nth of those that aren't spared, n by chance: a number from 0 on that each spared one up to it pushes by one. */
function dealAmong(rings: number, spared: readonly number[]): Uint8Array[] {
  return [
    instruction(LOAD_WORD, 0, 0, RANDOM_WORD),
    instruction(MODULO, 0, 0, rings - spared.length),
    ...spared.flatMap((ring) => [instruction(JUMP_IF_NOT_LESS, 0, 1, ring), instruction(ADD, 0, 0, 1)]),
    instruction(RETURN_RESULT, 0, 0, 0),
  ];
}
