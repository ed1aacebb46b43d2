// npm run sink: a broker that takes every client and keeps nothing, for as many connections as there are descriptors.
import { isIP } from 'node:net';
import { z } from 'zod';
import { LISTENERS_MAX } from '../assembly/layout.ts';
import { AF_INET, AF_INET6, IPPROTO_TCP, TCP_NODELAY } from '../assembly/uring/abi.ts';
import { type Address, formatAddress } from '../src/config/address.ts';
import { raiseDescriptorLimit } from '../src/control/capacity.ts';
import { Steering } from '../src/control/steering.ts';
import { BACKLOG } from '../src/engine/engine.ts';
import { TidegateError } from '../src/errors.ts';
import {
  bind,
  close,
  decodeSockaddr,
  encodeSockaddr,
  getsockname,
  IPPROTO_IPV6,
  IPV6_V6ONLY,
  listen,
  SO_REUSEADDR,
  SO_REUSEPORT,
  SOL_SOCKET,
  setsockopt,
  socket,
} from '../src/system/libc.ts';
import { resolveHost } from '../src/system/resolve-host.ts';
import { Crowd, ringSlots, ringsFor } from './crowd.ts';
import { checkReport, closeOnSignal, grouped, printJson, rounded, runCommand, writeReport } from './crowd-command.ts';
import { addresses, progress, readOptions, rings, wholeNumber } from './crowd-options.ts';
import { SINK_ACK, SINK_ECHO, SINK_FAN_OUT } from './layout.ts';
import { drawTimeline } from './timeline.ts';

const USAGE = `npm run sink -- --listen HOST:PORT[,HOST:PORT...] [OPTIONS]

An MQTT broker (3.1, 3.1.1, 5) that takes every client, answers what it is sent, and keeps nothing.

  --listen HOST:PORT,...   addresses to listen on; port 0: one that is free
  --connections 10000      how many it should be able to hold
  --mode ack               ack: acknowledges messages
                           echo: and sends them back to whom they came from
                           fan-out: and sends them to all who have subscribed to them on the same ring
  --rings auto             threads, each with a ring of its own
  --progress text          a line a second: text, json or off
  --report PREFIX          writes PREFIX.txt, PREFIX.json and PREFIX.svg at the end

It delivers with QoS 0. SIGTERM and SIGINT end it.
`;

const CONNECTIONS_MAX = 10_000_000;
const CONNECTIONS_DEFAULT = 10_000;
/** The kernel deals newcomers out by a hash, so a ring gets more or less than its share. */
const HEADROOM = 1.1;
/** Accepts that wait on each listening socket of a ring, of which all together should take few of its slots. */
const ACCEPTS_IN_ALL = 256;
const ACCEPTS_MIN = 4;
const ACCEPTS_MAX = 32;
const PROGRESS_MS = 1000;
const STEERING_MS = 50;
const MODES = { ack: SINK_ACK, echo: SINK_ECHO, 'fan-out': SINK_FAN_OUT };

const OPTIONS = {
  listen: addresses(LISTENERS_MAX),
  connections: wholeNumber(1, CONNECTIONS_MAX).default(CONNECTIONS_DEFAULT),
  mode: z.enum(['ack', 'echo', 'fan-out'], { error: 'expected ack, echo or fan-out' }).default('ack'),
  rings: rings.default('auto'),
  progress: progress.default('text'),
  report: z.string().optional(),
};
type Options = NonNullable<ReturnType<typeof readOptions<typeof OPTIONS>>>;

await runCommand('sink', main);

async function main(): Promise<number> {
  const options = readOptions(process.argv.slice(2), OPTIONS);
  if (options === undefined) {
    process.stdout.write(USAGE);
    return 0;
  }
  const slots = ringSlots(raiseDescriptorLimit());
  const hosts = options.listen.length;
  const accepts = Math.max(ACCEPTS_MIN, Math.min(ACCEPTS_MAX, Math.floor(ACCEPTS_IN_ALL / hosts)));
  const ringCount = countRings(options, slots - accepts * hosts);
  const listeners = await openListeners(options.listen, ringCount);
  const settings = listeners.byRing.map((listenerFds) => ({
    role: 'sink' as const,
    mode: MODES[options.mode],
    accepts,
    listenerFds,
  }));
  checkReport(options.report);
  const crowd = new Crowd(settings, slots);
  closeOnSignal(crowd, () => {});
  await crowd.start();
  process.stderr.write(`sink: listening on ${listeners.addresses.join(', ')}, ${ringCount} rings\n`);
  const steering = new Steering(slots - accepts * hosts);
  const groups = listeners.byRing[0]!.map((fd) => ({ fds: [fd] }));
  const timer = setInterval(() => steering.update(groups, crowd.held()), STEERING_MS);
  try {
    return await watch(options, crowd);
  } finally {
    clearInterval(timer);
  }
}

function countRings({ rings, mode, connections }: Options, perRing: number): number {
  const needed = Math.ceil((connections * HEADROOM) / perRing);
  if (rings !== 'auto' && rings < needed) {
    throw new TidegateError('USAGE', `--rings: ${rings} can't hold ${connections} connections; use ${needed}`);
  }
  if (rings !== 'auto') return rings;
  return mode === 'fan-out' ? needed : Math.max(needed, ringsFor(connections, perRing));
}

/** Every ring has a socket of its own on every address. */
async function openListeners(
  listen: readonly Address[],
  ringCount: number,
): Promise<{ addresses: string[]; byRing: number[][] }> {
  const byRing: number[][] = Array.from({ length: ringCount }, () => []);
  const addresses: string[] = [];
  for (const address of listen) {
    try {
      const host = await resolveHost(address.host);
      let { port } = address;
      for (const fds of byRing) {
        const fd = listenAt(host, port);
        fds.push(fd);
        port = decodeSockaddr(getsockname(fd)).port;
      }
      addresses.push(formatAddress({ host, port }));
    } catch (error) {
      throw new TidegateError('USAGE', `--listen: ${formatAddress(address)}: ${(error as Error).message}`);
    }
  }
  return { addresses, byRing };
}

function listenAt(host: string, port: number): number {
  const isIPv6 = isIP(host) === 6;
  const fd = socket(isIPv6 ? AF_INET6 : AF_INET);
  try {
    if (isIPv6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    bind(fd, encodeSockaddr(host, port));
    listen(fd, BACKLOG);
    return fd;
  } catch (error) {
    close(fd);
    throw error;
  }
}

interface Sample {
  seconds: number;
  open: number;
  accepted: number;
  connects: number;
  pings: number;
  publishes: number;
  subscribes: number;
  delivered: number;
  failed: number;
}

async function watch(options: Options, crowd: Crowd): Promise<number> {
  const beganMs = performance.now();
  const samples: Sample[] = [];
  const look = (): Sample => {
    const { open, accepted, connected, pings, received, subscribed, published, failed } = crowd.figures();
    return {
      seconds: rounded((performance.now() - beganMs) / 1000, 1),
      open,
      accepted,
      connects: connected,
      pings,
      publishes: received,
      subscribes: subscribed,
      delivered: published,
      failed,
    };
  };
  const timer = setInterval(() => {
    const sample = look();
    samples.push(sample);
    if (options.progress === 'json') printJson(sample);
    else if (options.progress === 'text') process.stdout.write(`${sampleText(sample)}\n`);
  }, PROGRESS_MS);
  try {
    await crowd.ended();
  } finally {
    clearInterval(timer);
  }
  const { user, system } = process.cpuUsage();
  const report = { ...look(), reasons: crowd.reasons(), cpuSeconds: rounded((user + system) / 1e6, 1) };
  const text = `${Object.entries(report)
    .map(([name, value]) => `${name.padEnd(12)} ${typeof value === 'number' ? grouped(value) : JSON.stringify(value)}`)
    .join('\n')}\n`;
  if (options.progress === 'json') printJson({ report });
  else if (options.progress === 'text') process.stdout.write(`\n${text}`);
  if (options.report !== undefined) {
    writeReport(options.report, { text, json: { report, samples }, svg: drawTimeline(samples) });
  }
  return 0;
}

function sampleText({ seconds, open, connects, pings, publishes, subscribes, failed }: Sample): string {
  return (
    `${seconds.toFixed(0).padStart(5)} s  ${grouped(open)} open, ${grouped(connects)} CONNECTs, ${grouped(pings)} pings, ` +
    `${grouped(publishes)} messages, ${grouped(subscribes)} subscriptions, ${grouped(failed)} failed`
  );
}
