// GET /api/v1/status: its schema, and how it is made. The names are stable: scripts and dashboards read them.
import { z } from 'zod';
import { formatAddress } from '../config/address.ts';
import type { PoolConfig } from '../config.ts';
import { type Balancer, queueOf, whyNotReady } from '../control/balancer.ts';
import type { ListenerCertificate } from '../control/front-doors.ts';
import type { ListenerGroup } from '../control/listeners.ts';
import { carrierOf } from '../engine/engine.ts';
import { reasons } from '../reasons.ts';
import { version } from '../version.ts';
import { type BackendDocument, backendDocuments, backendSchema } from './backend-document.ts';
import { moveDocumentOf, moveSchema } from './move-document.ts';

const count = () => z.int().min(0);

const byProtocolSchema = z.strictObject({ '3.1': count(), '3.1.1': count(), '5.0': count(), other: count() });

const poolSchema = z.strictObject({
  name: z.string(),
  method: z.string(),
  key: z.string().nullable().describe('What is hashed; null for another method.'),
  algorithm: z.string().nullable(),
  connections: count(),
  connects_by_protocol: byProtocolSchema,
  rebalance: moveSchema.nullable().describe('Clients being moved to where they belong, now.'),
  max_connections: count().nullable().describe('null: no limit.'),
  queued: count().describe('Clients that wait now until they may be dialled.'),
  queued_total: count().describe('Clients that have waited since the start.'),
  backends: z.array(backendSchema),
});

const engineSchema = z.enum(['uring', 'portable']);

const certificateSchema = z.strictObject({
  names: z.array(z.string()).describe('Hosts that it is for.'),
  file: z.string(),
  not_after: z.iso.datetime(),
});

const listenerSchema = z.strictObject({
  name: z.string(),
  address: z.string(),
  pool: z.string(),
  engine: engineSchema.describe('What carries its clients.'),
  tls: z
    .array(certificateSchema)
    .nullable()
    .describe('Certificates, the first for clients that name no host; null: no TLS.'),
  hook: z.string().nullable().describe('Path of the module that decides on its clients; null: none does.'),
  connections: count().describe('Clients whose CONNECT was taken, those that wait among them.'),
  max_connections: count().nullable().describe('null: no limit.'),
  max_connections_per_source: count().nullable().describe('null: no limit.'),
  max_half_open: count().nullable().describe('Clients whose CONNECT is not complete; null: auto.'),
});

const hooksSchema = z.strictObject({
  asked: count().describe('CONNECTs that a hook was asked for.'),
  refused: count().describe('Of these, those that it refused.'),
  errors: count().describe('Those for which it failed.'),
  timeouts: count().describe('Those that it had no decision for in time.'),
  busy: count().describe('CONNECTs for which too many waited already.'),
  in_flight: count().describe('Decisions that are awaited now.'),
  restarts: count().describe('Times that their thread had to be begun anew.'),
});

const workerSchema = z.strictObject({
  index: count(),
  engine: engineSchema,
  state: z.enum(['starting', 'running', 'waiting', 'stopped']),
  restarts: count(),
  connections: count(),
  connections_max: count(),
});

const countersSchema = z.strictObject({
  accepted: count(),
  closed: count(),
  refused: count().describe('Of those that ended: by a refusal, or before they had a backend.'),
  bytes_from_clients: count(),
  bytes_to_clients: count(),
  accept_errors: count(),
  turns: count().describe("Of the workers' loops; with engine uring each is one system call."),
  completions: count().describe('Events that the turns served; engine uring only.'),
  buffers_held: count().describe('Now.'),
  buffers_starved: count().describe('Reads that found no buffer.'),
  access_records_dropped: count().describe('Connections whose record found no room.'),
  access_log_lines_dropped: count().describe('Lines that could not be written.'),
});

export const statusSchema = z
  .strictObject({
    version: z.string(),
    node: z.string(),
    pid: count(),
    started_at: z.iso.datetime(),
    uptime_seconds: z.number().min(0),
    state: z.enum(['starting', 'running', 'stopping']),
    ready: z.boolean(),
    not_ready_because: z.string().nullable(),
    engine: engineSchema.describe('What carries plain TCP.'),
    engine_reason: z.string(),
    connections: count().describe('Open now.'),
    workers: z.array(workerSchema),
    listeners: z.array(listenerSchema),
    pools: z.array(poolSchema),
    connects_by_protocol: byProtocolSchema.describe(
      'CONNECTs that could be read, by MQTT version; other: refused for their version.',
    ),
    hooks: hooksSchema.describe('Those of all listeners, since the start.'),
    counters: countersSchema.describe('Sums over all workers since the start.'),
    closed_by_reason: z.record(z.string(), count()).describe('Connections that have ended, by why.'),
  })
  .meta({ id: 'Status' });

export type StatusDocument = z.output<typeof statusSchema>;

export function statusDocument(balancer: Balancer): StatusDocument {
  const { supervisor, startedAt, phase, engine, engineReason, config, groups } = balancer;
  const problem = whyNotReady(balancer);
  const documents = [...backendDocuments(balancer)];
  const membersOf = (name: string) => documents.flatMap(([{ pool }, document]) => (pool === name ? [document] : []));
  return {
    version: version(),
    node: process.version,
    pid: process.pid,
    started_at: startedAt.toISOString(),
    uptime_seconds: Math.max(0, Date.now() - startedAt.getTime()) / 1000, // the clock may be set back
    state: phase,
    ready: problem === undefined,
    not_ready_because: problem ?? null,
    engine,
    engine_reason: engineReason,
    connections: supervisor.totals.connections(),
    workers: supervisor
      .statuses()
      .map(({ connectionsMax, ...worker }) => ({ ...worker, connections_max: connectionsMax })),
    listeners: groups.map((group) => listenerDocument(group, balancer)),
    pools: config.pools.map((pool) => poolDocument(pool, membersOf(pool.name), balancer)),
    connects_by_protocol: supervisor.totals.connectsByProtocol(),
    hooks: hooksDocument(balancer),
    counters: countersDocument(balancer),
    closed_by_reason: supervisor.totals.byReason(),
  };
}

function listenerDocument(
  { name, index, host, port }: ListenerGroup,
  { config, supervisor, engine, doors }: Balancer,
): StatusDocument['listeners'][number] {
  const listener = config.listeners.find((each) => each.name === name)!;
  const { pool, maxConnections, maxConnectionsPerSource, maxHalfOpen } = listener;
  const certificates = doors.certificates.filter((certificate) => certificate.listener === name);
  return {
    name,
    address: formatAddress({ host, port }),
    pool,
    engine: carrierOf(engine, listener),
    tls: listener.tls && certificates.map(certificateDocument),
    hook: listener.hook?.module ?? null,
    connections: supervisor.totals.admittedOf(index),
    max_connections: maxConnections || null,
    max_connections_per_source: maxConnectionsPerSource || null,
    max_half_open: maxHalfOpen || null,
  };
}

function certificateDocument({ names, path, notAfterMs }: ListenerCertificate): z.output<typeof certificateSchema> {
  return { names: [...names], file: path, not_after: new Date(notAfterMs).toISOString() };
}

function poolDocument(
  { name, balance, maxConnections }: PoolConfig,
  members: BackendDocument[],
  { backends, supervisor, moves }: Balancer,
): StatusDocument['pools'][number] {
  const { poolId } = backends.find(({ pool }) => pool === name)!;
  const isHash = balance.method === 'hash';
  const { queued, queuedTotal } = queueOf(name, backends, supervisor.totals);
  return {
    name,
    method: balance.method,
    key: isHash ? balance.key : null,
    algorithm: isHash ? balance.algorithm : null,
    connections: members.reduce((sum, { connections }) => sum + connections, 0),
    connects_by_protocol: supervisor.totals.connectsByProtocol(poolId),
    rebalance: moveDocumentOf(moves.ofPool(name)),
    max_connections: maxConnections || null,
    queued,
    queued_total: queuedTotal,
    backends: members,
  };
}

function hooksDocument({ hooks, supervisor: { totals } }: Balancer): StatusDocument['hooks'] {
  const { hookAsked, hookTimeouts, hookBusy } = totals.sums();
  const { errors, inFlight, restarts } = hooks.figures;
  const { hook_refused: refused = 0 } = totals.byReason();
  return { asked: hookAsked, refused, errors, timeouts: hookTimeouts, busy: hookBusy, in_flight: inFlight, restarts };
}

/** Whatever the access log shows with another status than 200. */
function refused(byReason: Readonly<Record<string, number>>): number {
  return reasons.reduce((sum, reason) => {
    return reason === undefined || reason.status === 200 ? sum : sum + (byReason[reason.name] ?? 0);
  }, 0);
}

function countersDocument({ supervisor, accessLog }: Balancer): StatusDocument['counters'] {
  const sums = supervisor.totals.sums();
  return {
    accepted: sums.accepted,
    closed: sums.closed,
    refused: refused(supervisor.totals.byReason()),
    bytes_from_clients: sums.bytesFromClients,
    bytes_to_clients: sums.bytesToClients,
    accept_errors: sums.acceptErrors,
    turns: sums.turns,
    completions: sums.completions,
    buffers_held: supervisor.totals.gauges().buffersHeld,
    buffers_starved: sums.buffersStarved,
    access_records_dropped: sums.recordsDropped,
    access_log_lines_dropped: accessLog.linesDropped(),
  };
}
