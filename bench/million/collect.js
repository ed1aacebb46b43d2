// Loaded into the process before anything else: it collects its garbage when it is sent SIGURG, so that what is measured is
// memory in use and not the collector's mood. A start leaves some 20 MB that V8 would find in the middle of a run.
const EVERYTHING = { type: 'major', execution: 'sync', flavor: 'last-resort' };

process.on('SIGURG', () => globalThis.gc(EVERYTHING));
