// What no file tells, and only trying shows: each as a start would do it, and taken back at once.
import { availableParallelism } from 'node:os';
import { findAdmin, getJson } from '../admin/client.ts';
import type { StatusDocument } from '../admin/status-document.ts';
import { type Address, formatAddress } from '../config/address.ts';
import { closeListeners, openListeners } from '../control/listeners.ts';
import { BackendIds, resolveBackends } from '../control/snapshot.ts';
import { checkSources } from '../control/sources.ts';
import { chooseEngine, type EngineChoice } from '../engine/engine.ts';
import { bindError, TidegateError } from '../errors.ts';
import { bindFault } from '../system/bind-failure.ts';
import { resolveHost } from '../system/resolve-host.ts';
import type { Load } from './plan.ts';

export interface Trials {
  /** What carries plain listeners, or why that can't be had which is asked for. */
  engine: EngineChoice | TidegateError;
  /** That this process may use. */
  cores: number;
  /** Of the addresses to listen on, each as the log writes it. */
  addresses: readonly AddressTrial[];
  /** What is amiss with backends' names and source_addresses; null: nothing. */
  backends: TidegateError | null;
}

export interface AddressTrial {
  address: string;
  /** null: it is free, or the Tidegate that runs here has it. */
  fault: TidegateError | null;
}

/** `path` is where the configuration was read from; undefined where there is none. */
export async function tryMachine(config: Load, path: string | undefined): Promise<Trials> {
  return {
    engine: await chooseEngine(config.engine).catch(faultOf),
    cores: availableParallelism(),
    addresses: await tryAddresses(config, path),
    backends: await tryBackends(config),
  };
}

/** Whoever has thrown what no user can put right is to be mended himself. */
function faultOf(error: unknown): TidegateError {
  if (error instanceof TidegateError) return error;
  throw error;
}

async function tryBackends({ pools }: Load): Promise<TidegateError | null> {
  try {
    checkSources(await resolveBackends(pools, new BackendIds()));
    return null;
  } catch (error) {
    return faultOf(error);
  }
}

async function tryAddresses({ listeners, admin }: Load, path: string | undefined): Promise<AddressTrial[]> {
  const tried: AddressTrial[] = [];
  for (const listener of listeners) {
    const fault = await openListeners([listener], 1)
      .then(closeListeners)
      .then(() => null, faultOf);
    tried.push({ address: formatAddress(listener.bind), fault });
  }
  // Where nobody asked for the admin API, a start goes on without it.
  if (admin !== null && !admin.isDefault) tried.push(await tryAdmin(admin.bind));
  if (tried.every(({ fault }) => fault === null) || !(await isRunning(listeners, path))) return tried;
  return tried.map(({ address }) => ({ address, fault: null }));
}

async function tryAdmin({ host, port }: Address): Promise<AddressTrial> {
  const address = formatAddress({ host, port });
  const fault = bindFault({ host: await resolveHost(host), port });
  return { address, fault: fault && bindError(fault.code ?? String(fault), address) };
}

/** Whether it is the Tidegate of this configuration that has these addresses. */
async function isRunning(listeners: Load['listeners'], config: string | undefined): Promise<boolean> {
  try {
    const status = await getJson(await findAdmin({ config }), '/api/v1/status', ['listeners']);
    const running = (status as StatusDocument).listeners.map(({ address }) => address);
    return listeners.every(({ bind }) => running.includes(formatAddress(bind)));
  } catch {
    return false;
  }
}
