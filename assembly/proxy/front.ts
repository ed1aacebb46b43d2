// What a front door knows of a client: a block of texts that the engine brings along. 0 stands for none.
import { FRONT_TEXTS, FRONT_TEXTS_MAX, NAMES_SEPARATOR } from '../layout';

/** Address of a text, FRONT_* its place in the list. */
export function frontText(front: usize, place: u32): usize {
  return front + FRONT_TEXTS + sumOfBytes(front, place);
}

export function frontTextBytes(front: usize, place: u32): u32 {
  return front == 0 ? 0 : load<u16>(front + ((<usize>place) << 1));
}

/** Of the first name in a list of them. */
export function nameBytes(names: usize, end: usize): u32 {
  let at = names;
  while (at < end && load<u8>(at) != <u8>NAMES_SEPARATOR) at++;
  return <u32>(at - names);
}

/** Of the whole block. */
export function frontBytes(front: usize): u32 {
  return front == 0 ? 0 : FRONT_TEXTS + sumOfBytes(front, FRONT_TEXTS_MAX);
}

function sumOfBytes(front: usize, end: u32): u32 {
  let sum: u32 = 0;
  for (let place: u32 = 0; place < end; place++) sum += frontTextBytes(front, place);
  return sum;
}
