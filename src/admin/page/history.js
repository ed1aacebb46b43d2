// The last ten minutes, as this page has seen them: totals of the status become rates here.

const SAMPLES_MAX = 600;
/** What is shown of it grows with it, in seconds. */
const WINDOWS_S = [60, 120, 300, 600];
/** A rate over less would be an accident. The first status comes at once, the second when its time is. */
const PERIOD_MS_MIN = 500;
/** Samples that are further apart have a gap between them. */
const GAP_MS = 5000;

export class History {
  /** In seconds since 1970, rising. */
  times = [];
  #series = new Map();
  #last;

  /** From when until when there is something to show. */
  window() {
    const now = this.times.at(-1) ?? Date.now() / 1000;
    const seconds = now - (this.times[0] ?? now);
    return [now - (WINDOWS_S.find((window) => seconds <= window) ?? WINDOWS_S.at(-1)), now];
  }

  /** One value for each of `times`; null where there was none. */
  series(name) {
    return this.#series.get(name) ?? this.times.map(() => null);
  }

  latest(name) {
    return this.#series.get(name)?.at(-1) ?? null;
  }

  add(status, atMs) {
    const last = this.#last;
    if (last !== undefined && atMs >= last.atMs && atMs - last.atMs < PERIOD_MS_MIN) return;
    const isNew = last === undefined || last.status.started_at !== status.started_at || atMs <= last.atMs;
    if (isNew || atMs - last.atMs > GAP_MS) this.#push(atMs - 1, new Map());
    const seconds = isNew ? undefined : (atMs - last.atMs) / 1000;
    this.#push(atMs, valuesOf(status, isNew ? undefined : last.status, seconds));
    this.#last = { status, atMs };
  }

  #push(atMs, values) {
    for (const name of values.keys()) {
      if (!this.#series.has(name)) this.#series.set(name, new Array(this.times.length).fill(null));
    }
    this.times.push(atMs / 1000);
    for (const [name, list] of this.#series) list.push(values.get(name) ?? null);
    if (this.times.length <= SAMPLES_MAX) return;
    this.times.shift();
    for (const [name, list] of this.#series) {
      list.shift();
      if (list.every((value) => value === null)) this.#series.delete(name);
    }
  }
}

/** Names are `what`, or `what of pool`, or `what of pool/backend`. */
function valuesOf(status, before, seconds) {
  const values = new Map();
  const rate = (now, then) => (seconds === undefined || !(then <= now) ? null : (now - then) / seconds);
  values.set('connections', status.connections);
  values.set('connects', rate(connectsOf(status), before && connectsOf(before)));
  values.set('refusals', rate(refusalsOf(status), before && refusalsOf(before)));
  values.set('in', rate(status.counters.bytes_from_clients, before?.counters.bytes_from_clients));
  values.set('out', rate(status.counters.bytes_to_clients, before?.counters.bytes_to_clients));
  for (const pool of status.pools) {
    const poolBefore = before?.pools.find(({ name }) => name === pool.name);
    const backendsBefore = new Map(poolBefore?.backends.map((backend) => [backend.address, backend]));
    const sums = { connections: 0, connects: null, in: null, out: null, latency: null };
    for (const backend of pool.backends) {
      const then = backendsBefore.get(backend.address);
      const own = {
        connections: backend.connections,
        connects: rate(backend.connects, then?.connects),
        in: rate(backend.bytes_to_backend, then?.bytes_to_backend),
        out: rate(backend.bytes_from_backend, then?.bytes_from_backend),
        latency: latencyOf(backend),
      };
      for (const [what, value] of Object.entries(own)) {
        values.set(`${what} of ${pool.name}/${backend.address}`, value);
        if (value === null) continue;
        sums[what] = what === 'latency' ? Math.max(sums.latency ?? 0, value) : (sums[what] ?? 0) + value;
      }
    }
    for (const [what, value] of Object.entries(sums)) values.set(`${what} of ${pool.name}`, value);
  }
  return values;
}

/** CONNECTs that were read, where the version counts them, else those that a backend was found for. */
function connectsOf({ connects_by_protocol: byProtocol, pools }) {
  if (byProtocol) return Object.values(byProtocol).reduce((sum, count) => sum + count, 0);
  return pools.reduce((sum, { backends }) => sum + backends.reduce((all, { connects }) => all + connects, 0), 0);
}

export function refusalsOf({ counters }) {
  return counters.refused;
}

/** From CONNECT to CONNACK, where that is measured; a probe takes about as long. */
function latencyOf({ connack_seconds: connack, probe }) {
  if (connack !== undefined) return connack?.p99 ?? null;
  return probe?.verdict === 'pass' ? probe.duration_seconds : null;
}

export function measuresConnacks({ backends }) {
  return backends.some((backend) => 'connack_seconds' in backend);
}
