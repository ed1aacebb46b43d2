// MQTT clients over WebSocket on a thread of their own, for ping-pong: the frames are made once and sent again and again,
// so that a message costs the load two system calls and little else. Behind Tidegate is the same sink as ever; behind a
// tunnel one that speaks WebSocket, on the same thread.
import { Worker } from 'node:worker_threads';
import { HISTOGRAM_BUCKETS, MODE_ECHO } from './layout.ts';
import { type Figures, Load, type RunningLoad, type Sink } from './load.ts';
import { SINK_HOSTS } from './proxies.ts';

/** Places in the counters that the thread writes. */
export const CONNECTED = 0;
export const FAILED = 1;
export const MESSAGES = 2;
export const OPEN = 3;
const COUNTERS = 4;

export interface WebSocketThreadStart {
  port: number;
  clients: number;
  messageBytes: number;
  counters: Float64Array;
  /** Of the sink that speaks WebSocket; none: there is another one. */
  sink: { hosts: readonly string[]; port: number } | undefined;
}

/** What a ProxyProcess has. */
interface Dialled {
  port: number;
  kind: { tunnels?: boolean };
  sink: Sink;
  webSocketPort: number;
}

export class WebSocketLoad implements RunningLoad {
  readonly #thread: Worker;
  readonly #sink: Load | undefined;
  readonly #counters = new Float64Array(new SharedArrayBuffer(COUNTERS * 8));

  constructor({ port, kind, sink, webSocketPort }: Dialled, clients: number, messageBytes: number) {
    const dial = { host: '127.0.0.1', port };
    this.#sink = kind.tunnels
      ? undefined
      : new Load({ mode: MODE_ECHO, clients: 0, guests: clients, messageBytes, sink, target: dial });
    const tunnelled = kind.tunnels ? { hosts: SINK_HOSTS, port: webSocketPort } : undefined;
    const start: WebSocketThreadStart = { port, clients, messageBytes, counters: this.#counters, sink: tunnelled };
    this.#thread = new Worker(new URL('./websocket-load-thread.ts', import.meta.url), { workerData: start });
  }

  pause(): void {
    this.#thread.postMessage('pause');
  }

  resume(): void {
    this.#thread.postMessage('resume');
  }

  figures(): Figures {
    const [connected = 0, failed = 0, messages = 0, open = 0] = this.#counters;
    return { connected, failed, messages, open, turns: 0, completions: 0 };
  }

  connectMs(): number {
    return 0;
  }

  /** Its clock is an event loop's: nothing to quote. */
  histogram(): Uint32Array {
    return new Uint32Array(HISTOGRAM_BUCKETS);
  }

  async stop(): Promise<void> {
    await this.#thread.terminate();
    await this.#sink?.stop();
  }
}
