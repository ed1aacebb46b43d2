// core.wasm by its ABI alone, as a program in another language would use it: nothing of src/core.ts.
import { readFileSync } from 'node:fs';
import {
  BACKEND_COUNTERS_ACTIVE,
  BACKEND_COUNTERS_BYTES,
  MEMBER_BACKEND,
  MEMBER_BACKUP,
  MEMBER_BYTES,
  MEMBER_WEIGHT,
  MEMBERS_MAX,
  NONE,
  POOL_ALGORITHM,
  POOL_BYTES,
  POOL_ENTRY_COUNT,
  POOL_MEMBER_COUNT,
  POOL_METHOD,
  POOL_SECRET,
  ROW_BYTES,
  ROW_NONE,
  ROWS_DEFAULT,
} from '../../assembly/layout.ts';

const WASM_FILE = new URL('../../build/core.wasm', import.meta.url);
const MEMORY_PAGES = 512;
const KEY_BYTES_MAX = 4096;

const coreModule = new WebAssembly.Module(readFileSync(WASM_FILE));

interface Exports {
  heap_base(): number;
  hash_key(pool: number, bytes: number, length: number): bigint;
  table_check(pool: number): number;
  table_block_bytes(pool: number): number;
  table_scratch_bytes(pool: number): number;
  table_build(pool: number, names: number, scratch: number): number;
  table_choose(
    pool: number,
    keyed: number,
    keyHash: bigint,
    tried: bigint,
    health: number,
    counters: number,
    random: number,
  ): number;
  table_lookup(pool: number, bytes: number, length: number, health: number): number;
  table_digest(pool: number): bigint;
}

export interface RawMember {
  name: string;
  weight?: number;
  backup?: boolean;
}

export interface RawPoolOptions {
  method?: number;
  algorithm?: number;
  members: readonly RawMember[];
  rows?: number;
  secret?: Uint8Array;
}

/** heap_base: counters | health | random state | key | names | pool block | scratch */
export class RawPool {
  readonly members: readonly RawMember[];
  readonly #core: Exports;
  readonly #view: DataView;
  readonly #counters: number;
  readonly #health: number;
  readonly #random: number;
  readonly #key: number;
  readonly #names: number;
  readonly #pool: number;

  constructor(options: RawPoolOptions) {
    const memory = new WebAssembly.Memory({ initial: MEMORY_PAGES });
    this.members = options.members;
    this.#core = new WebAssembly.Instance(coreModule, { env: { memory } }).exports as Exports;
    this.#view = new DataView(memory.buffer);
    this.#counters = this.#core.heap_base();
    this.#health = this.#counters + MEMBERS_MAX * BACKEND_COUNTERS_BYTES;
    this.#random = this.#health + MEMBERS_MAX * 4;
    this.#key = this.#random + 8;
    this.#names = this.#key + KEY_BYTES_MAX;
    this.#pool = this.#writeNames();
    this.#writePool(options);
    const scratch = this.#pool + this.#core.table_block_bytes(this.#pool);
    const fault = this.#core.table_check(this.#pool) || this.#core.table_build(this.#pool, this.#names, scratch);
    if (fault !== 0) throw new Error(`table_build: ${fault}`);
  }

  #writeNames(): number {
    let text = this.#names + this.members.length * 8;
    this.members.forEach((member, index) => {
      const bytes = Buffer.from(member.name);
      this.#setWord(this.#names + index * 8, text - this.#names);
      this.#setWord(this.#names + index * 8 + 4, bytes.length);
      new Uint8Array(this.#view.buffer).set(bytes, text);
      text += bytes.length;
    });
    return (text + 15) & ~15;
  }

  #writePool({ method = 0, algorithm = 0, rows = ROWS_DEFAULT, secret = new Uint8Array(16) }: RawPoolOptions): void {
    this.#setWord(this.#pool + POOL_METHOD, method);
    this.#setWord(this.#pool + POOL_ALGORITHM, algorithm);
    this.#setWord(this.#pool + POOL_MEMBER_COUNT, this.members.length);
    this.#setWord(this.#pool + POOL_ENTRY_COUNT, rows);
    new Uint8Array(this.#view.buffer).set(secret, this.#pool + POOL_SECRET);
    this.members.forEach(({ weight = 1, backup = false }, index) => {
      const member = this.#pool + POOL_BYTES + index * MEMBER_BYTES;
      this.#setWord(member + MEMBER_BACKEND, index);
      this.#setWord(member + MEMBER_WEIGHT, weight);
      this.#setWord(member + MEMBER_BACKUP, backup ? 1 : 0);
    });
  }

  #setWord(address: number, value: number): void {
    this.#view.setUint32(address, value, true);
  }

  setHealth(member: number, health: number): void {
    this.#setWord(this.#health + member * 4, health);
  }

  setActive(member: number, connections: number): void {
    this.#setWord(this.#counters + member * BACKEND_COUNTERS_BYTES + BACKEND_COUNTERS_ACTIVE, connections);
  }

  seedRandom(seed: bigint): void {
    this.#view.setBigUint64(this.#random, seed, true);
  }

  #writeKey(key: string): number {
    const bytes = Buffer.from(key);
    new Uint8Array(this.#view.buffer).set(bytes, this.#key);
    return bytes.length;
  }

  hashKey(key: string): bigint {
    return BigInt.asUintN(64, this.#core.hash_key(this.#pool, this.#key, this.#writeKey(key)));
  }

  lookup(key: string): number {
    return member(this.#core.table_lookup(this.#pool, this.#key, this.#writeKey(key), this.#health));
  }

  /** Index of the member, -1 for none. Without a key hash the choice is made as for a client without a key. */
  choose(keyHash?: bigint, tried = 0n): number {
    const keyed = keyHash === undefined ? 0 : 1;
    const hash = keyHash ?? 0n;
    return member(this.#core.table_choose(this.#pool, keyed, hash, tried, this.#health, this.#counters, this.#random));
  }

  digest(): string {
    return BigInt.asUintN(64, this.#core.table_digest(this.#pool)).toString(16).padStart(16, '0');
  }

  /** First, second and third member of a row; fewer where the pool has fewer. */
  row(index: number): number[] {
    return rowOfBlock(new Uint8Array(this.#view.buffer, this.#pool), this.members.length, index);
  }
}

export function rowOfBlock(block: Uint8Array, memberCount: number, row: number): number[] {
  const offset = POOL_BYTES + memberCount * MEMBER_BYTES + row * ROW_BYTES;
  return [...block.subarray(offset, offset + 3)].filter((index) => index !== ROW_NONE);
}

function member(index: number): number {
  return index >>> 0 === NONE ? -1 : index;
}
