// The thread of a WebSocket load: clients that wait for one another's turn in nothing, and perhaps their broker.
import { connect, createServer, type Socket } from 'node:net';
import { parentPort, workerData } from 'node:worker_threads';
import { generate } from 'mqtt-packet';
import { publishPacket } from './packets.ts';
import { CONNECTED, FAILED, MESSAGES, OPEN, type WebSocketThreadStart } from './websocket-load.ts';

const DIALS_MAX = 64;
const REQUEST =
  'GET /mqtt HTTP/1.1\r\nHost: bench\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n' +
  'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n';
const RESPONSE =
  'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
  'Sec-WebSocket-Accept: ICX+Yqv66kxgM0FcWaLWlFLwTAI=\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n';
const HEAD_END = '\r\n\r\n';
const CONNACK = Buffer.of(0x20, 2, 0, 0);

const { port, clients, messageBytes, counters, sink } = workerData as WebSocketThreadStart;
const message = publishPacket(messageBytes);
const sent = frame(message, true);
const answer = frame(message, false);
const connack = frame(CONNACK, false);
/** Those that have their CONNACK. */
const ready: Socket[] = [];
let isPaused = true;
let dialled = 0;

if (sink !== undefined) for (const host of sink.hosts) createServer({ noDelay: true }, serve).listen(sink.port, host);
for (let dial = 0; dial < Math.min(DIALS_MAX, clients); dial++) dialNext();
parentPort!.on('message', (word) => {
  isPaused = word === 'pause';
  if (!isPaused) for (const client of ready.splice(0)) client.write(sent);
});

/** With a mask of zeros, which is one like any other, and leaves the bytes as they are. */
function frame(payload: Buffer, isMasked: boolean): Buffer {
  const { length } = payload;
  const size = length < 126 ? Buffer.of(length) : Buffer.of(126, length >> 8, length & 255);
  if (isMasked) size[0]! |= 0x80;
  return Buffer.concat([Buffer.of(0x82), size, Buffer.alloc(isMasked ? 4 : 0), payload]);
}

function dialNext(): void {
  if (dialled === clients) return;
  const clientId = String(++dialled).padStart(10, '0');
  const client = connect({ host: '127.0.0.1', port, noDelay: true });
  client.write(REQUEST);
  client.on('error', () => {}).on('close', () => (counters[FAILED]! += 1));
  const connectFrame = frame(generate({ cmd: 'connect', clientId, clean: true, keepalive: 0 }), true);
  afterHead(
    client,
    () => client.write(connectFrame),
    () => play(client),
  );
}

/** Looks for the end of an HTTP head, then for a CONNACK. */
function afterHead(client: Socket, onHead: () => void, onWelcome: () => void): void {
  let heard = Buffer.alloc(0);
  let head = 0;
  client.on('data', function listen(bytes) {
    heard = Buffer.concat([heard, bytes]);
    if (head === 0) {
      head = heard.indexOf(HEAD_END) + HEAD_END.length;
      if (head < HEAD_END.length) head = 0;
      else onHead();
    }
    if (head === 0 || heard.length < head + connack.length) return;
    client.off('data', listen);
    onWelcome();
  });
}

function play(client: Socket): void {
  counters[CONNECTED]! += 1;
  counters[OPEN]! += 1;
  dialNext();
  let left = answer.length;
  client.on('data', (bytes) => {
    left -= bytes.length;
    if (left > 0) return;
    left = answer.length;
    counters[MESSAGES]! += 1;
    if (isPaused) ready.push(client);
    else client.write(sent);
  });
  if (isPaused) ready.push(client);
  else client.write(sent);
}

/** A broker's end: every message comes back. */
function serve(socket: Socket): void {
  let expected = 0;
  let phase: 'request' | 'connect' | 'messages' = 'request';
  socket
    .on('error', () => {})
    .on('data', (bytes) => {
      if (phase === 'request') {
        phase = 'connect';
        socket.write(RESPONSE);
      } else if (phase === 'connect') {
        phase = 'messages';
        socket.write(connack);
      } else {
        expected += bytes.length;
        for (; expected >= sent.length; expected -= sent.length) socket.write(answer);
      }
    });
}
