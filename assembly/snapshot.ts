// The settings that the main thread publishes: two halves, of which the epoch's last bit names the one to read. The
// main thread writes the other one whole, publishes the next epoch, and waits until this worker has been seen past it.
import {
  ADMISSION_LEASES_SEEN,
  ADMISSION_LEASES_WRITTEN,
  BACKEND_LIMITS_BYTES,
  HEADER_EPOCH,
  HEADER_EPOCH_SEEN,
  HEADER_OFFSET,
  HOOK_BYTES,
  LISTENER_BIND_BYTES,
  LISTENER_ENTRY_BYTES,
  LISTENER_LIMITS_BYTES,
  NONE,
  POOL_LIMITS_BYTES,
  SNAPSHOT_BACKEND_LIMITS,
  SNAPSHOT_HALF_BYTES,
  SNAPSHOT_LISTENER_BINDS,
  SNAPSHOT_LISTENER_HOOKS,
  SNAPSHOT_LISTENER_LIMITS,
  SNAPSHOT_LISTENERS,
  SNAPSHOT_POOL_LIMITS,
  SNAPSHOT_POOLS,
} from './layout';
import {
  Admission,
  BackendLimits,
  Header,
  Hook,
  Identity,
  ListenerEntry,
  ListenerLimits,
  Pool,
  PoolLimits,
  SnapshotHalf,
} from './memory';
import { observe, publish } from './shared';

let half: usize = 0;

/** Adopts the newest snapshot, and the newest allowances. No pointer into the older one may be kept over this call. */
export function observeSnapshot(): void {
  const epoch = observe(HEADER_OFFSET + HEADER_EPOCH);
  half = <usize>changetype<Header>(HEADER_OFFSET).snapshots + <usize>(epoch & 1) * SNAPSHOT_HALF_BYTES;
  publish(HEADER_OFFSET + HEADER_EPOCH_SEEN, epoch);
  observeLeases();
}

// The main thread gives one worker what another had only when that one is known to decide by its new allowance.
function observeLeases(): void {
  const region = <usize>changetype<Header>(HEADER_OFFSET).admission;
  const written = observe(region + ADMISSION_LEASES_WRITTEN);
  if (changetype<Admission>(region).leasesSeen != written) publish(region + ADMISSION_LEASES_SEEN, written);
}

export function snapshot(): SnapshotHalf {
  return changetype<SnapshotHalf>(half);
}

export function listenerAt(listener: u32): ListenerEntry {
  assert(listener < snapshot().listenerCount);
  return changetype<ListenerEntry>(half + SNAPSHOT_LISTENERS + <usize>listener * LISTENER_ENTRY_BYTES);
}

/** The sockaddr that it is bound to. */
export function listenerBindAt(listener: u32): usize {
  return half + SNAPSHOT_LISTENER_BINDS + <usize>listener * LISTENER_BIND_BYTES;
}

/** Of a listener that has some: those whose connections begin with a PROXY header. */
export function frontsAt(listener: ListenerEntry): usize {
  return half + listener.fronts;
}

export function poolAt(index: u32): Pool {
  assert(index < snapshot().poolCount);
  return changetype<Pool>(half + load<u32>(half + SNAPSHOT_POOLS + <usize>index * 4));
}

/** Of a listener that has one. */
export function identityAt(listener: ListenerEntry): Identity {
  return changetype<Identity>(half + listener.identity);
}

/** Of a listener that lets only some come. */
export function addressesAt(listener: ListenerEntry): usize {
  return half + listener.addresses;
}

/** Of any listener: one without has the timeout 0. */
export function hookAt(listener: u32): Hook {
  return changetype<Hook>(half + SNAPSHOT_LISTENER_HOOKS + <usize>listener * HOOK_BYTES);
}

export function listenerLimitsAt(listener: u32): ListenerLimits {
  return changetype<ListenerLimits>(half + SNAPSHOT_LISTENER_LIMITS + <usize>listener * LISTENER_LIMITS_BYTES);
}

/** The place of the pool with that id in this snapshot; NONE: it was removed. */
export function poolOfId(id: u32): u32 {
  for (let index: u32 = 0; index < snapshot().poolCount; index++) {
    if (poolLimitsAt(index).id == id) return index;
  }
  return NONE;
}

export function poolLimitsAt(index: u32): PoolLimits {
  return changetype<PoolLimits>(half + SNAPSHOT_POOL_LIMITS + <usize>index * POOL_LIMITS_BYTES);
}

export function backendLimitsAt(backend: u32): BackendLimits {
  return changetype<BackendLimits>(half + SNAPSHOT_BACKEND_LIMITS + <usize>backend * BACKEND_LIMITS_BYTES);
}
