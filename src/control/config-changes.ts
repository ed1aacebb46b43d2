// What differs between two configurations, in words.
import { isDeepStrictEqual } from 'node:util';
import { canonicalAddress, formatAddress } from '../config/address.ts';
import type { BackendConfig, Config, ListenerConfig, PoolConfig } from '../config.ts';

/** What only a new start can change. */
export const START_KEYS = ['workers', 'engine', 'cpuAffinity', 'connectionsMax', 'user', 'group'] as const;

/** Compared by their parts below, or not at all. */
const COMPOSED: readonly string[] = [
  'listeners',
  'pools',
  'backends',
  'leadsToTls',
  'settings',
  'bind',
  'name',
  'address',
  'host',
  'port',
];
/** Values that may be shown. */
const SHOWN: readonly string[] = ['weight', 'pool', 'backup', 'watch', 'stateFile'];

/** One line each, in the order of the configuration; none when nothing differs. */
export function describeChanges(before: Config, after: Config): string[] {
  return [
    ...describeKeys('', before, after).map((line) =>
      isForStart(line) ? `${line}: takes effect at the next start` : line,
    ),
    ...describeListeners(before.listeners, after.listeners),
    ...describePools(before.pools, after.pools),
  ];
}

function isForStart(line: string): boolean {
  return START_KEYS.some((key) => line === `${keyText(key)} changed`);
}

function describeListeners(before: readonly ListenerConfig[], after: readonly ListenerConfig[]): string[] {
  const addressOf = ({ bind }: ListenerConfig) => canonicalAddress(bind);
  // Port 0 is any port: there the name tells them apart.
  const identityOf = (listener: ListenerConfig) =>
    listener.bind.port === 0 ? `${addressOf(listener)} ${listener.name}` : addressOf(listener);
  return describeMembers(before, after, identityOf, {
    what: (listener) => `listener ${listener.name}`,
    added: ({ bind, pool }) => `added on ${formatAddress(bind)} to pool ${pool}`,
    changes: (one, other) => [
      ...(one.name === other.name ? [] : [`listener ${one.name}: is called ${other.name} now`]),
      ...describeKeys(`listener ${other.name}: `, one, other),
    ],
  });
}

function describePools(before: readonly PoolConfig[], after: readonly PoolConfig[]): string[] {
  return describeMembers(before, after, ({ name }) => name, {
    what: ({ name }) => `pool ${name}`,
    added: ({ backends }) => `added with ${backends.length === 1 ? '1 backend' : `${backends.length} backends`}`,
    changes: (one, other) => [
      ...describeKeys(`pool ${other.name}: `, one, other),
      ...describeBackends(`pool ${other.name}: `, one.backends, other.backends),
    ],
  });
}

function describeBackends(prefix: string, before: readonly BackendConfig[], after: readonly BackendConfig[]): string[] {
  return describeMembers(before, after, ({ address }) => address, {
    what: ({ address }) => `${prefix}backend ${address}`,
    added: () => 'added',
    changes: (one, other) => describeKeys(`${prefix}backend ${other.address}: `, one, other),
  });
}

interface Words<Member> {
  what(member: Member): string;
  added(member: Member): string;
  changes(before: Member, after: Member): string[];
}

function describeMembers<Member>(
  before: readonly Member[],
  after: readonly Member[],
  identityOf: (member: Member) => string,
  { what, added, changes }: Words<Member>,
): string[] {
  const known = new Map(before.map((member) => [identityOf(member), member]));
  const kept = new Set(after.map(identityOf));
  return [
    ...before.filter((member) => !kept.has(identityOf(member))).map((member) => `${what(member)} removed`),
    ...after.flatMap((member) => {
      const one = known.get(identityOf(member));
      return one === undefined ? [`${what(member)} ${added(member)}`] : changes(one, member);
    }),
  ];
}

function describeKeys(prefix: string, before: object, after: object): string[] {
  const values = before as Record<string, unknown>;
  return Object.entries(after).flatMap(([key, value]) => {
    if (COMPOSED.includes(key) || isDeepStrictEqual(values[key], value)) return [];
    const detail = SHOWN.includes(key) ? ` from ${values[key]} to ${value}` : '';
    return [`${prefix}${keyText(key)} changed${detail}`];
  });
}

/** Keys that the file spells in another way. */
const KEYS: Record<string, string> = {
  webSocket: 'websocket',
  isDetecting: 'detect',
  passThrough: 'tls_passthrough',
  proxyProtocolFrom: 'proxy_protocol.from',
};

/** As the file has it: connectTimeoutMs is connect_timeout there. */
function keyText(key: string): string {
  return (KEYS[key] ?? key).replace(/Ms$/, '').replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
