// One connection to a backend: it must be sent exactly what its client said, from CONNECT's first byte.
import { Actor, type Stage } from './actor.ts';
import type { Life } from './life.ts';
import { NO_BYTES } from './packets.ts';
import type { BackendPlan } from './plans.ts';
import { Stream } from './stream.ts';
import { Violation } from './violation.ts';

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
    if (position + length > client.socket.received) {
      throw new Violation(
        `${this.name} is sent ${position + length} bytes of ${client.socket.received}`,
        this.lived.about,
      );
    }
    const difference = client.out.difference(memory, offset, length, position);
    if (difference >= 0)
      throw new Violation(`${this.name} is sent a wrong byte at ${position + difference}`, this.lived.about);
  }

  protected expectedBytes(): number | undefined {
    return this.lived.client.out.total;
  }

  protected override endIfDone(): void {
    const { plan } = this.lived.client;
    const saidGoodbye = plan.tail.length > 0 && this.socket.read === this.lived.client.out.total;
    if (saidGoodbye && this.plan.obeysDisconnect && !this.isGone) {
      this.close();
      return;
    }
    super.endIfDone();
  }
}
