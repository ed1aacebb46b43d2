// Tidegate as the bench starts it: the library under a parent that asks it for its counters now and then.
// Usage: tidegate.ts CONFIG, with an IPC channel
import { loadConfig } from '../src/config.ts';
import { start } from '../src/index.ts';

const tidegate = await start(await loadConfig(process.argv[2]!));
process.on('message', () => process.send!(tidegate.status().counters));
process.on('disconnect', () => process.exit());
