// What metrics want of connections that have ended, counted by the log thread as it passes their records, and read by
// the main thread. Records that found no room in their ring (recordsDropped) are missing here.
import {
  RECORD_CLOSED_MS,
  RECORD_KEEP_ALIVE,
  RECORD_OPENED_MS,
  RECORD_REASON,
  RECORD_VERSION,
} from '../../assembly/layout.ts';
import { reasons } from '../reasons.ts';
import type { AccessRecord } from './record-format.ts';

/** Upper bounds. */
const SESSION_SECONDS = [0.1, 1, 10, 60, 300, 1800, 3600, 21_600, 86_400, 604_800];
const KEEP_ALIVE_SECONDS = [0, 10, 30, 60, 120, 300, 600, 1200, 3600, 14_400];
const STATUS_ESTABLISHED = 200;
/** By protocol level; those in between were never MQTT's. */
const PROTOCOLS: Record<number, string> = { 0: 'unknown', 3: '3.1', 4: '3.1.1', 5: '5.0' };
const LEVELS = Object.keys(PROTOCOLS).map(Number);
const LEVEL_OTHER = 1;

/** Each number has one writer, and is read and written with one 64-bit access. */
export interface TallyMemory {
  /** By level; other levels, which are refused, under LEVEL_OTHER. */
  protocols: Float64Array;
  sessionSeconds: Float64Array;
  keepAliveSeconds: Float64Array;
}

export function createTally(): TallyMemory {
  return {
    protocols: shared(Math.max(...LEVELS) + 1),
    sessionSeconds: shared(histogramLength(SESSION_SECONDS)),
    keepAliveSeconds: shared(histogramLength(KEEP_ALIVE_SECONDS)),
  };
}

export interface HistogramReading {
  /** Upper bounds, ascending; the last count is of what lies above all of them. */
  bounds: readonly number[];
  counts: readonly number[];
  sum: number;
}

export class RecordTally {
  readonly #protocols: Float64Array;
  readonly #session: TallyHistogram;
  readonly #keepAlive: TallyHistogram;

  constructor({ protocols, sessionSeconds, keepAliveSeconds }: TallyMemory) {
    this.#protocols = protocols;
    this.#session = new TallyHistogram(SESSION_SECONDS, sessionSeconds);
    this.#keepAlive = new TallyHistogram(KEEP_ALIVE_SECONDS, keepAliveSeconds);
  }

  add(record: AccessRecord): void {
    const level = record.word(RECORD_VERSION);
    const index = PROTOCOLS[level] === undefined ? LEVEL_OTHER : level;
    this.#protocols[index]! += 1;
    if (reasons[record.word(RECORD_REASON)]?.status !== STATUS_ESTABLISHED) return;
    // The clock may have been set back meanwhile.
    const lastedMs = Math.max(0, record.double(RECORD_CLOSED_MS) - record.double(RECORD_OPENED_MS));
    this.#session.add(lastedMs / 1000);
    this.#keepAlive.add(record.word(RECORD_KEEP_ALIVE));
  }

  /** Connections by the protocol of their CONNECT; "unknown" are those that never sent one. */
  protocols(): { protocol: string; count: number }[] {
    const known = LEVELS.map((level) => ({ protocol: PROTOCOLS[level]!, count: this.#protocols[level]! }));
    return [...known, { protocol: 'other', count: this.#protocols[LEVEL_OTHER]! }];
  }

  /** How long established connections lasted. */
  sessionSeconds(): HistogramReading {
    return this.#session.read();
  }

  /** The Keep Alive that was in force at their end. */
  keepAliveSeconds(): HistogramReading {
    return this.#keepAlive.read();
  }
}

/** A count for each bound, one for what is above them, and the sum. */
class TallyHistogram {
  readonly #bounds: readonly number[];
  readonly #numbers: Float64Array;

  constructor(bounds: readonly number[], numbers: Float64Array) {
    this.#bounds = bounds;
    this.#numbers = numbers;
  }

  add(value: number): void {
    let index = 0;
    while (index < this.#bounds.length && value > this.#bounds[index]!) index++;
    this.#numbers[index]! += 1;
    this.#numbers[this.#bounds.length + 1]! += value;
  }

  read(): HistogramReading {
    const counts = [...this.#numbers.subarray(0, this.#bounds.length + 1)];
    return { bounds: this.#bounds, counts, sum: this.#numbers[this.#bounds.length + 1]! };
  }
}

function histogramLength(bounds: readonly number[]): number {
  return bounds.length + 2;
}

function shared(length: number): Float64Array {
  return new Float64Array(new SharedArrayBuffer(length * Float64Array.BYTES_PER_ELEMENT));
}
