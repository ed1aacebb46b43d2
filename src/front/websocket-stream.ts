// The bytes inside a WebSocket's messages as one stream, so that whoever reads and writes it knows nothing of frames: MQTT
// packets may be split and joined over messages in any way (MQTT 5.0, section 6). It offers what the portable engine asks
// of a net.Socket.
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import type { RawData, WebSocket } from 'ws';

/** As much as a socket brings at once. */
const CHUNK_BYTES_MAX = 64 * 1024;
const CLOSE_NORMAL = 1000;
const CLOSE_GOING_AWAY = 1001;
const CLOSE_UNSUPPORTED_DATA = 1003;
/** To take the close frame, and to answer it. */
const CLOSE_MS = 1000;

export class WebSocketStream extends Duplex {
  readonly #webSocket: WebSocket;
  readonly #socket: Socket;
  /** Messages that one read of the socket has brought. */
  #arrived: Buffer[] = [];
  /** It has sent what isn't MQTT: nothing that follows is either. */
  #isRefused = false;
  /** Of payload, that the socket below has taken. */
  bytesWritten = 0;

  constructor(webSocket: WebSocket, socket: Socket) {
    // A WebSocket has no half that goes on alone: the peer's close ends both.
    super({ allowHalfOpen: true, autoDestroy: true });
    this.#webSocket = webSocket;
    this.#socket = socket;
    webSocket.binaryType = 'nodebuffer';
    webSocket.on('message', (data, isBinary) => this.#onMessage(data, isBinary));
    webSocket.on('close', () => this.#onClose());
    webSocket.on('error', () => {}); // 'close' follows
  }

  /** As a socket's: whoever reads from it next finds its connection reset. */
  resetAndDestroy(): this {
    this.#socket.resetAndDestroy();
    return this.destroy();
  }

  override _read(): void {
    if (this.#webSocket.isPaused) this.#webSocket.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#webSocket.send(chunk, { binary: true }, (error) => {
      if (error == null) this.bytesWritten += chunk.length;
      done(error);
    });
  }

  override _writev(chunks: { chunk: Buffer }[], done: (error?: Error | null) => void): void {
    this._write(Buffer.concat(chunks.map(({ chunk }) => chunk)), 'binary' as BufferEncoding, done);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#webSocket.close(CLOSE_NORMAL);
    done();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    if (this.#webSocket.readyState === this.#webSocket.OPEN) this.#webSocket.close(CLOSE_GOING_AWAY);
    if (this.#webSocket.readyState !== this.#webSocket.CLOSED) {
      setTimeout(() => this.#webSocket.terminate(), CLOSE_MS).unref();
    }
    done(error);
  }

  #onMessage(data: RawData, isBinary: boolean): void {
    if (this.#isRefused) return;
    // [MQTT-6.0.0-1]
    if (!isBinary) this.#refuse();
    else if (this.#arrived.push(data as Buffer) === 1) process.nextTick(() => this.#pass());
  }

  #refuse(): void {
    this.#isRefused = true;
    this.#webSocket.close(CLOSE_UNSUPPORTED_DATA, 'MQTT comes in binary frames');
  }

  // A frame may hold a single byte, and whoever reads a CONNECT in pieces looks at all of it with each piece: what came
  // together is passed on together. A message may be longer than anybody takes at once.
  #pass(): void {
    const bytes = this.#arrived.length === 1 ? this.#arrived[0]! : Buffer.concat(this.#arrived);
    this.#arrived = [];
    if (this.readableEnded || this.destroyed) return;
    let flows = true;
    for (let at = 0; at < bytes.length; at += CHUNK_BYTES_MAX)
      flows = this.push(bytes.subarray(at, at + CHUNK_BYTES_MAX));
    if (!flows) this.#webSocket.pause();
  }

  #onClose(): void {
    if (this.#arrived.length > 0) this.#pass();
    if (this.destroyed) return;
    // Nothing that is written from now on can arrive.
    this.once('end', () => this.destroy());
    this.push(null);
  }
}
