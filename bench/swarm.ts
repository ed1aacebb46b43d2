// npm run swarm: opens MQTT sessions at a pace and keeps them, for as long as it's told or until a signal.

import { z } from 'zod';
import { type Address, formatAddress } from '../src/config/address.ts';
import { duration } from '../src/config/kinds.ts';
import { raiseDescriptorLimit } from '../src/control/capacity.ts';
import { TidegateError } from '../src/errors.ts';
import { encodeSockaddr } from '../src/system/libc.ts';
import { localPorts } from '../src/system/local-ports.ts';
import { resolveHost } from '../src/system/resolve-host.ts';
import { Crowd, ringSlots, ringsFor } from './crowd.ts';
import { checkReport, closeOnSignal, runCommand } from './crowd-command.ts';
import {
  addresses,
  flag,
  ipAddresses,
  pattern,
  perSecond,
  progress,
  readOptions,
  rings,
  wholeNumber,
} from './crowd-options.ts';
import type { SwarmSettings } from './crowd-ring.ts';
import { CROWD_SOURCES_MAX, CROWD_TARGETS_MAX } from './layout.ts';
import { SwarmWatch } from './swarm-watch.ts';

const USAGE = `npm run swarm -- --connections N --rate R --to HOST:PORT[,HOST:PORT...] [OPTIONS]

Opens MQTT sessions at a pace, keeps them alive, and tells what became of them.

  --connections N          sessions to open
  --rate R                 how many of them a second
  --to HOST:PORT,...       brokers, taken in turn; one address is good for some 28,000 connections from each address
  --keep-alive 60s         each session sends a PINGREQ once in this time; 0s: never
  --hold 5m                how long they are kept once all were opened; omitted: until a signal
  --version 3.1.1          3.1, 3.1.1 or 5
  --client-id 'device-{n}' {n} is the client's number, here and in the options below
  --first 1                number of the first client
  --username, --password   sent when given
  --persistent             sessions that outlive their connections
  --publish R              messages a second of all clients together
  --topic 'fleet/{n}'      where to
  --payload 64             bytes of a message
  --qos 0                  of messages and of the subscription
  --subscribe FILTER       each client subscribes to it
  --reconnect on           who failed or was lost comes again, after one second, two, four and so on up to a minute
  --source-addresses A,B   addresses of this machine to connect from, taken in turn
  --rings auto             threads, each with a ring of its own
  --progress text          a line a second: text, json or off
  --report PREFIX          writes PREFIX.txt, PREFIX.json and PREFIX.svg at the end

SIGTERM and SIGINT close all sessions and report; a second one drops them. Exit codes: 0 all had a session and nobody was lost,
1 somebody was, 2 it could not start.
`;

const CLIENTS_MAX = 10_000_000;
const PAYLOAD_BYTES_MAX = 60_000;
const CLIENT_NUMBER_MAX = 999_999_999;
/** MQTT has two bytes for it. */
const KEEP_ALIVE_MS_MAX = 65_535_000;
const PROGRESS_MS = 1000;
/** So late can a phase begin. */
const ADVANCE_MS = 50;
/** Closing is as fast as opening was, and not slower than this in all. */
const CLOSE_SECONDS_MAX = 30;
/** The more rings, the less often each of them wakes up to do something; the grids of all lie between one another. */
const GRID_MS_MIN = 5;
const GRID_MS_MAX = 20;
const LEVELS = { '3.1': 3, '3.1.1': 4, '5': 5 };

const OPTIONS = {
  connections: wholeNumber(1, CLIENTS_MAX),
  rate: perSecond(),
  to: addresses(CROWD_TARGETS_MAX),
  'keep-alive': duration(0).default(60_000),
  hold: duration(0).optional(),
  version: z.enum(['3.1', '3.1.1', '5'], { error: 'expected 3.1, 3.1.1 or 5' }).default('3.1.1'),
  'client-id': pattern('a ClientId').default('device-\0'),
  first: wholeNumber(0, CLIENT_NUMBER_MAX).default(1),
  username: pattern('a user name').default(''),
  password: pattern('a password').default(''),
  persistent: flag,
  publish: perSecond().optional(),
  topic: pattern('a topic').default('fleet/\0'),
  payload: wholeNumber(0, PAYLOAD_BYTES_MAX).default(64),
  qos: wholeNumber(0, 2).default(0),
  subscribe: pattern('a topic filter').default(''),
  reconnect: z.enum(['off', 'on'], { error: 'expected off or on' }).default('off'),
  'source-addresses': ipAddresses(CROWD_SOURCES_MAX).default([]),
  rings: rings.default('auto'),
  progress: progress.default('text'),
  report: z.string().optional(),
};
type Options = NonNullable<ReturnType<typeof readOptions<typeof OPTIONS>>>;

await runCommand('swarm', main);

async function main(): Promise<number> {
  const options = readOptions(process.argv.slice(2), OPTIONS);
  if (options === undefined) {
    process.stdout.write(USAGE);
    return 0;
  }
  const perRing = ringSlots(raiseDescriptorLimit());
  checkReport(options.report);
  const crowd = new Crowd(await settingsOf(options, perRing), perRing);
  const watch = new SwarmWatch(options, crowd);
  closeOnSignal(crowd, () => watch.closes());
  await crowd.start();
  watch.begins();
  const timers = [setInterval(() => watch.tick(), PROGRESS_MS), setInterval(() => watch.advance(), ADVANCE_MS)];
  try {
    await crowd.ended();
  } finally {
    for (const timer of timers) clearInterval(timer);
  }
  return watch.report();
}

/** One for each ring: the clients are dealt out in blocks, whatever is a rate is shared. */
async function settingsOf(options: Options, perRing: number): Promise<SwarmSettings[]> {
  const { connections, rate } = options;
  if (options['keep-alive'] > KEEP_ALIVE_MS_MAX) {
    throw new TidegateError('USAGE', `--keep-alive: MQTT allows ${KEEP_ALIVE_MS_MAX / 1000}s at most`);
  }
  const count = options.rings === 'auto' ? ringsFor(connections, perRing) : Math.min(options.rings, connections);
  if (connections > count * perRing) {
    const needed = Math.ceil(connections / perRing);
    const message = `--rings: ${count} hold ${count * perRing} connections (RLIMIT_NOFILE is ${perRing}); use ${needed}`;
    throw new TidegateError('USAGE', message);
  }
  const pairs = options.to.length * Math.max(1, options['source-addresses'].length);
  if (connections > pairs * localPorts()) {
    const allowed = `good for ${pairs * localPorts()} connections (net.ipv4.ip_local_port_range)`;
    throw new TidegateError('USAGE', `--to: these addresses are ${allowed}: name more, or --source-addresses`);
  }
  const isCrowded = connections > (pairs * localPorts()) / 2;
  const targets = await Promise.all(options.to.map(encodeTarget));
  const sources = options['source-addresses'].map((address) => encodeSockaddr(address, 0));
  const firsts = Array.from({ length: count + 1 }, (_, ring) => Math.floor((connections * ring) / count));
  return firsts.slice(1).map((end, ring) => ({
    role: 'swarm',
    clients: end - firsts[ring]!,
    first: options.first + firsts[ring]!,
    gridMs: Math.min(GRID_MS_MAX, Math.max(GRID_MS_MIN, count)),
    connectRate: rate / count,
    closeRate: Math.max(rate, connections / CLOSE_SECONDS_MAX) / count,
    keepAliveMs: options['keep-alive'],
    version: LEVELS[options.version],
    persistent: options.persistent,
    reconnect: options.reconnect === 'on',
    publishRate: (options.publish ?? 0) / count,
    payloadBytes: options.payload,
    qos: options.qos,
    clientId: options['client-id'],
    topic: options.topic,
    filter: options.subscribe,
    username: options.username,
    password: options.password,
    isCrowded,
    targets,
    sources,
  }));
}

async function encodeTarget(address: Address): Promise<Uint8Array> {
  try {
    return encodeSockaddr(await resolveHost(address.host), address.port);
  } catch (error) {
    throw new TidegateError('USAGE', `--to: ${formatAddress(address)}: ${(error as Error).message}`);
  }
}
