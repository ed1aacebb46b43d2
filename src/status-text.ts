// `tidegate status`: the admin API's status, for people.
import type { BackendDocument } from './admin/backend-document.ts';
import type { StatusDocument } from './admin/status-document.ts';
import { rateText } from './moves-text.ts';
import { durationText, textTable } from './text-table.ts';

export function statusText(status: StatusDocument): string {
  const nowMs = Date.parse(status.started_at) + status.uptime_seconds * 1000; // by the clock of its machine
  return [
    summary(status),
    listeners(status),
    workers(status),
    connects(status),
    ...status.pools.map((each) => pool(each, nowMs)),
    moves(status),
    ends(status),
  ]
    .filter((section) => section !== '')
    .join('\n');
}

function summary({ version, engine, uptime_seconds, connections, state, ready, not_ready_because }: StatusDocument) {
  const readiness = ready ? 'ready' : `not ready (${not_ready_because})`;
  const up = `up ${durationText(uptime_seconds)}`;
  return `Tidegate ${version}, engine ${engine}, ${up}, ${state}, ${readiness}, ${connections} connections\n`;
}

function listeners({ listeners }: StatusDocument): string {
  return textTable(
    ['LISTENER', 'ADDRESS', 'POOL', 'ENGINE', 'TLS'],
    listeners.map(({ name, address, pool, engine, tls }) => [name, address, pool, engine, tls === null ? '-' : 'yes']),
  );
}

function workers({ workers }: StatusDocument): string {
  return textTable(
    ['WORKER', 'ENGINE', 'STATE', 'CONNECTIONS', 'AT MOST', 'RESTARTS'],
    workers.map((worker) => [
      worker.index,
      worker.engine,
      worker.state,
      worker.connections,
      worker.connections_max,
      worker.restarts,
    ]),
  );
}

type PoolDocument = StatusDocument['pools'][number];

/** By MQTT version, for pools that have seen any. */
function connects({ pools }: StatusDocument): string {
  const rows = pools
    .map(({ name, connects_by_protocol: by }) => [name, by['3.1'], by['3.1.1'], by['5.0'], by.other])
    .filter(([, ...counts]) => counts.some((count) => count !== 0));
  return rows.length === 0 ? '' : textTable(['CONNECTS OF POOL', 'MQTT 3.1', '3.1.1', '5.0', 'OTHER'], rows);
}

function pool({ name, method, key, algorithm, backends }: PoolDocument, nowMs: number): string {
  const rows = backends.map((backend) => [
    backend.address,
    stateText(backend),
    durationText(Math.max(0, nowMs - Date.parse(backend.since)) / 1000),
    backend.weight,
    backend.connections,
    backend.connects,
    backend.connect_failures,
    probeText(backend),
    backend.reason,
  ]);
  const how = key === null ? method : `${method} of ${key} by ${algorithm}`;
  const headings = ['BACKEND', 'STATE', 'FOR', 'WEIGHT', 'CONNECTIONS', 'CONNECTS', 'FAILURES', 'PROBE', 'REASON'];
  return `Pool ${name}: ${how}\n${textTable(headings, rows)}${answers(backends)}${sources(backends)}`;
}

/** "up 40 %" while it starts slowly. */
export function stateText({ state, share, backup, operator, judged }: BackendDocument): string {
  const part = state === 'up' && share < 1 ? ` ${Math.floor(share * 100)} %` : '';
  const health = operator === 'up' || judged.state === state ? '' : `, health ${judged.state}`;
  return `${state}${part}${health}${backup ? ' (backup)' : ''}`;
}

function probeText({ probe }: BackendDocument): string {
  return probe === null ? '-' : `${probe.verdict}, ${(probe.duration_seconds * 1000).toFixed(1)} ms`;
}

/** What backends answered to CONNECT, and how soon; nothing where none was connected to. */
function answers(backends: readonly BackendDocument[]): string {
  const rows = backends
    .filter(({ connects }) => connects > 0)
    .map((backend) => [
      backend.address,
      connackText(backend),
      latencyText(backend.connect_seconds),
      latencyText(backend.connack_seconds),
      backend.bytes_to_backend,
      backend.bytes_from_backend,
    ]);
  if (rows.length === 0) return '';
  const headings = ['BACKEND', 'CONNACKS BY CODE', 'CONNECT P50, P99', 'CONNACK P50, P99', 'BYTES TO IT', 'FROM IT'];
  return textTable(headings, rows);
}

/** "0: 1024, 5: 3", and "-" for none. */
function connackText({ connack }: BackendDocument): string {
  const seen = Object.entries(connack).filter(([, count]) => count > 0);
  return seen.map(([code, count]) => `${code}: ${count}`).join(', ') || '-';
}

/** Of the last minute. */
function latencyText(seconds: BackendDocument['connect_seconds']): string {
  if (seconds === null) return '-';
  const [p50, p99] = [seconds.p50, seconds.p99].map((each) => (each * 1000).toFixed(1));
  return `${p50}, ${p99} ms`;
}

/** Nothing where the system chooses them and has always found a port. */
function sources(backends: readonly BackendDocument[]): string {
  const rows = backends.flatMap(({ address, sources }) =>
    sources
      .filter((source) => source.address !== null || source.exhausted > 0)
      .map((source) => [address, source.address ?? 'any', source.connections, source.ports_free, source.exhausted]),
  );
  if (rows.length === 0) return '';
  return textTable(['BACKEND', 'SOURCE', 'CONNECTIONS', 'PORTS LEFT', 'RAN OUT'], rows);
}

/** Those that run. */
function moves({ pools }: StatusDocument): string {
  const running = pools.flatMap(({ rebalance, backends }) => [rebalance, ...backends.map(({ move }) => move)]);
  const rows = running.flatMap((move) =>
    move === null ? [] : [[move.kind, move.pool, move.backend ?? '-', rateText(move.rate), move.moved, move.left]],
  );
  return rows.length === 0 ? '' : textTable(['MOVE', 'POOL', 'BACKEND', 'PACE', 'MOVED', 'LEFT'], rows);
}

/** Why connections ended, most frequent first. */
function ends({ closed_by_reason }: StatusDocument): string {
  const counts = Object.entries(closed_by_reason).filter(([, count]) => count > 0);
  if (counts.length === 0) return '';
  const rows = counts.sort(([, a], [, b]) => b - a);
  return textTable(['ENDED BECAUSE', 'CONNECTIONS'], rows);
}
