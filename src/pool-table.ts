// A pool of the configuration as the core's table.
import type { PoolConfig } from './config.ts';
import { createTable, type Table, type TableOptions, tableBytes } from './core.ts';

export function tableOf(pool: PoolConfig): Table {
  return createTable(optionsOf(pool));
}

/** Bytes of its block. Throws a TableError for a pool whose table can't be built. */
export function tableBytesOf(pool: PoolConfig): number {
  return tableBytes(optionsOf(pool));
}

function optionsOf({ balance, backends }: PoolConfig): TableOptions {
  const { method, algorithm, rows, secret } = balance;
  const members = backends.map(({ address, weight, backup }) => ({ name: address, weight, backup }));
  return { method, algorithm, rows, secret, members };
}
