// The settings that the main thread publishes: two halves, of which the epoch's last bit names the one to read. The
// main thread writes the other one whole, publishes the next epoch, and waits until this worker has been seen past it.
import {
  HEADER_EPOCH,
  HEADER_EPOCH_SEEN,
  HEADER_OFFSET,
  LISTENER_ENTRY_BYTES,
  SNAPSHOT_HALF_BYTES,
  SNAPSHOT_LISTENERS,
  SNAPSHOT_POOLS,
} from './layout';
import { Header, ListenerEntry, Pool, SnapshotHalf } from './memory';
import { observe, publish } from './shared';

let half: usize = 0;

/** Adopts the newest snapshot. No pointer into the older one may be kept over this call. */
export function observeSnapshot(): void {
  const epoch = observe(HEADER_OFFSET + HEADER_EPOCH);
  half = <usize>changetype<Header>(HEADER_OFFSET).snapshots + <usize>(epoch & 1) * SNAPSHOT_HALF_BYTES;
  publish(HEADER_OFFSET + HEADER_EPOCH_SEEN, epoch);
}

export function snapshot(): SnapshotHalf {
  return changetype<SnapshotHalf>(half);
}

export function listenerAt(listener: u32): ListenerEntry {
  assert(listener < snapshot().listenerCount);
  return changetype<ListenerEntry>(half + SNAPSHOT_LISTENERS + <usize>listener * LISTENER_ENTRY_BYTES);
}

export function poolAt(index: u32): Pool {
  assert(index < snapshot().poolCount);
  return changetype<Pool>(half + load<u32>(half + SNAPSHOT_POOLS + <usize>index * 4));
}
