// Virtual time: everything that will happen, in the order of its moment, and for one moment in the order of its entry.
interface Happening {
  at: number;
  order: number;
  run: () => void;
}

export class Timeline {
  /** Milliseconds. Moves only when somebody waits for something. */
  now: number;
  readonly #heap: Happening[] = [];
  #order = 0;

  constructor(now: number) {
    this.now = now;
  }

  after(delayMs: number, run: () => void): void {
    const heap = this.#heap;
    const happening = { at: this.now + delayMs, order: this.#order++, run };
    let index = heap.length;
    heap.push(happening);
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (!isBefore(happening, heap[parent]!)) break;
      heap[index] = heap[parent]!;
      index = parent;
    }
    heap[index] = happening;
  }

  /** When the next thing happens, Infinity if nothing will. */
  get next(): number {
    return this.#heap.length === 0 ? Infinity : this.#heap[0]!.at;
  }

  /** Lets the next thing happen; time moves there, if it isn't past it already. */
  step(): void {
    const first = this.#take();
    if (first.at > this.now) this.now = first.at;
    first.run();
  }

  #take(): Happening {
    const heap = this.#heap;
    const first = heap[0]!;
    const last = heap.pop()!;
    if (heap.length > 0) this.#sink(last);
    return first;
  }

  #sink(happening: Happening): void {
    const heap = this.#heap;
    let index = 0;
    for (;;) {
      let child = index * 2 + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
      if (!isBefore(heap[child]!, happening)) break;
      heap[index] = heap[child]!;
      index = child;
    }
    heap[index] = happening;
  }
}

function isBefore(one: Happening, other: Happening): boolean {
  return one.at < other.at || (one.at === other.at && one.order < other.order);
}
