// What a balancer holds at a moment, to be compared with a later one. Descriptors and memory are the whole process's.
import assert from 'node:assert/strict';
import { readdir, readlink } from 'node:fs/promises';
import type { TestContext } from 'node:test';
import type { Balancer } from './balancer.ts';
import { waitFor } from './wait.ts';

export interface Holdings {
  connections: number;
  buffers: number;
  descriptors: number;
  residentBytes: number;
}

export async function holdings({ tidegate }: Balancer): Promise<Holdings> {
  const { connections, counters } = tidegate.status();
  return {
    connections,
    buffers: counters.buffersHeld ?? 0,
    descriptors: (await descriptors()).length,
    residentBytes: process.memoryUsage.rss(),
  };
}

/** Sockets close a moment after their connection has ended, so this may have to wait a little. */
export async function assertNothingLeaked(balancer: Balancer, before: Holdings): Promise<void> {
  await balancer.idle();
  await waitFor('return to as few buffers and descriptors as before', async () => {
    const now = await holdings(balancer);
    return now.buffers <= before.buffers && now.descriptors <= before.descriptors ? now : undefined;
  });
}

/** Garbage that lies in a heap at any moment. A connection that is never let go weighs some kilobytes. */
const RESIDENT_SLACK_BYTES = 40 << 20;

/** Only where everybody else lives in other processes. */
export async function assertResident(before: Holdings, context: TestContext): Promise<void> {
  const grownKiB = (process.memoryUsage.rss() - before.residentBytes) >> 10;
  context.diagnostic(`RSS ${before.residentBytes >> 20} MiB, then ${grownKiB} KiB more`);
  assert.ok(grownKiB < RESIDENT_SLACK_BYTES >> 10, `RSS grew by ${grownKiB} KiB`);
}

/** What each descriptor of this process is: "socket:[1234]", "anon_inode:[io_uring]", a path. */
async function descriptors(): Promise<string[]> {
  const names = await readdir('/proc/self/fd');
  const targets = await Promise.all(names.map((name) => readlink(`/proc/self/fd/${name}`).catch(() => undefined)));
  return targets.filter((target) => target !== undefined);
}
