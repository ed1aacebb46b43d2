// Clients of one name that throw each other out at their broker: seen, said once, slowed, and nobody else is.
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import type { EngineName } from '../../src/index.ts';
import { type Backend, startBackend } from '../tools/backends.ts';
import { type Balancer, startBalancer } from '../tools/balancer.ts';
import { nextBytes } from '../tools/client.ts';
import { testEveryEngine } from '../tools/engines.ts';
import { connackPacket, connectPacket, refusalPacket } from '../tools/packets.ts';
import { waitFor } from '../tools/wait.ts';

const RATE_EXCEEDED = 0x9f;
const IN = connackPacket(5).toString('hex');
const PAUSED = refusalPacket(5, RATE_EXCEEDED).toString('hex');

/** Keeps one session of a ClientId, and ends the older one, at once or a while, before it answers the newer, as brokers do. */
function jealousBroker(context: TestContext, answerAfterMs: number): Promise<Backend> {
  const sessions = new Map<string, { destroy(): void }>();
  return startBackend(context, (socket) => {
    socket.once('data', (bytes: Buffer) => {
      const id = bytes.toString('latin1').match(/device-[^\0]*/)?.[0] ?? '';
      sessions.get(id)?.destroy();
      sessions.set(id, socket);
      const answer = () => socket.write(id.includes('stranger') ? refusalPacket(5, 0x87) : connackPacket(5));
      if (answerAfterMs > 0) setTimeout(answer, answerAfterMs);
      else answer();
    });
    socket.on('end', () => socket.end());
  });
}

interface Setup {
  engine: EngineName;
  workers?: number;
  loop?: object | 'off';
  answerAfterMs?: number;
}

async function setUp(context: TestContext, setup: Setup): Promise<Balancer> {
  const { engine, workers = 1, loop = {}, answerAfterMs = 0 } = setup;
  const { address } = await jealousBroker(context, answerAfterMs);
  return startBalancer(context, { engine, workers, backends: [address], listener: { take_over_loop: loop } });
}

/** Stays until its broker ends it, or the test does; what it was told. */
async function come(context: TestContext, balancer: Balancer, clientId: string, from = '127.0.0.1'): Promise<string> {
  const socket = balancer.connect(from).on('error', () => {});
  context.after(() => socket.destroy());
  socket.write(connectPacket({ version: 5, clientId }));
  const answer = await nextBytes(socket);
  socket.on('end', () => socket.end()).resume();
  return answer.toString('hex');
}

/** By turns from two addresses, until one is refused; how many were let in before. */
async function fight(context: TestContext, balancer: Balancer, clientId: string): Promise<number> {
  let admitted = 0;
  await waitFor('a refusal', async () => {
    const answer = await come(context, balancer, clientId, `127.0.0.${1 + (admitted % 2)}`);
    if (answer === PAUSED) return true;
    assert.equal(answer, IN);
    admitted += 1;
    return undefined;
  });
  return admitted;
}

function lines({ messages }: Balancer): string[] {
  return messages.filter((message) => message.startsWith('take-over loop'));
}

for (const workers of [1, 2]) {
  testEveryEngine(`two clients of one name are slowed, with ${workers} workers`, async (engine, context) => {
    const loop = { take_overs: 4, pause: '60s' };
    const balancer = await setUp(context, { engine, workers, loop });
    const admitted = await fight(context, balancer, 'device-7');
    assert.ok(admitted > 4, `${admitted} were let in`);
    assert.equal(await come(context, balancer, 'device-7'), PAUSED);
    assert.equal(await come(context, balancer, 'device-8'), IN, 'nobody else has to pause');
    const [line, ...others] = lines(balancer);
    assert.match(line!, /^take-over loop: ClientId "device-7" was taken over \d+ times in [\d.]+ s/);
    assert.match(line!, /127\.0\.0\.1, 127\.0\.0\.2|127\.0\.0\.2, 127\.0\.0\.1/);
    assert.deepEqual(others, [], 'it is said once');
    const { counters } = balancer.tidegate.status();
    assert.ok(counters.take_over_loop! >= 1);
    const events = balancer.tidegate.events().filter(({ event }) => event === 'take_over_loop');
    assert.deepEqual(
      events.map(({ details }) => details.clientId),
      ['device-7'],
    );
  });
}

testEveryEngine('nobody is in while the broker takes its time to answer, and has not gone', async (engine, context) => {
  const loop = { take_overs: 2, pause: '60s' };
  const balancer = await setUp(context, { engine, loop, answerAfterMs: 500 });
  await fight(context, balancer, 'device-7');
  await waitFor('the line', () => lines(balancer).length > 0);
  assert.match(lines(balancer)[0]!, /^take-over loop: ClientId "device-7"/);
  assert.equal(await come(context, balancer, 'device-7'), PAUSED);
});

testEveryEngine('pauses grow, and end', async (engine, context) => {
  const balancer = await setUp(context, { engine, loop: { take_overs: 2, pause: '300ms', pause_max: '600ms' } });
  for (let round = 0; round < 3; round++) await fight(context, balancer, 'device-1');
  const answer = await waitFor('the end of the pause', async () => {
    const said = await come(context, balancer, 'device-1');
    return said === IN ? said : undefined;
  });
  assert.equal(answer, IN);
  assert.equal(lines(balancer).length, 1);
});

testEveryEngine('a client that comes back again and again takes nobody’s place', async (engine, context) => {
  const balancer = await setUp(context, { engine, workers: 2, loop: { take_overs: 2, pause: '60s' } });
  for (let turn = 0; turn < 12; turn++) {
    const socket = balancer.connect().on('error', () => {});
    socket.write(connectPacket({ version: 5, clientId: 'device-1' }));
    assert.equal((await nextBytes(socket)).toString('hex'), IN);
    socket.end();
    await new Promise((resolve) => socket.resume().once('end', resolve));
    await balancer.idle();
  }
  assert.deepEqual(lines(balancer), []);
});

testEveryEngine('whom the broker refuses takes nobody’s place', async (engine, context) => {
  const balancer = await setUp(context, { engine, loop: { take_overs: 2, pause: '60s' } });
  for (let turn = 0; turn < 8; turn++) {
    assert.equal(await come(context, balancer, 'device-stranger'), refusalPacket(5, 0x87).toString('hex'));
  }
  assert.deepEqual(lines(balancer), []);
});

testEveryEngine('without the look for loops nobody is refused', async (engine, context) => {
  const balancer = await setUp(context, { engine, loop: 'off' });
  for (let turn = 0; turn < 12; turn++) assert.equal(await come(context, balancer, 'device-1'), IN);
  assert.deepEqual(lines(balancer), []);
});

testEveryEngine('a ClientId can’t forge a line of the log', async (engine, context) => {
  const balancer = await setUp(context, { engine, loop: { take_overs: 2, pause: '60s' } });
  await fight(context, balancer, 'device-1"; all is well\u2028take-over');
  const [line] = lines(balancer);
  assert.match(line!, /ClientId "device-1\\x22; all is well\\xE2\\x80\\xA8take-over" was/);
});
