// A thread of defects.test.ts: compiles the data plane with each defect it is given and runs seeds until one fails.
import { parentPort } from 'node:worker_threads';
import { compileDataPlaneFrom } from './compile.ts';
import { type Defect, withDefect } from './defects.ts';
import { everything, simulate } from './simulation.ts';

export interface Hunt {
  defect: Defect;
  seedsMax: number;
}

export interface Catch {
  /** How many seeds it took; 0 when it wasn't caught. */
  seeds: number;
  /** What was seen, or why the defect couldn't be put in. */
  message: string;
}

/** Not optimised: compiling takes longer than running. */
const OPTIONS = ['--optimizeLevel', '0'];

parentPort?.on('message', async (task: Hunt) => {
  parentPort!.postMessage(await hunt(task).catch((error: Error): Catch => ({ seeds: 0, message: error.message })));
});

async function hunt({ defect, seedsMax }: Hunt): Promise<Catch> {
  const missed = new Set(defect.changes.map(({ file }) => file));
  const module = await compileDataPlaneFrom((file, text) => {
    missed.delete(file);
    return withDefect(defect, file, text);
  }, OPTIONS);
  if (missed.size > 0) throw new Error(`${defect.name}: ${[...missed].join(' ')} isn't part of the data plane`);
  for (let seed = 1; seed <= seedsMax; seed++) {
    const { violation } = simulate(module, everything(seed));
    if (violation) return { seeds: seed, message: violation.message };
  }
  return { seeds: 0, message: `not caught in ${seedsMax} seeds` };
}
