// One connection to a backend: it must be sent exactly what its client said, from CONNECT's first byte, or what
// its listener's rules have made of that.
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
    const received = client.passed.bytesOf(client.socket.received);
    this.lastWords.take(client.passed, received, memory, offset, length, position);
    if (this.lastWords.at >= 0) this.lived.checkLastWords(this, client);
  }

  protected expectedBytes(): number | undefined {
    return this.lived.client.passed.total;
  }

  protected override endIfDone(): void {
    const { plan } = this.lived.client;
    const isWhole = plan.tail.length > 0 && this.socket.read === this.lived.client.passed.total;
    const saidGoodbye = isWhole || (this.lastWords.at >= 0 && this.socket.readable === 0);
    if (saidGoodbye && this.plan.obeysDisconnect && !this.isGone) {
      this.close();
      return;
    }
    super.endIfDone();
  }
}
