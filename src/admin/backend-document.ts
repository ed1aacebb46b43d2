// One backend, as the admin API shows it.
import { z } from 'zod';
import { type Balancer, standingOf } from '../control/balancer.ts';
import { connackCounts } from '../control/figures.ts';
import type { ProbeResult } from '../control/health/prober.ts';
import { OPERATOR_STATES } from '../control/operator.ts';
import type { Backend } from '../control/snapshot.ts';
import { type SourceStatus, sourceStatuses } from '../control/sources.ts';
import { isoTime } from '../iso-time.ts';
import { moveDocumentOf, moveSchema } from './move-document.ts';

const count = () => z.int().min(0);
const healthState = () => z.enum(['up', 'suspect', 'down', 'drain']);

const percentilesSchema = z.strictObject({ p50: z.number().min(0), p90: z.number().min(0), p99: z.number().min(0) });

const probeSchema = z.strictObject({
  verdict: z.enum(['pass', 'drain', 'fail', 'none']).describe('none: it could not be sent.'),
  reason: z.string(),
  at: z.iso.datetime(),
  duration_seconds: z.number().min(0),
});

const sourceSchema = z.strictObject({
  address: z.string().nullable().describe('null: the one that the system chooses.'),
  connections: count().describe('Open now, from there to the backend.'),
  ports_free: count().describe('Left for more, as far as this process knows.'),
  exhausted: count().describe('Connects that found no port left.'),
});

export const backendSchema = z.strictObject({
  address: z.string(),
  state: healthState().describe('For clients: its health, unless an operator has said otherwise.'),
  reason: z.string().describe('Why it is in this state, for people.'),
  since: z.iso.datetime(),
  share: z.number().min(0).max(1).describe('The part of its clients that it gets; between 0 and 1 it starts slowly.'),
  operator: z.enum(OPERATOR_STATES).describe('What an operator has said of it; up leaves it to its health.'),
  judged: z
    .strictObject({ state: healthState(), reason: z.string(), since: z.iso.datetime() })
    .describe('Its health, whatever the operator says.'),
  probe: probeSchema.nullable().describe('The last one; null: there was none yet, or none is wanted.'),
  weight: count(),
  backup: z.boolean(),
  connections: count().describe('Open now, and those that are being made.'),
  max_connections: count().nullable().describe('null: no limit.'),
  queued: count().describe('Clients that wait now until they may be dialled, to this backend and no other.'),
  queued_total: count().describe('Clients that have waited for it since the start.'),
  chosen: count().describe('Times that it was the choice.'),
  connects: count().describe('Connects that succeeded.'),
  connect_failures: count(),
  bytes_to_backend: count().describe('From its clients, since it took their CONNECT.'),
  bytes_from_backend: count().describe('To its clients.'),
  connack: z
    .record(z.string(), count())
    .describe('Answers to CONNECT, by their code in decimal; other: first bytes that were no CONNACK.'),
  connect_seconds: percentilesSchema
    .nullable()
    .describe('From the start of a connect to its success, in the last minute; null: there was none.'),
  connack_seconds: percentilesSchema.nullable().describe('From CONNECT to CONNACK, in the same way.'),
  move: moveSchema.nullable().describe('Its clients being moved away, now.'),
  sources: z.array(sourceSchema).describe('Where it is dialled from.'),
});

export type BackendDocument = z.output<typeof backendSchema>;

/** Of every backend, in the order of the configuration. */
export function backendDocuments(balancer: Balancer): Map<Backend, BackendDocument> {
  const { backends, supervisor } = balancer;
  const sources = sourceStatuses(backends, supervisor.totals);
  return new Map(backends.map((backend, index) => [backend, backendDocument(backend, sources[index]!, balancer)]));
}

function backendDocument(backend: Backend, sources: readonly SourceStatus[], balancer: Balancer): BackendDocument {
  const { id, config } = backend;
  const { supervisor, judge, operator, latencies } = balancer;
  const { state, reason, sinceMs, share, lastProbe } = standingOf(balancer, backend);
  const judged = judge.standingOf(backend);
  const figures = supervisor.totals.figuresOf(id);
  const { connect, connack } = latencies.of(id, figures);
  const { chosen, connects, failures, bytesTo, bytesFrom } = supervisor.totals.sumsOf(id);
  const { queued, queuedTotal } = supervisor.totals.queueOfBackend(id);
  return {
    address: config.address,
    state,
    reason,
    since: isoTime(sinceMs),
    share,
    operator: operator.stateOf(backend),
    judged: { state: judged.state, reason: judged.reason, since: isoTime(judged.sinceMs) },
    probe: lastProbe && probeDocument(lastProbe),
    weight: config.weight,
    backup: config.backup,
    connections: supervisor.totals.activeOf(id),
    max_connections: config.maxConnections || null,
    queued,
    queued_total: queuedTotal,
    chosen,
    connects,
    connect_failures: failures,
    bytes_to_backend: bytesTo,
    bytes_from_backend: bytesFrom,
    connack: Object.fromEntries(connackCounts(figures)),
    connect_seconds: connect,
    connack_seconds: connack,
    move: moveDocumentOf(balancer.moves.ofBackend(backend)),
    sources: sources.map(sourceDocument),
  };
}

function probeDocument({ verdict, reason, startedMs, durationMs }: ProbeResult): BackendDocument['probe'] {
  return { verdict, reason, at: isoTime(startedMs), duration_seconds: durationMs / 1000 };
}

function sourceDocument({ address, active, free, exhausted }: SourceStatus): BackendDocument['sources'][number] {
  return { address, connections: active, ports_free: free, exhausted };
}
