// Tidegate as the bench starts it: the library under a parent that asks it for its counters now and then.
// Usage: node --expose-gc tidegate.ts CONFIG, with an IPC channel
import { loadConfig } from '../src/config.ts';
import { start } from '../src/index.ts';

const tidegate = await start(await loadConfig(process.argv[2]!));
process.on('message', () => {
  // Before a look at its memory too, so that what is measured is memory in use and not the garbage collector's mood.
  (globalThis as { gc?: () => void }).gc?.();
  process.send!(tidegate.status().counters);
});
process.on('disconnect', () => process.exit());
