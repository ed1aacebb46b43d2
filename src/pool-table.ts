// A pool of the configuration as the core's table.
import { DRAIN_BYTES, SOURCE_BYTES } from '../assembly/layout.ts';
import type { PoolConfig } from './config.ts';
import { createTable, type Table, type TableOptions, tableBytes } from './core.ts';

const SOURCE_ALIGNMENT = 8;

export function tableOf(pool: PoolConfig): Table {
  return createTable(optionsOf(pool));
}

/** Bytes of its block in the snapshot. Throws a TableError for a pool whose table can't be built. */
export function blockBytesOf(pool: PoolConfig): number {
  const { sourceAddresses, drain } = pool;
  const sources = sourcesOffset(tableBytes(optionsOf(pool)));
  return sources + sourceAddresses.length * SOURCE_BYTES + DRAIN_BYTES + drain.serverReference.length;
}

/** Where the sources begin behind a table. */
export function sourcesOffset(tableBytes: number): number {
  return Math.ceil(tableBytes / SOURCE_ALIGNMENT) * SOURCE_ALIGNMENT;
}

function optionsOf({ balance, backends }: PoolConfig): TableOptions {
  const { method, algorithm, rows, secret } = balance;
  const members = backends.map(({ address, weight, backup }) => ({ name: address, weight, backup }));
  return { method, algorithm, rows, secret, members };
}
