// `tidegate status`: the admin API's status, for people.
import type { StatusDocument } from './admin/status-document.ts';
import { durationText, textTable } from './text-table.ts';

export function statusText(status: StatusDocument): string {
  return [summary(status), listeners(status), workers(status), ...status.pools.map(pool), ends(status)]
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
    ['LISTENER', 'ADDRESS', 'POOL'],
    listeners.map(({ name, address, pool }) => [name, address, pool]),
  );
}

function workers({ workers }: StatusDocument): string {
  return textTable(
    ['WORKER', 'STATE', 'CONNECTIONS', 'AT MOST', 'RESTARTS'],
    workers.map((worker) => [worker.index, worker.state, worker.connections, worker.connections_max, worker.restarts]),
  );
}

function pool({ name, method, key, algorithm, backends }: StatusDocument['pools'][number]): string {
  const rows = backends.map((backend) => [
    backend.address,
    backend.backup ? `${backend.state} (backup)` : backend.state,
    backend.weight,
    backend.connections,
    backend.connects,
    backend.connect_failures,
  ]);
  const how = key === null ? method : `${method} of ${key} by ${algorithm}`;
  const table = textTable(['BACKEND', 'STATE', 'WEIGHT', 'CONNECTIONS', 'CONNECTS', 'FAILURES'], rows);
  return `Pool ${name}: ${how}\n${table}`;
}

/** Why connections ended, most frequent first. */
function ends({ closed_by_reason }: StatusDocument): string {
  const counts = Object.entries(closed_by_reason).filter(([, count]) => count > 0);
  if (counts.length === 0) return '';
  const rows = counts.sort(([, a], [, b]) => b - a);
  return textTable(['ENDED BECAUSE', 'CONNECTIONS'], rows);
}
