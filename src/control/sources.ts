// The addresses that connections to backends are made from: whether this machine has them, how many ports each has for
// each backend, and a line in the log when one has none left. Only what this process has open is counted: other
// processes' connections and those that linger in TIME_WAIT take ports too.
import { sourceError } from '../errors.ts';
import type { Logger } from '../logger.ts';
import { boundSocket, close } from '../system/libc.ts';
import { localPorts } from '../system/local-ports.ts';
import type { Totals } from './counters.ts';
import type { Backend, Source } from './snapshot.ts';

const POLL_MS = 500;
/** Sources that run out again and again are worth one line a minute each. */
const SILENCE_MS = 60_000;

export interface SourceStatus {
  /** null: the one that the system chooses. */
  address: string | null;
  /** Open connections from there to the backend. */
  active: number;
  /** Ports that are left for more; connections of other pools to the same address count too. */
  free: number;
  /** Dials that found no port left. */
  exhausted: number;
}

/** Fails with a TidegateError when this machine hasn't one of the addresses. */
export function checkSources(backends: readonly Backend[]): void {
  for (const { pool, sources } of backends) {
    for (const source of sources) {
      const code = bindFault(source);
      if (code !== null) throw sourceError(code, source.address!, pool);
    }
  }
}

/** The errno's name, null when connections can be made from there. */
function bindFault({ address, sockaddr }: Source): string | null {
  if (address === null) return null;
  try {
    close(boundSocket(sockaddr));
    return null;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error);
  }
}

/** Of every backend, in their order. */
export function sourceStatuses(backends: readonly Backend[], totals: Totals): SourceStatus[][] {
  const ports = localPorts();
  const taken = new Map<string, number>();
  for (const backend of backends) {
    for (const source of backend.sources) {
      const pair = pairOf(backend, source);
      taken.set(pair, (taken.get(pair) ?? 0) + totals.activeFrom(backend.id, source.id));
    }
  }
  return backends.map((backend) =>
    backend.sources.map((source) => ({
      address: source.address,
      active: totals.activeFrom(backend.id, source.id),
      free: Math.max(0, ports - taken.get(pairOf(backend, source))!),
      exhausted: totals.exhaustionsFrom(backend.id, source.id),
    })),
  );
}

/** The two addresses that share the ports between them, whichever pools they stand in. */
function pairOf({ sockaddr }: Backend, source: Source): string {
  return `${source.sockaddr} ${sockaddr}`;
}

export interface SourceWatchOptions {
  /** As they are now. */
  backends(): readonly Backend[];
  totals: Totals;
  log: Logger;
}

/** Says when ports run out. Polls until the returned function is called. */
export function startSourceWatch(options: SourceWatchOptions): () => void {
  let backends: readonly Backend[] = [];
  let watches: SourceWatch[] = [];
  const look = (): void => {
    if (backends !== options.backends()) {
      backends = options.backends();
      watches = backends.map((backend) => new SourceWatch(backend, options));
    }
    for (const watch of watches) watch.look(performance.now());
  };
  look();
  const timer = setInterval(look, POLL_MS);
  return () => clearInterval(timer);
}

/** One backend's sources. */
class SourceWatch {
  readonly #backend: Backend;
  readonly #totals: Totals;
  readonly #log: Logger;
  #seen: number;
  readonly #sources: { source: Source; seen: number; announcedMs: number }[];

  constructor(backend: Backend, { totals, log }: SourceWatchOptions) {
    this.#backend = backend;
    this.#totals = totals;
    this.#log = log;
    this.#seen = totals.exhaustionsOf(backend.id);
    this.#sources = backend.sources.map((source) => ({
      source,
      seen: totals.exhaustionsFrom(backend.id, source.id),
      announcedMs: Number.NEGATIVE_INFINITY,
    }));
  }

  look(nowMs: number): void {
    const { id } = this.#backend;
    const count = this.#totals.exhaustionsOf(id);
    if (count === this.#seen) return;
    this.#seen = count;
    const grown = this.#sources.filter((watched) => {
      const before = watched.seen;
      watched.seen = this.#totals.exhaustionsFrom(id, watched.source.id);
      return watched.seen > before;
    });
    for (const watched of grown) {
      if (nowMs - watched.announcedMs < SILENCE_MS) continue;
      watched.announcedMs = nowMs;
      this.#announce(watched.source, this.#sources.length - grown.length);
    }
  }

  #announce(source: Source, othersLeft: number): void {
    const { pool, config, id } = this.#backend;
    const fields = { pool, backend: config.address, source: source.address };
    const code = bindFault(source);
    if (code !== null) {
      this.#log.error({ event: 'source_missing', ...fields, code }, sourceError(code, source.address!, pool).message);
      return;
    }
    const active = this.#totals.activeFrom(id, source.id);
    const ports = localPorts();
    const from = source.address ?? 'the address that the system chooses';
    const others = active < ports / 2 ? '; most are held by others or in TIME_WAIT: ss -tan shows them' : '';
    this.#log.error(
      { event: 'ports_exhausted', ...fields, active, ports },
      `ports exhausted: pool ${pool} has none left from ${from} to backend ${config.address} ` +
        `(${active} connections open, ${ports} ports in net.ipv4.ip_local_port_range); ` +
        `add source_addresses to the pool or widen the range${others}; ${fateText(othersLeft)}`,
    );
  }
}

function fateText(othersLeft: number): string {
  if (othersLeft === 0) return 'new clients go to the next backend, or are refused';
  return `its other ${othersLeft === 1 ? 'source is' : `${othersLeft} sources are`} still used`;
}
