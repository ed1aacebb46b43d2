// The ports between the sources and the backends, and what the data plane must make of it when there are none left: the
// same pair isn't tried again soon, another source of the same backend is.
import { SOURCE_REST_MS } from '../../assembly/layout.ts';
import type { Clock, Life } from './life.ts';
import { Violation } from './violation.ts';

/** The data plane learns late that there was no port, and its ticks are coarse. */
const RESTED_MS = 3 * SOURCE_REST_MS;

export class Ports {
  /** Ids of those in the snapshot that was published last. */
  sources: number[] = [];
  /** Chains that began. */
  dials = 0;
  haveRunOut = false;
  /** When a pair last had none, without the jumps of the clock. */
  readonly #noneAt = new Map<string, number>();
  /** Connects that were asked for, by pair. */
  readonly #connects = new Map<string, number>();
  readonly #clock: Clock;
  /** No other snapshot follows the first one. */
  readonly #isSettled: boolean;

  constructor(clock: Clock, isSettled: boolean) {
    this.#clock = clock;
    this.#isSettled = isSettled;
  }

  onWanted(life: Life, backend: number, source: number): void {
    const { passedOver, noPortAt } = life;
    const at = noPortAt.get(pair(backend, source));
    if (at !== undefined && this.#clock.now - at < SOURCE_REST_MS) {
      throw new Violation('a source is tried again just after it had no port left', life.about);
    }
    if (passedOver !== null && passedOver !== backend) this.checkNoneLeft(life, passedOver);
    life.passedOver = null;
  }

  /** The life has given the backend up since its last dial found no port there. */
  checkNoneLeft(life: Life, backend: number): void {
    if (!this.#isSettled) return;
    const left = this.sources.find((source) => {
      return life.outOfPortsAt - (this.#noneAt.get(pair(backend, source)) ?? -Infinity) > RESTED_MS;
    });
    if (left === undefined) return;
    throw new Violation(`backend ${backend} is given up though source ${left} has ports`, life.about);
  }

  onNone(life: Life, backend: number, source: number): void {
    this.haveRunOut = true;
    life.outOfPortsAt = this.#clock.now - this.#clock.jumpedMs;
    this.#noneAt.set(pair(backend, source), life.outOfPortsAt);
    life.noPortAt.set(pair(backend, source), this.#clock.now);
    life.outOfPortsFor = backend;
  }

  onConnect(backend: number, source: number): void {
    if (this.#isSettled && !this.sources.includes(source)) {
      throw new Violation(`dialled from source ${source}, which is not in the snapshot`);
    }
    this.#connects.set(pair(backend, source), (this.#connects.get(pair(backend, source)) ?? 0) + 1);
  }

  /** As long as none runs out, the sources of a backend are taken in turn. Chains that broke off are anybody's. */
  checkSpread(backends: number): void {
    if (!this.#isSettled || this.haveRunOut) return;
    const all = [...this.#connects.values()].reduce((sum, count) => sum + count, 0);
    for (let backend = 0; backend < backends; backend++) {
      const counts = this.sources.map((source) => this.#connects.get(pair(backend, source)) ?? 0);
      const difference = Math.max(...counts) - Math.min(...counts);
      if (difference > 1 + this.dials - all)
        throw new Violation(`backend ${backend} was dialled ${counts.join(', ')} times from its sources`);
    }
  }
}

function pair(backend: number, source: number): string {
  return `${backend} ${source}`;
}
