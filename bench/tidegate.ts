// Tidegate as the bench starts it: the library under a parent that asks it for its counters now and then.
// Usage: node --expose-gc tidegate.ts CONFIG, with an IPC channel
import { loadConfig } from '../src/config.ts';
import { start } from '../src/index.ts';

/** Pages that the heap has no use for at the moment are given back, too. */
const EVERYTHING = { type: 'major', execution: 'sync', flavor: 'last-resort' };

const tidegate = await start(await loadConfig(process.argv[2]!));
process.on('message', (question) => {
  // Before a look at its memory: what is measured is memory in use and not the collector's mood. Never while its CPU is
  // measured, since it takes tens of milliseconds of that.
  if (question === 'collect') (globalThis as { gc?: (options: object) => void }).gc?.(EVERYTHING);
  process.send!(tidegate.status().counters);
});
process.on('disconnect', () => process.exit());
