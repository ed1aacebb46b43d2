// What is fuzzed: a property over random inputs, and how many of them one seed brings.
import type { IAsyncProperty, IProperty } from 'fast-check';

export interface Target {
  name: string;
  /** Throws for an input that isn't treated as it must be. */
  property: IProperty<unknown[]> | IAsyncProperty<unknown[]>;
  /** Of the property, for each seed. */
  runs: number;
  tally: Tally;
}

/** Inputs, by what became of them, and differences from the other reader that are explained, by what explains them. */
export class Tally {
  readonly outcomes: Record<string, number> = {};
  readonly differences: Record<string, number> = {};

  count(outcome: string): void {
    this.outcomes[outcome] = (this.outcomes[outcome] ?? 0) + 1;
  }

  differ(explanation: string): void {
    this.differences[explanation] = (this.differences[explanation] ?? 0) + 1;
  }

  get inputs(): number {
    return Object.values(this.outcomes).reduce((sum, count) => sum + count, 0);
  }
}
