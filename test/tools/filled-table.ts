// A worker's memory full of connections that were never carried by anything: the data plane itself opened, read and dialled
// each, as the portable engine has it do. No thread runs on it.
import {
  COLD_PEER,
  HEADER_CLOCK_MS,
  HEADER_REGION_SCRATCH,
  HEADER_WALL_MS,
  VERDICT_DIAL,
} from '../../assembly/layout.ts';
import { parseConfig } from '../../src/config.ts';
import { createMemory, defaultSettings } from '../../src/control/memory-map.ts';
import {
  type Backend,
  BackendIds,
  buildSnapshot,
  publishSnapshot,
  resolveBackends,
} from '../../src/control/snapshot.ts';
import { compileDataPlane, type DataPlane, startDataPlane } from '../../src/data-plane.ts';
import { headerClocks, regionOffset } from '../../src/header.ts';
import { encodeSockaddr } from '../../src/system/sockaddr.ts';
import { connectPacket } from './packets.ts';

/** Arena chunks for each slot, so that no test's ClientIds are cut off for want of them. */
const CHUNKS = 5;
const PAST_MS = 30 * 24 * 3_600_000;

export interface Visitor {
  clientId: string;
  address?: string;
  version?: 3 | 4 | 5;
}

export class FilledTable {
  readonly worker: number;
  readonly life = 0;
  readonly memory: WebAssembly.Memory;
  readonly plane: DataPlane;
  readonly backends: readonly Backend[];
  readonly #clocks: Float64Array;

  /** `pool`: as in the configuration, but for its name. */
  static async make(pool: object, connectionsMax: number, worker = 0): Promise<FilledTable> {
    const settings = { listeners: [{ name: 'mqtt', bind: '127.0.0.1:0' }], pools: { brokers: pool } };
    const config = parseConfig(JSON.stringify(settings), 'filled.yaml');
    const backends = await resolveBackends(config.pools, new BackendIds());
    const defaults = defaultSettings(connectionsMax, 1);
    const memory = createMemory({ ...defaults, bufferCount: 256, arenaChunks: connectionsMax * CHUNKS }, worker, 0);
    publishSnapshot(memory, buildSnapshot(config, backends), 1);
    return new FilledTable(memory, backends, worker);
  }

  private constructor(memory: WebAssembly.Memory, backends: readonly Backend[], worker: number) {
    this.memory = memory;
    this.backends = backends;
    this.worker = worker;
    this.#clocks = headerClocks(memory);
    // A clock that has run for long, so that there is a past.
    this.#clocks[HEADER_WALL_MS / 8] = performance.timeOrigin - PAST_MS;
    this.setAgo(0);
    this.plane = startDataPlane(memory, compileDataPlane());
    this.plane.observeSnapshot();
  }

  /** Returns its slot, in phase OPEN. */
  open({ clientId, address = '127.0.0.1', version = 4 }: Visitor): number {
    const { plane } = this;
    const slot = this.accept(address);
    const packet = connectPacket({ clientId, version });
    const scratch = regionOffset(this.memory, HEADER_REGION_SCRATCH);
    new Uint8Array(this.memory.buffer).set(packet, scratch);
    plane.connectionMoved(slot, packet.length, 0);
    if (plane.connectionDecide(slot, scratch, packet.length) !== VERDICT_DIAL) throw new Error('nobody takes it');
    plane.connectionDialled(slot);
    return slot;
  }

  /** A slot whose client has said nothing yet. */
  accept(address: string): number {
    const slot = this.plane.connectionOpen(0);
    const cold = this.plane.coldAddress(slot);
    const sockaddr = encodeSockaddr(address, 1000 + (slot % 60_000));
    new Uint8Array(this.memory.buffer).set(sockaddr, cold + COLD_PEER);
    return slot;
  }

  /** What happens from here on happened so long ago. */
  setAgo(agoMs: number): void {
    this.#clocks[HEADER_CLOCK_MS / 8] = PAST_MS + performance.now() - agoMs;
  }
}
