// What an operator says of a backend, and where clients come to then.
import assert from 'node:assert/strict';
import type { BackendDocument } from '../../src/admin/backend-document.ts';
import { type Administered, startAdministered } from '../tools/administered.ts';
import { type Backend, echo, refusingBackend, startBackend } from '../tools/backends.ts';
import { type Client, connectClient, echoes } from '../tools/client.ts';
import { clientIdsOf } from '../tools/client-ids.ts';
import { testEveryEngine } from '../tools/engines.ts';
import { connackPacket, refusalPacket } from '../tools/packets.ts';
import { waitFor } from '../tools/wait.ts';

const CONNACK = connackPacket(4);
const SERVER_UNAVAILABLE = 3;

async function connectAll({ port }: Administered, clientIds: readonly string[]): Promise<Client[]> {
  const clients = await Promise.all(clientIds.map((clientId) => connectClient(port, { clientId })));
  for (const { connack } of clients) assert.deepEqual(connack, CONNACK);
  return clients;
}

const close = (clients: readonly Client[]) => {
  for (const { socket } of clients) socket.destroy();
};

async function documentOf(balancer: Administered, address: string): Promise<BackendDocument> {
  const { pools } = await balancer.status();
  return pools[0]!.backends.find((backend) => backend.address === address)!;
}

for (const state of ['drain', 'down'] as const) {
  testEveryEngine(
    `a backend that an operator sets to ${state} keeps its clients and gets no new ones, until it is up again`,
    async (engine, context) => {
      const [first, second] = [await startBackend(context, echo), await startBackend(context, echo)];
      const addresses = [first.address, second.address];
      const balancer = await startAdministered(context, { engine, backends: addresses });
      const own = clientIdsOf(first.address, addresses, 30);
      const before = await connectAll(balancer, own.slice(0, 10));
      const answer = await balancer.setState(first.address, state);
      assert.equal(answer.status, 200);
      const { reason, share, operator, judged, ...document }: BackendDocument = JSON.parse(answer.text);
      assert.deepEqual([document.state, operator, judged.state, share], [state, state, 'up', 0]);
      assert.equal(reason, 'set by an operator');
      assert.ok(Math.abs(Date.parse(document.since) - Date.now()) < 5000);

      const meanwhile = await connectAll(balancer, own.slice(10, 20));
      assert.deepEqual([first.connections, second.connections], [10, 10]);
      for (const client of [...before, ...meanwhile]) assert.ok(await echoes(client));

      const { text } = await balancer.setState(first.address, 'up');
      assert.deepEqual([JSON.parse(text).state, JSON.parse(text).operator], ['up', 'up']);
      const after = await connectAll(balancer, own.slice(20));
      assert.deepEqual([first.connections, second.connections], [20, 10]);
      for (const client of [...before, ...meanwhile]) assert.ok(await echoes(client), 'nobody is moved');
      close([...before, ...meanwhile, ...after]);
    },
  );
}

testEveryEngine("an operator's word outlives a worker", async (engine, context) => {
  const [first, second] = [await startBackend(context, echo), await startBackend(context, echo)];
  const addresses = [first.address, second.address];
  const balancer = await startAdministered(context, { engine, backends: addresses, mayDie: true });
  await balancer.setState(first.address, 'drain');
  await balancer.tidegate.supervisor.terminate(0);
  await waitFor('worker that is back', async () => (await balancer.ask('/readyz')).status === 200);
  const clients = await connectAll(balancer, clientIdsOf(first.address, addresses, 5));
  assert.deepEqual([first.connections, second.connections], [0, 5]);
  close(clients);
});

testEveryEngine('probes go on behind an operator, and change nothing for clients', async (engine, context) => {
  const gone = refusingBackend(context);
  const other = await startBackend(context, echo);
  const addresses = [gone.address, other.address];
  const health = { type: 'tcp', interval: '50ms', timeout: '500ms', rise: 1, fall: 1 };
  const balancer = await startAdministered(context, { engine, backends: addresses, health });
  const untilJudged = (state: string) =>
    waitFor(`backend that is ${state}`, async () => (await documentOf(balancer, gone.address)).judged.state === state);
  await untilJudged('down');
  await balancer.setState(gone.address, 'drain');
  gone.free();
  const back: Backend = await startBackend(context, echo, { port: gone.port });
  await untilJudged('up');
  const { state, operator, probe } = await documentOf(balancer, gone.address);
  assert.deepEqual([state, operator, probe?.verdict], ['drain', 'drain', 'pass']);
  assert.ok(
    balancer.messages.some((message) => message.startsWith(`backend ${gone.address} takes clients: `)) &&
      balancer.messages.some((message) => message.endsWith('; an operator keeps it in drain')),
  );
  const own = clientIdsOf(gone.address, addresses, 10);
  const away = await connectAll(balancer, own.slice(0, 5));
  assert.equal((await documentOf(balancer, gone.address)).connections, 0);
  await balancer.setState(gone.address, 'up');
  const home = await connectAll(balancer, own.slice(5));
  assert.equal((await documentOf(balancer, gone.address)).connections, 5);
  assert.ok(back.connections >= 5);
  close([...away, ...home]);
});

testEveryEngine(
  'a backend that an operator has set to down starts slowly when it is up again, after a drain at once',
  async (engine, context) => {
    const [first, second] = [await startBackend(context, echo), await startBackend(context, echo)];
    const addresses = [first.address, second.address];
    const balancer = await startAdministered(context, { engine, backends: addresses, slowStart: '10m' });
    assert.equal((await documentOf(balancer, first.address)).share, 1, 'at start nobody has lost clients');
    await balancer.setState(first.address, 'drain');
    const drained: BackendDocument = JSON.parse((await balancer.setState(first.address, 'up')).text);
    assert.equal(drained.share, 1);
    for (const words of [['down'], ['down', 'drain']] as const) {
      for (const word of words) await balancer.setState(first.address, word);
      const { text } = await balancer.setState(first.address, 'up');
      const { state, share }: BackendDocument = JSON.parse(text);
      assert.equal(state, 'up');
      assert.ok(share < 0.1, `${share} after ${words}`);
    }
    const clients = await connectAll(balancer, clientIdsOf(first.address, addresses, 50));
    assert.ok(first.connections < 20 && first.connections + second.connections === 50, `${first.connections} of 50`);
    close(clients);
  },
);

testEveryEngine('when an operator has taken every backend, clients are refused in words', async (engine, context) => {
  const backend = await startBackend(context, echo);
  const balancer = await startAdministered(context, { engine, backends: [backend.address] });
  await balancer.setState(backend.address, 'drain');
  const { connack } = await connectClient(balancer.port);
  assert.deepEqual(connack, refusalPacket(4, SERVER_UNAVAILABLE));
  assert.equal(backend.connections, 0);
});
