// A client: it sends CONNECT or something else, and is sent either what its backend says or a refusal.
import { Actor, type Stage } from './actor.ts';
import type { Life } from './life.ts';
import { type Passable, Passed } from './passed.ts';
import type { ClientPlan } from './plans.ts';
import { Stream } from './stream.ts';
import { Violation } from './violation.ts';

const REFUSAL_BYTES_MAX = 5;

export class Client extends Actor {
  readonly name = 'client';
  override readonly plan: ClientPlan;
  /** What it was sent that no backend had said. */
  readonly refusal: number[] = [];
  readonly #passed: Passable;

  constructor(stage: Stage, lived: Life, plan: ClientPlan, seed: number) {
    super(stage, lived, plan, seed);
    this.plan = plan;
    const out = new Stream(lived.index * 16, plan.head, plan.bodyBytes, plan.tail);
    this.out = out;
    this.#passed = plan.passedHead === plan.head ? out : new Passed(out, plan.head.length, plan.passedHead);
  }

  override get passed(): Passable {
    return this.#passed;
  }

  fill(memory: Uint8Array, offset: number, length: number, position: number): void {
    this.out.fill(memory, offset, length, position);
  }

  compare(memory: Uint8Array, offset: number, length: number, position: number): void {
    const backend = this.lived.backend;
    if (!backend || backend.socket.received === 0) {
      this.#keepRefusal(memory.subarray(offset, offset + length));
      return;
    }
    if (this.refusal.length > 0) throw new Violation('a refused client is sent a backend’s bytes', this.lived.about);
    this.lastWords.take(backend.out, backend.socket.received, memory, offset, length, position);
    if (this.lastWords.at >= 0) this.lived.checkLastWords(this, backend);
  }

  protected expectedBytes(): number | undefined {
    return this.lived.backend?.out.total;
  }

  #keepRefusal(bytes: Uint8Array): void {
    this.refusal.push(...bytes);
    if (this.refusal.length > REFUSAL_BYTES_MAX)
      throw new Violation('a client is sent bytes that nobody said', this.lived.about);
  }
}
