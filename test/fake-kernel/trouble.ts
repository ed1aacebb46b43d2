// What a kernel may do to its caller though nothing is wrong, and how often it does so in one simulation. Every such
// decision is drawn here, so that a replay can switch a kind off, or let the kernel be kind from some decision on.
import { Random } from '../tools/random.ts';

export const troubles = [
  'late answers',
  'very late answers',
  'fewer entries taken',
  'enter refused',
  'wait interrupted',
  'few answers at once',
  'clock jumps',
  'sends cut short',
  'sends in small pieces',
  'receives in small pieces',
  'receives that end',
  'accepts that fail',
  'sockets that fail',
  'ports that run out',
  'cancels that come too late',
] as const;
export type Trouble = (typeof troubles)[number];
export type Rates = Record<Trouble, number>;

export interface TroubleLimits {
  without: ReadonlySet<Trouble>;
  /** The number of decisions after which no trouble is made any more. */
  decisionsMax: number;
}

export class Troublemaker {
  decisions = 0;
  readonly #random: Random;
  readonly #rates: Rates;
  readonly #decisionsMax: number;

  constructor(seed: number, rates: Rates, limits: TroubleLimits) {
    this.#random = new Random(seed);
    this.#decisionsMax = limits.decisionsMax;
    this.#rates = { ...rates };
    for (const trouble of limits.without) this.#rates[trouble] = 0;
  }

  makes(trouble: Trouble): boolean {
    const rate = this.#rates[trouble];
    if (rate === 0 || this.#isOver()) return false;
    return this.#random.fraction() < rate;
  }

  /** Milliseconds until the kernel gets round to something. */
  delayMs(): number {
    if (this.makes('very late answers')) return this.#random.fraction() * 80;
    if (this.makes('late answers')) return this.#random.fraction() * 2;
    return 0.001;
  }

  integer(min: number, max: number): number {
    return this.#random.integer(min, max);
  }

  magnitude(min: number, max: number): number {
    return this.#random.magnitude(min, max);
  }

  pick<Item>(items: readonly Item[]): Item {
    return this.#random.pick(items);
  }

  #isOver(): boolean {
    return this.decisions++ >= this.#decisionsMax;
  }
}
