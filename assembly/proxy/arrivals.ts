// Who has been accepted and hasn't said yet who it is. It costs a slot all the same, so whoever its source has too many
// of, or brings too fast, is refused before anything of it is read; and of those whose CONNECT isn't whole there are only
// so many at once. One more makes the oldest of them go: a client that means it needs one round trip for its CONNECT, and
// is through long before it is the oldest, while those who are slow on purpose only push out each other.
import {
  MARK_HALF_OPEN,
  NONE,
  REASON_HALF_OPEN,
  REASON_NONE,
  REASON_SOURCE_CONNECTIONS,
  REASON_SOURCE_RATE,
} from '../layout';
import { Cold, ListenerLimits } from '../memory';
import { listenerLimitsAt, snapshot } from '../snapshot';
import { gateAt, listenerGate, tallyOf, workers } from './gates';
import { addSource, sourceCount } from './source-counts';
import { keepsPace } from './source-paces';
import { BACKEND, cold, count, direction, header } from './table';

/** Of the slots: one divided by this is kept for those who come. */
const SPARE_PART: u32 = 16;
/** In a smaller table those few who come at the same moment would have to go for each other. */
const SLOTS_LEAST: u32 = 64;

/** Its address is known: counts it for its source, or says why that may not bring it. */
export function countArrival(slot: u32, line: Cold): u32 {
  const limits = listenerLimitsAt(line.listener);
  if (limits.maxPerSource != 0 && sourceCount(line) >= partOf(limits.maxPerSource)) return REASON_SOURCE_CONNECTIONS;
  if (limits.sourceRate != 0 && !keepsPace(line, limits)) return REASON_SOURCE_RATE;
  if (limits.maxPerSource != 0) addSource(slot, line);
  return REASON_NONE;
}

// Those who are half open stand in a list of their listener's, oldest first. Its links are where the bytes of a backend
// will be: no memory is touched for it that isn't touched anyway.

/** From now on, until its CONNECT is whole or it has left. */
export function beginHalfOpen(slot: u32, line: Cold): void {
  const gate = gateAt(listenerGate(line.listener));
  const links = direction(slot, BACKEND);
  links.head = NONE;
  links.tail = gate.tail - 1;
  if (gate.tail != 0) direction(gate.tail - 1, BACKEND).head = slot;
  else gate.head = slot + 1;
  gate.tail = slot + 1;
  gate.waiting++;
  tallyOf(slot).marks |= <u8>MARK_HALF_OPEN;
}

/** It is no more, if it was. */
export function endHalfOpen(slot: u32): void {
  const tally = tallyOf(slot);
  if ((tally.marks & <u8>MARK_HALF_OPEN) == 0) return;
  tally.marks &= ~(<u8>MARK_HALF_OPEN);
  const gate = gateAt(listenerGate(cold(slot).listener));
  const links = direction(slot, BACKEND);
  if (links.tail != NONE) direction(links.tail, BACKEND).head = links.head;
  else gate.head = links.head + 1;
  if (links.head != NONE) direction(links.head, BACKEND).tail = links.tail;
  else gate.tail = links.tail + 1;
  gate.waiting--;
  links.head = NONE;
  links.tail = NONE;
}

/** The one that has to go for those who came since, NONE as long as they aren't too many. */
export function crowdedOut(listener: u32): u32 {
  const gate = gateAt(listenerGate(listener));
  const slot = gate.head - 1;
  if (slot == NONE || !areTooMany(gate.waiting, listenerLimitsAt(listener))) return NONE;
  endHalfOpen(slot);
  cold(slot).reason = <u16>REASON_HALF_OPEN;
  return slot;
}

// Where nobody has said how many there may be, all may come at once as after an outage, as long as there are slots; and then
// whoever has had no time for its CONNECT yet is left alone.
function areTooMany(halfOpen: u32, limits: ListenerLimits): bool {
  if (limits.maxHalfOpen != 0) return halfOpen > partOf(limits.maxHalfOpen);
  const slots = header().connectionsMax;
  const free = slots - <u32>count().slotsUsed;
  if (slots < SLOTS_LEAST || free > slots / SPARE_PART + snapshot().listenerCount) return false;
  return halfOpen > max<u32>(free, 1);
}

/** This worker's, of what all may have together. */
function partOf(limit: u32): u32 {
  return (limit + workers() - 1) / workers();
}
