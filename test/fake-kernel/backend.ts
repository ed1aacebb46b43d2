// One connection to a backend: it must be sent exactly what its client said, from CONNECT's first byte.
import { Actor, type Stage } from './actor.ts';
import type { Life } from './life.ts';
import { NO_BYTES } from './packets.ts';
import type { BackendPlan } from './plans.ts';
import { Stream } from './stream.ts';

export class Backend extends Actor {
  readonly name: string;
  override readonly plan: BackendPlan;
  /** Its number among the backends of the world, which is also its id in the data plane. */
  readonly id: number;

  constructor(stage: Stage, lived: Life, id: number, plan: BackendPlan, seed: number) {
    super(stage, lived, plan, seed);
    this.plan = plan;
    this.id = id;
    this.name = `backend ${id}`;
    this.out = new Stream(lived.index * 16 + lived.dials, plan.head, plan.bodyBytes, NO_BYTES);
  }

  fill(memory: Uint8Array, offset: number, length: number, position: number): void {
    this.out.fill(memory, offset, length, position);
  }

  compare(memory: Uint8Array, offset: number, length: number, position: number): void {
    const { client } = this.lived;
    if (position === 0 && length > 0) this.lived.checkGreeting(this);
    this.lastWords.take(client.out, client.socket.received, memory, offset, length, position);
    if (this.lastWords.at >= 0) this.lived.checkLastWords(this, client);
  }

  protected expectedBytes(): number | undefined {
    return this.lived.client.out.total;
  }

  protected override endIfDone(): void {
    const { plan } = this.lived.client;
    const isWhole = plan.tail.length > 0 && this.socket.read === this.lived.client.out.total;
    const saidGoodbye = isWhole || (this.lastWords.at >= 0 && this.socket.readable === 0);
    if (saidGoodbye && this.plan.obeysDisconnect && !this.isGone) {
      this.close();
      return;
    }
    super.endIfDone();
  }
}
