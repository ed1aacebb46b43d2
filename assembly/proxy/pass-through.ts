// Clients of which nothing but TLS is ever seen: a front door has read which host they ask for, and so which pool is
// theirs. They are admitted, balanced, limited and moved as others are; between their packets nobody can tell.
import { FRAMING_UNKNOWN, MARK_POOL_CHOSEN, NONE, VERDICT_DIAL } from '../layout';
import { poolAt } from '../snapshot';
import { poolFor, refuseWithoutPool, takeKeyBeforeConnect } from './decide';
import { tallyOf } from './gates';
import { cold } from './table';

/** VERDICT_DIAL or VERDICT_REFUSE; `pool` is an id, `front` the client's Front block. */
export function routeTo(slot: u32, pool: u32, front: usize): u32 {
  const line = cold(slot);
  tallyOf(slot).marks |= <u8>MARK_POOL_CHOSEN;
  line.choice = <u8>pool;
  const index = poolFor(slot);
  if (index == NONE) return refuseWithoutPool(line);
  line.pool = <u8>index;
  line.framingFromClient = FRAMING_UNKNOWN;
  line.framingFromBackend = FRAMING_UNKNOWN;
  takeKeyBeforeConnect(slot, line, poolAt(index), front);
  return VERDICT_DIAL;
}
