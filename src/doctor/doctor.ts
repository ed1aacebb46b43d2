// From a configuration to its diagnosis on this machine.
import { loadConfig } from '../config.ts';
import { readText } from '../system/read-text.ts';
import { type Diagnosis, diagnose } from './diagnosis.ts';
import { readMachine } from './machine.ts';
import { NO_CONFIGURATION, planOf } from './plan.ts';
import { tryMachine } from './trials.ts';

/** `wanted` goes before what the configuration says. Throws a TidegateError when it can't be read, or nothing looked at. */
export async function examine(path: string | undefined, wanted: number | undefined): Promise<Diagnosis> {
  const config = path === undefined ? NO_CONFIGURATION : await loadConfig(path);
  const machine = readMachine(readText);
  const trials = await tryMachine(config, path);
  return diagnose({ machine, trials, plan: planOf(config, machine, trials, wanted) });
}
