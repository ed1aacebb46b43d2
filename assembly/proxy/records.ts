// The access records of ended connections: a ring with one writer, this worker, and one reader, the log thread.
// The reader that falls behind loses records, which are counted, and never holds up the traffic.
import {
  CLIENT_ID_KEPT_BYTES_MAX,
  COUNTERS_REASONS,
  FRONT_BYTES_MAX,
  HEADER_OFFSET,
  HEADER_RECORDS_READ,
  HEADER_RECORDS_WRITTEN,
  REASON_NONE,
  REASONS_MAX,
  RECORD_CLIENT_ID,
  RECORD_KEPT_SHIFT,
  RECORD_SKIP,
  SOCKADDR_BYTES_MAX,
} from '../layout';
import { AccessRecord, Cold } from '../memory';
import { observe, publish } from '../shared';
import { snapshot } from '../snapshot';
import { copyClientId } from './client-id';
import { frontBytes } from './front';
import { cold, count, counters, header, hot } from './table';

const RECORD_BYTES_MAX: u32 = (RECORD_CLIENT_ID + CLIENT_ID_KEPT_BYTES_MAX + FRONT_BYTES_MAX + 7) & ~7;
/** From this part of the ring on, an empty one begins anew: it need not touch more of its memory than it fills. */
const REWIND_SHARE: u32 = 16;
const WRITTEN: usize = HEADER_OFFSET + HEADER_RECORDS_WRITTEN;
const READ: usize = HEADER_OFFSET + HEADER_RECORDS_READ;

/** Writes the one record of a connection's life; `front` is its Front block, or 0. */
export function writeRecord(slot: u32, front: usize): void {
  const line = cold(slot);
  assert(line.reason != REASON_NONE && line.reason < <u32>REASONS_MAX);
  const reason = counters + COUNTERS_REASONS + <usize>line.reason * 8;
  store<u64>(reason, load<u64>(reason) + 1);
  const address = placeRecord();
  if (address == 0) {
    count().recordsDropped++;
    return;
  }
  const record = changetype<AccessRecord>(address);
  record.reason = line.reason;
  record.openedMs = line.openedMs;
  record.closedMs = header().clockMs + header().wallMs;
  record.bytesFromClient = line.bytesFromClient;
  record.bytesToClient = line.bytesToClient;
  record.backend = line.backend;
  record.listener = line.listener;
  record.version = line.version;
  record.keepAlive = line.keepAlive;
  record.attempts = hot(slot).attempts;
  memory.copy(
    address + offsetof<AccessRecord>('_peer0'),
    changetype<usize>(line) + offsetof<Cold>('_peer0'),
    SOCKADDR_BYTES_MAX,
  );
  record.epoch = snapshot().epoch;
  const kept = copyClientId(line, address + RECORD_CLIENT_ID);
  record.clientIdBytes = line.clientIdBytes | (kept << RECORD_KEPT_SHIFT);
  const end = (RECORD_CLIENT_ID + kept + 7) & ~7;
  const more = frontBytes(front);
  memory.copy(address + end, front, more);
  record.bytesTotal = (end + more + 7) & ~7;
  publish(WRITTEN, observe(WRITTEN) + record.bytesTotal);
}

/** Where the next record may be written in one piece, 0 when the ring is full. */
function placeRecord(): usize {
  const ringBytes = header().recordsBytes;
  const base = <usize>header().records;
  const written = observe(WRITTEN);
  const free = ringBytes - (written - observe(READ));
  const offset = written & (ringBytes - 1);
  const untilEnd = ringBytes - offset;
  const rewinds = free == ringBytes && offset >= max(ringBytes / REWIND_SHARE, RECORD_BYTES_MAX);
  if (untilEnd >= RECORD_BYTES_MAX && !rewinds) return free >= RECORD_BYTES_MAX ? base + offset : 0;
  if (free < untilEnd + RECORD_BYTES_MAX) return 0;
  store<u32>(base + offset, RECORD_SKIP | untilEnd);
  publish(WRITTEN, written + untilEnd);
  return base;
}
