// What was set at runtime beside the configuration: weights, backends added and removed. It stands until the file says
// something else about the same thing: a weight until the file's weight is another one, an added backend until the file
// lists it, a removed one until the file doesn't any more. With a pool everything goes that was set in it.
import { MEMBERS_MAX } from '../../assembly/layout.ts';
import { canonicalAddress } from '../config/address.ts';
import { backendSettings } from '../config/schema.ts';
import { addedBackend, type BackendConfig, type Config, type PoolConfig } from '../config.ts';
import { TableError } from '../core.ts';
import { TidegateError } from '../errors.ts';
import { blockBytesOf } from '../pool-table.ts';

/** As somebody wrote it, once it has passed the schema of the configuration. */
export type AddedBackend = Readonly<Record<string, unknown>> & { readonly address: string };

/** Of one pool; backends by their address as it is written. */
export interface PoolOverlay {
  /** Beside each the weight that the file had then. */
  readonly weights: Readonly<Record<string, { readonly weight: number; readonly file: number }>>;
  readonly added: readonly AddedBackend[];
  readonly removed: readonly string[];
}

/** By the pool's name. */
export type Overlay = Readonly<Record<string, PoolOverlay>>;

const NOTHING: PoolOverlay = { weights: {}, added: [], removed: [] };

/** The configuration as it is in force. Fails with a TidegateError where the two can't be had together. */
export function applyOverlay(config: Config, overlay: Overlay): Config {
  return { ...config, pools: config.pools.map((pool) => applyToPool(pool, overlay[pool.name] ?? NOTHING)) };
}

function applyToPool(pool: PoolConfig, { weights, added, removed }: PoolOverlay): PoolConfig {
  const listed = pool.backends.filter(({ address }) => !removed.includes(address));
  const weighted = listed.map((backend) => ({
    ...backend,
    weight: weights[backend.address]?.weight ?? backend.weight,
  }));
  const backends = [...weighted, ...added.map((settings) => toBackend(settings, pool))];
  const changed = { ...pool, backends };
  check(changed);
  return changed;
}

function toBackend(settings: AddedBackend, pool: PoolConfig): BackendConfig {
  return addedBackend(backendSettings.parse(settings), pool);
}

/** What a pool of the file was checked for. */
function check(pool: PoolConfig): void {
  const { name, backends } = pool;
  if (backends.length === 0)
    throw refused(`pool ${name} would have no backend left: remove the pool in the configuration`);
  if (backends.length > MEMBERS_MAX)
    throw refused(`pool ${name} has ${MEMBERS_MAX} backends already, the most it can have`);
  try {
    blockBytesOf(pool);
  } catch (error) {
    if (error instanceof TableError) throw refused(`pool ${name}: ${error.message}`);
    throw error;
  }
}

/** Without what the file overrules. */
export function settleOverlay(file: Config, overlay: Overlay): Overlay {
  const settled = file.pools.flatMap((pool): [string, PoolOverlay][] => {
    const { weights, added, removed } = overlay[pool.name] ?? NOTHING;
    const listed = new Map(pool.backends.map((backend) => [backend.address, backend]));
    const places = new Set(pool.backends.map(canonicalAddress));
    const left: PoolOverlay = {
      weights: Object.fromEntries(
        Object.entries(weights).filter(([address, { file: was }]) => listed.get(address)?.weight === was),
      ),
      added: added.filter((settings) => !places.has(canonicalAddress(toBackend(settings, pool)))),
      removed: removed.filter((address) => listed.has(address)),
    };
    return isNothing(left) || !canBeHad(pool, left) ? [] : [[pool.name, left]];
  });
  return Object.fromEntries(settled);
}

/** The file may have changed so that too many backends are left, or none. */
function canBeHad(pool: PoolConfig, overlay: PoolOverlay): boolean {
  try {
    applyToPool(pool, overlay);
    return true;
  } catch (error) {
    if (error instanceof TidegateError) return false;
    throw error;
  }
}

function isNothing({ weights, added, removed }: PoolOverlay): boolean {
  return Object.keys(weights).length === 0 && added.length === 0 && removed.length === 0;
}

/** `file` is what the overlay lies on. */
export function withWeight(overlay: Overlay, file: Config, pool: string, address: string, weight: number): Overlay {
  const { weights, added, ...others } = overlay[pool] ?? NOTHING;
  const reweighted = added.map((backend) => (backend.address === address ? { ...backend, weight } : backend));
  const was = listedIn(file, pool, address)?.weight ?? weight;
  const { [address]: _, ...rest } = weights;
  const changed = weight === was ? rest : { ...rest, [address]: { weight, file: was } };
  return { ...overlay, [pool]: { ...others, weights: changed, added: reweighted } };
}

/** One that the file lists, and that was removed at runtime, comes back as the file has it, but for the weight. */
export function withBackend(overlay: Overlay, file: Config, inForce: PoolConfig, settings: AddedBackend): Overlay {
  const { name, backends } = inForce;
  const added = toBackend(settings, inForce);
  const isIt = (backend: BackendConfig) => canonicalAddress(backend) === canonicalAddress(added);
  const known = backends.find(isIt);
  if (known !== undefined) throw refused(`pool ${name} has the backend ${known.address} already`);
  const { health } = inForce.settings;
  if (health.type === 'http' && health.port === undefined && !('health_port' in settings))
    throw refused(NO_HEALTH_PORT);
  const before = overlay[name] ?? NOTHING;
  const listed = file.pools.find((pool) => pool.name === name)?.backends.find(isIt);
  if (listed === undefined) return { ...overlay, [name]: { ...before, added: [...before.added, settings] } };
  const removed = before.removed.filter((address) => address !== listed.address);
  return withWeight({ ...overlay, [name]: { ...before, removed } }, file, name, listed.address, added.weight);
}

const NO_HEALTH_PORT = "a health_port is expected: the pool's probes speak HTTP, and have no port of their own";

export function withoutBackend(overlay: Overlay, file: Config, pool: string, address: string): Overlay {
  const { weights, added, removed } = overlay[pool] ?? NOTHING;
  const { [address]: _, ...others } = weights;
  const isListed = listedIn(file, pool, address) !== undefined;
  const changed: PoolOverlay = {
    weights: others,
    added: added.filter((backend) => backend.address !== address),
    removed: isListed && !removed.includes(address) ? [...removed, address] : removed,
  };
  return { ...overlay, [pool]: changed };
}

function listedIn({ pools }: Config, pool: string, address: string): BackendConfig | undefined {
  return pools.find(({ name }) => name === pool)?.backends.find((backend) => backend.address === address);
}

function refused(message: string): TidegateError {
  return new TidegateError('OVERLAY', message);
}
