#!/usr/bin/env node
// The command's entry. It imports nothing before it knows that this Node is new enough: an older one fails while it
// links the modules behind it, with an error that helps nobody. So only what Node has had for years may stand here.
const NODE_MAJOR = 22;
const NODE_MINOR = 18;
const COULD_NOT_START = 2;

// Without a listener SIGUSR1 opens the inspector; with one, the signal that reopens logs is harmless at any moment.
process.on('SIGUSR1', () => {});
// And without one SIGUSR2 ends the process: it shall not while it starts.
process.on('SIGUSR2', () => {});

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < NODE_MAJOR || (major === NODE_MAJOR && minor < NODE_MINOR)) {
  const found = `this is ${process.version} (${process.execPath})`;
  process.stderr.write(`tidegate: needs Node ${NODE_MAJOR}.${NODE_MINOR} or newer, ${found}; install a newer Node\n`);
  process.exit(COULD_NOT_START);
}

import('./commands.ts').then(({ main }) => main(process.argv.slice(2)));

export {};
