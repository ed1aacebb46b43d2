// What a gate holds at a moment, to be compared with a later one. Descriptors and memory are the whole process's:
// backends should live in another one, and clients be gone.
import assert from 'node:assert/strict';
import { readdir, readlink } from 'node:fs/promises';
import { type Gate, waitFor } from './gate.ts';

export interface Holdings {
  connections: number;
  buffers: number;
  descriptors: number;
  residentBytes: number;
}

/** Garbage that a heap was allowed to let lie. */
const RESIDENT_SLACK_BYTES = 48 << 20;

export async function holdings({ tidegate }: Gate): Promise<Holdings> {
  const { connections, counters } = tidegate.status();
  return {
    connections,
    buffers: counters['buffersHeld'] ?? 0,
    descriptors: (await descriptors()).length,
    residentBytes: process.memoryUsage.rss(),
  };
}

/** Sockets close a moment after their connection has ended, so this may have to wait a little. */
export async function assertNothingLeaked(gate: Gate, before: Holdings): Promise<void> {
  await gate.idle();
  const after = await waitFor('return to as few buffers and descriptors as before', async () => {
    const now = await holdings(gate);
    return now.buffers <= before.buffers && now.descriptors <= before.descriptors ? now : undefined;
  });
  const grown = after.residentBytes - before.residentBytes;
  assert.ok(grown < RESIDENT_SLACK_BYTES, `RSS grew by ${(grown / 2 ** 20).toFixed(1)} MiB`);
}

/** What each descriptor of this process is: "socket:[1234]", "anon_inode:[io_uring]", a path. */
async function descriptors(): Promise<string[]> {
  const names = await readdir('/proc/self/fd');
  const targets = await Promise.all(names.map((name) => readlink(`/proc/self/fd/${name}`).catch(() => undefined)));
  return targets.filter((target) => target !== undefined);
}
