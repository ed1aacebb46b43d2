// What the kernel keeps for connections: ports, queues, what it tracks and what lingers.
import { SOURCES_MAX } from '../../../assembly/layout.ts';
import type { BackendConfig, PoolConfig } from '../../config.ts';
import { BACKLOG, DESCRIPTORS_PER_CONNECTION as SOCKETS_PER_CONNECTION } from '../../engine/engine.ts';
import { type Check, type Observation, type Situation, sharedCheck, sysctlCheck, sysctlLine } from '../check.ts';
import { numberOf } from '../machine.ts';
import type { Load, Plan } from '../plan.ts';
import { countText } from '../units.ts';

const PORT_MAX = 65535;
/** Those below it are servers'. */
const FREE_PORT_FIRST = 1024;

const CONNTRACK_MAX = 'net.netfilter.nf_conntrack_max';
const CONNTRACK_COUNT = 'net.netfilter.nf_conntrack_count';
const tracked = sharedCheck(
  CONNTRACK_MAX,
  SOCKETS_PER_CONNECTION,
  (machine) => numberOf(machine, CONNTRACK_COUNT) ?? 0,
);

export const NETWORK_CHECKS: readonly Check[] = [
  { name: 'net.ipv4.ip_local_port_range', look: lookAtPorts },
  sysctlCheck('net.ipv4.tcp_tw_reuse', lookAtReuse),
  sysctlCheck('net.ipv4.tcp_max_tw_buckets', lookAtTimeWait),
  { name: CONNTRACK_MAX, look: lookAtTracking },
  sysctlCheck('net.core.somaxconn', lookAtQueue),
  sysctlCheck('net.ipv4.tcp_max_syn_backlog', lookAtSyns),
  { name: 'net.ipv4.tcp_congestion_control', look: lookAtCongestion },
];

// ---- Ports -----------------------------------------------------------------------------------------------------------

function lookAtPorts({ machine, plan }: Situation): Observation {
  const { localPorts } = machine;
  const pairs = pairsOf(plan.config.pools);
  const found = `${countText(localPorts)} from each source address to each backend`;
  if (pairs === 0) return { found, needed: `${countText(Math.ceil(plan.connections / localPorts))} pairs of them` };
  // At each connect Linux looks through half of the ports before the others; only uring has it look at all of them.
  const comfortable = plan.carriers.includes('portable') ? { ...plan, connections: plan.connections * 2 } : plan;
  return {
    found: `${found}, ${countText(pairs)} such pairs`,
    needed: countText(plan.connections),
    bound: Math.floor(localPorts * pairs),
    mend: portLines(comfortable, localPorts, pairs, machine.sysctl('net.ipv4.ip_local_reserved_ports')),
    isAdvised: comfortable.connections > localPorts * pairs,
  };
}

/**
 * Sources times backends of all pools. Where weights differ, the heaviest backend has used its ports up when others have
 * some left, and then clients no longer come to where they belong.
 */
function pairsOf(pools: readonly PoolConfig[]): number {
  const seen = new Set<string>();
  let pairs = 0;
  for (const { backends, sourceAddresses } of pools) {
    const takers = backends.filter(({ weight, backup, host, port }) => {
      return weight > 0 && !backup && !seen.has(`${host}:${port}`);
    });
    for (const { host, port } of takers) seen.add(`${host}:${port}`);
    pairs += Math.max(1, sourceAddresses.length) * backendsInBalance(takers);
  }
  return pairs;
}

function backendsInBalance(backends: readonly BackendConfig[]): number {
  const weights = backends.map(({ weight }) => weight);
  return weights.length === 0 ? 0 : weights.reduce((sum, weight) => sum + weight) / Math.max(...weights);
}

function portLines({ connections, config }: Plan, localPorts: number, pairs: number, reserved: string): string[] {
  const own = ownPorts(config);
  const most = PORT_MAX - FREE_PORT_FIRST + 1 - own.length;
  const widen = widerLine([reserved, ...own].filter((each) => each !== '').join(','));
  const sources = sourcesLine(config, connections / (localPorts * pairs));
  if (localPorts >= most) return [sources];
  if (most * pairs >= connections) return [widen, sources];
  return [sources, `${widen} and ${sourcesLine(config, connections / (most * pairs))}`];
}

function widerLine(reserved: string): string {
  const line = sysctlLine('net.ipv4.ip_local_port_range', `${FREE_PORT_FIRST} ${PORT_MAX}`);
  return reserved === '' ? line : `${line} net.ipv4.ip_local_reserved_ports=${reserved}`;
}

/** Who listens on a port of the range finds it taken by a connection when he starts. */
function ownPorts({ listeners, admin }: Load): number[] {
  const ports = [...listeners.map(({ bind }) => bind.port), admin?.bind.port ?? 0];
  return [...new Set(ports)].filter((port) => port >= FREE_PORT_FIRST);
}

function sourcesLine({ pools }: Load, factor: number): string {
  const sources = Math.max(...pools.map(({ sourceAddresses }) => Math.max(1, sourceAddresses.length)));
  const count = Math.ceil(sources * factor);
  const key = `pools.${pools.length === 1 ? pools[0]!.name : '*'}.source_addresses`;
  if (count <= SOURCES_MAX) return `${key}: ${count} addresses of this machine`;
  return `${key}: ${SOURCES_MAX} addresses of this machine, and ${Math.ceil(count / SOURCES_MAX)} times as many backends`;
}

// A port whose connection we have ended is free again after a minute; for another one to the same backend it needn't wait.
function lookAtReuse(reuse: number, { machine, plan }: Situation): Observation {
  const pairs = pairsOf(plan.config.pools);
  const isScarce = pairs > 0 && plan.connections * 2 > machine.localPorts * pairs;
  return {
    found: `${REUSES[reuse] ?? reuse}${isScarce ? '; who comes back finds most ports in TIME_WAIT' : ''}`,
    needed: isScarce ? 'on' : '-',
    mend: [sysctlLine('net.ipv4.tcp_tw_reuse', 1)],
    isAdvised: isScarce && reuse !== 1,
  };
}

const REUSES: Record<number, string> = { 0: 'off', 1: 'on', 2: 'for loopback' };

function lookAtTimeWait(most: number, { plan }: Situation): Observation {
  return {
    found: `${countText(most)} when all leave at once; the others do without TIME_WAIT`,
    needed: countText(plan.connections),
    mend: [sysctlLine('net.ipv4.tcp_max_tw_buckets', plan.connections)],
    isAdvised: most < plan.connections,
  };
}

// ---- Tracking and queues ---------------------------------------------------------------------------------------------

/** The module may be there while no rule of the firewall asks for it. */
function lookAtTracking(situation: Situation): Observation | null {
  const observation = tracked.look(situation);
  if (observation === null || numberOf(situation.machine, CONNTRACK_COUNT) !== 0) return observation;
  const { bound = 0, ...rest } = observation;
  return { ...rest, found: `${rest.found}: nothing is tracked`, isAdvised: bound < situation.plan.connections };
}

/** Of each worker's socket: when a network comes back, so do all its clients. */
function lookAtQueue(most: number, { plan }: Situation): Observation {
  const needed = Math.min(BACKLOG, Math.ceil(plan.connections / plan.workers));
  return {
    found: `${countText(most)} can wait for each worker, when all come at once`,
    needed: countText(needed),
    mend: [sysctlLine('net.core.somaxconn', needed)],
    isAdvised: most < needed,
  };
}

/** It counts only without SYN cookies, which answer when the queue is full. */
function lookAtSyns(most: number, { machine, plan }: Situation): Observation {
  const hasCookies = numberOf(machine, 'net.ipv4.tcp_syncookies') !== 0;
  const needed = Math.min(BACKLOG, plan.connections);
  return {
    found: `${countText(most)}, SYN cookies ${hasCookies ? 'on' : 'off'}`,
    needed: hasCookies ? '-' : `${countText(needed)} or SYN cookies`,
    mend: [sysctlLine('net.ipv4.tcp_syncookies', 1), sysctlLine('net.ipv4.tcp_max_syn_backlog', needed)],
    isAdvised: !hasCookies && most < needed,
  };
}

/** bbr sets a timer for each burst that a socket sends. */
function lookAtCongestion({ machine }: Situation): Observation | null {
  const found = machine.sysctl('net.ipv4.tcp_congestion_control');
  if (found === '') return null;
  return {
    found,
    needed: '-',
    mend: [sysctlLine('net.ipv4.tcp_congestion_control', 'cubic')],
    isAdvised: found === 'bbr',
  };
}
