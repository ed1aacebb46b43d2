// GET /api/v1/connections: which connections exist, by what is known of them. DELETE ends one.
import { isIP } from 'node:net';
import { z } from 'zod';
import {
  EVICTION_ABRUPT,
  NONE,
  PHASE_ASKING,
  PHASE_CLOSING,
  PHASE_DIALLING,
  PHASE_GREETING,
  PHASE_LEAVING,
  PHASE_OPEN,
  PHASE_QUEUED,
  PHASE_READING,
  PHASE_REFUSING,
  REASON_KICKED,
} from '../../../assembly/layout.ts';
import type { Balancer } from '../../control/balancer.ts';
import {
  type Connection,
  type ConnectionQuery,
  ConnectionTable,
  formatConnectionId,
  parseConnectionId,
  searchConnections,
} from '../../control/connections.ts';
import { addressBytes, encodeSockaddr } from '../../system/sockaddr.ts';
import { failure, failureSchema, json } from '../http.ts';
import type { Route } from '../route.ts';

const LIMIT_DEFAULT = 100;
const LIMIT_MAX = 1000;
/** MQTT 5.0: Administrative action. */
const DISCONNECT_ADMINISTRATIVE_ACTION = 0x98;

const PROTOCOLS: Record<number, string> = { 3: 'MQTT/3.1', 4: 'MQTT/3.1.1', 5: 'MQTT/5.0' };
const STATES: Record<number, ConnectionDocument['state']> = {
  [PHASE_READING]: 'reading',
  [PHASE_DIALLING]: 'dialling',
  [PHASE_GREETING]: 'dialling',
  [PHASE_OPEN]: 'open',
  [PHASE_REFUSING]: 'closing',
  [PHASE_CLOSING]: 'closing',
  [PHASE_LEAVING]: 'closing',
  [PHASE_QUEUED]: 'queued',
  [PHASE_ASKING]: 'asking',
};

const count = () => z.int().min(0);

const connectionSchema = z.strictObject({
  id: z.string().describe('For as long as it lives, and then for nothing else.'),
  client_id: z.string().describe('Its first 1,020 bytes; empty until the CONNECT has come.'),
  pool: z.string().nullable(),
  backend: z.string().nullable().describe('null: none was chosen yet.'),
  listener: z.string(),
  remote_addr: z.string(),
  remote_port: count(),
  protocol: z.string().nullable().describe('Such as MQTT/3.1.1; null: not known yet.'),
  state: z
    .enum(['reading', 'asking', 'queued', 'dialling', 'open', 'closing'])
    .describe('reading: the CONNECT is awaited. asking: its hook is. queued: it waits until it may be dialled.'),
  opened_at: z.iso.datetime(),
  keep_alive: count().describe('Seconds; the one in force.'),
  idle_seconds: z.number().min(0).describe("Since the client's last bytes."),
  bytes_from_client: count(),
  bytes_to_client: count(),
});

export const connectionsSchema = z.strictObject({
  matched: count().describe('As many are what was asked for.'),
  searched: count().describe('As many there are.'),
  connections: z.array(connectionSchema).describe('Those that were met first, up to the limit.'),
});

export type ConnectionDocument = z.output<typeof connectionSchema>;
export type ConnectionsDocument = z.output<typeof connectionsSchema>;

const querySchema = z.strictObject({
  client_id: z.string().optional().describe('What the ClientId begins with.'),
  backend: z.string().optional().describe('Its address, as in the configuration.'),
  pool: z.string().optional(),
  address: z
    .string()
    .refine((text) => isIP(text) !== 0, { error: 'an IP address is expected' })
    .optional()
    .describe("The client's IP address."),
  limit: z.coerce
    .number({ error: `a whole number from 1 to ${LIMIT_MAX} is expected` })
    .int()
    .min(1)
    .max(LIMIT_MAX)
    .default(LIMIT_DEFAULT)
    .describe('How many are shown; all that match are counted.'),
});

export const connections: Route = {
  method: 'GET',
  path: '/api/v1/connections',
  summary: 'Which connections exist: all of them, or those that are asked for',
  query: querySchema,
  responses: {
    200: {
      description: 'The connections, in no order.',
      content: { type: 'application/json', schema: connectionsSchema },
    },
  },
  answer: async ({ balancer }, { query }) => {
    const found = await find(balancer, query as z.output<typeof querySchema>);
    return found === undefined
      ? failure(404, 'there is no such pool or backend; /api/v1/status names them')
      : json(found);
  },
};

export const kickConnection: Route = {
  method: 'DELETE',
  path: '/api/v1/connections/{id}',
  summary: 'End a connection: an MQTT 5.0 client is told that it was an administrative action',
  responses: {
    202: {
      description: 'It will be, as soon as both directions are between two packets.',
      content: { type: 'application/json', schema: z.strictObject({ id: z.string() }) },
    },
    503: {
      description: 'Its worker has so many to end that this one finds no room in the queue.',
      content: { type: 'application/json', schema: failureSchema },
    },
  },
  answer: ({ balancer }, { parameters: { id = '' } }) => {
    const connection = connectionOf(balancer, id);
    if (connection === undefined) return failure(404, 'there is no such connection; it may have ended');
    if (!kick(balancer, connection)) return failure(503, 'its worker is busy with ending others; ask again');
    return json({ id }, 202);
  },
};

/** undefined: nothing of that name is there to be searched. */
async function find(
  balancer: Balancer,
  { client_id = '', backend, pool, address, limit }: z.output<typeof querySchema>,
): Promise<ConnectionsDocument | undefined> {
  const backends = balancer.backends.filter(
    (one) => (backend === undefined || one.config.address === backend) && (pool === undefined || one.pool === pool),
  );
  if (backends.length === 0) return undefined;
  const query: ConnectionQuery = {
    clientIdPrefix: Buffer.from(client_id),
    backends: backend === undefined && pool === undefined ? null : new Set(backends.map(({ id }) => id)),
    listeners: new Set(backend === undefined && pool !== undefined ? listenersOf(balancer, pool) : []),
    address: address === undefined ? null : addressBytes(encodeSockaddr(address, 0)),
    limit,
  };
  const { matched, searched, connections } = await searchConnections(balancer.supervisor.lives(), query);
  return { matched, searched, connections: connections.map((connection) => connectionDocument(connection, balancer)) };
}

/** Their numbers. */
function listenersOf({ config, groups }: Balancer, pool: string): number[] {
  const names = new Set(config.listeners.flatMap((listener) => (listener.pool === pool ? [listener.name] : [])));
  return groups.flatMap(({ name, index }) => (names.has(name) ? [index] : []));
}

function connectionDocument(connection: Connection, { config, groups, backends }: Balancer): ConnectionDocument {
  const { peer, version } = connection;
  // One that was removed has its clients still.
  const name = groups.find(({ index }) => index === connection.listener)?.name ?? '';
  const listener = config.listeners.find((each) => each.name === name);
  const backend = connection.backend === NONE ? undefined : backends.find(({ id }) => id === connection.backend);
  return {
    id: formatConnectionId(connection),
    client_id: connection.clientId,
    pool: backend?.pool ?? listener?.pool ?? null,
    backend: backend?.config.address ?? null,
    listener: name,
    remote_addr: peer.host,
    remote_port: peer.port,
    protocol: PROTOCOLS[version] ?? null,
    state: STATES[connection.phase] ?? 'closing',
    opened_at: new Date(connection.openedMs).toISOString(),
    keep_alive: connection.keepAlive,
    idle_seconds: connection.idleMs / 1000,
    bytes_from_client: connection.bytesFromClient,
    bytes_to_client: connection.bytesToClient,
  };
}

function connectionOf({ supervisor }: Balancer, text: string): Connection | undefined {
  const id = parseConnectionId(text);
  const life = supervisor.lives().find(({ worker, life }) => worker === id?.worker && life === id.life);
  return id && life && new ConnectionTable(life).read(id.slot, id.generation);
}

/** The broker hears nothing of it: a client that is thrown out leaves its will behind. False: there was no room. */
function kick({ supervisor, log }: Balancer, connection: Connection): boolean {
  const { worker, life, slot, generation, isAnswered, clientId, peer } = connection;
  // Before the broker has answered there are no packets that could be cut.
  const flags = isAnswered ? 0 : EVICTION_ABRUPT;
  const code = DISCONNECT_ADMINISTRATIVE_ACTION;
  const eviction = { slot, generation, reason: REASON_KICKED, code, flags, reference: false };
  if (supervisor.evict(worker, life, [eviction]) === 0) return false;
  const fields = { connection: formatConnectionId(connection), clientId, remoteAddr: peer.host };
  log.info(fields, 'a connection is ended by an operator');
  return true;
}
