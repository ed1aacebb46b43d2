// GET /metrics: what is shown to Prometheus, and under which names. Units are seconds and bytes; what only grows ends in
// _total. Each number is summed when it is asked for: nothing is counted twice, and nobody pays while nobody asks.
import { formatAddress } from '../config/address.ts';
import { type Balancer, queueOf, standingOf, whyNotReady } from '../control/balancer.ts';
import { connackCounts, connackSeconds, connectSeconds } from '../control/figures.ts';
import type { HealthState } from '../control/health/trial.ts';
import { MOVE_KINDS } from '../control/moves/goal.ts';
import { OPERATOR_STATES } from '../control/operator.ts';
import type { ProcessFigures } from '../control/process-figures.ts';
import type { Backend } from '../control/snapshot.ts';
import { sourceStatuses } from '../control/sources.ts';
import type { WorkerState } from '../control/supervisor.ts';
import { carrierOf } from '../engine/engine.ts';
import { reasons } from '../reasons.ts';
import { version } from '../version.ts';
import { counter, type Family, gauge, histogram } from './exposition.ts';

const HEALTHS: readonly HealthState[] = ['up', 'suspect', 'down', 'drain'];
const WORKER_STATES: readonly WorkerState[] = ['starting', 'running', 'waiting', 'stopped'];

export function metricFamilies(balancer: Balancer, figures: ProcessFigures): Family[] {
  return [
    ...instanceFamilies(balancer),
    ...workerFamilies(balancer),
    ...connectionFamilies(balancer),
    ...protocolFamilies(balancer),
    ...healthFamilies(balancer),
    ...backendFamilies(balancer),
    ...answerFamilies(balancer),
    ...sourceFamilies(balancer),
    ...moveFamilies(balancer),
    ...admissionFamilies(balancer),
    ...hookFamilies(balancer),
    ...loopFamilies(balancer),
    ...processFamilies(figures),
  ];
}

function instanceFamilies(balancer: Balancer): Family[] {
  const { engine, groups, config, doors } = balancer;
  const listeners = groups.map(({ name, host, port }) => {
    const listener = config.listeners.find((each) => each.name === name)!;
    const address = formatAddress({ host, port });
    return { labels: { listener: name, address, pool: listener.pool, engine: carrierOf(engine, listener) }, value: 1 };
  });
  const expiries = doors.certificates.map(({ listener, path, notAfterMs }) => ({
    labels: { listener, file: path },
    value: notAfterMs / 1000,
  }));
  const build = { labels: { version: version(), node: process.version, engine }, value: 1 };
  return [
    gauge('tidegate_build_info', 'What runs, in the labels; always 1.', build),
    gauge('tidegate_listener_info', 'The listeners, in the labels; always 1.', ...listeners),
    gauge('tidegate_tls_certificate_expiry_timestamp_seconds', 'When each certificate ends, since 1970.', ...expiries),
    gauge('tidegate_ready', 'Whether /readyz answers 200.', { value: Number(whyNotReady(balancer) === undefined) }),
  ];
}

function workerFamilies({ supervisor }: Balancer): Family[] {
  const workers = supervisor.statuses();
  const states = workers.flatMap(({ index, state }) =>
    WORKER_STATES.map((name) => ({ labels: { worker: index, state: name }, value: Number(name === state) })),
  );
  const each = (value: (worker: (typeof workers)[number]) => number) =>
    workers.map((worker) => ({ labels: { worker: worker.index }, value: value(worker) }));
  return [
    gauge('tidegate_worker_state', "Each worker's state: 1 for the one that it is in.", ...states),
    counter('tidegate_worker_restarts_total', 'Workers that died and were started again.', ...each((w) => w.restarts)),
    gauge('tidegate_worker_connections', 'Client connections open in each worker.', ...each((w) => w.connections)),
    gauge(
      'tidegate_worker_connections_limit',
      'Client connections that each worker can hold.',
      ...each((w) => w.connectionsMax),
    ),
  ];
}

function connectionFamilies({ supervisor: { totals }, accessLog, takeOvers }: Balancer): Family[] {
  const { accepted, acceptErrors, bytesFromClients, bytesToClients, recordsDropped, ...sums } = totals.sums();
  const value = (number: number) => ({ value: number });
  return [
    gauge('tidegate_connections', 'Client connections open now.', value(totals.connections())),
    counter('tidegate_connections_accepted_total', 'Client connections accepted.', value(accepted)),
    counter('tidegate_accept_errors_total', 'Accepts that failed.', value(acceptErrors)),
    counter('tidegate_tls_handshakes_total', 'TLS handshakes that succeeded.', value(sums.tlsHandshakes)),
    counter('tidegate_tls_resumptions_total', 'Those that resumed a session.', value(sums.tlsResumed)),
    counter('tidegate_take_overs_total', 'Sessions that began while another of their ClientId was open.', {
      value: takeOvers.count,
    }),
    counter('tidegate_take_over_loops_total', 'Times that clients of one ClientId began to throw each other out.', {
      value: takeOvers.loops,
    }),
    counter('tidegate_client_received_bytes_total', 'Bytes from clients.', value(bytesFromClients)),
    counter('tidegate_client_sent_bytes_total', 'Bytes to clients.', value(bytesToClients)),
    counter(
      'tidegate_access_records_dropped_total',
      'Ended connections whose access record found no room.',
      value(recordsDropped),
    ),
    counter(
      'tidegate_access_log_lines_dropped_total',
      'Lines of the access log that could not be written.',
      value(accessLog.linesDropped()),
    ),
  ];
}

function protocolFamilies({ supervisor: { totals }, backends }: Balancer): Family[] {
  const byReason = totals.byReason();
  const closed = reasons.flatMap((reason) => {
    if (reason === undefined || byReason[reason.name] === undefined) return [];
    const { name, side, status } = reason;
    return [{ labels: { reason: name, side, status }, value: byReason[name]! }];
  });
  const protocols = Object.entries(totals.closedByProtocol()).map(([protocol, value]) => ({
    labels: { protocol },
    value,
  }));
  const pools = new Map(backends.map(({ pool, poolId }) => [pool, poolId]));
  const connects = [...pools].flatMap(([pool, id]) =>
    Object.entries(totals.connectsByProtocol(id)).map(([protocol, value]) => ({ labels: { pool, protocol }, value })),
  );
  return [
    counter(
      'tidegate_connections_closed_total',
      "Connections that ended, by why, by whose doing, and with the access log's status: refusals have another than 200.",
      ...closed,
    ),
    counter(
      'tidegate_connects_total',
      'CONNECT packets that could be read, by MQTT version; other: refused for their version.',
      ...connects,
    ),
    histogram('tidegate_keep_alive_seconds', 'Keep Alive, as clients ask for it in CONNECT.', {
      reading: totals.keepAlives(),
    }),
    counter(
      'tidegate_connections_closed_by_protocol_total',
      'Connections that ended, by the MQTT version of the CONNECT.',
      ...protocols,
    ),
    histogram('tidegate_session_duration_seconds', 'How long connections that reached a backend lasted.', {
      reading: totals.ages(),
    }),
    histogram(
      'tidegate_session_keep_alive_seconds',
      'Keep Alive of connections that reached a backend, at their end.',
      { reading: totals.keepAlivesLast() },
    ),
  ];
}

function healthFamilies(balancer: Balancer): Family[] {
  const { backends, judge, operator } = balancer;
  const standings = backends.map((backend) => ({
    backend,
    labels: labelsOf(backend),
    ...standingOf(balancer, backend),
  }));
  const each = (value: (standing: (typeof standings)[number]) => number) =>
    standings.map((standing) => ({ labels: standing.labels, value: value(standing) }));
  const states = (names: readonly string[], stateOf: (standing: (typeof standings)[number]) => string) =>
    standings.flatMap((standing) => {
      const state = stateOf(standing);
      return names.map((name) => ({ labels: { ...standing.labels, state: name }, value: Number(state === name) }));
    });
  const probed = standings.filter(({ backend }) => backend.config.health !== null);
  const probes = probed.flatMap(({ labels, probes }) =>
    Object.entries(probes).map(([verdict, value]) => ({ labels: { ...labels, verdict }, value })),
  );
  const durations = probed.flatMap(({ labels, lastProbe }) =>
    lastProbe === null ? [] : [{ labels, value: lastProbe.durationMs / 1000 }],
  );
  return [
    gauge('tidegate_backend_up', 'Whether the backend takes new clients.', ...each((s) => Number(s.state === 'up'))),
    gauge(
      'tidegate_backend_state',
      "Each backend's state for clients: 1 for the one that it is in.",
      ...states(HEALTHS, ({ state }) => state),
    ),
    gauge(
      'tidegate_backend_judged_state',
      'Its health, whatever an operator says: 1 for the state that it is in.',
      ...states(HEALTHS, ({ backend }) => judge.standingOf(backend).state),
    ),
    gauge(
      'tidegate_backend_operator_state',
      'What an operator has said of it: 1 for that, up where nothing.',
      ...states(OPERATOR_STATES, ({ backend }) => operator.stateOf(backend)),
    ),
    gauge(
      'tidegate_backend_state_since_timestamp_seconds',
      'When it came into this state, since 1970.',
      ...each(({ sinceMs }) => (performance.timeOrigin + sinceMs) / 1000),
    ),
    gauge('tidegate_backend_share', 'The part of its clients that it gets, 0 to 1.', ...each(({ share }) => share)),
    counter('tidegate_backend_probes_total', 'Health probes, by what they found.', ...probes),
    gauge('tidegate_backend_probe_duration_seconds', 'How long the last health probe took.', ...durations),
  ];
}

function moveFamilies({ moves, backends }: Balancer): Family[] {
  const running = moves.running();
  const kinds = MOVE_KINDS.map((kind) => ({
    labels: { kind },
    value: running.filter((move) => move.kind === kind).length,
  }));
  const moved = moves.moved().flatMap(({ backend, kind, count }) => {
    const found = backends.find(({ id }) => id === backend);
    return found === undefined ? [] : [{ labels: { ...labelsOf(found), kind }, value: count }];
  });
  return [
    gauge('tidegate_moves_running', 'Drains, rebalances and the like under way.', ...kinds),
    counter('tidegate_moved_connections_total', 'Connections that were told to go, by where they were.', ...moved),
  ];
}

function backendFamilies({ supervisor: { totals }, backends }: Balancer): Family[] {
  const each = (value: (backend: Backend) => number) =>
    backends.map((backend) => ({ labels: labelsOf(backend), value: value(backend) }));
  const sumsOf = ({ id }: Backend) => totals.sumsOf(id);
  return [
    gauge('tidegate_backend_weight', 'Share of the clients, as configured.', ...each(({ config }) => config.weight)),
    gauge(
      'tidegate_backend_connections',
      'Connections open now, and those that are being made.',
      ...each(({ id }) => totals.activeOf(id)),
    ),
    counter('tidegate_backend_chosen_total', 'Times that it was the choice.', ...each((b) => sumsOf(b).chosen)),
    counter('tidegate_backend_connects_total', 'Connects that succeeded.', ...each((b) => sumsOf(b).connects)),
    counter('tidegate_backend_connect_failures_total', 'Connects that failed.', ...each((b) => sumsOf(b).failures)),
    counter(
      'tidegate_backend_sent_bytes_total',
      'Bytes from its clients, since it took their CONNECT.',
      ...each((b) => sumsOf(b).bytesTo),
    ),
    counter('tidegate_backend_received_bytes_total', 'Bytes to its clients.', ...each((b) => sumsOf(b).bytesFrom)),
  ];
}

/** What backends answer to a connect and to CONNECT, and how soon. */
function answerFamilies({ supervisor: { totals }, backends }: Balancer): Family[] {
  const answers = backends.map((backend) => ({ labels: labelsOf(backend), figures: totals.figuresOf(backend.id) }));
  const connacks = answers.flatMap(({ labels, figures }) =>
    connackCounts(figures).map(([code, value]) => ({ labels: { ...labels, code }, value })),
  );
  return [
    counter(
      'tidegate_backend_connacks_total',
      'Answers to CONNECT, by their code in decimal; other: first bytes that were no CONNACK.',
      ...connacks,
    ),
    histogram(
      'tidegate_backend_connect_duration_seconds',
      'From the start of a connect to its success.',
      ...answers.map(({ labels, figures }) => ({ labels, reading: connectSeconds(figures) })),
    ),
    histogram(
      'tidegate_backend_connack_duration_seconds',
      'From CONNECT to CONNACK.',
      ...answers.map(({ labels, figures }) => ({ labels, reading: connackSeconds(figures) })),
    ),
  ];
}

function sourceFamilies({ supervisor, backends }: Balancer): Family[] {
  const statuses = sourceStatuses(backends, supervisor.totals);
  const sources = backends.flatMap((backend, index) =>
    statuses[index]!.map((status) => ({
      labels: { ...labelsOf(backend), source: status.address ?? 'any' },
      ...status,
    })),
  );
  const each = (value: (source: (typeof sources)[number]) => number) =>
    sources.map((source) => ({ labels: source.labels, value: value(source) }));
  return [
    gauge('tidegate_source_connections', 'Connections open from a source to a backend.', ...each((s) => s.active)),
    gauge('tidegate_source_ports_free', 'Ports left for more, as far as this process knows.', ...each((s) => s.free)),
    counter('tidegate_source_exhausted_total', 'Connects that found no port left.', ...each((s) => s.exhausted)),
  ];
}

function admissionFamilies({ config, groups, backends, supervisor: { totals } }: Balancer): Family[] {
  const pools = config.pools.map(({ name, maxConnections }) => ({
    labels: { pool: name },
    limit: maxConnections,
    ...queueOf(name, backends, totals),
  }));
  const members = backends.map((backend) => ({
    labels: labelsOf(backend),
    limit: backend.config.maxConnections,
    ...totals.queueOfBackend(backend.id),
  }));
  const limitOf = new Map(config.listeners.map(({ name, maxConnections }) => [name, maxConnections]));
  const listeners = groups.map(({ name, index }) => ({
    labels: { listener: name },
    limit: limitOf.get(name)!,
    active: totals.admittedOf(index),
  }));
  return [
    gauge('tidegate_pool_queued', 'Clients that wait until they may be dialled.', ...valuesOf(pools, (p) => p.queued)),
    counter('tidegate_pool_queued_total', 'Clients that had to wait.', ...valuesOf(pools, (p) => p.queuedTotal)),
    gauge('tidegate_pool_connections_limit', 'max_connections of the pool, where it has one.', ...limitsOf(pools)),
    gauge(
      'tidegate_backend_queued',
      'Clients that wait for this backend and no other.',
      ...valuesOf(members, (m) => m.queued),
    ),
    counter('tidegate_backend_queued_total', 'Clients that had to.', ...valuesOf(members, (m) => m.queuedTotal)),
    gauge('tidegate_backend_connections_limit', 'max_connections of it, where it has one.', ...limitsOf(members)),
    gauge(
      'tidegate_listener_connections',
      'Clients of the listener whose CONNECT was taken.',
      ...valuesOf(listeners, (l) => l.active),
    ),
    gauge('tidegate_listener_connections_limit', 'max_connections of it, where it has one.', ...limitsOf(listeners)),
  ];
}

interface Labelled {
  labels: Record<string, string>;
}

function hookFamilies({ hooks, supervisor: { totals } }: Balancer): Family[] {
  const { hookAsked, hookTimeouts, hookBusy } = totals.sums();
  const { errors, inFlight, restarts, durations } = hooks.figures;
  const value = (number: number) => ({ value: number });
  return [
    counter('tidegate_hook_asked_total', 'CONNECTs that a hook was asked for.', value(hookAsked)),
    counter('tidegate_hook_errors_total', 'Those for which it failed.', value(errors)),
    counter('tidegate_hook_timeouts_total', 'Those that it had no decision for in time.', value(hookTimeouts)),
    counter('tidegate_hook_busy_total', 'CONNECTs for which too many waited already.', value(hookBusy)),
    counter(
      'tidegate_hook_restarts_total',
      'Times that the thread of the hooks had to be begun anew.',
      value(restarts),
    ),
    gauge('tidegate_hook_in_flight', 'Decisions that are awaited from it now.', value(inFlight)),
    histogram('tidegate_hook_duration_seconds', 'What its decisions took.', { reading: durations }),
  ];
}

function valuesOf<Item extends Labelled>(items: readonly Item[], numberOf: (item: Item) => number) {
  return items.map((item) => ({ labels: item.labels, value: numberOf(item) }));
}

function limitsOf(items: readonly (Labelled & { limit: number })[]) {
  return valuesOf(
    items.filter(({ limit }) => limit > 0),
    ({ limit }) => limit,
  );
}

function labelsOf({ pool, config }: Backend): { pool: string; backend: string } {
  return { pool, backend: config.address };
}

function loopFamilies({ supervisor: { totals } }: Balancer): Family[] {
  const { turns, completions, buffersStarved } = totals.sums();
  const { buffersHeld, arenaUsed } = totals.gauges();
  return [
    counter('tidegate_worker_turns_total', "Turns of the workers' loops.", {
      value: turns,
    }),
    counter('tidegate_worker_completions_total', 'Events that these turns served; with engine uring.', {
      value: completions,
    }),
    gauge('tidegate_buffers_held', 'Receive buffers with bytes that wait to be sent.', { value: buffersHeld }),
    counter('tidegate_buffers_starved_total', 'Reads that found no buffer.', { value: buffersStarved }),
    gauge('tidegate_client_id_chunks_used', 'Chunks of memory that long ClientIds take.', { value: arenaUsed }),
  ];
}

function processFamilies(figures: ProcessFigures): Family[] {
  const { quantiles, count, sumSeconds } = figures.loopDelay;
  const { descriptorsOpen } = figures;
  return [
    {
      name: 'tidegate_event_loop_delay_seconds',
      type: 'summary',
      help: "How late the main thread's timers fire; the quantiles are those since the previous scrape.",
      samples: [
        ...quantiles.map(({ quantile, seconds }) => ({ labels: { quantile }, value: seconds })),
        { suffix: '_sum', value: sumSeconds },
        { suffix: '_count', value: count },
      ],
    },
    counter('tidegate_event_loop_active_seconds_total', "Time that the main thread's event loop was busy.", {
      value: figures.loopActiveSeconds,
    }),
    counter('tidegate_event_loop_idle_seconds_total', "Time that the main thread's event loop waited.", {
      value: figures.loopIdleSeconds,
    }),
    gauge('tidegate_process_start_time_seconds', 'When the process started, since 1970.', {
      value: figures.startSeconds,
    }),
    counter(
      'tidegate_process_cpu_seconds_total',
      'CPU time of all threads.',
      { labels: { mode: 'user' }, value: figures.cpuUserSeconds },
      { labels: { mode: 'system' }, value: figures.cpuSystemSeconds },
    ),
    gauge('tidegate_process_resident_memory_bytes', 'Resident memory.', { value: figures.residentBytes }),
    gauge('tidegate_process_heap_used_bytes', "The main thread's JavaScript heap.", { value: figures.heapUsedBytes }),
    gauge(
      'tidegate_process_open_fds',
      "Descriptors in the process's table.",
      ...(descriptorsOpen === undefined ? [] : [{ value: descriptorsOpen }]),
    ),
    gauge('tidegate_process_max_fds', 'RLIMIT_NOFILE.', { value: figures.descriptorsMax }),
  ];
}
