// MQTT clients and the sink broker behind the proxy under test, from the bench's side: settings in, figures out.
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { HEADER_REGION_SNAPSHOTS, MEMBER_SOCKADDR, MEMBER_SOCKADDR_BYTES, NONE } from '../assembly/layout.ts';
import { createMemory, defaultSettings, regionOffset } from '../src/control/memory-map.ts';
import {
  bind,
  close,
  encodeSockaddr,
  IPPROTO_TCP,
  listen,
  SO_REUSEADDR,
  SOL_SOCKET,
  setsockopt,
  socket,
  TCP_NODELAY,
} from '../src/engine/libc.ts';
import {
  HISTOGRAM_BUCKETS,
  HISTOGRAM_STEPS,
  LOAD_CLIENTS,
  LOAD_CONNECTED,
  LOAD_DEPTH,
  LOAD_DIALS_MAX,
  LOAD_FAILED,
  LOAD_FIRST_ID,
  LOAD_HISTOGRAM,
  LOAD_LATE,
  LOAD_LIVES,
  LOAD_MEMBER,
  LOAD_MESSAGE,
  LOAD_MESSAGE_BYTES,
  LOAD_MESSAGES,
  LOAD_MODE,
  LOAD_OPEN,
  LOAD_PAUSED,
  LOAD_RATE_US,
  LOAD_RUNNING,
} from './layout.ts';

export interface LoadSettings {
  mode: number;
  /** 0: only a sink. */
  clients: number;
  messageBytes: number;
  depth: number;
  /** Open loop: messages per second of all clients together. */
  rate?: number;
  dialsMax?: number;
  /** Where the sink listens, on every address; null: no sink in this load. */
  listen: number | null;
  /** Where the clients dial: the proxy. */
  dial: { host: string; port: number };
}

export interface Figures {
  connected: number;
  failed: number;
  messages: number;
  lives: number;
  open: number;
  late: number;
}

/** An MQTT PUBLISH (QoS 0, topic "bench") of exactly that many bytes. */
export function publishPacket(bytes: number): Buffer {
  for (let lengthBytes = 1; lengthBytes <= 4; lengthBytes++) {
    const remaining = bytes - 1 - lengthBytes;
    if (remaining >= 128 ** lengthBytes || remaining < 7) continue;
    const packet = Buffer.alloc(bytes, 'x');
    packet[0] = 0x30;
    for (let at = 1, rest = remaining; at <= lengthBytes; at++, rest >>= 7) {
      packet[at] = (rest & 127) | (at < lengthBytes ? 128 : 0);
    }
    packet.writeUInt16BE(5, 1 + lengthBytes);
    packet.write('bench', 3 + lengthBytes);
    return packet;
  }
  throw new Error(`no PUBLISH has ${bytes} bytes`);
}

export class Load {
  readonly #memory: WebAssembly.Memory;
  readonly #base: number;
  readonly #words: Uint32Array;
  readonly #thread: Worker;
  readonly #listenerFd: number;

  constructor(settings: LoadSettings) {
    const slots = Math.min(
      9900,
      settings.clients + (settings.listen === null ? 0 : Math.max(settings.clients, 9900 - settings.clients)),
    );
    this.#memory = createMemory({ ...defaultSettings(slots, 1), bufferCount: 16384 }, 0, NONE);
    this.#base = regionOffset(this.#memory, HEADER_REGION_SNAPSHOTS);
    this.#words = new Uint32Array(this.#memory.buffer, this.#base);
    this.#write(settings);
    this.#listenerFd = settings.listen === null ? -1 : listenAt(settings.listen);
    const workerData = { memory: this.#memory, listenerFd: this.#listenerFd };
    this.#thread = new Worker(new URL('./load-thread.ts', import.meta.url), { workerData });
  }

  #write(settings: LoadSettings): void {
    this.#set(LOAD_MODE, settings.mode);
    this.#set(LOAD_CLIENTS, settings.clients);
    this.#set(LOAD_MESSAGE_BYTES, settings.messageBytes);
    this.#set(LOAD_DEPTH, settings.depth);
    this.#set(LOAD_RATE_US, Math.round((16 * 1_000_000) / (settings.rate ?? 1)));
    this.#set(LOAD_DIALS_MAX, settings.dialsMax ?? 64);
    this.#set(LOAD_FIRST_ID, 1000);
    this.#set(LOAD_RUNNING, 1);
    const bytes = new Uint8Array(this.#memory.buffer, this.#base);
    const sockaddr = encodeSockaddr(settings.dial.host, settings.dial.port);
    this.#set(LOAD_MEMBER + MEMBER_SOCKADDR_BYTES, sockaddr.length);
    bytes.set(sockaddr, LOAD_MEMBER + MEMBER_SOCKADDR);
    const packet = publishPacket(settings.messageBytes);
    for (let copy = 0; copy < settings.depth; copy++) bytes.set(packet, LOAD_MESSAGE + copy * packet.length);
  }

  #set(field: number, value: number): void {
    Atomics.store(this.#words, field / 4, value);
  }

  setRate(messagesPerSecond: number): void {
    this.#set(LOAD_RATE_US, Math.round((16 * 1_000_000) / messagesPerSecond));
  }

  /** No new messages; those under way arrive. */
  pause(): void {
    this.#set(LOAD_PAUSED, 1);
  }

  figures(): Figures {
    const counters = new DataView(this.#memory.buffer, this.#base);
    const read = (field: number): number => Number(counters.getBigUint64(field, true));
    return {
      connected: read(LOAD_CONNECTED),
      failed: read(LOAD_FAILED),
      messages: read(LOAD_MESSAGES),
      lives: read(LOAD_LIVES),
      open: read(LOAD_OPEN),
      late: read(LOAD_LATE),
    };
  }

  /** Counts so far, by bucket; see bucketMicroseconds. */
  histogram(): Uint32Array {
    return new Uint32Array(this.#memory.buffer, this.#base + LOAD_HISTOGRAM, HISTOGRAM_BUCKETS).slice();
  }

  async stop(): Promise<void> {
    const ended = once(this.#thread, 'exit');
    this.#set(LOAD_RUNNING, 0);
    await ended;
    if (this.#listenerFd >= 0) close(this.#listenerFd);
  }
}

/** The upper end of a bucket, in microseconds. */
export function bucketMicroseconds(bucket: number): number {
  const doubling = Math.floor(bucket / HISTOGRAM_STEPS);
  const step = bucket % HISTOGRAM_STEPS;
  return (2 ** doubling * (HISTOGRAM_STEPS + step + 1) - HISTOGRAM_STEPS) / HISTOGRAM_STEPS;
}

function listenAt(port: number): number {
  const fd = socket(2);
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  bind(fd, encodeSockaddr('0.0.0.0', port));
  listen(fd, 4096);
  return fd;
}
