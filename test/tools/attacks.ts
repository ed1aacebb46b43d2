// What attackers do, each as a function that resolves when they stand, with one that ends them and tells what happened.
import { connect, type Socket } from 'node:net';
import { duplexPair } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect as connectTls } from 'node:tls';
import { BINARY, CLOSE, CONTINUATION, encodeFrame, type Frame, PING, readFrames, TEXT } from '../packet-fuzz/frames.ts';
import { connectPacket, PINGREQ } from './packets.ts';
import { inParallel, range } from './parallel.ts';
import { binaryHeader, SIGNATURE, textHeader } from './proxy-headers.ts';
import { reset } from './reset.ts';

export interface AttackOptions {
  name: keyof typeof attacks;
  port: number;
  count: number;
  /** Whoever comes from here is let in where others aren't. */
  from?: string;
  clientIds?: string[];
}

export type Tally = Record<string, number>;
export type Attack = (options: AttackOptions) => Promise<() => Promise<Tally>>;

const HOST = '127.0.0.1';
const AT_ONCE = 100;
/** Source addresses, so that ports last. */
const ADDRESSES = 100;
const ANSWER_MS = 20_000;

export const attacks = {
  slowConnect,
  slowReader,
  slowHandshake,
  largeConnect,
  hugeLengths,
  proxySpoofing,
  webSocketLies,
  webSocketHoarding,
  chosenClientIds,
} satisfies Record<string, Attack>;

function open({ port, from }: AttackOptions, index: number): Promise<Socket | undefined> {
  const localAddress = from ?? `127.0.3.${1 + (index % ADDRESSES)}`;
  const socket = connect({ host: HOST, port, localAddress, noDelay: true });
  socket.on('error', () => {});
  return new Promise((resolve) => {
    socket.once('connect', () => resolve(socket));
    socket.once('close', () => resolve(undefined));
  });
}

/** Opens them all; the tally says how many there were, and how many of them were closed by the other end. */
async function openAll(
  options: AttackOptions,
  begin: (socket: Socket, index: number) => void,
): Promise<{ sockets: Set<Socket>; end: () => Promise<Tally> }> {
  const sockets = new Set<Socket>();
  const tally = { opened: 0, closed: 0 };
  await inParallel(AT_ONCE, range(options.count), async (index) => {
    const socket = await open(options, index);
    if (socket === undefined) return;
    tally.opened += 1;
    sockets.add(socket);
    socket.on('close', () => {
      if (sockets.delete(socket)) tally.closed += 1;
    });
    socket.on('end', () => socket.destroy());
    begin(socket, index);
  });
  const end = async () => {
    const all = [...sockets];
    sockets.clear();
    for (const socket of all) reset(socket);
    return tally;
  };
  return { sockets, end };
}

// ---- MQTT ------------------------------------------------------------------------------------------------------------

/** A byte each second of a CONNECT that never ends. */
async function slowConnect(options: AttackOptions) {
  const bytes = connectPacket({ clientId: 'slow', username: 'x'.repeat(500) });
  const sent = new Map<Socket, number>();
  const { sockets, end } = await openAll(options, (socket) => {
    sent.set(socket, 1);
    socket.resume().write(bytes.subarray(0, 1));
  });
  let tick = 0;
  const timer = setInterval(() => {
    tick += 1;
    for (const [index, socket] of [...sockets].entries()) {
      if (index % 10 !== tick % 10) continue;
      const at = sent.get(socket)!;
      sent.set(socket, at + 1);
      socket.write(bytes.subarray(at, at + 1));
    }
  }, 100);
  return () => {
    clearInterval(timer);
    return end();
  };
}

/** Welcome clients, who ask and ask and never read an answer. */
async function slowReader(options: AttackOptions) {
  const { sockets, end } = await openAll(options, (socket, index) => {
    socket.pause().write(connectPacket({ clientId: `flood-${index}` }));
  });
  const timer = setInterval(() => {
    for (const socket of sockets) socket.write(PINGREQ);
  }, 100);
  return () => {
    clearInterval(timer);
    return end();
  };
}

/** As much of a CONNECT as is allowed, but for its last bytes. */
async function largeConnect(options: AttackOptions) {
  const whole = connectPacket({ clientId: 'large', username: 'x'.repeat(65_000) });
  const { end } = await openAll(options, (socket) => socket.resume().write(whole.subarray(0, -100)));
  return end;
}

/** Lengths that promise much. Who is still listened to afterwards says on and on what was promised. */
async function hugeLengths(options: AttackOptions) {
  const v5 = (properties: string) => Buffer.from(`10ffff0300044d5154540502003c${properties}`, 'hex');
  const claims = [
    Buffer.from('10ffffff7f00044d51545404', 'hex'), // a CONNECT of 268,435,455 bytes
    Buffer.from('10ffff0300044d5154540402003cffff', 'hex'), // of 65,535 bytes, with a ClientId that is as long
    v5('ffffff7f'), // properties as long as that
    Buffer.from('10ffffffffff7f', 'hex'), // a length that has no end
    Buffer.concat([connectPacket({ clientId: 'publisher' }), Buffer.from('30ffffff7f000161', 'hex')]),
  ];
  const chunk = Buffer.alloc(16_384, 'x');
  const { end } = await openAll(options, (socket, index) => {
    // A broker believes the last of them: that one is tried less often.
    const claim = claims[index % 50 === 0 ? 4 : index % 4]!;
    socket.resume().write(claim);
    for (let count = 0; count < 16; count++) socket.write(chunk);
  });
  return end;
}

/** Welcome clients under names that were chosen. */
async function chosenClientIds(options: AttackOptions) {
  const { end } = await openAll(options, (socket, index) => {
    socket.resume().write(connectPacket({ clientId: options.clientIds![index]!, keepAlive: 0 }));
  });
  return end;
}

// ---- PROXY headers ---------------------------------------------------------------------------------------------------

/** Headers from somebody who isn't a front, or headers that lie. Nobody is to be greeted. */
async function proxySpoofing(options: AttackOptions) {
  const ends = { source: { host: '10.1.2.3', port: 1 }, destination: { host: '10.1.2.4', port: 2 } };
  const good = binaryHeader({ ...ends, checksum: true });
  const wrongSum = good.with(good.length - 1, good.at(-1)! ^ 1);
  const withLength = (length: number) =>
    Buffer.concat([SIGNATURE, Buffer.of(0x21, 0x11, length >> 8, length & 255), good.subarray(16)]);
  const lies: Uint8Array[] = [
    wrongSum,
    withLength(0xffff),
    withLength(4081),
    withLength(11),
    withLength(13),
    Buffer.concat([withLength(16), Buffer.of(4, 0xff, 0xff, 0)]),
    Buffer.concat([SIGNATURE, Buffer.from('2131ffff', 'hex')]),
    Buffer.from('PROXY TCP4 10.1.2.3 10.1.2.4 1 99999\r\n'),
    Buffer.from(`PROXY TCP4 ${'1'.repeat(200)}`),
    Buffer.from('PROXY UNKNOWN'.padEnd(120, ' x')),
    connectPacket({ clientId: 'without-header' }),
  ];
  const headers = options.from === undefined ? [good, textHeader(ends.source, ends.destination)] : lies;
  return visitAll(options, (index) => {
    return Buffer.concat([headers[index % headers.length]!, connectPacket({ clientId: `spoofed-${index}` })]);
  });
}

/** Each says its bytes, and waits for the other end to close. The tally counts those who heard something first. */
async function visitAll(options: AttackOptions, bytesOf: (index: number) => Buffer) {
  const tally: Tally = { visits: 0, answered: 0, closed: 0, forgotten: 0 };
  await inParallel(AT_ONCE, range(options.count), async (index) => {
    const socket = await open(options, index);
    tally.visits! += 1;
    const outcome = socket === undefined ? 'closed' : await outcomeOf(socket, bytesOf(index));
    tally[outcome] = (tally[outcome] ?? 0) + 1;
  });
  return async () => tally;
}

function outcomeOf(socket: Socket, bytes: Buffer): Promise<'answered' | 'closed' | 'forgotten'> {
  return new Promise((resolve) => {
    const settle = (outcome: 'answered' | 'closed' | 'forgotten') => {
      clearTimeout(timer);
      reset(socket);
      resolve(outcome);
    };
    const timer = setTimeout(settle, ANSWER_MS, 'forgotten');
    socket.once('data', () => settle('answered'));
    socket.once('end', () => settle('closed'));
    socket.once('close', () => settle('closed'));
    socket.write(bytes);
  });
}

// ---- TLS -------------------------------------------------------------------------------------------------------------

/** Handshakes that stop at every point, begun again when they are ended. */
async function slowHandshake(options: AttackOptions) {
  const hello = await clientHello();
  let isOver = false;
  const tally = { opened: 0, closed: 0 };
  const sockets = new Set<Socket>();
  const one = async (index: number) => {
    while (!isOver) {
      const socket = await open(options, index);
      if (socket === undefined) {
        await sleep(500);
        continue;
      }
      tally.opened += 1;
      sockets.add(socket);
      socket.resume().write(hello.subarray(0, [0, 1, 5, hello.length >> 1, hello.length - 1, hello.length][index % 6]));
      await new Promise((resolve) => socket.once('end', () => socket.destroy()).once('close', resolve));
      sockets.delete(socket);
      tally.closed += 1;
      await sleep(500 * Math.random());
    }
  };
  for (const index of range(options.count)) {
    void one(index);
    if (index % AT_ONCE === 0) await sleep(20);
  }
  return async () => {
    isOver = true;
    for (const socket of sockets) reset(socket);
    return tally;
  };
}

/** As node:tls says it. */
function clientHello(): Promise<Buffer> {
  const [near, far] = duplexPair();
  connectTls({ socket: near, servername: 'localhost', ALPNProtocols: ['mqtt'] }).on('error', () => {});
  return new Promise((resolve) => far.once('data', resolve));
}

// ---- WebSocket -------------------------------------------------------------------------------------------------------

const UPGRADE = Buffer.from(
  'GET /mqtt HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n' +
    'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n',
);
const MASK = Buffer.of(1, 2, 3, 4);
const NOTHING = Buffer.alloc(0);

/** Frames that no client may send. Each must be closed, for the reason that the standard gives. */
async function webSocketLies(options: AttackOptions) {
  const lie = (frame: Partial<Frame>) => encodeFrame({ opcode: BINARY, payload: NOTHING, mask: MASK, ...frame });
  const lies: [bytes: Buffer, code: number][] = [
    [lie({ mask: undefined, payload: Buffer.from('not masked') }), 1002],
    [lie({ reserved: 0x40 }), 1002],
    [lie({ reserved: 0x10 }), 1002],
    [lie({ opcode: 5 }), 1002],
    [lie({ length: 2n ** 63n }), 1009],
    [lie({ length: 2n ** 64n - 1n }), 1009],
    [lie({ length: 2n ** 40n }), 1009],
    [lie({ opcode: PING, payload: Buffer.alloc(126) }), 1002],
    [lie({ opcode: PING, isLast: false }), 1002],
    [lie({ opcode: CLOSE, payload: Buffer.of(1) }), 1002],
    [lie({ opcode: CONTINUATION }), 1002],
    [Buffer.concat([lie({ isLast: false }), lie({})]), 1002],
    [lie({ opcode: TEXT, payload: connectPacket({ clientId: 'text' }).fill(65) }), 1003],
    [lie({ opcode: TEXT, payload: Buffer.of(0xff, 0xfe) }), 1007],
    [
      Buffer.concat(
        Array.from({ length: 40_000 }, (_, index) =>
          lie({ opcode: index === 0 ? BINARY : 0, isLast: false, payload: Buffer.of(0) }),
        ),
      ),
      1008,
    ],
  ];
  const tally: Tally = {};
  await inParallel(AT_ONCE, range(options.count), async (index) => {
    const socket = await open(options, index);
    const [bytes, code] = lies[index % lies.length]!;
    const outcome = socket === undefined ? 'not open' : await closeCodeOf(socket, bytes, code);
    tally[outcome] = (tally[outcome] ?? 0) + 1;
  });
  return async () => tally;
}

/** "right", or what was said instead. */
function closeCodeOf(socket: Socket, bytes: Buffer, code: number): Promise<string> {
  let heard = NOTHING;
  return new Promise((resolve) => {
    const settle = () => {
      clearTimeout(timer);
      reset(socket);
      const head = heard.indexOf('\r\n\r\n') + 4;
      const found = readFrames(heard.subarray(head), 'server').code;
      resolve(found === code ? 'right' : `${found} for ${code}`);
    };
    const timer = setTimeout(settle, ANSWER_MS);
    socket.on('data', (more) => {
      heard = Buffer.concat([heard, more]);
    });
    socket.once('end', settle);
    socket.once('close', settle);
    socket.write(Buffer.concat([UPGRADE, bytes]));
  });
}

/** Messages that never end, in frames large and small, and pings whose answers are never read. */
async function webSocketHoarding(options: AttackOptions) {
  const begin = encodeFrame({ opcode: BINARY, payload: Buffer.alloc(4000, 'x'), isLast: false, mask: MASK });
  const more = encodeFrame({ opcode: CONTINUATION, payload: Buffer.alloc(60_000, 'x'), isLast: false, mask: MASK });
  const tiny = Buffer.concat(
    Array.from({ length: 1000 }, () =>
      encodeFrame({ opcode: CONTINUATION, payload: Buffer.of(0), isLast: false, mask: MASK }),
    ),
  );
  const pings = Buffer.concat(
    Array.from({ length: 1000 }, () => encodeFrame({ opcode: PING, payload: Buffer.alloc(125), mask: MASK })),
  );
  const talk = (socket: Socket, bytes: Buffer) => {
    const go = () => {
      while (socket.writable && socket.write(bytes));
    };
    socket.on('drain', go);
    go();
  };
  const { end } = await openAll(options, (socket, index) => {
    socket.pause().write(UPGRADE);
    if (index % 3 === 2) {
      socket.write(encodeFrame({ opcode: BINARY, payload: connectPacket({ clientId: `pings-${index}` }), mask: MASK }));
      talk(socket, pings);
      return;
    }
    socket.write(begin);
    if (index % 3 === 1) for (let count = 0; count < 16; count++) socket.write(tiny);
    else for (let count = 0; count < 17; count++) socket.write(more);
  });
  return end;
}
