// The worker's side of a ring of access records, as the data plane writes it: whole records that never wrap, padding
// at the ring's end, and `written` moved after the bytes. Nothing waits: a record that finds no room is not written.
import {
  CLIENT_ID_KEPT_BYTES_MAX,
  HEADER_OFFSET,
  HEADER_RECORDS_BYTES,
  HEADER_RECORDS_READ,
  HEADER_RECORDS_WRITTEN,
  HEADER_REGION_RECORDS,
  NONE,
  REASON_CLIENT_CLOSED,
  RECORD_ATTEMPTS,
  RECORD_BACKEND,
  RECORD_BYTES_FROM_CLIENT,
  RECORD_BYTES_TO_CLIENT,
  RECORD_BYTES_TOTAL,
  RECORD_CLIENT_ID,
  RECORD_CLIENT_ID_BYTES,
  RECORD_CLOSED_MS,
  RECORD_EPOCH,
  RECORD_KEEP_ALIVE,
  RECORD_KEPT_SHIFT,
  RECORD_LISTENER,
  RECORD_OPENED_MS,
  RECORD_PEER,
  RECORD_REASON,
  RECORD_SKIP,
  RECORD_VERSION,
  REGIONS_OFFSET,
} from '../../assembly/layout.ts';
import { encodeSockaddr } from '../../src/system/sockaddr.ts';

const WASM_PAGE_BYTES = 65536;
const WRITTEN = (HEADER_OFFSET + HEADER_RECORDS_WRITTEN) / 4;
const READ = (HEADER_OFFSET + HEADER_RECORDS_READ) / 4;

export interface RecordFields {
  reason?: number;
  openedMs?: number;
  closedMs?: number;
  bytesFromClient?: number;
  bytesToClient?: number;
  backend?: number;
  listener?: number;
  version?: number;
  keepAlive?: number;
  attempts?: number;
  /** Of any length: what the data plane would keep is kept. */
  clientId?: string | Uint8Array;
  /** null: never known. */
  peer?: { host: string; port: number } | null;
  epoch?: number;
  /** As encodeFront makes it. */
  front?: Uint8Array;
}

export class RecordWriter {
  readonly memory: WebAssembly.Memory;
  readonly view: DataView;
  readonly #words: Uint32Array;
  readonly #bytes: Uint8Array;
  readonly #ringBytes: number;

  /** `start` is where both counters stand at first: near 2^32 they wrap soon. */
  constructor({ ringBytes = 1 << 16, start = 0 } = {}) {
    const pages = Math.ceil((REGIONS_OFFSET + ringBytes) / WASM_PAGE_BYTES);
    this.memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
    this.view = new DataView(this.memory.buffer);
    this.#words = new Uint32Array(this.memory.buffer);
    this.#bytes = new Uint8Array(this.memory.buffer);
    this.#ringBytes = ringBytes;
    this.view.setUint32(HEADER_OFFSET + HEADER_REGION_RECORDS, REGIONS_OFFSET, true);
    this.view.setUint32(HEADER_OFFSET + HEADER_RECORDS_BYTES, ringBytes, true);
    this.#words[WRITTEN] = this.#words[READ] = start;
  }

  get written(): number {
    return Atomics.load(this.#words, WRITTEN);
  }

  get read(): number {
    return Atomics.load(this.#words, READ);
  }

  /** False when the ring is full. */
  write(fields: RecordFields): boolean {
    const clientId = typeof fields.clientId === 'string' ? Buffer.from(fields.clientId) : fields.clientId;
    const kept = (clientId ?? new Uint8Array(0)).subarray(0, CLIENT_ID_KEPT_BYTES_MAX);
    const front = fields.front ?? new Uint8Array(0);
    const end = (RECORD_CLIENT_ID + kept.length + 7) & ~7;
    const bytes = (end + front.length + 7) & ~7;
    const { written } = this;
    const left = this.#ringBytes - (written & (this.#ringBytes - 1));
    const padding = bytes > left ? left : 0;
    if (((written - this.read) >>> 0) + padding + bytes > this.#ringBytes) return false;
    if (padding > 0) this.view.setUint32(this.#at(written), padding | RECORD_SKIP, true);
    this.#fill(this.#at(written + padding), bytes, fields, kept, clientId?.length ?? 0);
    this.#bytes.set(front, this.#at(written + padding) + end);
    this.publish(padding + bytes);
    return true;
  }

  /** Moves `written` over bytes that lie in the ring already. */
  publish(bytes: number): void {
    Atomics.store(this.#words, WRITTEN, this.written + bytes);
  }

  /** Writes, waiting for room as long as it takes. */
  async writeAll(count: number, fields: (index: number) => RecordFields): Promise<void> {
    for (let index = 0; index < count; index++) {
      const record = fields(index);
      while (!this.write(record)) await new Promise((resume) => setTimeout(resume, 1));
    }
  }

  #at(counter: number): number {
    return REGIONS_OFFSET + ((counter >>> 0) & (this.#ringBytes - 1));
  }

  #fill(at: number, bytes: number, fields: RecordFields, kept: Uint8Array, clientIdBytes: number): void {
    const { view } = this;
    const closedMs = fields.closedMs ?? Date.now();
    view.setUint32(at + RECORD_BYTES_TOTAL, bytes, true);
    view.setUint32(at + RECORD_REASON, fields.reason ?? REASON_CLIENT_CLOSED, true);
    view.setFloat64(at + RECORD_OPENED_MS, fields.openedMs ?? closedMs, true);
    view.setFloat64(at + RECORD_CLOSED_MS, closedMs, true);
    view.setBigUint64(at + RECORD_BYTES_FROM_CLIENT, BigInt(fields.bytesFromClient ?? 0), true);
    view.setBigUint64(at + RECORD_BYTES_TO_CLIENT, BigInt(fields.bytesToClient ?? 0), true);
    view.setUint32(at + RECORD_BACKEND, fields.backend ?? NONE, true);
    view.setUint32(at + RECORD_LISTENER, fields.listener ?? 0, true);
    view.setUint32(at + RECORD_VERSION, fields.version ?? 0, true);
    view.setUint32(at + RECORD_KEEP_ALIVE, fields.keepAlive ?? 0, true);
    view.setUint32(at + RECORD_ATTEMPTS, fields.attempts ?? 0, true);
    view.setUint32(at + RECORD_CLIENT_ID_BYTES, clientIdBytes | (kept.length << RECORD_KEPT_SHIFT), true);
    this.#bytes.fill(0, at + RECORD_PEER, at + RECORD_EPOCH);
    if (fields.peer) this.#bytes.set(encodeSockaddr(fields.peer.host, fields.peer.port), at + RECORD_PEER);
    view.setUint32(at + RECORD_EPOCH, fields.epoch ?? 0, true);
    this.#bytes.set(kept, at + RECORD_CLIENT_ID);
  }
}
