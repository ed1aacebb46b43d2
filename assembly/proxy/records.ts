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
  SOCKADDR_BYTES_MAX,
} from '../layout';
import { AccessRecord, peerOf } from '../memory';
import { observe, publish } from '../shared';
import { snapshot } from '../snapshot';
import { placeEntry } from './byte-ring';
import { copyClientId } from './client-id';
import { frontBytes } from './front';
import { add, cold, count, counters, header, hot } from './table';

const RECORD_BYTES_MAX: u32 = (RECORD_CLIENT_ID + CLIENT_ID_KEPT_BYTES_MAX + FRONT_BYTES_MAX + 7) & ~7;
const WRITTEN: usize = HEADER_OFFSET + HEADER_RECORDS_WRITTEN;
const READ: usize = HEADER_OFFSET + HEADER_RECORDS_READ;

/** Writes the one record of a connection's life; `front` is its Front block, or 0. */
export function writeRecord(slot: u32, front: usize): void {
  const line = cold(slot);
  assert(line.reason != REASON_NONE && line.reason < <u32>REASONS_MAX);
  add(counters + COUNTERS_REASONS + <usize>line.reason * 8, 1);
  const address = placeEntry(header().records, header().recordsBytes, WRITTEN, READ, RECORD_BYTES_MAX);
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
  memory.copy(address + offsetof<AccessRecord>('_peer0'), peerOf(line), SOCKADDR_BYTES_MAX);
  record.epoch = snapshot().epoch;
  const kept = copyClientId(line, address + RECORD_CLIENT_ID);
  record.clientIdBytes = line.clientIdBytes | (kept << RECORD_KEPT_SHIFT);
  const end = (RECORD_CLIENT_ID + kept + 7) & ~7;
  const more = frontBytes(front);
  memory.copy(address + end, front, more);
  record.bytesTotal = (end + more + 7) & ~7;
  publish(WRITTEN, observe(WRITTEN) + record.bytesTotal);
}
