// How fast each source comes to a listener with connect_rate_per_source, in this worker. A pace is one number, the time
// by which a source that kept to its rate would have come as often as this one has. The table is of a fixed size: of four
// sources that share a place, one that has been quiet for longest gives way, and nothing is lost with one that has made
// up for what it took. Sources so many that they push out each other's have none that comes often.
//
//   SourcePace 16 B: hash of listener and source, 0: free | when it is due
import { SOURCE_PACE_BYTES, SOURCE_PACES } from '../layout';
import { Cold, ListenerLimits } from '../memory';
import { workers } from './gates';
import { familyOfPeer, sourceOfPeer } from './source-address';
import { sourceCountsEnd, sourceHash } from './source-counts';
import { header } from './table';

@unmanaged
class SourcePace {
  hash: u64;
  dueMs: f64;
}
if (offsetof<SourcePace>() != SOURCE_PACE_BYTES) ERROR('SourcePace changed its size');

const WAYS: u32 = 4;
/** Sums of small parts fall short of one. */
const ROUNDING_MS: f64 = 1e-6;

let paces: usize = 0;

export function attachSourcePaces(): void {
  paces = sourceCountsEnd();
}

/** Where the sessions begin. */
export function sourcePacesEnd(): usize {
  return paces + <usize>SOURCE_PACES * SOURCE_PACE_BYTES;
}

/** Whether the client's source may bring one more now, which is then noted. */
export function keepsPace(line: Cold, limits: ListenerLimits): bool {
  const share = workers();
  const intervalMs = (1000 * <f64>share) / <f64>limits.sourceRate;
  const earlyMs = intervalMs * <f64>(max<u32>(limits.sourceBurst / share, 1) - 1);
  const now = header().clockMs;
  const source = sourceOfPeer(line, limits.sourcePrefixes);
  const pace = paceOf(max<u64>(sourceHash(source, line.listener, familyOfPeer(line)), 1));
  const dueMs = max(pace.dueMs, now);
  if (dueMs - now > earlyMs + ROUNDING_MS) return false;
  pace.dueMs = dueMs + intervalMs;
  return true;
}

/** Its own, or one that was another's and begins anew. */
function paceOf(hash: u64): SourcePace {
  const first = <u32>(hash >> 32) & (SOURCE_PACES - WAYS);
  let oldest = paceAt(first);
  for (let index = first; index < first + WAYS; index++) {
    const pace = paceAt(index);
    if (pace.hash == hash) return pace;
    if (pace.dueMs < oldest.dueMs) oldest = pace;
  }
  oldest.hash = hash;
  oldest.dueMs = 0;
  return oldest;
}

function paceAt(index: u32): SourcePace {
  return changetype<SourcePace>(paces + <usize>index * SOURCE_PACE_BYTES);
}
