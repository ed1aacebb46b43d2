// The reading side of one worker's ring of access records. The worker writes whole records and then moves `written`;
// the log thread reads them and then moves `read`, which gives the space back. Both count bytes modulo 2^32.
//
//   | record | record | record | padding (RECORD_SKIP) |    a record never wraps: padding fills the ring's end
//              ^ read            ^ written
import {
  HEADER_RECORDS_BYTES,
  HEADER_RECORDS_READ,
  HEADER_RECORDS_WRITTEN,
  HEADER_REGION_RECORDS,
  RECORD_BYTES_TOTAL,
  RECORD_CLIENT_ID,
  RECORD_CLIENT_ID_BYTES,
  RECORD_KEPT_SHIFT,
  RECORD_SKIP,
} from '../../assembly/layout.ts';
import { headerWords } from '../header.ts';
import { AccessRecord } from './record-format.ts';

const WRITTEN = HEADER_RECORDS_WRITTEN / 4;
const READ = HEADER_RECORDS_READ / 4;

export class RecordRing {
  /** The record that `next` moved to. */
  readonly record: AccessRecord;
  readonly #words: Uint32Array;
  readonly #header: Uint32Array;
  readonly #onCorrupt: (what: string) => void;
  #read = 0;
  #isReported = false;

  constructor(memory: ArrayBufferLike, worker: number, onCorrupt: (what: string) => void) {
    this.record = new AccessRecord(memory, worker);
    this.#words = this.record.words;
    this.#header = headerWords({ buffer: memory });
    this.#onCorrupt = onCorrupt;
  }

  get written(): number {
    return Atomics.load(this.#header, WRITTEN);
  }

  get isEmpty(): boolean {
    return this.written === Atomics.load(this.#header, READ);
  }

  /** How much of the ring waits to be read, from 0 to 1. */
  get fill(): number {
    return ((this.written - Atomics.load(this.#header, READ)) >>> 0) / this.#bytesMax;
  }

  /** Begins a round of `next`. The place is read anew each time: a new worker in the same memory begins at 0. */
  begin(): void {
    this.#read = Atomics.load(this.#header, READ);
  }

  /** Moves `record` on to the next one; false when everything before `written` has been seen. */
  next(written: number): boolean {
    while (this.#read !== written) {
      const header = this.#words[(this.#place() + RECORD_BYTES_TOTAL) >>> 2]!;
      const bytes = (header & ~RECORD_SKIP) >>> 0;
      const isPadding = bytes !== header;
      const fault = this.#fault(bytes, isPadding, written);
      if (fault !== '') {
        this.#report(fault, bytes, written);
        this.#read = written;
        return false;
      }
      this.record.at = this.#place();
      this.#read = (this.#read + bytes) >>> 0;
      if (!isPadding) return true;
    }
    return false;
  }

  /** What `next` has passed may be written over from now on. Returns how many bytes that gave back. */
  release(): number {
    const bytes = (this.#read - Atomics.load(this.#header, READ)) >>> 0;
    Atomics.store(this.#header, READ, this.#read);
    return bytes;
  }

  get #bytesMax(): number {
    return this.#header[HEADER_RECORDS_BYTES / 4]!;
  }

  #place(): number {
    return this.#header[HEADER_REGION_RECORDS / 4]! + (this.#read & (this.#bytesMax - 1));
  }

  /** A record that can't be is our own mistake, but one in a log: it costs the lines up to `written`, not a worker. */
  #fault(bytes: number, isPadding: boolean, written: number): string {
    const ringBytes = this.#bytesMax;
    const left = (written - this.#read) >>> 0;
    if (left > ringBytes) return 'more was written than the ring holds';
    if (bytes === 0 || bytes % 8 !== 0) return 'a record of an impossible length';
    if (bytes > left) return 'a record is longer than what was written';
    if (bytes > ringBytes - (this.#read & (ringBytes - 1))) return "a record reaches past the ring's end";
    if (isPadding) return '';
    if (bytes < RECORD_CLIENT_ID) return 'a record is too short';
    const kept = this.#words[(this.#place() + RECORD_CLIENT_ID_BYTES) >>> 2]! >>> RECORD_KEPT_SHIFT;
    return RECORD_CLIENT_ID + kept > bytes ? 'a ClientId is longer than its record' : '';
  }

  #report(fault: string, bytes: number, written: number): void {
    if (this.#isReported) return;
    this.#isReported = true;
    this.#onCorrupt(`${fault} (worker ${this.record.worker}, ${bytes} bytes at ${this.#read}, written ${written})`);
  }
}
