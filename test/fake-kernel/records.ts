// The ring of access records, read as the log thread reads it, but from the layout alone.
import {
  HEADER_OFFSET,
  HEADER_RECORDS_BYTES,
  HEADER_RECORDS_READ,
  HEADER_RECORDS_WRITTEN,
  HEADER_REGION_RECORDS,
  RECORD_ATTEMPTS,
  RECORD_BACKEND,
  RECORD_BYTES_FROM_CLIENT,
  RECORD_BYTES_TO_CLIENT,
  RECORD_BYTES_TOTAL,
  RECORD_CLIENT_ID,
  RECORD_CLIENT_ID_BYTES,
  RECORD_CLOSED_MS,
  RECORD_KEEP_ALIVE,
  RECORD_LISTENER,
  RECORD_OPENED_MS,
  RECORD_PEER,
  RECORD_REASON,
  RECORD_SKIP,
  RECORD_VERSION,
  SOCKADDR_BYTES_MAX,
} from '../../assembly/layout.ts';
import { Violation } from './violation.ts';

export interface AccessRecord {
  reason: number;
  openedMs: number;
  closedMs: number;
  bytesFromClient: number;
  bytesToClient: number;
  backend: number;
  listener: number;
  version: number;
  keepAlive: number;
  attempts: number;
  clientIdBytes: number;
  /** What was kept of it; the padding of the record is cut off. */
  clientId: string;
  peer: Uint8Array;
}

export class RecordReader {
  readonly #view: DataView;
  readonly #bytes: Uint8Array;

  constructor(memory: WebAssembly.Memory) {
    this.#view = new DataView(memory.buffer);
    this.#bytes = new Uint8Array(memory.buffer);
  }

  /** Hands every record that was written since to `onRecord`, and gives their place back. */
  drain(onRecord: (record: AccessRecord) => void): void {
    const written = this.#header(HEADER_RECORDS_WRITTEN);
    let read = this.#header(HEADER_RECORDS_READ);
    if (written === read) return;
    const ringBytes = this.#header(HEADER_RECORDS_BYTES);
    while (read !== written) {
      const place = read & (ringBytes - 1);
      const at = this.#header(HEADER_REGION_RECORDS) + place;
      const total = this.#view.getUint32(at + RECORD_BYTES_TOTAL, true);
      const bytes = (total & ~RECORD_SKIP) >>> 0;
      if (bytes === 0 || bytes > (written - read) >>> 0 || place + bytes > ringBytes) {
        throw new Violation(`a record of ${bytes} bytes at ${read}, of ${(written - read) >>> 0} written`);
      }
      if (bytes === total) onRecord(this.#read(at));
      read = (read + bytes) >>> 0;
    }
    this.#view.setUint32(HEADER_OFFSET + HEADER_RECORDS_READ, read, true);
  }

  #read(at: number): AccessRecord {
    const word = (field: number) => this.#view.getUint32(at + field, true);
    const long = (field: number) => word(field) + word(field + 4) * 2 ** 32;
    const time = (field: number) => this.#view.getFloat64(at + field, true);
    const clientIdBytes = word(RECORD_CLIENT_ID_BYTES) & 0xffff;
    const kept = word(RECORD_CLIENT_ID_BYTES) >>> 16;
    const clientId = Buffer.from(this.#bytes.slice(at + RECORD_CLIENT_ID, at + RECORD_CLIENT_ID + kept));
    return {
      reason: word(RECORD_REASON),
      openedMs: time(RECORD_OPENED_MS),
      closedMs: time(RECORD_CLOSED_MS),
      bytesFromClient: long(RECORD_BYTES_FROM_CLIENT),
      bytesToClient: long(RECORD_BYTES_TO_CLIENT),
      backend: word(RECORD_BACKEND),
      listener: word(RECORD_LISTENER),
      version: word(RECORD_VERSION),
      keepAlive: word(RECORD_KEEP_ALIVE),
      attempts: word(RECORD_ATTEMPTS),
      clientIdBytes,
      clientId: clientId.toString('latin1'),
      peer: this.#bytes.slice(at + RECORD_PEER, at + RECORD_PEER + SOCKADDR_BYTES_MAX),
    };
  }

  #header(field: number): number {
    return this.#view.getUint32(HEADER_OFFSET + field, true);
  }
}
