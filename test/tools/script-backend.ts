// A broker that checks: it reads CONNECT, answers CONNACK, and then plays the script that came as the CONNECT's user
// name. It lives in a process of its own, so that big transfers use another core, and memory and descriptors of the
// test's process are only the balancer's and the clients'.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import type { TestContext } from 'node:test';
import { parser } from 'mqtt-packet';
import { connackPacket, firstPacket } from './packets.ts';
import { type Outcome, play, type Script } from './play.ts';

export interface ScriptBackend {
  /** host:port of the server that plays scripts. */
  script: string;
  /** host:port of the server that sends everything back that comes, the CONNECT too. */
  mirror: string;
  /** What became of these ClientIds' scripts, null for one never heard of; waits for those that still play. */
  outcomes(clientIds: readonly string[]): Promise<(Outcome | null)[]>;
  /** Connections that were accepted so far, and bytes that the mirror has seen. */
  seen(): Promise<Seen>;
}

export interface Seen {
  connections: number;
}

type Question = { id: number; outcomes: readonly string[] } | { id: number; seen: true };

export async function startScriptBackend(context: TestContext): Promise<ScriptBackend> {
  const child = fork(import.meta.filename, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  const [addresses] = (await once(child, 'message')) as [{ script: string; mirror: string }];
  context.after(() => child.disconnect());
  let asked = 0;
  return {
    ...addresses,
    outcomes: (clientIds) => ask(child, { id: ++asked, outcomes: clientIds }),
    seen: () => ask(child, { id: ++asked, seen: true }),
  };
}

function ask<Answer>(child: ChildProcess, question: Question): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const onMessage = (message: { id: number; answer: Answer }) => {
      if (message.id !== question.id) return;
      child.off('message', onMessage);
      child.off('exit', onExit);
      resolve(message.answer);
    };
    const onExit = () => reject(new Error('the backend process has ended'));
    child.on('message', onMessage);
    child.on('exit', onExit);
    child.send(question);
  });
}

// ---- The process itself ----------------------------------------------------------------------------------------------

const playing = new Map<string, Promise<Outcome>>();
const seen: Seen = { connections: 0 };

if (process.argv[1] === import.meta.filename) await serve();

async function serve(): Promise<void> {
  const script = await listen(onScriptConnection);
  const mirror = await listen(onMirrorConnection);
  process.on('message', (question: Question) => void answer(question));
  process.on('disconnect', () => process.exit(0));
  process.send!({ script, mirror });
}

async function answer(question: Question): Promise<void> {
  const answer = 'seen' in question ? seen : await Promise.all(question.outcomes.map((id) => playing.get(id) ?? null));
  process.send!({ id: question.id, answer });
}

async function listen(onConnection: (socket: Socket) => void): Promise<string> {
  const server: Server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    seen.connections++;
    onConnection(socket);
  });
  await once(server.listen({ host: '127.0.0.1', port: 0, backlog: 4096 }), 'listening');
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function onMirrorConnection(socket: Socket): void {
  socket.on('error', () => {});
  socket.pipe(socket);
}

async function onScriptConnection(socket: Socket): Promise<void> {
  socket.on('error', () => {});
  const packet = await firstPacket(socket);
  if (packet === undefined) return;
  const { clientId, username, protocolVersion } = parseConnect(packet);
  socket.write(connackPacket(protocolVersion));
  playing.set(clientId, play(socket, JSON.parse(username) as Script));
}

function parseConnect(packet: Buffer): { clientId: string; username: string; protocolVersion: number } {
  const found = { clientId: '', username: '{}', protocolVersion: 4 };
  const reader = parser();
  reader.on('packet', (connect) => Object.assign(found, connect));
  reader.parse(packet);
  return { ...found, username: String(found.username) };
}
