// What the configuration itself allows, and what keeps it from starting here.
import type { PoolConfig } from '../../config.ts';
import type { Check, Observation, Situation } from '../check.ts';
import type { AddressTrial } from '../trials.ts';
import { countText } from '../units.ts';

export const CONFIGURATION_CHECKS: readonly Check[] = [
  { name: 'connections_max', look: lookAtTables },
  { name: 'max_connections of listeners', look: ({ plan }) => lookAtLimits(plan.config.listeners.map(ownLimit), plan) },
  { name: 'max_connections of pools', look: ({ plan }) => lookAtLimits(plan.config.pools.map(poolLimit), plan) },
  { name: 'listening', look: lookAtAddresses },
  { name: 'backends', look: lookAtBackends },
];

function lookAtTables({ plan }: Situation): Observation | null {
  const { connectionsMax } = plan.config;
  if (connectionsMax === 'auto') return null;
  const needed = Math.ceil(plan.connections / (plan.workers * plan.carriers.length));
  return {
    found: `${countText(connectionsMax)} in each of ${plan.workers} workers`,
    needed: countText(needed),
    bound: connectionsMax * plan.workers * plan.carriers.length,
    mend: [`connections_max: ${needed}`, 'connections_max: auto'],
  };
}

/** Without one for each there is no bound. */
function lookAtLimits(limits: readonly number[], { connections }: Situation['plan']): Observation | null {
  if (limits.length === 0 || limits.some((limit) => limit === Number.POSITIVE_INFINITY)) return null;
  const bound = limits.reduce((sum, limit) => sum + limit);
  const whole = limits.length === 1 ? '' : ' in all of them together';
  return {
    found: `${countText(bound)}${whole}`,
    needed: countText(connections),
    bound,
    mend: [`max_connections: ${connections}${whole}`],
  };
}

function ownLimit({ maxConnections }: { maxConnections: number }): number {
  return maxConnections === 0 ? Number.POSITIVE_INFINITY : maxConnections;
}

function poolLimit(pool: PoolConfig): number {
  return Math.min(
    ownLimit(pool),
    pool.backends.reduce((sum, backend) => sum + ownLimit(backend), 0),
  );
}

function lookAtAddresses({ trials: { addresses } }: Situation): Observation | null {
  if (addresses.length === 0) return null;
  const faults = addresses.flatMap(({ fault }) => fault?.message ?? []);
  return {
    found: faults.length === 0 ? 'can be listened on' : faults.join('; '),
    needed: addresses.length === 1 ? 'to listen on an address' : `to listen on ${addresses.length} addresses`,
    fails: faults.length > 0,
    mend: addresses.flatMap(addressLines),
  };
}

function addressLines({ address, fault }: AddressTrial): string[] {
  const port = Number(address.slice(address.lastIndexOf(':') + 1));
  switch (fault?.code) {
    case undefined:
      return [];
    case 'EACCES':
      return ['AmbientCapabilities=CAP_NET_BIND_SERVICE', `sysctl -w net.ipv4.ip_unprivileged_port_start=${port}`];
    case 'EADDRINUSE':
      return [`ss -ltnp 'sport = :${port}'   # shows which program to stop`];
    default:
      return [`bind: ANOTHER_ADDRESS:${port}`];
  }
}

function lookAtBackends({ trials: { backends }, plan }: Situation): Observation | null {
  if (plan.config.pools.length === 0) return null;
  const needed = 'names, source_addresses';
  if (backends === null) return { found: 'names resolve, source_addresses are of this machine', needed };
  const [, found = backends.message, advice = ''] = /^(.*): (.*)$/.exec(backends.message) ?? [];
  return { found, needed, fails: true, mend: [advice] };
}
