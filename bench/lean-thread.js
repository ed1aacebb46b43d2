// The first module of a lean thread (see lean-worker.ts): takes every module that was sent along as it came.
import { registerHooks } from 'node:module';
import { workerData } from 'node:worker_threads';

const { entry, sources } = workerData.lean;
registerHooks({
  load: (url, context, nextLoad) =>
    sources.has(url) ? { format: 'module', source: sources.get(url), shortCircuit: true } : nextLoad(url, context),
});
await import(entry);
