// One thread of the load: its memory, what is written into it before the start, and what is read from it.
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import {
  HEADER_REGION_SNAPSHOTS,
  LISTENERS_MAX,
  MEMBER_SOCKADDR,
  MEMBER_SOCKADDR_BYTES,
  NONE,
} from '../assembly/layout.ts';
import { createMemory, defaultSettings } from '../src/control/memory-map.ts';
import { regionOffset } from '../src/header.ts';
import { encodeSockaddr } from '../src/system/libc.ts';
import {
  HISTOGRAM_BUCKETS,
  LOAD_ACKS,
  LOAD_ANSWER_BYTES,
  LOAD_BEGUN_MS,
  LOAD_CLIENTS,
  LOAD_COMPLETE_MS,
  LOAD_COMPLETIONS,
  LOAD_CONNECTED,
  LOAD_DEPTH,
  LOAD_DEPTH_MAX,
  LOAD_DIALS_MAX,
  LOAD_FAILED,
  LOAD_FIRST_ID,
  LOAD_HISTOGRAM,
  LOAD_LISTENER_COUNT,
  LOAD_MEMBER,
  LOAD_MESSAGE,
  LOAD_MESSAGE_BYTES,
  LOAD_MESSAGES,
  LOAD_MESSAGES_BYTES_MAX,
  LOAD_MODE,
  LOAD_OPEN,
  LOAD_PAUSED,
  LOAD_RATE,
  LOAD_RUNNING,
  LOAD_SPIN,
  LOAD_TURNS,
  MODE_ECHO,
  PAUSED_ALL,
  PAUSED_MESSAGES,
  PAUSED_NOT,
  PUBACK_BYTES,
} from './layout.ts';
import type { LoadThreadStart } from './load-thread.ts';
import { pubackPacket, publishPacket } from './packets.ts';

/** A buffer holds a page; a message that is longer comes in several. */
const BUFFER_BYTES = 4096;
const BUFFERS_MIN = 256;
const BUFFERS_MAX = 16384;

export interface RingSettings {
  /** MODE_* */
  mode: number;
  clients: number;
  messageBytes: number;
  /** Messages in flight on each connection. */
  depth: number;
  /** Messages (in churn: connections) per second; 0: a closed loop. */
  rate: number;
  /** Never sleep, so that nothing is noticed late. */
  spin: boolean;
  /** Clients connect, but nobody sends before resume(). */
  waits: boolean;
  dialsMax: number;
  /** Number in the first ClientId. */
  firstId: number;
  /** Where the clients dial. */
  target: { host: string; port: number };
  /** Listening sockets of the sink; none: clients only. */
  listenerFds: readonly number[];
  /** Connections of both kinds that the ring must hold. */
  slots: number;
}

export interface Figures {
  /** Since the start: connections that had their CONNACK. */
  connected: number;
  /** Refused, reset, or closed without being asked. */
  failed: number;
  /** Answered. */
  messages: number;
  /** At this moment. */
  open: number;
  turns: number;
  completions: number;
}

export class LoadRing {
  readonly #memory: WebAssembly.Memory;
  readonly #base: number;
  readonly #view: DataView;
  readonly #thread: Worker;
  #died: Error | undefined;

  constructor(settings: RingSettings) {
    if (settings.listenerFds.length > LISTENERS_MAX) throw new RangeError(`at most ${LISTENERS_MAX} listeners`);
    const bufferCount = buffersFor(settings);
    const listeners = Math.max(1, settings.listenerFds.length);
    this.#memory = createMemory(
      { ...defaultSettings(settings.slots, listeners), bufferCount, buffersProvided: bufferCount },
      0,
      NONE,
    );
    this.#base = regionOffset(this.#memory, HEADER_REGION_SNAPSHOTS);
    this.#view = new DataView(this.#memory.buffer, this.#base);
    this.#write(settings);
    const workerData: LoadThreadStart = { memory: this.#memory, listenerFds: settings.listenerFds };
    this.#thread = new Worker(new URL('./load-thread.ts', import.meta.url), { workerData });
    this.#thread.on('error', (error) => (this.#died = error));
  }

  #write(settings: RingSettings): void {
    this.#set(LOAD_MODE, settings.mode);
    this.#set(LOAD_PAUSED, settings.waits ? PAUSED_MESSAGES : PAUSED_NOT);
    this.#set(LOAD_CLIENTS, settings.clients);
    this.#set(LOAD_MESSAGE_BYTES, settings.messageBytes);
    this.#set(LOAD_ANSWER_BYTES, settings.mode === MODE_ECHO ? settings.messageBytes : PUBACK_BYTES);
    this.#set(LOAD_DEPTH, settings.depth);
    this.#set(LOAD_RATE, settings.rate);
    this.#set(LOAD_SPIN, settings.spin ? 1 : 0);
    this.#set(LOAD_DIALS_MAX, settings.dialsMax);
    this.#set(LOAD_FIRST_ID, settings.firstId);
    this.#set(LOAD_LISTENER_COUNT, settings.listenerFds.length);
    this.#set(LOAD_RUNNING, 1);
    const sockaddr = encodeSockaddr(settings.target.host, settings.target.port);
    this.#set(LOAD_MEMBER + MEMBER_SOCKADDR_BYTES, sockaddr.length);
    this.#bytes(LOAD_MEMBER + MEMBER_SOCKADDR, sockaddr);
    this.#writePackets(settings);
  }

  // Twice as many as may be in flight: so any number of them, from any place on, lie one behind the other.
  #writePackets({ mode, messageBytes, depth }: RingSettings): void {
    if (depth > LOAD_DEPTH_MAX || 2 * depth * messageBytes > LOAD_MESSAGES_BYTES_MAX) {
      throw new RangeError(`${depth} messages of ${messageBytes} bytes do not fit the load's memory`);
    }
    for (let copy = 0; copy < 2 * depth; copy++) {
      const packetId = (copy % depth) + 1;
      const packet = publishPacket(messageBytes, mode === MODE_ECHO ? undefined : packetId);
      this.#bytes(LOAD_MESSAGE + copy * messageBytes, packet);
      this.#bytes(LOAD_ACKS + copy * PUBACK_BYTES, pubackPacket(packetId));
    }
  }

  #bytes(at: number, bytes: Uint8Array): void {
    new Uint8Array(this.#memory.buffer, this.#base + at, bytes.length).set(bytes);
  }

  #set(field: number, value: number): void {
    Atomics.store(new Uint32Array(this.#memory.buffer, this.#base), field / 4, value);
  }

  /** No new messages and no new lives; what is under way arrives. */
  pause(): void {
    this.#set(LOAD_PAUSED, PAUSED_ALL);
  }

  resume(): void {
    this.#set(LOAD_PAUSED, PAUSED_NOT);
  }

  /** Throws when the thread has died. */
  figures(): Figures {
    if (this.#died) throw this.#died;
    const read = (field: number): number => Number(this.#view.getBigUint64(field, true));
    return {
      connected: read(LOAD_CONNECTED),
      failed: read(LOAD_FAILED),
      messages: read(LOAD_MESSAGES),
      open: read(LOAD_OPEN),
      turns: read(LOAD_TURNS),
      completions: read(LOAD_COMPLETIONS),
    };
  }

  /** Milliseconds from the first dial to the last CONNACK; 0 while not all are connected. */
  connectMs(): number {
    const complete = this.#view.getFloat64(LOAD_COMPLETE_MS, true);
    return complete === 0 ? 0 : complete - this.#view.getFloat64(LOAD_BEGUN_MS, true);
  }

  /** Latencies counted since the start, by bucket. */
  histogram(): Uint32Array {
    return new Uint32Array(this.#memory.buffer, this.#base + LOAD_HISTOGRAM, HISTOGRAM_BUCKETS).slice();
  }

  async stop(): Promise<void> {
    const ended = once(this.#thread, 'exit');
    this.#set(LOAD_RUNNING, 0);
    await ended;
  }
}

// Few enough to stay in the caches: the kernel uses them in turn, so each one is touched.
function buffersFor({ slots, messageBytes, depth }: RingSettings): number {
  const wanted = slots * Math.ceil((messageBytes * depth) / BUFFER_BYTES);
  return Math.min(BUFFERS_MAX, Math.max(BUFFERS_MIN, 2 ** Math.ceil(Math.log2(wanted))));
}
