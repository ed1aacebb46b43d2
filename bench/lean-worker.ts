// Threads that are started by the dozen. Each one that takes the types off its modules loads a compiler for that, which is
// half of the memory that the thread then has: 19 MB instead of 10. So that is done once, here, for all of them.
import { readFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { Worker } from 'node:worker_threads';

/** A turn of a ring leaves a few bytes of garbage, of which V8 would let megabytes gather. */
const YOUNG_MB = 1;

const known = new Map<string, Map<string, string>>();

/** A thread that begins with that module and has `workerData` beside what it needs itself. */
export function startLeanWorker(module: URL, workerData: object): Worker {
  return new Worker(new URL('./lean-thread.js', import.meta.url), {
    workerData: { ...workerData, lean: { entry: module.href, sources: sourcesOf(module) } },
    execArgv: ['--disable-warning=ExperimentalWarning'],
    resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MB },
  });
}

/** JavaScript of the module and of all that it imports, by URL. */
function sourcesOf(module: URL): Map<string, string> {
  const sources = known.get(module.href) ?? new Map<string, string>();
  if (sources.size === 0) collect(module, sources);
  known.set(module.href, sources);
  return sources;
}

function collect(url: URL, sources: Map<string, string>): void {
  if (sources.has(url.href)) return;
  const source = stripTypeScriptTypes(readFileSync(url, 'utf8'));
  sources.set(url.href, source);
  for (const [, path] of source.matchAll(/^(?:import|export)\b[^;]*?\bfrom '(\.[^']+\.ts)';$/gm)) {
    collect(new URL(path!, url), sources);
  }
}
