// One balancer's run, in the order in which it is lived: it starts empty, everybody connects, stays, one backend is drained,
// everybody leaves.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Sample } from '../swarm-watch.ts';
import { Admin } from './admin.ts';
import { type BalancerKind, startBalancer, tidegate } from './balancers.ts';
import type { Child } from './children.ts';
import { Swarm, startSink, thinned } from './ends.ts';
import { growthByKind, kernelMemory, sumOf } from './kernel-memory.ts';
import { coresBetween, type Look, look } from './look.ts';
import { drain, lookAround } from './operator.ts';
import type { EndsCost, Run } from './results.ts';
import { backendsFor, sourcesFor, targetsFor } from './size.ts';
import { allConnected, sinkEmpty, until } from './waiting.ts';

/** After a start, and after everybody has left: for what is compiled, collected and freed late. */
const SETTLE_MS = 3000;
const LEFT_SHARE = 0.1;
const BACK_TIMEOUT_MS = 20_000;
const PORT = 28_860;
const ADMIN_PORT = 28_861;
const SINK_PORT = 28_862;
/** Sessions on which the cost of both ends is measured: the more, the less other programs matter. */
const ENDS_CONNECTIONS = 60_000;

export interface Plan {
  connections: number;
  /** What does not allow more. */
  limit: string;
  /** Connects a second. */
  rate: number;
  holdSeconds: number;
  keepAliveSeconds: number;
  /** RLIMIT_NOFILE. */
  descriptors: number;
}

export interface Stage {
  /** Everything is called off when it is aborted. */
  signal: AbortSignal;
  onLine(line: Sample): void;
  say(text: string): void;
}

/** What both ends cost the kernel for each session when nobody stands between them. */
export async function measureEnds(plan: Plan, { signal, onLine }: Stage): Promise<EndsCost> {
  const connections = Math.min(plan.connections, ENDS_CONNECTIONS);
  const targets = targetsFor(connections).map((host) => `${host}:${SINK_PORT}`);
  const sink = await startSink(SINK_PORT, connections, signal);
  await sleep(SETTLE_MS, undefined, { signal });
  const before = look({ balancer: 0, swarm: 0, sink: sink.pid });
  const swarm = new Swarm({ ...plan, connections, targets }, onLine);
  await allConnected(swarm, connections, [sink], signal);
  await sleep(SETTLE_MS, undefined, { signal });
  const after = look({ balancer: 0, swarm: swarm.child.pid, sink: sink.pid });
  await swarm.close();
  await sinkEmpty(sink, [], signal);
  await sink.stop();
  const sockets = after.sockets - before.sockets;
  return {
    connections,
    kernelBytes: (2 * (sumOf(after.kernel) - sumOf(before.kernel))) / sockets,
    kernelBytesByKind: growthByKind(before.kernel, after.kernel, connections),
  };
}

export async function runThrough(kind: BalancerKind, plan: Plan, ends: EndsCost, stage: Stage): Promise<Run> {
  const { connections, limit, holdSeconds, keepAliveSeconds, descriptors } = plan;
  const { signal, onLine, say } = stage;
  const backends = backendsFor(connections).map((host) => `${host}:${SINK_PORT}`);
  const sink = await startSink(SINK_PORT, connections, signal);
  const sources = sourcesFor(connections);
  const job = { connections, descriptors, port: PORT, adminPort: ADMIN_PORT, backends, sources };
  const balancer = await startBalancer(kind, job, signal);
  say(`${kind.title}: ready after ${(balancer.readyMs / 1000).toFixed(1)} s, ${balancer.workers}`);
  await sleep(SETTLE_MS, undefined, { signal });
  await balancer.collect();
  const others = [balancer.child, sink];
  const empty = look({ balancer: balancer.child.pid, swarm: 0, sink: sink.pid });

  const targets = targetsFor(connections).map((host) => `${host}:${PORT}`);
  const swarm = new Swarm({ ...plan, targets }, onLine);
  const pids = { balancer: balancer.child.pid, swarm: swarm.child.pid, sink: sink.pid };
  const marks: Run['marks'] = [];
  const mark = (name: string): void => void marks.push({ seconds: swarm.seconds, name });
  await allConnected(swarm, connections, others, signal);
  mark('connected');
  const connected = look(pids);
  const { failed, seconds } = swarm.line!;

  await until(() => false, [swarm.child, ...others], signal, holdSeconds * 1000);
  await balancer.collect();
  const held = look(pids);
  const { lost, hold } = swarm.line!;

  const admin = kind === tidegate ? new Admin(ADMIN_PORT) : undefined;
  const found = admin && (await lookAround(admin));
  mark('drain');
  const drained = admin && (await drain(admin, backends[0]!, swarm, others, signal));

  mark('close');
  const closingMs = performance.now();
  await swarm.close();
  await sinkEmpty(sink, others, signal);
  const closeSeconds = (performance.now() - closingMs) / 1000;
  const connectionsLeft = admin === undefined ? null : (await admin.status()).connections;
  await memoryBack(empty, held, others, signal);
  await balancer.collect();
  const over = look({ ...pids, swarm: 0 });
  await balancer.child.stop();
  await sink.stop();

  return {
    name: kind.name,
    title: kind.title,
    connections,
    limit,
    workers: balancer.workers,
    start: { readyMs: balancer.readyMs, userBytes: empty.userBytes },
    connect: { seconds, failed, cores: coresBetween(empty, connected) },
    hold: { ...hold!, seconds: holdSeconds, keepAliveSeconds, lost, cores: coresBetween(connected, held) },
    memory: memoryOf(empty, held, connections, ends),
    ...(found && { admin: found }),
    ...(drained && { drain: drained }),
    close: { seconds: closeSeconds, connectionsLeft, ...leftOf(empty, held, over) },
    points: thinned(swarm.points),
    marks,
  };
}

/** The kernel frees late what was a socket. */
async function memoryBack(empty: Look, held: Look, others: readonly Child[], signal: AbortSignal): Promise<void> {
  const [least, most] = [sumOf(empty.kernel), sumOf(held.kernel)];
  const isBack = (): boolean => sumOf(kernelMemory()) - least < (most - least) * LEFT_SHARE;
  await until(isBack, others, signal, BACK_TIMEOUT_MS);
  await sleep(SETTLE_MS, undefined, { signal });
}

/** Whoever has sockets besides the balancer, both ends or another program, is taken to have them at the ends' price. */
function memoryOf(empty: Look, held: Look, connections: number, ends: EndsCost): Run['memory'] {
  const otherSockets = held.sockets - empty.sockets - 2 * connections;
  const kernelBytes = sumOf(held.kernel) - sumOf(empty.kernel) - (otherSockets * ends.kernelBytes) / 2;
  return {
    userBytes: (held.userBytes - empty.userBytes) / connections,
    kernelBytes: kernelBytes / connections,
    kernelBytesByKind: growthByKind(empty.kernel, held.kernel, connections),
    machineBytes: (empty.availableBytes - held.availableBytes) / connections,
  };
}

function leftOf(empty: Look, held: Look, over: Look): Omit<Run['close'], 'seconds' | 'connectionsLeft'> {
  return {
    socketsLeft: over.sockets - empty.sockets,
    userBytesLeft: over.userBytes - empty.userBytes,
    kernelBytesLeft: sumOf(over.kernel) - sumOf(empty.kernel),
    kernelBytesGrown: sumOf(held.kernel) - sumOf(empty.kernel),
  };
}
