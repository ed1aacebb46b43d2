// The real data plane over a worker's memory that nothing carries: asked what becomes of a client's first bytes under a
// listener's rules, as both engines ask it.
import {
  COLD_CLIENT_ID,
  COLD_CLIENT_ID_BYTES,
  COLD_KEY_HASH,
  COLD_PEER,
  COLD_REASON,
  HEADER_REGION_SCRATCH,
  REASON_SHUTDOWN,
  REFUSAL_BYTES_MAX,
  SCRATCH_FRONT,
  VERDICT_DIAL,
  VERDICT_MORE,
  VERDICT_REFUSE,
  VERDICT_REWRITTEN,
} from '../../assembly/layout.ts';
import { parseConfig } from '../../src/config.ts';
import { createMemory, defaultSettings } from '../../src/control/memory-map.ts';
import { BackendIds, buildSnapshot, publishSnapshot, resolveBackends } from '../../src/control/snapshot.ts';
import { compileDataPlane, type DataPlane, startDataPlane } from '../../src/data-plane.ts';
import { regionOffset } from '../../src/header.ts';
import { reasons } from '../../src/reasons.ts';
import { encodeSockaddr } from '../../src/system/sockaddr.ts';

const CONNECTIONS_MAX = 16;

/** As the configuration has them. */
export interface Rules {
  allow?: readonly string[];
  deny?: readonly string[];
  identity?: object;
}

export type Decision =
  | { is: 'partial' }
  /** `answer`: the CONNACK, empty for none. */
  | { is: 'refused'; reason: string; answer: Buffer; clientId: string }
  /** `bytes`: what the backend gets, `keyHash`: by which it is chosen. */
  | { is: 'taken'; bytes: Buffer; isRewritten: boolean; keyHash: bigint; clientId: string };

export class Decisions {
  readonly #memory: WebAssembly.Memory;
  readonly #plane: DataPlane;
  readonly #bytes: Buffer;
  readonly #scratch: number;
  #epoch = 1;

  /** Under no rules. */
  static async make(): Promise<Decisions> {
    const memory = createMemory({ ...defaultSettings(CONNECTIONS_MAX, 1), bufferCount: 256 }, 0, 0);
    publishSnapshot(memory, await snapshotOf({}), 1);
    return new Decisions(memory);
  }

  private constructor(memory: WebAssembly.Memory) {
    this.#memory = memory;
    this.#bytes = Buffer.from(memory.buffer);
    this.#scratch = regionOffset(memory, HEADER_REGION_SCRATCH);
    this.#plane = startDataPlane(memory, compileDataPlane());
  }

  /** From now on. */
  async rule(rules: Rules, options: RuleOptions = {}): Promise<this> {
    publishSnapshot(this.#memory, await snapshotOf(rules, options), ++this.#epoch);
    this.#plane.observeSnapshot();
    return this;
  }

  mayCome(from: string): boolean {
    const slot = this.#open(from);
    const mayCome = this.#plane.connectionArrived(slot) !== VERDICT_REFUSE;
    this.#plane.connectionClose(slot, REASON_SHUTDOWN);
    return mayCome;
  }

  /** `front`: the client's Front block, as src/front/front-block.ts writes it. */
  decide(bytes: Uint8Array, from = '127.0.0.1', front?: Uint8Array): Decision {
    const slot = this.#open(from);
    this.#bytes.set(bytes, this.#scratch);
    const frontAt = front === undefined ? 0 : this.#scratch + SCRATCH_FRONT;
    if (front !== undefined) this.#bytes.set(front, frontAt);
    const verdict = this.#plane.connectionDecide(slot, this.#scratch, bytes.length, frontAt);
    const decision = this.#describe(slot, verdict, Buffer.from(bytes));
    this.#plane.connectionClose(slot, REASON_SHUTDOWN);
    return decision;
  }

  #describe(slot: number, verdict: number, bytes: Buffer): Decision {
    const cold = this.#plane.coldAddress(slot);
    const clientId = this.#clientId(cold);
    if (verdict === VERDICT_MORE) return { is: 'partial' };
    if (verdict === VERDICT_REFUSE) {
      const reason = reasons[this.#bytes.readUInt16LE(cold + COLD_REASON)]!.name;
      const out = this.#scratch + REFUSAL_BYTES_MAX;
      const length = this.#plane.connectionRefusal(slot, out);
      return { is: 'refused', reason, answer: Buffer.from(this.#bytes.subarray(out, out + length)), clientId };
    }
    const keyHash = this.#bytes.readBigUInt64LE(cold + COLD_KEY_HASH);
    if (verdict === VERDICT_DIAL) return { is: 'taken', bytes, isRewritten: false, keyHash, clientId };
    if (verdict !== VERDICT_REWRITTEN) throw new Error(`verdict ${verdict}`);
    const at = this.#plane.rewrittenAddress();
    const rewritten = this.#bytes.subarray(at, at + this.#plane.rewrittenBytes());
    const whole = Buffer.concat([rewritten, bytes.subarray(this.#plane.replacedBytes())]);
    if (this.#plane.connectionAdmit(slot) !== VERDICT_DIAL) throw new Error('nobody takes it');
    return { is: 'taken', bytes: whole, isRewritten: true, keyHash, clientId };
  }

  /** As far as it lies in the cold line. */
  #clientId(cold: number): string {
    const length = this.#bytes.readUInt16LE(cold + COLD_CLIENT_ID_BYTES);
    return length > 16 ? '' : this.#bytes.toString('utf8', cold + COLD_CLIENT_ID, cold + COLD_CLIENT_ID + length);
  }

  #open(from: string): number {
    const slot = this.#plane.connectionOpen(0);
    const cold = this.#plane.coldAddress(slot);
    const sockaddr = encodeSockaddr(from, 12345);
    this.#bytes.set(sockaddr, cold + COLD_PEER);
    return slot;
  }
}

interface RuleOptions {
  connectMaxBytes?: number;
  key?: 'client_id' | 'username' | 'remote_addr';
}

async function snapshotOf(rules: Rules, { connectMaxBytes = 65536, key = 'client_id' }: RuleOptions = {}) {
  const listeners = [{ name: 'mqtt', bind: '127.0.0.1:0', ...rules }];
  const balance = { key, algorithm: 'ketama' }; // its table is built at once
  const pools = { brokers: { balance, backends: ['127.0.0.1:1883', '127.0.0.1:1884'] } };
  const config = parseConfig(JSON.stringify({ listeners, pools, connect_max_bytes: connectMaxBytes }), 'rules.yaml');
  return buildSnapshot(config, await resolveBackends(config.pools, new BackendIds()));
}
