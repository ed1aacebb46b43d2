// How soon backends answered in the last minute. Workers count since their start; what they had counted a while ago is
// kept here, so that a backend that has become slow shows at once, however long it was fast before.
import type { Totals } from './counters.ts';
import { connackPercentiles, connectPercentiles, FIGURES_LENGTH, type Figures, type Percentiles } from './figures.ts';

const SAMPLE_MS = 10_000;
/** The oldest is from 50 to 60 seconds ago. */
const SAMPLES = 6;
const NOTHING: Figures = new Float64Array(FIGURES_LENGTH);

export interface Latencies {
  connect: Percentiles | null;
  connack: Percentiles | null;
}

export class RecentLatencies {
  readonly #totals: Totals;
  /** By backend id, oldest first. */
  #samples: Map<number, Figures>[] = [];

  constructor(totals: Totals) {
    this.#totals = totals;
  }

  /** Samples until the returned function is called. */
  start(): () => void {
    const timer = setInterval(() => this.sample(), SAMPLE_MS);
    return () => clearInterval(timer);
  }

  sample(): void {
    const figures = this.#totals.backendsChosen().map((id): [number, Figures] => [id, this.#totals.figuresOf(id)]);
    this.#samples = [...this.#samples, new Map(figures)].slice(-SAMPLES);
  }

  /** Up to `figures`, which are those of now. Before there are enough samples: since the start. */
  of(backend: number, figures: Figures): Latencies {
    const isFull = this.#samples.length === SAMPLES;
    const before = (isFull ? this.#samples[0]!.get(backend) : undefined) ?? NOTHING;
    return { connect: connectPercentiles(figures, before), connack: connackPercentiles(figures, before) };
  }
}
