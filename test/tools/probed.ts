// Backends with a pool's health, from the configuration's own words.
import { parseConfig } from '../../src/config.ts';
import { type Backend, BackendIds, resolveBackends } from '../../src/control/snapshot.ts';

export interface PoolOptions {
  health?: object | string;
  slow_start?: string;
}

export async function backendsOf(
  addresses: readonly (string | object)[],
  pool: PoolOptions,
  ids = new BackendIds(),
): Promise<Backend[]> {
  const settings = {
    listeners: [{ bind: '127.0.0.1:0' }],
    pools: { brokers: { backends: addresses, ...pool } },
  };
  return resolveBackends(parseConfig(JSON.stringify(settings), 'probed.yaml').pools, ids);
}
