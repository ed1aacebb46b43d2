// What the data plane counts of MQTT, against what clients and backends know. Where a connection ended in the very moment
// in which something was to be counted, either is right: such lives stand between a least and a most.
import {
  BACKEND_COUNTERS_BYTES,
  BACKEND_COUNTERS_BYTES_FROM,
  BACKEND_COUNTERS_BYTES_TO,
  BACKEND_COUNTERS_CONNECTS,
  BACKEND_FIGURES,
  BACKEND_FIGURES_BYTES,
  BACKEND_FIGURES_CONNACK,
  BACKEND_FIGURES_CONNACKS,
  BACKEND_FIGURES_CONNECT,
  BACKEND_FIGURES_OTHER,
  CONNACK_CODES,
  COUNTERS_AGES,
  COUNTERS_CONNECTS,
  COUNTERS_KEEP_ALIVES,
  COUNTERS_KEEP_ALIVES_LAST,
  COUNTERS_PROTOCOLS,
  HEADER_REGION_BACKEND_COUNTERS,
  HEADER_REGION_COUNTERS,
  HISTOGRAM_BOUNDS,
  HISTOGRAM_SUM,
  LATENCY_BUCKETS,
  NONE,
  PROTOCOL_OTHER,
  PROTOCOLS_MAX,
  REASON_PROTOCOL_VERSION,
} from '../../assembly/layout.ts';
import { regionOffset } from '../../src/header.ts';
import type { Clock, Life } from './life.ts';
import type { AccessRecord } from './records.ts';
import { Violation } from './violation.ts';

/** What a first piece may be of, to tell a code from it. */
const CONNACK_HEAD_BYTES = 8;
const OTHER = -1;
/** A dial that has timed out may still succeed while it is being cancelled. */
const LATE_MS = 5000;

interface Bounds {
  least: number;
  most: number;
}

export class FigureBooks {
  /** By protocol level, in CONNECTs and in records. */
  readonly #connects = new Array<number>(PROTOCOLS_MAX).fill(0);
  readonly #closed = new Array<number>(PROTOCOLS_MAX).fill(0);
  #keepAlives = 0;
  readonly #established: Bounds = { least: 0, most: 0 };
  readonly #bytesTo: Bounds[] = [];
  readonly #bytesFrom: number[] = [];
  /** By backend, and the code or OTHER. */
  readonly #answers = new Map<string, Bounds>();
  #dials = 0;
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  onRecord(life: Life, record: AccessRecord): void {
    const { plan } = life.client;
    const { reason, version, backend, clientIdBytes } = record;
    this.#closed[version === 0 || (version >= 3 && version <= 5) ? version : PROTOCOL_OTHER]! += 1;
    this.#dials += life.dials;
    if (reason === REASON_PROTOCOL_VERSION) this.#connects[PROTOCOL_OTHER]! += 1;
    // Everybody has a ClientId, which is known when the CONNECT is whole.
    if (clientIdBytes > 0) {
      this.#connects[plan.version]! += 1;
      this.#keepAlives += plan.keepAlive;
    }
    if (backend !== NONE) this.#onBackend(life, record);
  }

  #onBackend(life: Life, { backend, bytesFromClient, bytesToClient }: AccessRecord): void {
    this.#bytesFrom[backend] = (this.#bytesFrom[backend] ?? 0) + bytesToClient;
    if (!life.isEstablished) return;
    const { socket } = life.backend!;
    const wasHeard = bytesToClient > 0;
    this.#bytesTo[backend] ??= { least: 0, most: 0 };
    widen(this.#bytesTo[backend], wasHeard, bytesFromClient);
    widen(this.#established, wasHeard, 1);
    if (socket.firstReceived === 0) return;
    const key = `${backend} ${firstCode(life)}`;
    const answers = this.#answers.get(key) ?? { least: 0, most: 0 };
    this.#answers.set(key, answers);
    widen(answers, wasHeard, 1);
  }

  /** When every connection has its record. */
  check(memory: WebAssembly.Memory, backends: number): void {
    const counters = numbers(memory, regionOffset(memory, HEADER_REGION_COUNTERS));
    for (let protocol = 0; protocol < PROTOCOLS_MAX; protocol++) {
      equal(`CONNECTs of version ${protocol}`, counters(COUNTERS_CONNECTS + protocol * 8), this.#connects[protocol]!);
      equal(`ends of version ${protocol}`, counters(COUNTERS_PROTOCOLS + protocol * 8), this.#closed[protocol]!);
    }
    const connects = this.#connects.reduce((sum, count) => sum + count, 0) - this.#connects[PROTOCOL_OTHER]!;
    equal('Keep Alives', countOf(counters, COUNTERS_KEEP_ALIVES), connects);
    equal('the sum of Keep Alives', counters(COUNTERS_KEEP_ALIVES + HISTOGRAM_SUM), this.#keepAlives);
    within('ages', countOf(counters, COUNTERS_AGES), this.#established);
    equal('last Keep Alives', countOf(counters, COUNTERS_KEEP_ALIVES_LAST), countOf(counters, COUNTERS_AGES));
    this.#checkBackends(memory, backends, countOf(counters, COUNTERS_AGES));
  }

  #checkBackends(memory: WebAssembly.Memory, backends: number, sessions: number): void {
    const region = regionOffset(memory, HEADER_REGION_BACKEND_COUNTERS);
    let connects = 0;
    let connected = 0;
    for (let backend = 0; backend < backends; backend++) {
      const counters = numbers(memory, region + backend * BACKEND_COUNTERS_BYTES);
      const figures = numbers(memory, region + BACKEND_FIGURES + backend * BACKEND_FIGURES_BYTES);
      connects += counters(BACKEND_COUNTERS_CONNECTS);
      const answered = this.#latencies(figures, BACKEND_FIGURES_CONNECT);
      if (answered < counters(BACKEND_COUNTERS_CONNECTS)) fail(`backend ${backend} was timed ${answered} times`);
      connected += answered;
      equal(`bytes from backend ${backend}`, counters(BACKEND_COUNTERS_BYTES_FROM), this.#bytesFrom[backend] ?? 0);
      const bytesTo = this.#bytesTo[backend] ?? { least: 0, most: 0 };
      within(`bytes to backend ${backend}`, counters(BACKEND_COUNTERS_BYTES_TO), bytesTo);
      this.#checkAnswers(backend, figures);
    }
    equal('sessions', sessions, connects);
    within('dials that succeeded', connected, { least: connects, most: this.#dials });
  }

  #checkAnswers(backend: number, figures: (offset: number) => number): void {
    let sum = 0;
    for (let code = 0; code < CONNACK_CODES; code++) {
      const count = figures(BACKEND_FIGURES_CONNACKS + code * 8);
      within(`CONNACKs of backend ${backend} with code ${code}`, count, this.#boundsOf(backend, code));
      sum += count;
    }
    within(`other answers of backend ${backend}`, figures(BACKEND_FIGURES_OTHER), this.#boundsOf(backend, OTHER));
    equal(`timed CONNACKs of backend ${backend}`, this.#latencies(figures, BACKEND_FIGURES_CONNACK), sum);
  }

  #boundsOf(backend: number, code: number): Bounds {
    return this.#answers.get(`${backend} ${code}`) ?? { least: 0, most: 0 };
  }

  /** How many there are; none of a dial may be longer than dials are let. */
  #latencies(figures: (offset: number) => number, first: number): number {
    const counts = Array.from({ length: LATENCY_BUCKETS }, (_, bucket) => figures(first + bucket * 8));
    const longestUs = 2 ** (Math.floor(counts.findLastIndex((count) => count > 0) / 4) + 1);
    const { timeouts, jumpedMs } = this.#clock;
    const limitMs = timeouts.dialTimeoutMs + jumpedMs + LATE_MS;
    if (first === BACKEND_FIGURES_CONNECT && longestUs > limitMs * 1000) fail(`a dial of more than ${longestUs} us`);
    return counts.reduce((sum, count) => sum + count, 0);
  }
}

/** By section 3.2 of the standard, from the bytes that were received first. */
function firstCode(life: Life): number {
  const { out, socket } = life.backend!;
  const bytes = new Uint8Array(CONNACK_HEAD_BYTES);
  const length = Math.min(socket.firstReceived, CONNACK_HEAD_BYTES);
  out.fill(bytes, 0, length, 0);
  if (bytes[0] !== 0x20) return OTHER;
  let lengthBytes = 1;
  while (lengthBytes < 4 && bytes[lengthBytes]! >= 0x80) lengthBytes++;
  const isLong = bytes[1]! >= 2; // room for flags and code
  return length >= lengthBytes + 3 && bytes[lengthBytes]! < 0x80 && isLong ? bytes[lengthBytes + 2]! : OTHER;
}

function widen(bounds: Bounds, isCertain: boolean, amount: number): void {
  bounds.most += amount;
  if (isCertain) bounds.least += amount;
}

function countOf(counters: (offset: number) => number, histogram: number): number {
  let count = 0;
  for (let index = 0; index <= HISTOGRAM_BOUNDS; index++) count += counters(histogram + index * 8);
  return count;
}

function numbers(memory: WebAssembly.Memory, base: number): (offset: number) => number {
  const view = new DataView(memory.buffer, base);
  return (offset) => Number(view.getBigUint64(offset, true));
}

function equal(name: string, value: number, expected: number): void {
  within(name, value, { least: expected, most: expected });
}

function within(name: string, value: number, { least, most }: Bounds): void {
  if (value < least || value > most) fail(`${name}: ${value} were counted, ${least} to ${most} there were`);
}

function fail(message: string): never {
  throw new Violation(message);
}
