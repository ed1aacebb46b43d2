// Clients that come, are greeted and go, one after another, for as long as it takes: whoever is not greeted is counted.
import { connect } from 'node:net';
import type { TestContext } from 'node:test';
import { connectPacket } from './packets.ts';
import { reset } from './reset.ts';

/** Far longer than any greeting takes; a client that was forgotten in a queue waits for ever. */
const FORGOTTEN_MS = 20_000;

export interface Storm {
  greeted: number;
  /** What befell the others: errno names, "closed" without a word, "forgotten". */
  failures: Record<string, number>;
  /** The longest that a client had to wait, in milliseconds. */
  slowestMs: number;
  end(): Promise<void>;
}

/** `width` clients at a time. Ends with the test at the latest. */
export function startStorm(context: TestContext, port: number, { width = 8 } = {}): Storm {
  let isOver = false;
  const storm: Storm = { greeted: 0, failures: {}, slowestMs: 0, end };
  const loops = Array.from({ length: width }, (_, index) => loop(`storm-${index}`));

  async function loop(name: string): Promise<void> {
    for (let turn = 0; !isOver; turn++) {
      const beganMs = performance.now();
      const outcome = await visit(port, `${name}-${turn}`);
      storm.slowestMs = Math.max(storm.slowestMs, performance.now() - beganMs);
      if (outcome === undefined) storm.greeted++;
      else storm.failures[outcome] = (storm.failures[outcome] ?? 0) + 1;
    }
  }
  async function end(): Promise<void> {
    isOver = true;
    await Promise.all(loops);
  }
  context.after(end);
  return storm;
}

/** undefined when it was greeted. */
function visit(port: number, clientId: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    const settle = (outcome?: string) => {
      clearTimeout(timer);
      reset(socket); // leaves no port waiting
      resolve(outcome);
    };
    const timer = setTimeout(() => settle('forgotten'), FORGOTTEN_MS);
    socket.on('error', (error: NodeJS.ErrnoException) => settle(error.code ?? 'error'));
    socket.on('end', () => settle('closed'));
    socket.once('data', (connack) => settle(connack[0] === 0x20 && connack[3] === 0 ? undefined : 'refused'));
    socket.write(connectPacket({ clientId }));
  });
}
