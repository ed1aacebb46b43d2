// `tidegate check`: whether a configuration can be had, and what it says.
import { formatAddress } from '../config/address.ts';
import type { Config, PoolConfig } from '../config.ts';
import { print } from './print.ts';

export async function check(path: string): Promise<void> {
  const { loadConfig } = await import('../config.ts');
  await print(`${summary(path, await loadConfig(path)).join('\n')}\n`);
}

function summary(path: string, { listeners, pools }: Config): string[] {
  return [
    `${path}: valid`,
    ...listeners.map(({ name, bind, pool }) => `listener ${name}: ${formatAddress(bind)} to pool ${pool}`),
    ...pools.map((pool) => `pool ${pool.name}: ${methodText(pool)}, ${backendsText(pool)}`),
  ];
}

function methodText({ balance }: PoolConfig): string {
  return balance.method === 'hash' ? `hash of ${balance.key} by ${balance.algorithm}` : balance.method;
}

function backendsText({ backends }: PoolConfig): string {
  return backends.length === 1 ? '1 backend' : `${backends.length} backends`;
}
