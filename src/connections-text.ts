// `tidegate connections`: the admin API's answer, for people.
import type { ConnectionDocument, ConnectionsDocument } from './admin/routes/connections.ts';
import { formatAddress } from './config/address.ts';
import { durationText, textTable } from './text-table.ts';

const HEADINGS = [
  'CLIENT',
  'STATE',
  'BACKEND',
  'PROTOCOL',
  'FROM',
  'OPEN FOR',
  'SILENT FOR',
  'BYTES IN',
  'BYTES OUT',
  'ID',
];

export function connectionsText({ matched, searched, connections }: ConnectionsDocument): string {
  const count = `${matched} of ${searched} connections match`;
  if (connections.length === 0) return `${count}\n`;
  const nowMs = Date.now();
  const shown = connections.length < matched ? `, ${connections.length} are shown` : '';
  return `${textTable(
    HEADINGS,
    connections.map((connection) => row(connection, nowMs)),
  )}${count}${shown}\n`;
}

/** After --kick. */
export function kickedText({ matched, connections }: ConnectionsDocument): string {
  if (matched === 0) return '';
  const left = matched - connections.length;
  return left === 0 ? 'Ended.\n' : `Ended those that are shown; ${left} are left: the same again ends more.\n`;
}

function row(connection: ConnectionDocument, nowMs: number) {
  const { client_id, state, backend, protocol, remote_addr, remote_port } = connection;
  return [
    client_id === '' ? '-' : client_id,
    state,
    backend ?? '-',
    protocol ?? '-',
    formatAddress({ host: remote_addr, port: remote_port }),
    durationText(Math.max(0, nowMs - Date.parse(connection.opened_at)) / 1000),
    durationText(connection.idle_seconds),
    connection.bytes_from_client,
    connection.bytes_to_client,
    connection.id,
  ];
}
