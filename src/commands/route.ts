// `tidegate route`: to which backend a key goes.
import { isIP } from 'node:net';
import type { Config, PoolConfig } from '../config.ts';
import { UsageError } from '../errors.ts';
import { addressBytes, encodeSockaddr } from '../system/sockaddr.ts';
import { print } from './print.ts';

export async function route(path: string, poolName: string, keys: readonly string[]): Promise<void> {
  const { loadConfig } = await import('../config.ts');
  const { tableOf } = await import('../pool-table.ts');
  const pool = hashPool(await loadConfig(path), poolName);
  const table = tableOf(pool);
  const bytesOf = (key: string) => (pool.balance.key === 'remote_addr' ? hashedBytes(key) : key);
  const line = (key: string) => `${key}\t${key === '' ? '-' : table.lookup(bytesOf(key))}\n`;
  if (keys.length > 0) return print(keys.map(line).join(''));
  for await (const lines of inputLines()) await print(lines.map(line).join(''));
}

/** What is hashed of a client's address. */
function hashedBytes(key: string): Uint8Array {
  if (isIP(key) !== 0) return addressBytes(encodeSockaddr(key, 0));
  throw new UsageError(`this pool hashes remote_addr, and ${JSON.stringify(key)} is no IP address`);
}

function hashPool({ pools }: Config, name: string): PoolConfig {
  const pool = pools.find((candidate) => candidate.name === name);
  const names = pools.map((candidate) => candidate.name).join(', ');
  if (pool === undefined) throw new UsageError(`there is no pool ${name}; choose one of ${names}`);
  const { method } = pool.balance;
  if (method !== 'hash')
    throw new UsageError(`pool ${name} balances by ${method}: only method hash ties a key to a backend`);
  const taking = pool.backends.some(({ weight }) => weight > 0);
  if (!taking) throw new UsageError(`pool ${name} has no backend with a weight above 0: no key is routed anywhere`);
  return pool;
}

/** Whole lines of standard input, as many as each chunk completes. A ClientId may hold what readline splits at. */
async function* inputLines(): AsyncGenerator<string[]> {
  let rest = '';
  process.stdin.setEncoding('utf8');
  for await (const chunk of process.stdin) {
    const lines = (rest + chunk).split(/\r?\n/);
    rest = lines.pop() ?? '';
    yield lines;
  }
  if (rest !== '') yield [rest];
}
